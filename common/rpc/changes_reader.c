/* Following a peer's news: one question is always under way, or a pause before the next. Answers
 * are applied on a worker, one after the other; the place reached is asked from next time. The
 * peer's restart, a broken link and a slow one look alike: ask again from the same place.
 *
 * State lives on the loop; only `epoch`, `revision` and the result of an apply cross over, while
 * nothing else is under way. */
#include <stdio.h>
#include "base/clock.h"
#include "base/id.h"
#include "rpc/changes.h"
#include "rpc/rpc_internal.h"

#define ASK_MARGIN_MS 10000 /* beyond the wait */
#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 1000 /* after an apply that failed */
#define IDLE_MIN_MS 50    /* between answers that bring nothing: a peer that does not park */

struct changes_reader {
	atomic_int refs;
	struct rpc_peer *peer;
	struct rpc *rpc;
	struct workers *workers;
	struct changes_reader_options options;
	struct loop_timer *timer; /* NULL once freed; loop */
	uint32_t pause_ms;
	uint64_t asked_ms;
	bool is_up, is_known;

	struct lock lock;
	pthread_cond_t idle;
	bool is_freed, is_applying; /* under lock */
};

/* What goes to a worker: an answer, or news of the link. */
struct delivery {
	struct changes_reader *reader;
	struct arena *arena;
	void *out; /* NULL: the link only */
	bool tells_link, is_up;
	struct err why;
	int r; /* of apply */
	bool is_same;
};

static void ask(struct changes_reader *r);

static void
reader_unref(struct changes_reader *r)
{
	if (atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	rpc_peer_free(r->peer);
	rpc_unref(r->rpc);
	lock_done(&r->lock);
	(void)pthread_cond_destroy(&r->idle);
	free(r);
}

static void
pause_then_ask(struct changes_reader *r, uint32_t pause_ms)
{
	if (r->timer)
		loop_timer_set(r->timer, pause_ms);
}

static uint32_t
jittered(uint32_t ms)
{
	uint16_t random;

	random_bytes(&random, sizeof(random));
	return ms / 2 + random % (ms / 2 + 1);
}

/* -- on a worker -- */

static bool
begin_apply(struct changes_reader *r)
{
	LOCK_SCOPE(&r->lock);
	if (r->is_freed)
		return false;
	return r->is_applying = true;
}

static void
end_apply(struct changes_reader *r)
{
	LOCK_SCOPE(&r->lock);
	r->is_applying = false;
	(void)pthread_cond_broadcast(&r->idle);
}

static void on_applied(void *arg);

static void
apply(void *arg)
{
	struct delivery *d = arg;
	struct changes_reader *r = d->reader;
	uint64_t epoch = r->options.epoch, revision = r->options.revision;

	if (begin_apply(r)) {
		if (d->tells_link && r->options.link)
			r->options.link(r->options.arg, d->is_up, d->is_up ? NULL : &d->why);
		if (d->out)
			d->r = r->options.apply(r->options.arg, d->out, &epoch, &revision, &d->why);
		d->is_same = epoch == r->options.epoch && revision == r->options.revision;
		if (d->r == 0) {
			r->options.epoch = epoch;
			r->options.revision = revision;
		}
		end_apply(r);
	}
	loop_post(r->rpc->loop, on_applied, d);
}

/* -- on the loop -- */

static void
delivery_free(struct delivery *d)
{
	reader_unref(d->reader);
	arena_free(d->arena);
	free(d);
}

static void
on_applied(void *arg)
{
	struct delivery *d = arg;
	struct changes_reader *r = d->reader;
	uint64_t took = clock_monotonic_ms() - r->asked_ms;

	if (r->timer) {
		if (d->out && d->r < 0) {
			log_warn(&r->rpc->log, "changes.not_applied", "operation=%s error=\"%s\"",
			    r->options.operation->name, d->why.text);
			r->pause_ms = r->pause_ms ? r->pause_ms * 2 : PAUSE_MIN_MS;
			if (r->pause_ms > PAUSE_MAX_MS)
				r->pause_ms = PAUSE_MAX_MS;
			pause_then_ask(r, jittered(r->pause_ms));
		} else if (!d->out) {
			pause_then_ask(r, rpc_peer_retry_ms(r->peer) + PAUSE_MIN_MS);
		} else {
			r->pause_ms = 0;
			if (d->is_same && took < IDLE_MIN_MS)
				pause_then_ask(r, IDLE_MIN_MS);
			else
				ask(r);
		}
	}
	delivery_free(d);
}

static void
hand_over(struct delivery *d)
{
	struct changes_reader *r = d->reader;
	struct err e;

	if (workers_run(r->workers, apply, d, &e) == 0)
		return;
	pause_then_ask(r, IDLE_MIN_MS); /* the same answer will come again */
	delivery_free(d);
}

/* Owns a reference. */
static void
on_answer(void *arg, const void *out, const struct err *e)
{
	struct changes_reader *r = arg;
	const struct shape *shape = r->options.operation->out;
	struct delivery *d;
	bool is_up = out != NULL, is_news;

	if (!r->timer) {
		reader_unref(r);
		return;
	}
	is_news = !r->is_known || r->is_up != is_up;
	if (!out && !is_news) {
		pause_then_ask(r, rpc_peer_retry_ms(r->peer) + PAUSE_MIN_MS);
		reader_unref(r);
		return;
	}
	r->is_known = true;
	r->is_up = is_up;
	d = xcalloc(1, sizeof(*d));
	d->reader = r; /* with the reference */
	d->tells_link = is_news;
	d->is_up = is_up;
	if (out) {
		d->arena = arena_new(0);
		d->out = arena_alloc(d->arena, shape->size);
		codec_copy(shape, out, d->arena, d->out);
	} else {
		d->why = *e;
	}
	hand_over(d);
}

static void
set_number(const struct shape *shape, const char *name, uint64_t value, void *in)
{
	for (unsigned i = 0; i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];

		if (!strings_equal(f->name, name))
			continue;
		if (f->type == FIELD_U64)
			*(uint64_t *)((char *)in + f->offset) = value;
		else if (f->type == FIELD_U32)
			*(uint32_t *)((char *)in + f->offset) = (uint32_t)value;
		if (f->has_offset != SIZE_MAX)
			*(bool *)((char *)in + f->has_offset) = true;
	}
}

