/* The status pages and the admin socket. The pages run on a thread of their own, so that /healthz
 * can say that the daemon's loop is stuck, which that loop could not. The admin socket's verbs may
 * block and run on the daemon's workers; who connects must be root or our own uid, by the socket's
 * mode and by the kernel's word about the peer. */
#include "net/status_server.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "net/url.h"
#include "run/health.h"
#include "run/metrics.h"
#include "run/reconciler.h"

#define STUCK_MS 2000
#define ADMIN_BODY_MAX (1 << 20)
#define ADMIN_TIMEOUT_MS 60000
#define TEXT "text/plain; charset=utf-8"

struct status_server {
	struct daemon *daemon;
	struct http_server *pages, *admin;
	struct http_worker_options calls;
	const struct admin_verb *verbs;
	size_t verb_count;
	void *arg;
	int64_t started_us;
};

/* -- pages -- */

static void
reply_text(struct http_exchange *x, int status, const struct strbuf *text)
{
	http_reply(x, status, TEXT, strbuf_c(text), text->n);
}

static void
page_healthz(struct status_server *s, struct http_exchange *x, struct strbuf *out)
{
	uint64_t age = clock_monotonic_ms() - loop_turned_ms(daemon_loop(s->daemon));

	if (age < STUCK_MS) {
		strbuf_adds(out, "ok\n");
		reply_text(x, 200, out);
	} else {
		strbuf_addf(out, "the loop has not turned for %llu ms\n", (unsigned long long)age);
		reply_text(x, 503, out);
	}
}

static void
page_readyz(struct status_server *s, struct http_exchange *x, struct strbuf *out)
{
	bool ready = health_is_ready(out);

	reply_text(x, ready ? 200 : 503, out);
}

static void
page_metrics(struct status_server *s, struct http_exchange *x, struct strbuf *out)
{
	metrics_write(out);
	http_reply(x, 200, "text/plain; version=0.0.4", strbuf_c(out), out->n);
}

static const struct {
	const char *path;
	void (*fn)(struct status_server *s, struct http_exchange *x, struct strbuf *out);
} pages[] = {
	{ "/healthz", page_healthz },
	{ "/readyz", page_readyz },
	{ "/metrics", page_metrics },
};

static void
on_page(struct http_exchange *x, void *arg)
{
	const struct http_head *head = http_request(x);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		if (!str_is(head->path, pages[i].path))
			continue;
		if (str_is(head->method, "GET") || str_is(head->method, "HEAD")) {
			pages[i].fn(arg, x, &out);
			return;
		}
		strbuf_adds(&out, "GET only\n");
		reply_text(x, 405, &out);
		return;
	}
	strbuf_adds(&out, "/healthz, /readyz, /metrics\n");
	reply_text(x, 404, &out);
}

/* -- admin -- */

static void
answer(struct http_call *call, int status, const char *text)
{
	call->status = status;
	strbuf_reset(&call->reply);
	strbuf_addf(&call->reply, "%s\n", text);
}

static void
verb_status(struct http_call *call, void *arg)
{
	struct status_server *s = arg;
	char since[TIME_TEXT_SIZE];

	time_format_iso(s->started_us, since);
	strbuf_addf(&call->reply, "version %s\npid %d\nsince %s\nworkers_queued %u\n",
	    MALLEE_VERSION, (int)getpid(), since, workers_queued(daemon_workers(s->daemon)));
	(void)health_is_ready(&call->reply);
}

static void
verb_reconcilers(struct http_call *call, void *arg)
{
	reconcilers_describe(&call->reply);
}

/* POST /reconcilers/NAME/run|pause|resume */
static void
verb_reconciler(struct http_call *call, void *arg)
{
	struct str rest = call->head->path, name, action;
	_cleanup_strbuf_ struct strbuf plain = STRBUF_INIT;
	struct err e = { 0 };
	const char *text;
	bool found;

	rest.p += strlen("/reconcilers/");
	rest.n -= strlen("/reconcilers/");
	if (!str_split(&rest, '/', &name) || !rest.p) {
		answer(call, 404, "POST /reconcilers/NAME/run|pause|resume");
		return;
	}
	action = rest;
	if (url_decode(&plain, name, false, &e) < 0) { /* "zone%20zone-a" */
		answer(call, 404, e.text);
		return;
	}
	text = strbuf_c(&plain);
	if (str_is(action, "run"))
		found = reconciler_run_now(text);
	else if (str_is(action, "pause"))
		found = reconciler_pause(text, true);
	else if (str_is(action, "resume"))
		found = reconciler_pause(text, false);
	else {
		answer(call, 404, "POST /reconcilers/NAME/run|pause|resume");
		return;
	}
	if (found)
		answer(call, 200, "ok");
	else
		answer(call, 404, "no reconciler of that name");
}

