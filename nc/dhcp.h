#pragma once
/* Answers of a DHCP server (RFC 2131, 2132) as a function of one NIC's lease and one request. The
 * NIC is known by where the request came in, so there is nothing to store: the lease is always the
 * same. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP_REPLY_MAX 1024
#define DHCP_LEASE_SECONDS 3600

struct dhcp_lease {
	uint8_t mac[6];
	struct in_addr address, gateway, resolver; /* the gateway is also the server's identity */
	uint8_t prefix;
	uint16_t mtu;
	const char *hostname, *domain; /* NULL: option left out */
};
/* The reply's length and where it goes (broadcast, or an address the client has); 0: no reply.
 * Requests of another hardware address, of a relay, and malformed ones get none. */
size_t dhcp_answer(const struct dhcp_lease *lease, const void *request, size_t request_size,
    uint8_t reply[DHCP_REPLY_MAX], struct in_addr *ret_to);
