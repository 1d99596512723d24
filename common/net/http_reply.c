/* Replies: what a handler says becomes head and body in the queue of segments that the connection
 * sends as the socket allows. Nothing is sent from here: a call outside the connection's own turn
 * asks for one (http_connection_kick). */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "net/http_internal.h"
#include "run/fd.h"

static void
out_adds(struct http_exchange *x, const char *s)
{
	http_out_add(x, s, strlen(s));
}

/* -- heads -- */

/* Whether the handler may still say something; a client that left makes its words harmless. */
static bool
may_reply(const struct http_exchange *x)
{
	return x->is_delivered && !x->is_failed && !x->is_aborted;
}

void
http_reply_begin(struct http_exchange *x, int status)
{
	const char *server = x->c->lane->server->server_header;
	char room[STR_U64_ROOM];
	struct str digits;

	if (!may_reply(x))
		return;
	assert(x->reply_state == REPLY_NONE && status >= 100 && status <= 999);
	x->status = status;
	x->reply_state = REPLY_HEAD;
	x->swallow =
	    str_is(x->head.method, "HEAD") || status == 204 || status == 304 || status < 200;
	digits = str_of_u64((uint64_t)status, room);
	out_adds(x, "HTTP/1.1 ");
	http_out_add(x, digits.p, digits.n);
	out_adds(x, " ");
	out_adds(x, http_reason(status));
	http_out_add(x, "\r\n", 2);
	http_out_line(x, "Date", str_of(http_hub_date(x->hub)));
	if (server)
		http_out_line(x, "Server", str_of(server));
}

static bool
is_harmless(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
			return false;
	return true;
}

void
http_reply_header(struct http_exchange *x, const char *name, const char *value)
{
	size_t n = strlen(value);

	if (!may_reply(x))
		return;
	assert(x->reply_state == REPLY_HEAD);
	if (is_harmless(value, n)) {
		http_out_line(x, name, (struct str){ value, n });
		return;
	}
	/* A value that a user stored must not become a header of its own. */
	out_adds(x, name);
	http_out_add(x, ": ", 2);
	for (size_t i = 0; i < n; i++)
		http_out_add(x, is_harmless(&value[i], 1) ? &value[i] : " ", 1);
	http_out_add(x, "\r\n", 2);
}

void
http_reply_headerf(struct http_exchange *x, const char *name, const char *format, ...)
{
	_cleanup_free_ char *value = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&value, format, args);
	va_end(args);
	if (n < 0)
		abort();
	http_reply_header(x, name, value);
}

void
http_reply_length(struct http_exchange *x, uint64_t n)
{
	if (!may_reply(x))
		return;
	assert(x->reply_state == REPLY_HEAD);
	x->has_length = true;
	x->promised = n;
}

bool
http_input_is_whole(const struct http_exchange *x)
{
	return x->body_state == BODY_NONE || x->body_state == BODY_DONE || x->is_end_due ||
	       (x->body_state == BODY_READING && !x->is_chunked && x->body_left == 0);
}

static void
add_number(struct http_exchange *x, const char *name, uint64_t n)
{
	char room[STR_U64_ROOM];
	struct str digits = str_of_u64(n, room);

	out_adds(x, name);
	http_out_add(x, digits.p, digits.n);
	http_out_add(x, "\r\n", 2);
}

static void
finish_head(struct http_exchange *x)
{
	x->reply_state = REPLY_BODY;
	if (x->status == 101) {
		http_out_add(x, "\r\n", 2);
		return;
	}
	/* Who waited for 100 Continue and was refused may have lost its place (botocore, also when
	 * its body is empty): a new connection is a new beginning. */
	x->reply_keep =
	    x->head.keep_alive && http_input_is_whole(x) &&
	    !(x->head.expect_continue && x->body_state == BODY_NONE) &&
	    !atomic_load_explicit(&x->c->lane->server->is_draining, memory_order_relaxed);
	if (x->has_length) {
		if (x->status != 204)
			add_number(x, "Content-Length: ", x->promised);
	} else if (!x->swallow) {
		if (x->head.minor >= 1) {
			x->reply_chunked = true;
			out_adds(x, "Transfer-Encoding: chunked\r\n");
		} else {
			x->reply_keep = false; /* the end of the connection is the end */
		}
	}
	if (!x->reply_keep)
		out_adds(x, "Connection: close\r\n\r\n");
	else if (x->head.minor == 0)
		out_adds(x, "Connection: keep-alive\r\n\r\n");
	else
		http_out_add(x, "\r\n", 2);
}

/* -- bodies -- */

/* Before n bytes of body: false when they must not go out. */
static bool
begin_part(struct http_exchange *x, uint64_t n)
{
	assert(x->reply_state == REPLY_HEAD || x->reply_state == REPLY_BODY);
	if (x->reply_state == REPLY_HEAD)
		finish_head(x);
	if (x->has_length) {
		if (n > x->promised) {
			log_error(&x->c->lane->server->log, "http.reply_too_long", "path=%.*s",
			    (int)x->head.path.n, x->head.path.p);
			http_reply_abort(x);
			return false;
		}
		x->promised -= n;
	}
	if (x->swallow || n == 0)
		return false;
	if (x->reply_chunked) {
		char size[24];
		int length = snprintf(size, sizeof(size), "%llx\r\n", (unsigned long long)n);

		http_out_add(x, size, (size_t)length);
	}
	return true;
}

