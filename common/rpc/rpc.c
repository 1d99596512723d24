/* What a daemon is to its peers: its key, certificate and CA, the epoch of this boot, and the
 * sealing of messages. A reload makes a new identity beside the old one; calls under way end with
 * the one they began with, and so do the connections that showed it. */
#include <openssl/x509.h>
#include <assert.h>
#include <stdio.h>
#include "base/clock.h"
#include "rpc/common.api.h"
#include "rpc/rpc_internal.h"
#include "rpc/trust_internal.h"

bool
rpc_ref_living(atomic_int *refs)
{
	int n = atomic_load(refs);

	while (n > 0)
		if (atomic_compare_exchange_weak(refs, &n, n + 1))
			return true;
	return false;
}

void
rpc_ref(struct rpc *r)
{
	atomic_fetch_add(&r->refs, 1);
}

void
rpc_unref(struct rpc *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	wsse_verifier_free(r->verifier);
	if (r->tls)
		tls_unref(r->tls);
	trust_peer_done(&r->self);
	free(r->state_dir);
	free(r->certificate_path);
	free(r->key_path);
	free(r->ca_path);
	lock_done(&r->lock);
	free(r);
}

/* -- identity -- */

struct rpc_identity *
rpc_identity_ref(struct rpc_identity *id)
{
	atomic_fetch_add(&id->refs, 1);
	return id;
}

void
rpc_identity_close(struct rpc_identity *id)
{
	struct http_client *http = TAKE(id->http);

	if (http)
		http_client_free(http);
}

static void
identity_free(void *arg)
{
	struct rpc_identity *id = arg;

	rpc_identity_close(id);
	lock_take(&id->rpc->lock);
	list_remove(&id->link);
	lock_release(&id->rpc->lock);
	wsse_identity_done(&id->wsse);
	rpc_unref(id->rpc);
	free(id);
}

void
rpc_identity_unref(struct rpc_identity *id)
{
	if (!id || atomic_fetch_sub(&id->refs, 1) != 1)
		return;
	if (loop_is_current(id->rpc->loop))
		identity_free(id);
	else
		loop_post(id->rpc->loop, identity_free, id);
}

struct rpc_identity *
rpc_identity_get(struct rpc *r)
{
	LOCK_SCOPE(&r->lock);
	return rpc_identity_ref(r->identity);
}

/* A certificate that has run out is no reason to be silent about: nobody would take our messages.
 */
static int
check_dates(const struct rpc *r, X509 *certificate, struct err *e)
{
	int64_t until = trust_time_us(X509_get0_notAfter(certificate));
	char text[TIME_TEXT_SIZE];

	if (clock_now_us() < until)
		return 0;
	time_format_iso(until, text);
	return err_set(e, ERR_INVALID,
	    "the certificate '%s' of '%s' expired at %s: join the cloud again with a new token",
	    r->certificate_path, r->self.peer_id, text);
}

int
rpc_identity_load(struct rpc *r, struct rpc_identity **ret, struct err *e)
{
	struct rpc_identity *id = xcalloc(1, sizeof(*id));
	int n;

	atomic_init(&id->refs, 1);
	rpc_ref(r);
	id->rpc = r;
	lock_take(&r->lock);
	list_add_tail(&r->identities, &id->link);
	lock_release(&r->lock);
	n = wsse_identity_load(r->certificate_path, r->key_path, &id->wsse, e);
	if (n == 0)
		n = check_dates(r, id->wsse.certificate, e);
	if (n < 0) {
		rpc_identity_unref(id);
		return n;
	}
	*ret = id;
	return 0;
}

/* On the loop, where HTTP clients are made. Owns the reference. */
static void
adopt_identity(void *arg)
{
	struct rpc_identity *fresh = arg, *old = NULL;
	struct rpc *r = fresh->rpc;
	struct err e = { 0 };
	bool ok = http_client_new(r->loop, &fresh->http, &e) == 0;

	lock_take(&r->lock);
	if (ok && !r->is_closing) {
		old = r->identity;
		r->identity = TAKE(fresh);
	}
	lock_release(&r->lock);
	if (!ok)
		log_error(&r->log, "rpc.not_reloaded", "error=\"%s\"", e.text);
	rpc_identity_unref(old);
	rpc_identity_unref(fresh);
}

