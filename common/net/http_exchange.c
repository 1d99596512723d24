/* Exchanges: taken from the loop's spare ones and given back, one after the other on a connection;
 * and what handlers ask of them. */
#include <assert.h>
#include <stddef.h>
#include <string.h>
#include "base/clock.h"
#include "net/http_internal.h"

struct http_exchange *
http_exchange_take(struct http_connection *c)
{
	struct http_hub *h = c->hub;
	struct http_exchange *x = http_spares_take(&h->spare_exchanges);

	if (!x)
		x = xmalloc(sizeof(*x));
	memset(x, 0, offsetof(struct http_exchange, head));
	x->c = c;
	x->hub = h;
	x->in = x->in_inline;
	x->in_size = HTTP_INLINE_IN;
	x->out_tail = &x->out;
	x->slot = UINT32_MAX;
	return x;
}

static void
free_buffers(struct http_exchange *x)
{
	http_out_clear(x);
	http_chunked_done(&x->chunked);
	free(TAKE(x->after));
	if (x->in != x->in_inline)
		free(x->in);
	x->in = NULL;
}

void
http_exchange_put(struct http_exchange *x)
{
	assert(!x->is_delivered);
	free_buffers(x);
	if (!http_spares_put(&x->hub->spare_exchanges, x))
		free(x);
}

void
http_exchange_grow(struct http_exchange *x, size_t size)
{
	char *bigger;

	if (size <= x->in_size)
		return;
	bigger = xmalloc(size);
	memcpy(bigger, x->in, x->in_n);
	if (x->in != x->in_inline)
		free(x->in);
	x->in = bigger;
	x->in_size = size;
}

struct http_exchange *
http_exchange_next(struct http_exchange *old)
{
	struct http_exchange *x = NULL;
	const char *left = old->after ? old->after : old->in + old->in_at;
	size_t n = old->after ? old->after_n : old->in_n - old->in_at;

	if (n > 0) {
		x = http_exchange_take(old->c);
		http_exchange_grow(x, n);
		memcpy(x->in, left, n);
		x->in_n = n;
		x->started_ms = http_hub_now(x->hub);
		x->started_us = x->hub->now_us;
	}
	http_exchange_put(old);
	return x;
}

/* -- the end -- */

void
http_exchange_count(const struct http_exchange *x, bool complete)
{
	struct http_server *s = x->c->lane->server;
	int class = complete ? x->status / 100 : 0;

	metric_add(s->requests[class >= 1 && class <= 5 ? class : 0], 1);
	if (complete)
		metric_observe(s->latency, (double)(clock_monotonic_us() - x->started_us) / 1e6);
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

/* -- what handlers ask -- */

const struct http_head *
http_request(const struct http_exchange *x)
{
	return &x->head;
}

const struct http_peer *
http_peer(const struct http_exchange *x)
{
	return &x->c->peer;
}

int
http_socket(const struct http_exchange *x)
{
	return x->c->fd;
}

const char *
http_id(const struct http_exchange *x)
{
	struct http_exchange *writable = (struct http_exchange *)(uintptr_t)x;

	if (!x->id[0]) /* made when first asked for: not all need one */
		http_hub_uuid(x->hub, writable->id);
	return x->id;
}

void
http_set_data(struct http_exchange *x, void *data)
{
	x->data = data;
}

void *
http_data(const struct http_exchange *x)
{
	return x->data;
}
