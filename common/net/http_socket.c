/* The socket of a connection, with TLS or without: reads, and sends what is queued in whichever way
 * costs least. What it finds it notes on the connection: whether it is readable, whether writable.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "net/http_internal.h"

#define SEND_VECTORS 16
#define SENDFILE_MAX (1 << 20)

ssize_t
http_tls_result(struct http_connection *c, int r, bool reading)
{
	int error = SSL_get_error(c->ssl, r);

	ERR_clear_error();
	switch (error) {
	case SSL_ERROR_WANT_READ:
		if (reading) {
			c->is_readable = false;
		} else {
			c->is_tls_write_blocked_on_read = true;
			c->is_writable = c->is_readable = false;
		}
		return HTTP_BLOCKED;
	case SSL_ERROR_WANT_WRITE:
		if (reading) {
			c->is_tls_read_blocked_on_write = true;
			c->is_readable = false;
		}
		c->is_writable = false;
		return HTTP_BLOCKED;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return HTTP_BROKEN;
	}
}

ssize_t
http_connection_receive(struct http_connection *c, void *p, size_t n)
{
	ssize_t r;

	if (c->ssl) {
		size_t got = 0;
		int ok = SSL_read_ex(c->ssl, p, n, &got);

		if (ok != 1)
			return http_tls_result(c, ok, true);
		if (!SSL_has_pending(c->ssl))
			c->is_readable = false;
		return (ssize_t)got;
	}
	do
		r = recv(c->fd, p, n, 0);
	while (r < 0 && errno == EINTR);
	if (r < 0) {
		c->is_readable = false;
		return errno == EAGAIN ? HTTP_BLOCKED : HTTP_BROKEN;
	}
	if ((size_t)r < n)
		c->is_readable = false; /* level-triggered: epoll tells when there is more */
	return r;
}

static ssize_t
tls_send(struct http_connection *c, const void *p, size_t n)
{
	size_t sent = 0;
	int ok;

	if (c->tls_retry) /* OpenSSL wants the same call again */
		n = c->tls_retry;
	ok = SSL_write_ex(c->ssl, p, n, &sent);
	if (ok == 1) {
		c->tls_retry = 0;
		return (ssize_t)sent;
	}
	c->tls_retry = n;
	return http_tls_result(c, ok, false);
}

static ssize_t
plain_result(struct http_connection *c, ssize_t r, size_t wanted)
{
	if (r < 0 && (errno == EAGAIN || errno == EINTR)) {
		c->is_writable = false;
		return HTTP_BLOCKED;
	}
	if (r < 0)
		return HTTP_BROKEN;
	if ((size_t)r < wanted)
		c->is_writable = false;
	return r;
}

static bool
is_in_memory(const struct http_segment *s)
{
	return s->kind == SEGMENT_MEMORY || s->kind == SEGMENT_OWNED;
}

static ssize_t
send_vectors(struct http_connection *c, struct http_segment *s)
{
	struct iovec vectors[SEND_VECTORS];
	struct msghdr m = { .msg_iov = vectors };
	size_t total = 0;

	for (; s && is_in_memory(s) && m.msg_iovlen < SEND_VECTORS; s = s->next) {
		vectors[m.msg_iovlen++] = (struct iovec){ (void *)(uintptr_t)s->p, s->n };
		total += s->n;
	}
	if (m.msg_iovlen == 1)
		return plain_result(c,
		    send(c->fd, vectors[0].iov_base, total, MSG_NOSIGNAL | (s ? MSG_MORE : 0)),
		    total);
	return plain_result(c, sendmsg(c->fd, &m, MSG_NOSIGNAL | (s ? MSG_MORE : 0)), total);
}

static ssize_t
send_file(struct http_connection *c, struct http_segment *s)
{
	size_t n = s->n < SENDFILE_MAX ? s->n : SENDFILE_MAX;
	off_t offset = s->offset;
	ssize_t r;

	if (!c->ssl) {
		r = sendfile(c->fd, s->fd, &offset, n);
		if (r == 0)
			return HTTP_BROKEN; /* the file is shorter than promised */
		return plain_result(c, r, n);
	}
	if (n > HTTP_SCRATCH)
		n = HTTP_SCRATCH;
	r = pread(s->fd, c->hub->scratch, n, offset);
	/* A short read means a file shorter than promised; and a repeated SSL_write must find all
	 * its bytes again, not what the last use of the scratch left there. */
	if (r != (ssize_t)n)
		return HTTP_BROKEN;
	return tls_send(c, c->hub->scratch, n);
}

static ssize_t
send_pages(struct http_connection *c, struct http_segment *s)
{
	ssize_t r = splice(page_pipe_descriptor(s->pages), NULL, c->fd, NULL, s->n,
	    SPLICE_F_NONBLOCK | (s->next ? SPLICE_F_MORE : 0));

	return r == 0 ? HTTP_BROKEN : plain_result(c, r, s->n);
}

ssize_t
http_connection_send(struct http_connection *c, struct http_segment *s)
{
	if (s->kind == SEGMENT_FILE)
		return send_file(c, s);
	if (s->kind == SEGMENT_PAGES)
		return send_pages(c, s);
	if (c->ssl)
		return tls_send(c, s->p, s->n < HTTP_SCRATCH ? s->n : HTTP_SCRATCH);
	return send_vectors(c, s);
}
