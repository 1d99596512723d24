#pragma once
/* Devices, addresses, routes and neighbours, as far as the dataplane needs them. All return 0 or a
 * negative errno; creating what is there and removing what is not are both 0. */
#include <net/if.h>
#include <netinet/in.h>
#include "helper/dataplane.h"
#include "helper/netlink.h"

#define RTNL_PROTOCOL 76    /* marks routes and proxy neighbours as ours (rt_protos: unassigned) */
#define RTNL_ALIAS "mallee" /* marks devices as ours */

struct rtnl_link {
	unsigned index;
	unsigned flags; /* IFF_UP ... */
	uint32_t mtu;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	bool is_ours; /* carries RTNL_ALIAS */
	bool has_carrier;
	struct dataplane_counters counters; /* as this device sees them */
};
int rtnl_link_get(struct netlink *n, const char *name, struct rtnl_link *ret); /* -ENODEV */
int rtnl_links(struct netlink *n, void (*fn)(const struct rtnl_link *link, void *arg), void *arg);
/* A pair: `name` here with `mac`, `peer_name` with `peer_mac` in the namespace of peer_netns. */
int rtnl_veth_new(struct netlink *n, const char *name, const uint8_t mac[6], const char *peer_name,
    const uint8_t peer_mac[6], int peer_netns, uint32_t mtu);
int rtnl_link_remove(struct netlink *n, const char *name);
int rtnl_link_move(struct netlink *n, unsigned index, int netns);
int rtnl_link_alias(struct netlink *n, unsigned index);
/* Any of: mac (NULL: leave), mtu (0: leave), up (-1: leave). */
int rtnl_link_set(struct netlink *n, unsigned index, const uint8_t *mac, uint32_t mtu, int up);

int rtnl_address_add(struct netlink *n, unsigned index, struct in_addr a, uint8_t prefix);
int rtnl_address_remove(struct netlink *n, unsigned index, struct in_addr a, uint8_t prefix);

/* Replaces the route to network/prefix. via 0: the destination is on the link. */
int rtnl_route_put(
    struct netlink *n, struct in_addr network, uint8_t prefix, unsigned index, struct in_addr via);
int rtnl_route_put_blackhole(struct netlink *n, struct in_addr network, uint8_t prefix);
int rtnl_route_remove(struct netlink *n, struct in_addr network, uint8_t prefix, unsigned index);
/* Routes of RTNL_PROTOCOL in the main table. */
int rtnl_routes(struct netlink *n,
    void (*fn)(struct in_addr network, uint8_t prefix, unsigned index, void *arg), void *arg);

int rtnl_neighbour_put(struct netlink *n, unsigned index, struct in_addr a, const uint8_t mac[6]);
int rtnl_neighbour_remove(struct netlink *n, unsigned index, struct in_addr a);
int rtnl_proxy_put(struct netlink *n, unsigned index, struct in_addr a);
int rtnl_proxy_remove(struct netlink *n, unsigned index, struct in_addr a);
/* Proxy neighbours that carry RTNL_PROTOCOL. */
int rtnl_proxies(
    struct netlink *n, void (*fn)(struct in_addr a, unsigned index, void *arg), void *arg);
