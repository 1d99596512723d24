/* Mutexes that know their rank. In builds with LOCK_CHECKS each thread remembers what it holds and
 * aborts on the first acquisition out of order, naming both locks: a deadlock found without having
 * to happen. Ordinary builds pay nothing. */
#include "run/lock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#ifdef LOCK_CHECKS
#define HELD_MAX 16
static _Thread_local struct lock *held[HELD_MAX];
static _Thread_local unsigned held_count;

static void
check_take(struct lock *l)
{
	for (unsigned i = 0; i < held_count; i++) {
		if (held[i]->rank >= l->rank) {
			fprintf(stderr, "lock order: %s (%d) wanted while holding %s (%d)\n",
			    l->name, l->rank, held[i]->name, held[i]->rank);
			abort();
		}
	}
	assert(held_count < HELD_MAX);
	held[held_count++] = l;
}

static void
check_release(struct lock *l)
{
	for (unsigned i = held_count; i-- > 0;) {
		if (held[i] == l) {
			held[i] = held[--held_count];
			return;
		}
	}
	fprintf(stderr, "lock %s released by a thread that does not hold it\n", l->name);
	abort();
}
#else
static void
check_take(struct lock *l)
{
	(void)l;
}

static void
check_release(struct lock *l)
{
	(void)l;
}
#endif

static const char *
rank_name(enum lock_rank rank)
{
	switch (rank) {
#define LOCK(name, number)                                                                         \
	case LOCK_##name:                                                                          \
		return #name;
#include "run/lock.def"
#undef LOCK
	}
	return "?";
}

void
lock_init(struct lock *l, enum lock_rank rank)
{
	int r = pthread_mutex_init(&l->mutex, NULL);

	assert(r == 0);
	l->rank = rank;
	l->name = rank_name(rank);
}

void
lock_done(struct lock *l)
{
	int r = pthread_mutex_destroy(&l->mutex);

	assert(r == 0);
}

void
lock_take(struct lock *l)
{
	int r;

	check_take(l);
	r = pthread_mutex_lock(&l->mutex);
	assert(r == 0);
}

void
lock_release(struct lock *l)
{
	int r;

	check_release(l);
	r = pthread_mutex_unlock(&l->mutex);
	assert(r == 0);
}

int
lock_wait(struct lock *l, pthread_cond_t *condition, int timeout_ms)
{
	struct timespec until;
	int r;

	if (timeout_ms < 0) {
		r = pthread_cond_wait(condition, &l->mutex);
		assert(r == 0);
		return 1;
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	r = pthread_cond_clockwait(condition, &l->mutex, CLOCK_MONOTONIC, &until);
	assert(r == 0 || r == ETIMEDOUT);
	return r == 0;
}
