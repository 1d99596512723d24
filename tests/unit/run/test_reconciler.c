/* Reconcilers on a real loop and pool: never twice at once, pokes while running, pause, run by
 * hand, back-off, release while a run is under way. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "run/lock.h"
#include "run/metrics.h"
#include "run/reconciler.h"

struct bed {
	struct loop *loop;
	struct workers *workers;
	struct reconciler *r;
	struct loop_timer *timer;
	struct lock lock;
	pthread_cond_t changed;
	int inside, runs; /* with what follows under lock */
	bool is_blocked;
	int failures_left;
	uint32_t again_ms; /* 0: leave it */
	uint64_t run_ms[64];
	int stop_at_run;
};

static int
step(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct bed *b = arg;
	int r = 0;

	LOCK_SCOPE(&b->lock);
	assert_int_equal(b->inside++, 0);
	b->run_ms[b->runs++ % 64] = clock_monotonic_ms();
	(void)pthread_cond_broadcast(&b->changed);
	while (b->is_blocked)
		(void)lock_wait(&b->lock, &b->changed, -1);
	b->inside--;
	if (b->again_ms)
		*ret_again_ms = b->again_ms;
	if (b->runs == b->stop_at_run)
		loop_stop(b->loop);
	if (b->failures_left > 0) {
		b->failures_left--;
		r = err_set(e, ERR_UNAVAILABLE, "the world is not ready");
	}
	return r;
}

static int
set_up(void **state)
{
	struct bed *b = xcalloc(1, sizeof(*b));

	*state = b;
	b->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	lock_init(&b->lock, LOCK_STATE);
	return loop_new(&b->loop, NULL) < 0 || workers_new(4, 16, &b->workers, NULL) < 0;
}

static int
tear_down(void **state)
{
	struct bed *b = *state;

	reconciler_free(b->r);
	loop_timer_free(b->timer);
	workers_free(b->workers);
	loop_free(b->loop);
	lock_done(&b->lock);
	metrics_reset();
	free(b);
	return 0;
}

static void
begin(struct bed *b, uint32_t interval_ms)
{
	b->r = reconciler_new(b->loop, b->workers, "test", "bed", interval_ms, step, b);
}

static void
stop_loop(void *arg)
{
	loop_stop(arg);
}

static void
run_for(struct bed *b, uint32_t ms)
{
	loop_timer_free(b->timer);
	b->timer = loop_timer_new(b->loop, stop_loop, b->loop);
	loop_timer_set(b->timer, ms);
	loop_run(b->loop);
}

static int
runs_of(struct bed *b)
{
	LOCK_SCOPE(&b->lock);
	return b->runs;
}

/* Turns the loop until the step has been entered `count` times. */
static void
run_until(struct bed *b, int count)
{
	for (int i = 0; i < 1000 && runs_of(b) < count; i++)
		run_for(b, 10);
	assert_int_equal(runs_of(b), count);
}

static void
set_blocked(struct bed *b, bool blocked)
{
	LOCK_SCOPE(&b->lock);
	b->is_blocked = blocked;
	(void)pthread_cond_broadcast(&b->changed);
}

static void
runs_at_once_and_then_at_its_interval(void **state)
{
	struct bed *b = *state;

	b->stop_at_run = 4;
	begin(b, 40);
	loop_run(b->loop);
	assert_int_equal(runs_of(b), 4);
	for (int i = 1; i < 4; i++)
		assert_in_range(b->run_ms[i] - b->run_ms[i - 1], 38, 5000);
}

static void
a_step_may_ask_to_run_sooner_but_not_later(void **state)
{
	struct bed *b = *state;

	b->stop_at_run = 3;
	b->again_ms = 5;
	begin(b, 3600000);
	loop_run(b->loop);
	assert_int_equal(runs_of(b), 3);
	lock_take(&b->lock);
	b->again_ms = UINT32_MAX;
	lock_release(&b->lock);
	reconciler_free(TAKE(b->r));
	b->stop_at_run = 6;
	begin(b, 20);
	loop_run(b->loop);
	assert_int_equal(runs_of(b), 6);
}

static void
pokes_while_running_make_one_more_run(void **state)
{
	struct bed *b = *state;

	b->is_blocked = true;
	begin(b, 3600000);
	run_until(b, 1);
	for (int i = 0; i < 10; i++)
		reconciler_poke(b->r);
	run_for(b, 30);
	assert_int_equal(runs_of(b), 1);
	set_blocked(b, false);
	run_until(b, 2);
	run_for(b, 50);
	assert_int_equal(runs_of(b), 2);
}

static void
a_poke_makes_a_waiting_one_run(void **state)
{
	struct bed *b = *state;

	begin(b, 3600000);
	run_until(b, 1);
	run_for(b, 20);
	reconciler_poke(b->r);
	run_until(b, 2);
}

