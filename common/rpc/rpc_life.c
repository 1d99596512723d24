/* The life of a daemon's rpc, above what it is made of: what is opened with it, and how long polls,
 * calls and identities end. */
#include <string.h>
#include "base/id.h"
#include "rpc/rpc_internal.h"
#include "rpc/trust_internal.h"

/* -- the beginning -- */

static uint64_t
new_epoch(void)
{
	uint64_t epoch;

	do
		random_bytes(&epoch, sizeof(epoch));
	while (!epoch);
	return epoch;
}

static int
open_all(struct rpc *r, struct err *e)
{
	struct wsse_options options = { .ca_path = r->ca_path, .epoch = r->epoch };
	struct tls_files files = { r->certificate_path, r->key_path, r->ca_path };
	int n;

	n = trust_peer_load(r->state_dir, &r->self, e);
	if (n == 0)
		n = rpc_identity_load(r, &r->identity, e);
	if (n == 0)
		n = http_client_new(r->loop, &r->identity->http, e);
	options.self = r->self.peer_id;
	if (n == 0)
		n = wsse_verifier_new(&options, &r->verifier, e);
	if (n == 0)
		n = tls_server_new(&files, TLS_PEER_REQUIRED, TLS1_3_VERSION, &r->tls, e);
	if (n == 0)
		n = http_client_new(r->loop, &r->http, e);
	return n;
}

int
rpc_open(struct loop *loop, struct workers *workers, const struct log *log, struct daemon *daemon,
    const char *state_dir, struct rpc **ret, struct err *e)
{
	struct rpc *r = xcalloc(1, sizeof(*r));
	int n;

	atomic_init(&r->refs, 1);
	r->loop = loop;
	r->workers = workers;
	r->log = *log;
	r->daemon = daemon;
	r->state_dir = xstrdup(state_dir);
	r->certificate_path = trust_path(state_dir, "certificate.pem");
	r->key_path = trust_path(state_dir, "key.pem");
	r->ca_path = trust_path(state_dir, "ca.pem");
	r->epoch = new_epoch();
	lock_init(&r->lock, LOCK_RPC);
	list_init(&r->calls);
	list_init(&r->identities);
	n = open_all(r, e);
	if (n < 0) {
		rpc_free(r);
		return n;
	}
	*ret = r;
	return 0;
}

int
rpc_new(struct daemon *d, const char *state_dir, struct rpc **ret, struct err *e)
{
	return rpc_open(daemon_loop(d), daemon_workers(d), daemon_log(d), d, state_dir, ret, e);
}

struct rpc_peer *
rpc_clc_peer(struct rpc *r)
{
	struct rpc_peer *fresh = rpc_peer_new(r, NULL, "clc", r->self.clc_url, NULL), *clc;

	lock_take(&r->lock);
	if (!r->clc)
		r->clc = TAKE(fresh);
	clc = r->clc;
	lock_release(&r->lock);
	rpc_peer_free(fresh);
	return clc;
}

/* -- the end -- */

void
rpc_drain(struct rpc *r)
{
	struct changes *parked[RPC_CHANGES_MAX];

	atomic_store(&r->is_draining, true);
	lock_take(&r->lock);
	memcpy(parked, r->changes, sizeof(parked));
	lock_release(&r->lock);
	for (size_t i = 0; i < RPC_CHANGES_MAX; i++)
		if (parked[i])
			changes_release(parked[i]);
}

void
rpc_cancel(struct rpc *r)
{
	if (!r)
		return;
	lock_take(&r->lock);
	r->is_closing = true;
	lock_release(&r->lock);
	rpc_calls_cancel(r);
}

/* On the loop. Closing a client ends its requests, and with them may go the identity itself. */
static void
close_identities(struct rpc *r)
{
	struct rpc_identity *open;

	do {
		struct rpc_identity *id, *following;

		open = NULL;
		lock_take(&r->lock);
		LIST_FOREACH (&r->identities, id, following, link)
			if (!open && id->http && rpc_ref_living(&id->refs))
				open = id;
		lock_release(&r->lock);
		if (open)
			rpc_identity_close(open);
		rpc_identity_unref(open);
	} while (open);
}

void
rpc_free(struct rpc *r)
{
	struct rpc_identity *identity;
	struct http_client *http;

	if (!r)
		return;
	rpc_cancel(r);
	if (r->clc)
		rpc_peer_free(TAKE(r->clc));
	close_identities(r);
	lock_take(&r->lock);
	identity = TAKE(r->identity);
	lock_release(&r->lock);
	rpc_identity_unref(identity);
	http = TAKE(r->http);
	if (http)
		http_client_free(http);
	rpc_unref(r);
}
