/* Names for exchanges: other threads never see an exchange. They name it by (loop, slot,
 * generation); the name is looked up on the loop's own thread, where an exchange can't vanish under
 * the hands. */
#include <assert.h>
#include "net/http_internal.h"

/* -- on the loop -- */

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

struct http_ref
http_suspend(struct http_exchange *x, uint32_t timeout_ms, void (*expired)(struct http_exchange *x))
{
	uint32_t slot = slot_of(x);

	assert(x->is_delivered);
	x->is_suspended = true;
	x->suspend_deadline_ms = timeout_ms ? http_hub_now(x->hub) + timeout_ms : 0;
	x->expired = expired;
	http_connection_kick(x->c); /* the deadline is to be noted */
	return (struct http_ref){ x->hub->loop, slot, x->hub->slots[slot].generation };
}

/* -- from any thread -- */

struct http_resume {
	struct http_message message;
	struct http_ref ref;
	void (*fn)(struct http_exchange *x, void *arg);
	void *arg;
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

static struct http_message *
resume_new(struct http_ref ref, void (*fn)(struct http_exchange *x, void *arg), void *arg)
{
	struct http_resume *r = xmalloc(sizeof(*r));

	*r = (struct http_resume){ { NULL, ref.loop, run_resume }, ref, fn, arg };
	return &r->message;
}

void
http_resume(struct http_ref ref, void (*fn)(struct http_exchange *x, void *arg), void *arg)
{
	struct http_message *m = resume_new(ref, fn, arg);

	if (!http_hub_post_to(ref.loop, m)) /* no server is left there: nobody else will free arg */
		run_resume(NULL, m);
}

void
http_resume_later(struct http_resumes *all, struct http_ref ref,
    void (*fn)(struct http_exchange *x, void *arg), void *arg)
{
	struct http_message *m = resume_new(ref, fn, arg);

	m->next = all->last_first;
	all->last_first = m;
}

/* In the order in which they came. */
static struct http_message *
turned(struct http_message *m)
{
	struct http_message *first = NULL;

	while (m) {
		struct http_message *following = m->next;

		m->next = first;
		first = m;
		m = following;
	}
	return first;
}

void
http_resume_all(struct http_resumes *all)
{
	struct http_message *m = http_hub_post_all(turned(TAKE(all->last_first))), *following;

	for (; m; m = following) {
		following = m->next;
		run_resume(NULL, m);
	}
}
