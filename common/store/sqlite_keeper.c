/* The keeper: a thread for the slow work that no request should wait for. It copies the write-ahead
 * log into the file (a checkpoint fsyncs both; on the writer it would add milliseconds to the
 * slowest percent of commits) and checks files that are too large to be checked at start. */
#include "store/sqlite.h"

#include <errno.h>

#include "base/clock.h"
#include "run/health.h"

int64_t check_at_open_bytes = CHECK_AT_OPEN_BYTES;

int
conn_quick_check(struct conn *c, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = 0, rc;

	rc = sqlite3_prepare_v2(c->db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
	if (rc != SQLITE_OK)
		return conn_error(c, rc, e, "checking");
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		if (!text || strcmp(text, "ok") != 0)
			r = err_set(e, ERR_CORRUPT, "'%s' is damaged: %.300s", c->store->path,
			    text ? text : "");
	} else {
		r = conn_error(c, rc, e, "checking");
	}
	(void)sqlite3_finalize(stmt); /* repeats the error of the step */
	return r;
}

static void
checkpoint(struct store *s)
{
	uint64_t start_us = clock_monotonic_us();
	int rc;

	errno = 0;
	rc = sqlite3_wal_checkpoint_v2(s->keeper->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
		struct err e;

		(void)conn_error(s->keeper, rc, &e, "checkpoint");
		if (!s->has_checkpoint_failed) /* once, not with every commit */
			log_warn(&s->log, "store.checkpoint_failed", "error=\"%s\"", e.text);
	}
	s->has_checkpoint_failed = rc != SQLITE_OK && rc != SQLITE_BUSY;
	metric_observe(s->checkpoint_seconds, (double)(clock_monotonic_us() - start_us) / 1e6);
}

static void
check_late(struct store *s)
{
	struct err e = { 0 };

	int r = conn_quick_check(s->keeper, &e);

	if (r == 0) {
		health_set("store-integrity", true, "%s", "");
		log_info(&s->log, "store.checked", "path=%s", s->path);
	} else if (r == ERR_CORRUPT) { /* anything else: interrupted, because the store closes */
		health_set("store-integrity", false, "%s", e.text);
		log_error(&s->log, "store.damaged", "error=\"%s\"", e.text);
	}
}

static void *
keeper_main(void *arg)
{
	struct store *s = arg;

	if (s->is_check_due)
		check_late(s);
	lock_take(&s->writer_lock);
	while (!s->is_stopping) {
		if (!s->is_checkpoint_wanted) {
			(void)lock_wait(&s->writer_lock, &s->keep, -1);
			continue;
		}
		lock_release(&s->writer_lock);
		checkpoint(s);
		lock_take(&s->writer_lock);
		s->is_checkpoint_wanted = false;
		pthread_cond_signal(&s->kept);
	}
	lock_release(&s->writer_lock);
	return NULL;
}

int
keeper_start(struct store *s, struct err *e)
{
	int number, r;

	r = conn_new(s, s->path, false, &s->keeper, e);
	if (r < 0)
		return r;
	s->keeper->is_writer =
	    true; /* its I/O errors are the store's: a failed fsync ends the process */
	number = pthread_create(&s->keeper_thread, NULL, keeper_main, s);
	if (number)
		return err_set_errno(e, number, "cannot start the store's keeper");
	s->has_keeper_thread = true;
	return 0;
}

void
keeper_stop(struct store *s)
{
	if (s->has_keeper_thread) {
		if (s->is_check_due)
			sqlite3_interrupt(s->keeper->db);
		lock_take(&s->writer_lock);
		s->is_stopping = true;
		pthread_cond_signal(&s->keep);
		lock_release(&s->writer_lock);
		pthread_join(s->keeper_thread, NULL);
		s->has_keeper_thread = false;
	}
	conn_free(s->keeper);
	s->keeper = NULL;
}
