/* Long polls on the server's side. A request that finds nothing new is parked: no thread, a struct
 * in a list. The store's commit callback takes out those that its revision concerns and gives them
 * to workers, where their handlers run again and find the news. One timer, on the loop, ends the
 * waits that have lasted long enough.
 *
 * Nothing is lost between a handler's look and its park: changes_enter compares again under the
 * lock that changes_notify takes. */
#include "rpc/changes.h"

#include "base/clock.h"
#include "rpc/rpc_internal.h"

#define QUEUE_FULL_RETRY_MS 50

struct changes {
	atomic_int refs;
	struct store *store;
	struct loop *loop;
	struct loop_timer *timer; /* loop; NULL once freed */
	struct lock lock;
	uint64_t last;      /* revision; under lock, like what follows */
	struct list parked; /* struct rpc_waiter */
	struct rpc *rpc;    /* whose requests these are, a reference; under rpc->lock */
	bool is_freed;
	unsigned resumed; /* handed to workers and not through yet */
	pthread_cond_t idle;
};

static void
changes_unref(struct changes *c)
{
	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	(void)pthread_cond_destroy(&c->idle);
	lock_done(&c->lock);
	free(c);
}

static int
read_last(struct store_tx *tx, void *arg, struct err *e)
{
	return outbox_last(tx, arg, e);
}

static void on_events(void *arg, uint64_t revision);
static void on_timer(void *arg);

struct changes *
changes_new(struct store *store, struct loop *loop)
{
	struct changes *c = xcalloc(1, sizeof(*c));
	uint64_t last = 0;
	struct err e;

	atomic_init(&c->refs, 1);
	c->store = store;
	c->loop = loop;
	c->timer = loop_timer_new(loop, on_timer, c);
	lock_init(&c->lock, LOCK_CHANGES);
	(void)pthread_cond_init(&c->idle, NULL);
	list_init(&c->parked);
	store_on_events(store, on_events, c);
	/* Unreadable: nobody waits before the first commit, which is slow but right. */
	if (store_read(store, read_last, &last, &e) < 0)
		last = UINT64_MAX;
	lock_take(&c->lock);
	if (c->last < last)
		c->last = last;
	lock_release(&c->lock);
	return c;
}

static void
forget_rpc(struct changes *c)
{
	struct rpc *r = TAKE(c->rpc);

	if (!r)
		return;
	lock_take(&r->lock);
	for (size_t i = 0; i < RPC_CHANGES_MAX; i++)
		if (r->changes[i] == c)
			r->changes[i] = NULL;
	lock_release(&r->lock);
	rpc_unref(r);
}

/* -- waking -- */

static void on_parked(void *arg);

/* On a worker. */
static void
resume(void *arg)
{
	struct rpc_waiter *w = arg;
	struct changes *c = w->park;

	w->run(w);
	lock_take(&c->lock);
	c->resumed--;
	(void)pthread_cond_broadcast(&c->idle);
	lock_release(&c->lock);
	changes_unref(c);
}

/* Takes w, which is in no list. */
static void
wake(struct changes *c, struct rpc_waiter *w)
{
	struct err e;

	if (atomic_load(&w->call->client_gone))
		w->is_due = true; /* nobody will read it: answer what there is and be done */
	lock_take(&c->lock);
	c->resumed++;
	lock_release(&c->lock);
	atomic_fetch_add(&c->refs, 1);
	if (workers_run(w->rpc->workers, resume, w, &e) == 0)
		return;
	lock_take(&c->lock);
	c->resumed--;
	w->due_ms = clock_monotonic_ms() + QUEUE_FULL_RETRY_MS;
	list_add_tail(&c->parked, &w->link);
	lock_release(&c->lock);
	loop_post(c->loop, on_parked, c); /* with the reference */
}

/* Moves those to wake from c->parked to `out`. */
static void
take_ready(struct changes *c, uint64_t now_ms, bool all, struct list *out)
{
	struct rpc_waiter *w, *following;

	LOCK_SCOPE(&c->lock);
	LIST_FOREACH (&c->parked, w, following, link) {
		bool is_due = all || w->due_ms <= now_ms;

		if (!is_due && w->revision >= c->last)
			continue;
		w->is_due = is_due;
		list_remove(&w->link);
		list_add_tail(out, &w->link);
	}
}

static void
wake_ready(struct changes *c, uint64_t now_ms, bool all)
{
	struct list ready;
	struct rpc_waiter *w, *following;

	list_init(&ready);
	take_ready(c, now_ms, all, &ready);
	LIST_FOREACH (&ready, w, following, link) {
		list_remove(&w->link);
		wake(c, w);
	}
}

