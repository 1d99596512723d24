/* Connections: a request is read whole (bounded) and handed on; answers and events go out. Whoever
 * answers names the request, because its connection may be gone by then. */
#include "helper/helper.h"

#include <errno.h>
#include <sys/socket.h>
#include "run/fd.h"

#define SEND_TIMEOUT_MS 2000

struct connection {
	struct list link;
	struct helper *helper;
	uint64_t number;
	int fd;
	struct loop_watch *watch;
	struct helper_header header;
	size_t header_filled;
	char *payload; /* malloc'ed: aligned for any struct */
	size_t payload_filled;
};

static void
connection_close(struct connection *c)
{
	loop_watch_free(c->watch);
	list_remove(&c->link);
	c->helper->connection_count--;
	log_info(c->helper->log, "helper.disconnected", "connection=%llu",
	    (unsigned long long)c->number);
	fd_close(c->fd);
	free(c->payload);
	free(c);
}

/* -- answers -- */

static void
send_frame(struct connection *c, const struct ticket *t, bool is_error, const void *payload,
    size_t n, const int *fds, size_t fd_count)
{
	const struct helper_header header = { .magic = HELPER_MAGIC,
		.version = HELPER_VERSION,
		.verb = t->verb,
		.serial = t->serial,
		.length = (uint32_t)n,
		.is_error = is_error };
	struct err e = { 0 };

	if (helper_frame_send(c->fd, &header, (struct str){ payload, n }, fds, fd_count,
		SEND_TIMEOUT_MS, &e) < 0) {
		log_warn(c->helper->log, "helper.send", "connection=%llu error=\"%s\"",
		    (unsigned long long)c->number, e.text);
		/* The reader sees the end and frees the connection; we may be inside its callback.
		 */
		(void)shutdown(c->fd, SHUT_RDWR);
	}
}

static struct connection *
find_connection(struct helper *h, uint64_t number)
{
	struct connection *c, *following;

	LIST_FOREACH (&h->connections, c, following, link)
		if (c->number == number)
			return c;
	return NULL;
}

void
helper_reply(struct helper *h, const struct ticket *t, const void *payload, size_t n,
    const int *fds, size_t fd_count)
{
	struct connection *c = find_connection(h, t->connection);

	if (c)
		send_frame(c, t, false, payload, n, fds, fd_count);
}

/* Messages may reach a guest's owner by way of libvirt: only what helper_payload_check lets pass.
 */
void
helper_copy_printable(char *out, size_t size, const char *in)
{
	size_t n = 0;

	for (; *in && n + 1 < size; in++)
		out[n++] = *in >= ' ' && *in <= '~' ? *in : '?';
	memset(out + n, 0, size - n);
}

void
helper_reply_error(struct helper *h, const struct ticket *t, const struct err *e)
{
	struct connection *c = find_connection(h, t->connection);
	struct helper_error out = { 0 };

	log_warn(h->log, "helper.refused", "verb=%s code=%s error=\"%s\"",
	    helper_verb_name(t->verb), fault_name(e->code), e->text);
	if (!c)
		return;
	helper_copy_printable(out.fault, sizeof(out.fault), fault_name(e->code));
	helper_copy_printable(out.text, sizeof(out.text), e->text);
	send_frame(c, t, true, &out, sizeof(out), NULL, 0);
}

void
helper_event(struct helper *h, enum helper_verb verb, const void *payload, size_t n)
{
	const struct ticket t = { .verb = (uint16_t)verb };
	struct connection *c, *following;

	LIST_FOREACH (&h->connections, c, following, link)
		send_frame(c, &t, false, payload, n, NULL, 0);
}

/* -- requests -- */

/* Reads what is there: 1 when a whole request is, 0 when more is needed, negative at the end.
 * Requests carry no descriptors: MSG_CTRUNC closes what comes. */
static int
connection_read(struct connection *c, struct err *e)
{
	for (;;) {
		bool in_header = c->header_filled < sizeof(c->header);
		char *to = in_header ? (char *)&c->header + c->header_filled
				     : c->payload + c->payload_filled;
		size_t want = in_header ? sizeof(c->header) - c->header_filled
					: c->header.length - c->payload_filled;
		ssize_t n;
		int r;

		if (!in_header && want == 0)
			return 1;
		n = recv(c->fd, to, want, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return err_set_errno(e, errno, "cannot read");
		if (n == 0)
			return err_set(e, ERR_CANCELLED, "closed");
		if (!in_header) {
			c->payload_filled += (size_t)n;
			continue;
		}
		c->header_filled += (size_t)n;
		if (c->header_filled < sizeof(c->header))
			continue;
		r = helper_header_check(&c->header, e);
		if (r < 0)
			return r;
		c->payload = xcalloc(1, c->header.length + 1);
		c->payload_filled = 0;
	}
}

static void
connection_ready(void *arg, uint32_t events)
{
	struct connection *c = arg;
	struct err e = { 0 };
	int r;

	/* One request per turn, so that several connections and timers get theirs. */
	r = connection_read(c, &e);
	if (r < 0) {
		if (r != ERR_CANCELLED)
			log_warn(c->helper->log, "helper.protocol", "connection=%llu error=\"%s\"",
			    (unsigned long long)c->number, e.text);
		connection_close(c);
	} else if (r > 0) {
		_cleanup_free_ char *payload = TAKE(c->payload);
		const struct ticket t = { c->number, c->header.serial, c->header.verb };

		c->header_filled = 0;
		c->helper->serve(c->helper, &t, (struct str){ payload, c->header.length });
	}
}

void
helper_connect(struct helper *h, int fd)
{
	struct connection *c = xcalloc(1, sizeof(*c));

	c->helper = h;
	c->number = ++h->last_connection;
	c->fd = fd;
	c->watch = loop_watch_new(h->loop, c->fd, EPOLLIN, connection_ready, c);
	list_add_tail(&h->connections, &c->link);
	h->connection_count++;
}

void
helper_disconnect(struct helper *h)
{
	struct connection *c, *following;

	LIST_FOREACH (&h->connections, c, following, link)
		connection_close(c);
}
