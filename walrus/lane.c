/* A queue of spans and at most one worker on it. QUEUED is a worker asked for that has not begun;
 * who finishes the lane may take its work away, and it then finds nothing to do. */
#include "lane.h"

#include <stdatomic.h>

#include "base/vec.h"
#include "run/lock.h"

struct piece {
	struct http_body *body;
	void (*release)(struct http_body *body);
	atomic_uint references;
};

struct span {
	struct str bytes;
	struct piece *piece;
};

struct lane {
	struct workers *workers;
	EVP_MD_CTX *context; /* of whoever works */
	atomic_uint references;
	struct lock lock;
	pthread_cond_t idle;
	enum { LANE_IDLE, LANE_QUEUED, LANE_RUNNING } state; /* under lock, like what follows */
	VEC(struct span) spans;
	size_t first;
};

struct piece *
piece_new(struct http_body *body, void (*release)(struct http_body *body))
{
	struct piece *p = xmalloc(sizeof(*p));

	p->body = body;
	p->release = release;
	atomic_init(&p->references, 1);
	return p;
}

void
piece_unref(struct piece *p)
{
	if (atomic_fetch_sub(&p->references, 1) > 1)
		return;
	p->release(p->body);
	free(p);
}

struct lane *
lane_new(struct workers *workers, EVP_MD_CTX *context)
{
	struct lane *l = xcalloc(1, sizeof(*l));

	l->workers = workers;
	l->context = context;
	atomic_init(&l->references, 1);
	lock_init(&l->lock, LOCK_LEAF);
	(void)pthread_cond_init(&l->idle, NULL);
	return l;
}

static void
unref(struct lane *l)
{
	if (atomic_fetch_sub(&l->references, 1) > 1)
		return;
	(void)pthread_cond_destroy(&l->idle);
	lock_done(&l->lock);
	vec_done(&l->spans);
	free(l);
}

static bool
take_span(struct lane *l, struct span *ret)
{
	LOCK_SCOPE(&l->lock);
	if (l->first == l->spans.count) {
		l->first = l->spans.count = 0;
		l->state = LANE_IDLE;
		(void)pthread_cond_broadcast(&l->idle);
		return false;
	}
	*ret = l->spans.items[l->first++];
	return true;
}

/* Only by who made it LANE_RUNNING. */
static void
drain(struct lane *l)
{
	struct span s;

	while (take_span(l, &s)) {
		EVP_DigestUpdate(l->context, s.bytes.p, s.bytes.n);
		piece_unref(s.piece);
	}
}

static bool
take_work(struct lane *l)
{
	LOCK_SCOPE(&l->lock);
	if (l->state != LANE_QUEUED)
		return false;
	l->state = LANE_RUNNING;
	return true;
}

static void
work(void *arg)
{
	struct lane *l = arg;

	if (take_work(l))
		drain(l);
	unref(l);
}

void
lane_add(struct lane *l, struct str bytes, struct piece *p)
{
	struct span s = { bytes, p };
	bool is_idle;
	struct err e;

	atomic_fetch_add(&p->references, 1);
	lock_take(&l->lock);
	vec_add(&l->spans, s);
	is_idle = l->state == LANE_IDLE;
	if (is_idle)
		l->state = LANE_QUEUED;
	lock_release(&l->lock);
	if (!is_idle)
		return;
	atomic_fetch_add(&l->references, 1);
	if (workers_run(l->workers, work, l, &e) < 0)
		work(l); /* nobody is free: here, then */
}

void
lane_finish(struct lane *l)
{
	if (take_work(l))
		drain(l);
	LOCK_SCOPE(&l->lock);
	while (l->state != LANE_IDLE)
		(void)lock_wait(&l->lock, &l->idle, -1);
}

void
lane_free(struct lane *l)
{
	if (!l)
		return;
	lane_finish(l);
	unref(l);
}
