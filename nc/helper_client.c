/* The helper's client. The loop thread owns the socket for reading and for connecting; callers
 * write their request under the lock (a frame is never torn) and sleep on their own condition until
 * the loop brings the reply with their serial. */
#include "helper_client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/list.h"
#include "run/fd.h"
#include "run/lock.h"

#define RETRY_MS 250
#define SEND_TIMEOUT_MS 5000

struct call {
	struct list link;
	uint32_t serial;
	unsigned verb;
	bool is_done;
	int result;
	struct err err;
	struct helper_reply reply;
	pthread_cond_t ready;
};

struct helper_client {
	struct loop *loop;
	const struct log *log;
	struct helper_client_options options;
	char *path;
	struct lock lock;
	int fd;               /* under lock for writing; -1: not connected */
	uint32_t last_serial; /* under lock */
	struct list calls;    /* under lock */
	bool is_ending;       /* under lock */
	/* the loop's own */
	struct loop_watch *watch;
	struct loop_timer *retry;
	struct helper_header header;
	size_t header_filled, payload_filled;
	char *payload;
	int fds[HELPER_REPLY_FDS_MAX];
	size_t fd_count;
	bool was_up;
	bool has_complained;
};

void
helper_reply_done(struct helper_reply *r)
{
	free(r->payload);
	for (size_t i = 0; i < r->fd_count; i++)
		fd_close(r->fds[i]);
	*r = (struct helper_reply){ 0 };
}

/* -- calls -- */

static void
call_finish_locked(struct call *call, int result)
{
	list_remove(&call->link);
	call->is_done = true;
	call->result = result;
	pthread_cond_signal(&call->ready);
}

static void
fail_all(struct helper_client *c, int code, const char *why)
{
	struct call *call, *following;

	LOCK_SCOPE(&c->lock);
	LIST_FOREACH (&c->calls, call, following, link) {
		err_set(&call->err, code, "%s", why);
		call_finish_locked(call, code);
	}
}

int
helper_call(struct helper_client *c, enum helper_verb verb, const void *payload, size_t n,
    uint32_t timeout_ms, struct helper_reply *ret, struct err *e)
{
	struct helper_header header = { .magic = HELPER_MAGIC,
		.version = HELPER_VERSION,
		.verb = (uint16_t)verb,
		.length = (uint32_t)n };
	uint64_t until = clock_monotonic_ms() + timeout_ms;
	struct call call = { .verb = verb, .ready = PTHREAD_COND_INITIALIZER };
	int r;

	assert(!loop_is_current(c->loop));
	lock_take(&c->lock);
	if (c->fd < 0 || c->is_ending) {
		bool is_ending = c->is_ending;

		lock_release(&c->lock);
		if (is_ending)
			return err_set(e, ERR_CANCELLED, "the node controller stops");
		return err_set(e, ERR_UNAVAILABLE, "the node's helper is not there");
	}
	header.serial = call.serial =
	    ++c->last_serial ? c->last_serial : ++c->last_serial; /* 0 is for events */
	list_add_tail(&c->calls, &call.link);
	r = helper_frame_send(
	    c->fd, &header, (struct str){ payload, n }, NULL, 0, SEND_TIMEOUT_MS, &call.err);
	if (r < 0) {
		/* The frame may be half written: this connection is of no use any more. */
		(void)shutdown(c->fd, SHUT_RDWR);
		call_finish_locked(&call, ERR_UNAVAILABLE);
	}
	while (!call.is_done) {
		uint64_t now = clock_monotonic_ms();

		if (now >= until) {
			r = err_set(&call.err, ERR_TIMEOUT,
			    "the helper did not answer '%s' in time", helper_verb_name(verb));
			call_finish_locked(&call, r);
			break;
		}
		(void)lock_wait(&c->lock, &call.ready, (int)(until - now));
	}
	lock_release(&c->lock);

	if (call.result < 0) {
		helper_reply_done(&call.reply);
		if (e)
			*e = call.err;
		if (e)
			e->code = call.result;
		return call.result;
	}
	if (ret)
		*ret = call.reply;
	else
		helper_reply_done(&call.reply);
	return 0;
}

bool
helper_client_is_up(struct helper_client *c)
{
	LOCK_SCOPE(&c->lock);

	return c->fd >= 0;
}

/* -- reading, on the loop -- */

static void
drop_frame(struct helper_client *c)
{
	free(TAKE(c->payload));
	for (size_t i = 0; i < c->fd_count; i++)
		fd_close(c->fds[i]);
	c->fd_count = 0;
	c->header_filled = c->payload_filled = 0;
}

static void
disconnect(struct helper_client *c, const char *why)
{
	int fd;

	loop_watch_free(c->watch);
	c->watch = NULL;
	drop_frame(c);
	{
		LOCK_SCOPE(&c->lock);
		fd = TAKE_FD(c->fd);
	}
	fd_close(fd);
	fail_all(c, ERR_UNAVAILABLE, "the node's helper went away");
	if (c->was_up) {
		c->was_up = false;
		log_warn(c->log, "helper.lost", "why=\"%s\"", why);
		if (c->options.link)
			c->options.link(c->options.arg, false, why);
	}
	loop_timer_set(c->retry, RETRY_MS);
}

static void
take_event(struct helper_client *c)
{
	struct str payload = { c->payload, c->header.length };
	struct err e = { 0 };

	if (helper_payload_check(c->header.verb, true, payload, &e) < 0) {
		log_warn(c->log, "helper.event", "error=\"%s\"", e.text);
		return;
	}
	if (c->header.verb == HELPER_EVENT_LIFECYCLE && c->options.lifecycle)
		c->options.lifecycle(c->options.arg,
		    &((const struct helper_lifecycle *)(const void *)c->payload)->guest);
	if (c->header.verb == HELPER_EVENT_HEALTH && c->options.health)
		c->options.health(c->options.arg, (const void *)c->payload);
}

