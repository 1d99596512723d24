/* The contract of store.h: closures, savepoints, snapshots, compare-and-set, concurrent writers,
 * one owner, backups, a full store, health. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "run/health.h"
#include "run/metrics.h"
#include "store/sqlite.h"
#include "tests/lib/store_fixture.h"

static const char binary[] = { 'a', 0, (char)0xff, '\'', 'z' };

struct seen {
	char *note;
	size_t body_n;
	char body[16];
	bool note_is_null, body_is_null;
	int64_t revision;
};

static int
add_types(struct store_tx *tx, void *arg, struct err *e)
{
	int r;

	r = store_exec(tx, Q_ITEM_ADD, NULL, e, (int64_t)1, "ünï'; DROP TABLE item; --",
	    (struct str){ binary, sizeof(binary) });
	if (r >= 0)
		r = store_exec(tx, Q_ITEM_ADD, NULL, e, INT64_MIN, NULL, (struct str){ NULL, 0 });
	if (r >= 0)
		r = store_exec(tx, Q_ITEM_ADD, NULL, e, INT64_MAX, "", (struct str){ "", 0 });
	return r;
}

static int
get_types(struct store_tx *tx, void *arg, struct err *e)
{
	static const int64_t ids[] = { 1, INT64_MIN, INT64_MAX };
	struct seen *seen = arg;

	for (size_t i = 0; i < 3; i++) {
		_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
		struct str body;
		int r = store_query_one(tx, Q_ITEM_GET, &rows, "item", e, ids[i]);

		if (r < 0)
			return r;
		free(seen[i].note);
		seen[i].note_is_null = store_is_null(rows, 0);
		seen[i].note = store_text(rows, 0) ? xstrdup(store_text(rows, 0)) : NULL;
		body = store_blob(rows, 1);
		seen[i].body_is_null = store_is_null(rows, 1);
		assert_true(body.n <= sizeof(seen[i].body));
		memcpy(seen[i].body, body.p ? body.p : "", body.n);
		seen[i].body_n = body.n;
		seen[i].revision = store_int(rows, 2);
		assert_int_equal(store_next(rows, e), 0);
	}
	return 0;
}

static void
values_survive_as_they_are(void **state)
{
	struct fixture *f = *state;
	struct seen seen[3] = { 0 };
	struct err e = { 0 };

	assert_int_equal(store_write(f->store, add_types, NULL, &e), 0);
	fixture_close(f);
	fixture_open(f, &fixture_schema);
	assert_int_equal(store_read(f->store, get_types, seen, &e), 0);
	assert_string_equal(seen[0].note, "ünï'; DROP TABLE item; --");
	assert_int_equal(seen[0].body_n, sizeof(binary));
	assert_memory_equal(seen[0].body, binary, sizeof(binary));
	assert_int_equal(seen[0].revision, 1);
	assert_true(seen[1].note_is_null && seen[1].note == NULL);
	assert_true(seen[1].body_is_null && seen[1].body_n == 0);
	assert_false(seen[2].note_is_null);
	assert_string_equal(seen[2].note, "");
	assert_false(seen[2].body_is_null);
	for (size_t i = 0; i < 3; i++)
		free(seen[i].note);
}

static int
get_missing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;

	return store_query_one(tx, Q_ITEM_GET, &rows, "item '7'", e, (int64_t)7);
}

static void
absence_has_a_name(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(store_read(f->store, get_missing, NULL, &e), ERR_NOT_FOUND);
	assert_string_equal(e.text, "item '7' not found");
}

struct cas {
	int64_t expected, changed;
};

static int
cas(struct store_tx *tx, void *arg, struct err *e)
{
	struct cas *c = arg;

	return store_exec(tx, Q_ITEM_CAS, &c->changed, e, "new", (int64_t)1, c->expected);
}

static void
compare_and_set_counts(void **state)
{
	struct fixture *f = *state;
	struct cas right = { .expected = 1 }, stale = { .expected = 1 };
	struct err e = { 0 };

	assert_int_equal(fixture_put(f->store, 1, "old", &e), 0);
	assert_int_equal(store_write(f->store, cas, &right, &e), 0);
	assert_int_equal(right.changed, 1);
	assert_int_equal(store_write(f->store, cas, &stale, &e), 0);
	assert_int_equal(stale.changed, 0);
}

static int
swapped(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;

	return store_query_one(tx, Q_ITEM_SWAPPED, &rows, "item", e, (int64_t)5, "five");
}

static int
bump(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_ITEM_BUMP, &rows, "item", e, (int64_t)5);

	if (r >= 0)
		*(int64_t *)arg = store_int(rows, 0);
	return r;
}

static void
parameters_are_bound_by_name(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	int64_t revision = 0;

	assert_int_equal(fixture_put(f->store, 5, "five", &e), 0);
	assert_int_equal(store_read(f->store, swapped, NULL, &e), 0);
	assert_int_equal(store_write(f->store, bump, &revision, &e), 0);
	assert_int_equal(revision, 2);
}

/* ---- failing closures ---- */

