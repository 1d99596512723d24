/* The output of an exchange: a queue of segments (copied bytes, borrowed bytes, pieces of files).
 * The first 4 KiB lie in the exchange itself, so that a small reply is one buffer and one send. */
#include <assert.h>
#include <string.h>
#include "net/http_internal.h"
#include "run/fd.h"

static void
link_segment(struct http_exchange *x, struct http_segment *s)
{
	s->next = NULL;
	*x->out_tail = s;
	x->out_tail = &s->next;
	x->out_last = s;
}

static struct http_segment *
memory_segment(struct http_exchange *x, size_t least)
{
	struct http_segment *s = &x->first;
	size_t size = HTTP_INLINE_OUT;

	if (!x->out) {
		s->is_inline = true;
		s->data = x->first_data;
	} else {
		size = least > HTTP_SEGMENT ? least : HTTP_SEGMENT;
		s = xmalloc(sizeof(*s) + size);
		s->is_inline = false;
		s->data = (char *)(s + 1);
	}
	s->kind = SEGMENT_MEMORY;
	s->p = s->data;
	s->n = 0;
	s->size = size;
	link_segment(x, s);
	return s;
}

static void
note_queued(struct http_exchange *x, uint64_t n)
{
	x->queued += n;
	if (x->queued >= HTTP_REPLY_LOW)
		x->was_above_low = true;
}

void
http_out_segment(struct http_exchange *x, const struct http_segment *segment)
{
	struct http_segment *s = xmalloc(sizeof(*s));

	*s = *segment;
	link_segment(x, s);
	note_queued(x, s->n);
}

/* Bytes that fit behind the last one. */
static size_t
room_left(const struct http_exchange *x)
{
	const struct http_segment *s = x->out_last;

	return x->out && s->kind == SEGMENT_MEMORY ? (size_t)(s->data + s->size - s->p) - s->n : 0;
}

/* Where up to *io_n bytes go, and how many of them: they count as added. */
static char *
take_room(struct http_exchange *x, size_t *io_n)
{
	size_t room = room_left(x);
	struct http_segment *s = room ? x->out_last : memory_segment(x, *io_n);
	char *at = s->data + (s->p - s->data) + s->n;

	if (!room)
		room = s->size;
	if (*io_n > room)
		*io_n = room;
	s->n += *io_n;
	note_queued(x, *io_n);
	return at;
}

void
http_out_add(struct http_exchange *x, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0) {
		size_t part = n;
		char *at = take_room(x, &part);

		memcpy(at, from, part);
		from += part;
		n -= part;
	}
}

void
http_out_line(struct http_exchange *x, const char *name, struct str value)
{
	size_t n = strlen(name), whole = n + value.n + 4;
	char *at;

	if (room_left(x) < whole) {
		http_out_add(x, name, n);
		http_out_add(x, ": ", 2);
		http_out_add(x, value.p, value.n);
		http_out_add(x, "\r\n", 2);
		return;
	}
	at = take_room(x, &whole);
	memcpy(at, name, n);
	memcpy(at + n, ": ", 2);
	memcpy(at + n + 2, value.p, value.n);
	memcpy(at + n + 2 + value.n, "\r\n", 2);
}

static void
release_segment(struct http_segment *s)
{
	switch (s->kind) {
	case SEGMENT_MEMORY:
		break;
	case SEGMENT_OWNED:
		if (s->release)
			s->release(s->arg);
		break;
	case SEGMENT_FILE:
		fd_close(s->fd);
		break;
	case SEGMENT_PAGES:
		page_pipe_put(s->pages);
		break;
	}
	if (!s->is_inline)
		free(s);
}

static void
drop_first(struct http_exchange *x)
{
	struct http_segment *s = x->out;

	x->out = s->next;
	if (!x->out) {
		x->out_tail = &x->out;
		x->out_last = NULL;
	}
	release_segment(s);
}

void
http_out_clear(struct http_exchange *x)
{
	while (x->out)
		drop_first(x);
	x->queued = 0;
}

/* n bytes of the queue were sent; empty segments go. */
void
http_out_consumed(struct http_exchange *x, uint64_t n)
{
	x->queued -= n;
	x->out_window_bytes += n;
	while (x->out) {
		struct http_segment *s = x->out;
		uint64_t part = n < s->n ? n : s->n;

		s->n -= part;
		n -= part;
		if (s->kind == SEGMENT_PAGES)
			page_pipe_drained(s->pages, (size_t)part);
		else if (s->kind == SEGMENT_FILE)
			s->offset += (off_t)part;
		else
			s->p += part;
		if (s->n > 0)
			return;
		drop_first(x);
	}
	assert(n == 0);
}