static const struct admin_verb own_verbs[] = {
	{ "GET", "/status", "what runs here, and whether it is ready", verb_status },
	{ "GET", "/reconcilers", "last and next run of each reconciler", verb_reconcilers },
	{ "POST", "/reconcilers/", "NAME/run, NAME/pause, NAME/resume", verb_reconciler },
};

static bool
path_matches(struct str path, const char *pattern)
{
	size_t n = strlen(pattern);

	if (n > 1 && pattern[n - 1] == '/')
		return path.n > n && str_starts(path, pattern);
	return str_is(path, pattern);
}

/* Runs the verb if there is one; *ret_other says that the path is known under another method. */
static bool
run_verb(const struct admin_verb *verbs, size_t count, struct http_call *call, void *arg,
    bool *ret_other)
{
	for (size_t i = 0; i < count; i++) {
		if (!path_matches(call->head->path, verbs[i].path))
			continue;
		if (!str_is(call->head->method, verbs[i].method)) {
			*ret_other = true;
			continue;
		}
		verbs[i].fn(call, arg);
		return true;
	}
	return false;
}

static void
list_verbs(struct http_call *call, const struct admin_verb *verbs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		strbuf_addf(
		    &call->reply, "%-4s %-20s %s\n", verbs[i].method, verbs[i].path, verbs[i].help);
}

static void
answer_admin(struct status_server *s, struct http_call *call)
{
	bool other = false;

	call->content_type = TEXT;
	if (call->peer.uid != 0 && call->peer.uid != geteuid()) {
		answer(call, 403, "only root and the daemon's own user may ask");
		return;
	}
	if (str_is(call->head->path, "/")) {
		list_verbs(call, own_verbs, ARRAY_SIZE(own_verbs));
		list_verbs(call, s->verbs, s->verb_count);
		return;
	}
	/* The daemon's own first, so that it can say more in /status. */
	if (run_verb(s->verbs, s->verb_count, call, s->arg, &other) ||
	    run_verb(own_verbs, ARRAY_SIZE(own_verbs), call, s, &other))
		return;
	answer(call, other ? 405 : 404, other ? "not with this method" : "no such verb");
}

static void
on_admin(struct http_call *call, void *arg)
{
	struct status_server *s = arg;

	daemon_busy(s->daemon, 1); /* a verb that runs is waited for by SIGTERM */
	answer_admin(s, call);
	daemon_busy(s->daemon, -1);
}

/* -- life -- */

static int
open_pages(struct status_server *s, const struct daemon_conf *conf, struct err *e)
{
	struct http_server_options o = {
		.name = "status",
		.handler = { .head = on_page },
		.arg = s,
		.threads = 1,
		.connections_max = 64,
	};
	_cleanup_free_ int *fds = NULL;
	size_t count;
	int r = daemon_sockets(s->daemon, "status", conf->status_listen, &fds, &count, e);

	if (r < 0)
		return r;
	return http_server_new(daemon_loop(s->daemon), &o, fds, count, &s->pages, e);
}

static int
open_admin(struct status_server *s, const struct daemon_conf *conf, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/admin.sock", conf->runtime_dir);
	_cleanup_free_ char *address = xasprintf("unix:%s", path);
	struct http_server_options o = {
		.name = "admin",
		.handler = http_worker_handler,
		.arg = &s->calls,
		.connections_max = 64,
	};
	_cleanup_free_ int *fds = NULL;
	size_t count;
	int r = daemon_sockets(s->daemon, "admin", address, &fds, &count, e);

	if (r < 0)
		return r;
	if (chmod(path, 0600) < 0)
		return err_set_errno(e, errno, "cannot protect '%s'", path);
	s->calls = (struct http_worker_options){
		.workers = daemon_workers(s->daemon),
		.fn = on_admin,
		.arg = s,
		.body_max = ADMIN_BODY_MAX,
		.timeout_ms = ADMIN_TIMEOUT_MS,
	};
	return http_server_new(daemon_loop(s->daemon), &o, fds, count, &s->admin, e);
}

int
status_server_new(struct daemon *d, const struct admin_verb *verbs, size_t verb_count, void *arg,
    struct status_server **ret, struct err *e)
{
	const struct daemon_conf *conf = daemon_configuration(d);
	_cleanup_(status_server_freep) struct status_server *s = xcalloc(1, sizeof(*s));
	int r;

	s->daemon = d;
	s->verbs = verbs;
	s->verb_count = verb_count;
	s->arg = arg;
	s->started_us = clock_now_us();
	r = open_pages(s, conf, e);
	if (r == 0)
		r = open_admin(s, conf, e);
	if (r < 0)
		return r;
	*ret = TAKE(s);
	return 0;
}

void
status_server_free(struct status_server *s)
{
	if (!s)
		return;
	http_server_free(s->pages);
	http_server_free(s->admin);
	http_worker_wait(&s->calls);
	free(s);
}
