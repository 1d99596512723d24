/* One thread's epoll loop. Each turn: what descriptors say, then timers that are due, then what
 * other threads posted, then the release of watches freed meanwhile. Releasing last is the trick: a
 * watch freed by one callback may stand further down in the same batch of events, where it is
 * recognised as dead instead of being called. */
#include "run/loop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/vec.h"
#include "run/fd.h"
#include "run/lock.h"

#define BATCH 64
#define IDLE_MAX_MS 1000 /* so that loop_turned_ms says "alive" of an idle loop, too */

struct post {
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	int epoll_fd;
	int wake_fd;
	struct loop_watch *wake;
	struct list dead; /* of loop_watch: freed, not yet released */
	struct list signals;
	VEC(struct loop_timer *) timers; /* a heap by due_ms */
	struct lock posts_lock;
	VEC(struct post) posts; /* under posts_lock */
	_Atomic bool stopping;
	_Atomic uint64_t turned_ms;
	_Atomic(pthread_t) thread;
};

struct loop_watch {
	struct loop *loop;
	struct list link; /* in loop->dead */
	int fd;
	uint32_t events; /* 0: not in the epoll set */
	bool is_dead;
	void (*fn)(void *arg, uint32_t events);
	void *arg;
};

struct loop_timer {
	struct loop *loop;
	uint64_t due_ms;
	size_t place; /* in the heap, from 1; 0: not armed */
	void (*fn)(void *arg);
	void *arg;
};

struct loop_signal {
	struct list link; /* in loop->signals */
	int fd;
	struct loop_watch *watch;
	void (*fn)(void *arg, int signo);
	void *arg;
};

/* Watches -------------------------------------------------------------------------------------- */

struct loop_watch *
loop_watch_new(
    struct loop *loop, int fd, uint32_t events, void (*fn)(void *arg, uint32_t events), void *arg)
{
	struct loop_watch *w = xcalloc(1, sizeof(*w));

	w->loop = loop;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	list_init(&w->link);
	loop_watch_set(w, events);
	return w;
}

/* epoll reports EPOLLHUP and EPOLLERR even when nothing was asked for, so that silence means to
 * leave the set. */
void
loop_watch_set(struct loop_watch *w, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = w };
	int op = w->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
	int r;

	assert(!w->is_dead);
	if (events == w->events && !(events & (EPOLLET | EPOLLONESHOT)))
		return;
	if (events == 0 && w->events == 0)
		return;
	r = epoll_ctl(w->loop->epoll_fd, op, w->fd, &event);
	assert(r == 0 || op == EPOLL_CTL_DEL);
	w->events = events;
}

void
loop_watch_free(struct loop_watch *w)
{
	if (!w || w->is_dead)
		return;
	loop_watch_set(w, 0);
	w->is_dead = true;
	list_add_tail(&w->loop->dead, &w->link);
}

static void
release_dead(struct loop *loop)
{
	struct loop_watch *w, *following;

	LIST_FOREACH (&loop->dead, w, following, link) {
		list_remove(&w->link);
		free(w);
	}
}

/* Timers --------------------------------------------------------------------------------------- */

static void
heap_put(struct loop *loop, size_t place, struct loop_timer *t)
{
	loop->timers.items[place - 1] = t;
	t->place = place;
}

static struct loop_timer *
heap_at(const struct loop *loop, size_t place)
{
	return loop->timers.items[place - 1];
}

static void
heap_up(struct loop *loop, struct loop_timer *t, size_t place)
{
	while (place > 1 && heap_at(loop, place / 2)->due_ms > t->due_ms) {
		heap_put(loop, place, heap_at(loop, place / 2));
		place /= 2;
	}
	heap_put(loop, place, t);
}

static void
heap_down(struct loop *loop, struct loop_timer *t, size_t place)
{
	size_t count = loop->timers.count, child;

	while ((child = place * 2) <= count) {
		if (child < count &&
		    heap_at(loop, child + 1)->due_ms < heap_at(loop, child)->due_ms)
			child++;
		if (heap_at(loop, child)->due_ms >= t->due_ms)
			break;
		heap_put(loop, place, heap_at(loop, child));
		place = child;
	}
	heap_put(loop, place, t);
}

struct loop_timer *
loop_timer_new(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct loop_timer *t = xcalloc(1, sizeof(*t));

	t->loop = loop;
	t->fn = fn;
	t->arg = arg;
	return t;
}

void
loop_timer_stop(struct loop_timer *t)
{
	struct loop *loop = t->loop;
	size_t place = t->place;
	struct loop_timer *last;

	if (place == 0)
		return;
	t->place = 0;
	last = heap_at(loop, loop->timers.count);
	loop->timers.count--;
	if (last == t)
		return;
	if (place > 1 && heap_at(loop, place / 2)->due_ms > last->due_ms)
		heap_up(loop, last, place);
	else
		heap_down(loop, last, place);
}

void
loop_timer_set(struct loop_timer *t, uint32_t after_ms)
{
	loop_timer_stop(t);
	t->due_ms = clock_monotonic_ms() + after_ms;
	vec_add(&t->loop->timers, t);
	heap_up(t->loop, t, t->loop->timers.count);
}

void
loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	loop_timer_stop(t);
	free(t);
}

/* As many as were armed at the beginning at most, so that a timer that re-arms itself with 0 ms
 * does not keep the loop from its descriptors. */