void
changes_notify(struct changes *c, uint64_t revision)
{
	lock_take(&c->lock);
	if (c->last == UINT64_MAX || c->last < revision)
		c->last = revision;
	lock_release(&c->lock);
	wake_ready(c, 0, false);
}

static void
on_events(void *arg, uint64_t revision)
{
	changes_notify(arg, revision);
}

void
changes_release(struct changes *c)
{
	wake_ready(c, 0, true);
}

/* -- the timer -- */

static void
set_timer(struct changes *c)
{
	uint64_t now = clock_monotonic_ms(), first = UINT64_MAX;
	struct rpc_waiter *w, *following;

	lock_take(&c->lock);
	LIST_FOREACH (&c->parked, w, following, link)
		if (w->due_ms < first)
			first = w->due_ms;
	lock_release(&c->lock);
	if (first != UINT64_MAX)
		loop_timer_set(c->timer, first > now ? (uint32_t)(first - now) : 0);
}

static void
on_timer(void *arg)
{
	struct changes *c = arg;

	wake_ready(c, clock_monotonic_ms(), false);
	set_timer(c);
}

/* On the loop. Owns a reference. */
static void
on_parked(void *arg)
{
	struct changes *c = arg;

	if (c->timer)
		set_timer(c);
	changes_unref(c);
}

/* -- parking -- */

static uint32_t
asked_wait_ms(const struct rpc_waiter *w)
{
	const struct shape *shape = w->operation->in;

	for (unsigned i = 0; i < shape->field_count; i++)
		if (shape->fields[i].type == FIELD_U32 &&
		    strings_equal(shape->fields[i].name, "wait_ms"))
			return *(const uint32_t *)((const char *)w->in + shape->fields[i].offset);
	return 0;
}

bool
changes_park(struct changes *c, struct rpc_request *rq, uint64_t epoch, uint64_t revision)
{
	struct rpc_waiter *w = rq->waiter;
	uint32_t wait_ms = CHANGES_WAIT_MS, asked, left;

	if (!w || w->is_due || !epoch || epoch != store_epoch(c->store) ||
	    atomic_load(&w->rpc->is_draining))
		return false;
	lock_take(&c->lock);
	if (c->last > revision || c->is_freed) {
		lock_release(&c->lock);
		return false;
	}
	lock_release(&c->lock);
	if (!w->due_ms) { /* the first time: later parks of this request share its end */
		asked = asked_wait_ms(w);
		left = rpc_time_left_ms(rq) * 4 / 5;
		if (asked && asked < wait_ms)
			wait_ms = asked;
		if (left < wait_ms)
			wait_ms = left;
		w->due_ms = clock_monotonic_ms() + wait_ms;
	}
	w->park = c;
	w->revision = revision;
	return true;
}

/* So that rpc_drain finds us. */
static void
remember_changes(struct rpc *r, struct changes *c)
{
	LOCK_SCOPE(&r->lock);
	for (size_t i = 0; i < RPC_CHANGES_MAX && !c->rpc; i++) {
		if (r->changes[i])
			continue;
		r->changes[i] = c;
		rpc_ref(r);
		c->rpc = r;
	}
}

void
changes_enter(struct changes *c, struct rpc_waiter *w)
{
	struct rpc *rpc = w->rpc;
	bool has_news;

	remember_changes(rpc, c);
	atomic_fetch_add(&c->refs, 1);
	lock_take(&c->lock);
	has_news = c->last > w->revision;
	if (c->is_freed || atomic_load(&rpc->is_draining))
		has_news = w->is_due = true;
	if (!has_news)
		list_add_tail(&c->parked, &w->link); /* from here on it may be gone */
	lock_release(&c->lock);
	if (has_news) {
		wake(c, w);
		changes_unref(c);
	} else {
		loop_post(c->loop, on_parked, c);
	}
}

/* On the loop, after the store's last commit or before. Parked requests are dropped with a fault:
 * the servers they came through are gone or going. */
void
changes_free(struct changes *c)
{
	struct list ready;
	struct rpc_waiter *w, *following;

	if (!c)
		return;
	store_on_events(c->store, NULL, NULL);
	lock_take(&c->lock);
	c->is_freed = true;
	lock_release(&c->lock);
	list_init(&ready);
	take_ready(c, 0, true, &ready);
	LIST_FOREACH (&ready, w, following, link) {
		list_remove(&w->link);
		w->drop(w);
	}
	lock_take(&c->lock);
	while (c->resumed)
		(void)lock_wait(&c->lock, &c->idle, -1);
	lock_release(&c->lock);
	forget_rpc(c);
	loop_timer_free(TAKE(c->timer));
	changes_unref(c);
}
