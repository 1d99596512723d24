/* One connection and its statements. A statement is prepared once, when first used, and kept; its
 * parameters are bound by name, because "$2 ... $1" numbers them in order of appearance in SQLite.
 * A result that is still open when its statement is asked for again (a query within a query) gets a
 * statement of its own for the while.
 *
 * An engine error sticks to the closure, as it does in PostgreSQL, and decides here what it means:
 * a full disk is ERR_NO_SPACE, any other I/O error of the writer ends the process, because after a
 * failed fsync nobody knows what the disk holds. */
#include "store/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "store/sql_text.h"

static const char pragmas[] = "PRAGMA synchronous = FULL;"
			      "PRAGMA wal_autocheckpoint = 0;"
			      "PRAGMA journal_size_limit = 67108864;"
			      "PRAGMA foreign_keys = ON;"
			      "PRAGMA trusted_schema = OFF;"
			      "PRAGMA cell_size_check = ON;"
			      "PRAGMA temp_store = MEMORY;"
			      "PRAGMA cache_size = -8192;";

/* ---- errors ---- */

/* SQLite itself knows ENOSPC; a quota or a size limit it calls an I/O error. `number` is the errno.
 */
static bool
is_out_of_space(int rc, int number)
{
	if ((rc & 0xff) == SQLITE_FULL || rc == SQLITE_IOERR_SHMSIZE)
		return true;
	if ((rc & 0xff) != SQLITE_IOERR || rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC)
		return false;
	return number == ENOSPC || number == EDQUOT || number == EFBIG;
}

int
conn_error(struct conn *c, int rc, struct err *e, const char *what)
{
	int number = errno; /* COMMIT does not leave it where sqlite3_system_errno looks for it */
	const char *text = c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc);
	const char *path = c->store->path;

	if (number == 0 && c->db)
		number = sqlite3_system_errno(c->db);
	if (c->db)
		rc = sqlite3_extended_errcode(c->db);
	if (is_out_of_space(rc, number))
		return err_set(e, ERR_NO_SPACE, "%s in '%s': no space left", what, path);
	if ((rc & 0xff) == SQLITE_IOERR && c->is_writer && c->store->is_running) {
		log_error(&c->store->log, "store.failed",
		    "path=%s doing=\"%s\" error=\"%s\" code=%d errno=%d", path, what, text, rc,
		    number);
		abort(); /* the next start reads what the disk really holds */
	}
	switch (rc & 0xff) {
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (number)
			return err_set_errno(e, number, "%s in '%s': %s", what, path, text);
		return err_set(e, ERR_IO, "%s in '%s': %s", what, path, text);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return err_set(
		    e, ERR_CORRUPT, "%s in '%s': the file is damaged: %s", what, path, text);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(
		    e, ERR_UNAVAILABLE, "%s in '%s': locked by another program", what, path);
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_READONLY:
		return err_set(e, ERR_DENIED, "%s in '%s': %s", what, path, text);
	case SQLITE_NOMEM:
	case SQLITE_TOOBIG:
		return err_set(e, ERR_LIMIT, "%s: %s", what, text);
	case SQLITE_CONSTRAINT:
		if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ||
		    rc == SQLITE_CONSTRAINT_ROWID)
			return err_set(e, ERR_EXISTS, "%s: %s", what, text);
		if (rc == SQLITE_CONSTRAINT_FOREIGNKEY)
			return err_set(e, ERR_CONFLICT, "%s: %s", what, text);
		return err_set(e, ERR_INTERNAL, "%s: %s", what, text);
	default:
		return err_set(e, ERR_INTERNAL, "%s: %s (%d)", what, text, rc);
	}
}

/* ---- connections ---- */

static unsigned
statement_count(const struct store *s)
{
	return s->schema.query_count + store_base_schema.query_count;
}

int
conn_run(struct conn *c, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : conn_error(c, rc, e, sql);
}

static const char *const control_texts[CONTROL_MAX] = {
	[CONTROL_BEGIN] = "BEGIN",
	[CONTROL_BEGIN_IMMEDIATE] = "BEGIN IMMEDIATE",
	[CONTROL_COMMIT] = "COMMIT",
	[CONTROL_ROLLBACK] = "ROLLBACK",
	[CONTROL_SAVEPOINT] = "SAVEPOINT closure",
	[CONTROL_ROLLBACK_TO] = "ROLLBACK TO closure",
	[CONTROL_RELEASE] = "RELEASE closure",
};

