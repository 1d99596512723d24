/* DNS over the guests' sockets. A forwarded UDP query gets a socket of its own, connected to the
 * upstream resolver, and a fresh random id: an answer must come from that address to that port with
 * that id and question to be believed. A forwarded TCP query likewise has its own connection.
 * Everything waiting has a limit in number, per guest and in all, and in time. */
#include "dns_service.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/id.h"
#include "base/list.h"
#include "base/strbuf.h"
#include "dns.h"
#include "run/fd.h"
#include "run/fs.h"

#define RESEND_MS 2000
#define FORWARD_MS 5000
#define CONNECTION_MS 10000
#define DATAGRAMS_PER_TURN 32
#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_CONF_MAX (64 * 1024)

struct dns_service {
	struct loop *loop;
	struct sockaddr_in upstream; /* port 0: none */
	unsigned forwards, connections;
};
struct dns_port {
	struct dns_service *service;
	int udp, tcp;
	struct loop_watch *udp_watch, *tcp_watch;
	const char *(*domain)(void *arg, struct in_addr source);
	void *arg;
	struct list forwards, connections;
};

/* -- upstream -- */

static bool
parse_resolver(struct str text, struct sockaddr_in *ret)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct str rest = text, host = { NULL, 0 };
	char copy[INET_ADDRSTRLEN];
	uint16_t port = 53;

	if (!str_split(&rest, ':', &host) || host.n >= sizeof(copy))
		return false;
	if (host.n < text.n && (!str_to_u16(rest, &port) || !port))
		return false;
	memcpy(copy, host.p, host.n);
	copy[host.n] = '\0';
	if (inet_pton(AF_INET, copy, &a.sin_addr) != 1)
		return false;
	a.sin_port = htons(port);
	*ret = a;
	return true;
}

/* The first IPv4 name server; without one there is none. */
static void
read_resolv_conf(struct sockaddr_in *ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct str rest, line;

	if (fs_read(RESOLV_CONF, RESOLV_CONF_MAX, &text, NULL) < 0)
		return;
	rest = strbuf_str(&text);
	while (str_split(&rest, '\n', &line)) {
		static const char key[] = "nameserver";
		struct str value = str_trim(line);

		if (!str_starts(value, key))
			continue;
		value = str_trim(
		    (struct str){ value.p + sizeof(key) - 1, value.n - (sizeof(key) - 1) });
		if (parse_resolver(value, ret))
			return;
	}
}

int
dns_service_new(struct loop *loop, const char *resolver, struct dns_service **ret, struct err *e)
{
	_cleanup_(dns_service_freep) struct dns_service *s = xcalloc(1, sizeof(*s));

	s->loop = loop;
	if (!resolver)
		read_resolv_conf(&s->upstream);
	else if (strcmp(resolver, "none") != 0 && !parse_resolver(str_of(resolver), &s->upstream))
		return err_set(e, ERR_INVALID, "resolver '%s' is not ADDRESS[:PORT]", resolver);
	*ret = TAKE(s);
	return 0;
}

void
dns_service_free(struct dns_service *s)
{
	free(s);
}

static bool
has_upstream(const struct dns_service *s)
{
	return s->upstream.sin_port != 0;
}

static int
connect_upstream(struct dns_service *s, int type)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&s->upstream, sizeof(s->upstream)) < 0 &&
	    errno != EINPROGRESS) {
		fd_close(fd);
		return -1;
	}
	return fd;
}

/* -- UDP -- */

struct forward {
	struct list link;
	struct dns_port *port;
	struct sockaddr_in client;
	uint8_t *query; /* as sent upstream: with our id */
	size_t size;
	uint8_t id[2]; /* the client's */
	int fd;
	struct loop_watch *watch;
	struct loop_timer *timer;
	bool is_resent;
};

static void
forward_free(struct forward *f)
{
	list_remove(&f->link);
	f->port->service->forwards--;
	loop_watch_free(f->watch);
	loop_timer_free(f->timer);
	fd_close(f->fd);
	free(f->query);
	free(f);
}

/* Lost answers are asked for again by the client. */
static void
send_to(struct dns_port *p, const struct sockaddr_in *client, const void *reply, size_t n)
{
	(void)!sendto(p->udp, reply, n, 0, (const struct sockaddr *)client, sizeof(*client));
}

