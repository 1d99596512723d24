/* The loop: freeing watches inside a batch, silence, timers in order, posts from threads, signals.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/strbuf.h"
#include "run/fd.h"
#include "run/lock.h"
#include "run/loop.h"

struct pair {
	int ours, theirs;
	struct loop_watch *watch;
};

struct bed {
	struct loop *loop;
	struct pair pairs[8];
	unsigned calls;
	uint32_t last_events;
	struct strbuf order;
	struct loop_timer *timers[8];
};

static int
set_up(void **state)
{
	struct bed *b = xcalloc(1, sizeof(*b));

	*state = b;
	return loop_new(&b->loop, NULL);
}

static int
tear_down(void **state)
{
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(b->pairs); i++) {
		loop_watch_free(b->pairs[i].watch);
		if (b->pairs[i].ours > 0) {
			fd_close(b->pairs[i].ours);
			fd_close(b->pairs[i].theirs);
		}
		loop_timer_free(b->timers[i]);
	}
	loop_free(b->loop);
	strbuf_done(&b->order);
	free(b);
	return 0;
}

static void
open_pair(struct pair *p)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p->ours = fds[0];
	p->theirs = fds[1];
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

static void
stop_after(struct bed *b, uint32_t ms)
{
	loop_timer_free(b->timers[7]);
	b->timers[7] = loop_timer_new(b->loop, stop, b->loop);
	loop_timer_set(b->timers[7], ms);
}

/* The first that is called frees all, itself included. */
static void
free_all(void *arg, uint32_t events)
{
	struct bed *b = arg;

	b->calls++;
	for (size_t i = 0; i < ARRAY_SIZE(b->pairs); i++)
		loop_watch_free(TAKE(b->pairs[i].watch));
	loop_stop(b->loop);
}

static void
a_watch_freed_in_the_batch_is_never_called(void **state)
{
	struct bed *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(b->pairs); i++) {
		open_pair(&b->pairs[i]);
		assert_int_equal(write(b->pairs[i].theirs, "x", 1), 1);
		b->pairs[i].watch = loop_watch_new(b->loop, b->pairs[i].ours, EPOLLIN, free_all, b);
	}
	loop_run(b->loop);
	assert_int_equal(b->calls, 1);
}

static void
count_events(void *arg, uint32_t events)
{
	struct bed *b = arg;
	char c;

	b->calls++;
	b->last_events = events;
	(void)!recv(b->pairs[0].ours, &c, 1, MSG_DONTWAIT);
}

static void
a_silent_watch_hears_nothing_not_even_a_hangup(void **state)
{
	struct bed *b = *state;

	open_pair(&b->pairs[0]);
	b->pairs[0].watch = loop_watch_new(b->loop, b->pairs[0].ours, 0, count_events, b);
	assert_int_equal(write(b->pairs[0].theirs, "x", 1), 1);
	(void)shutdown(b->pairs[0].theirs, SHUT_RDWR);
	stop_after(b, 30);
	loop_run(b->loop);
	assert_int_equal(b->calls, 0);
	loop_watch_set(b->pairs[0].watch, EPOLLIN | EPOLLET);
	stop_after(b, 30);
	loop_run(b->loop);
	assert_int_equal(b->calls, 1);
	assert_true(b->last_events & EPOLLHUP);
	loop_watch_set(b->pairs[0].watch, 0);
	loop_watch_set(b->pairs[0].watch, EPOLLIN | EPOLLET);
	stop_after(b, 30);
	loop_run(b->loop);
	assert_int_equal(b->calls, 2);
}

struct named {
	struct bed *bed;
	char name;
};

static void
note(void *arg)
{
	const struct named *n = arg;

	strbuf_addc(&n->bed->order, n->name);
}

static void
timers_fire_in_order_and_once(void **state)
{
	struct bed *b = *state;
	struct named names[6];
	static const uint32_t after_ms[6] = { 30, 10, 50, 0, 20, 40 };

	for (int i = 0; i < 6; i++) {
		names[i] = (struct named){ b, (char)('a' + i) };
		b->timers[i] = loop_timer_new(b->loop, note, &names[i]);
		loop_timer_set(b->timers[i], after_ms[i]);
	}
	loop_timer_stop(b->timers[4]);
	loop_timer_set(b->timers[2], 5); /* armed again: sooner */
	stop_after(b, 80);
	loop_run(b->loop);
	assert_string_equal(strbuf_c(&b->order), "dcbaf");
}

