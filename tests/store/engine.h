#pragma once
/* One way to run statements on SQLite and on PostgreSQL, with results that can be compared. */
#include "base/strbuf.h"
#include "base/vec.h"
#include "store/store.h"

struct value {
	char type;  /* s, i, b as in a catalogue; n: NULL of no matter which type */
	char *text; /* s: as is, i: decimal, b: hexadecimal */
};

enum outcome {
	OUTCOME_DONE,
	OUTCOME_EXISTS,  /* unique, primary key */
	OUTCOME_FOREIGN, /* foreign key */
	OUTCOME_NULL,    /* NOT NULL */
	OUTCOME_CHECK,   /* CHECK */
	OUTCOME_ERROR,   /* anything else: always a failure of the test */
};
const char *outcome_to_string(enum outcome outcome);

struct result {
	enum outcome outcome;
	char *message;
	VEC(char *) rows; /* each as one text: "i:12 s:abc n: b:00ff" */
	int64_t changed;
};
void result_done(struct result *result);
/* Appends a column to a row's text. */
void row_add(struct strbuf *row, char type, const void *bytes, size_t n);

struct engine {
	const char *name;
	/* Several statements; aborts the test with the engine's message when they fail. */
	void (*script)(struct engine *engine, const char *sql);
	void (*run)(struct engine *engine, const struct store_query *query,
	    const struct value *values, struct result *result);
	void (*close)(struct engine *engine);
};
struct engine *sqlite_engine_open(const char *path);
struct sqlite3 *sqlite_engine_handle(struct engine *engine);
/* Makes database `database` on the server and connects to it. */
struct engine *postgres_engine_open(const char *conninfo, const char *database);

_Noreturn void die(const char *format, ...) _printf_(1, 2);
