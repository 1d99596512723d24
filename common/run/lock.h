#pragma once
/* Mutexes with names and ranks (lock.def). Locks are taken in rising rank; debug builds (any with
 * SANITIZE set) abort when a thread breaks the order. */
#include <pthread.h>
#include "base/alloc.h"

enum lock_rank {
#define LOCK(name, rank) LOCK_##name = rank,
#include "run/lock.def"
#undef LOCK
};
struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
	const char *name;
};
#define LOCK_INITIALIZER(lock_name)                                                                \
	{ .mutex = PTHREAD_MUTEX_INITIALIZER, .rank = LOCK_##lock_name, .name = #lock_name }
void lock_init(struct lock *l, enum lock_rank rank);
void lock_done(struct lock *l);
void lock_take(struct lock *l);
void lock_release(struct lock *l);
/* Waits on the condition with l held; timeout_ms < 0 waits for ever. False on time-out. */
int lock_wait(struct lock *l, pthread_cond_t *condition, int timeout_ms);
static inline void
lock_releasep(struct lock **l)
{
	if (*l)
		lock_release(*l);
}
#define LOCK_SCOPE_NAME_(n) lock_scope_##n
#define LOCK_SCOPE_(l, n)                                                                          \
	_cleanup_(lock_releasep) struct lock *LOCK_SCOPE_NAME_(n) _unused_ = (lock_take(l), (l))
#define LOCK_SCOPE(l) LOCK_SCOPE_(l, __COUNTER__)
