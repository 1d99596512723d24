/* The DHCP server's half of RFC 2131. A guest may have exactly the address of its NIC: DISCOVER and
 * a REQUEST for it are granted, a REQUEST for any other is refused (NAK), so that a disk image that
 * remembers another lease corrects itself at once. RELEASE and DECLINE change nothing. */
#include "dhcp.h"
#include <arpa/inet.h>
#include <string.h>

#define COOKIE 0x63825363U
#define FIXED_SIZE 236 /* before the cookie */
#define OPTIONS_AT 240
#define REPLY_MIN 300 /* BOOTP clients drop shorter ones */
#define IDENTIFIER_MAX 255

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6, INFORM = 8 };
enum { OP_REQUEST = 1, OP_REPLY = 2, ETHERNET = 1 };
enum {
	OPT_PAD = 0,
	OPT_MASK = 1,
	OPT_ROUTER = 3,
	OPT_RESOLVER = 6,
	OPT_HOSTNAME = 12,
	OPT_DOMAIN = 15,
	OPT_MTU = 26,
	OPT_BROADCAST = 28,
	OPT_REQUESTED = 50,
	OPT_LEASE = 51,
	OPT_OVERLOAD = 52,
	OPT_TYPE = 53,
	OPT_SERVER = 54,
	OPT_RENEW = 58,
	OPT_REBIND = 59,
	OPT_IDENTIFIER = 61,
	OPT_END = 255,
};
/* Offsets of the fixed part. */
enum {
	AT_HTYPE = 1,
	AT_HLEN = 2,
	AT_XID = 4,
	AT_FLAGS = 10,
	AT_CIADDR = 12,
	AT_YIADDR = 16,
	AT_GIADDR = 24,
	AT_CHADDR = 28,
	AT_SNAME = 44,
	AT_FILE = 108
};
enum { SNAME_SIZE = 64, FILE_SIZE = 128 };

struct request {
	uint8_t type;
	uint8_t overload;
	bool has_requested, has_server;
	struct in_addr requested, server;
	uint8_t identifier[IDENTIFIER_MAX];
	uint8_t identifier_size; /* 0: none */
};

static bool
parse_options(const uint8_t *p, size_t n, struct request *q)
{
	for (size_t i = 0; i < n && p[i] != OPT_END;) {
		const uint8_t *value = p + i + 2;
		uint8_t size;

		if (p[i] == OPT_PAD) {
			i++;
			continue;
		}
		if (n - i < 2 || n - i - 2 < p[i + 1])
			return false;
		size = p[i + 1];
		switch (p[i]) {
		case OPT_TYPE:
			if (size != 1)
				return false;
			q->type = value[0];
			break;
		case OPT_OVERLOAD:
			if (size != 1)
				return false;
			q->overload = value[0];
			break;
		case OPT_REQUESTED:
			if (size != 4)
				return false;
			memcpy(&q->requested, value, 4);
			q->has_requested = true;
			break;
		case OPT_SERVER:
			if (size != 4)
				return false;
			memcpy(&q->server, value, 4);
			q->has_server = true;
			break;
		case OPT_IDENTIFIER:
			memcpy(q->identifier, value, size);
			q->identifier_size = size;
			break;
		default:
			break;
		}
		i += 2U + size;
	}
	return true;
}

static bool
parse(const struct dhcp_lease *lease, const uint8_t *p, size_t n, struct request *q)
{
	uint32_t cookie, relay;

	if (n <= OPTIONS_AT || p[0] != OP_REQUEST || p[AT_HTYPE] != ETHERNET || p[AT_HLEN] != 6 ||
	    memcmp(p + AT_CHADDR, lease->mac, 6) != 0)
		return false;
	memcpy(&cookie, p + FIXED_SIZE, 4);
	memcpy(&relay, p + AT_GIADDR, 4);
	if (ntohl(cookie) != COOKIE || relay != 0)
		return false;
	if (!parse_options(p + OPTIONS_AT, n - OPTIONS_AT, q))
		return false;
	if (q->overload & 1 && !parse_options(p + AT_FILE, FILE_SIZE, q))
		return false;
	return !(q->overload & 2) || parse_options(p + AT_SNAME, SNAME_SIZE, q);
}

