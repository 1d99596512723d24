/* Calling a peer. A call is a small state machine: Hello when the peer's epoch is not known, then
 * the message, then, when the answer comes from another epoch than the one addressed (the peer was
 * restarted), Hello and the message once more. Signing, verifying and decoding run on the caller's
 * thread or on a worker, never on the loop.
 *
 * An answer counts only when it is signed by the peer we mean: its id and role, and the certificate
 * that the TLS connection showed (or one that was proved before, while a certificate is renewed).
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/id.h"
#include "rpc/common.api.h"
#include "rpc/rpc_internal.h"
#include "run/metrics.h"

#define CONNECT_TIMEOUT_MS 2000
#define REPLY_MAX (16 * 1024 * 1024 + 4096)
#define PROVED_MAX 2

struct rpc_peer {
	atomic_int refs;
	struct rpc *rpc; /* borrowed: lives longer; counted by each call */
	char *peer_id, *role, *url;
	char
	    *pin; /* the only certificate accepted; NULL: any that is signed for peer_id and role */

	/* under rpc->lock */
	uint64_t epoch; /* 0: Hello first */
	uint32_t version;
	char proved[PROVED_MAX]
		   [WSSE_FINGERPRINT_SIZE]; /* certificates of this peer, the newest first */
	bool is_up, is_known;
	uint64_t retry_at_ms;
	uint32_t backoff_ms;
	char why[256];    /* it is down */
	int64_t since_us; /* it is up or down */
};

enum stage { STAGE_HELLO, STAGE_CALL };

struct call {
	atomic_int refs;
	struct list link; /* in rpc->calls, under its lock */
	struct rpc *rpc;
	struct rpc_peer *peer;
	struct rpc_identity *identity;
	const struct operation *operation;
	const char *request_id, *account_id;
	const void *in;
	void *out;
	struct arena *arena;
	uint64_t started_us, deadline_ms; /* monotonic */

	/* of the message under way; one thread at a time */
	enum stage stage;
	bool is_retry;
	uint64_t epoch; /* addressed */
	uint32_t version;
	char message_id[16 + UUID_TEXT_SIZE];
	char pin[WSSE_FINGERPRINT_SIZE];

	/* what came back; under rpc->lock until has_reply */
	bool has_reply, is_cancelled;
	int status;
	struct strbuf reply;
	char tls_fingerprint[WSSE_FINGERPRINT_SIZE];
	struct err failure;

	/* rpc_call */
	bool is_sync;
	pthread_cond_t wake;
	/* rpc_call_async */
	bool is_done; /* under rpc->lock */
	bool is_ok;
	struct err result;
	void (*done)(void *arg, const void *out, const struct err *e);
	void *arg;
};

/* -- peers -- */

struct rpc_peer *
rpc_peer_new(
    struct rpc *r, const char *peer_id, const char *role, const char *url, const char *fingerprint)
{
	struct rpc_peer *p = xcalloc(1, sizeof(*p));
	size_t n = strlen(url);

	atomic_init(&p->refs, 1);
	p->rpc = r;
	p->peer_id = peer_id ? xstrdup(peer_id) : NULL;
	p->role = xstrdup(role);
	while (n && url[n - 1] == '/')
		n--;
	p->url = xstrndup(url, n);
	p->pin = fingerprint ? xstrdup(fingerprint) : NULL;
	return p;
}

void
rpc_peer_ref(struct rpc_peer *p)
{
	atomic_fetch_add(&p->refs, 1);
}

void
rpc_peer_free(struct rpc_peer *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	free(p->peer_id);
	free(p->role);
	free(p->url);
	free(p->pin);
	free(p);
}

bool
rpc_peer_is_up(const struct rpc_peer *p)
{
	LOCK_SCOPE(&p->rpc->lock);
	return p->is_up;
}

void
rpc_peer_look(const struct rpc_peer *p, struct rpc_peer_view *ret)
{
	LOCK_SCOPE(&p->rpc->lock);
	*ret = (struct rpc_peer_view){
		.is_known = p->is_known, .is_up = p->is_up, .since_us = p->since_us
	};
	if (!p->is_up)
		memcpy(ret->why, p->why, sizeof(ret->why));
}

struct rpc *
rpc_peer_rpc(struct rpc_peer *p)
{
	return p->rpc;
}