static int
add_then_fail(struct store_tx *tx, void *arg, struct err *e)
{
	int r = store_exec(tx, Q_ITEM_ADD, NULL, e, (int64_t)50, "x", STR("x"));

	return r < 0 ? r : err_set(e, ERR_LIMIT, "enough");
}

static int
add_twice_and_look_away(struct store_tx *tx, void *arg, struct err *e)
{
	struct err ignored = { 0 };
	int r = store_exec(tx, Q_ITEM_ADD, NULL, e, (int64_t)60, "x", STR("x"));

	if (r < 0)
		return r;
	assert_int_equal(
	    store_exec(tx, Q_ITEM_ADD, NULL, &ignored, (int64_t)60, "y", STR("y")), ERR_EXISTS);
	assert_int_equal(store_exec(tx, Q_ITEM_ADD, NULL, &ignored, (int64_t)61, "y", STR("y")),
	    ERR_EXISTS); /* sticks */
	return 0;
}

static int
add_orphan(struct store_tx *tx, void *arg, struct err *e)
{
	return store_exec(tx, Q_CHILD_ADD, NULL, e, (int64_t)1, (int64_t)404);
}

static void
failed_closures_leave_nothing(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(store_write(f->store, add_then_fail, NULL, &e), ERR_LIMIT);
	assert_string_equal(e.text, "enough");
	assert_int_equal(fixture_count(f->store), 0);
	assert_int_equal(store_write(f->store, add_twice_and_look_away, NULL, &e), ERR_EXISTS);
	assert_int_equal(fixture_count(f->store), 0);
	assert_int_equal(store_write(f->store, add_orphan, NULL, &e), ERR_CONFLICT);
	assert_int_equal(fixture_put(f->store, 1, "fine", &e), 0);
	assert_int_equal(fixture_put(f->store, 1, "twice", &e), ERR_EXISTS);
	assert_int_equal(fixture_count(f->store), 1);
}

struct client {
	pthread_t thread;
	struct store *store;
	int64_t id;
	bool fails;
	int r;
};

static int
client_fn(struct store_tx *tx, void *arg, struct err *e)
{
	struct client *c = arg;
	int r = store_exec(tx, Q_ITEM_ADD, NULL, e, c->id, "batch", STR("batch"));

	return r >= 0 && c->fails ? err_set(e, ERR_INVALID, "item '%d'", (int)c->id) : r;
}

static void *
client_main(void *arg)
{
	struct client *c = arg;
	struct err e = { 0 };

	c->r = store_write(c->store, client_fn, c, &e);
	return NULL;
}

static int
hold(struct store_tx *tx, void *arg, struct err *e)
{
	usleep(100 * 1000); /* holds the writer while the others queue */
	return 0;
}

static void *
hold_main(void *arg)
{
	struct err e = { 0 };

	assert_int_equal(store_write(arg, hold, NULL, &e), 0);
	return NULL;
}

static void
one_failure_does_not_sink_its_batch(void **state)
{
	struct fixture *f = *state;
	struct client clients[20];
	pthread_t holder;

	pthread_create(&holder, NULL, hold_main, f->store);
	usleep(20 * 1000);
	for (int i = 0; i < 20; i++) {
		clients[i] = (struct client){ .store = f->store, .id = i, .fails = i % 3 == 0 };
		pthread_create(&clients[i].thread, NULL, client_main, &clients[i]);
	}
	for (int i = 0; i < 20; i++) {
		pthread_join(clients[i].thread, NULL);
		assert_int_equal(clients[i].r, i % 3 == 0 ? ERR_INVALID : 0);
	}
	pthread_join(holder, NULL);
	assert_int_equal(fixture_count(f->store), 13);
}

/* ---- writes that nobody waits for ---- */

#define LATER_COUNT 300 /* more than one commit takes */

struct later {
	struct store *store;
	int64_t id;
	int r, calls;
	bool was_there; /* when its end was told */
	struct err e;
	struct told *told;
};

struct told {
	struct later all[LATER_COUNT];
	int ended, passed_on, calls; /* the writer's, until it is closed */
};

