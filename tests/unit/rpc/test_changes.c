/* News by long poll: parking, waking, time-outs, drains, and a reader that follows through
 * restarts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include "base/clock.h"
#include "rpc/rpc_internal.h"
#include "tests/lib/peers.h"

struct world {
	struct test_cloud cloud;
	struct test_node server, cc;
	struct rpc_peer *peer;
};

static void
must(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct err e = { 0 };

	log_set_level(LOG_ERROR);
	test_cloud_setup(&w->cloud);
	test_node_setup(&w->server, &w->cloud, "nc-00000000000000001", "nc", -1, 30);
	test_node_setup(&w->cc, &w->cloud, "cc-00000000000000002", "cc", -1, 30);
	must(test_node_start(&w->server, &e), &e);
	must(test_node_start(&w->cc, &e), &e);
	w->peer = rpc_peer_new(w->cc.rpc, w->server.id, "nc", w->server.url, NULL);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	rpc_peer_free(w->peer);
	test_node_teardown(&w->cc);
	test_node_teardown(&w->server);
	test_cloud_teardown(&w->cloud);
	free(w);
	return 0;
}

static int
ask(struct world *w, uint64_t epoch, uint64_t revision, uint32_t wait_ms, uint32_t timeout_ms,
    struct arena *arena, struct test_changes_out *out, struct err *e)
{
	struct test_changes_in in = { .epoch = epoch, .revision = revision, .wait_ms = wait_ms };

	return rpc_call(w->peer, &test_changes, NULL, &in, out, arena, timeout_ms, e);
}

static void
what_is_there_comes_at_once(void **state)
{
	struct world *w = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_changes_out out;
	struct err e = { 0 };
	uint64_t started = clock_monotonic_ms(), epoch;

	must(ask(w, 0, 0, 0, 9000, arena, &out, &e), &e); /* from the beginning: never waits */
	epoch = out.epoch;
	assert_int_equal(epoch, store_epoch(w->server.store));
	assert_int_equal(out.ids.count, 0);
	test_node_event(&w->server, "a");
	test_node_event(&w->server, "b");
	must(ask(w, epoch, 0, 0, 9000, arena, &out, &e), &e);
	assert_int_equal(out.ids.count, 2);
	assert_string_equal(out.ids.items[1], "b");
	must(ask(w, epoch + 1, out.revision, 0, 9000, arena, &out, &e), &e); /* a restored store */
	assert_true(clock_monotonic_ms() - started < 3000);
}

struct asking {
	struct world *w;
	uint64_t epoch, revision;
	uint64_t took_ms;
	size_t count;
	char id[32];
	int r;
};

static void *
ask_and_wait(void *arg)
{
	struct asking *a = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_changes_out out = { 0 };
	struct err e = { 0 };
	uint64_t started = clock_monotonic_ms();

	a->r = ask(a->w, a->epoch, a->revision, 0, 20000, arena, &out, &e);
	a->took_ms = clock_monotonic_ms() - started;
	a->count = out.ids.count;
	if (out.ids.count)
		(void)snprintf(a->id, sizeof(a->id), "%s", out.ids.items[0]);
	return NULL;
}

/* More requests wait than there are workers: they hold none. */
static void
parked_requests_hold_no_thread_and_wake_at_once(void **state)
{
	struct world *w = *state;
	struct asking a[12];
	pthread_t threads[ARRAY_SIZE(a)];
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_echo_in in = { .text = "meanwhile" };
	struct test_echo_out out;
	struct err e = { 0 };
	uint64_t written;

	for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
		a[i] = (struct asking){ .w = w, .epoch = store_epoch(w->server.store) };
		assert_int_equal(pthread_create(&threads[i], NULL, ask_and_wait, &a[i]), 0);
	}
	(void)poll(NULL, 0, 700);
	must(rpc_call(w->peer, &test_echo, NULL, &in, &out, arena, 2000, &e), &e);
	written = clock_monotonic_ms();
	test_node_event(&w->server, "news");
	for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(a[i].r, 0);
		assert_int_equal(a[i].count, 1);
		assert_string_equal(a[i].id, "news");
		assert_true(a[i].took_ms >= 500);
	}
	assert_true(clock_monotonic_ms() - written < 5000);
}

static void
waits_end_by_themselves(void **state)
{
	struct world *w = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_changes_out out;
	struct err e = { 0 };
	uint64_t started, epoch = store_epoch(w->server.store);

	started = clock_monotonic_ms();
	must(ask(w, epoch, 0, 300, 20000, arena, &out, &e), &e); /* as asked */
	assert_in_range(clock_monotonic_ms() - started, 290, 2000);
	assert_int_equal(out.ids.count, 0);
	assert_int_equal(out.epoch, epoch);
	started = clock_monotonic_ms();
	must(ask(w, epoch, 0, 0, 3000, arena, &out, &e), &e); /* before the caller gives up */
	assert_in_range(clock_monotonic_ms() - started, 2000, 3000);
}

static void *
drain_soon(void *arg)
{
	(void)poll(NULL, 0, 300);
	test_node_stop(arg);
	return NULL;
}

static void
a_drain_answers_what_is_parked(void **state)
{
	struct world *w = *state;
	struct asking a = { .w = w, .epoch = store_epoch(w->server.store) };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, drain_soon, &w->server), 0);
	(void)ask_and_wait(&a);
	pthread_join(thread, NULL);
	assert_true(a.took_ms < 3000);
}

/* -- the reader -- */

struct following {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	char seen[64][16];
	unsigned count, ups, downs, fail_next, answers;
	uint64_t epoch, revision;
};

