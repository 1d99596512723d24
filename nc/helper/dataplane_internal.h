#pragma once
/* What the files of dataplane.h share. */
#include <arpa/inet.h>
#include <stdio.h>
#include "base/str.h"
#include "base/vec.h"
#include "helper/dataplane.h"
#include "helper/netns.h"
#include "helper/policy.h"
#include "helper/rtnetlink.h"

#define VPC_SIDE 0xa9fe0102U /* 169.254.1.2: a VPC as the node's next hop */

struct vpc {
	uint32_t vni;
	int netns;
	struct netlink *route; /* NETLINK_ROUTE inside */
	struct policy policy;
};
struct dataplane {
	char *netns_dir, *public_interface;
	uint16_t mtu;
	struct netlink *route, *netfilter; /* in the node's own namespace */
	VEC(struct vpc *) vpcs;
};

struct vpc *dataplane_vpc_find(const struct dataplane *d, uint32_t vni); /* NULL: not here */
int dataplane_vpc_get(const struct dataplane *d, uint32_t vni, struct vpc **ret, struct err *e);
/* Everything of a NIC that can be found, given only its name: device, filter, routes, flows. */
int dataplane_nic_clear(struct dataplane *d, struct vpc *v, uint32_t index, struct err *e);

static inline struct in_addr
address_of(uint32_t host_order)
{
	return (struct in_addr){ htonl(host_order) };
}

static inline void
tap_name(uint32_t index, char out[IFNAMSIZ])
{
	(void)snprintf(out, IFNAMSIZ, "tap%u", index);
}

static inline void
exit_name(uint32_t vni, char out[IFNAMSIZ])
{
	(void)snprintf(out, IFNAMSIZ, "x%u", vni);
}

/* The number behind a prefix: "tap12". */
static inline bool
index_of(const char *name, const char *prefix, uint32_t *ret)
{
	return str_starts(str_of(name), prefix) && str_to_u32(str_of(name + strlen(prefix)), ret);
}
