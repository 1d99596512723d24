/* One connection: reads, writes, deadlines. `run` is the only place that moves it: it takes steps
 * (send what waits, finish an exchange, read more) until none makes progress, then tells epoll what
 * would. Callbacks of handlers run inside those steps; what they ask for is noted on the exchange
 * and taken up by the next step, so nothing nests and nothing is freed under a caller.
 *
 * epoll is level-triggered. A connection that wants neither input nor output (the handler thinks)
 * waits edge-triggered for the peer's hang-up, which a level-triggered watch would report without
 * end. EPOLLIN is only taken back when it fires unwanted: a request answered at once costs no
 * epoll_ctl at all. */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "net/http_internal.h"
#include "run/fd.h"

#define STEPS_MAX 32   /* of one connection before others have their turn */
#define LINGER_MS 5000 /* how long input is thrown away after an early error */
#define TRAILERS_MAX 32
#define UPGRADE_QUEUE_MAX (1 << 20)
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

static const struct http_server_options *
options_of(const struct http_connection *c)
{
	return &c->lane->server->options;
}

/* -- output -- */

/* Sends some of what is queued. True when something changed. */
static bool
flush(struct http_connection *c, struct http_exchange *x)
{
	const struct http_handler *handler = &options_of(c)->handler;
	ssize_t r = http_connection_send(c, x->out);

	if (r == HTTP_BROKEN || r == 0) {
		c->is_reset = true;
		c->state = CONN_DEAD;
		return true;
	}
	if (r < 0)
		return false;
	http_out_consumed(x, (uint64_t)r);
	if (x->was_above_low && x->queued < HTTP_REPLY_LOW) {
		x->was_above_low = false;
		if (x->upgrade) {
			if (x->upgrade->drained)
				x->upgrade->drained(x, x->upgrade_arg);
		} else if (x->is_delivered && x->reply_state != REPLY_ENDED && handler->drained) {
			handler->drained(x, options_of(c)->arg);
		}
	}
	return true;
}

/* -- input -- */

static bool
input_ended(struct http_connection *c, ssize_t r)
{
	if (r == HTTP_BLOCKED)
		return false;
	c->state = CONN_DEAD;
	return true;
}

/* Whether the bytes so far may hold a whole head, or one so wrong that waiting is pointless. Looks
 * at each byte once, however slowly they come. */
static bool
head_is_worth_parsing(struct http_exchange *x)
{
	const char *p = x->in + x->scanned, *end = x->in + x->in_n;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
		size_t at = (size_t)(p - x->in);

		if (at == 0 || p[-1] != '\r')
			return true;
		if (at >= 3 && p[-2] == '\n' && p[-3] == '\r')
			return true;
		p++;
	}
	x->scanned = x->in_n;
	return x->in_n >= HTTP_HEAD_MAX ||
	       (x->in_n > HTTP_TARGET_MAX + 128 && !memchr(x->in, '\n', x->in_n));
}

static void
begin_request(struct http_connection *c, struct http_exchange *x)
{
	struct http_server *s = c->lane->server;

	if (x->head.content_length != 0)
		x->body_state = BODY_UNREAD;
	x->is_chunked = x->head.content_length < 0;
	x->body_left = x->is_chunked ? 0 : (uint64_t)x->head.content_length;
	x->is_delivered = true;
	atomic_fetch_add(&s->exchanges, 1);
	metric_add(s->in_flight, 1);
	s->options.handler.head(x, s->options.arg);
}

/* Parses what is buffered. True when the head is complete or refused. */
static bool
try_head(struct http_connection *c, struct http_exchange *x)
{
	struct err e = { 0 };
	int status, r;

	if (!head_is_worth_parsing(x))
		return false;
	r = http_head_parse(x->in, x->in_n, &x->head, &status, &e);
	if (r == 0) {
		x->scanned = x->in_n;
		return false;
	}
	if (r < 0) {
		http_fail(x, status, e.text);
		return true;
	}
	x->head_n = x->in_at = (size_t)r;
	begin_request(c, x);
	return true;
}

