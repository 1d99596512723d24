#pragma once
/* What handlers of the HTTP server see: one request and its reply. All of it is for the exchange's
 * loop, but where any thread is named. */
#include "net/http.h"
#include "run/loop.h"

struct http_exchange; /* one request and its reply */
struct http_body;
struct page_pipe; /* run/page_pipe.h */

struct http_handler { /* all on the exchange's loop */
	/* The head is complete. Reply, suspend, upgrade, or call http_accept_body. */
	void (*head)(struct http_exchange *x, void *arg);
	/* A piece of the body, which the handler now owns until http_body_release (any thread; that
	 * returns the credit). At most HTTP_BODY_CREDITS pieces are out per exchange. */
	void (*body)(struct http_exchange *x, struct http_body *piece, void *arg);
	/* The body ended. Trailers are valid during the call. */
	void (*end)(
	    struct http_exchange *x, const struct http_header *trailers, unsigned count, void *arg);
	/* The reply buffer fell below HTTP_REPLY_LOW: send more. */
	void (*drained)(struct http_exchange *x, void *arg);
	/* The exchange ends: after a whole reply (complete) or because the client went away. Free
	 * what http_set_data holds. Called exactly once, last. */
	void (*gone)(struct http_exchange *x, bool complete, void *arg);
};

struct http_body {
	const char *p;
	size_t n;
};
#define HTTP_BODY_PIECE (256 * 1024)
#define HTTP_BODY_CREDITS 8
#define HTTP_REPLY_LOW (256 * 1024)
void http_body_release(struct http_body *piece);

/* The request, valid until `gone`. */
const struct http_head *http_request(const struct http_exchange *x);
struct http_peer {
	char address[64]; /* numeric; "unix" for unix sockets */
	uint16_t port;
	uint16_t local_port; /* that it connected to; 0: no port */
	bool is_tls;
	char fingerprint[65]; /* SHA-256 of the peer certificate; "" without one */
	const char *tls_version, *tls_cipher; /* as OpenSSL names them, constant; NULL: no TLS */
	uint32_t uid;         /* unix sockets: SO_PEERCRED; else UINT32_MAX */
};
const struct http_peer *http_peer(const struct http_exchange *x);
int http_socket(const struct http_exchange *x); /* borrowed: for socket options only */
const char *http_id(const struct http_exchange *x); /* a fresh UUID: the request id */
void http_set_data(struct http_exchange *x, void *data);
void *http_data(const struct http_exchange *x);

/* Reads the body: sends 100 Continue when the client asked for it. Without this call the body is
 * never read, and the connection closes (lingering) after the reply. More than `limit` bytes
 * (0: none) ends the exchange with 413 unless a reply has begun. */
void http_accept_body(struct http_exchange *x, uint64_t limit);

/* The reply: begin, headers, then a whole body or a stream, then end. Bodies of HEAD requests and
 * of 204 and 304 are swallowed; Content-Length is kept but for 204. Date and Connection are added.
 */
void http_reply_begin(struct http_exchange *x, int status);
void http_reply_header(struct http_exchange *x, const char *name, const char *value);
void http_reply_headerf(struct http_exchange *x, const char *name, const char *format, ...)
    _printf_(3, 4);
void http_reply_length(struct http_exchange *x, uint64_t n); /* else chunked */
/* Copies, or takes the descriptor; sends as the socket allows. http_reply_queued tells how much
 * waits. A file of the wrong length cuts the connection, never the promise of Content-Length. */
void http_reply_add(struct http_exchange *x, const void *p, size_t n);
/* Sends without copying; `release(arg)` is called on the loop when the bytes are gone. */
void http_reply_add_owned(
    struct http_exchange *x, const void *p, size_t n, void (*release)(void *), void *arg);
void http_reply_file(struct http_exchange *x, int fd, uint64_t offset, uint64_t n); /* takes fd */
/* Sends the n bytes that the pipe holds and puts it back. Not over TLS, which must read what it sends. */
void http_reply_pages(struct http_exchange *x, struct page_pipe *pages, size_t n);
size_t http_reply_queued(const struct http_exchange *x);
void http_reply_end(struct http_exchange *x);
/* Cuts the connection: what was promised can't be sent. */
void http_reply_abort(struct http_exchange *x);
bool http_reply_begun(const struct http_exchange *x);
/* All at once. */
void http_reply(
    struct http_exchange *x, int status, const char *content_type, const void *body, size_t n);

/* A name for an exchange that other threads may hold; it never keeps it alive. */
struct http_ref {
	struct loop *loop;
	uint32_t slot;
	uint32_t generation;
};
/* No http_resume within timeout_ms (0: never): `expired` is called if given, else 503 is sent; the
 * ref is void from then on. A peer that closes its side meanwhile counts as gone. */
struct http_ref http_suspend(
    struct http_exchange *x, uint32_t timeout_ms, void (*expired)(struct http_exchange *x));
/* Any thread: calls fn(x, arg) on the exchange's loop; x is NULL when the client is gone. Always
 * called exactly once, so that arg can be freed there. */
void http_resume(struct http_ref ref, void (*fn)(struct http_exchange *x, void *arg), void *arg);
/* The same for many at once, of any loops: gathered by one thread, then each loop is woken once for all
 * of its own. */
struct http_resumes {
	struct http_message *last_first;
};
void http_resume_later(struct http_resumes *all, struct http_ref ref,
    void (*fn)(struct http_exchange *x, void *arg), void *arg);
void http_resume_all(struct http_resumes *all);
