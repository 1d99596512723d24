/* Events and audit records: order, gaps, who is told and when. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include "store/outbox.h"
#include "tests/lib/store_fixture.h"

struct add {
	unsigned count;
	bool fails;
};

static int
add(struct store_tx *tx, void *arg, struct err *e)
{
	struct add *a = arg;

	for (unsigned i = 0; i < a->count; i++) {
		char id[16];
		int r;

		snprintf(id, sizeof(id), "i-%u", i);
		r = outbox_add(
		    tx, "instance", id, i % 2 ? "000012345678" : NULL, i % 2 ? "changed" : NULL, e);
		if (r < 0)
			return r;
	}
	return a->fails ? err_set(e, ERR_LIMIT, "no") : 0;
}

struct reading {
	uint64_t revision;
	unsigned limit;
	struct arena *arena;
	struct outbox_event *events;
	size_t count;
	bool gap;
	uint64_t last;
};

static int
read_events(struct store_tx *tx, void *arg, struct err *e)
{
	struct reading *q = arg;
	int r = outbox_read(tx, q->revision, q->limit, q->arena, &q->events, &q->count, &q->gap, e);

	return r < 0 ? r : outbox_last(tx, &q->last, e);
}

static void
revisions_rise_without_holes(void **state)
{
	struct fixture *f = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct reading q = { .limit = 100, .arena = arena };
	struct err e = { 0 };

	assert_int_equal(store_read(f->store, read_events, &q, &e), 0);
	assert_true(q.count == 0 && !q.gap && q.last == 0);
	assert_int_equal(store_write(f->store, add, &(struct add){ 3, false }, &e), 0);
	assert_int_equal(store_write(f->store, add, &(struct add){ 5, true }, &e), ERR_LIMIT);
	assert_int_equal(store_write(f->store, add, &(struct add){ 2, false }, &e), 0);
	assert_int_equal(store_read(f->store, read_events, &q, &e), 0);
	assert_int_equal(q.count, 5);
	assert_int_equal(q.last, 5);
	for (size_t i = 0; i < q.count; i++)
		assert_int_equal(q.events[i].revision, i + 1);
	assert_string_equal(q.events[0].id, "i-0");
	assert_string_equal(q.events[0].account_id, "");
	assert_null(q.events[0].detail);
	assert_string_equal(q.events[1].kind, "instance");
	assert_string_equal(q.events[1].account_id, "000012345678");
	assert_string_equal(q.events[1].detail, "changed");
	assert_true(q.events[0].at_us > 0);

	q.revision = 3;
	q.limit = 1;
	assert_int_equal(store_read(f->store, read_events, &q, &e), 0);
	assert_int_equal(q.count, 1);
	assert_int_equal(q.events[0].revision, 4);
	fixture_close(f);
	fixture_open(f, &fixture_schema);
	assert_int_equal(store_write(f->store, add, &(struct add){ 1, false }, &e), 0);
	assert_int_equal(store_read(f->store, read_events, &q, &e), 0);
	assert_int_equal(q.last, 6);
}

static int
trim(struct store_tx *tx, void *arg, struct err *e)
{
	return outbox_trim(tx, *(uint64_t *)arg, e);
}

static void
trimming_leaves_a_gap(void **state)
{
	/* 10 events, the newest 4 kept: 7..10. A reader at 6 misses nothing, one at 5 does. */
	static const struct {
		uint64_t revision;
		bool gap;
		size_t count;
	} cases[] = { { 0, true, 0 }, { 5, true, 0 }, { 6, false, 4 }, { 7, false, 3 },
		{ 10, false, 0 }, { 11, true, 0 }, { UINT64_MAX, true, 0 } };
	struct fixture *f = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	uint64_t keep = 4, more = 100;
	struct err e = { 0 };

	assert_int_equal(store_write(f->store, add, &(struct add){ 10, false }, &e), 0);
	assert_int_equal(store_write(f->store, trim, &keep, &e), 0);
	assert_int_equal(store_write(f->store, trim, &more, &e), 0); /* nothing comes back */
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct reading q = { cases[i].revision, 100, arena, NULL, 0, false, 0 };

		assert_int_equal(store_read(f->store, read_events, &q, &e), 0);
		assert_int_equal(q.gap, cases[i].gap);
		assert_int_equal(q.count, cases[i].count);
	}
	keep = 0;
	assert_int_equal(store_write(f->store, trim, &keep, &e), 0);
	assert_int_equal(store_write(f->store, add, &(struct add){ 1, false }, &e), 0);
	struct reading q = { 10, 100, arena, NULL, 0, false, 0 };

	assert_int_equal(store_read(f->store, read_events, &q, &e), 0);
	assert_true(!q.gap && q.count == 1 && q.events[0].revision == 11);
}

