/* Serving peers. A message is verified, its sender's role is held against the operation, its body
 * is decoded, and only then does the daemon's handler see it, as a struct. What cannot be verified
 * is answered without a signature and without detail to learn from beyond the reason; everything
 * else, faults too, is signed and names the message it answers.
 *
 * A struct rpc_waiter is one request from here to its answer. Most live for one call of a worker;
 * one whose handler parked it lives on in changes.c and its handler runs again later. */
#include <assert.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/id.h"
#include "rpc/changes.h"
#include "rpc/common.api.h"
#include "rpc/rpc_internal.h"
#include "run/metrics.h"

#define CALL_TIMEOUT_MS 60000 /* of the HTTP exchange, above CHANGES_WAIT_MS */

struct rpc_server {
	struct rpc *rpc;
	const struct service *service;
	void *state;
	struct http_worker_options worker;
	struct http_server *http;
};

static void
waiter_free(struct rpc_waiter *w)
{
	wsse_message_done(&w->message);
	free(w);
}

/* -- answers -- */

static void
answer_unsigned(struct http_call *call, int status, const char *text)
{
	call->status = status;
	call->content_type = "text/plain;charset=UTF-8";
	strbuf_reset(&call->reply);
	strbuf_addf(&call->reply, "%s\n", text);
}

static int
seal_answer(struct rpc_waiter *w, const struct err *fault, struct err *e)
{
	struct rpc_identity *id = rpc_identity_get(w->rpc);
	const struct soap_addressing *asked = &w->message.addressing;
	const char *operation = w->operation ? w->operation->name : "Fault";
	_cleanup_free_ char *action =
	    xasprintf("%s:%s:%sReply", NS_MALLEE, w->service->name, operation);
	_cleanup_free_ char *name = xasprintf("%sReply", operation);
	char uuid[UUID_TEXT_SIZE], message_id[16 + UUID_TEXT_SIZE];
	struct soap_addressing addressing = {
		.to = w->message.subject,
		.action = action,
		.message_id = message_id,
		.relates_to = asked->message_id,
		.request_id = asked->request_id,
		.account_id = asked->account_id,
		.from = w->rpc->self.peer_id,
		.receiver_epoch = asked->sender_epoch,
		.sender_epoch = w->rpc->epoch,
		.version = asked->version,
	};
	int r;

	uuid_new(uuid);
	(void)snprintf(message_id, sizeof(message_id), "urn:uuid:%s", uuid);
	strbuf_reset(&w->call->reply);
	r = rpc_seal(w->rpc, id, &addressing, name, w->operation ? w->operation->out : NULL, w->out,
	    fault, asked->version ? asked->version : UINT32_MAX, &w->call->reply, e);
	rpc_identity_unref(id);
	return r;
}

static void
record(struct rpc_waiter *w, const struct err *fault)
{
	const char *name = w->operation ? w->operation->name : "unknown";
	_cleanup_free_ char *labels = xasprintf("operation=\"%s:%s\"", w->service->name, name);
	_cleanup_free_ char *with_result =
	    xasprintf("%s,result=\"%s\"", labels, fault ? fault_name(fault->code) : "ok");
	_cleanup_strbuf_ struct strbuf fields = STRBUF_INIT;
	double ms = (double)(clock_monotonic_us() - w->started_us) / 1e3;

	metric_add(
	    metric_counter("mallee_rpc_served_total", with_result, "Calls served to peers."), 1);
	metric_observe(metric_histogram("mallee_rpc_served_seconds", labels,
			   "Time of calls served to peers, waits included."),
	    ms / 1e3);
	if (fault && fault->code != ERR_STALE)
		log_warn(&w->request.log, "rpc.failed",
		    "peer=%s operation=%s code=%s error=\"%s\" at=%s:%d", w->message.subject, name,
		    fault_name(fault->code), fault->text, fault->file ? fault->file : "",
		    fault->line);
	if (log_get_level() < LOG_DEBUG)
		return;
	if (w->in)
		codec_to_log(w->operation->in, w->in, &fields);
	log_debug(&w->request.log, "rpc.served", "peer=%s operation=%s ms=%.1f %s",
	    w->message.subject, name, ms, strbuf_c(&fields));
}

/* Fills the reply. An answer that cannot be sent becomes a fault. */
static void
answer(struct rpc_waiter *w, const struct err *fault)
{
	struct err e = { 0 }, worse = { 0 };

	w->call->status = fault ? 500 : 200;
	if (seal_answer(w, fault, &e) < 0) {
		fault = &e;
		w->call->status = 500;
		if (seal_answer(w, fault, &worse) < 0)
			answer_unsigned(w->call, 500, "the answer cannot be signed");
	}
	record(w, fault);
}