static bool
read_head(struct http_connection *c)
{
	struct http_exchange *x = c->x;
	ssize_t r;

	if (x && x->in_n > x->scanned && try_head(c, x))
		return true;
	if (!c->is_readable)
		return false;
	if (!x)
		x = c->x = http_exchange_take(c);
	if (x->in_n == x->in_size)
		http_exchange_grow(
		    x, x->in_size * 2 < HTTP_HEAD_MAX ? x->in_size * 2 : HTTP_HEAD_MAX);
	r = http_connection_receive(c, x->in + x->in_n, x->in_size - x->in_n);
	if (r > 0) {
		if (x->in_n == 0) {
			x->started_ms = c->hub->now_ms;
			x->started_us = c->hub->now_us;
		}
		x->in_n += (size_t)r;
		return true;
	}
	if (x->in_n == 0) {
		http_exchange_put(x);
		c->x = NULL;
	}
	return input_ended(c, r);
}

static void
deliver(struct http_connection *c, struct http_exchange *x, struct http_piece *p)
{
	const struct http_server_options *o = options_of(c);

	x->body_seen += p->body.n;
	x->in_window_bytes += p->body.n;
	if (x->body_limit && x->body_seen > x->body_limit) {
		http_piece_free(p);
		http_fail(x, 413, "the body is larger than allowed");
		return;
	}
	if (o->handler.body)
		o->handler.body(x, &p->body, o->arg);
	else
		http_piece_free(p);
}

/* One piece of a body of known length, filled as far as the socket has bytes. */
static bool
read_plain_body(struct http_connection *c, struct http_exchange *x)
{
	size_t size = x->body_left < HTTP_BODY_PIECE ? (size_t)x->body_left : HTTP_BODY_PIECE;
	size_t buffered = x->in_n - x->in_at;
	struct http_piece *p;
	ssize_t r = HTTP_BLOCKED;

	if (!buffered && !c->is_readable)
		return false;
	p = http_piece_take(x, size);
	if (buffered > size)
		buffered = size;
	memcpy(p->data, x->in + x->in_at, buffered);
	x->in_at += buffered;
	p->body.n = buffered;
	while (p->body.n < size && c->is_readable) {
		r = http_connection_receive(c, p->data + p->body.n, size - p->body.n);
		if (r <= 0)
			break;
		p->body.n += (size_t)r;
	}
	if (p->body.n == 0) {
		http_piece_free(p);
		return input_ended(c, r);
	}
	x->body_left -= p->body.n;
	if (x->body_left == 0)
		x->is_end_due = true;
	deliver(c, x, p);
	return true;
}

static bool
read_chunked_body(struct http_connection *c, struct http_exchange *x)
{
	bool is_buffered = x->in_at < x->in_n;
	struct str raw = { x->in + x->in_at, x->in_n - x->in_at };
	struct http_piece *p;
	struct err e = { 0 };
	struct str data;
	int r;

	if (!is_buffered) {
		ssize_t n = c->is_readable
				? http_connection_receive(c, c->hub->scratch, HTTP_SCRATCH)
				: HTTP_BLOCKED;

		if (n <= 0)
			return input_ended(c, n);
		raw = (struct str){ c->hub->scratch, (size_t)n };
	}
	p = http_piece_take(x, raw.n);
	while ((r = http_chunked_next(&x->chunked, &raw, &data, &e)) == 1) {
		memcpy(p->data + p->body.n, data.p, data.n);
		p->body.n += data.n;
	}
	if (is_buffered) {
		x->in_at = x->in_n - raw.n;
	} else if (raw.n > 0) {
		x->after = xmemdup(raw.p, raw.n);
		x->after_n = raw.n;
	}
	x->is_end_due = r == 2;
	if (r < 0) {
		http_piece_free(p);
		http_fail(x, 400, e.text);
	} else if (p->body.n == 0) {
		http_piece_free(p);
	} else {
		deliver(c, x, p);
	}
	return true;
}

static void
end_body(struct http_connection *c, struct http_exchange *x)
{
	const struct http_server_options *o = options_of(c);
	struct http_header trailers[TRAILERS_MAX];
	struct err e = { 0 };
	unsigned count = 0;

	x->is_end_due = false;
	x->body_state = BODY_DONE;
	if (x->chunked.trailers.n && http_trailers_parse(strbuf_str(&x->chunked.trailers), trailers,
					 TRAILERS_MAX, &count, &e) < 0) {
		http_fail(x, 400, e.text);
		return;
	}
	if (o->handler.end)
		o->handler.end(x, trailers, count, o->arg);
}

static bool
read_body(struct http_connection *c, struct http_exchange *x)
{
	if (x->is_end_due) {
		end_body(c, x);
		return true;
	}
	if (x->pieces_out == HTTP_BODY_CREDITS)
		return false;
	return x->is_chunked ? read_chunked_body(c, x) : read_plain_body(c, x);
}