/* What to answer: OFFER, ACK, NAK, or 0 for silence (RFC 2131 section 4.3). */
static uint8_t
decide(const struct dhcp_lease *lease, const struct request *q, struct in_addr client)
{
	switch (q->type) {
	case DISCOVER:
		return OFFER;
	case INFORM:
		return client.s_addr ? ACK : 0;
	case REQUEST:
		if (q->has_server && q->server.s_addr != lease->gateway.s_addr)
			return 0; /* the client took another server's offer */
		if (q->has_requested)
			return q->requested.s_addr == lease->address.s_addr ? ACK : NAK;
		if (client.s_addr)
			return client.s_addr == lease->address.s_addr ? ACK : NAK;
		return 0;
	default:
		return 0;
	}
}

struct writer {
	uint8_t *p;
	size_t n;
};

static void
add(struct writer *w, uint8_t option, const void *value, size_t size)
{
	if (size > 255 || w->n + size + 3 > DHCP_REPLY_MAX)
		return; /* only names can be long, and they are not vital */
	w->p[w->n++] = option;
	w->p[w->n++] = (uint8_t)size;
	memcpy(w->p + w->n, value, size);
	w->n += size;
}

static void
add_u32(struct writer *w, uint8_t option, uint32_t value)
{
	value = htonl(value);
	add(w, option, &value, sizeof(value));
}

static void
add_configuration(struct writer *w, const struct dhcp_lease *lease)
{
	uint32_t mask = lease->prefix ? ~0U << (32 - lease->prefix) : 0;
	uint16_t mtu = htons(lease->mtu);

	add_u32(w, OPT_MASK, mask);
	add(w, OPT_ROUTER, &lease->gateway, 4);
	if (lease->resolver.s_addr)
		add(w, OPT_RESOLVER, &lease->resolver, 4);
	add_u32(w, OPT_BROADCAST, ntohl(lease->address.s_addr) | ~mask);
	if (lease->mtu)
		add(w, OPT_MTU, &mtu, 2);
	if (lease->hostname && lease->hostname[0])
		add(w, OPT_HOSTNAME, lease->hostname, strlen(lease->hostname));
	if (lease->domain && lease->domain[0])
		add(w, OPT_DOMAIN, lease->domain, strlen(lease->domain));
}

size_t
dhcp_answer(const struct dhcp_lease *lease, const void *request, size_t request_size,
    uint8_t reply[DHCP_REPLY_MAX], struct in_addr *ret_to)
{
	const uint8_t *in = request;
	struct writer w = { reply, OPTIONS_AT };
	struct request q = { 0 };
	struct in_addr client;
	uint8_t type;
	uint32_t cookie = htonl(COOKIE);

	if (!parse(lease, in, request_size, &q))
		return 0;
	memcpy(&client, in + AT_CIADDR, 4);
	type = decide(lease, &q, client);
	if (!type)
		return 0;

	memset(reply, 0, DHCP_REPLY_MAX);
	reply[0] = OP_REPLY;
	reply[AT_HTYPE] = ETHERNET;
	reply[AT_HLEN] = 6;
	memcpy(reply + AT_XID, in + AT_XID, 4);
	memcpy(reply + AT_FLAGS, in + AT_FLAGS, 2);
	memcpy(reply + AT_CHADDR, in + AT_CHADDR, 16);
	memcpy(reply + FIXED_SIZE, &cookie, 4);
	add(&w, OPT_TYPE, &type, 1);
	add(&w, OPT_SERVER, &lease->gateway, 4);
	if (type != NAK) {
		if (type != ACK || q.type != INFORM) {
			memcpy(reply + AT_YIADDR, &lease->address, 4);
			add_u32(&w, OPT_LEASE, DHCP_LEASE_SECONDS);
			add_u32(&w, OPT_RENEW, DHCP_LEASE_SECONDS / 2);
			add_u32(&w, OPT_REBIND, DHCP_LEASE_SECONDS / 8 * 7);
		}
		if (type == ACK)
			memcpy(reply + AT_CIADDR, in + AT_CIADDR, 4);
		add_configuration(&w, lease);
	}
	if (q.identifier_size) /* RFC 6842 */
		add(&w, OPT_IDENTIFIER, q.identifier, q.identifier_size);
	reply[w.n++] = OPT_END;

	ret_to->s_addr = type == NAK || !client.s_addr ? INADDR_BROADCAST : client.s_addr;
	/* Only to the NIC's own address: anything else would be a packet on a guest's behalf. */
	if (ret_to->s_addr != lease->address.s_addr)
		ret_to->s_addr = INADDR_BROADCAST;
	return w.n < REPLY_MIN ? REPLY_MIN : w.n;
}
