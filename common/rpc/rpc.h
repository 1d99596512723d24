#pragma once
/* Calls between daemons: signed SOAP over mutual TLS 1.3 (docs/protocol.md). Peers say Hello first:
 * version ranges and boot epochs; a stale epoch is refused with the new one and the call is retried
 * once. Operations are rows of services generated from common/rpc/NAME.api. */
#include "auth/wsse.h"
#include "net/http_client.h"
#include "net/http_worker.h"
#include "rpc/codec.h"
#include "run/daemon.h"
#include "store/store.h"

/* What a daemon needs to talk: loaded from <state_dir>/trust (see trust.h). */
struct rpc;
int rpc_new(struct daemon *d, const char *state_dir, struct rpc **ret, struct err *e);
void rpc_free(struct rpc *r);
DEFINE_CLEANUP(struct rpc *, rpc_free)
/* First thing in a daemon's stop: calls under way and later ones end with ERR_CANCELLED, so that
 * workers blocked in them come free and reconciler_free() need not wait for a loop that stands still. */
void rpc_cancel(struct rpc *r);
struct http_client *rpc_http(struct rpc *r);     /* for other calls on the same loop */
const char *rpc_self(const struct rpc *r);       /* our peer id, "nc-0123456789abcdef0" */
uint64_t rpc_epoch(const struct rpc *r);         /* of this boot */
/* Certificate and CA from disk. Any thread; calls begun afterwards may still use the old ones once. */
int rpc_reload(struct rpc *r, struct err *e);

/* -- server -- */
struct rpc_request {
	const struct soap_addressing *addressing;
	const char *peer_id, *peer_role;
	struct log log;
	struct arena *arena; /* `out` is made of it */
	void *state;         /* of rpc_serve */
	int64_t deadline_us; /* when the caller stops waiting */
	struct rpc_waiter *waiter; /* operations that wait: see changes.h */
};
/* How long the caller still waits; 0: no longer. For time-outs of calls made on its behalf. */
uint32_t rpc_time_left_ms(const struct rpc_request *rq);
/* Serves `service` on listening sockets with TLS 1.3 and client certificates. The role in the caller's
 * certificate must be among the operation's peers: ERR_DENIED otherwise. `service` is the NAME_served of
 * NAME.handlers.h. Other paths than /services/NAME and /services/internal are 404. */
struct rpc_server;
int rpc_serve(struct rpc *r, const struct service *service, void *state, const int *fds, size_t fd_count,
    struct rpc_server **ret, struct err *e);
/* For a server that has its own listener (clc): handles one collected POST to /services/internal. */
void rpc_handle(struct rpc *r, const struct service *service, void *state, struct http_call *call);
void rpc_server_drain(struct rpc_server *s); /* stops accepting; rpc_drain */
/* Answers every parked long poll, and parks no more: for daemons with a listener of their own. */
void rpc_drain(struct rpc *r);
/* Waits for handlers under way, after rpc_cancel. */
void rpc_server_free(struct rpc_server *s);
DEFINE_CLEANUP(struct rpc_server *, rpc_server_free)

/* -- client -- */
struct rpc_peer; /* one daemon we call; remembers its epoch, version and health */
/* `url` without a path: "https://10.0.0.2:8775". `peer_id` NULL: any with that role. Freed before the
 * rpc. A peer that could not be reached is not asked again for some time (50 ms, doubling to 700 ms):
 * calls then fail at once with ERR_UNAVAILABLE and the reason. */
struct rpc_peer *rpc_peer_new(struct rpc *r, const char *peer_id, const char *role, const char *url,
    const char *fingerprint /* of its certificate, NULL: any with that CN and role */);
void rpc_peer_free(struct rpc_peer *p);
DEFINE_CLEANUP(struct rpc_peer *, rpc_peer_free)
bool rpc_peer_is_up(const struct rpc_peer *p);
struct rpc_peer_view { /* as of the last call */
	bool is_known, is_up; /* known: called before */
	int64_t since_us;     /* of being up or down */
	char why[256];        /* why it is down */
};
void rpc_peer_look(const struct rpc_peer *p, struct rpc_peer_view *ret);
struct rpc_context { /* who is asking: travels signed in the message */
	const char *request_id;
	const char *account_id;
};
/* Blocks a worker until the reply or timeout_ms. `in` and `out` are the operation's structs; *out is made
 * of `arena`. Faults of the peer come back as its code and text; ERR_UNAVAILABLE, ERR_TIMEOUT when
 * it could not be asked. */
int rpc_call(struct rpc_peer *p, const struct operation *operation, const struct rpc_context *context,
    const void *in, void *out, struct arena *arena, uint32_t timeout_ms, struct err *e);
/* The same without a thread: done runs on the daemon's loop (out NULL on failure). The arena belongs to
 * the call and is freed after done. */
void rpc_call_async(struct rpc_peer *p, const struct operation *operation,
    const struct rpc_context *context, const void *in, uint32_t timeout_ms,
    void (*done)(void *arg, const void *out, const struct err *e), void *arg);