static uint32_t
retry_ms_locked(const struct rpc_peer *p)
{
	uint64_t now = clock_monotonic_ms();

	return p->retry_at_ms > now ? (uint32_t)(p->retry_at_ms - now) : 0;
}

uint32_t
rpc_peer_retry_ms(struct rpc_peer *p)
{
	LOCK_SCOPE(&p->rpc->lock);
	return retry_ms_locked(p);
}

static const char *
peer_name(const struct rpc_peer *p)
{
	return p->peer_id ? p->peer_id : p->role;
}

static void
peer_up(struct rpc_peer *p)
{
	bool was_up;

	lock_take(&p->rpc->lock);
	was_up = p->is_up;
	if (!was_up)
		p->since_us = clock_now_us();
	p->is_up = p->is_known = true;
	p->backoff_ms = 0;
	p->retry_at_ms = 0;
	lock_release(&p->rpc->lock);
	if (!was_up)
		log_info(&p->rpc->log, "peer.up", "peer=%s url=%s", peer_name(p), p->url);
}

/* It may have been replaced or restarted: the next call begins with Hello. */
static void
peer_down(struct rpc_peer *p, const struct err *why)
{
	uint16_t jitter;
	bool was_up;

	random_bytes(&jitter, sizeof(jitter));
	lock_take(&p->rpc->lock);
	was_up = p->is_up || !p->is_known;
	if (was_up)
		p->since_us = clock_now_us();
	p->is_up = false;
	p->is_known = true;
	p->epoch = 0;
	p->backoff_ms = p->backoff_ms ? p->backoff_ms * 2 : RPC_BACKOFF_MIN_MS;
	if (p->backoff_ms > RPC_BACKOFF_MAX_MS)
		p->backoff_ms = RPC_BACKOFF_MAX_MS;
	p->retry_at_ms = clock_monotonic_ms() + p->backoff_ms / 2 + jitter % (p->backoff_ms / 2);
	(void)snprintf(p->why, sizeof(p->why), "%.255s", why->text);
	lock_release(&p->rpc->lock);
	if (was_up)
		log_warn(&p->rpc->log, "peer.down", "peer=%s url=%s error=\"%s\"", peer_name(p),
		    p->url, why->text);
}

/* -- calls -- */

static void
call_unref(struct call *c)
{
	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	lock_take(&c->rpc->lock);
	list_remove(&c->link);
	lock_release(&c->rpc->lock);
	if (!c->is_sync)
		arena_free(c->arena);
	(void)pthread_cond_destroy(&c->wake);
	strbuf_done(&c->reply);
	rpc_identity_unref(c->identity);
	rpc_peer_free(c->peer);
	rpc_unref(c->rpc);
	free(c);
}

static void
call_unrefp(struct call **c)
{
	if (*c)
		call_unref(*c);
}

static struct call *
call_new(struct rpc_peer *p, const struct operation *operation, uint32_t timeout_ms)
{
	struct call *c = xcalloc(1, sizeof(*c));

	atomic_init(&c->refs, 1);
	c->rpc = p->rpc;
	rpc_ref(c->rpc);
	rpc_peer_ref(p);
	c->peer = p;
	c->operation = operation;
	c->started_us = clock_monotonic_us();
	c->deadline_ms = clock_monotonic_ms() + timeout_ms;
	(void)pthread_cond_init(&c->wake, NULL);
	lock_take(&c->rpc->lock);
	list_add_tail(&c->rpc->calls, &c->link);
	if (c->rpc->identity)
		c->identity = rpc_identity_ref(c->rpc->identity);
	lock_release(&c->rpc->lock);
	return c;
}

static uint32_t
time_left_ms(const struct call *c)
{
	uint64_t now = clock_monotonic_ms();

	return now < c->deadline_ms ? (uint32_t)(c->deadline_ms - now) : 0;
}

static int
timed_out(const struct call *c, struct err *e)
{
	return err_set(e, ERR_TIMEOUT, "'%s' did not answer %s within %u ms", peer_name(c->peer),
	    c->operation->name, (unsigned)(c->deadline_ms - c->started_us / 1000));
}

static int
cancelled(struct err *e)
{
	return err_set(e, ERR_CANCELLED, "this daemon is stopping");
}

