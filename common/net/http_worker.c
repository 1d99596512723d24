/* Requests answered by blocking code. The body is collected on the loop, the call runs on the pool,
 * the reply is sent from the loop. A call is counted: the exchange, the thread that runs it and
 * whoever will finish it each hold it, so none of them cares who is last. The reply of a call that
 * finished after its deadline, or after its client left, is dropped. */
#include "net/http_worker.h"

#include <assert.h>
#include <stdatomic.h>
#include "net/http_internal.h"
#include "run/lock.h"

struct worker_call {
	struct http_call call; /* first: what the rest of the world sees */
	struct http_worker_options *options;
	atomic_uint references;
	struct http_head head;
	struct strbuf body;
	struct http_ref ref;
	bool is_refused; /* loop only: an error reply went out, the body no longer matters */
};

static void
call_unref(struct worker_call *w)
{
	if (atomic_fetch_sub(&w->references, 1) > 1)
		return;
	strbuf_done(&w->body);
	strbuf_done(&w->call.reply);
	arena_free(w->call.arena);
	free(w);
}

static void
send_reply(struct http_exchange *x, struct http_call *call)
{
	size_t n = call->reply.n;
	char *bytes;

	http_reply_begin(x, call->status);
	if (call->content_type && n > 0)
		http_reply_header(x, "Content-Type", call->content_type);
	for (unsigned i = 0; i < call->header_count; i++) {
		const struct http_header *h = &call->headers[i];

		http_reply_header(
		    x, arena_str(call->arena, h->name), arena_str(call->arena, h->value));
	}
	http_reply_length(x, n);
	bytes = strbuf_take(&call->reply);
	http_reply_add_owned(x, bytes, n, free, bytes);
	http_reply_end(x);
}

/* Answers in the service's own format, with a call of its own: the real one may be in the hands of
 * another thread. */
static void
refuse(
    struct http_exchange *x, const struct http_worker_options *o, int status, const char *message)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct http_call call = {
		.head = http_request(x),
		.peer = *http_peer(x),
		.request_id = http_id(x),
		.arena = arena,
		.status = status,
		.content_type = o->refuse ? "text/xml;charset=UTF-8" : "text/plain",
	};
	struct worker_call *w = http_data(x);

	if (w)
		w->is_refused = true;
	if (o->refuse)
		o->refuse(&call, status, message);
	else
		strbuf_addf(&call.reply, "%s\n", message);
	send_reply(x, &call);
	strbuf_done(&call.reply);
}

/* The head outlives the exchange: its bytes are copied and every span is moved there. Spans that do
 * not lie in the head (the path "/" of a target without one) are constants and stay. */
struct move {
	const char *from, *end, *to;
};

static struct str
moved(struct str s, const struct move *m)
{
	return s.p >= m->from && s.p <= m->end ? (struct str){ m->to + (s.p - m->from), s.n } : s;
}

static void
copy_head(struct worker_call *w, const struct http_exchange *x)
{
	const struct http_head *from = &x->head;
	const struct move m = { x->in, x->in + x->head_n,
		arena_memdup(w->call.arena, x->in, x->head_n) };

	w->head.method = moved(from->method, &m);
	w->head.target = moved(from->target, &m);
	w->head.path = moved(from->path, &m);
	w->head.query = moved(from->query, &m);
	w->head.host = moved(from->host, &m);
	w->head.minor = from->minor;
	w->head.header_count = from->header_count;
	w->head.content_length = from->content_length;
	w->head.keep_alive = from->keep_alive;
	w->head.expect_continue = from->expect_continue;
	w->head.wants_upgrade = from->wants_upgrade;
	for (unsigned i = 0; i < from->header_count; i++) {
		w->head.headers[i].name = moved(from->headers[i].name, &m);
		w->head.headers[i].value = moved(from->headers[i].value, &m);
	}
}

