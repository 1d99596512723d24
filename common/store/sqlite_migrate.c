/* Migrations: two numbered sets, the base tables' and the daemon's, applied in order, each step in
 * a transaction with its row in schema_version. A file from a newer version is refused, and so is
 * one whose applied steps are not the steps compiled in (the SHA-256 of their text is recorded):
 * both mean that this program does not know what the tables look like. Before the first step that
 * changes an existing file a copy is made beside it. */
#include "store/sqlite.h"

#include "base/clock.h"
#include "store/sql_text.h"

static int
statement(struct conn *c, const char *sql, sqlite3_stmt **ret, struct err *e)
{
	int rc = sqlite3_prepare_v2(c->db, sql, -1, ret, NULL);

	return rc == SQLITE_OK ? 0 : conn_error(c, rc, e, "reading schema_version");
}

static void
finalizep(sqlite3_stmt **stmt)
{
	(void)sqlite3_finalize(*stmt); /* repeats the error of the step */
}

/* One applied step against the one compiled in. */
static int
check_applied(struct store *s, const struct store_schema *schema, uint32_t version,
    const char *digest, struct err *e)
{
	char own[SQL_DIGEST_SIZE];

	if (version > schema->migration_count)
		return err_set(e, ERR_UNSUPPORTED,
		    "'%s' was written by a newer version: schema '%s' is at step %u, this program "
		    "knows %u",
		    s->path, schema->daemon, version, schema->migration_count);
	sql_digest(schema->migrations[version - 1].sql, own);
	if (strcmp(own, digest) != 0)
		return err_set(e, ERR_UNSUPPORTED,
		    "'%s': step %u of schema '%s' is not the one this program was built with",
		    s->path, version, schema->daemon);
	return 0;
}

/* *ret_next is the index of the first step that is missing. */
static int
check_schema(struct store *s, const struct store_schema *schema, unsigned *ret_next, struct err *e)
{
	_cleanup_(finalizep) sqlite3_stmt *stmt = NULL;
	unsigned next = 0;
	int r, rc;

	r = statement(s->writer,
	    "SELECT version, sha256 FROM schema_version WHERE schema_name = ?1 ORDER BY version",
	    &stmt, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(
	    stmt, 1, schema->daemon, -1, SQLITE_STATIC); /* cannot fail: no copy */
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		int64_t version = sqlite3_column_int64(stmt, 0);

		if (version != (int64_t)next + 1)
			return err_set(e, ERR_CORRUPT, "'%s': step %u of schema '%s' is missing",
			    s->path, next + 1, schema->daemon);
		r = check_applied(
		    s, schema, (uint32_t)version, (const char *)sqlite3_column_text(stmt, 1), e);
		if (r < 0)
			return r;
		next++;
	}
	if (rc != SQLITE_DONE)
		return conn_error(s->writer, rc, e, "reading schema_version");
	*ret_next = next;
	return 0;
}

/* A store of another daemon would pass as an old one of ours. */
static int
check_owner(struct store *s, struct err *e)
{
	_cleanup_(finalizep) sqlite3_stmt *stmt = NULL;
	int r, rc;

	r = statement(s->writer,
	    "SELECT schema_name FROM schema_version WHERE schema_name NOT IN (?1, ?2)", &stmt, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, s->schema.daemon, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(stmt, 2, store_base_schema.daemon, -1, SQLITE_STATIC);
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		return err_set(e, ERR_UNSUPPORTED, "'%s' is the store of '%s', not of '%s'",
		    s->path, (const char *)sqlite3_column_text(stmt, 0), s->schema.daemon);
	return rc == SQLITE_DONE ? 0 : conn_error(s->writer, rc, e, "reading schema_version");
}

static int
record_step(struct store *s, const struct store_schema *schema, const struct store_migration *step,
    struct err *e)
{
	_cleanup_(finalizep) sqlite3_stmt *stmt = NULL;
	char digest[SQL_DIGEST_SIZE];
	int r, rc;

	sql_digest(step->sql, digest);
	r = statement(
	    s->writer, "INSERT INTO schema_version VALUES (?1, ?2, ?3, ?4, ?5)", &stmt, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_text(stmt, 1, schema->daemon, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(stmt, 2, step->version);
	(void)sqlite3_bind_text(stmt, 3, step->name, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(stmt, 4, clock_now_us());
	(void)sqlite3_bind_text(stmt, 5, digest, -1, SQLITE_STATIC);
	rc = sqlite3_step(stmt);
	return rc == SQLITE_DONE ? 0 : conn_error(s->writer, rc, e, "writing schema_version");
}

static int
apply_step(struct store *s, const struct store_schema *schema, const struct store_migration *step,
    struct err *e)
{
	_cleanup_strbuf_ struct strbuf sql = STRBUF_INIT;
	int r;

	sql_translate(&sql, SQL_SQLITE, step->sql);
	r = conn_run(s->writer, "BEGIN IMMEDIATE", e);
	if (r < 0)
		return r;
	if (sqlite3_exec(s->writer->db, strbuf_c(&sql), NULL, NULL, NULL) != SQLITE_OK)
		r = conn_error(s->writer, sqlite3_errcode(s->writer->db), e, step->name);
	if (r >= 0)
		r = record_step(s, schema, step, e);
	if (r >= 0)
		r = conn_run(s->writer, "COMMIT", e);
	if (r >= 0) {
		log_info(&s->log, "store.migrated", "schema=%s version=%u name=\"%s\"",
		    schema->daemon, step->version, step->name);
		return 0;
	}
	if (!sqlite3_get_autocommit(s->writer->db))
		(void)conn_run(s->writer, "ROLLBACK", NULL); /* the error is in e */
	return err_wrap(e, "step %u of schema '%s'", step->version, schema->daemon);
}

static int
apply_missing(struct store *s, const struct store_schema *schema, unsigned next, struct err *e)
{
	for (; next < schema->migration_count; next++) {
		int r = apply_step(s, schema, &schema->migrations[next], e);

		if (r < 0)
			return r;
	}
	return 0;
}

int
migrate(struct store *s, struct err *e)
{
	_cleanup_strbuf_ struct strbuf bootstrap = STRBUF_INIT;
	unsigned base_next = 0, next = 0;
	int r;

	sql_translate(&bootstrap, SQL_SQLITE, store_bootstrap_sql);
	r = conn_run(s->writer, strbuf_c(&bootstrap), e);
	if (r >= 0)
		r = check_owner(s, e);
	if (r >= 0)
		r = check_schema(s, &store_base_schema, &base_next, e);
	if (r >= 0)
		r = check_schema(s, &s->schema, &next, e);
	if (r < 0)
		return r;
	if (base_next > 0 &&
	    (base_next < store_base_schema.migration_count || next < s->schema.migration_count)) {
		_cleanup_free_ char *copy = xasprintf("%s.before-%u.%u", s->path,
		    store_base_schema.migration_count, s->schema.migration_count);

		r = store_backup(s, copy, e);
		if (r < 0)
			return err_wrap(e, "copying the store before its migration");
		log_info(&s->log, "store.backed_up", "path=%s", copy);
	}
	r = apply_missing(s, &store_base_schema, base_next, e);
	return r < 0 ? r : apply_missing(s, &s->schema, next, e);
}