static bool
read_upgraded(struct http_connection *c, struct http_exchange *x)
{
	size_t n = x->in_n - x->in_at;
	ssize_t r;

	if (n > 0) {
		x->in_at = x->in_n;
		x->upgrade->input(x, x->in + x->in_n - n, n, x->upgrade_arg);
		return true;
	}
	if (!c->is_readable)
		return false;
	r = http_connection_receive(c, c->hub->scratch, HTTP_SCRATCH);
	if (r <= 0)
		return input_ended(c, r);
	c->deadline_ms = c->hub->now_ms + options_of(c)->idle_timeout_ms;
	x->upgrade->input(x, c->hub->scratch, (size_t)r, x->upgrade_arg);
	return true;
}

/* Whether input has a use now. */
static bool
wants_input(const struct http_connection *c)
{
	const struct http_exchange *x = c->x;

	if (c->state != CONN_OPEN)
		return true;
	if (c->is_tls_write_blocked_on_read || !x)
		return true;
	if (x->is_failed || x->reply_state == REPLY_ENDED)
		return false;
	if (x->head_n == 0)
		return true;
	if (x->upgrade) /* a peer that sends but does not read waits */
		return x->queued < UPGRADE_QUEUE_MAX;
	return x->body_state == BODY_READING &&
	       (x->is_end_due || x->pieces_out < HTTP_BODY_CREDITS);
}

static bool
read_step(struct http_connection *c)
{
	struct http_exchange *x = c->x;

	if (!x || x->head_n == 0)
		return read_head(c);
	if (x->upgrade)
		return read_upgraded(c, x);
	return read_body(c, x);
}

/* -- the end of exchanges and of connections -- */

static void
begin_linger(struct http_connection *c)
{
	if (c->ssl) {
		(void)SSL_shutdown(c->ssl); /* says goodbye as far as the socket allows */
		ERR_clear_error();
	}
	(void)shutdown(c->fd, SHUT_WR);
	c->state = CONN_LINGER;
	c->is_readable = true;
	c->deadline_ms = c->hub->now_ms + LINGER_MS;
}

/* Closing with unread input resets the connection, and the reset may overtake the reply. */
static void
close_after_reply(struct http_connection *c, bool input_is_whole)
{
	int unread = 0;

	if (input_is_whole && ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0) {
		if (c->ssl) {
			(void)SSL_shutdown(c->ssl);
			ERR_clear_error();
		}
		c->state = CONN_DEAD;
		return;
	}
	begin_linger(c);
}

static void
finish_exchange(struct http_connection *c, struct http_exchange *x)
{
	struct http_server *s = c->lane->server;
	bool is_whole = x->head_n && !x->is_failed && http_input_is_whole(x);
	bool keep = x->reply_keep && is_whole &&
		    !atomic_load_explicit(&s->is_draining, memory_order_relaxed);

	http_exchange_count(x, true);
	http_exchange_gone(x, true);
	if (keep) {
		c->x = http_exchange_next(x);
		c->deadline_ms = c->hub->now_ms + options_of(c)->idle_timeout_ms;
		return;
	}
	is_whole = is_whole && !x->after && x->in_at == x->in_n;
	http_exchange_put(x);
	c->x = NULL;
	close_after_reply(c, is_whole);
}

void
http_connection_destroy(struct http_connection *c)
{
	struct http_lane *lane = c->lane;
	struct http_exchange *x = TAKE(c->x);

	c->is_running = true; /* whatever gone() does must not kick it */
	if (x) {
		if (x->is_delivered)
			http_exchange_count(x, false);
		x->c = c;
		http_exchange_gone(x, false);
		http_exchange_put(x);
	}
	http_hub_forget(c->hub, &c->task);
	list_remove(&c->link);
	loop_watch_free(c->watch);
	SSL_free(c->ssl);
	if (c->is_reset)
		(void)setsockopt(
		    c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
	fd_close(c->fd);
	free(c);
	lane->closed(lane);
}

void
http_connection_drain(struct http_connection *c)
{
	if (!c->x && c->state != CONN_LINGER)
		c->state = CONN_DEAD;
	http_connection_kick(c);
}

/* -- steps -- */

static bool
start_tls(struct http_connection *c)
{
	SSL_CTX *ctx = tls_current(options_of(c)->tls);

	c->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) {
		c->state = CONN_DEAD;
		return true;
	}
	SSL_set_accept_state(c->ssl);
	c->peer.is_tls = true;
	c->state = CONN_HANDSHAKE;
	return true;
}