static void
fail_datagram(struct dns_port *p, const struct sockaddr_in *client, const void *query, size_t n)
{
	uint8_t reply[DNS_REPLY_MAX];
	size_t size = dns_failure(query, n, reply);

	if (size)
		send_to(p, client, reply, size);
}

static void
on_forward_reply(void *arg, uint32_t events)
{
	struct forward *f = arg;
	uint8_t reply[DNS_UDP_MAX];
	ssize_t n = recv(f->fd, reply, sizeof(reply), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* refused: nobody listens upstream */
		memcpy(f->query, f->id, 2);
		fail_datagram(f->port, &f->client, f->query, f->size);
		forward_free(f);
		return;
	}
	if (!dns_is_reply_to(reply, (size_t)n, f->query, f->size))
		return;
	memcpy(reply, f->id, 2);
	send_to(f->port, &f->client, reply, (size_t)n);
	forward_free(f);
}

static void
on_forward_timeout(void *arg)
{
	struct forward *f = arg;

	if (!f->is_resent) {
		f->is_resent = true;
		(void)!send(f->fd, f->query, f->size, 0);
		loop_timer_set(f->timer, FORWARD_MS - RESEND_MS);
		return;
	}
	memcpy(f->query, f->id, 2);
	fail_datagram(f->port, &f->client, f->query, f->size);
	forward_free(f);
}

static unsigned
forwards_of(struct dns_port *p, struct in_addr guest)
{
	struct forward *f, *next;
	unsigned n = 0;

	LIST_FOREACH (&p->forwards, f, next, link)
		n += f->client.sin_addr.s_addr == guest.s_addr;
	return n;
}

static bool
forward_datagram(
    struct dns_port *p, const struct sockaddr_in *client, const uint8_t *query, size_t n)
{
	struct dns_service *s = p->service;
	struct forward *f;
	int fd;

	if (!has_upstream(s) || s->forwards >= DNS_FORWARDS_MAX ||
	    forwards_of(p, client->sin_addr) >= DNS_FORWARDS_GUEST_MAX)
		return false;
	fd = connect_upstream(s, SOCK_DGRAM);
	if (fd < 0)
		return false;
	f = xcalloc(1, sizeof(*f));
	f->port = p;
	f->client = *client;
	f->query = xmemdup(query, n);
	f->size = n;
	f->fd = fd;
	memcpy(f->id, query, 2);
	random_bytes(f->query, 2);
	list_add_tail(&p->forwards, &f->link);
	s->forwards++;
	f->watch = loop_watch_new(s->loop, fd, EPOLLIN, on_forward_reply, f);
	f->timer = loop_timer_new(s->loop, on_forward_timeout, f);
	loop_timer_set(f->timer, RESEND_MS);
	(void)!send(fd, f->query, n, 0); /* a failure shows as a missing answer */
	return true;
}

static void
on_datagram(void *arg, uint32_t events)
{
	struct dns_port *p = arg;

	for (unsigned i = 0; i < DATAGRAMS_PER_TURN; i++) {
		uint8_t query[DNS_UDP_MAX], reply[DNS_REPLY_MAX];
		struct sockaddr_in client;
		socklen_t length = sizeof(client);
		const char *domain;
		size_t size = 0;
		ssize_t n = recvfrom(
		    p->udp, query, sizeof(query), MSG_TRUNC, (struct sockaddr *)&client, &length);

		if (n < 0)
			return;
		domain = p->domain(p->arg, client.sin_addr);
		if (!domain || (size_t)n > sizeof(query))
			continue;
		switch (dns_answer(domain, query, (size_t)n, reply, &size)) {
		case DNS_DROP:
			break;
		case DNS_REPLY:
			send_to(p, &client, reply, size);
			break;
		case DNS_FORWARD:
			if (!forward_datagram(p, &client, query, (size_t)n))
				fail_datagram(p, &client, query, (size_t)n);
			break;
		}
	}
}

/* -- TCP -- */

struct connection {
	struct list link;
	struct dns_port *port;
	struct in_addr guest;
	char *domain;
	int fd, upstream; /* upstream -1: none */
	bool is_ended;    /* the client sends no more, and may still wait for answers */
	struct loop_watch *watch, *upstream_watch;
	struct loop_timer *timer; /* of idleness, and of waiting for upstream */
	struct strbuf in, out;    /* of the client */
	struct strbuf up_in, up_out;
};