int
rpc_reload(struct rpc *r, struct err *e)
{
	struct rpc_identity *fresh = NULL;
	int n;

	n = rpc_identity_load(r, &fresh, e);
	if (n == 0)
		n = wsse_verifier_reload(r->verifier, e);
	if (n == 0)
		n = tls_reload(r->tls, e);
	if (n < 0) {
		rpc_identity_unref(fresh);
		return n;
	}
	if (loop_is_current(r->loop))
		adopt_identity(fresh);
	else
		loop_post(r->loop, adopt_identity, fresh);
	return 0;
}

/* -- what others ask -- */

struct http_client *
rpc_http(struct rpc *r)
{
	return r->http;
}

const char *
rpc_self(const struct rpc *r)
{
	return r->self.peer_id;
}

uint64_t
rpc_epoch(const struct rpc *r)
{
	return r->epoch;
}

uint32_t
rpc_time_left_ms(const struct rpc_request *rq)
{
	int64_t left = (rq->deadline_us - clock_now_us()) / 1000;

	return left < 0 ? 0 : left > RPC_DEADLINE_MAX_MS ? RPC_DEADLINE_MAX_MS : (uint32_t)left;
}

void
rpc_busy(struct rpc *r, int change)
{
	if (r->daemon)
		daemon_busy(r->daemon, change);
}

/* -- messages -- */

int
rpc_seal(struct rpc *r, struct rpc_identity *id, const struct soap_addressing *addressing,
    const char *name, const struct shape *shape, const void *fields, const struct err *fault,
    uint32_t version, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	size_t limit = addressing->relates_to ? xml_limits_reply.bytes : xml_limits_soap.bytes;
	struct xml_writer w;
	int n;

	xml_writer_init(&w, &body, true);
	if (fault) {
		soap_fault_write(&w, fault);
	} else {
		xml_open(&w, name);
		xml_attribute(&w, "xmlns", NS_MALLEE);
		codec_to_xml_version(shape, fields, version, &w);
		xml_close(&w, name);
	}
	n = wsse_write(&id->wsse, addressing, strbuf_str(&body), clock_now_us(), out, e);
	if (n == 0 && out->n > limit)
		return err_set(e, ERR_LIMIT, "the message '%s' of %zu bytes is larger than %zu",
		    name, out->n, limit);
	return n;
}

uint32_t
rpc_version_parse(const char *text)
{
	uint32_t version = 0;
	bool ok = str_to_u32(str_of(text), &version);

	assert(ok); /* apigen wrote it */
	return version;
}

void
rpc_hello_fill(const struct rpc *r, const struct service *service, void *hello)
{
	struct hello *h = hello;

	*h = (struct hello){
		.peer_id = r->self.peer_id,
		.role = r->self.role,
		.version_min = rpc_version_parse(service->first_version),
		.version_max = rpc_version_parse(service->last_version),
		.epoch = r->epoch,
		.program_version = MALLEE_VERSION,
	};
}

int
rpc_version_choose(const struct service *service, const char *peer_id, uint32_t peer_min,
    uint32_t peer_max, uint32_t *ret, struct err *e)
{
	uint32_t first = rpc_version_parse(service->first_version);
	uint32_t last = rpc_version_parse(service->last_version);
	uint32_t chosen = peer_max < last ? peer_max : last;

	if (peer_min > peer_max || chosen < first || chosen < peer_min)
		return err_set(e, ERR_UNSUPPORTED,
		    "'%s' speaks versions %u to %u of the messages '%s', we speak %u to %u",
		    peer_id, peer_min, peer_max, service->name, first, last);
	*ret = chosen;
	return 0;
}
