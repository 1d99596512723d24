/* Statements on PostgreSQL, as the driver will send them: prepared, with the parameter types of the
 * catalogue. Column types that the driver could not hand on as text, integer or blob are errors:
 * SUM() of BIGINT is NUMERIC there and wants a CAST, a comparison is BOOLEAN and wants a CASE. */
#include <libpq-fe.h>
#include <stdio.h>
#include "store/sql_text.h"
#include "tests/store/engine.h"

enum { TYPE_BYTEA = 17, TYPE_INT8 = 20, TYPE_INT2 = 21, TYPE_INT4 = 23, TYPE_TEXT = 25 };

struct postgres_engine {
	struct engine engine;
	PGconn *connection;
};

static struct postgres_engine *
of(struct engine *engine)
{
	return CONTAINER_OF(engine, struct postgres_engine, engine);
}

static void
script(struct engine *engine, const char *sql)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	PGresult *answer;

	sql_translate(&text, SQL_POSTGRES, sql);
	answer = PQexec(of(engine)->connection, strbuf_c(&text));
	if (PQresultStatus(answer) != PGRES_COMMAND_OK && PQresultStatus(answer) != PGRES_TUPLES_OK)
		die("PostgreSQL: %s in: %s", PQresultErrorMessage(answer), strbuf_c(&text));
	PQclear(answer);
}

static enum outcome
outcome_of(const char *state)
{
	static const struct {
		const char *state;
		enum outcome outcome;
	} states[] = {
		{ "23505", OUTCOME_EXISTS },
		{ "23503", OUTCOME_FOREIGN },
		{ "23502", OUTCOME_NULL },
		{ "23514", OUTCOME_CHECK },
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (state && strcmp(state, states[i].state) == 0)
			return states[i].outcome;
	}
	return OUTCOME_ERROR;
}

static bool
row_add_column(struct strbuf *row, PGresult *answer, int i, int column)
{
	const char *text = PQgetvalue(answer, i, column);
	size_t n = (size_t)PQgetlength(answer, i, column);
	unsigned char *bytes;

	if (PQgetisnull(answer, i, column)) {
		row_add(row, 'n', "", 0);
		return true;
	}
	switch (PQftype(answer, column)) {
	case TYPE_TEXT:
		row_add(row, 's', text, n);
		return true;
	case TYPE_INT2:
	case TYPE_INT4:
	case TYPE_INT8:
		row_add(row, 'i', text, n);
		return true;
	case TYPE_BYTEA:
		bytes = PQunescapeBytea((const unsigned char *)text, &n);
		row_add(row, 'b', bytes, n);
		PQfreemem(bytes);
		return true;
	default:
		return false;
	}
}

static void
take_rows(PGresult *answer, struct result *result)
{
	for (int i = 0; i < PQntuples(answer); i++) {
		_cleanup_strbuf_ struct strbuf row = STRBUF_INIT;

		for (int column = 0; column < PQnfields(answer); column++) {
			if (!row_add_column(&row, answer, i, column)) {
				result->outcome = OUTCOME_ERROR;
				free(result->message);
				result->message =
				    xasprintf("column '%s' has a type (%u) that is neither "
					      "BIGINT, TEXT nor BLOB_TYPE: CAST it",
					PQfname(answer, column), PQftype(answer, column));
				return;
			}
		}
		vec_add(&result->rows, strbuf_take(&row));
	}
}

static void
run(struct engine *engine, const struct store_query *query, const struct value *values,
    struct result *result)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	PGconn *connection = of(engine)->connection;
	const char *parameters[STORE_PARAMETERS_MAX];
	char *hex[STORE_PARAMETERS_MAX] = { 0 };
	Oid types[STORE_PARAMETERS_MAX];
	unsigned count = (unsigned)strlen(query->types);
	PGresult *answer;

	sql_translate(&text, SQL_POSTGRES, sql_query_text(query, SQL_POSTGRES));
	for (unsigned i = 0; i < count; i++) {
		types[i] = query->types[i] == 's'   ? TYPE_TEXT
			   : query->types[i] == 'i' ? TYPE_INT8
						    : TYPE_BYTEA;
		if (values[i].type == 'b')
			hex[i] = xasprintf("\\x%s", values[i].text);
		parameters[i] = values[i].type == 'n' ? NULL : hex[i] ? hex[i] : values[i].text;
	}
	answer =
	    PQexecParams(connection, strbuf_c(&text), (int)count, types, parameters, NULL, NULL, 0);
	switch (PQresultStatus(answer)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		result->outcome = OUTCOME_DONE;
		if (strncmp(PQcmdStatus(answer), "SELECT", 6) != 0)
			(void)str_to_i64(str_of(PQcmdTuples(answer)), &result->changed);
		take_rows(answer, result);
		break;
	default:
		result->outcome = outcome_of(PQresultErrorField(answer, PG_DIAG_SQLSTATE));
		result->message = xstrdup(PQresultErrorMessage(answer));
	}
	PQclear(answer);
	for (unsigned i = 0; i < count; i++)
		free(hex[i]);
}

static void
close_engine(struct engine *engine)
{
	PQfinish(of(engine)->connection);
	free(of(engine));
}

static PGconn *
connect_to(const char *conninfo, const char *database)
{
	_cleanup_free_ char *all =
	    xasprintf("%s dbname=%s client_encoding=UTF8", conninfo, database);
	PGconn *connection = PQconnectdb(all);

	if (PQstatus(connection) != CONNECTION_OK)
		die("PostgreSQL: %s", PQerrorMessage(connection));
	return connection;
}

struct engine *
postgres_engine_open(const char *conninfo, const char *database)
{
	struct postgres_engine *p = xcalloc(1, sizeof(*p));
	_cleanup_free_ char *drop = xasprintf("DROP DATABASE IF EXISTS %s", database);
	_cleanup_free_ char *create =
	    xasprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8'"
		      " LC_COLLATE 'C' LC_CTYPE 'C'",
		database);

	p->engine = (struct engine){ "PostgreSQL", script, run, close_engine };
	p->connection = connect_to(conninfo, "postgres");
	script(&p->engine, "SET client_min_messages = warning");
	script(&p->engine, drop);
	script(&p->engine, create);
	PQfinish(p->connection);
	p->connection = connect_to(conninfo, database);
	return &p->engine;
}