/* What the peer is known to be now decides how the call begins. */
static int
choose_stage(struct call *c, struct err *e)
{
	struct rpc_peer *p = c->peer;
	uint32_t retry_ms;

	LOCK_SCOPE(&c->rpc->lock);
	if (c->rpc->is_closing || !c->identity)
		return cancelled(e);
	retry_ms = p->is_up ? 0 : retry_ms_locked(p);
	if (retry_ms)
		return err_set(e, ERR_UNAVAILABLE, "%s (asked again in %u ms)", p->why, retry_ms);
	c->stage = p->epoch ? STAGE_CALL : STAGE_HELLO;
	c->epoch = p->epoch;
	c->version = p->version;
	(void)snprintf(c->pin, sizeof(c->pin), "%s",
	    p->pin     ? p->pin
	    : p->epoch ? p->proved[0]
		       : "");
	return 0;
}

static const char *
wire_path(const struct service *service)
{
	/* the clc and walrus have users' services on the same port */
	if (strings_equal(service->name, "clc") || strings_equal(service->name, "walrus"))
		return "internal";
	return service->name;
}

static int
compose(struct call *c, char **ret_url, struct strbuf *out, struct err *e)
{
	const struct service *service = c->operation->service;
	bool is_hello = c->stage == STAGE_HELLO;
	const char *name = is_hello ? "Hello" : c->operation->name;
	_cleanup_free_ char *action = xasprintf("%s:%s:%s", NS_MALLEE, service->name, name);
	_cleanup_free_ char *url = xasprintf("%s/services/%s", c->peer->url, wire_path(service));
	char uuid[UUID_TEXT_SIZE];
	struct hello hello;
	struct soap_addressing addressing = {
		.to = url,
		.action = action,
		.message_id = c->message_id,
		.request_id = c->request_id,
		.account_id = c->account_id,
		.from = c->rpc->self.peer_id,
		.deadline_ms = time_left_ms(c),
		.receiver_epoch = is_hello ? 0 : c->epoch,
		.sender_epoch = c->rpc->epoch,
		.version = is_hello ? 0 : c->version,
	};
	int r;

	uuid_new(uuid);
	(void)snprintf(c->message_id, sizeof(c->message_id), "urn:uuid:%s", uuid);
	rpc_hello_fill(c->rpc, service, &hello);
	r = rpc_seal(c->rpc, c->identity, &addressing, name,
	    is_hello ? &hello_shape : c->operation->in, is_hello ? &hello : c->in, NULL,
	    is_hello ? UINT32_MAX : c->version, out, e);
	if (r < 0)
		return r;
	*ret_url = TAKE(url);
	return 0;
}

/* On the loop. Owns a reference. */
static void on_reply(void *arg, struct http_client_reply *reply, const struct err *e);

static int
transmit(struct call *c, struct err *e)
{
	static const struct http_header headers[] = {
		{ { "Content-Type", 12 }, { "text/xml; charset=utf-8", 23 } },
		{ { "Expect", 6 }, { "", 0 } },
	};
	struct rpc *r = c->rpc;
	_cleanup_strbuf_ struct strbuf envelope = STRBUF_INIT;
	_cleanup_free_ char *url = NULL;
	struct http_client_tls tls = {
		.certificate_path = r->certificate_path,
		.key_path = r->key_path,
		.ca_path = r->ca_path,
		.pinned_fingerprint = *c->pin ? c->pin : NULL,
		.skip_name = true,
	};
	struct http_client_request request = {
		.method = "POST",
		.headers = headers,
		.header_count = 1,
		.body_fd = -1,
		.tls = &tls,
		.timeout_ms = time_left_ms(c),
		.reply_max = REPLY_MAX,
	};
	int n;

	if (!request.timeout_ms)
		return timed_out(c, e);
	request.connect_timeout_ms =
	    request.timeout_ms < CONNECT_TIMEOUT_MS ? request.timeout_ms : CONNECT_TIMEOUT_MS;
	n = compose(c, &url, &envelope, e);
	if (n < 0)
		return n;
	request.url = url;
	request.body = strbuf_str(&envelope);
	strbuf_reset(&c->reply);
	c->has_reply = false;

	/* Under the lock, so that nothing is sent once rpc_free has begun. */
	LOCK_SCOPE(&r->lock);
	if (r->is_closing || !c->identity->http)
		return cancelled(e);
	atomic_fetch_add(&c->refs, 1);
	http_send(c->identity->http, &request, on_reply, c);
	return 0;
}

/* -- what comes back -- */