static void
upstream_close(struct connection *c)
{
	loop_watch_free(c->upstream_watch);
	c->upstream_watch = NULL;
	fd_close(c->upstream);
	c->upstream = -1;
	strbuf_reset(&c->up_in);
	strbuf_reset(&c->up_out);
}

static void
connection_free(struct connection *c)
{
	list_remove(&c->link);
	c->port->service->connections--;
	upstream_close(c);
	loop_watch_free(c->watch);
	loop_timer_free(c->timer);
	fd_close(c->fd);
	strbuf_done(&c->in);
	strbuf_done(&c->out);
	strbuf_done(&c->up_in);
	strbuf_done(&c->up_out);
	free(c->domain);
	free(c);
}

/* A whole length-prefixed message at the front: its size; 0: not yet. */
static size_t
framed(const struct strbuf *b, const uint8_t **ret)
{
	const uint8_t *p = (const uint8_t *)strbuf_c(b);
	size_t size;

	if (b->n < 2)
		return 0;
	size = (size_t)p[0] << 8 | p[1];
	*ret = p + 2;
	return b->n - 2 >= size ? size : 0;
}

static bool
is_framed(const struct strbuf *b)
{
	const uint8_t *p = (const uint8_t *)strbuf_c(b);

	return b->n >= 2 && b->n - 2 >= ((size_t)p[0] << 8 | p[1]);
}

static void
add_framed(struct strbuf *b, const void *p, size_t n)
{
	strbuf_addc(b, (char)(n >> 8));
	strbuf_addc(b, (char)n);
	strbuf_add(b, p, n);
}

