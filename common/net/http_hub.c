/* What all connections of one loop share: the queue through which other threads reach it, the slots
 * behind http_ref, the timer wheel, spare buffers, the Date header. Several servers on a loop share
 * its hub.
 *
 * Other threads never see an exchange. They name it by (loop, slot, generation); the name is looked
 * up on the loop's own thread, where an exchange can't vanish under the hands. One lock (HTTP)
 * guards the list of hubs and their queues; it is held for a few instructions. The wheel holds a
 * connection at its nearest deadline; deadlines that moved away are noticed when it comes round. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/clock.h"
#include "net/http_internal.h"
#include "run/fd.h"

static struct lock http_lock = LOCK_INITIALIZER(HTTP);
static struct list hubs = LIST_INIT(hubs);

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

void
http_hub_put(struct http_hub *h)
{
	struct http_message *left = NULL;
	struct http_exchange *x;
	struct http_piece *p;

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
	while ((x = h->spare_exchanges)) {
		h->spare_exchanges = x->next_spare;
		free(x);
	}
	while ((p = h->spare_pieces)) {
		h->spare_pieces = p->next;
		free(p);
	}
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
		struct http_connection *c =
		    CONTAINER_OF(batch.next, struct http_connection, kicked);

		list_remove(&c->kicked);
		http_connection_run(c);
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
http_connection_kick(struct http_connection *c)
{
	struct http_hub *h = c->hub;

	if (c->is_running || !list_is_empty(&c->kicked))
		return;
	if (list_is_empty(&h->kicked) && !h->is_waking)
		wake(h);
	list_add_tail(&h->kicked, &c->kicked);
}

/* -- the wheel -- */

void
http_connection_forget_due(struct http_connection *c)
{
	if (!c->due_ms)
		return;
	list_remove(&c->timed);
	c->due_ms = 0;
	c->hub->timed--;
}

/* Only moves it forward: a deadline that moved away is noticed when the old one comes round. */
void
http_connection_set_due(struct http_connection *c, uint64_t deadline_ms)
{
	struct http_hub *h = c->hub;
	uint64_t tick, last;

	if (deadline_ms == UINT64_MAX || (c->due_ms && c->due_ms <= deadline_ms))
		return;
	http_connection_forget_due(c);
	http_hub_tick_soon(h);
	tick = deadline_ms / HTTP_TICK_MS + 1;
	last = h->tick + HTTP_WHEEL - 1;
	if (tick <= h->tick)
		tick = h->tick + 1;
	if (tick > last)
		tick = last;
	list_add_tail(&h->wheel[tick % HTTP_WHEEL], &c->timed);
	c->due_ms = tick * HTTP_TICK_MS;
	h->timed++;
}

