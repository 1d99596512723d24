/* Servers: listening sockets, loops, the limit of connections, drain, metrics. A server has a lane
 * on each of its loops: the listeners' watches there and the connections accepted there. The
 * descriptors are shared by the lanes; the last one to stop listening closes them. */
#include "net/http_server.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/http_internal.h"
#include "run/fd.h"

#define ACCEPT_BATCH 8
#define PAUSE_MS 100
#define DEFAULT_CONNECTIONS 10000

struct http_lane_drain {
	struct http_message message;
	struct http_lane *lane; /* NULL: the server was freed first */
};

static void on_accept(void *arg, uint32_t events);

static void
resume_accepting(struct http_lane *lane)
{
	struct http_server *s = lane->server;
	/* Several loops watch one listener: wake one of them, not all. */
	uint32_t events = EPOLLIN | (s->lane_count > 1 ? (uint32_t)EPOLLEXCLUSIVE : 0);

	lane->is_paused = false;
	for (size_t i = 0; i < s->fd_count; i++)
		lane->listeners[i].watch = loop_watch_new(
		    lane->hub->loop, lane->listeners[i].fd, events, on_accept, &lane->listeners[i]);
}

static void
drop_watches(struct http_lane *lane)
{
	for (size_t i = 0; i < lane->server->fd_count; i++)
		loop_watch_free(TAKE(lane->listeners[i].watch));
}

static void
pause_accepting(struct http_lane *lane)
{
	if (lane->is_paused)
		return;
	lane->is_paused = true;
	drop_watches(lane);
	loop_timer_set(lane->resume_timer, PAUSE_MS);
}

static bool
is_full(const struct http_server *s)
{
	return atomic_load(&s->connections) >= s->options.connections_max;
}

static void
on_resume_timer(void *arg)
{
	struct http_lane *lane = arg;

	if (!lane->is_listening || !lane->is_paused)
		return;
	if (is_full(lane->server))
		loop_timer_set(lane->resume_timer, PAUSE_MS);
	else
		resume_accepting(lane);
}

static void
on_closed(struct http_lane *lane)
{
	struct http_server *s = lane->server;

	metric_add(s->open, -1);
	if (atomic_fetch_sub(&s->connections, 1) == s->options.connections_max)
		on_resume_timer(lane); /* it was full: this loop need not wait for the timer */
}

static void
on_accept(void *arg, uint32_t events)
{
	struct http_listener *l = arg;
	struct http_lane *lane = l->lane;
	struct http_server *s = lane->server;

	for (unsigned i = 0; i < ACCEPT_BATCH && lane->is_listening; i++) {
		int fd;

		if (is_full(s)) {
			pause_accepting(lane);
			return;
		}
		fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) { /* out of descriptors or memory: leave them in the backlog */
			log_warn(
			    &s->log, "http.accept_failed", "server=%s errno=%d", s->name, errno);
			pause_accepting(lane);
			return;
		}
		atomic_fetch_add(&s->connections, 1);
		metric_add(s->open, 1);
		http_connection_new(lane, fd);
	}
}

static void
stop_listening(struct http_lane *lane)
{
	struct http_server *s = lane->server;

	if (!lane->is_listening)
		return;
	lane->is_listening = false;
	drop_watches(lane);
	loop_timer_stop(lane->resume_timer);
	if (atomic_fetch_sub(&s->listening_lanes, 1) == 1)
		for (size_t i = 0; i < s->fd_count; i++)
			fd_close(s->fds[i]);
}

static void
drain_lane(struct http_lane *lane)
{
	struct http_connection *c, *following;

	stop_listening(lane);
	LIST_FOREACH (&lane->connections, c, following, link)
		http_connection_drain(c);
}

static void
run_drain(struct http_hub *h, struct http_message *m)
{
	struct http_lane_drain *d = CONTAINER_OF(m, struct http_lane_drain, message);

	if (d->lane) {
		d->lane->drain = NULL;
		if (h)
			drain_lane(d->lane);
	}
	free(d);
}

void
http_server_drain(struct http_server *s)
{
	if (atomic_exchange(&s->is_draining, true))
		return;
	for (unsigned i = 0; i < s->lane_count; i++) {
		struct http_lane *lane = &s->lanes[i];

		if (http_hub_is_mine(lane->hub)) {
			drain_lane(lane);
			continue;
		}
		lane->drain = xcalloc(1, sizeof(*lane->drain));
		lane->drain->lane = lane;
		lane->drain->message.run = run_drain;
		if (!http_hub_post(lane->hub, &lane->drain->message))
			free(TAKE(lane->drain));
	}
}

bool
http_server_is_idle(struct http_server *s)
{
	return atomic_load(&s->exchanges) == 0;
}