/* Sends what waits; false when the peer is gone. */
static bool
flush(int fd, struct strbuf *b)
{
	while (b->n) {
		ssize_t n = send(fd, b->p, b->n, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		strbuf_remove_front(b, (size_t)n);
	}
	return true;
}

/* Reads what is there, at most one message's worth beyond what is held; false at the end. */
static bool
fill(int fd, struct strbuf *b)
{
	char piece[4096];

	while (b->n < DNS_MESSAGE_MAX + 2) {
		ssize_t n = recv(fd, piece, sizeof(piece), 0);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		strbuf_add(b, piece, (size_t)n);
	}
	return true;
}

static void
watch_again(struct connection *c)
{
	/* While a query is upstream the client waits; its next one stays in the socket. */
	uint32_t in = c->upstream < 0 && !c->is_ended ? EPOLLIN : 0;

	loop_watch_set(c->watch, in | (c->out.n ? EPOLLOUT : 0));
	if (c->upstream_watch)
		loop_watch_set(c->upstream_watch, EPOLLIN | (c->up_out.n ? EPOLLOUT : 0));
}

static void on_upstream(void *arg, uint32_t events);

static bool
forward_stream(struct connection *c, const uint8_t *query, size_t n)
{
	struct dns_service *s = c->port->service;

	if (!has_upstream(s))
		return false;
	c->upstream = connect_upstream(s, SOCK_STREAM);
	if (c->upstream < 0)
		return false;
	add_framed(&c->up_out, query, n);
	c->upstream_watch =
	    loop_watch_new(s->loop, c->upstream, EPOLLIN | EPOLLOUT, on_upstream, c);
	return true;
}

/* Answers the queries that are whole; stops at one that went upstream. False: close. */
static bool
serve(struct connection *c)
{
	while (c->upstream < 0 && is_framed(&c->in)) {
		uint8_t reply[DNS_REPLY_MAX];
		const uint8_t *query = NULL;
		size_t n = framed(&c->in, &query), size = 0;

		switch (dns_answer(c->domain, query, n, reply, &size)) {
		case DNS_DROP:
			return false;
		case DNS_REPLY:
			add_framed(&c->out, reply, size);
			break;
		case DNS_FORWARD:
			if (forward_stream(c, query, n))
				return true; /* the query stays in front: the answer is checked by
						it */
			add_framed(&c->out, reply, dns_failure(query, n, reply));
			break;
		}
		strbuf_remove_front(&c->in, n + 2);
	}
	return true;
}

static void
advance(struct connection *c)
{
	loop_timer_set(c->timer, CONNECTION_MS);
	if (!serve(c) || !flush(c->fd, &c->out) || (c->is_ended && c->upstream < 0 && !c->out.n)) {
		connection_free(c);
		return;
	}
	watch_again(c);
}

static void
fail_stream(struct connection *c)
{
	uint8_t reply[DNS_REPLY_MAX];
	const uint8_t *query = NULL;
	size_t n = framed(&c->in, &query);

	add_framed(&c->out, reply, dns_failure(query, n, reply));
	strbuf_remove_front(&c->in, n + 2);
	upstream_close(c);
	advance(c);
}

static void
on_upstream(void *arg, uint32_t events)
{
	struct connection *c = arg;
	const uint8_t *reply = NULL, *query = NULL;
	size_t size, n;
	bool is_open;

	is_open = flush(c->upstream, &c->up_out) && fill(c->upstream, &c->up_in);
	if (!is_framed(&c->up_in)) {
		if (is_open)
			watch_again(c);
		else
			fail_stream(c);
		return;
	}
	size = framed(&c->up_in, &reply);
	n = framed(&c->in, &query);
	if (!dns_is_reply_to(reply, size, query, n)) {
		fail_stream(c);
		return;
	}
	add_framed(&c->out, reply, size);
	strbuf_remove_front(&c->in, n + 2);
	upstream_close(c);
	advance(c);
}

static void
on_connection(void *arg, uint32_t events)
{
	struct connection *c = arg;

	if (events & (EPOLLHUP | EPOLLERR)) {
		connection_free(c);
		return;
	}
	if (events & EPOLLIN && c->upstream < 0 && !fill(c->fd, &c->in))
		c->is_ended = true;
	advance(c);
}

static void
on_connection_timeout(void *arg)
{
	struct connection *c = arg;

	if (c->upstream >= 0)
		fail_stream(c);
	else
		connection_free(c);
}

static unsigned
connections_of(struct dns_port *p, struct in_addr guest)
{
	struct connection *c, *next;
	unsigned n = 0;

	LIST_FOREACH (&p->connections, c, next, link)
		n += c->guest.s_addr == guest.s_addr;
	return n;
}

static void
on_accept(void *arg, uint32_t events)
{
	struct dns_port *p = arg;
	struct dns_service *s = p->service;

	for (;;) {
		struct sockaddr_in client;
		socklen_t length = sizeof(client);
		struct connection *c;
		const char *domain;
		int fd = accept4(
		    p->tcp, (struct sockaddr *)&client, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		domain = p->domain(p->arg, client.sin_addr);
		if (!domain || s->connections >= DNS_CONNECTIONS_MAX ||
		    connections_of(p, client.sin_addr) >= DNS_CONNECTIONS_GUEST_MAX) {
			fd_close(fd);
			continue;
		}
		c = xcalloc(1, sizeof(*c));
		c->port = p;
		c->guest = client.sin_addr;
		c->domain = xstrdup(domain);
		c->fd = fd;
		c->upstream = -1;
		list_add_tail(&p->connections, &c->link);
		s->connections++;
		c->watch = loop_watch_new(s->loop, fd, EPOLLIN, on_connection, c);
		c->timer = loop_timer_new(s->loop, on_connection_timeout, c);
		loop_timer_set(c->timer, CONNECTION_MS);
	}
}

/* -- ports -- */

struct dns_port *
dns_port_new(struct dns_service *s, int udp, int tcp,
    const char *(*domain)(void *arg, struct in_addr source), void *arg)
{
	struct dns_port *p = xcalloc(1, sizeof(*p));

	p->service = s;
	p->udp = udp;
	p->tcp = tcp;
	p->domain = domain;
	p->arg = arg;
	list_init(&p->forwards);
	list_init(&p->connections);
	p->udp_watch = loop_watch_new(s->loop, udp, EPOLLIN, on_datagram, p);
	p->tcp_watch = loop_watch_new(s->loop, tcp, EPOLLIN, on_accept, p);
	return p;
}

void
dns_port_free(struct dns_port *p)
{
	struct forward *f, *next_forward;
	struct connection *c, *next_connection;

	if (!p)
		return;
	LIST_FOREACH (&p->forwards, f, next_forward, link)
		forward_free(f);
	LIST_FOREACH (&p->connections, c, next_connection, link)
		connection_free(c);
	loop_watch_free(p->udp_watch);
	loop_watch_free(p->tcp_watch);
	fd_close(p->udp);
	fd_close(p->tcp);
	free(p);
}