void
http_hub_tick_soon(struct http_hub *h)
{
	if (h->is_ticking)
		return;
	h->is_ticking = true;
	h->tick = http_hub_now(h) / HTTP_TICK_MS;
	loop_timer_set(h->timer, HTTP_TICK_MS);
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
		struct http_connection *c = CONTAINER_OF(batch.next, struct http_connection, timed);

		list_remove(&c->timed);
		c->due_ms = 0;
		h->timed--;
		http_connection_due(c);
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

/* -- names for other threads -- */

static uint32_t
slot_of(struct http_exchange *x)
{
	struct http_hub *h = x->hub;

	if (x->slot != UINT32_MAX)
		return x->slot;
	if (h->slot_free == UINT32_MAX) {
		uint32_t more = h->slot_count ? h->slot_count : 16;

		h->slots = xrealloc(h->slots, (h->slot_count + more) * sizeof(*h->slots));
		for (uint32_t i = h->slot_count + more; i-- > h->slot_count;) {
			h->slots[i] = (struct http_slot){ NULL, 1, h->slot_free };
			h->slot_free = i;
		}
		h->slot_count += more;
	}
	x->slot = h->slot_free;
	h->slot_free = h->slots[x->slot].next_free;
	h->slots[x->slot].x = x;
	return x->slot;
}

void
http_exchange_forget_ref(struct http_exchange *x)
{
	struct http_hub *h = x->hub;
	struct http_slot *s;

	if (x->slot == UINT32_MAX)
		return;
	s = &h->slots[x->slot];
	s->x = NULL;
	s->generation++;
	s->next_free = h->slot_free;
	h->slot_free = x->slot;
	x->slot = UINT32_MAX;
	x->is_suspended = false;
	x->suspend_deadline_ms = 0;
}

void
http_exchange_gone(struct http_exchange *x, bool complete)
{
	struct http_server *s = x->c->lane->server;

	if (!x->is_delivered)
		return;
	http_exchange_forget_ref(x);
	http_pieces_detach(x);
	if (x->upgrade) {
		const struct http_upgrade *u = TAKE(x->upgrade);

		u->gone(x, x->upgrade_arg);
	}
	if (s->options.handler.gone)
		s->options.handler.gone(x, complete, s->options.arg);
	x->is_delivered = false;
	atomic_fetch_sub(&s->exchanges, 1);
	metric_add(s->in_flight, -1);
}

struct http_ref
http_suspend(struct http_exchange *x, uint32_t timeout_ms, void (*expired)(struct http_exchange *x))
{
	uint32_t slot = slot_of(x);

	assert(x->is_delivered);
	x->is_suspended = true;
	x->suspend_deadline_ms = timeout_ms ? http_hub_now(x->hub) + timeout_ms : 0;
	x->expired = expired;
	if (!x->c->is_running)
		http_connection_kick(x->c); /* the deadline is to be noted */
	return (struct http_ref){ x->hub->loop, slot, x->hub->slots[slot].generation };
}

struct http_resume {
	struct http_message message;
	struct http_ref ref;
	void (*fn)(struct http_exchange *x, void *arg);
	void *arg;
	struct http_resume *following; /* among those gathered */
};

static void
run_resume(struct http_hub *h, struct http_message *m)
{
	struct http_resume *r = CONTAINER_OF(m, struct http_resume, message);
	struct http_exchange *x = NULL;

	if (h && r->ref.slot < h->slot_count &&
	    h->slots[r->ref.slot].generation == r->ref.generation)
		x = h->slots[r->ref.slot].x;
	if (x) {
		x->is_suspended = false;
		x->suspend_deadline_ms = 0;
		http_connection_kick(x->c);
	}
	r->fn(x, r->arg);
	free(r);
}

static struct http_resume *
resume_new(struct http_ref ref, void (*fn)(struct http_exchange *x, void *arg), void *arg)
{
	struct http_resume *r = xmalloc(sizeof(*r));

	*r = (struct http_resume){ { NULL, run_resume }, ref, fn, arg, NULL };
	return r;
}

void
http_resume(struct http_ref ref, void (*fn)(struct http_exchange *x, void *arg), void *arg)
{
	struct http_resume *r = resume_new(ref, fn, arg);
	struct http_hub *h;

	lock_take(&http_lock);
	h = find_locked(ref.loop);
	if (h)
		post_locked(h, &r->message);
	lock_release(&http_lock);
	if (!h) /* no server is left there: nobody else will free arg */
		run_resume(NULL, &r->message);
}

void
http_resume_later(struct http_resumes *all, struct http_ref ref,
    void (*fn)(struct http_exchange *x, void *arg), void *arg)
{
	struct http_resume *r = resume_new(ref, fn, arg);

	r->following = all->last_first;
	all->last_first = r;
}

/* In the order in which they came. */
static struct http_resume *
turned(struct http_resume *r)
{
	struct http_resume *first = NULL;

	while (r) {
		struct http_resume *following = r->following;

		r->following = first;
		first = r;
		r = following;
	}
	return first;
}

/* Hubs are woken when all of theirs is there, so that they do not come to wait for the lock. */
void
http_resume_all(struct http_resumes *all)
{
	struct http_resume *r = turned(TAKE(all->last_first)), *following, *homeless = NULL;
	struct http_hub *h, *next;

	lock_take(&http_lock);
	for (; r; r = following) {
		following = r->following;
		h = find_locked(r->ref.loop);
		if (h) {
			h->is_wake_due |= queue_locked(h, &r->message);
			continue;
		}
		r->following = homeless;
		homeless = r;
	}
	LIST_FOREACH (&hubs, h, next, link) {
		if (h->is_wake_due)
			wake(h);
		h->is_wake_due = false;
	}
	lock_release(&http_lock);
	for (r = turned(homeless); r; r = following) {
		following = r->following;
		run_resume(NULL, &r->message);
	}
}