static void
time_handshake(struct http_connection *c)
{
	if (c->is_handshake_timed || !c->is_readable)
		return;
	c->is_handshake_timed = true;
	c->deadline_ms = c->hub->now_ms + options_of(c)->head_timeout_ms;
}

static bool
sniff(struct http_connection *c)
{
	unsigned char first;
	ssize_t r;

	if (!c->is_readable)
		return false;
	r = recv(c->fd, &first, 1, MSG_PEEK);
	if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
		c->is_readable = false;
		return false;
	}
	if (r <= 0) {
		c->state = CONN_DEAD;
		return true;
	}
	if (first == 0x16)
		return start_tls(c);
	c->state = CONN_OPEN;
	return true;
}

static bool
handshake(struct http_connection *c)
{
	int r;

	if (!c->is_readable && !c->is_writable)
		return false;
	time_handshake(c);
	r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		(void)tls_peer_fingerprint(c->ssl, c->peer.fingerprint);
		c->peer.tls_version = SSL_get_version(c->ssl);
		c->peer.tls_cipher = SSL_get_cipher_name(c->ssl);
		c->state = CONN_OPEN;
		c->is_readable = c->is_writable = true;
		c->deadline_ms = c->hub->now_ms + options_of(c)->idle_timeout_ms;
		return true;
	}
	if (http_tls_result(c, r, true) == HTTP_BLOCKED)
		return false;
	c->state = CONN_DEAD;
	return true;
}

/* Throws input away until the peer closes. Raw bytes, also of TLS. */
static bool
discard(struct http_connection *c)
{
	ssize_t r;

	if (!c->is_readable)
		return false;
	r = recv(c->fd, c->hub->scratch, HTTP_SCRATCH, 0);
	if (r > 0)
		return true;
	c->is_readable = false;
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	c->state = CONN_DEAD;
	return true;
}

static bool
exchange_step(struct http_connection *c)
{
	struct http_exchange *x = c->x;

	if (x && x->is_aborted) {
		c->is_reset = true;
		c->state = CONN_DEAD;
		return true;
	}
	if (x && x->out && c->is_writable && flush(c, x))
		return true;
	if (x && x->reply_state == REPLY_ENDED && !x->out) {
		finish_exchange(c, x);
		return true;
	}
	return wants_input(c) && read_step(c);
}

static bool
step(struct http_connection *c)
{
	switch (c->state) {
	case CONN_SNIFF:
		return sniff(c);
	case CONN_HANDSHAKE:
		return handshake(c);
	case CONN_OPEN:
		return exchange_step(c);
	case CONN_LINGER:
		return discard(c);
	case CONN_DEAD:
		break;
	}
	return false;
}

/* -- deadlines and events -- */

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Starts, keeps or ends the windows over which rates are measured. */
static void
mind_windows(struct http_connection *c, struct http_exchange *x)
{
	bool reads = x->body_state == BODY_READING && !x->is_failed &&
		     x->reply_state != REPLY_ENDED && x->pieces_out < HTTP_BODY_CREDITS;

	if (!reads) {
		x->in_window_ms = 0;
	} else if (!x->in_window_ms) {
		x->in_window_ms = c->hub->now_ms;
		x->in_window_bytes = 0;
	}
	if (!x->out) {
		x->out_window_ms = 0;
	} else if (!x->out_window_ms) {
		x->out_window_ms = c->hub->now_ms;
		x->out_window_bytes = 0;
	}
}

static uint64_t
next_deadline(const struct http_connection *c)
{
	const struct http_server_options *o = options_of(c);
	const struct http_exchange *x = c->x;
	uint64_t deadline = UINT64_MAX;

	if (c->state != CONN_OPEN || !x || x->upgrade)
		deadline = c->deadline_ms;
	if (!x)
		return deadline;
	if (x->head_n == 0 && !x->is_failed)
		deadline = earlier(deadline, x->started_ms + o->head_timeout_ms);
	if (x->is_suspended && x->suspend_deadline_ms)
		deadline = earlier(deadline, x->suspend_deadline_ms);
	if (x->in_window_ms)
		deadline = earlier(deadline, x->in_window_ms + o->body_rate_window_ms);
	if (x->out_window_ms)
		deadline = earlier(deadline, x->out_window_ms + o->body_rate_window_ms);
	return deadline;
}