static int
apply(void *arg, const void *answer, uint64_t *ret_epoch, uint64_t *ret_revision, struct err *e)
{
	struct following *f = arg;
	const struct test_changes_out *out = answer;
	int r = 0;

	pthread_mutex_lock(&f->mutex);
	f->answers++;
	if (f->fail_next) {
		f->fail_next--;
		r = err_set(e, ERR_IO, "cannot apply");
	} else {
		for (size_t i = 0; i < out->ids.count && f->count < 64; i++)
			(void)snprintf(f->seen[f->count++], 16, "%s", out->ids.items[i]);
		*ret_epoch = f->epoch = out->epoch;
		*ret_revision = f->revision = out->revision;
	}
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->mutex);
	return r;
}

static void
on_link(void *arg, bool up, const struct err *why)
{
	struct following *f = arg;

	pthread_mutex_lock(&f->mutex);
	if (up) {
		f->ups++;
	} else {
		f->downs++;
		assert_true(why && *why->text);
	}
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->mutex);
}

static bool
await_count(struct following *f, const unsigned *what, unsigned count, unsigned timeout_ms)
{
	struct timespec until;
	bool ok;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&f->mutex);
	while (*what < count && pthread_cond_timedwait(&f->changed, &f->mutex, &until) == 0)
		;
	ok = *what >= count;
	pthread_mutex_unlock(&f->mutex);
	return ok;
}

static void
free_reader(void *arg)
{
	changes_reader_free(arg);
}

static void
a_reader_follows_through_restarts(void **state)
{
	struct world *w = *state;
	struct following f = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
	struct changes_reader_options options = {
		.operation = &test_changes, .apply = apply, .link = on_link, .arg = &f
	};
	struct changes_reader *reader;
	struct err e = { 0 };
	unsigned expected = 0, served;

	test_node_event(&w->server, "e0");
	reader = changes_reader_new(w->peer, w->cc.workers, &options);
	assert_true(await_count(&f, &f.count, ++expected, 5000));
	assert_true(await_count(&f, &f.ups, 1, 5000));

	/* quickly, one by one */
	for (int i = 1; i < 10; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "e%d", i);
		test_node_event(&w->server, id);
		assert_true(await_count(&f, &f.count, ++expected, 5000));
	}
	/* an apply that fails is offered the same again */
	pthread_mutex_lock(&f.mutex);
	f.fail_next = 3;
	pthread_mutex_unlock(&f.mutex);
	test_node_event(&w->server, "e10");
	assert_true(await_count(&f, &f.count, ++expected, 5000));

	/* the peer is away, and misses nothing of what it does itself when it is back */
	for (int i = 0; i < 2; i++) {
		uint64_t started;
		char id[16];

		(void)snprintf(id, sizeof(id), "r%d", i);
		test_node_stop(&w->server);
		(void)poll(NULL, 0, 300);
		must(test_node_start(&w->server, &e), &e);
		started = clock_monotonic_ms();
		test_node_event(&w->server, id);
		assert_true(await_count(&f, &f.count, ++expected, 5000));
		assert_true(clock_monotonic_ms() - started < 3000);
	}
	for (unsigned i = 0; i < 11; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "e%u", i);
		assert_string_equal(f.seen[i], id);
	}
	assert_string_equal(f.seen[11], "r0");
	assert_string_equal(f.seen[12], "r1");
	assert_int_equal(f.count, 13);

	/* quiet: one question is parked and nothing else goes on */
	(void)poll(NULL, 0, 200);
	served = w->server.served;
	(void)poll(NULL, 0, 500);
	assert_int_equal(w->server.served, served);
	test_node_on_loop(&w->cc, free_reader, reader);
}

static void
a_reader_tells_of_a_broken_link_once(void **state)
{
	struct world *w = *state;
	struct following f = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
	struct changes_reader_options options = {
		.operation = &test_changes, .apply = apply, .link = on_link, .arg = &f
	};
	struct rpc_peer *nobody =
	    rpc_peer_new(w->cc.rpc, w->server.id, "nc", "https://127.0.0.1:9", NULL);
	struct changes_reader *reader = changes_reader_new(nobody, w->cc.workers, &options);

	assert_true(await_count(&f, &f.downs, 1, 5000));
	(void)poll(NULL, 0, 500);
	assert_int_equal(f.downs, 1);
	assert_int_equal(f.ups, 0);
	test_node_on_loop(&w->cc, free_reader, reader);
	rpc_peer_free(nobody);
}

/* So that who follows knows by its clock that nothing happened. */
static void
a_reader_is_answered_as_often_as_it_wants(void **state)
{
	struct world *w = *state;
	struct following f = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
	struct changes_reader_options options = {
		.operation = &test_changes, .apply = apply, .arg = &f, .wait_ms = 200
	};
	struct changes_reader *reader = changes_reader_new(w->peer, w->cc.workers, &options);
	uint64_t started = clock_monotonic_ms();

	assert_true(await_count(&f, &f.answers, 6, 5000));
	assert_in_range(clock_monotonic_ms() - started, 700, 5000);
	test_node_on_loop(&w->cc, free_reader, reader);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(what_is_there_comes_at_once),
		test(parked_requests_hold_no_thread_and_wake_at_once),
		test(waits_end_by_themselves),
		test(a_drain_answers_what_is_parked),
		test(a_reader_follows_through_restarts),
		test(a_reader_tells_of_a_broken_link_once),
		test(a_reader_is_answered_as_often_as_it_wants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