int
conn_control(struct conn *c, enum control control, struct err *e)
{
	sqlite3_stmt **stmt = &c->controls[control];
	const char *text = control_texts[control];
	int r = 0, rc = SQLITE_OK;

	if (!*stmt)
		rc = sqlite3_prepare_v3(c->db, text, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(*stmt);
	if (rc != SQLITE_DONE)
		r = conn_error(c, rc, e, text);
	(void)sqlite3_reset(*stmt); /* repeats an error already reported */
	return r;
}

int
conn_new(struct store *s, const char *path, bool is_writer, struct conn **ret, struct err *e)
{
	_cleanup_(conn_freep) struct conn *c = xcalloc(1, sizeof(*c));
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	int r, rc;

	c->store = s;
	c->is_writer = is_writer;
	c->statements = xcalloc(statement_count(s), sizeof(*c->statements));
	rc = sqlite3_open_v2(path, &c->db, flags | (is_writer ? SQLITE_OPEN_CREATE : 0), NULL);
	if (rc != SQLITE_OK)
		return conn_error(c, rc, e, "cannot open");
	(void)sqlite3_extended_result_codes(c->db, 1); /* fails only for a NULL handle */
	(void)sqlite3_busy_timeout(c->db, BUSY_TIMEOUT_MS);
	/* The writer makes it a WAL file; for the others it is one. Reading the mode finds damage
	 * in the header as well. EXTRA until then: making it one uses a rollback journal, and if
	 * that came back after a power cut it would undo the file under its log. */
	if (is_writer) {
		r = conn_run(c, "PRAGMA synchronous = EXTRA; PRAGMA journal_mode = WAL", e);
		if (r < 0)
			return r;
	}
	r = conn_run(c, pragmas, e);
	if (r < 0)
		return r;
	*ret = TAKE(c);
	return 0;
}

void
conn_free(struct conn *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < statement_count(c->store); i++)
		(void)sqlite3_finalize(
		    c->statements[i].stmt); /* repeats an error already reported */
	free(c->statements);
	for (unsigned i = 0; i < CONTROL_MAX; i++)
		(void)sqlite3_finalize(c->controls[i]);
	if (c->db && sqlite3_close(c->db) != SQLITE_OK)
		abort(); /* a result is still open: a bug */
	free(c);
}

/* ---- statements ---- */

