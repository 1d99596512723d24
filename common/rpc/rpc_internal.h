#pragma once
/* What client, server and changes share. */
#include <stdatomic.h>
#include "base/list.h"
#include "net/tls.h"
#include "rpc/rpc.h"
#include "rpc/trust.h"
#include "run/lock.h"

#define RPC_DEADLINE_DEFAULT_MS 30000
#define RPC_DEADLINE_MAX_MS 600000
#define RPC_BACKOFF_MIN_MS 50
#define RPC_BACKOFF_MAX_MS 700 /* with a reader's pause well under a second */

/* Key and certificate as of one load, with the HTTP client that shows them: connections keep the
 * certificate they were made with, and the signer must be the TLS peer. Counted. */
struct rpc_identity {
	atomic_int refs;
	struct rpc *rpc;  /* a reference */
	struct list link; /* in rpc->identities */
	struct wsse_identity wsse;
	struct http_client *http; /* freed on the loop */
};
bool rpc_ref_living(atomic_int *refs); /* adds one unless the last is gone already */
int rpc_identity_load(struct rpc *r, struct rpc_identity **ret, struct err *e); /* without `http` */
/* On the loop. Requests under way in the client end with ERR_CANCELLED. */
void rpc_identity_close(struct rpc_identity *id);
struct rpc_identity *rpc_identity_ref(struct rpc_identity *id);
void rpc_identity_unref(struct rpc_identity *id);

struct changes;
#define RPC_CHANGES_MAX 4

struct rpc {
	atomic_int refs;
	struct daemon *daemon; /* NULL in tests */
	struct loop *loop;
	struct workers *workers;
	struct log log;
	char *state_dir, *certificate_path, *key_path, *ca_path;
	struct trust_peer self;
	uint64_t epoch;
	struct wsse_verifier *verifier;
	struct tls_context *tls;
	struct http_client *http; /* for others */
	atomic_bool is_draining;

	struct lock lock;
	struct rpc_identity *identity; /* under lock, like what follows */
	struct list identities;        /* this one, and older ones still in use */
	bool is_closing;
	struct list calls;                        /* struct call, under way */
	struct changes *changes[RPC_CHANGES_MAX]; /* with requests of ours parked */
	struct rpc_peer *clc;                     /* made when first needed: renewal */
};
void rpc_ref(struct rpc *r);
void rpc_unref(struct rpc *r);
struct rpc_identity *rpc_identity_get(struct rpc *r); /* a reference */
void rpc_busy(struct rpc *r, int change);
/* Body element `name` with the fields of `shape`, or the fault `fault` when that is not NULL;
 * signed. */
int rpc_seal(struct rpc *r, struct rpc_identity *id, const struct soap_addressing *addressing,
    const char *name, const struct shape *shape, const void *fields, const struct err *fault,
    uint32_t version, struct strbuf *out, struct err *e);
void rpc_hello_fill(const struct rpc *r, const struct service *service, void *hello);
/* The version both speak: the lower of the highest. ERR_UNSUPPORTED when the ranges do not meet. */
int rpc_version_choose(const struct service *service, const char *peer_id, uint32_t peer_min,
    uint32_t peer_max, uint32_t *ret, struct err *e);
uint32_t rpc_version_parse(const char *text);

/* -- peers -- */
uint32_t rpc_peer_retry_ms(struct rpc_peer *p); /* until it may be asked again; 0: now */
void rpc_peer_ref(struct rpc_peer *p);
struct rpc *rpc_peer_rpc(struct rpc_peer *p);
void rpc_calls_cancel(struct rpc *r);

/* -- its life: rpc_life.c -- */
/* rpc_new() without a daemon. */
int rpc_open(struct loop *loop, struct workers *workers, const struct log *log,
    struct daemon *daemon, const char *state_dir, struct rpc **ret, struct err *e);
struct rpc_peer *rpc_clc_peer(struct rpc *r); /* lives as long as r */

/* -- requests being served -- */
struct rpc_waiter {
	/* the server's: runs the handler, again after a wait, and ends with an answer or a park */
	void (*run)(struct rpc_waiter *w);
	void (*drop)(struct rpc_waiter *w); /* ends a parked one with a fault */
	struct rpc *rpc;
	struct http_call *call;
	const struct service *service;
	const struct operation *operation;
	struct wsse_message message;
	struct rpc_request request;
	void *in, *out;
	uint64_t started_us;

	/* long polls: see changes.c */
	struct changes *park; /* where the handler asked to wait; NULL: it did not */
	uint64_t revision;    /* news after this one end the wait */
	uint64_t due_ms;      /* monotonic */
	bool is_due;          /* the wait is over: the handler answers with what there is */
	struct list link;
};
/* After the handler returned: w belongs to changes from here on. */
void changes_enter(struct changes *c, struct rpc_waiter *w);
void changes_release(struct changes *c); /* every parked request answers now */
