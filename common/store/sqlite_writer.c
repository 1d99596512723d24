/* The writer: one thread that runs the closures of store_write, and group commit. Whatever is
 * queued when a commit ends becomes the next transaction, each closure as if in a savepoint of its
 * own, and the callers wake after COMMIT has reached the disk; the fsync that makes commits slow is
 * shared by all who wait for it, and nobody waits for company.
 *
 * A transaction that fails as a whole (a full disk) takes nobody down with it: its closures run
 * again one by one, so that a small one still finds the room that a big one did not. That is why
 * closures must bear to run twice.
 *
 * The thread also writes the heartbeat. It goes the way of any write, so when it arrives, writes
 * do. */
#include "store/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "run/health.h"

int checkpoint_pages = CHECKPOINT_PAGES;

static bool
transaction_is_lost(struct store *s)
{
	return sqlite3_get_autocommit(s->writer->db) != 0;
}

/* Runs one closure. Negative: the whole transaction has failed. *ret_has_failed: what it did, or
 * tried to, has to be undone. */
static int
job_run(struct store *s, struct job *job, bool *ret_has_failed, struct err *e)
{
	int64_t changes = sqlite3_total_changes64(s->writer->db);
	uint64_t revision = s->writer->outbox_revision;
	struct store_tx tx;

	err_clear(job->e);
	job->revision = 0;
	tx_init(&tx, s->writer);
	job->r = job->fn(&tx, job->arg, job->e);
	tx_done(&tx);
	if (tx.failed && job->r >= 0) /* fn looked away */
		job->r = err_set(job->e, tx.failed, "a statement of the transaction failed");
	if (transaction_is_lost(s))
		return err_set(
		    e, tx.failed ? tx.failed : ERR_IO, "the transaction was rolled back");
	if (job->r < 0)
		s->writer->outbox_revision = revision;
	else
		job->revision = tx.last_revision;
	*ret_has_failed =
	    job->r < 0 && (tx.failed || sqlite3_total_changes64(s->writer->db) != changes);
	return 0;
}

static int
job_run_apart(struct store *s, struct job *job, struct err *e)
{
	bool has_failed = false;
	int r = conn_control(s->writer, CONTROL_SAVEPOINT, e);

	if (r >= 0)
		r = job_run(s, job, &has_failed, e);
	if (r >= 0 && has_failed)
		r = conn_control(s->writer, CONTROL_ROLLBACK_TO, e);
	return r < 0 ? r : conn_control(s->writer, CONTROL_RELEASE, e);
}

static int
begin(struct store *s, struct err *e)
{
	s->writer->outbox_revision = 0;
	return conn_control(s->writer, CONTROL_BEGIN_IMMEDIATE, e);
}

/* A savepoint for each closure costs as much as the closure: with every one of them the pages that
 * all write are copied anew. So they run without, and all again with one each when one has to be
 * undone. */
static int
jobs_run_all(struct store *s, struct job **jobs, size_t count, struct err *e)
{
	bool has_failed = false;
	int r = begin(s, e);

	for (size_t i = 0; i < count && r >= 0 && !has_failed; i++)
		r = job_run(s, jobs[i], &has_failed, e);
	if (r < 0 || !has_failed)
		return r;
	r = conn_control(s->writer, CONTROL_ROLLBACK, e);
	if (r >= 0)
		r = begin(s, e);
	for (size_t i = 0; i < count && r >= 0; i++)
		r = job_run_apart(s, jobs[i], e);
	return r;
}

static int
commit(struct store *s, struct err *e)
{
	uint64_t start_us;
	struct store_tx tx;
	int r = 0;

	tx_init(&tx, s->writer);
	if (s->writer->outbox_revision)
		r = outbox_settle(&tx, e);
	if (r < 0)
		return r;
	start_us = clock_monotonic_us();
	r = conn_control(s->writer, CONTROL_COMMIT, e);
	metric_observe(s->commit_seconds, (double)(clock_monotonic_us() - start_us) / 1e6);
	return r;
}

static int
jobs_commit(struct store *s, struct job **jobs, size_t count, struct err *e)
{
	const struct store_watch *watch;
	int r;

	errno = 0; /* what conn_error may find in it is then of this transaction */
	r = jobs_run_all(s, jobs, count, e);
	if (r >= 0)
		r = commit(s, e);
	if (r < 0 && !transaction_is_lost(s))
		(void)conn_control(s->writer, CONTROL_ROLLBACK, NULL); /* r has the reason */
	watch = atomic_load(&s->watch);
	if (watch)
		watch->ended(watch->arg);
	return r;
}