static void
end_part(struct http_exchange *x)
{
	if (x->reply_chunked)
		http_out_add(x, "\r\n", 2);
	http_connection_kick(x->c);
}

void
http_reply_add(struct http_exchange *x, const void *p, size_t n)
{
	if (!may_reply(x) || !begin_part(x, n))
		return;
	http_out_add(x, p, n);
	end_part(x);
}

void
http_reply_add_owned(
    struct http_exchange *x, const void *p, size_t n, void (*release)(void *), void *arg)
{
	if (!may_reply(x) || !begin_part(x, n)) {
		if (release)
			release(arg);
		return;
	}
	/* A small body is cheaper copied behind its head than sent as a second vector. */
	if (n <= HTTP_INLINE_OUT / 2) {
		http_out_add(x, p, n);
		if (release)
			release(arg);
	} else {
		http_out_segment(
		    x, &(struct http_segment){
			   .kind = SEGMENT_OWNED, .p = p, .n = n, .release = release, .arg = arg });
	}
	end_part(x);
}

void
http_reply_file(struct http_exchange *x, int fd, uint64_t offset, uint64_t n)
{
	if (!may_reply(x) || !begin_part(x, n)) {
		fd_close(fd);
		return;
	}
	http_out_segment(x, &(struct http_segment){
				.kind = SEGMENT_FILE, .n = n, .fd = fd, .offset = (off_t)offset });
	end_part(x);
}

void
http_reply_pages(struct http_exchange *x, struct page_pipe *pages, size_t n)
{
	assert(!x->c->ssl);
	if (!may_reply(x) || !begin_part(x, n)) {
		page_pipe_put(pages);
		return;
	}
	http_out_segment(
	    x, &(struct http_segment){ .kind = SEGMENT_PAGES, .n = n, .pages = pages });
	end_part(x);
}

size_t
http_reply_queued(const struct http_exchange *x)
{
	return x->queued;
}

bool
http_reply_begun(const struct http_exchange *x)
{
	return x->reply_state != REPLY_NONE;
}

void
http_reply_end(struct http_exchange *x)
{
	if (!may_reply(x))
		return;
	assert(x->reply_state == REPLY_HEAD || x->reply_state == REPLY_BODY);
	if (x->reply_state == REPLY_HEAD) {
		if (!x->has_length && !x->swallow)
			http_reply_length(x, 0);
		finish_head(x);
	}
	if (x->has_length && x->promised > 0 && !x->swallow) {
		log_error(&x->c->lane->server->log, "http.reply_too_short", "path=%.*s",
		    (int)x->head.path.n, x->head.path.p);
		http_reply_abort(x);
		return;
	}
	if (x->reply_chunked && !x->swallow)
		out_adds(x, "0\r\n\r\n");
	x->reply_state = REPLY_ENDED;
	http_connection_kick(x->c);
}

void
http_reply_abort(struct http_exchange *x)
{
	if (!x->is_delivered)
		return;
	x->is_aborted = true;
	http_connection_kick(x->c);
}

void
http_reply(
    struct http_exchange *x, int status, const char *content_type, const void *body, size_t n)
{
	http_reply_begin(x, status);
	if (!may_reply(x))
		return;
	if (content_type)
		http_reply_header(x, "Content-Type", content_type);
	http_reply_length(x, n);
	if (n)
		http_reply_add(x, body, n);
	http_reply_end(x);
}

void
http_fail(struct http_exchange *x, int status, const char *text)
{
	char reply[512];
	int n;

	if (x->is_failed || x->is_aborted)
		return;
	if (x->reply_state != REPLY_NONE) { /* too late to say anything else */
		x->is_aborted = true;
		return;
	}
	http_exchange_gone(x, false);
	x->is_failed = true;
	/* What may still be queued is a 100 Continue, perhaps half sent: it stays. */
	n = snprintf(reply, sizeof(reply),
	    "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
	    "Connection: close\r\n\r\n%.128s\n",
	    status, http_reason(status), http_hub_date(x->hub), strnlen(text, 128) + 1, text);
	if (x->head_n && str_is(x->head.method, "HEAD"))
		n -= (int)strnlen(text, 128) + 1;
	http_out_add(x, reply, (size_t)n);
	x->status = status;
	x->reply_keep = false;
	x->reply_state = REPLY_ENDED;
}

void
http_upgrade(struct http_exchange *x, const struct http_upgrade *u, void *arg)
{
	assert(x->reply_state == REPLY_HEAD && x->status == 101);
	finish_head(x);
	x->upgrade = u;
	x->upgrade_arg = arg;
	http_connection_kick(x->c);
}

void
http_upgrade_end(struct http_exchange *x)
{
	x->reply_keep = false;
	x->reply_state = REPLY_ENDED;
	http_connection_kick(x->c);
}
