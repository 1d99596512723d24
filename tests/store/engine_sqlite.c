/* Statements on SQLite. Each catalogue entry is prepared when it is run: speed is not the point. */
#include <sqlite3.h>
#include <stdio.h>
#include "store/sql_text.h"
#include "tests/store/engine.h"

struct sqlite_engine {
	struct engine engine;
	sqlite3 *db;
};

static struct sqlite_engine *
of(struct engine *engine)
{
	return CONTAINER_OF(engine, struct sqlite_engine, engine);
}

static void
script(struct engine *engine, const char *sql)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	sql_translate(&text, SQL_SQLITE, sql);
	if (sqlite3_exec(of(engine)->db, strbuf_c(&text), NULL, NULL, NULL) != SQLITE_OK)
		die("SQLite: %s in: %s", sqlite3_errmsg(of(engine)->db), strbuf_c(&text));
}

static void
bind(sqlite3_stmt *stmt, unsigned parameter, const struct value *value)
{
	char name[16], bytes[4096];
	size_t n;
	int64_t number;
	int index;

	snprintf(name, sizeof(name), "$%u", parameter);
	index = sqlite3_bind_parameter_index(stmt, name);
	if (index == 0)
		die("statement does not use %s", name);
	switch (value->type) {
	case 's':
		sqlite3_bind_text(stmt, index, value->text, -1, SQLITE_TRANSIENT);
		break;
	case 'i':
		if (!str_to_i64(str_of(value->text), &number))
			die("'%s' is not a number", value->text);
		sqlite3_bind_int64(stmt, index, number);
		break;
	case 'b':
		if (!hex_decode(str_of(value->text), bytes, sizeof(bytes), &n))
			die("'%s' is not hexadecimal", value->text);
		sqlite3_bind_blob(stmt, index, bytes, (int)n, SQLITE_TRANSIENT);
		break;
	default:
		sqlite3_bind_null(stmt, index);
	}
}

static void
take_row(sqlite3_stmt *stmt, struct result *result)
{
	_cleanup_strbuf_ struct strbuf row = STRBUF_INIT;

	for (int i = 0; i < sqlite3_column_count(stmt); i++) {
		int type = sqlite3_column_type(stmt, i);
		char letter = type == SQLITE_NULL      ? 'n'
			      : type == SQLITE_TEXT    ? 's'
			      : type == SQLITE_INTEGER ? 'i'
			      : type == SQLITE_BLOB    ? 'b'
						       : 'f';
		const void *bytes =
		    letter == 'b' ? sqlite3_column_blob(stmt, i) : sqlite3_column_text(stmt, i);

		row_add(&row, letter, bytes, (size_t)sqlite3_column_bytes(stmt, i));
	}
	vec_add(&result->rows, strbuf_take(&row));
}

static enum outcome
outcome_of(int rc)
{
	switch (rc) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return OUTCOME_EXISTS;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return OUTCOME_FOREIGN;
	case SQLITE_CONSTRAINT_NOTNULL:
		return OUTCOME_NULL;
	case SQLITE_CONSTRAINT_CHECK:
		return OUTCOME_CHECK;
	default:
		return OUTCOME_ERROR;
	}
}

static void
run(struct engine *engine, const struct store_query *query, const struct value *values,
    struct result *result)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	sqlite3 *db = of(engine)->db;
	sqlite3_stmt *stmt;
	int rc;

	sql_translate(&text, SQL_SQLITE, sql_query_text(query, SQL_SQLITE));
	if (sqlite3_prepare_v2(db, strbuf_c(&text), -1, &stmt, NULL) != SQLITE_OK)
		die("SQLite: %s in %s: %s", sqlite3_errmsg(db), query->name, strbuf_c(&text));
	for (unsigned i = 0; query->types[i]; i++)
		bind(stmt, i + 1, &values[i]);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		take_row(stmt, result);
	result->outcome =
	    rc == SQLITE_DONE ? OUTCOME_DONE : outcome_of(sqlite3_extended_errcode(db));
	if (rc == SQLITE_DONE)
		result->changed = sqlite3_stmt_readonly(stmt) ? 0 : sqlite3_changes64(db);
	else
		result->message = xstrdup(sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
}

static void
close_engine(struct engine *engine)
{
	sqlite3_close(of(engine)->db);
	free(of(engine));
}

struct engine *
sqlite_engine_open(const char *path)
{
	struct sqlite_engine *s = xcalloc(1, sizeof(*s));

	s->engine = (struct engine){ "SQLite", script, run, close_engine };
	if (sqlite3_open(path, &s->db) != SQLITE_OK)
		die("SQLite: cannot open '%s'", path);
	sqlite3_extended_result_codes(s->db, 1);
	script(&s->engine, "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;"
			   "PRAGMA foreign_keys = ON");
	return &s->engine;
}

struct sqlite3 *
sqlite_engine_handle(struct engine *engine)
{
	return of(engine)->db;
}