static void
settle(struct http_connection *c)
{
	uint32_t events = 0;

	if (c->x)
		mind_windows(c, c->x);
	http_hub_set_due(c->hub, &c->task, next_deadline(c));
	if (wants_input(c))
		events |= EPOLLIN;
	if (!c->is_writable &&
	    (c->is_tls_read_blocked_on_write || c->state == CONN_HANDSHAKE || (c->x && c->x->out)))
		events |= EPOLLOUT;
	if (events == 0) {
		if (c->events == EPOLLIN)
			return; /* taken back when it fires unwanted */
		events = EPOLLRDHUP | EPOLLET;
	}
	if (events != c->events)
		loop_watch_set(c->watch, events);
	c->events = events;
}

static void
run(struct http_connection *c)
{
	unsigned steps = 0;
	bool progress;

	if (c->is_running)
		return;
	c->is_running = true;
	do
		progress = step(c);
	while (progress && ++steps < STEPS_MAX);
	c->is_running = false;
	if (c->state == CONN_DEAD) {
		http_connection_destroy(c);
		return;
	}
	settle(c);
	if (progress)
		http_connection_kick(c);
}

/* The peer closed its side while nothing was read from it: is there still somebody to answer? */
static bool
peer_is_gone(const struct http_connection *c)
{
	const struct http_exchange *x = c->x;
	int unread = 0;

	if (x && (x->body_state == BODY_UNREAD || x->body_state == BODY_READING))
		return ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0 &&
		       !(c->ssl && SSL_has_pending(c->ssl)) && x->in_at == x->in_n;
	return true;
}

static void
on_event(void *arg, uint32_t events)
{
	struct http_connection *c = arg;

	http_hub_now(c->hub);
	if (events & EPOLLOUT) {
		c->is_writable = true;
		if (c->is_tls_read_blocked_on_write) {
			c->is_tls_read_blocked_on_write = false;
			c->is_readable = true;
		}
	}
	if (events & EPOLLIN) {
		c->is_readable = true;
		if (c->is_tls_write_blocked_on_read) {
			c->is_tls_write_blocked_on_read = false;
			c->is_writable = true;
		}
		if (c->state == CONN_SNIFF || c->state == CONN_HANDSHAKE)
			time_handshake(c);
		if (!wants_input(c) && c->events == EPOLLIN) {
			c->events = EPOLLRDHUP | EPOLLET;
			loop_watch_set(c->watch, c->events);
		}
	}
	if ((events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN && wants_input(c)))
		c->state = CONN_DEAD;
	else if (events & EPOLLRDHUP && c->events & EPOLLET && peer_is_gone(c))
		c->state = CONN_DEAD;
	run(c);
}

static void
too_slow(struct http_exchange *x)
{
	if (x->reply_state == REPLY_NONE)
		http_fail(x, 408, "too slow");
	else
		x->is_aborted = true;
}

static void
suspend_expired(struct http_connection *c, struct http_exchange *x)
{
	void (*expired)(struct http_exchange *) = TAKE(x->expired);

	http_exchange_forget_ref(x);
	if (expired)
		expired(x);
	else
		http_fail(x, 503, "no answer in time");
}

static void
check_exchange(struct http_connection *c, struct http_exchange *x, uint64_t now)
{
	const struct http_server_options *o = options_of(c);
	uint64_t least = (uint64_t)o->body_min_rate * o->body_rate_window_ms / 1000;

	if (x->head_n == 0 && !x->is_failed && now >= x->started_ms + o->head_timeout_ms)
		http_fail(x, 408, "the request took too long to arrive");
	if (x->is_suspended && x->suspend_deadline_ms && now >= x->suspend_deadline_ms)
		suspend_expired(c, x);
	if (x->in_window_ms && now >= x->in_window_ms + o->body_rate_window_ms) {
		if (x->in_window_bytes < least)
			too_slow(x);
		x->in_window_ms = now;
		x->in_window_bytes = 0;
	}
	if (x->out_window_ms && now >= x->out_window_ms + o->body_rate_window_ms) {
		if (x->out_window_bytes < least)
			x->is_aborted = true;
		x->out_window_ms = now;
		x->out_window_bytes = 0;
	}
}

