#pragma once
/* Requests answered by blocking code: the whole body is collected (bounded), then `fn` runs on the
 * worker pool and fills a reply that the loop sends. What Query API, SOAP and admin calls use. */
#include "base/arena.h"
#include "net/http_server.h"

struct http_call {
	const struct http_head *head; /* a copy: lives as long as the call */
	struct http_peer peer;
	const char *request_id;
	struct str body;
	struct arena *arena;      /* freed with the call */
	int status;               /* preset to 200 */
	const char *content_type; /* preset to "text/xml;charset=UTF-8" */
	struct strbuf reply;
	struct http_header headers[16]; /* extra reply headers, strings from the arena */
	unsigned header_count;
	/* Set by fn to answer later: fn returns, and somebody calls http_call_finish(call) (any
	 * thread, once). For long polls, which must hold no thread. The deadline still applies. */
	bool deferred;
	_Atomic bool
	    client_gone; /* the client left or was told 503 at the deadline; any thread may look */
};
typedef void (*http_call_fn)(struct http_call *call, void *arg);
struct http_worker_options {
	struct workers *workers;
	http_call_fn fn;
	void *arg;
	size_t body_max;
	uint32_t timeout_ms; /* 0: 60 s; the client gets 503 then and the result is dropped */
	/* Writes the error reply in the service's own format when fn can't run: queue full (503),
	 * body too large (413), time-out (503). NULL: plain text. */
	void (*refuse)(struct http_call *call, int status, const char *message);
	unsigned pending; /* kept by this module: calls queued or running */
};
/* Start it from a handler's head(). The exchange belongs to it from then on: the server's handler
 * must be (or delegate its five calls to) http_worker_handler. */
extern const struct http_handler http_worker_handler; /* arg: struct http_worker_options * */
void http_call_finish(struct http_call *call);
/* Waits until no fn of these options is queued or running. After http_server_free, before what fn
 * uses is freed. Calls whose client is gone before a thread takes them are not run. */
void http_worker_wait(struct http_worker_options *o);