/* -- requests -- */

/* "urn:mallee:2026:nc:PutInstance" of this service, and sent to it by its path. */
static const char *
operation_name(const struct rpc_waiter *w)
{
	_cleanup_free_ char *prefix = xasprintf("%s:%s:", NS_MALLEE, w->service->name);
	const char *action = w->message.addressing.action;
	size_t n = strlen(prefix);

	return strncmp(action, prefix, n) == 0 ? action + n : NULL;
}

static bool
is_word_of(const char *words, const char *word)
{
	struct str rest = str_of(words), one;

	while (rest.n && str_split(&rest, ' ', &one))
		if (str_is(one, word))
			return true;
	return false;
}

static bool
is_addressed_to_us(const struct rpc_waiter *w)
{
	const char *to = w->message.addressing.to;
	const char *path = strstr(to, "://");

	path = path ? strchr(path + 3, '/') : NULL;
	return path && str_is(w->call->head->path, path);
}

static int
choose_operation(struct rpc_waiter *w, struct err *e)
{
	const char *name = operation_name(w);
	const struct operation *operation = name ? service_find(w->service, name) : NULL;

	if (!operation)
		return err_set(
		    e, ERR_UNSUPPORTED, "no operation '%.64s' here", w->message.addressing.action);
	if (!is_addressed_to_us(w))
		return err_set(
		    e, ERR_DENIED, "the message was for '%.64s'", w->message.addressing.to);
	if (!is_word_of(operation->peers, w->message.role))
		return err_set(e, ERR_DENIED, "'%s' of role '%s' may not call %s of '%s'",
		    w->message.subject, w->message.role, name, w->service->name);
	if (!xml_is(w->message.body, NS_MALLEE, name))
		return err_set(e, ERR_INVALID, "the body is no '%s'", name);
	w->operation = operation;
	return 0;
}

/* The one operation that every service answers alike, and the only one without our epoch. */
static int
hello(struct rpc_waiter *w, struct err *e)
{
	const struct hello *in = w->in;
	uint32_t version;

	if (!strings_equal(in->peer_id, w->message.subject) ||
	    !strings_equal(in->role, w->message.role))
		return err_set(
		    e, ERR_DENIED, "'%s' greets as '%.64s'", w->message.subject, in->peer_id);
	rpc_hello_fill(w->rpc, w->service, w->out);
	return rpc_version_choose(
	    w->service, w->message.subject, in->version_min, in->version_max, &version, e);
}

static bool
is_hello(const struct rpc_waiter *w)
{
	return w->operation->in == &hello_shape && !w->operation->handler;
}

static int
check_state(struct rpc_waiter *w, bool is_stale, struct err *e)
{
	const struct soap_addressing *a = &w->message.addressing;
	uint32_t first = rpc_version_parse(w->service->first_version);
	uint32_t last = rpc_version_parse(w->service->last_version);

	if (is_hello(w))
		return 0;
	if (is_stale || !a->receiver_epoch)
		return err_set(
		    e, ERR_STALE, "'%s' was restarted: say Hello again", w->rpc->self.peer_id);
	if (a->version < first || a->version > last)
		return err_set(e, ERR_UNSUPPORTED,
		    "'%s' speaks versions %u to %u of the messages '%s', not %u",
		    w->rpc->self.peer_id, first, last, w->service->name, a->version);
	return 0;
}

static void
fill_request(struct rpc_waiter *w, void *state)
{
	const struct soap_addressing *a = &w->message.addressing;
	uint64_t wait_ms = a->deadline_ms ? a->deadline_ms : RPC_DEADLINE_DEFAULT_MS;

	if (wait_ms > RPC_DEADLINE_MAX_MS)
		wait_ms = RPC_DEADLINE_MAX_MS;
	w->request = (struct rpc_request){
		.addressing = a,
		.peer_id = w->message.subject,
		.peer_role = w->message.role,
		.log = w->rpc->log,
		.arena = w->call->arena,
		.state = state,
		.deadline_us = clock_now_us() + (int64_t)wait_ms * 1000,
		.waiter = w,
	};
	w->request.log.request_id = a->request_id ? a->request_id : w->call->request_id;
	w->request.log.account_id = a->account_id;
}

static int
decode(struct rpc_waiter *w, struct err *e)
{
	w->in = arena_alloc(w->call->arena, w->operation->in->size);
	w->out = arena_alloc(w->call->arena, w->operation->out->size);
	return codec_from_xml(w->operation->in, w->message.body, w->call->arena, w->in, e);
}

