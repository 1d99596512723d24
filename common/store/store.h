#pragma once
/* The only way to durable state. SQLite (WAL, synchronous=FULL) behind an interface that PostgreSQL
 * fits as well: statements in one catalogue per daemon, in the subset both engines run.
 *
 * Writes are closures that run on one writer thread; what is queued commits together (group commit)
 * and store_write returns after the commit is durable. A closure may run again, so it is pure on its
 * argument: it resets what it fills. One that fails leaves nothing and does not sink its batch. Reads run on the caller's thread in a snapshot. */
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/err.h"
#include "base/str.h"
#include "run/log.h"

struct store;
struct store_tx;
struct store_rows;

/* A statement: text with $1..$n, `types` one letter per parameter: s text, i integer, b blob.
 * `postgres` overrides the text there (NULL: the same). Rows of a daemon's queries.def:
 *   QUERY(INSTANCE_BY_ID, "s", "SELECT ... WHERE instance_id = $1", NULL) */
struct store_query {
	const char *name;
	const char *types;
	const char *text;
	const char *postgres;
};
/* One forward-only step; `sql` holds statements separated by ';', with BLOB_TYPE, BIGINT and TEXT as
 * the only types ("BLOB_TYPE" becomes BLOB or BYTEA). Tables are STRICT in SQLite: write
 * "CREATE TABLE x (...) TABLE_OPTIONS"; TABLE_OPTIONS_CLUSTERED where rows are small and read in the
 * order of the primary key (SQLite keeps them in that order, PostgreSQL does not care). A step that
 * was ever released never changes: its SHA-256 is recorded and compared. */
struct store_migration {
	uint32_t version; /* 1, 2, 3 ... */
	const char *name;
	const char *sql;
};
/* A catalogue is two tables written once each. In the directory of a daemon:
 *
 *   queries.def     QUERY(INSTANCE_BY_ID, "s", "SELECT ... WHERE instance_id = $1", NULL)
 *   migrations.def  MIGRATION(1, "instances", "CREATE TABLE instance (...) TABLE_OPTIONS")
 *   schema.h        enum clc_query {
 *                   #define QUERY(name, types, text, postgres) CLC_##name,
 *                   #include "clc/queries.def"
 *                   #undef QUERY
 *                   };
 *                   extern const struct store_schema clc_schema;
 *   schema.c        #define QUERY STORE_QUERY_ROW
 *                   static const struct store_query queries[] = {
 *                   #include "clc/queries.def"
 *                   };
 *                   #define MIGRATION STORE_MIGRATION_ROW
 *                   static const struct store_migration migrations[] = {
 *                   #include "clc/migrations.def"
 *                   };
 *                   const struct store_schema clc_schema = STORE_SCHEMA("clc", queries, migrations);
 *
 * and `make check-postgres` runs every statement of it on both engines. */
#define STORE_QUERY_ROW(name, types, text, postgres) { #name, types, text, postgres },
#define STORE_MIGRATION_ROW(version, name, sql) { version, name, sql },
#define STORE_SCHEMA(daemon, queries, migrations)                                                  \
	{ daemon, queries, ARRAY_SIZE(queries), migrations, ARRAY_SIZE(migrations) }
#define STORE_PARAMETERS_MAX 48 /* $1..$48 in one statement */
struct store_schema {
	const char *daemon;
	const struct store_query *queries;
	unsigned query_count;
	const struct store_migration *migrations;
	unsigned migration_count;
};

/* url: "sqlite:/var/lib/mallee/clc/clc.db". Creates, migrates (backing the file up before the first
 * step), refuses a newer schema (ERR_UNSUPPORTED), a damaged file (ERR_CORRUPT), a file in use
 * (ERR_EXISTS). The base tables (lease, outbox, audit, meta) belong to every store. */
int store_open(const char *url, const struct store_schema *schema, const struct log *log,
    struct store **ret, struct err *e);
void store_close(struct store *s);
DEFINE_CLEANUP(struct store *, store_close)

