#pragma once
/* HTTP/1.1 server: strict parsing, streaming bodies both ways with back-pressure, TLS, suspend and
 * resume. A connection belongs to one loop for life; only that thread touches it. Handlers
 * (http_exchange.h) run on the loop and must not block: blocking work goes to workers through
 * http_suspend/http_resume, or through http_worker.h which does both. */
#include "net/http_exchange.h"
#include "net/tls.h"
#include "run/workers.h"

struct http_server;

enum http_tls {
	HTTP_PLAIN,
	HTTP_TLS_OPTIONAL, /* the first byte decides: 0x16 is TLS */
	HTTP_TLS_REQUIRED
};

struct http_server_options {
	const char *name; /* for logs and metrics */
	struct http_handler handler;
	void *arg;
	enum http_tls tls_mode;
	struct tls_context *tls;  /* borrowed for the server's life; NULL with HTTP_PLAIN */
	unsigned threads;         /* loops of its own; 0: run on `loop` only */
	unsigned connections_max; /* 0: 10000. Past it accepting pauses */
	uint32_t head_timeout_ms; /* absolute, from the first byte; 0: 10 s */
	uint32_t idle_timeout_ms; /* keep-alive; 0: 60 s */
	uint32_t body_min_rate; /* bytes per second averaged over the window, both ways; 0: 1024 */
	uint32_t body_rate_window_ms; /* 0: 30 s */
	const char *server_header;    /* "Mallee"; NULL: none */
};
/* Takes the listening descriptors; ignores SIGPIPE in the process. Several servers may share a
 * loop. */
int http_server_new(struct loop *loop, const struct http_server_options *options, const int *fds,
    size_t fd_count, struct http_server **ret, struct err *e);
void http_server_drain(struct http_server *s); /* close listeners and idle connections; replies say
						* Connection: close */
bool http_server_is_idle(struct http_server *s); /* any thread */
/* On the loop's thread, or when the loop does not run; joins the server's own threads. Exchanges
 * under way end with gone(false). */
void http_server_free(struct http_server *s);
DEFINE_CLEANUP(struct http_server *, http_server_free)