static void
paused_it_runs_only_by_hand(void **state)
{
	struct bed *b = *state;

	begin(b, 10);
	run_for(b, 30);
	assert_true(reconciler_pause("bed", true));
	run_for(b, 50); /* one that was under way may end */
	int before = runs_of(b);
	reconciler_poke(b->r);
	run_for(b, 60);
	assert_int_equal(runs_of(b), before);
	assert_true(reconciler_run_now("bed"));
	run_until(b, before + 1);
	run_for(b, 60);
	assert_int_equal(runs_of(b), before + 1);
	assert_true(reconciler_pause("bed", false));
	for (int i = 0; i < 500 && runs_of(b) < before + 3; i++)
		run_for(b, 10);
	assert_true(runs_of(b) >= before + 3);
	assert_false(reconciler_pause("nobody", true));
	assert_false(reconciler_run_now("nobody"));
}

static void
failures_back_off_up_to_the_interval(void **state)
{
	struct bed *b = *state;
	static const uint32_t least_ms[] = { 75, 150, 225, 225 }; /* 100, 200, 300, 300 less 25 % */

	b->failures_left = 4;
	b->stop_at_run = 5;
	begin(b, 300);
	loop_run(b->loop);
	for (int i = 0; i < 4; i++)
		assert_in_range(b->run_ms[i + 1] - b->run_ms[i], least_ms[i], 5000);
}

static void
says_how_it_went(void **state)
{
	_cleanup_strbuf_ struct strbuf table = STRBUF_INIT, metrics = STRBUF_INIT;
	struct bed *b = *state;

	b->failures_left = 1;
	begin(b, 3600000);
	run_until(b, 1);
	run_for(b, 20);
	reconcilers_describe(&table);
	assert_non_null(strstr(strbuf_c(&table), "NAME"));
	assert_non_null(strstr(strbuf_c(&table), "the world is not ready\n"));
	run_until(b, 2);
	run_for(b, 20);
	strbuf_reset(&table);
	reconcilers_describe(&table);
	assert_non_null(strstr(strbuf_c(&table), " ok\n"));
	metrics_write(&metrics);
	assert_non_null(strstr(
	    strbuf_c(&metrics), "mallee_reconciler_runs_total{daemon=\"test\",name=\"bed\"} 2\n"));
	assert_non_null(strstr(strbuf_c(&metrics),
	    "mallee_reconciler_failures_total{daemon=\"test\",name=\"bed\"} 1\n"));
	assert_non_null(strstr(
	    strbuf_c(&metrics), "mallee_reconciler_failing{daemon=\"test\",name=\"bed\"} 0\n"));
}

static void
a_failure_that_lasts_is_logged_once(void **state)
{
	_cleanup_strbuf_ struct strbuf said = STRBUF_INIT;
	struct bed *b = *state;
	int ends[2], saved = dup(STDERR_FILENO);
	char chunk[4096];
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	(void)dup2(ends[1], STDERR_FILENO);
	(void)close(ends[1]);
	b->failures_left = 5;
	b->stop_at_run = 7;
	begin(b, 5);
	loop_run(b->loop);
	reconciler_free(TAKE(b->r));
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	while ((n = read(ends[0], chunk, sizeof(chunk))) > 0)
		strbuf_add(&said, chunk, (size_t)n);
	(void)close(ends[0]);
	const char *failed = strstr(strbuf_c(&said), "warn test reconciler.failed name=bed ");
	assert_non_null(failed);
	assert_null(strstr(failed + strlen("warn test reconciler.failed"), "reconciler.failed"));
	assert_non_null(strstr(failed, "info test reconciler.recovered name=bed\n"));
}

static void *
unblock_soon(void *arg)
{
	struct timespec a_while = { .tv_nsec = 50 * 1000000L };

	(void)nanosleep(&a_while, NULL);
	set_blocked(arg, false);
	return NULL;
}

static void
freeing_waits_for_the_run_under_way(void **state)
{
	struct bed *b = *state;
	pthread_t thread;

	b->is_blocked = true;
	begin(b, 10);
	run_until(b, 1);
	reconciler_poke(b->r); /* a post that outlives its reconciler */
	assert_int_equal(pthread_create(&thread, NULL, unblock_soon, b), 0);
	reconciler_free(TAKE(b->r));
	lock_take(&b->lock);
	assert_int_equal(b->inside, 0);
	lock_release(&b->lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	run_for(b, 30);
	assert_int_equal(runs_of(b), 1);
}

static void
block_worker(void *arg)
{
	struct bed *b = arg;

	LOCK_SCOPE(&b->lock);
	while (b->is_blocked)
		(void)lock_wait(&b->lock, &b->changed, -1);
}

static void
a_full_pool_only_delays_it(void **state)
{
	struct bed *b = *state;

	b->is_blocked = true;
	while (workers_run(b->workers, block_worker, b, NULL) == 0)
		;
	begin(b, 3600000);
	run_for(b, 120);
	assert_int_equal(runs_of(b), 0);
	set_blocked(b, false);
	run_until(b, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(runs_at_once_and_then_at_its_interval),
		T(a_step_may_ask_to_run_sooner_but_not_later),
		T(pokes_while_running_make_one_more_run),
		T(a_poke_makes_a_waiting_one_run),
		T(paused_it_runs_only_by_hand),
		T(failures_back_off_up_to_the_interval),
		T(says_how_it_went),
		T(a_failure_that_lasts_is_logged_once),
		T(freeing_waits_for_the_run_under_way),
		T(a_full_pool_only_delays_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