/* ---- telling ---- */

struct told {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct store *store;
	uint64_t revision;
	unsigned calls;
	unsigned unseen; /* calls before the event could be read */
};

static void
on_events(void *arg, uint64_t revision)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct told *told = arg;
	struct reading q = { .limit = 1, .arena = arena };
	struct err e = { 0 };
	int r = store_read(told->store, read_events, &q, &e);

	pthread_mutex_lock(&told->lock);
	if (r < 0 || q.last < revision || revision <= told->revision)
		told->unseen++;
	told->revision = revision;
	told->calls++;
	pthread_cond_signal(&told->changed);
	pthread_mutex_unlock(&told->lock);
}

struct writer {
	pthread_t thread;
	struct store *store;
	unsigned failures;
};

static void *
writer_main(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = 0; i < 40; i++) {
		struct err e = { 0 };

		/* every other one is rolled back */
		if (store_write(w->store, add, &(struct add){ 1 + i % 3, i % 2 }, &e) !=
		    (i % 2 ? ERR_LIMIT : 0))
			w->failures++;
	}
	return NULL;
}

static void
listeners_hear_after_the_commit(void **state)
{
	struct fixture *f = *state;
	struct told told = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
		.store = f->store };
	struct writer writers[8] = { 0 };
	struct err e = { 0 };

	store_on_events(f->store, on_events, &told);
	assert_int_equal(fixture_put(f->store, 1, "no event", &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
		writers[i].store = f->store;
		pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
		pthread_join(writers[i].thread, NULL);
		assert_int_equal(writers[i].failures, 0);
	}
	uint64_t expected = 0;

	for (unsigned i = 0; i < 40; i += 2)
		expected += 8 * (1 + i % 3);
	pthread_mutex_lock(&told.lock);
	while (told.revision < expected)
		pthread_cond_wait(&told.changed, &told.lock);
	assert_int_equal(told.revision, expected);
	assert_int_equal(told.unseen, 0);
	assert_true(told.calls >= 1 && told.calls <= 8 * 20);
	pthread_mutex_unlock(&told.lock);
	store_on_events(f->store, NULL, NULL);
}

/* ---- audit ---- */

static int
add_audit(struct store_tx *tx, void *arg, struct err *e)
{
	const struct audit_record records[] = {
		{ "req-1", "111111111111", "admin", "192.0.2.1", "aws-cli/2", "ec2", "RunInstances",
		    "i-1", "ImageId=emi-1", NULL },
		{ "req-2", "111111111111", NULL, NULL, NULL, "ec2", "StopInstances", NULL, NULL,
		    "IncorrectInstanceState" },
		{ .request_id = "req-3", .account_id = "222222222222" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		int r = audit_add(tx, &records[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

struct audit_reading {
	const char *account_id;
	struct arena *arena;
	struct audit_entry *entries;
	size_t count;
};

static int
read_audit(struct store_tx *tx, void *arg, struct err *e)
{
	struct audit_reading *q = arg;

	return audit_read(tx, q->account_id, 10, q->arena, &q->entries, &q->count, e);
}

static int
trim_audit(struct store_tx *tx, void *arg, struct err *e)
{
	return audit_trim(tx, *(int64_t *)arg, e);
}

static void
audit_records_are_kept_per_account(void **state)
{
	struct fixture *f = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct audit_reading q = { "111111111111", arena, NULL, 0 };
	struct err e = { 0 };
	int64_t before_us;

	assert_int_equal(store_write(f->store, add_audit, NULL, &e), 0);
	assert_int_equal(store_read(f->store, read_audit, &q, &e), 0);
	assert_int_equal(q.count, 2);
	assert_string_equal(q.entries[0].record.request_id, "req-2");
	assert_string_equal(q.entries[0].record.user_name, "");
	assert_string_equal(q.entries[0].record.error_code, "IncorrectInstanceState");
	assert_string_equal(q.entries[1].record.action, "RunInstances");
	assert_string_equal(q.entries[1].record.parameters, "ImageId=emi-1");
	assert_string_equal(q.entries[1].record.user_agent, "aws-cli/2");
	before_us = q.entries[0].at_us;
	assert_int_equal(store_write(f->store, trim_audit, &before_us, &e), 0);
	assert_int_equal(store_read(f->store, read_audit, &q, &e), 0);
	assert_int_equal(q.count, 2);
	before_us++;
	assert_int_equal(store_write(f->store, trim_audit, &before_us, &e), 0);
	assert_int_equal(store_read(f->store, read_audit, &q, &e), 0);
	assert_int_equal(q.count, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(revisions_rise_without_holes),
		T(trimming_leaves_a_gap),
		T(listeners_hear_after_the_commit),
		T(audit_records_are_kept_per_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
