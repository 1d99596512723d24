#pragma once
/* HTTP client over libcurl's multi interface on a daemon loop. Connections are kept and reused.
 * Every request has deadlines; there is none without. */
#include "net/http.h"
#include "run/loop.h"

struct http_client;
struct http_client_tls { /* NULL members: no client certificate, system CAs */
	const char *certificate_path, *key_path, *ca_path;
	/* Accept only this peer certificate (lower-case hex SHA-256 of its DER); then neither chain
	 * nor name is checked. NULL: the chain must lead to ca_path, the name is not checked when
	 * skip_name (daemons are known by certificate, not by DNS). */
	const char *pinned_fingerprint;
	/* Accept only chains whose CA certificate has this fingerprint: what a join token carries.
	 */
	const char *pinned_ca_fingerprint;
	bool skip_name;
};
/* A body on its way, watched and stopped by another thread. */
struct http_client_upload {
	_Atomic bool is_cancelled; /* no more is sent: ERR_CANCELLED, within a second or two where
				      low_speed_ms is set, else when the peer has read on */
	_Atomic uint64_t sent;     /* bytes of the body handed over */
};
struct http_client_request {
	const char *method;
	const char *url;
	const char *unix_socket; /* connect there instead; NULL: by URL */
	const struct http_header *headers;
	unsigned header_count;
	struct str body; /* copied */
	int body_fd; /* >= 0: stream body_length bytes from this file instead; borrowed until done.
		      * Ignored when body_length is 0 */
	uint64_t body_length;
	struct http_client_upload *upload; /* borrowed until done; NULL: nobody watches */
	const struct http_client_tls *tls; /* copied */
	uint32_t connect_timeout_ms;       /* 0: 2 s */
	uint32_t timeout_ms;               /* 0: 30 s */
	uint32_t low_speed_ms;             /* give up when under 1 KiB/s for so long; 0: no */
	size_t reply_max;                  /* 0: 1 MiB; ERR_LIMIT past it */
	/* Streams the reply's body instead of collecting it, for status 2xx. Returning a negative
	 * code ends the transfer with it. On the loop for async calls, on the caller's thread's
	 * behalf (still the loop) for http_fetch: do not block for long. */
	int (*sink)(void *arg, const void *p, size_t n, struct err *e);
	void *sink_arg;
};
struct http_client_reply {
	int status;
	struct strbuf body;
	struct strbuf headers;     /* raw lines */
	char peer_fingerprint[65]; /* of the server's certificate, hex; "" without TLS */
};
int http_client_new(struct loop *loop, struct http_client **ret, struct err *e);
/* On the loop's thread, or when it does not run. Requests under way end with ERR_CANCELLED. */
void http_client_free(struct http_client *c);
DEFINE_CLEANUP(struct http_client *, http_client_free)
/* Any thread. `done` runs on the loop; reply is NULL on failure; both are valid during the call. */
void http_send(struct http_client *c, const struct http_client_request *request,
    void (*done)(void *arg, struct http_client_reply *reply, const struct err *e), void *arg);
/* Blocks a worker thread (never the loop's, which must run). The reply is the caller's: http_client_reply_done. */
int http_fetch(struct http_client *c, const struct http_client_request *request,
    struct http_client_reply *ret, struct err *e);
void http_client_reply_done(struct http_client_reply *r);
struct str http_client_reply_find(const struct http_client_reply *r, const char *name);
