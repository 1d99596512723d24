/* Opening and closing a store, readers. One process has a store, kept by a lock on a file
 * beside it that the kernel drops with the process, however it dies.
 *
 * The order at open: lock, check the file, migrate, prepare every statement, settle the epoch,
 * start the threads. Whatever is wrong is found before the daemon says that it is ready. */
#include "store/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "run/fd.h"
#include "store/sql_text.h"

/* ---- opening ---- */

static int
lock_store(struct store *s, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s.lock", s->path);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char pid[16] = "";
	int n;

	if (fd < 0)
		return err_set_errno(e, errno, "cannot open '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_set_errno(e, errno, "cannot lock '%s'", path);
		if (pread(fd, pid, sizeof(pid) - 1, 0) < 0)
			pid[0] = 0;
		pid[strspn(pid, "0123456789")] = 0;
		return err_set(e, ERR_EXISTS, "'%s' is in use by process %s", s->path,
		    pid[0] ? pid : "unknown");
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) < 0) {
		/* The number only helps whom the lock refuses; a full disk must not stop a start.
		 */
	}
	s->lock_fd = TAKE_FD(fd);
	return 0;
}

static int
check_file(struct store *s, struct err *e)
{
	struct stat st;

	if (stat(s->path, &st) < 0)
		return err_set_errno(e, errno, "cannot read '%s'", s->path);
	if (st.st_size > check_at_open_bytes) {
		s->is_check_due = true;
		return 0;
	}
	return conn_quick_check(s->writer, e);
}

/* The epoch is kept with the number of the file it was made in: a file that was copied back from
 * somewhere has another one, and gets another epoch. */
static int
settle_epoch(struct store_tx *tx, void *arg, struct err *e)
{
	struct store *s = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	unsigned long long epoch = 0, file = 0;
	struct stat st;
	char text[48];
	int r;

	if (stat(s->path, &st) < 0)
		return err_set_errno(e, errno, "cannot read '%s'", s->path);
	r = store_query_one(tx, BASE_META_GET, &rows, "epoch", e, "epoch");
	if (r < 0 && r != ERR_NOT_FOUND)
		return r;
	if (r >= 0 && sscanf(store_text(rows, 0), "%llu %llu", &epoch, &file) == 2 && epoch != 0 &&
	    file == st.st_ino) {
		s->epoch = epoch;
		return 0;
	}
	do {
		random_bytes(&s->epoch, sizeof(s->epoch));
		s->epoch >>= 1; /* travels as a signed number elsewhere */
	} while (s->epoch == 0);
	snprintf(text, sizeof(text), "%llu %llu", (unsigned long long)s->epoch,
	    (unsigned long long)st.st_ino);
	err_clear(e);
	return store_exec(tx, BASE_META_SET, NULL, e, "epoch", text);
}

static void
make_metrics(struct store *s)
{
	s->commits =
	    metric_counter("mallee_store_commits_total", NULL, "Transactions made durable");
	s->writes = metric_counter("mallee_store_writes_total", NULL,
	    "Closures run; divided by commits this is the batch size");
	s->failures = metric_counter(
	    "mallee_store_commit_failures_total", NULL, "Transactions that failed as a whole");
	s->commit_seconds = metric_histogram(
	    "mallee_store_commit_seconds", NULL, "Time of COMMIT, which waits for the disk");
	s->queued = metric_gauge("mallee_store_queue", NULL, "Closures waiting for the writer");
	s->wal_bytes = metric_gauge("mallee_store_log_bytes", NULL, "Size of the write-ahead log");
	s->checkpoint_seconds = metric_histogram("mallee_store_checkpoint_seconds", NULL,
	    "Time to copy the write-ahead log into the file");
}

static int
open_sqlite(struct store *s, struct err *e)
{
	int r;

	r = lock_store(s, e);
	if (r >= 0)
		r = file_make_private(s->path, e);
	if (r >= 0)
		r = conn_new(s, s->path, true, &s->writer, e);
	if (r >= 0)
		r = check_file(s, e);
	if (r >= 0)
		r = migrate(s, e);
	if (r >= 0)
		r = conn_prepare_all(s->writer, e);
	if (r >= 0)
		r = file_sync_parent(s->path, e);
	s->is_running = true;
	if (r >= 0)
		r = keeper_start(s, e);
	if (r >= 0)
		r = writer_start(s, e);
	if (r >= 0)
		r = store_write(s, settle_epoch, s, e);
	return r;
}