static void
on_kicked(struct http_task *t)
{
	run(CONTAINER_OF(t, struct http_connection, task));
}

/* The wheel came round. */
static void
on_due(struct http_task *t)
{
	struct http_connection *c = CONTAINER_OF(t, struct http_connection, task);
	uint64_t now = c->hub->now_ms;
	struct http_exchange *x = c->x;

	c->is_running = true; /* callbacks below must not kick: it runs right after */
	if (x && x->upgrade && now >= c->deadline_ms) {
		c->deadline_ms = now + options_of(c)->idle_timeout_ms;
		x->upgrade->idle(x, x->upgrade_arg);
	} else if (x) {
		check_exchange(c, x, now);
	} else if (now >= c->deadline_ms) {
		c->state = CONN_DEAD;
	}
	c->is_running = false;
	run(c);
}

/* -- beginnings -- */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage storage;
};

static uint16_t
local_port(int fd)
{
	union address a = { 0 };
	socklen_t n = sizeof(a);

	if (getsockname(fd, &a.any, &n) < 0)
		return 0;
	return a.any.sa_family == AF_INET    ? ntohs(a.in.sin_port)
	       : a.any.sa_family == AF_INET6 ? ntohs(a.in6.sin6_port)
					     : 0;
}

static void
name_peer(struct http_connection *c)
{
	union address a = { 0 };
	socklen_t n = sizeof(a);

	c->peer.uid = UINT32_MAX;
	c->peer.local_port = local_port(c->fd);
	if (getpeername(c->fd, &a.any, &n) < 0)
		return;
	if (a.any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a.in.sin_addr, c->peer.address, sizeof(c->peer.address));
		c->peer.port = ntohs(a.in.sin_port);
	} else if (a.any.sa_family == AF_INET6) {
		if (IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr))
			inet_ntop(AF_INET, &a.in6.sin6_addr.s6_addr[12], c->peer.address,
			    sizeof(c->peer.address));
		else
			inet_ntop(
			    AF_INET6, &a.in6.sin6_addr, c->peer.address, sizeof(c->peer.address));
		c->peer.port = ntohs(a.in6.sin6_port);
	} else {
		struct ucred credentials;

		n = sizeof(credentials);
		snprintf(c->peer.address, sizeof(c->peer.address), "unix");
		if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &n) == 0)
			c->peer.uid = credentials.uid;
	}
	if (a.any.sa_family != AF_UNIX) {
		int one = 1;

		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		(void)setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
}

void
http_connection_new(struct http_lane *lane, int fd)
{
	struct http_connection *c = xcalloc(1, sizeof(*c));

	c->lane = lane;
	c->hub = lane->hub;
	c->fd = fd;
	c->is_writable = true;
	http_task_init(&c->task, on_kicked, on_due);
	list_add_tail(&lane->connections, &c->link);
	name_peer(c);
	http_hub_now(c->hub);
	c->deadline_ms = c->hub->now_ms + options_of(c)->idle_timeout_ms;
	c->events = EPOLLIN;
	c->watch = loop_watch_new(c->hub->loop, fd, EPOLLIN, on_event, c);
	switch (options_of(c)->tls_mode) {
	case HTTP_PLAIN:
		c->state = CONN_OPEN;
		break;
	case HTTP_TLS_OPTIONAL:
		c->state = CONN_SNIFF;
		break;
	case HTTP_TLS_REQUIRED:
		(void)start_tls(c);
		break;
	}
	/* The first bytes are often there already: an epoll round saved. */
	c->is_readable = true;
	run(c);
}

void
http_accept_body(struct http_exchange *x, uint64_t limit)
{
	if (!x->is_delivered || x->is_failed || x->body_state == BODY_READING ||
	    x->body_state == BODY_DONE)
		return;
	x->body_limit = limit;
	if (limit && !x->is_chunked && x->body_left > limit) {
		http_fail(x, 413, "the body is larger than allowed");
		http_connection_kick(x->c);
		return;
	}
	/* Also before an empty body: botocore loses its place when it gets the answer instead. */
	if (x->head.expect_continue && x->in_at == x->in_n && x->reply_state == REPLY_NONE)
		http_out_add(x, CONTINUE, sizeof(CONTINUE) - 1);
	if (x->body_state == BODY_NONE)
		x->is_end_due = true;
	x->body_state = BODY_READING;
	http_connection_kick(x->c);
}