/* Leaves each job with its result. */
static void
jobs_run(struct store *s, struct job **jobs, size_t count)
{
	struct err e = { 0 };
	int r = jobs_commit(s, jobs, count, &e);

	if (r >= 0) {
		metric_add(s->commits, 1);
		return;
	}
	metric_add(s->failures, 1);
	if (count == 1) {
		/* What the closure itself found wrong says more than the lost transaction. */
		if (jobs[0]->r >= 0 || e.code == 0) {
			jobs[0]->r = r;
			if (jobs[0]->e)
				*jobs[0]->e = e;
		}
		jobs[0]->revision = 0;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		jobs[i]->r = 0;
		jobs_run(s, &jobs[i], 1);
	}
}

static int
heartbeat(struct store_tx *tx, void *arg, struct err *e)
{
	char value[24];

	(void)arg;
	snprintf(value, sizeof(value), "%lld", (long long)store_now_us(tx));
	return store_exec(tx, BASE_META_SET, NULL, e, "heartbeat", value);
}

/* Waits for work or the next heartbeat; takes the queue. False when the store closes. */
static bool
queue_take(struct store *s, uint64_t heartbeat_ms, struct job **jobs, size_t *ret_count)
{
	LOCK_SCOPE(&s->writer_lock);

	while (list_is_empty(&s->queue)) {
		uint64_t now_ms = clock_monotonic_ms();

		if (s->is_stopping)
			return false;
		if (now_ms >= heartbeat_ms)
			break;
		(void)lock_wait(&s->writer_lock, &s->work, (int)(heartbeat_ms - now_ms));
	}
	for (*ret_count = 0; *ret_count < BATCH_MAX && !list_is_empty(&s->queue); (*ret_count)++) {
		struct job *job = CONTAINER_OF(s->queue.next, struct job, link);

		list_remove(&job->link);
		jobs[*ret_count] = job;
	}
	s->queue_length -= (unsigned)*ret_count;
	metric_set(s->queued, s->queue_length);
	return true;
}

/* Tells of new events, then wakes the callers: who has returned from its write knows that the
 * telling is over, and may take down what is told. */
static void
jobs_finish(struct store *s, struct job **jobs, size_t count)
{
	void (*on_events)(void *, uint64_t), (*on_told)(void *);
	void *arg, *told_arg;
	uint64_t revision = 0;
	bool is_any_told = false;

	lock_take(&s->writer_lock);
	on_events = s->on_events;
	arg = s->on_events_arg;
	on_told = s->on_told;
	told_arg = s->on_told_arg;
	lock_release(&s->writer_lock);
	for (size_t i = 0; i < count; i++)
		if (jobs[i]->revision > revision)
			revision = jobs[i]->revision;
	if (revision && on_events)
		on_events(arg, revision);
	/* Without the lock, which all that wake would want at once. */
	for (size_t i = 0; i < count; i++) {
		if (!jobs[i]->then) {
			(void)sem_post(&jobs[i]->done);
			continue;
		}
		jobs[i]->then(jobs[i]->then_arg, jobs[i]->r);
		is_any_told = true;
		free(jobs[i]);
	}
	if (is_any_told && on_told)
		on_told(told_arg);
}

/* While the writer is busy the log can't begin anew, so that each copying only shortens the last
 * one, which holds up everybody: it is asked for at half of what is left, and again. At rest, at
 * once. */
static void
ask_keeper(struct store *s, bool is_resting)
{
	int forced = CHECKPOINT_FORCED * checkpoint_pages;

	LOCK_SCOPE(&s->writer_lock);
	if (s->wal_pages < checkpoint_pages)
		s->checkpoint_due = checkpoint_pages;
	if (s->is_checkpoint_wanted || s->wal_pages < checkpoint_pages ||
	    (s->wal_pages < s->checkpoint_due && !is_resting))
		return;
	s->checkpoint_due = s->wal_pages + (forced - s->wal_pages) / 2;
	s->is_checkpoint_wanted = true;
	pthread_cond_signal(&s->keep);
}