/* Before the engine starts. It would count each byte it allocates, under a lock of all threads. */
static void
configure_engine(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int
store_open(const char *url, const struct store_schema *schema, const struct log *log,
    struct store **ret, struct err *e)
{
	_cleanup_(store_closep) struct store *s = NULL;
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct str rest = str_of(url);
	int r;

	(void)pthread_once(&once, configure_engine);

	if (str_starts(rest, "postgresql:"))
		return err_set(e, ERR_UNSUPPORTED, "'%s': PostgreSQL is not supported yet", url);
	if (!str_starts(rest, "sqlite:/"))
		return err_set(e, ERR_INVALID, "'%s' is not a store: write sqlite:/PATH", url);
	r = sql_schema_check(schema, e);
	if (r >= 0)
		r = sql_schema_check(&store_base_schema, e);
	if (r < 0)
		return r;

	s = xcalloc(1, sizeof(*s));
	s->path = xstrdup(url + strlen("sqlite:"));
	s->schema = *schema;
	s->log_daemon = xstrdup(log && log->daemon ? log->daemon : schema->daemon);
	s->log.daemon = s->log_daemon;
	s->lock_fd = -1;
	lock_init(&s->readers_lock, LOCK_STORE_READERS);
	lock_init(&s->writer_lock, LOCK_STORE_WRITER);
	pthread_cond_init(&s->reader_freed, NULL);
	pthread_cond_init(&s->work, NULL);
	pthread_cond_init(&s->keep, NULL);
	pthread_cond_init(&s->kept, NULL);
	list_init(&s->queue);
	make_metrics(s);

	r = open_sqlite(s, e);
	if (r < 0)
		return r;
	*ret = TAKE(s);
	return 0;
}

void
store_close(struct store *s)
{
	if (!s)
		return;
	writer_stop(s);
	keeper_stop(s);
	while (s->idle_readers) {
		struct conn *c = s->idle_readers;

		s->idle_readers = c->next;
		s->reader_count--;
		conn_free(c);
	}
	assert(s->reader_count == 0); /* nobody reads any more */
	conn_free(s->writer);         /* the last connection: copies the log and removes it */
	fd_close(s->lock_fd);
	pthread_cond_destroy(&s->reader_freed);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->keep);
	pthread_cond_destroy(&s->kept);
	lock_done(&s->readers_lock);
	lock_done(&s->writer_lock);
	free(s->log_daemon);
	free(s->path);
	free(s);
}

uint64_t
store_epoch(struct store *s)
{
	return s->epoch;
}

/* ---- reading ---- */

static int
reader_take(struct store *s, struct conn **ret, struct err *e)
{
	int r;

	lock_take(&s->readers_lock);
	while (!s->idle_readers && s->reader_count == READERS_MAX)
		(void)lock_wait(&s->readers_lock, &s->reader_freed, -1);
	*ret = s->idle_readers;
	if (*ret)
		s->idle_readers = (*ret)->next;
	else
		s->reader_count++;
	lock_release(&s->readers_lock);
	if (*ret)
		return 0;

	r = conn_new(s, s->path, false, ret, e);
	if (r >= 0)
		r = conn_run(*ret, "PRAGMA query_only = ON", e);
	if (r >= 0)
		return 0;
	conn_free(*ret);
	lock_take(&s->readers_lock);
	s->reader_count--;
	pthread_cond_signal(&s->reader_freed);
	lock_release(&s->readers_lock);
	return r;
}

static void
reader_release(struct store *s, struct conn *c)
{
	LOCK_SCOPE(&s->readers_lock);

	c->next = s->idle_readers;
	s->idle_readers = c;
	pthread_cond_signal(&s->reader_freed);
}

int
store_read(struct store *s, store_fn fn, void *arg, struct err *e)
{
	struct store_tx tx;
	struct conn *c = NULL;
	int r;

	r = reader_take(s, &c, e);
	if (r < 0)
		return r;
	r = conn_control(c, CONTROL_BEGIN, e);
	if (r >= 0) {
		tx_init(&tx, c);
		r = fn(&tx, arg, e);
		tx_done(&tx);
		if (tx.failed && r >= 0) /* fn looked away */
			r = err_set(e, tx.failed, "a statement of the transaction failed");
		if (!sqlite3_get_autocommit(c->db))
			(void)conn_control(c, CONTROL_ROLLBACK, NULL); /* nothing was written */
	}
	reader_release(s, c);
	return r;
}