typedef int (*store_fn)(struct store_tx *tx, void *arg, struct err *e);
/* Blocks until durable. A negative return of fn rolls its savepoint back and is passed on (other
 * returns are passed on as well). ERR_NO_SPACE when the disk is full: nothing is lost, later writes
 * work again. Never from the loop thread. An I/O error while writing aborts the process: what the
 * disk holds is then read again by the next start, never guessed from memory.
 *
 * Statements fail with ERR_EXISTS (a key that is there already), ERR_CONFLICT (a foreign key),
 * ERR_NO_SPACE, ERR_CORRUPT, ERR_IO. After such an error the closure has failed, as in PostgreSQL:
 * every further statement returns the same code and the savepoint is rolled back whatever fn
 * returns. Where a duplicate is expected write ON CONFLICT DO NOTHING and look at *ret_changed. */
int store_write(struct store *s, store_fn fn, void *arg, struct err *e);
/* As store_write, but returns at once, on any thread, a loop's too: then(then_arg, result) is called when
 * store_write would have returned, on the writer's thread, where it may neither block nor write. arg and e
 * live until then. */
void store_write_then(struct store *s, store_fn fn, void *arg, struct err *e,
    void (*then)(void *arg, int r), void *then_arg);
/* Called on the writer's thread when the last `then` of a commit has returned: what they gathered can
 * be passed on together. One per store. */
void store_on_told(struct store *s, void (*fn)(void *arg), void *arg);
/* For a cache of rows: what closures write, told on the writer's thread. wrote: a statement that writes
 * `table`, before it runs, with its first two parameters when they are an integer and bytes (else 0 and
 * p NULL: it may be any row). ended: the transaction of all that was told is over, durable or undone, and
 * none of its callers has returned or was called back. One watch per store; it outlives the store. */
struct store_watch {
	const char *table;
	void (*wrote)(void *arg, int64_t first, struct str second);
	void (*ended)(void *arg);
	void *arg;
};
void store_set_watch(struct store *s, const struct store_watch *watch);
/* A snapshot: all statements of one closure see the same state. Writes are refused. Do not nest. */
int store_read(struct store *s, store_fn fn, void *arg, struct err *e);
/* Writes a heartbeat row every half second and keeps health condition "store" (ready: the last one
 * was durable within 1 s). Started by store_open; stops with the store. */

/* Runs a statement that returns no rows. *ret_changed (may be NULL) counts rows: compare-and-set is
 * "UPDATE ... WHERE id = $1 AND revision = $2" and a count of 0. Variadic arguments by type letter:
 * s const char * (NULL is SQL NULL), i int64_t (exactly: cast!), b struct str (p NULL is SQL NULL). */
int store_exec(struct store_tx *tx, unsigned query, int64_t *ret_changed, struct err *e, ...);
/* Opens a result; step with store_next: 1 a row, 0 the end, negative an error. Columns are borrowed
 * until the next step. Free before the closure returns. */
int store_query(struct store_tx *tx, unsigned query, struct store_rows **ret, struct err *e, ...);
int store_next(struct store_rows *rows, struct err *e);
void store_rows_free(struct store_rows *rows);
DEFINE_CLEANUP(struct store_rows *, store_rows_free)
const char *store_text(struct store_rows *rows, unsigned column); /* NULL for SQL NULL */
int64_t store_int(struct store_rows *rows, unsigned column);      /* 0 for SQL NULL */
bool store_is_null(struct store_rows *rows, unsigned column);
struct str store_blob(struct store_rows *rows, unsigned column);
/* One row: opens, steps once; ERR_NOT_FOUND with `what` in the text when there is none. */
int store_query_one(struct store_tx *tx, unsigned query, struct store_rows **ret, const char *what,
    struct err *e, ...);

int64_t store_now_us(struct store_tx *tx); /* the same within one closure */
/* The engine's own: a copy of the whole store while it is in use, durable at return. The copy has no
 * epoch: whoever opens it gets a new one. */
int store_backup(struct store *s, const char *path, struct err *e);
uint64_t store_epoch(struct store *s); /* made when the file was made or restored; never 0 */
