/* What all connections of one loop share: the queue through which other threads reach it, the timer
 * wheel, spare buffers, the Date header. Several servers on a loop share its hub.
 *
 * One lock (HTTP) guards the list of hubs and their queues; it is held for a few instructions. The
 * wheel holds a task at its nearest deadline; deadlines that moved away are noticed when it comes
 * round. */
#include "net/http_hub.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "run/fd.h"
#include "run/lock.h"

#define SPARE_PIECES 16 /* 4 MiB */
#define SPARE_EXCHANGES 64

static struct lock http_lock = LOCK_INITIALIZER(HTTP);
static struct list hubs = LIST_INIT(hubs);

struct http_spare {
	struct http_spare *next;
};

static void on_wake(void *arg, uint32_t events);
static void on_tick(void *arg);

static struct http_hub *
find_locked(struct loop *loop)
{
	struct http_hub *h, *following;

	LIST_FOREACH (&hubs, h, following, link)
		if (h->loop == loop)
			return h;
	return NULL;
}

struct http_hub *
http_hub_get(struct loop *loop, struct err *e)
{
	struct http_hub *h;

	lock_take(&http_lock);
	h = find_locked(loop);
	if (h)
		h->servers++;
	lock_release(&http_lock);
	if (h)
		return h;

	/* sendfile and OpenSSL have no MSG_NOSIGNAL: a closed peer is an error of the call. */
	(void)signal(SIGPIPE, SIG_IGN);
	h = xcalloc(1, sizeof(*h));
	h->loop = loop;
	h->servers = 1;
	atomic_init(&h->holders, 1);
	h->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (h->wake_fd < 0) {
		err_set_errno(e, errno, "cannot make an eventfd");
		free(h);
		return NULL;
	}
	h->messages_tail = &h->messages;
	h->slot_free = UINT32_MAX;
	for (unsigned i = 0; i < HTTP_WHEEL; i++)
		list_init(&h->wheel[i]);
	list_init(&h->kicked);
	h->spare_pieces.max = SPARE_PIECES;
	h->spare_exchanges.max = SPARE_EXCHANGES;
	h->scratch = xmalloc(HTTP_SCRATCH);
	h->wake_watch = loop_watch_new(loop, h->wake_fd, EPOLLIN, on_wake, h);
	h->timer = loop_timer_new(loop, on_tick, h);
	http_hub_now(h);
	lock_take(&http_lock);
	list_add_tail(&hubs, &h->link);
	lock_release(&http_lock);
	return h;
}

static void
run_messages(struct http_hub *h, struct http_message *m, bool is_alive)
{
	while (m) {
		struct http_message *next = m->next;

		m->run(is_alive ? h : NULL, m);
		m = next;
	}
}

static struct http_message *
take_messages_locked(struct http_hub *h)
{
	struct http_message *m = h->messages;

	h->messages = NULL;
	h->messages_tail = &h->messages;
	return m;
}

static void
free_spares(struct http_spares *s)
{
	void *block;

	while ((block = http_spares_take(s)))
		free(block);
}

void
http_hub_put(struct http_hub *h)
{
	struct http_message *left = NULL;

	lock_take(&http_lock);
	if (--h->servers > 0) {
		lock_release(&http_lock);
		return;
	}
	h->is_closed = true;
	list_remove(&h->link);
	left = take_messages_locked(h);
	lock_release(&http_lock);

	loop_watch_free(h->wake_watch);
	loop_timer_free(h->timer);
	run_messages(h, left, false);
	fd_close(h->wake_fd);
	free_spares(&h->spare_exchanges);
	free_spares(&h->spare_pieces);
	free(h->slots);
	free(h->scratch);
	http_hub_drop(h);
}

void
http_hub_hold(struct http_hub *h)
{
	atomic_fetch_add(&h->holders, 1);
}

void
http_hub_drop(struct http_hub *h)
{
	if (atomic_fetch_sub(&h->holders, 1) == 1)
		free(h);
}

static void
wake(struct http_hub *h)
{
	uint64_t one = 1;

	(void)!write(h->wake_fd, &one, sizeof(one)); /* full means awake already */
}

static bool
queue_locked(struct http_hub *h, struct http_message *m)
{
	bool was_empty = !h->messages;

	m->next = NULL;
	*h->messages_tail = m;
	h->messages_tail = &m->next;
	return was_empty;
}

static void
post_locked(struct http_hub *h, struct http_message *m)
{
	/* Under the lock, so that the descriptor is still this hub's. */
	if (queue_locked(h, m))
		wake(h);
}

bool
http_hub_post(struct http_hub *h, struct http_message *m)
{
	LOCK_SCOPE(&http_lock);

	if (h->is_closed)
		return false;
	post_locked(h, m);
	return true;
}

bool
http_hub_post_to(struct loop *loop, struct http_message *m)
{
	struct http_hub *h;

	LOCK_SCOPE(&http_lock);
	h = find_locked(loop);
	if (h)
		post_locked(h, m);
	return h != NULL;
}

/* Hubs are woken when all of theirs is there, so that they do not come to wait for the lock. */
struct http_message *
http_hub_post_all(struct http_message *first)
{
	struct http_message *homeless = NULL, **tail = &homeless, *following;
	struct http_hub *h, *next;

	LOCK_SCOPE(&http_lock);
	for (struct http_message *m = first; m; m = following) {
		following = m->next;
		h = find_locked(m->loop);
		if (h) {
			h->is_wake_due |= queue_locked(h, m);
			continue;
		}
		m->next = NULL;
		*tail = m;
		tail = &m->next;
	}
	LIST_FOREACH (&hubs, h, next, link) {
		if (h->is_wake_due)
			wake(h);
		h->is_wake_due = false;
	}
	return homeless;
}

