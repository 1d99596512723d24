/* The pool: everything queued is done, the bound is exact, threads have names. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include "run/lock.h"
#include "run/workers.h"

static void
increment(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

static void
everything_queued_is_done_before_the_end(void **state)
{
	struct workers *w;
	_Atomic int done = 0;

	assert_int_equal(workers_new(3, 500, &w, NULL), 0);
	for (int i = 0; i < 500; i++)
		assert_int_equal(workers_run(w, increment, &done, NULL), 0);
	workers_free(w);
	assert_int_equal(done, 500);
}

struct gate {
	struct lock lock;
	pthread_cond_t changed;
	bool is_open;
	int inside;
	char thread_name[16];
};

static void
wait_at_gate(void *arg)
{
	struct gate *g = arg;

	LOCK_SCOPE(&g->lock);
	(void)pthread_getname_np(pthread_self(), g->thread_name, sizeof(g->thread_name));
	g->inside++;
	(void)pthread_cond_broadcast(&g->changed);
	while (!g->is_open)
		(void)lock_wait(&g->lock, &g->changed, -1);
}

static void
one_past_the_bound_is_refused(void **state)
{
	enum { PLACES = 5 };
	struct gate g = { .changed = PTHREAD_COND_INITIALIZER };
	struct workers *w;
	struct err e = { 0 };

	lock_init(&g.lock, LOCK_STATE);
	assert_int_equal(workers_new(1, PLACES, &w, NULL), 0);
	assert_int_equal(workers_run(w, wait_at_gate, &g, NULL), 0);
	lock_take(&g.lock);
	while (g.inside == 0)
		(void)lock_wait(&g.lock, &g.changed, -1);
	lock_release(&g.lock);
	for (int i = 0; i < PLACES; i++)
		assert_int_equal(workers_run(w, wait_at_gate, &g, &e), 0);
	assert_int_equal(workers_queued(w), PLACES);
	assert_int_equal(workers_run(w, wait_at_gate, &g, &e), ERR_LIMIT);
	assert_string_equal(e.text, "all 1 workers are busy and 5 jobs wait");
	lock_take(&g.lock);
	g.is_open = true;
	(void)pthread_cond_broadcast(&g.changed);
	lock_release(&g.lock);
	workers_free(w);
	assert_int_equal(g.inside, 1 + PLACES);
	assert_string_equal(g.thread_name, "worker-0");
	lock_done(&g.lock);
}

static void
an_empty_pool_is_refused(void **state)
{
	struct workers *w = NULL;

	assert_int_equal(workers_new(0, 5, &w, NULL), ERR_INVALID);
	assert_int_equal(workers_new(5, 0, &w, NULL), ERR_INVALID);
	assert_null(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_queued_is_done_before_the_end),
		cmocka_unit_test(one_past_the_bound_is_refused),
		cmocka_unit_test(an_empty_pool_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