static void
waiter_run(struct rpc_waiter *w)
{
	struct err e = { 0 };
	struct http_call *call = w->call;
	struct rpc *rpc = w->rpc;
	bool was_deferred = call->deferred;
	int r;

	rpc_busy(rpc, 1);
	memset(w->out, 0, w->operation->out->size);
	w->park = NULL;
	r = is_hello(w) ? hello(w, &e) : w->operation->handler(&w->request, w->in, w->out, &e);
	assert(r <= 0);
	if (r == 0 && w->park) {
		call->deferred = true; /* before anybody can end it */
		changes_enter(w->park, w);
	} else {
		if (r < 0 && !e.code)
			err_set(&e, r, "%s failed", w->operation->name);
		answer(w, r < 0 ? &e : NULL);
		waiter_free(w);
		if (was_deferred)
			http_call_finish(call);
	}
	rpc_busy(rpc, -1);
}

static void
waiter_drop(struct rpc_waiter *w)
{
	struct http_call *call = w->call;
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "'%s' is stopping", w->rpc->self.peer_id);
	answer(w, &e);
	waiter_free(w);
	http_call_finish(call);
}

static void
serve(struct rpc *rpc, const struct service *service, void *state, struct http_call *call)
{
	struct rpc_waiter *w = xcalloc(1, sizeof(*w));
	struct err e = { 0 };
	int r;

	w->run = waiter_run;
	w->drop = waiter_drop;
	w->rpc = rpc;
	w->call = call;
	w->service = service;
	w->started_us = clock_monotonic_us();
	list_init(&w->link);
	r = wsse_verify(rpc->verifier, WSSE_REQUEST, call->body, call->peer.fingerprint,
	    clock_now_us(), &w->message, &e);
	if (r < 0 && !w->message.doc) {
		log_warn(&rpc->log, "rpc.refused", "address=%s error=\"%s\"", call->peer.address,
		    e.text);
		answer_unsigned(call, r == ERR_AUTH_FAILURE ? 403 : fault_status(r), e.text);
		waiter_free(w);
		return;
	}
	fill_request(w, state);
	r = choose_operation(w, &e);
	if (r == 0)
		r = check_state(w, w->message.is_stale, &e);
	if (r == 0)
		r = decode(w, &e);
	if (r < 0) {
		answer(w, &e);
		waiter_free(w);
		return;
	}
	waiter_run(w);
}

/* -- listeners -- */

void
rpc_handle(struct rpc *r, const struct service *service, void *state, struct http_call *call)
{
	if (!str_is(call->head->method, "POST"))
		answer_unsigned(call, 405, "messages are POSTed");
	else if (!*call->peer.fingerprint)
		answer_unsigned(call, 403, "no client certificate");
	else
		serve(r, service, state, call);
}

static void
on_call(struct http_call *call, void *arg)
{
	struct rpc_server *s = arg;
	_cleanup_free_ char *path = xasprintf("/services/%s", s->service->name);

	if (str_is(call->head->path, path) || str_is(call->head->path, "/services/internal"))
		rpc_handle(s->rpc, s->service, s->state, call);
	else
		answer_unsigned(call, 404, "nothing here");
}

int
rpc_serve(struct rpc *r, const struct service *service, void *state, const int *fds,
    size_t fd_count, struct rpc_server **ret, struct err *e)
{
	struct rpc_server *s = xcalloc(1, sizeof(*s));
	struct http_server_options options = {
		.name = service->name,
		.handler = http_worker_handler,
		.arg = &s->worker,
		.tls_mode = HTTP_TLS_REQUIRED,
		.tls = r->tls,
	};
	int n;

	s->rpc = r;
	s->service = service;
	s->state = state;
	s->worker = (struct http_worker_options){
		.workers = r->workers,
		.fn = on_call,
		.arg = s,
		.body_max = xml_limits_soap.bytes,
		.timeout_ms = CALL_TIMEOUT_MS,
	};
	n = http_server_new(r->loop, &options, fds, fd_count, &s->http, e);
	if (n < 0) {
		free(s);
		return n;
	}
	*ret = s;
	return 0;
}

void
rpc_server_drain(struct rpc_server *s)
{
	http_server_drain(s->http);
	rpc_drain(s->rpc);
}

void
rpc_server_free(struct rpc_server *s)
{
	if (!s)
		return;
	rpc_cancel(s->rpc); /* handlers that wait for other peers must come to their end */
	http_server_free(s->http);
	http_worker_wait(&s->worker);
	free(s);
}