static void
ask(struct changes_reader *r)
{
	const struct shape *shape = r->options.operation->in;
	_cleanup_free_ void *in = xcalloc(1, shape->size);
	uint32_t wait_ms = r->options.wait_ms ? r->options.wait_ms : CHANGES_WAIT_MS;

	set_number(shape, "epoch", r->options.epoch, in);
	set_number(shape, "revision", r->options.revision, in);
	/* Whether it is there at all must be known now, not when it next has news. */
	if (!r->is_known || !r->is_up)
		set_number(shape, "wait_ms", 1, in);
	else if (r->options.wait_ms)
		set_number(shape, "wait_ms", wait_ms, in);
	r->asked_ms = clock_monotonic_ms();
	atomic_fetch_add(&r->refs, 1);
	rpc_call_async(
	    r->peer, r->options.operation, NULL, in, wait_ms + ASK_MARGIN_MS, on_answer, r);
}

static void
on_timer(void *arg)
{
	ask(arg);
}

/* Owns a reference. */
static void
start(void *arg)
{
	struct changes_reader *r = arg;

	if (!r->is_freed) {
		r->timer = loop_timer_new(r->rpc->loop, on_timer, r);
		ask(r);
	}
	reader_unref(r);
}

struct changes_reader *
changes_reader_new(
    struct rpc_peer *peer, struct workers *workers, const struct changes_reader_options *options)
{
	struct changes_reader *r = xcalloc(1, sizeof(*r));

	atomic_init(&r->refs, 2);
	rpc_peer_ref(peer);
	r->peer = peer;
	r->rpc = rpc_peer_rpc(peer);
	rpc_ref(r->rpc); /* an apply that ends while the daemon stops still posts to its loop */
	r->workers = workers;
	r->options = *options;
	lock_init(&r->lock, LOCK_CHANGES);
	(void)pthread_cond_init(&r->idle, NULL);
	loop_post(r->rpc->loop, start, r);
	return r;
}

void
changes_reader_stop(struct changes_reader *r)
{
	if (!r)
		return;
	LOCK_SCOPE(&r->lock);
	r->is_freed = true;
	while (r->is_applying)
		(void)lock_wait(&r->lock, &r->idle, -1);
}

void
changes_reader_free(struct changes_reader *r)
{
	if (!r)
		return;
	changes_reader_stop(r);
	loop_timer_free(TAKE(r->timer));
	reader_unref(r);
}
