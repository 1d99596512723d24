#pragma once
/* Inside the HTTP server, above its hub (http_hub.h): pieces of bodies, exchanges, connections,
 * servers. Calls run one way: server; connection; socket and reply; exchange; out, ref and body; the
 * hub. Back they go through function pointers. All of it belongs to the loop's thread but what the
 * comments name otherwise. */
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include "base/id.h"
#include "base/list.h"
#include "net/http_hub.h"
#include "net/http_server.h"
#include "run/log.h"
#include "run/metrics.h"
#include "run/page_pipe.h"

/* -- body pieces: http_body.c ---------------------------------------------------------------------
 */

struct http_piece {
	struct http_body body; /* first: the handler sees this */
	struct http_message message;
	struct http_hub *hub;
	struct http_exchange *x; /* NULL once the exchange is gone */
	unsigned index;          /* in x->pieces */
	size_t size;
	_Alignas(64) char data[]; /* what the kernel copies to faster */
};
struct http_piece *http_piece_take(struct http_exchange *x, size_t size);
void http_piece_free(struct http_piece *p); /* loop thread or hub closed */
void http_pieces_detach(struct http_exchange *x);

/* -- exchanges: http_out.c, http_ref.c, http_exchange.c, http_reply.c -----------------------------
 */

#define HTTP_INLINE_IN 4096
#define HTTP_INLINE_OUT 4096
#define HTTP_SEGMENT (16 * 1024)

enum http_body_state {
	BODY_NONE,    /* the request has none, or it has been read */
	BODY_UNREAD,  /* there is one and nobody asked for it */
	BODY_READING, /* also before `end` of an accepted empty one */
	BODY_DONE,
};
enum http_reply_state { REPLY_NONE, REPLY_HEAD, REPLY_BODY, REPLY_ENDED };

enum http_segment_kind { SEGMENT_MEMORY, SEGMENT_OWNED, SEGMENT_FILE, SEGMENT_PAGES };
struct http_segment {
	struct http_segment *next;
	enum http_segment_kind kind;
	bool is_inline; /* part of the exchange: not freed */
	const char *p;  /* SEGMENT_MEMORY: into data */
	uint64_t n;     /* bytes left */
	char *data;     /* SEGMENT_MEMORY */
	size_t size;    /* of data */
	void (*release)(void *);
	void *arg;
	int fd;
	off_t offset;
	struct page_pipe *pages; /* SEGMENT_PAGES */
};

struct http_upgrade { /* what takes a connection over */
	void (*input)(struct http_exchange *x, const char *p, size_t n, void *arg);
	void (*drained)(struct http_exchange *x, void *arg);
	void (*idle)(struct http_exchange *x, void *arg); /* nothing came for the idle time */
	void (*gone)(struct http_exchange *x, void *arg);
};

struct http_exchange {
	struct http_connection *c;
	struct http_hub *hub;
	void *data;
	char id[UUID_TEXT_SIZE];

	/* input: the head and what was read behind it */
	char *in; /* in_inline or heap */
	size_t in_size, in_n;
	size_t in_at; /* what is before was used */
	char *after;  /* heap: read behind the end of a chunked body */
	size_t after_n;
	size_t head_n;  /* 0: the head is not complete */
	size_t scanned; /* bytes that hold no end of a head */
	uint64_t started_ms;
	uint64_t started_us;
	enum http_body_state body_state;
	bool is_chunked;
	bool is_end_due;    /* the body is whole: call end */
	uint64_t body_left; /* of Content-Length */
	uint64_t body_seen;
	uint64_t body_limit;
	struct http_chunked chunked;
	struct http_piece *pieces[HTTP_BODY_CREDITS];
	unsigned pieces_out;
	uint64_t in_window_ms; /* start of the rate window, 0: not measuring */
	uint64_t in_window_bytes;

	/* output */
	struct http_segment *out, **out_tail, *out_last;
	size_t queued;
	bool was_above_low;
	enum http_reply_state reply_state;
	int status;
	bool swallow; /* no body goes out: HEAD, 204, 304 */
	bool has_length, reply_chunked, reply_keep;
	uint64_t promised; /* bytes of Content-Length not yet added */
	uint64_t out_window_ms, out_window_bytes;

	/* life */
	bool is_delivered; /* head() was called and gone() was not */
	bool is_failed;    /* the handler is out; a canned reply goes out */
	bool is_aborted;
	bool is_suspended;
	uint64_t suspend_deadline_ms;
	void (*expired)(struct http_exchange *x);
	uint32_t slot; /* UINT32_MAX: none */
	const struct http_upgrade *upgrade;
	void *upgrade_arg;

	struct http_head head;
	char in_inline[HTTP_INLINE_IN];
	struct http_segment first; /* with the bytes behind it */
	char first_data[HTTP_INLINE_OUT];
};

