#pragma once
/* The node's network in the kernel: one network namespace per VPC, routed /32 taps, policy in
 * nftables sets written over netlink (docs/architecture.md, "Network"). Lives in the root helper,
 * single-threaded. Every call compares desired with the kernel and is idempotent and hitless:
 * repeating it under traffic changes nothing. A namespace outlives this process: it is bind-mounted
 * at <netns_dir>/v<vni>. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

#define DATAPLANE_MEMBERS_MAX 4096
#define DATAPLANE_RULES_MAX 1024
#define DATAPLANE_NICS_MAX 512

struct dataplane_rule {
	bool is_ingress;
	int16_t protocol;       /* IP protocol number, -1 all */
	int32_t from, to;       /* ports, or ICMP type and code; -1 all */
	struct in_addr network; /* source (ingress) or destination (egress) */
	uint8_t prefix;
	uint32_t group; /* non-zero: members of this group index instead of network/prefix */
};
struct dataplane_group {
	uint32_t index; /* short id, names chains and sets: "g<index>"; persisted by the nc */
	const struct dataplane_rule *rules;
	size_t rule_count;
	const struct in_addr *members;
	size_t member_count;
};
struct dataplane_vpc {
	uint32_t vni; /* names the namespace and devices */
	struct in_addr network;
	uint8_t prefix;
	const struct dataplane_group *groups;
	size_t group_count;
};
struct dataplane_nic {
	uint32_t index; /* short id: the tap is "tap<index>" (IFNAMSIZ); persisted by the nc */
	uint32_t vni;
	uint8_t mac[6];
	struct in_addr address, gateway;
	uint8_t subnet_prefix;
	struct in_addr public_address; /* 0: none */
	uint32_t groups[5];
	unsigned group_count;
};

struct dataplane;
struct dataplane_options {
	const char *netns_dir;        /* /run/mallee/netns */
	const char *public_interface; /* where public addresses answer ARP; NULL: none */
	struct in_addr vtep;          /* this node's underlay address; 0: no VXLAN yet */
	uint16_t mtu;                 /* of guests: 1500, or underlay - 50 */
};
int dataplane_new(const struct dataplane_options *options, struct dataplane **ret, struct err *e);
void dataplane_free(struct dataplane *d); /* the kernel keeps everything */
DEFINE_CLEANUP(struct dataplane *, dataplane_free)

/* Makes or updates the namespace, its policy skeleton and the groups, in one nft transaction. */
int dataplane_vpc_put(struct dataplane *d, const struct dataplane_vpc *vpc, struct err *e);
/* Only without NICs: ERR_CONFLICT otherwise. Absent is fine. */
int dataplane_vpc_remove(struct dataplane *d, uint32_t vni, struct err *e);
/* A persistent tap in the node's own namespace, down, owned by nobody's process: what libvirt is
 * given (managed='no'). */
int dataplane_tap_create(struct dataplane *d, uint32_t index, struct err *e);
/* Moves the tap into its VPC (if it is not there yet), programs filter, neighbour, route, public
 * address, and only then sets it up. */
int dataplane_nic_plug(struct dataplane *d, const struct dataplane_nic *nic, struct err *e);
/* The reverse, conntrack entries included; absent is fine. */
int dataplane_nic_unplug(struct dataplane *d, const struct dataplane_nic *nic, struct err *e);
/* NICs that exist but are not named are unplugged, likewise empty namespaces not named in `vnis`.
 */
int dataplane_sweep(struct dataplane *d, const struct dataplane_nic *keep, size_t keep_count,
    const uint32_t *vnis, size_t vni_count, struct err *e);

struct dataplane_sockets {    /* opened inside the VPC's namespace; they keep working anywhere */
	int dhcp;             /* UDP 0.0.0.0:67 with IP_PKTINFO */
	int metadata;         /* TCP 169.254.169.254:80, listening */
	int dns_udp, dns_tcp; /* 169.254.169.253:53 */
};
int dataplane_sockets_open(
    struct dataplane *d, uint32_t vni, struct dataplane_sockets *ret, struct err *e);
/* The tap's interface index inside its VPC: what DHCP identifies a NIC by. */
int dataplane_nic_ifindex(
    struct dataplane *d, uint32_t vni, uint32_t index, unsigned *ret, struct err *e);
/* A packet socket for ARP on the tap, inside its VPC: the caller's to close. */
struct dataplane_neighbour {
	int socket;
	uint8_t mac[6]; /* the tap's own, which the guest knows as its gateway's */
};
int dataplane_neighbour_open(struct dataplane *d, uint32_t vni, uint32_t index,
    struct dataplane_neighbour *ret, struct err *e);
struct dataplane_counters {
	uint64_t received_bytes, received_packets, sent_bytes,
	    sent_packets; /* as the guest sees them */
};
int dataplane_nic_counters(struct dataplane *d, uint32_t vni, uint32_t index,
    struct dataplane_counters *ret, struct err *e);