static bool
was_proved(struct call *c, const char *fingerprint)
{
	LOCK_SCOPE(&c->rpc->lock);
	for (size_t i = 0; i < PROVED_MAX; i++)
		if (*fingerprint && strings_equal(c->peer->proved[i], fingerprint))
			return true;
	return false;
}

static int
check_sender(struct call *c, const struct wsse_message *m, struct err *e)
{
	struct rpc_peer *p = c->peer;

	if ((p->peer_id && !strings_equal(m->subject, p->peer_id)) ||
	    !strings_equal(m->role, p->role))
		return err_set(e, ERR_AUTH_FAILURE, "'%s' (%s) answered in the place of '%s' (%s)",
		    m->subject, m->role, peer_name(p), p->role);
	if (p->pin && !strings_equal(p->pin, m->fingerprint))
		return err_set(
		    e, ERR_AUTH_FAILURE, "'%s' answered with an unknown certificate", m->subject);
	/* A connection made before the peer renewed its certificate still shows the old one. */
	if (*c->tls_fingerprint && !strings_equal(c->tls_fingerprint, m->fingerprint) &&
	    !was_proved(c, c->tls_fingerprint))
		return err_set(
		    e, ERR_AUTH_FAILURE, "'%s' answered on another's connection", m->subject);
	if (!strings_equal(m->addressing.relates_to, c->message_id))
		return err_set(e, ERR_AUTH_FAILURE, "'%s' answered another message", m->subject);
	return 0;
}

static void
remember(struct call *c, const struct wsse_message *m)
{
	struct rpc_peer *p = c->peer;

	LOCK_SCOPE(&c->rpc->lock);
	if (strings_equal(p->proved[0], m->fingerprint))
		return;
	memcpy(p->proved[1], p->proved[0], sizeof(p->proved[1]));
	memcpy(p->proved[0], m->fingerprint, sizeof(p->proved[0]));
}

static int
take_hello(struct call *c, const struct wsse_message *m, struct err *e)
{
	struct hello hello;
	uint32_t version = 0;
	int r;

	if (!xml_is(m->body, NS_MALLEE, "HelloReply"))
		return err_set(
		    e, ERR_INVALID, "'%s' answered Hello with something else", m->subject);
	r = codec_from_xml(&hello_shape, m->body, m->arena, &hello, e);
	if (r == 0)
		r = rpc_version_choose(c->operation->service, m->subject, hello.version_min,
		    hello.version_max, &version, e);
	if (r < 0)
		return r;
	lock_take(&c->rpc->lock);
	c->peer->epoch = m->addressing.sender_epoch;
	c->peer->version = version;
	lock_release(&c->rpc->lock);
	c->stage = STAGE_CALL;
	c->epoch = m->addressing.sender_epoch;
	c->version = version;
	if (!*c->pin)
		(void)snprintf(c->pin, sizeof(c->pin), "%s", m->fingerprint);
	return 1;
}

/* The peer was restarted since we last heard of it: greet it and say it again, once. */
static int
begin_again(struct call *c, const struct wsse_message *m, struct err *e)
{
	lock_take(&c->rpc->lock);
	if (c->peer->epoch == c->epoch)
		c->peer->epoch = 0;
	lock_release(&c->rpc->lock);
	if (c->is_retry)
		return err_set(e, ERR_UNAVAILABLE, "'%s' keeps being restarted", m->subject);
	c->is_retry = true;
	c->stage = STAGE_HELLO;
	return 1;
}

static int
take_message(struct call *c, const struct wsse_message *m, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%sReply", c->operation->name);
	int r;

	if (c->stage == STAGE_CALL && m->addressing.sender_epoch != c->epoch)
		return begin_again(c, m, e);
	if (soap_fault_read(m->body, e))
		return e->code;
	if (c->stage == STAGE_HELLO)
		return take_hello(c, m, e);
	if (!xml_is(m->body, NS_MALLEE, name))
		return err_set(e, ERR_INVALID, "'%s' answered %s with something else", m->subject,
		    c->operation->name);
	r = codec_from_xml(c->operation->out, m->body, c->arena, c->out, e);
	return r < 0 ? err_wrap(e, "answer of '%s' to %s", m->subject, c->operation->name) : 0;
}

/* Without a signature: somebody on the way, or a peer that cannot read us. Its words are for the
 * log. */