static int
on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct store *s = arg;
	sqlite3_int64 size = 4096;

	(void)db;
	(void)name;
	s->wal_pages = pages;
	metric_set(s->wal_bytes, (double)(pages * size));
	return SQLITE_OK;
}

/* The keeper works while we write and may never catch up with a writer that never rests, but the
 * log must not grow for ever: wait for it, and copy what came meanwhile. */
static void
log_rest(struct store *s)
{
	lock_take(&s->writer_lock);
	while (s->is_checkpoint_wanted && !s->is_stopping)
		(void)lock_wait(&s->writer_lock, &s->kept, -1);
	lock_release(&s->writer_lock);
	(void)sqlite3_wal_checkpoint_v2(s->writer->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
	    NULL); /* tried again after the next batch */
}

static void *
writer_main(void *arg)
{
	struct store *s = arg;
	struct job *jobs[BATCH_MAX + 1];
	uint64_t heartbeat_ms = clock_monotonic_ms();
	bool was_beating = true;
	size_t count;

	while (queue_take(s, heartbeat_ms, jobs, &count)) {
		struct err e = { 0 };
		struct job beat = { .fn = heartbeat, .e = &e };
		size_t queued = count;

		if (clock_monotonic_ms() >= heartbeat_ms) {
			heartbeat_ms = clock_monotonic_ms() + HEARTBEAT_MS;
			jobs[count++] = &beat;
		}
		jobs_run(s, jobs, count);
		metric_add(s->writes, (double)queued);
		jobs_finish(s, jobs, queued);
		ask_keeper(s, queued == 0);
		if (count > queued) {
			if (beat.r < 0 && was_beating)
				log_warn(&s->log, "store.not_writable", "error=\"%s\"", e.text);
			if (beat.r >= 0 && !was_beating)
				log_info(&s->log, "store.writable_again", "path=%s", s->path);
			was_beating = beat.r >= 0;
			health_set("store", beat.r >= 0, "%s", e.text);
		}
		if (s->wal_pages >= CHECKPOINT_FORCED * checkpoint_pages)
			log_rest(s);
	}
	return NULL;
}

int
writer_start(struct store *s, struct err *e)
{
	int number;

	(void)sqlite3_wal_hook(
	    s->writer->db, on_wal, s); /* returns the argument of an earlier hook */
	health_expect("store", HEARTBEAT_LATE_MS);
	health_set("store", false, "starting");
	number = pthread_create(&s->writer_thread, NULL, writer_main, s);
	if (number)
		return err_set_errno(e, number, "cannot start the store's writer");
	s->has_writer_thread = true;
	return 0;
}

void
writer_stop(struct store *s)
{
	if (!s->has_writer_thread)
		return;
	lock_take(&s->writer_lock);
	s->is_stopping = true;
	pthread_cond_signal(&s->work);
	pthread_cond_signal(&s->kept);
	lock_release(&s->writer_lock);
	pthread_join(s->writer_thread, NULL);
	s->has_writer_thread = false;
	health_set("store", false, "closed");
}

void
store_set_watch(struct store *s, const struct store_watch *watch)
{
	atomic_store(&s->watch, watch);
}

void
store_on_told(struct store *s, void (*fn)(void *arg), void *arg)
{
	LOCK_SCOPE(&s->writer_lock);
	s->on_told = fn;
	s->on_told_arg = arg;
}

static void
queue_add(struct store *s, struct job *job)
{
	LOCK_SCOPE(&s->writer_lock);
	assert(!s->is_stopping);
	list_add_tail(&s->queue, &job->link);
	s->queue_length++;
	if (s->queue_length == 1)
		pthread_cond_signal(&s->work);
}

void
store_write_then(struct store *s, store_fn fn, void *arg, struct err *e,
    void (*then)(void *arg, int r), void *then_arg)
{
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job){ .fn = fn, .arg = arg, .e = e, .then = then, .then_arg = then_arg };
	queue_add(s, job);
}

int
store_write(struct store *s, store_fn fn, void *arg, struct err *e)
{
	struct job job = { .fn = fn, .arg = arg, .e = e };

	assert(!pthread_equal(
	    pthread_self(), s->writer_thread)); /* a write within a write: never ends */
	(void)sem_init(&job.done, 0, 0);
	queue_add(s, &job);
	while (sem_wait(&job.done) < 0)
		continue; /* a signal came */
	(void)sem_destroy(&job.done);
	return job.r;
}