/* What is to be sent. */
void http_out_add(struct http_exchange *x, const void *p, size_t n); /* raw, copied */
void http_out_line(struct http_exchange *x, const char *name, struct str value); /* and CRLF */
/* Sent from where it lies. */
void http_out_segment(struct http_exchange *x, const struct http_segment *s);
void http_out_clear(struct http_exchange *x);
void http_out_consumed(struct http_exchange *x, uint64_t n); /* that many bytes were sent */

void http_exchange_forget_ref(struct http_exchange *x); /* http_resume will find nobody */

struct http_exchange *http_exchange_take(struct http_connection *c);
void http_exchange_put(struct http_exchange *x); /* recycles; the handler must be out */
/* Room for `size` bytes of input in all. Only before the head is parsed. */
void http_exchange_grow(struct http_exchange *x, size_t size);
/* Recycles too. The exchange that follows on the same connection, with what was read of it already; NULL:
 * nothing was. */
struct http_exchange *http_exchange_next(struct http_exchange *old);
void http_exchange_count(const struct http_exchange *x, bool complete); /* for the metrics */
void http_exchange_gone(struct http_exchange *x, bool complete); /* tells the handler, once */

/* Whether everything the client sent for this request has been taken off the wire. */
bool http_input_is_whole(const struct http_exchange *x);
/* Ends the handler's part and answers a short text; the connection closes after it. */
void http_fail(struct http_exchange *x, int status, const char *text);
/* The head handler's way out of HTTP: what is read from now on goes to u->input. */
void http_upgrade(struct http_exchange *x, const struct http_upgrade *u, void *arg);
void http_upgrade_end(struct http_exchange *x); /* close when all is sent */

/* -- connections: http_connection.c ---------------------------------------------------------------
 */

enum http_connection_state { CONN_SNIFF, CONN_HANDSHAKE, CONN_OPEN, CONN_LINGER, CONN_DEAD };

struct http_connection {
	struct list link; /* of the lane */
	struct http_lane *lane;
	struct http_hub *hub;
	struct http_task task; /* of the hub */
	struct loop_watch *watch;
	SSL *ssl;
	struct http_exchange *x; /* NULL while idle: no buffers */
	int fd;
	uint32_t events;
	enum http_connection_state state;
	bool is_readable, is_writable; /* as far as we know */
	bool is_running;
	bool is_handshake_timed;
	bool is_tls_read_blocked_on_write, is_tls_write_blocked_on_read;
	bool is_reset;
	size_t tls_retry;     /* length of the SSL_write to repeat */
	uint64_t deadline_ms; /* idle, handshake, lingering; 0: none */
	struct http_peer peer;
};
/* Takes fd. */
void http_connection_new(struct http_lane *lane, int fd);
void http_connection_destroy(struct http_connection *c);
void http_connection_drain(struct http_connection *c);
/* Run it soon, unless it runs already. */
static inline void
http_connection_kick(struct http_connection *c)
{
	if (!c->is_running)
		http_hub_kick(c->hub, &c->task);
}

/* -- the socket: http_socket.c --------------------------------------------------------------------
 */

enum { HTTP_BLOCKED = -1, HTTP_BROKEN = -2 };
/* Bytes; 0 at the end of the stream; or one of these. */
ssize_t http_connection_receive(struct http_connection *c, void *p, size_t n);
/* What a call of OpenSSL means that returned r and not 1. */
ssize_t http_tls_result(struct http_connection *c, int r, bool reading);
/* Some of what is queued from `s` on. */
ssize_t http_connection_send(struct http_connection *c, struct http_segment *s);

/* -- servers: http_server.c -----------------------------------------------------------------------
 */

struct http_lane { /* a server on one loop */
	struct http_server *server;
	struct http_hub *hub;
	struct loop *own_loop; /* NULL: the caller's */
	pthread_t thread;
	bool is_running; /* the thread */
	struct list connections;
	struct http_listener { /* one per descriptor */
		struct http_lane *lane;
		int fd;
		struct loop_watch *watch; /* NULL: paused */
	} * listeners;
	bool is_paused, is_listening;
	struct loop_timer *resume_timer;
	struct http_lane_drain *drain; /* posted, not yet run */
	void (*closed)(struct http_lane *lane); /* a connection less */
};

struct http_server {
	struct http_server_options options;
	char *name;
	char *server_header;
	struct log log;
	int *fds;
	size_t fd_count;
	struct http_lane *lanes;
	unsigned lane_count;
	atomic_uint listening_lanes; /* the last to stop closes the descriptors */
	atomic_uint connections;
	atomic_uint exchanges;
	atomic_bool is_draining;
	struct metric *requests[6]; /* by status class; [0]: cut short */
	struct metric *in_flight, *open, *latency;
};