static void
many_timers_keep_their_order(void **state)
{
	enum { COUNT = 500 };
	struct bed *b = *state;
	struct loop_timer *timers[COUNT];
	struct named all = { b, '.' };
	unsigned random = 7;

	for (int i = 0; i < COUNT; i++) {
		timers[i] = loop_timer_new(b->loop, note, &all);
		random = random * 1103515245 + 12345;
		loop_timer_set(timers[i], 1 + random / 65536 % 20);
	}
	for (int i = 0; i < COUNT; i += 3)
		loop_timer_stop(timers[i]);
	stop_after(b, 60);
	loop_run(b->loop);
	assert_int_equal(b->order.n, COUNT - (COUNT + 2) / 3);
	for (int i = 0; i < COUNT; i++)
		loop_timer_free(timers[i]);
}

static void
rearm(void *arg)
{
	struct bed *b = arg;

	b->calls++;
	loop_timer_set(b->timers[0], 0);
}

static void
a_timer_that_rearms_at_once_starves_nobody(void **state)
{
	struct bed *b = *state;

	b->timers[0] = loop_timer_new(b->loop, rearm, b);
	loop_timer_set(b->timers[0], 0);
	open_pair(&b->pairs[0]);
	assert_int_equal(write(b->pairs[0].theirs, "x", 1), 1);
	b->pairs[0].watch = loop_watch_new(b->loop, b->pairs[0].ours, EPOLLIN, free_all, b);
	loop_run(b->loop);
	assert_true(b->calls >= 1);
}

static void
free_own_timer(void *arg)
{
	struct bed *b = arg;

	loop_timer_free(TAKE(b->timers[0]));
	loop_stop(b->loop);
}

static void
a_timer_may_free_itself(void **state)
{
	struct bed *b = *state;

	b->timers[0] = loop_timer_new(b->loop, free_own_timer, b);
	loop_timer_set(b->timers[0], 1);
	loop_run(b->loop);
	assert_null(b->timers[0]);
}

enum { THREADS = 4, POSTS = 2000 };

struct poster {
	struct bed *bed;
	int last; /* of this poster's posts seen */
	struct numbered {
		struct poster *poster;
		int number;
	} posts[POSTS];
};

static void
check_order(void *arg)
{
	struct numbered *n = arg;

	assert_true(loop_is_current(n->poster->bed->loop));
	assert_int_equal(n->number, n->poster->last + 1);
	n->poster->last = n->number;
	if (++n->poster->bed->calls == THREADS * POSTS)
		loop_stop(n->poster->bed->loop);
}

static void *
post_all(void *arg)
{
	struct poster *p = arg;

	assert_false(loop_is_current(p->bed->loop));
	for (int i = 0; i < POSTS; i++) {
		p->posts[i] = (struct numbered){ p, i + 1 };
		loop_post(p->bed->loop, check_order, &p->posts[i]);
	}
	return NULL;
}

static void
posts_of_threads_arrive_in_order(void **state)
{
	struct bed *b = *state;
	struct poster *posters = xcalloc(THREADS, sizeof(*posters));
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		posters[i].bed = b;
		assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
	}
	loop_run(b->loop);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(b->calls, THREADS * POSTS);
	free(posters);
}

static void
what_is_posted_to_an_ended_loop_is_released(void **state)
{
	struct loop *loop;

	assert_int_equal(loop_new(&loop, NULL), 0);
	loop_post(loop, free, xmalloc(100)); /* a leak unless it is called */
	loop_free(loop);
}

static void
on_signal(void *arg, int signo)
{
	struct bed *b = arg;

	b->calls += (unsigned)signo;
	loop_stop(b->loop);
}

static void
signals_arrive_on_the_loop(void **state)
{
	struct bed *b = *state;

	assert_int_equal(loop_signal(b->loop, SIGUSR1, on_signal, b, NULL), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(b->calls, 0);
	loop_run(b->loop);
	assert_int_equal(b->calls, SIGUSR1);
}

static void
an_idle_loop_shows_that_it_turns(void **state)
{
	struct bed *b = *state;
	uint64_t started_ms = clock_monotonic_ms();

	stop_after(b, 1300);
	loop_run(b->loop);
	assert_true(loop_turned_ms(b->loop) >= started_ms + 900);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_watch_freed_in_the_batch_is_never_called),
		T(a_silent_watch_hears_nothing_not_even_a_hangup),
		T(timers_fire_in_order_and_once),
		T(many_timers_keep_their_order),
		T(a_timer_that_rearms_at_once_starves_nobody),
		T(a_timer_may_free_itself),
		T(posts_of_threads_arrive_in_order),
		T(what_is_posted_to_an_ended_loop_is_released),
		T(signals_arrive_on_the_loop),
		T(an_idle_loop_shows_that_it_turns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