static int
unsigned_reply(struct call *c, struct err *e)
{
	char text[160];
	size_t n = 0;

	for (size_t i = 0; i < c->reply.n && n < sizeof(text) - 1; i++)
		if (c->reply.p[i] >= ' ' && c->reply.p[i] <= '~')
			text[n++] = c->reply.p[i];
	text[n] = '\0';
	return err_set(e, ERR_UNAVAILABLE, "'%s' refused the message with HTTP status %d: %s",
	    peer_name(c->peer), c->status, text);
}

static int
unreachable(struct call *c, struct err *e)
{
	const struct err *failure = &c->failure;

	if (failure->code == ERR_CANCELLED) {
		*e = *failure;
		return e->code;
	}
	if (failure->code == ERR_LIMIT) { /* it answered, at too great a length */
		*e = *failure;
		return err_wrap(e, "answer of '%s' to %s", peer_name(c->peer), c->operation->name);
	}
	if (failure->code == ERR_TIMEOUT && !time_left_ms(c) && c->stage == STAGE_CALL)
		return timed_out(c, e); /* slow, not away */
	if (c->stage == STAGE_CALL && !c->is_retry) {
		/* Restarted, or with a new certificate: every operation may be repeated. */
		c->is_retry = true;
		c->stage = STAGE_HELLO;
		(void)snprintf(c->pin, sizeof(c->pin), "%s", c->peer->pin ? c->peer->pin : "");
		return 1;
	}
	err_set(e, ERR_UNAVAILABLE, "cannot reach '%s' at %s: %s", peer_name(c->peer), c->peer->url,
	    failure->text);
	peer_down(c->peer, e);
	return e->code;
}

/* 0: *out is filled; 1: the next message is due; else why not. */
static int
process(struct call *c, struct err *e)
{
	_cleanup_(wsse_message_done) struct wsse_message m = { 0 };
	int r;

	if (c->failure.code)
		return unreachable(c, e);
	if (c->status != 200 && c->status != 500) {
		r = unsigned_reply(c, e);
		peer_down(c->peer, e);
		return r;
	}
	r = wsse_verify(
	    c->rpc->verifier, WSSE_REPLY, strbuf_str(&c->reply), NULL, clock_now_us(), &m, e);
	if (r == 0)
		r = check_sender(c, &m, e);
	if (r < 0) {
		err_wrap(e, "answer of '%s'", peer_name(c->peer));
		peer_down(c->peer, e);
		return r;
	}
	remember(c, &m);
	peer_up(c->peer);
	return take_message(c, &m, e);
}

static void
count(struct call *c, int r)
{
	_cleanup_free_ char *labels =
	    xasprintf("operation=\"%s:%s\"", c->operation->service->name, c->operation->name);
	_cleanup_free_ char *with_result =
	    xasprintf("%s,result=\"%s\"", labels, r == 0 ? "ok" : fault_name(r));

	metric_add(
	    metric_counter("mallee_rpc_calls_total", with_result, "Calls made to peers."), 1);
	metric_observe(
	    metric_histogram("mallee_rpc_call_seconds", labels, "Time of calls made to peers."),
	    (double)(clock_monotonic_us() - c->started_us) / 1e6);
}

/* -- with a thread -- */

static void
store_reply(struct call *c, struct http_client_reply *reply, const struct err *e)
{
	c->failure = reply ? (struct err){ 0 } : *e;
	if (!reply)
		return;
	c->status = reply->status;
	strbuf_done(&c->reply);
	c->reply = reply->body; /* the bytes moved */
	reply->body = (struct strbuf)STRBUF_INIT;
	memcpy(c->tls_fingerprint, reply->peer_fingerprint, sizeof(c->tls_fingerprint));
}

static int
wait_for_reply(struct call *c, struct err *e)
{
	LOCK_SCOPE(&c->rpc->lock);
	while (!c->has_reply && !c->rpc->is_closing)
		(void)lock_wait(&c->rpc->lock, &c->wake, -1); /* the request has its time-out */
	return c->has_reply ? 0 : cancelled(e);
}

int
rpc_call(struct rpc_peer *p, const struct operation *operation, const struct rpc_context *context,
    const void *in, void *out, struct arena *arena, uint32_t timeout_ms, struct err *e)
{
	_cleanup_(call_unrefp) struct call *c = call_new(p, operation, timeout_ms);
	struct err scratch;
	int r;

	if (!e)
		e = &scratch;
	assert(!loop_is_current(p->rpc->loop)); /* it would wait for itself */
	c->is_sync = true;
	c->request_id = context ? context->request_id : NULL;
	c->account_id = context ? context->account_id : NULL;
	c->in = in;
	c->out = out;
	c->arena = arena;
	r = choose_stage(c, e);
	if (r == 0) {
		do {
			r = transmit(c, e);
			if (r == 0)
				r = wait_for_reply(c, e);
			if (r == 0)
				r = process(c, e);
		} while (r == 1);
	}
	count(c, r);
	return r;
}

