#pragma once
/* The packet filter of one VPC namespace: which NIC may say what, which group lets what in and out,
 * which public address is whose (docs/network.md, "Ruleset"). Keeps a mirror of what the kernel
 * holds and sends differences; the kernel's transaction counter tells whether the mirror is still
 * true. */
#include <net/if.h>
#include "base/vec.h"
#include "helper/dataplane.h"
#include "helper/nftables.h"

#define POLICY_GROUPS_PER_NIC 5

struct policy_nic {
	uint32_t index;
	uint8_t mac[6];
	struct in_addr address, public_address;
	uint32_t groups[POLICY_GROUPS_PER_NIC];
	unsigned group_count;
};
struct policy_group { /* rules sorted and distinct, members sorted and distinct */
	uint32_t index;
	VEC(struct dataplane_rule) rules;
	VEC(struct in_addr) members;
};
struct policy_groups {
	struct policy_group *items; /* by rising index */
	size_t count, size;
};
struct policy {
	struct netlink *netlink; /* NETLINK_NETFILTER, in the namespace; owned */
	bool is_loaded;          /* the mirror was true at `generation` */
	uint32_t generation;
	bool has_table;
	bool has_contents; /* the mirror knows rules and members too, not just names of groups */
	VEC(struct policy_nic) nics;
	struct policy_groups groups;
};
void policy_done(struct policy *p);
/* Reads the kernel's state if somebody else changed it, or nobody looked yet. */
int policy_refresh(struct policy *p, struct err *e);
const struct policy_nic *policy_nic_find(const struct policy *p, uint32_t index);
int policy_put_groups(
    struct policy *p, const struct dataplane_group *groups, size_t count, struct err *e);
/* Also takes the NIC's public address from another NIC that had it. */
int policy_put_nic(struct policy *p, const struct policy_nic *nic, struct err *e);
int policy_remove_nic(struct policy *p, uint32_t index, struct err *e);

/* The node's own table: guests' exits reach the public side and each other, nothing of the node. */
int policy_node_put(struct netlink *netlink, const char *public_interface,
    const char (*exits)[IF_NAMESIZE], size_t exit_count, struct err *e);
