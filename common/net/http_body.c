/* Pieces of request bodies: buffers that a handler owns until it releases them, from any thread.
 * Each exchange has HTTP_BODY_CREDITS of them; when all are out its socket is not read, and TCP
 * pushes back on the client. Whole-size buffers are reused by their loop. */
#include <assert.h>
#include "net/http_internal.h"

struct http_piece *
http_piece_take(struct http_exchange *x, size_t size)
{
	struct http_hub *h = x->hub;
	struct http_piece *p = NULL;

	if (size == HTTP_BODY_PIECE)
		p = http_spares_take(&h->spare_pieces);
	if (!p)
		p = aligned_alloc(_Alignof(struct http_piece), (sizeof(*p) + size + 63) / 64 * 64);
	if (!p)
		abort();
	p->size = size;
	p->body = (struct http_body){ p->data, 0 };
	p->message.next = NULL;
	p->hub = h;
	p->x = x;
	for (p->index = 0; x->pieces[p->index]; p->index++)
		assert(p->index + 1 < HTTP_BODY_CREDITS);
	x->pieces[p->index] = p;
	x->pieces_out++;
	http_hub_hold(h);
	return p;
}

void
http_piece_free(struct http_piece *p)
{
	struct http_hub *h = p->hub;
	struct http_exchange *x = p->x;

	if (x) {
		x->pieces[p->index] = NULL;
		x->pieces_out--;
	}
	if (h->is_closed || p->size != HTTP_BODY_PIECE || !http_spares_put(&h->spare_pieces, p))
		free(p);
	http_hub_drop(h);
}

void
http_pieces_detach(struct http_exchange *x)
{
	for (unsigned i = 0; i < HTTP_BODY_CREDITS; i++)
		if (x->pieces[i]) {
			x->pieces[i]->x = NULL;
			x->pieces[i] = NULL;
		}
	x->pieces_out = 0;
}

static void
give_back(struct http_hub *h, struct http_message *m)
{
	struct http_piece *p = CONTAINER_OF(m, struct http_piece, message);

	if (!h) { /* the loop is gone: there is nothing to give back to */
		h = p->hub;
		free(p);
		http_hub_drop(h);
		return;
	}
	if (p->x)
		http_connection_kick(p->x->c);
	http_piece_free(p);
}

void
http_body_release(struct http_body *piece)
{
	struct http_piece *p = CONTAINER_OF(piece, struct http_piece, body);

	if (http_hub_is_mine(p->hub)) {
		give_back(p->hub, &p->message);
		return;
	}
	p->message.run = give_back;
	if (!http_hub_post(p->hub, &p->message))
		give_back(NULL, &p->message);
}