static void
on_head(struct http_exchange *x, void *arg)
{
	struct http_worker_options *o = arg;
	struct worker_call *w;

	if (x->head.content_length > 0 && (uint64_t)x->head.content_length > o->body_max) {
		refuse(x, o, 413, "the request body is too large");
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->options = o;
	atomic_init(&w->references, 1);
	w->call.arena = arena_new(0);
	w->call.status = 200;
	w->call.content_type = "text/xml;charset=UTF-8";
	w->call.peer = *http_peer(x);
	w->call.request_id = arena_strdup(w->call.arena, http_id(x));
	w->call.head = &w->head;
	copy_head(w, x);
	http_set_data(x, w);
	http_accept_body(x, 0);
}

static void
on_body(struct http_exchange *x, struct http_body *piece, void *arg)
{
	struct worker_call *w = http_data(x);

	if (!w->is_refused) {
		if (w->body.n + piece->n > w->options->body_max)
			refuse(x, w->options, 413, "the request body is too large");
		else
			strbuf_add(&w->body, piece->p, piece->n);
	}
	http_body_release(piece);
}

static struct lock pending_lock = LOCK_INITIALIZER(LEAF);
static pthread_cond_t pending_changed = PTHREAD_COND_INITIALIZER;

static void
count_pending(struct http_worker_options *o, int change)
{
	LOCK_SCOPE(&pending_lock);

	o->pending += (unsigned)change;
	if (o->pending == 0)
		(void)pthread_cond_broadcast(&pending_changed);
}

void
http_worker_wait(struct http_worker_options *o)
{
	LOCK_SCOPE(&pending_lock);

	while (o->pending > 0)
		(void)lock_wait(&pending_lock, &pending_changed, -1);
}

static void
run(void *arg)
{
	struct worker_call *w = arg;

	if (!atomic_load(&w->call.client_gone))
		w->options->fn(&w->call, w->options->arg);
	count_pending(w->options, -1);
	if (!w->call.deferred)
		http_call_finish(&w->call);
	call_unref(w);
}

static void
on_expired(struct http_exchange *x)
{
	struct worker_call *w = http_data(x);

	atomic_store(&w->call.client_gone, true); /* as good as: nobody will see the reply */
	refuse(x, w->options, 503, "the request took too long");
}

static void
on_end(struct http_exchange *x, const struct http_header *trailers, unsigned count, void *arg)
{
	struct worker_call *w = http_data(x);
	struct err e = { 0 };

	if (w->is_refused)
		return;
	w->call.body = strbuf_str(&w->body);
	w->ref =
	    http_suspend(x, w->options->timeout_ms ? w->options->timeout_ms : 60000, on_expired);
	atomic_fetch_add(&w->references, 2); /* the thread, and http_call_finish */
	count_pending(w->options, 1);
	if (workers_run(w->options->workers, run, w, &e) < 0) {
		count_pending(w->options, -1);
		atomic_fetch_sub(&w->references, 2);
		http_exchange_forget_ref(x);
		refuse(x, w->options, 503, "too many requests are waiting");
	}
}

static void
on_gone(struct http_exchange *x, bool complete, void *arg)
{
	struct worker_call *w = http_data(x);

	if (!w)
		return;
	if (!complete)
		atomic_store(&w->call.client_gone, true);
	http_set_data(x, NULL);
	call_unref(w);
}

static void
deliver(struct http_exchange *x, void *arg)
{
	struct worker_call *w = arg;

	if (x)
		send_reply(x, &w->call);
	call_unref(w);
}

void
http_call_finish(struct http_call *call)
{
	struct worker_call *w = CONTAINER_OF(call, struct worker_call, call);

	http_resume(w->ref, deliver, w);
}

static void
on_drained(struct http_exchange *x, void *arg)
{
	/* The whole reply is queued at once: there is never more to send. */
}

const struct http_handler http_worker_handler = {
	.head = on_head,
	.body = on_body,
	.end = on_end,
	.drained = on_drained,
	.gone = on_gone,
};
