/* Chunked transfer coding (RFC 9112 section 7.1), as a state machine over input cut anywhere. Sizes
 * are bare hex digits, lines end in CRLF, data is followed by CRLF: everything else is refused.
 * Only the size line and the trailers are kept, both bounded; data is handed out where it lies. */
#include "net/http.h"

#include <string.h>

#define LINE_MAX 512 /* a chunk size and its extensions */
#define TRAILERS_MAX (16 * 1024)

enum {
	S_LINE,    /* reading a size line */
	S_DATA,    /* `left` bytes of data to come */
	S_DATA_CR, /* CR after data */
	S_DATA_LF, /* LF after data */
	S_TRAILER, /* reading a trailer line, or the empty line at the end */
	S_END,
};

static int
bad(struct err *e, const char *why)
{
	return err_set(e, ERR_INVALID_REQUEST, "malformed chunked body: %s", why);
}

/* Moves bytes up to and including LF into c->line. 1: the line is complete, CRLF cut off; 0: more
 * is needed; or a fault. */
static int
take_line(struct http_chunked *c, struct str *io, size_t max, struct err *e)
{
	const char *lf = memchr(io->p, '\n', io->n);
	size_t n = lf ? (size_t)(lf - io->p) + 1 : io->n;

	if (c->line.n + n > max)
		return bad(e, "line too long");
	strbuf_add(&c->line, io->p, n);
	io->p += n;
	io->n -= n;
	if (!lf)
		return 0;
	if (c->line.n < 2 || c->line.p[c->line.n - 2] != '\r')
		return bad(e, "bare line feed");
	c->line.n -= 2;
	return 1;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
parse_size(struct http_chunked *c, struct err *e)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < c->line.n && hex_digit(c->line.p[i]) >= 0; i++) {
		if (i == 15)
			return bad(e, "chunk too large");
		n = n << 4 | (uint64_t)hex_digit(c->line.p[i]);
	}
	if (i == 0)
		return bad(e, "no chunk size");
	if (i < c->line.n && c->line.p[i] != ';')
		return bad(e, "junk after chunk size");
	for (; i < c->line.n; i++)
		if ((unsigned char)c->line.p[i] < ' ' ? c->line.p[i] != '\t' : c->line.p[i] == 0x7f)
			return bad(e, "control byte in chunk extension");
	strbuf_reset(&c->line);
	c->left = n;
	c->state = n ? S_DATA : S_TRAILER;
	return 0;
}

static int
end_trailer(struct http_chunked *c, struct err *e)
{
	c->trailer_bytes += (unsigned)c->line.n + 2;
	if (c->trailer_bytes > TRAILERS_MAX)
		return bad(e, "trailers too large");
	if (c->line.n == 0) {
		c->state = S_END;
		return 0;
	}
	strbuf_add(&c->trailers, c->line.p, c->line.n);
	strbuf_add(&c->trailers, "\r\n", 2);
	strbuf_reset(&c->line);
	return 0;
}

int
http_chunked_next(struct http_chunked *c, struct str *io, struct str *ret_data, struct err *e)
{
	int r;

	for (;;) {
		if (c->state == S_END)
			return 2;
		if (io->n == 0)
			return 0;
		switch (c->state) {
		case S_LINE:
			r = take_line(c, io, LINE_MAX, e);
			if (r == 1)
				r = parse_size(c, e);
			if (r < 0)
				return r;
			break;
		case S_DATA: {
			size_t n = io->n < c->left ? io->n : (size_t)c->left;

			*ret_data = (struct str){ io->p, n };
			io->p += n;
			io->n -= n;
			c->left -= n;
			if (c->left == 0)
				c->state = S_DATA_CR;
			return 1;
		}
		case S_DATA_CR:
		case S_DATA_LF:
			if (*io->p != (c->state == S_DATA_CR ? '\r' : '\n'))
				return bad(e, "no line end after chunk data");
			io->p++;
			io->n--;
			c->state = c->state == S_DATA_CR ? S_DATA_LF : S_LINE;
			break;
		case S_TRAILER:
			r = take_line(c, io, TRAILERS_MAX, e);
			if (r == 1)
				r = end_trailer(c, e);
			if (r < 0)
				return r;
			break;
		}
	}
}

void
http_chunked_done(struct http_chunked *c)
{
	strbuf_done(&c->line);
	strbuf_done(&c->trailers);
	*c = (struct http_chunked){ 0 };
}