bool
http_hub_is_mine(struct http_hub *h)
{
	LOCK_SCOPE(&http_lock);

	return !h->is_closed && loop_is_current(h->loop);
}

uint64_t
http_hub_now(struct http_hub *h)
{
	h->now_us = clock_monotonic_us();
	return h->now_ms = h->now_us / 1000;
}

void
http_hub_uuid(struct http_hub *h, char out[UUID_TEXT_SIZE])
{
	if (h->random_left == 0) {
		random_bytes(h->random, sizeof(h->random));
		h->random_left = HTTP_RANDOM;
	}
	uuid_of(h->random[--h->random_left], out);
}

const char *
http_hub_date(struct http_hub *h)
{
	int64_t now = clock_now_us() / 1000000;

	if (now != h->date_s) {
		char text[TIME_TEXT_SIZE];

		time_format_http(now * 1000000, text);
		snprintf(h->date, sizeof(h->date), "%s", text);
		h->date_s = now;
	}
	return h->date;
}

/* -- spare memory -- */

void *
http_spares_take(struct http_spares *s)
{
	struct http_spare *block = s->first;

	if (!block)
		return NULL;
	s->first = block->next;
	s->count--;
	return block;
}

bool
http_spares_put(struct http_spares *s, void *block)
{
	struct http_spare *spare = block;

	if (s->count >= s->max)
		return false;
	spare->next = s->first;
	s->first = spare;
	s->count++;
	return true;
}

/* -- turns -- */

static void
run_kicked(struct http_hub *h)
{
	struct list batch;

	/* Those kicked while this batch runs wait for the next turn: a busy connection must not
	 * keep the loop from its other work. */
	list_init(&batch);
	while (!list_is_empty(&h->kicked)) {
		struct list *l = h->kicked.next;

		list_remove(l);
		list_add_tail(&batch, l);
	}
	while (!list_is_empty(&batch)) {
		struct http_task *t = CONTAINER_OF(batch.next, struct http_task, kicked);

		list_remove(&t->kicked);
		t->run(t);
	}
	if (!list_is_empty(&h->kicked))
		wake(h);
}

static void
on_wake(void *arg, uint32_t events)
{
	struct http_hub *h = arg;
	struct http_message *m;
	uint64_t count;

	(void)!read(h->wake_fd, &count, sizeof(count)); /* only resets it */
	lock_take(&http_lock);
	m = take_messages_locked(h);
	lock_release(&http_lock);
	http_hub_now(h);
	h->is_waking = true;
	run_messages(h, m, true);
	h->is_waking = false;
	run_kicked(h);
}

void
http_task_init(
    struct http_task *t, void (*run)(struct http_task *), void (*due)(struct http_task *))
{
	list_init(&t->timed);
	list_init(&t->kicked);
	t->due_ms = 0;
	t->run = run;
	t->due = due;
}

void
http_hub_kick(struct http_hub *h, struct http_task *t)
{
	if (!list_is_empty(&t->kicked))
		return;
	if (list_is_empty(&h->kicked) && !h->is_waking)
		wake(h);
	list_add_tail(&h->kicked, &t->kicked);
}

/* -- the wheel -- */

static void
tick_soon(struct http_hub *h)
{
	if (h->is_ticking)
		return;
	h->is_ticking = true;
	h->tick = http_hub_now(h) / HTTP_TICK_MS;
	loop_timer_set(h->timer, HTTP_TICK_MS);
}

static void
forget_due(struct http_hub *h, struct http_task *t)
{
	if (!t->due_ms)
		return;
	list_remove(&t->timed);
	t->due_ms = 0;
	h->timed--;
}

void
http_hub_set_due(struct http_hub *h, struct http_task *t, uint64_t deadline_ms)
{
	uint64_t tick, last;

	if (deadline_ms == UINT64_MAX || (t->due_ms && t->due_ms <= deadline_ms))
		return;
	forget_due(h, t);
	tick_soon(h);
	tick = deadline_ms / HTTP_TICK_MS + 1;
	last = h->tick + HTTP_WHEEL - 1;
	if (tick <= h->tick)
		tick = h->tick + 1;
	if (tick > last)
		tick = last;
	list_add_tail(&h->wheel[tick % HTTP_WHEEL], &t->timed);
	t->due_ms = tick * HTTP_TICK_MS;
	h->timed++;
}

void
http_hub_forget(struct http_hub *h, struct http_task *t)
{
	forget_due(h, t);
	list_remove(&t->kicked);
}

static void
run_tick(struct http_hub *h, uint64_t tick)
{
	struct list batch, *bucket = &h->wheel[tick % HTTP_WHEEL];

	list_init(&batch);
	while (!list_is_empty(bucket)) {
		struct list *l = bucket->next;

		list_remove(l);
		list_add_tail(&batch, l);
	}
	while (!list_is_empty(&batch)) {
		struct http_task *t = CONTAINER_OF(batch.next, struct http_task, timed);

		list_remove(&t->timed);
		t->due_ms = 0;
		h->timed--;
		t->due(t);
	}
}

static void
on_tick(void *arg)
{
	struct http_hub *h = arg;
	uint64_t now = http_hub_now(h) / HTTP_TICK_MS;

	if (now > h->tick + HTTP_WHEEL) /* the loop stood still: each bucket once is enough */
		h->tick = now - HTTP_WHEEL;
	while (h->tick < now)
		run_tick(h, ++h->tick);
	h->is_ticking = h->timed > 0;
	if (h->is_ticking)
		loop_timer_set(h->timer, HTTP_TICK_MS);
}