static int
later_fn(struct store_tx *tx, void *arg, struct err *e)
{
	struct later *l = arg;
	int r = store_exec(tx, Q_ITEM_ADD, NULL, e, l->id, "later", STR("later"));

	return r >= 0 && l->id % 3 == 0 ? err_set(e, ERR_INVALID, "item '%d'", (int)l->id) : r;
}

static int
later_find(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct later *l = arg;

	return store_query_one(tx, Q_ITEM_GET, &rows, "item", e, l->id);
}

static void
later_ended(void *arg, int r)
{
	struct later *l = arg;
	struct err e = { 0 };

	l->r = r;
	l->calls++;
	l->was_there = store_read(l->store, later_find, l, &e) == 0; /* others may see it already */
	l->told->ended++;
}

static void
on_told(void *arg)
{
	struct told *t = arg;

	if (t->ended > t->passed_on)
		t->calls++;
	t->passed_on = t->ended;
}

static void
nobody_waits_for_some_writes(void **state)
{
	struct fixture *f = *state;
	struct told *t = xcalloc(1, sizeof(*t));
	pthread_t holder;
	int after_hold;

	store_on_told(f->store, on_told, t);
	pthread_create(&holder, NULL, hold_main, f->store);
	usleep(20 * 1000);
	for (int i = 0; i < LATER_COUNT; i++) {
		t->all[i] = (struct later){ .store = f->store, .id = i, .told = t };
		store_write_then(
		    f->store, later_fn, &t->all[i], &t->all[i].e, later_ended, &t->all[i]);
	}
	pthread_join(holder, NULL);
	fixture_close(f); /* finishes what is queued */
	for (int i = 0; i < LATER_COUNT; i++) {
		assert_int_equal(t->all[i].calls, 1);
		assert_int_equal(t->all[i].r, i % 3 ? 0 : ERR_INVALID);
		assert_int_equal(t->all[i].e.code, i % 3 ? 0 : ERR_INVALID);
		assert_int_equal(t->all[i].was_there, i % 3 != 0);
	}
	after_hold = LATER_COUNT / BATCH_MAX + 1;
	assert_int_equal(t->passed_on, LATER_COUNT);
	assert_true(t->calls >= after_hold && t->calls <= after_hold + 1);
	fixture_open(f, &fixture_schema);
	assert_int_equal(fixture_count(f->store), LATER_COUNT - LATER_COUNT / 3);
	free(t);
}

struct many {
	pthread_t thread;
	struct store *store;
	int64_t first;
	int failures;
};

static void *
many_main(void *arg)
{
	struct many *m = arg;

	for (int64_t i = 0; i < 50; i++) {
		struct err e = { 0 };

		if (fixture_put(m->store, m->first + i, "many", &e) < 0)
			m->failures++;
		if (i % 10 == 0 && fixture_count(m->store) < i + 1) /* own writes are seen */
			m->failures++;
	}
	return NULL;
}

static void
concurrent_writers_and_readers(void **state)
{
	struct fixture *f = *state;
	struct many many[24] = { 0 };

	for (int i = 0; i < 24; i++) {
		many[i].store = f->store;
		many[i].first = i * 1000;
		pthread_create(&many[i].thread, NULL, many_main, &many[i]);
	}
	for (int i = 0; i < 24; i++) {
		pthread_join(many[i].thread, NULL);
		assert_int_equal(many[i].failures, 0);
	}
	assert_int_equal(fixture_count(f->store), 24 * 50);
}

/* ---- snapshots ---- */

static int
read_around_a_write(struct store_tx *tx, void *arg, struct err *e)
{
	struct store *s = arg;
	int64_t counts[2];

	for (int i = 0; i < 2; i++) {
		_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
		int r = store_query_one(tx, Q_ITEM_COUNT, &rows, "count", e);

		if (r < 0)
			return r;
		counts[i] = store_int(rows, 0);
		if (i == 0 && (r = fixture_put(s, 100 + counts[0], "meanwhile", e)) < 0)
			return r;
	}
	assert_int_equal(counts[0], counts[1]);
	return 0;
}

static int
write_while_reading(struct store_tx *tx, void *arg, struct err *e)
{
	return store_exec(tx, Q_ITEM_ADD, NULL, e, (int64_t)9, "x", STR("x"));
}

static void
readers_see_one_state_and_cannot_write(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(store_read(f->store, read_around_a_write, f->store, &e), 0);
	assert_int_equal(fixture_count(f->store), 1);
	assert_int_equal(store_read(f->store, write_while_reading, NULL, &e), ERR_DENIED);
	assert_int_equal(fixture_count(f->store), 1);
}

