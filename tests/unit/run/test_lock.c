/* Ranks: a wrong order aborts in checking builds; waiting keeps its deadline. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "run/lock.h"

static struct lock low = LOCK_INITIALIZER(STATE);
static struct lock high = LOCK_INITIALIZER(METRICS);
static struct lock high_too = LOCK_INITIALIZER(METRICS);

static void
rising_order_is_fine(void **state)
{
	for (int i = 0; i < 3; i++) {
		LOCK_SCOPE(&low);
		LOCK_SCOPE(&high);
	}
	lock_take(&low);
	lock_take(&high);
	lock_release(&low); /* release in any order */
	lock_release(&high);
	lock_take(&low);
	lock_release(&low);
}

static void
take_in_order(struct lock *first, struct lock *second)
{
	lock_take(first);
	lock_take(second);
}

static void
release_unheld(struct lock *l, struct lock *unused)
{
	lock_release(l);
}

static int
signal_of(void (*fn)(struct lock *, struct lock *), struct lock *a, struct lock *b)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGABRT, SIG_DFL);
		(void)dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		fn(a, b);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
a_wrong_order_aborts(void **state)
{
#ifdef LOCK_CHECKS
	assert_int_equal(signal_of(take_in_order, &low, &high), 0);
	assert_int_equal(signal_of(take_in_order, &high, &low), SIGABRT);
	assert_int_equal(signal_of(take_in_order, &high, &high_too), SIGABRT);
	assert_int_equal(signal_of(release_unheld, &low, NULL), SIGABRT);
#else
	(void)signal_of;
	(void)take_in_order;
	(void)release_unheld;
	(void)high_too;
	skip(); /* lock order is checked in builds with SANITIZE */
#endif
}

static void
waiting_ends_in_time(void **state)
{
	pthread_cond_t never = PTHREAD_COND_INITIALIZER;
	uint64_t started_ms = clock_monotonic_ms();

	LOCK_SCOPE(&low);
	assert_false(lock_wait(&low, &never, 30));
	assert_in_range(clock_monotonic_ms() - started_ms, 29, 5000);
	assert_false(lock_wait(&low, &never, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rising_order_is_fine),
		cmocka_unit_test(a_wrong_order_aborts),
		cmocka_unit_test(waiting_ends_in_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