static void
make_metrics(struct http_server *s)
{
	static const char *const classes[] = { "cut", "1xx", "2xx", "3xx", "4xx", "5xx" };
	char labels[128];

	for (unsigned i = 0; i < ARRAY_SIZE(classes); i++) {
		snprintf(
		    labels, sizeof(labels), "server=\"%s\",status=\"%s\"", s->name, classes[i]);
		s->requests[i] = metric_counter(
		    "mallee_http_requests_total", labels, "Requests by class of status");
	}
	snprintf(labels, sizeof(labels), "server=\"%s\"", s->name);
	s->in_flight =
	    metric_gauge("mallee_http_requests_in_flight", labels, "Requests being answered");
	s->open = metric_gauge("mallee_http_connections", labels, "Open connections");
	s->latency = metric_histogram("mallee_http_request_seconds", labels,
	    "From a request's first byte to its reply's last");
}

static void
set_defaults(struct http_server *s, const struct http_server_options *options)
{
	struct http_server_options *o = &s->options;

	*o = *options;
	s->name = xstrdup(o->name ? o->name : "http");
	s->server_header = o->server_header ? xstrdup(o->server_header) : NULL;
	o->name = s->name;
	o->server_header = s->server_header;
	o->connections_max = o->connections_max ? o->connections_max : DEFAULT_CONNECTIONS;
	o->head_timeout_ms = o->head_timeout_ms ? o->head_timeout_ms : 10000;
	o->idle_timeout_ms = o->idle_timeout_ms ? o->idle_timeout_ms : 60000;
	o->body_min_rate = o->body_min_rate ? o->body_min_rate : 1024;
	o->body_rate_window_ms = o->body_rate_window_ms ? o->body_rate_window_ms : 30000;
	s->log = (struct log){ .daemon = s->name };
}

static void *
lane_thread(void *arg)
{
	struct http_lane *lane = arg;

	loop_run(lane->own_loop);
	return NULL;
}

static int
lane_init(struct http_server *s, struct http_lane *lane, struct loop *loop, struct err *e)
{
	int r;

	lane->server = s;
	lane->closed = on_closed;
	list_init(&lane->connections);
	if (s->options.threads > 0) {
		r = loop_new(&lane->own_loop, e);
		if (r < 0)
			return r;
		loop = lane->own_loop;
	}
	lane->hub = http_hub_get(loop, e);
	if (!lane->hub)
		return e ? e->code : ERR_IO;
	lane->resume_timer = loop_timer_new(loop, on_resume_timer, lane);
	lane->listeners = xcalloc(s->fd_count, sizeof(*lane->listeners));
	for (size_t i = 0; i < s->fd_count; i++)
		lane->listeners[i] = (struct http_listener){ .lane = lane, .fd = s->fds[i] };
	return 0;
}

static int
lane_start(struct http_lane *lane, struct err *e)
{
	int r;

	lane->is_listening = true;
	atomic_fetch_add(&lane->server->listening_lanes, 1);
	resume_accepting(lane);
	if (!lane->own_loop)
		return 0;
	r = pthread_create(&lane->thread, NULL, lane_thread, lane);
	if (r != 0)
		return err_set_errno(e, r, "cannot start a thread");
	lane->is_running = true;
	return 0;
}

int
http_server_new(struct loop *loop, const struct http_server_options *options, const int *fds,
    size_t fd_count, struct http_server **ret, struct err *e)
{
	struct err local = { 0 };
	struct http_server *s = xcalloc(1, sizeof(*s));
	int r = 0;

	assert(options->handler.head && (options->tls_mode == HTTP_PLAIN || options->tls));
	set_defaults(s, options);
	s->fds = xmemdup(fds, fd_count * sizeof(*fds));
	s->fd_count = fd_count;
	for (size_t i = 0; i < fd_count; i++)
		(void)fd_set_nonblocking(fds[i], true);
	make_metrics(s);
	s->lane_count = options->threads ? options->threads : 1;
	s->lanes = xcalloc(s->lane_count, sizeof(*s->lanes));
	if (s->options.tls)
		(void)tls_ref(s->options.tls);
	for (unsigned i = 0; i < s->lane_count && r == 0; i++)
		r = lane_init(s, &s->lanes[i], loop, &local);
	for (unsigned i = 0; i < s->lane_count && r == 0; i++)
		r = lane_start(&s->lanes[i], &local);
	if (r < 0) {
		if (e)
			*e = local;
		http_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

static void
lane_done(struct http_lane *lane)
{
	struct http_connection *c, *following;

	if (!lane->hub) {
		loop_free(lane->own_loop);
		return;
	}
	stop_listening(lane);
	LIST_FOREACH (&lane->connections, c, following, link)
		http_connection_destroy(c);
	if (lane->drain)
		lane->drain->lane = NULL;
	loop_timer_free(lane->resume_timer);
	http_hub_put(lane->hub);
	free(lane->listeners);
	loop_free(lane->own_loop);
}

void
http_server_free(struct http_server *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->lane_count; i++) {
		if (!s->lanes[i].is_running)
			continue;
		loop_stop(s->lanes[i].own_loop);
		(void)pthread_join(s->lanes[i].thread, NULL);
	}
	for (unsigned i = 0; i < s->lane_count; i++)
		lane_done(&s->lanes[i]);
	tls_unref(s->options.tls);
	free(s->lanes);
	free(s->fds);
	free(s->name);
	free(s->server_header);
	free(s);
}