static void
run_timers(struct loop *loop)
{
	uint64_t now = clock_monotonic_ms();

	for (size_t left = loop->timers.count; left > 0 && loop->timers.count > 0; left--) {
		struct loop_timer *t = heap_at(loop, 1);

		if (t->due_ms > now)
			break;
		loop_timer_stop(t);
		t->fn(t->arg);
	}
}

static int
wait_ms(const struct loop *loop)
{
	uint64_t now, due;

	if (loop->timers.count == 0)
		return IDLE_MAX_MS;
	now = clock_monotonic_ms();
	due = heap_at(loop, 1)->due_ms;
	if (due <= now)
		return 0;
	return due - now < IDLE_MAX_MS ? (int)(due - now) : IDLE_MAX_MS;
}

/* Posts ---------------------------------------------------------------------------------------- */

static void
wake(struct loop *loop)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then the loop is awake already. */
	(void)!write(loop->wake_fd, &one, sizeof(one));
}

void
loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	bool was_empty;

	lock_take(&loop->posts_lock);
	was_empty = loop->posts.count == 0;
	vec_add(&loop->posts, ((struct post){ fn, arg }));
	lock_release(&loop->posts_lock);
	if (was_empty)
		wake(loop);
}

/* Returns how many ran. What they post themselves waits for the next turn. */
static size_t
run_posts(struct loop *loop)
{
	struct post *items;
	size_t count;

	lock_take(&loop->posts_lock);
	items = TAKE(loop->posts.items);
	count = loop->posts.count;
	loop->posts.count = loop->posts.size = 0;
	lock_release(&loop->posts_lock);
	for (size_t i = 0; i < count; i++)
		items[i].fn(items[i].arg);
	free(items);
	return count;
}

static void
on_wake(void *arg, uint32_t events)
{
	struct loop *loop = arg;
	uint64_t count;

	(void)!read(loop->wake_fd, &count, sizeof(count));
}

/* Signals -------------------------------------------------------------------------------------- */

static void
on_signal(void *arg, uint32_t events)
{
	struct loop_signal *s = arg;
	struct signalfd_siginfo info;

	while (read(s->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		s->fn(s->arg, (int)info.ssi_signo);
}

int
loop_signal(
    struct loop *loop, int signo, void (*fn)(void *arg, int signo), void *arg, struct err *e)
{
	struct loop_signal *s;
	sigset_t set;
	int fd, r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, signo);
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r != 0)
		return err_set_errno(e, r, "cannot block signal %d", signo);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot watch signal %d", signo);
	s = xcalloc(1, sizeof(*s));
	s->fd = fd;
	s->fn = fn;
	s->arg = arg;
	s->watch = loop_watch_new(loop, fd, EPOLLIN, on_signal, s);
	list_add_tail(&loop->signals, &s->link);
	return 0;
}

/* The loop ------------------------------------------------------------------------------------- */

int
loop_new(struct loop **ret_loop, struct err *e)
{
	_cleanup_(loop_freep) struct loop *loop = xcalloc(1, sizeof(*loop));

	loop->wake_fd = -1;
	list_init(&loop->dead);
	list_init(&loop->signals);
	lock_init(&loop->posts_lock, LOCK_LOOP);
	atomic_store(&loop->thread, pthread_self());
	atomic_store(&loop->turned_ms, clock_monotonic_ms());
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return err_set_errno(e, errno, "cannot create an epoll set");
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->wake_fd < 0)
		return err_set_errno(e, errno, "cannot create an eventfd");
	loop->wake = loop_watch_new(loop, loop->wake_fd, EPOLLIN, on_wake, loop);
	*ret_loop = TAKE(loop);
	return 0;
}

void
loop_free(struct loop *loop)
{
	struct loop_signal *s, *following;

	if (!loop)
		return;
	while (run_posts(loop) > 0)
		;
	LIST_FOREACH (&loop->signals, s, following, link) {
		loop_watch_free(s->watch);
		fd_close(s->fd);
		free(s);
	}
	loop_watch_free(loop->wake);
	release_dead(loop);
	vec_done(&loop->timers);
	vec_done(&loop->posts);
	lock_done(&loop->posts_lock);
	fd_close(loop->wake_fd);
	fd_close(loop->epoll_fd);
	free(loop);
}

static void
run_events(struct loop *loop)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(loop->epoll_fd, events, BATCH, wait_ms(loop));

	assert(n >= 0 || errno == EINTR);
	for (int i = 0; i < n; i++) {
		struct loop_watch *w = events[i].data.ptr;

		if (!w->is_dead && w->events != 0)
			w->fn(w->arg, events[i].events);
	}
}

void
loop_run(struct loop *loop)
{
	atomic_store(&loop->thread, pthread_self());
	while (!atomic_load(&loop->stopping)) {
		atomic_store_explicit(&loop->turned_ms, clock_monotonic_ms(), memory_order_relaxed);
		run_events(loop);
		run_timers(loop);
		(void)run_posts(loop);
		release_dead(loop);
	}
	atomic_store(&loop->stopping, false);
}

void
loop_stop(struct loop *loop)
{
	atomic_store(&loop->stopping, true);
	wake(loop);
}

bool
loop_is_current(const struct loop *loop)
{
	return pthread_equal(atomic_load(&loop->thread), pthread_self());
}

uint64_t
loop_turned_ms(const struct loop *loop)
{
	return atomic_load_explicit(&loop->turned_ms, memory_order_relaxed);
}
