#pragma once
/* Inside of the SQLite driver: a connection with its statements, the writer, the store. */
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include "base/list.h"
#include "run/lock.h"
#include "run/metrics.h"
#include "store/schema.h"

#define READERS_MAX 16 /* connections that read at the same time; more callers wait */
#define BATCH_MAX 256  /* closures in one commit */
#define HEARTBEAT_MS 500
#define HEARTBEAT_LATE_MS 1000 /* past it the store is not ready */
#define BUSY_TIMEOUT_MS 5000   /* only a stranger (sqlite3 on the command line) can make us wait */
#define CHECKPOINT_PAGES 4096  /* 16 MiB of log: the keeper copies it into the file */
/* Times that: the writer does so itself, before it accepts more. What the log's file has grown to it keeps
 * (journal_size_limit), as room that is there already takes half as long to write. */
#define CHECKPOINT_FORCED 4
#define CHECK_AT_OPEN_BYTES                                                                        \
	(256 << 20) /* larger files are checked by the keeper, after the start */

struct store_rows {
	struct store_tx *tx;
	const struct store_query *query;
	sqlite3_stmt *stmt;
	bool is_open;
	bool
	    is_extra; /* the catalogue's own statement was in use: finalized and freed at the end */
};

struct statement {
	sqlite3_stmt *stmt;                   /* NULL until first used */
	int parameters[STORE_PARAMETERS_MAX]; /* SQLite's number of $1, $2, ... */
	struct store_rows rows;
};

/* What surrounds closures; prepared once per connection, when first used. */
enum control {
	CONTROL_BEGIN,
	CONTROL_BEGIN_IMMEDIATE,
	CONTROL_COMMIT,
	CONTROL_ROLLBACK,
	CONTROL_SAVEPOINT,
	CONTROL_ROLLBACK_TO,
	CONTROL_RELEASE,
	CONTROL_MAX
};

struct conn {
	struct store *store;
	sqlite3 *db;
	bool is_writer;
	sqlite3_stmt *controls[CONTROL_MAX];
	uint64_t outbox_revision; /* of the transaction under way: the last one taken; 0: none was */
	struct statement *statements; /* the daemon's, then the base catalogue's */
	struct conn *next;            /* in the pool */
};

struct store_tx {
	struct store *store;
	struct conn *conn;
	int64_t now_us;
	unsigned open_rows;
	int failed;             /* the first engine error: the closure has failed */
	uint64_t last_revision; /* of the events this closure added, or 0 */
};

/* One call of store_write, on the caller's stack until `done`; or of store_write_then, on the heap. */
struct job {
	struct list link;
	store_fn fn;
	void *arg;
	struct err *e;
	int r;
	uint64_t revision;
	void (*then)(void *arg, int r); /* NULL: the caller waits for `done` */
	void *then_arg;
	sem_t done; /* posted once: the job is gone then */
};

struct store {
	char *path;
	struct store_schema schema;
	struct log log;
	char *log_daemon;
	int lock_fd;
	uint64_t epoch;
	bool is_running; /* from the end of store_open: I/O errors of the writer end the process */

	struct lock readers_lock;
	pthread_cond_t reader_freed;
	struct conn *idle_readers; /* under readers_lock */
	unsigned reader_count;     /* under readers_lock */

	struct lock writer_lock;
	pthread_cond_t work;                             /* the writer has something to do */
	pthread_cond_t keep;                             /* the keeper has */
	pthread_cond_t kept;                             /* the keeper is done with a checkpoint */
	struct list queue;                               /* of struct job, under writer_lock */
	unsigned queue_length;                           /* under writer_lock */
	bool is_stopping;                                /* under writer_lock */
	bool is_checkpoint_wanted;                       /* under writer_lock */
	void (*on_events)(void *arg, uint64_t revision); /* under writer_lock */
	void *on_events_arg;
	void (*on_told)(void *arg); /* under writer_lock */
	void *on_told_arg;
	pthread_t writer_thread, keeper_thread;
	bool has_writer_thread, has_keeper_thread;

	_Atomic(const struct store_watch *) watch; /* read by the writer thread */

	struct conn *writer;        /* the writer thread's own, before it starts the opener's */
	int wal_pages;              /* the writer thread's own */
	int checkpoint_due;         /* the same: so many pages, and the keeper is asked */
	struct conn *keeper;        /* the keeper thread's own */
	bool is_check_due;          /* written before the keeper starts */
	bool has_checkpoint_failed; /* the keeper thread's own: the last one */

	struct metric *commits, *writes, *failures, *commit_seconds, *queued, *wal_bytes;
	struct metric *checkpoint_seconds;
};

/* sqlite_conn.c */
int conn_new(struct store *s, const char *path, bool is_writer, struct conn **ret, struct err *e);
void conn_free(struct conn *c);
DEFINE_CLEANUP(struct conn *, conn_free)
int conn_prepare_all(struct conn *c, struct err *e);          /* finds a wrong statement at start */
int conn_run(struct conn *c, const char *sql, struct err *e); /* constant text, no rows wanted */
int conn_control(struct conn *c, enum control control, struct err *e);
/* SQLite's last error on this connection in our codes. On the running writer an I/O error does not
 * return. */
int conn_error(struct conn *c, int rc, struct err *e, const char *what);
void tx_init(struct store_tx *tx, struct conn *c);
/* Asserts that the closure closed its results. */
void tx_done(struct store_tx *tx);

/* outbox.c */
int outbox_settle(struct store_tx *tx, struct err *e); /* before COMMIT, when there were events */

/* sqlite_file.c */
int file_make_private(const char *path, struct err *e); /* before anybody here has it open */
int file_sync_parent(const char *path, struct err *e);  /* syncs its directory */

/* sqlite_migrate.c */
int migrate(struct store *s, struct err *e); /* checks the versions, applies what is missing */

/* sqlite_writer.c */
int writer_start(struct store *s, struct err *e);
void writer_stop(struct store *s); /* finishes the queue */
extern int checkpoint_pages;       /* CHECKPOINT_PAGES; tests lower it before they open a store */

/* sqlite_keeper.c */
int keeper_start(struct store *s, struct err *e);
void keeper_stop(struct store *s);
int conn_quick_check(struct conn *c, struct err *e); /* ERR_CORRUPT says what is wrong */
extern int64_t check_at_open_bytes;                  /* CHECK_AT_OPEN_BYTES; tests lower it */