static int
nested(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *outer = NULL;
	int64_t sum = 0;
	int r;

	r = store_query(tx, Q_ITEM_LIST, &outer, e);
	while (r >= 0 && (r = store_next(outer, e)) > 0) {
		_cleanup_(store_rows_freep) struct store_rows *inner = NULL;

		r = store_query(tx, Q_ITEM_LIST, &inner, e);
		while (r >= 0 && (r = store_next(inner, e)) > 0)
			sum += store_int(outer, 0) * store_int(inner, 0);
	}
	*(int64_t *)arg = sum;
	return r;
}

static void
a_query_within_the_same_query(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	int64_t sum = 0;

	for (int64_t i = 1; i <= 3; i++)
		assert_int_equal(fixture_put(f->store, i, "n", &e), 0);
	assert_int_equal(store_read(f->store, nested, &sum, &e), 0);
	assert_int_equal(sum, 36);
}

/* ---- one owner, epochs, backups ---- */

static void
a_second_opener_is_told(void **state)
{
	struct fixture *f = *state;
	struct store *second = NULL;
	struct err e = { 0 };
	char wanted[128];

	assert_int_equal(store_open(f->url, &fixture_schema, NULL, &second, &e), ERR_EXISTS);
	snprintf(wanted, sizeof(wanted), "'%s' is in use by process %d", f->path, (int)getpid());
	assert_string_equal(e.text, wanted);
	assert_null(second);
}

static void
urls(void **state)
{
	static const struct {
		const char *url;
		int code;
	} cases[] = {
		{ "postgresql://localhost/mallee", ERR_UNSUPPORTED },
		{ "sqlite:relative.db", ERR_INVALID },
		{ "/var/lib/x.db", ERR_INVALID },
		{ "", ERR_INVALID },
		{ "sqlite:/nonexistent-directory/x.db", ERR_NOT_FOUND },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct store *s = NULL;
		struct err e = { 0 };

		assert_int_equal(
		    store_open(cases[i].url, &fixture_schema, NULL, &s, &e), cases[i].code);
		assert_true(e.text[0] != 0);
	}
}

static void
a_restored_store_has_another_epoch(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *copy = xasprintf("%s/copy.db", f->directory);
	uint64_t epoch = store_epoch(f->store);
	struct err e = { 0 };

	assert_int_not_equal(epoch, 0);
	for (int64_t i = 0; i < 100; i++)
		assert_int_equal(fixture_put(f->store, i, "kept", &e), 0);
	assert_int_equal(store_backup(f->store, copy, &e), 0);
	assert_int_equal(fixture_put(f->store, 1000, "after the copy", &e), 0);
	fixture_close(f);
	fixture_open(f, &fixture_schema);
	assert_int_equal(store_epoch(f->store), epoch);

	fixture_close(f);
	assert_int_equal(rename(copy, f->path), 0);
	fixture_open(f, &fixture_schema);
	assert_int_equal(fixture_count(f->store), 100);
	assert_int_not_equal(store_epoch(f->store), epoch);
	assert_int_not_equal(store_epoch(f->store), 0);
	epoch = store_epoch(f->store);
	fixture_close(f);
	fixture_open(f, &fixture_schema);
	assert_int_equal(store_epoch(f->store), epoch);
}

static void
files_are_for_the_owner_only(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", ".lock", ".copy" };
	struct fixture *f = *state;
	_cleanup_free_ char *copy = xasprintf("%s.copy", f->path);
	mode_t mask = umask(0);
	struct err e = { 0 };

	fixture_close(f);
	assert_int_equal(unlink(f->path), 0);
	fixture_open(f, &fixture_schema);
	assert_int_equal(fixture_put(f->store, 1, "secret", &e), 0);
	assert_int_equal(store_backup(f->store, copy, &e), 0);
	umask(mask);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		_cleanup_free_ char *path = xasprintf("%s%s", f->path, suffixes[i]);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

/* ---- health ---- */

static void
the_heartbeat_keeps_the_store_ready(void **state)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct fixture *f = *state;

	for (int i = 0; i < 500 && !health_is_ready(&text); i++) {
		strbuf_reset(&text);
		usleep(10 * 1000);
	}
	assert_non_null(strstr(strbuf_c(&text), "store ok"));
	fixture_close(f);
	strbuf_reset(&text);
	assert_false(health_is_ready(&text));
}

static double
metric(const char *name)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *line = xasprintf("\n%s ", name);
	const char *at;

	metrics_write(&text);
	at = strstr(strbuf_c(&text), line);
	return at ? strtod(at + strlen(line), NULL) : -1;
}