static int
prepare(struct conn *c, const struct store_query *query, sqlite3_stmt **ret_stmt, int *parameters,
    struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = STRBUF_INIT;
	unsigned count = (unsigned)strlen(query->types);
	sqlite3_stmt *stmt;
	const char *tail;
	int rc;

	sql_translate(&sql, SQL_SQLITE, sql_query_text(query, SQL_SQLITE));
	rc = sqlite3_prepare_v3(
	    c->db, strbuf_c(&sql), (int)sql.n, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
	if (rc != SQLITE_OK) {
		int r = conn_error(c, rc, e, "preparing");

		return r == ERR_INTERNAL ? err_wrap(e, "statement '%s'", query->name) : r;
	}
	if (!stmt || *tail || (unsigned)sqlite3_bind_parameter_count(stmt) != count) {
		(void)sqlite3_finalize(stmt);
		return err_set(e, ERR_INTERNAL, "statement '%s' is not one with %u parameters",
		    query->name, count);
	}
	for (unsigned i = 0; i < count; i++) {
		char name[16];

		snprintf(name, sizeof(name), "$%u", i + 1);
		parameters[i] = sqlite3_bind_parameter_index(stmt, name);
		if (parameters[i] == 0) {
			(void)sqlite3_finalize(stmt);
			return err_set(
			    e, ERR_INTERNAL, "statement '%s' does not use %s", query->name, name);
		}
	}
	*ret_stmt = stmt;
	return 0;
}

static struct statement *
statement_of(struct conn *c, unsigned query, const struct store_query **ret_query)
{
	const struct store_schema *schema = &c->store->schema;
	unsigned index = query;

	if (query >= STORE_BASE_QUERIES) {
		schema = &store_base_schema;
		index -= STORE_BASE_QUERIES;
	}
	assert(index < schema->query_count);
	*ret_query = &schema->queries[index];
	return &c->statements[query >= STORE_BASE_QUERIES ? c->store->schema.query_count + index
							  : index];
}

int
conn_prepare_all(struct conn *c, struct err *e)
{
	for (unsigned i = 0; i < statement_count(c->store); i++) {
		unsigned count = c->store->schema.query_count;
		const struct store_query *query;
		struct statement *statement =
		    statement_of(c, i < count ? i : STORE_BASE_QUERIES + i - count, &query);
		int r = prepare(c, query, &statement->stmt, statement->parameters, e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* lifetime: SQLITE_STATIC where the statement is done before the arguments' owner goes on. */
static int
bind_one(
    sqlite3_stmt *stmt, int parameter, char type, sqlite3_destructor_type lifetime, va_list *args)
{
	if (type == 'i')
		return sqlite3_bind_int64(stmt, parameter, va_arg(*args, int64_t));
	if (type == 's') {
		const char *text = va_arg(*args, const char *);

		return sqlite3_bind_text64(
		    stmt, parameter, text, text ? strlen(text) : 0, lifetime, SQLITE_UTF8);
	}
	struct str bytes = va_arg(*args, struct str);

	return sqlite3_bind_blob64(stmt, parameter, bytes.p, bytes.n, lifetime);
}

/* Whether the statement writes the table. One that begins in another way may write anything. */
static bool
writes_table(const char *text, const char *table)
{
	static const char *const verbs[] = { "INSERT INTO ", "UPDATE ", "DELETE FROM " };
	size_t n = strlen(table);

	if (strncmp(text, "SELECT ", 7) == 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		size_t verb = strlen(verbs[i]);

		if (strncmp(text, verbs[i], verb) == 0)
			return strncmp(text + verb, table, n) == 0 && text[verb + n] == ' ';
	}
	return true;
}

static void
tell_watch(struct store_tx *tx, const struct store_query *query, va_list *args)
{
	const struct store_watch *watch = atomic_load(&tx->store->watch);
	struct str second = { NULL, 0 };
	int64_t first = 0;
	va_list copy;

	if (!watch || !writes_table(query->text, watch->table))
		return;
	if (strncmp(query->types, "ib", 2) == 0) {
		va_copy(copy, *args);
		first = va_arg(copy, int64_t);
		second = va_arg(copy, struct str);
		va_end(copy);
	}
	watch->wrote(watch->arg, first, second);
}

/* Remembers the first error of the closure: what comes after it is not done. */
static int
tx_failed(struct store_tx *tx, const struct store_query *query, int rc, struct err *e)
{
	tx->failed = conn_error(tx->conn, rc, e, query->name);
	return tx->failed;
}

static int
rows_open(struct store_tx *tx, unsigned id, sqlite3_destructor_type lifetime,
    struct store_rows **ret, struct err *e, va_list *args)
{
	const struct store_query *query;
	struct statement *statement = statement_of(tx->conn, id, &query);
	struct store_rows *rows = &statement->rows;
	int own[STORE_PARAMETERS_MAX], *parameters = statement->parameters;
	int r;

	if (tx->failed)
		return err_set(e, tx->failed, "%s: the transaction has failed before", query->name);
	if (rows->is_open) { /* a query within a query */
		rows = xcalloc(1, sizeof(*rows));
		rows->is_extra = true;
		parameters = own;
		r = prepare(tx->conn, query, &rows->stmt, parameters, e);
	} else if (!statement->stmt) {
		r = prepare(tx->conn, query, &statement->stmt, parameters, e);
		rows->stmt = statement->stmt;
	} else {
		rows->stmt = statement->stmt;
		r = 0;
	}
	if (r < 0) {
		if (rows->is_extra)
			free(rows);
		tx->failed = r;
		return r;
	}
	rows->tx = tx;
	rows->query = query;
	rows->is_open = true;
	tx->open_rows++;
	if (tx->conn->is_writer)
		tell_watch(tx, query, args);
	for (unsigned i = 0; query->types[i]; i++) {
		int rc = bind_one(rows->stmt, parameters[i], query->types[i], lifetime, args);

		if (rc != SQLITE_OK) {
			r = tx_failed(tx, query, rc, e);
			store_rows_free(rows);
			return r;
		}
	}
	*ret = rows;
	return 0;
}

void
store_rows_free(struct store_rows *rows)
{
	if (!rows || !rows->is_open)
		return;
	rows->is_open = false;
	rows->tx->open_rows--;
	(void)sqlite3_reset(rows->stmt); /* repeats an error already reported */
	if (rows->is_extra) {
		(void)sqlite3_finalize(rows->stmt);
		free(rows);
	} else {
		(void)sqlite3_clear_bindings(rows->stmt);
	}
}

int
store_next(struct store_rows *rows, struct err *e)
{
	int rc;

	if (rows->tx->failed)
		return err_set(e, rows->tx->failed, "%s: the transaction has failed before",
		    rows->query->name);
	rc = sqlite3_step(rows->stmt);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return tx_failed(rows->tx, rows->query, rc, e);
}

int
store_query(struct store_tx *tx, unsigned query, struct store_rows **ret, struct err *e, ...)
{
	va_list args;
	int r;

	va_start(args, e);
	r = rows_open(tx, query, SQLITE_TRANSIENT, ret, e, &args);
	va_end(args);
	return r;
}

int
store_query_one(struct store_tx *tx, unsigned query, struct store_rows **ret, const char *what,
    struct err *e, ...)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	va_list args;
	int r;

	va_start(args, e);
	r = rows_open(tx, query, SQLITE_TRANSIENT, &rows, e, &args);
	va_end(args);
	if (r < 0)
		return r;
	r = store_next(rows, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ERR_NOT_FOUND, "%s not found", what);
	*ret = TAKE(rows);
	return 0;
}

int
store_exec(struct store_tx *tx, unsigned query, int64_t *ret_changed, struct err *e, ...)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	va_list args;
	int r;

	va_start(args, e);
	r = rows_open(tx, query, SQLITE_STATIC, &rows, e, &args);
	va_end(args);
	if (r < 0)
		return r;
	assert(sqlite3_column_count(rows->stmt) == 0); /* what returns rows goes to store_query */
	r = store_next(rows, e);
	if (r < 0)
		return r;
	if (ret_changed)
		*ret_changed = sqlite3_changes64(tx->conn->db);
	return 0;
}

/* ---- columns: the type in the catalogue's tables is the type asked for, as PostgreSQL would
 * insist */

/* NULL for SQL NULL. The connection is one thread's (SQLITE_OPEN_NOMUTEX): then SQLite lets the
 * value be read where it lies. Each sqlite3_column_...() would search for it again. */
static sqlite3_value *
column_value(struct store_rows *rows, unsigned column, int wanted)
{
	sqlite3_value *value = sqlite3_column_value(rows->stmt, (int)column);
	int type = sqlite3_value_type(value);

	assert(column < (unsigned)sqlite3_column_count(rows->stmt));
	assert(type == wanted || type == SQLITE_NULL);
	return type == SQLITE_NULL ? NULL : value;
}

const char *
store_text(struct store_rows *rows, unsigned column)
{
	sqlite3_value *value = column_value(rows, column, SQLITE_TEXT);

	return value ? (const char *)sqlite3_value_text(value) : NULL;
}

int64_t
store_int(struct store_rows *rows, unsigned column)
{
	sqlite3_value *value = column_value(rows, column, SQLITE_INTEGER);

	return value ? sqlite3_value_int64(value) : 0;
}

bool
store_is_null(struct store_rows *rows, unsigned column)
{
	return sqlite3_column_type(rows->stmt, (int)column) == SQLITE_NULL;
}

struct str
store_blob(struct store_rows *rows, unsigned column)
{
	sqlite3_value *value = column_value(rows, column, SQLITE_BLOB);
	const char *p;

	if (!value)
		return (struct str){ NULL, 0 };
	p = sqlite3_value_blob(value); /* NULL when empty */
	return (struct str){ p ? p : "", (size_t)sqlite3_value_bytes(value) };
}

/* ---- transactions ---- */

void
tx_init(struct store_tx *tx, struct conn *c)
{
	*tx = (struct store_tx){ .store = c->store, .conn = c, .now_us = clock_now_us() };
}

void
tx_done(struct store_tx *tx)
{
	assert(tx->open_rows == 0); /* results are freed before the closure returns */
}

int64_t
store_now_us(struct store_tx *tx)
{
	return tx->now_us;
}