static void
fill_call(struct helper_client *c, struct call *call)
{
	struct str payload = { c->payload, c->header.length };
	const struct helper_error *error = (const void *)c->payload;

	if (c->header.is_error) {
		int code = ERR_INTERNAL;

		if (payload.n != sizeof(*error) || !memchr(error->fault, 0, sizeof(error->fault)) ||
		    !memchr(error->text, 0, sizeof(error->text)))
			err_set(&call->err, code, "the helper's error is ill-formed");
		else {
			code = fault_from_name(error->fault);
			err_set(&call->err, code, "%s", error->text);
		}
		call_finish_locked(call, code);
		return;
	}
	if (call->verb != c->header.verb ||
	    helper_payload_check(c->header.verb, true, payload, &call->err) < 0) {
		err_set(&call->err, ERR_INTERNAL, "the helper's answer is ill-formed");
		call_finish_locked(call, ERR_INTERNAL);
		return;
	}
	call->reply.payload = TAKE(c->payload);
	call->reply.length = c->header.length;
	memcpy(call->reply.fds, c->fds, sizeof(call->reply.fds));
	call->reply.fd_count = c->fd_count;
	c->fd_count = 0;
	call_finish_locked(call, 0);
}

static void
take_frame(struct helper_client *c)
{
	struct call *call, *following;

	if (c->header.serial == 0) {
		take_event(c);
		return;
	}
	LOCK_SCOPE(&c->lock);
	LIST_FOREACH (&c->calls, call, following, link)
		if (call->serial == c->header.serial) {
			fill_call(c, call);
			return;
		}
	/* Nobody waits any more: the caller's time was over. */
}

static ssize_t
receive_header(struct helper_client *c)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * HELPER_REPLY_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (char *)&c->header + c->header_filled,
		sizeof(c->header) - c->header_filled };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return n;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (c->fd_count < HELPER_REPLY_FDS_MAX)
				c->fds[c->fd_count++] = fd;
			else
				fd_close(fd);
		}
	}
	return n;
}

static void
readable(void *arg, uint32_t events)
{
	struct helper_client *c = arg;
	struct err e = { 0 };

	for (;;) {
		bool in_header = c->header_filled < sizeof(c->header);
		ssize_t n;

		if (!in_header && c->payload_filled == c->header.length) {
			take_frame(c);
			drop_frame(c);
			continue;
		}
		n = in_header ? receive_header(c)
			      : recv(c->fd, c->payload + c->payload_filled,
				    c->header.length - c->payload_filled, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			disconnect(c, n < 0 ? strerror(errno) : "it closed the connection");
			return;
		}
		if (!in_header) {
			c->payload_filled += (size_t)n;
			continue;
		}
		c->header_filled += (size_t)n;
		if (c->header_filled < sizeof(c->header))
			continue;
		if (helper_header_check(&c->header, &e) < 0) {
			disconnect(c, e.text);
			return;
		}
		c->payload = xcalloc(1, c->header.length + 1);
	}
}

/* -- connecting, on the loop -- */

static int
open_socket(struct helper_client *c, struct err *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	if (strlen(c->path) >= sizeof(address.sun_path))
		return err_set(
		    e, ERR_INVALID, "path of the helper's socket is too long: '%s'", c->path);
	strcpy(address.sun_path, c->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_set_errno(e, errno, "cannot connect to the helper at '%s'", c->path);
	return TAKE_FD(fd);
}

static void
try_connect(void *arg)
{
	struct helper_client *c = arg;
	struct err e = { 0 };
	int fd = open_socket(c, &e);

	if (fd < 0) {
		if (!c->has_complained) {
			log_warn(c->log, "helper.absent", "error=\"%s\"", e.text);
			if (c->options.link)
				c->options.link(c->options.arg, false, e.text);
		}
		c->has_complained = true;
		loop_timer_set(c->retry, RETRY_MS);
		return;
	}
	c->has_complained = false;
	{
		LOCK_SCOPE(&c->lock);
		c->fd = fd;
	}
	c->was_up = true;
	c->watch = loop_watch_new(c->loop, fd, EPOLLIN, readable, c);
	log_info(c->log, "helper.connected", "path=%s", c->path);
	if (c->options.link)
		c->options.link(c->options.arg, true, "");
}

int
helper_client_new(struct loop *loop, const struct log *log,
    const struct helper_client_options *options, struct helper_client **ret, struct err *e)
{
	struct helper_client *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->log = log;
	c->options = *options;
	c->path = xstrdup(options->path);
	c->fd = -1;
	lock_init(&c->lock, LOCK_PEERS);
	list_init(&c->calls);
	c->retry = loop_timer_new(loop, try_connect, c);
	loop_timer_set(c->retry, 0);
	*ret = c;
	return 0;
}

void
helper_client_cancel(struct helper_client *c)
{
	{
		LOCK_SCOPE(&c->lock);
		c->is_ending = true;
	}
	fail_all(c, ERR_CANCELLED, "the node controller stops");
}

void
helper_client_free(struct helper_client *c)
{
	if (!c)
		return;
	helper_client_cancel(c);
	loop_watch_free(c->watch);
	loop_timer_free(c->retry);
	drop_frame(c);
	fd_close(c->fd);
	lock_done(&c->lock);
	free(c->path);
	free(c);
}
