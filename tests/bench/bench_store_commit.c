/* Durable commits per second: store_write from 1, 16 and 64 clients against bare SQLite, which
 * commits one row at a time in the same kind of file (WAL, synchronous=FULL). One client shows what
 * the writer thread costs, many what group commit gains. A row and an event each, as a mutation
 * has. */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/clock.h"
#include "store/outbox.h"
#include "tests/lib/store_fixture.h"

#define ROUNDS 5
#define ROUND_MS 400
#define CLIENTS_MAX 64

static const struct {
	unsigned clients;
	const char *name, *goal;
} cases[] = {
	{ 1, "store_commit_1_client", ">=0.7" },
	{ 16, "store_commit_16_clients", ">=2.5" },
	{ 64, "store_commit_64_clients", ">=4" },
};

static atomic_llong next_id;
static atomic_bool is_over;

static int
add(struct store_tx *tx, void *arg, struct err *e)
{
	int64_t id = *(int64_t *)arg;
	int r = store_exec(
	    tx, Q_ITEM_ADD, NULL, e, id, "a row as long as a small resource has", STR("body"));

	return r < 0 ? r : outbox_add(tx, "item", "i-0123456789abcdef0", "000012345678", NULL, e);
}

static void *
client_main(void *arg)
{
	unsigned long count = 0;

	while (!is_over) {
		int64_t id = next_id++;
		struct err e = { 0 };

		if (store_write(arg, add, &id, &e) < 0) {
			fprintf(stderr, "%s\n", e.text);
			exit(1);
		}
		count++;
	}
	return (void *)count;
}

static double
measure_ours(struct store *s, unsigned clients)
{
	pthread_t threads[CLIENTS_MAX];
	uint64_t start_us = clock_monotonic_us();
	unsigned long total = 0;

	is_over = false;
	for (unsigned i = 0; i < clients; i++)
		pthread_create(&threads[i], NULL, client_main, s);
	usleep(ROUND_MS * 1000);
	is_over = true;
	for (unsigned i = 0; i < clients; i++) {
		void *count;

		pthread_join(threads[i], &count);
		total += (unsigned long)count;
	}
	return (double)total * 1e6 / (double)(clock_monotonic_us() - start_us);
}

static void
must(sqlite3 *db, int rc)
{
	if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW) {
		fprintf(stderr, "%s\n", sqlite3_errmsg(db));
		exit(1);
	}
}

static double
measure_sqlite(sqlite3 *db, sqlite3_stmt *const stmts[4])
{
	uint64_t start_us = clock_monotonic_us(), now_us = start_us;
	unsigned long total = 0;

	while (now_us - start_us < ROUND_MS * 1000) {
		sqlite3_bind_int64(stmts[1], 1, next_id++);
		for (int i = 0; i < 4; i++) {
			must(db, sqlite3_step(stmts[i]));
			must(db, sqlite3_reset(stmts[i]));
		}
		total++;
		now_us = clock_monotonic_us();
	}
	return (double)total * 1e6 / (double)(now_us - start_us);
}

static sqlite3 *
open_sqlite(const char *path, sqlite3_stmt *stmts[4])
{
	static const char *const texts[] = { "BEGIN",
		"INSERT INTO item VALUES (?, 'a row as long as a small resource has', x'626f6479', "
		"1)",
		"INSERT INTO outbox VALUES ((SELECT COALESCE(MAX(revision), 0) + 1 FROM outbox), 1,"
		" 'item', 'i-0123456789abcdef0', '000012345678', NULL)",
		"COMMIT" };
	sqlite3 *db;

	must(NULL, sqlite3_open(path, &db));
	must(db,
	    sqlite3_exec(db,
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		"CREATE TABLE item (id INT PRIMARY KEY, note TEXT, body BLOB, revision INT) STRICT;"
		"CREATE TABLE outbox (revision INT PRIMARY KEY, at_us INT, kind TEXT, id TEXT,"
		" account_id TEXT, detail TEXT) STRICT, WITHOUT ROWID",
		NULL, NULL, NULL));
	for (int i = 0; i < 4; i++)
		must(db, sqlite3_prepare_v2(db, texts[i], -1, &stmts[i], NULL));
	return db;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double *figures)
{
	qsort(figures, ROUNDS, sizeof(*figures), by_size);
	return figures[ROUNDS / 2];
}

int
main(void)
{
	const char *build = getenv("BUILD");
	struct fixture f = { 0 };
	double ours[ARRAY_SIZE(cases)][ROUNDS], bare[ROUNDS];
	sqlite3_stmt *stmts[4];
	sqlite3 *db;

	/* on the disk that holds the build: /tmp may be memory */
	snprintf(
	    f.directory, sizeof(f.directory), "%s/bench-store-XXXXXX", build ? build : "build");
	if (!mkdtemp(f.directory) || chdir(f.directory) < 0) {
		perror(f.directory);
		return 1;
	}
	_cleanup_free_ char *here = getcwd(NULL, 0);
	_cleanup_free_ char *bare_path = xasprintf("%s/bare.db", here);

	f.path = xasprintf("%s/store.db", here);
	f.url = xasprintf("sqlite:%s", f.path);
	fixture_open(&f, &fixture_schema);
	db = open_sqlite(bare_path, stmts);
	for (unsigned round = 0; round < ROUNDS; round++) {
		bare[round] = measure_sqlite(db, stmts);
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
			ours[i][round] = measure_ours(f.store, cases[i].clients);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		printf("%s\t%.0f\t%.0f\tcommits/s\t%s\n", cases[i].name, median(ours[i]),
		    median(bare), cases[i].goal);
	for (int i = 0; i < 4; i++)
		sqlite3_finalize(stmts[i]);
	sqlite3_close(db);
	fixture_close(&f);
	fixture_remove_directory(here);
	free(f.path);
	free(f.url);
	return 0;
}