static void
metrics_count_commits_and_writes(void **state)
{
	struct fixture *f = *state;
	double writes = metric("mallee_store_writes_total");
	double commits = metric("mallee_store_commits_total");
	double times = metric("mallee_store_commit_seconds_count");
	struct err e = { 0 };

	assert_true(writes >= 0 && commits >= 0 && times >= 0);
	for (int64_t i = 0; i < 5; i++)
		assert_int_equal(fixture_put(f->store, i, "x", &e), 0);
	fixture_close(f); /* the last batch has been counted */
	assert_true(metric("mallee_store_writes_total") - writes >= 5);
	assert_true(metric("mallee_store_commits_total") - commits >= 5);
	assert_true(metric("mallee_store_commit_seconds_count") - times >= 5);
	assert_true(metric("mallee_store_queue") == 0);
}

/* ---- the keeper ---- */

static off_t
log_size(struct fixture *f)
{
	_cleanup_free_ char *path = xasprintf("%s-wal", f->path);
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_size;
}

static int
write_under_a_snapshot(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct fixture *f = arg;
	int r = store_query_one(tx, Q_ITEM_COUNT, &rows, "count", e);

	for (int64_t i = 0; r >= 0 && i < 300; i++)
		r = fixture_put(f->store, 100000 + i, "the reader's snapshot is older", e);
	return r;
}

static void
the_log_is_copied_into_the_file(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	off_t largest = 0;

	fixture_close(f);
	checkpoint_pages = 16; /* forced at 64 pages: 256 KiB */
	fixture_open(f, &fixture_schema);
	for (int64_t i = 0; i < 800; i++) {
		assert_int_equal(fixture_put(f->store, i, "fills the log", &e), 0);
		if (log_size(f) > largest)
			largest = log_size(f);
	}
	assert_true(largest > 0 && largest < 512 << 10);
	/* a reader that stays holds the log back, but nobody waits for it */
	assert_int_equal(store_read(f->store, write_under_a_snapshot, f, &e), 0);
	fixture_close(f);
	checkpoint_pages = CHECKPOINT_PAGES;
	assert_int_equal(log_size(f), 0);
	fixture_open(f, &fixture_schema);
	assert_int_equal(fixture_count(f->store), 1100);
}

static void
large_files_are_checked_after_the_start(void **state)
{
	struct fixture *f = *state;
	static const char junk[64] = "junk";
	struct err e = { 0 };
	struct stat st;
	bool found = false;
	int fd;

	for (int64_t i = 0; i < 500; i++)
		assert_int_equal(fixture_put(f->store, i, "some text to fill pages with", &e), 0);
	fixture_close(f);
	check_at_open_bytes = 4096;
	fixture_open(f, &fixture_schema);
	for (int i = 0; i < 500 && !found; i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		(void)health_is_ready(&text);
		found = strstr(strbuf_c(&text), "store-integrity ok") != NULL;
		usleep(10 * 1000);
	}
	assert_true(found);
	fixture_close(f);

	assert_int_equal(stat(f->path, &st), 0);
	fd = open(f->path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, junk, sizeof(junk), st.st_size - 2 * 4096), sizeof(junk));
	close(fd);
	fixture_open(f, &fixture_schema);
	found = false;
	for (int i = 0; i < 500 && !found; i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		found =
		    !health_is_ready(&text) && strstr(strbuf_c(&text), "store-integrity: ") != NULL;
		usleep(10 * 1000);
	}
	assert_true(found);
	fixture_close(f);
	check_at_open_bytes = CHECK_AT_OPEN_BYTES;
	assert_int_equal(store_open(f->url, &fixture_schema, NULL, &f->store, &e), ERR_CORRUPT);
	health_reset();
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(values_survive_as_they_are),
		T(absence_has_a_name),
		T(compare_and_set_counts),
		T(parameters_are_bound_by_name),
		T(failed_closures_leave_nothing),
		T(one_failure_does_not_sink_its_batch),
		T(nobody_waits_for_some_writes),
		T(concurrent_writers_and_readers),
		T(readers_see_one_state_and_cannot_write),
		T(a_query_within_the_same_query),
		T(a_second_opener_is_told),
		T(urls),
		T(a_restored_store_has_another_epoch),
		T(files_are_for_the_owner_only),
		T(the_heartbeat_keeps_the_store_ready),
		T(metrics_count_commits_and_writes),
		T(the_log_is_copied_into_the_file),
		T(large_files_are_checked_after_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
