/* Netlink sockets. One socket belongs to one namespace and one protocol and is used by one thread,
 * so requests and answers alternate and a sequence number is enough to tell them apart.
 * Acknowledgements do not carry the request back (NETLINK_CAP_ACK), so even a failed batch of
 * thousands of messages answers within the receive buffer. A receive timeout turns a kernel that
 * never answers into an error instead of a stuck helper. */
#include "helper/netlink.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define RECEIVE_TIMEOUT_S 10
#define SEND_BUFFER (64 * 1024 * 1024)
#define RECEIVE_BUFFER (8 * 1024 * 1024)

struct netlink {
	struct mnl_socket *socket;
	uint32_t sequence;
	char message[NETLINK_MESSAGE_MAX];
	char answer[64 * 1024];
};

int
netlink_open(int protocol, struct netlink **ret_netlink)
{
	_cleanup_(netlink_freep) struct netlink *n = xcalloc(1, sizeof(*n));
	struct timeval timeout = { .tv_sec = RECEIVE_TIMEOUT_S };
	int one = 1, send = SEND_BUFFER, receive = RECEIVE_BUFFER, fd;

	n->socket = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!n->socket)
		return -errno;
	if (mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	fd = mnl_socket_get_fd(n->socket);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one)) < 0)
		return -errno;
	/* Best effort: without them only very large transactions fail. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send, sizeof(send));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof(receive));
	n->sequence = 1;
	*ret_netlink = TAKE(n);
	return 0;
}

void
netlink_free(struct netlink *n)
{
	if (!n)
		return;
	if (n->socket)
		mnl_socket_close(n->socket);
	free(n);
}

struct nlmsghdr *
netlink_message(
    struct netlink *n, uint16_t type, uint16_t flags, const void *header, size_t header_size)
{
	struct nlmsghdr *h;

	memset(n->message, 0, MNL_NLMSG_HDRLEN + MNL_ALIGN(header_size));
	h = mnl_nlmsg_put_header(n->message);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = ++n->sequence;
	memcpy(mnl_nlmsg_put_extra_header(h, header_size), header, header_size);
	return h;
}

/* One message off the socket into the walk; 1 when the answer to `sequence` is complete. */
static int
take(const struct nlmsghdr *h, uint32_t sequence, int (*fn)(const struct nlmsghdr *, void *),
    void *arg)
{
	int r;

	if (h->nlmsg_seq != sequence)
		return 0; /* late answer to something given up */
	if (h->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = mnl_nlmsg_get_payload(h);

		if (h->nlmsg_len < mnl_nlmsg_size(sizeof(*error)))
			return -EBADMSG;
		return error->error < 0 ? error->error : 1;
	}
	if (h->nlmsg_type == NLMSG_DONE)
		return 1;
	if (h->nlmsg_type < NLMSG_MIN_TYPE)
		return 0;
	r = fn ? fn(h, arg) : 0;
	if (r < 0)
		return r;
	return h->nlmsg_flags & NLM_F_MULTI ? 0 : 1;
}

static int
receive(struct netlink *n, uint32_t sequence, bool until_ack,
    int (*fn)(const struct nlmsghdr *, void *), void *arg)
{
	int failed = 0;

	for (;;) {
		ssize_t got = mnl_socket_recvfrom(n->socket, n->answer, sizeof(n->answer));
		const struct nlmsghdr *h = (const struct nlmsghdr *)n->answer;
		int left;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		for (left = (int)got; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			int r = take(h, sequence, failed ? NULL : fn, arg);

			if (r == 1 && until_ack && h->nlmsg_type >= NLMSG_MIN_TYPE)
				continue; /* an answer before its acknowledgement */
			if (r == 1)
				return failed;
			if (r < 0 &&
			    (h->nlmsg_type == NLMSG_ERROR || !(h->nlmsg_flags & NLM_F_MULTI)))
				return r;
			if (r < 0)
				failed = r; /* drain the dump: the socket is used again */
		}
	}
}

int
netlink_request(struct netlink *n, struct nlmsghdr *h)
{
	assert(h->nlmsg_len <= NETLINK_MESSAGE_MAX);
	h->nlmsg_flags |= NLM_F_ACK;
	if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
		return -errno;
	return receive(n, h->nlmsg_seq, true, NULL, NULL);
}

int
netlink_query(
    struct netlink *n, struct nlmsghdr *h, int (*fn)(const struct nlmsghdr *, void *), void *arg)
{
	assert(h->nlmsg_len <= NETLINK_MESSAGE_MAX);
	if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
		return -errno;
	return receive(n, h->nlmsg_seq, false, fn, arg);
}

void
netlink_batch_done(struct netlink_batch *b)
{
	free(b->p);
	*b = (struct netlink_batch){ 0 };
}

struct nlmsghdr *
netlink_batch_begin(
    struct netlink_batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr *h;
	struct nfgenmsg *g;

	if (b->size - b->n < NETLINK_BATCH_MESSAGE_MAX) {
		b->size = b->size * 2 + NETLINK_BATCH_MESSAGE_MAX;
		b->p = xrealloc(b->p, b->size);
	}
	memset(b->p + b->n, 0, mnl_nlmsg_size(sizeof(*g)));
	h = mnl_nlmsg_put_header(b->p + b->n);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = b->count++; /* made absolute when sent */
	g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	g->res_id = htons(resource);
	return h;
}

void
netlink_batch_end(struct netlink_batch *b, struct nlmsghdr *h)
{
	assert((char *)h == b->p + b->n && h->nlmsg_len < NETLINK_BATCH_MESSAGE_MAX);
	b->n += MNL_ALIGN(h->nlmsg_len);
}

int
netlink_batch_send(struct netlink *n, struct netlink_batch *b, uint32_t last, uint32_t *ret_failed)
{
	uint32_t base = n->sequence + 1;
	int failed = 0;

	for (size_t at = 0; at < b->n;) {
		struct nlmsghdr *h = (struct nlmsghdr *)(b->p + at);

		h->nlmsg_seq += base;
		if (h->nlmsg_seq == base + last)
			h->nlmsg_flags |= NLM_F_ACK;
		at += MNL_ALIGN(h->nlmsg_len);
	}
	n->sequence = base + b->count;
	if (mnl_socket_sendto(n->socket, b->p, b->n) < 0)
		return -errno;

	for (;;) {
		ssize_t got = mnl_socket_recvfrom(n->socket, n->answer, sizeof(n->answer));
		const struct nlmsghdr *h = (const struct nlmsghdr *)n->answer;
		int left;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return failed ? failed : errno == EAGAIN ? -ETIMEDOUT : -errno;
		for (left = (int)got; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *error = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq - base >= b->count ||
			    h->nlmsg_len < mnl_nlmsg_size(sizeof(*error)))
				continue;
			if (error->error < 0 && !failed) {
				failed = error->error;
				*ret_failed = h->nlmsg_seq - base;
			}
			/* Failure of the batch as a whole is said of its first message. */
			if (h->nlmsg_seq == base + last ||
			    (h->nlmsg_seq == base && error->error < 0))
				return failed;
		}
	}
}