/* -- without a thread -- */

static void
deliver(struct call *c)
{
	bool is_first;

	lock_take(&c->rpc->lock);
	is_first = !c->is_done;
	c->is_done = true;
	lock_release(&c->rpc->lock);
	if (is_first) {
		count(c, c->is_ok ? 0 : c->result.code);
		c->done(c->arg, c->is_ok ? c->out : NULL, &c->result);
	}
}

/* On the loop. Owns a reference. */
static void
on_finished(void *arg)
{
	struct call *c = arg;

	deliver(c);
	call_unref(c);
}

static void
finish(struct call *c, int r)
{
	assert(r <= 0);
	c->is_ok = r == 0;
	atomic_fetch_add(&c->refs, 1);
	loop_post(c->rpc->loop, on_finished, c);
}

/* On a worker. Owns a reference. */
static void
async_begin(void *arg)
{
	struct call *c = arg;
	int r = choose_stage(c, &c->result);

	if (r == 0)
		r = transmit(c, &c->result);
	if (r < 0)
		finish(c, r);
	call_unref(c);
}

static void
async_step(void *arg)
{
	struct call *c = arg;
	int r = process(c, &c->result);

	if (r == 1) {
		r = transmit(c, &c->result);
		if (r == 0) {
			call_unref(c);
			return;
		}
	}
	finish(c, r);
	call_unref(c);
}

/* A full queue is a failed call: the caller tries again, as after any other. */
static void
async_run(struct call *c, void (*fn)(void *))
{
	int r;

	atomic_fetch_add(&c->refs, 1);
	r = workers_run(c->rpc->workers, fn, c, &c->result);
	if (r < 0) {
		finish(c, r);
		call_unref(c);
	}
}

static void
on_reply(void *arg, struct http_client_reply *reply, const struct err *e)
{
	struct call *c = arg;
	bool is_open;

	if (c->is_sync) {
		lock_take(&c->rpc->lock);
		store_reply(c, reply, e);
		c->has_reply = true;
		(void)pthread_cond_signal(&c->wake);
		lock_release(&c->rpc->lock);
		call_unref(c);
		return;
	}
	lock_take(&c->rpc->lock);
	is_open = !c->is_done && !c->rpc->is_closing;
	lock_release(&c->rpc->lock);
	if (is_open) {
		store_reply(c, reply, e);
		async_run(c, async_step);
	}
	call_unref(c);
}

void
rpc_call_async(struct rpc_peer *p, const struct operation *operation,
    const struct rpc_context *context, const void *in, uint32_t timeout_ms,
    void (*done)(void *arg, const void *out, const struct err *e), void *arg)
{
	struct call *c = call_new(p, operation, timeout_ms);
	void *copy;

	c->arena = arena_new(0);
	c->request_id = arena_strdup(c->arena, context ? context->request_id : NULL);
	c->account_id = arena_strdup(c->arena, context ? context->account_id : NULL);
	copy = arena_alloc(c->arena, operation->in->size);
	codec_copy(operation->in, in, c->arena, copy);
	c->in = copy;
	c->out = arena_alloc(c->arena, operation->out->size);
	c->done = done;
	c->arg = arg;
	async_run(c, async_begin);
	call_unref(c);
}

/* On the loop; is_closing is set. Blocked callers wake up and see it; callbacks are called now,
 * while what they point to is still there. */
void
rpc_calls_cancel(struct rpc *r)
{
	struct call *c, *following, *open;

	do {
		open = NULL;
		lock_take(&r->lock);
		LIST_FOREACH (&r->calls, c, following, link) {
			if (c->is_sync) {
				(void)pthread_cond_signal(&c->wake);
			} else if (!open && c->done && !c->is_done && rpc_ref_living(&c->refs)) {
				c->is_done = true;
				open = c;
			}
		}
		lock_release(&r->lock);
		if (open) {
			struct err e;

			cancelled(&e);
			open->done(open->arg, NULL, &e);
			call_unref(open);
		}
	} while (open);
}
