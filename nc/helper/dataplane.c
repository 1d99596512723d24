/* VPCs and NICs in the kernel. Devices, addresses, routes and neighbours are "replace" requests,
 * which change nothing when repeated; the packet filter is kept by policy.h. Order matters twice: a
 * NIC is filtered before it is up, and its public address is the first thing that goes. What this
 * process knows is only a cache: everything is found again in the namespaces pinned under netns_dir
 * and in the kernel's own tables, so it may die at any moment (docs/network.md). */
#include "helper/dataplane.h"
#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if_arp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "helper/conntrack.h"
#include "helper/netns.h"
#include "helper/policy.h"
#include "helper/rtnetlink.h"
#include "run/fd.h"
#include "run/fs.h"

#define VNI_MAX 0xffffffU
#define NODE_SIDE                                                                                  \
	0xa9fe0101U          /* 169.254.1.1: the node as a VPC's next hop; nobody has the address */
#define VPC_SIDE 0xa9fe0102U /* 169.254.1.2: a VPC as the node's next hop */
#define LINK_LOCAL 0xa9fe0000U /* 169.254.0.0/16 */
#define METADATA 0xa9fea9feU
#define RESOLVER 0xa9fea9fdU
#define LISTEN_BACKLOG 256

/* The same on all taps, so that a guest that moves needs no new ARP entry. */
static const uint8_t gateway_mac[6] = { 0xfe, 0xff, 0xff, 0xff, 0xff, 0x01 };

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

static struct in_addr
address_of(uint32_t host_order)
{
	return (struct in_addr){ htonl(host_order) };
}

static void
tap_name(uint32_t index, char out[IFNAMSIZ])
{
	(void)snprintf(out, IFNAMSIZ, "tap%u", index);
}

static void
exit_name(uint32_t vni, char out[IFNAMSIZ])
{
	(void)snprintf(out, IFNAMSIZ, "x%u", vni);
}

static bool
index_of(const char *name, const char *prefix, uint32_t *ret)
{
	return str_starts(str_of(name), prefix) && str_to_u32(str_of(name + strlen(prefix)), ret);
}

/* -- VPCs known -- */

static void
vpc_free(struct vpc *v)
{
	if (!v)
		return;
	policy_done(&v->policy);
	netlink_free(v->route);
	fd_close(v->netns);
	free(v);
}
DEFINE_CLEANUP(struct vpc *, vpc_free)

static struct vpc *
vpc_find(const struct dataplane *d, uint32_t vni)
{
	VEC_FOREACH (&d->vpcs, v) {
		if ((*v)->vni == vni)
			return *v;
	}
	return NULL;
}

static int
vpc_get(const struct dataplane *d, uint32_t vni, struct vpc **ret, struct err *e)
{
	*ret = vpc_find(d, vni);
	return *ret ? 0 : err_set(e, ERR_NOT_FOUND, "VPC network %u is not on this node", vni);
}

static char *
vpc_path(const struct dataplane *d, uint32_t vni)
{
	return xasprintf("%s/v%u", d->netns_dir, vni);
}

/* Opens what is needed of a namespace, once; the descriptors then serve from outside. */
static int
vpc_attach(struct dataplane *d, uint32_t vni, int netns, struct err *e)
{
	_cleanup_(vpc_freep) struct vpc *v = xcalloc(1, sizeof(*v));
	_cleanup_netns_ struct netns_scope scope = NETNS_SCOPE_INIT;
	int r;

	v->vni = vni;
	v->netns = netns;
	r = netns_enter(&scope, v->netns, e);
	if (r < 0)
		return r;
	r = netlink_open(NETLINK_ROUTE, &v->route);
	if (r == 0)
		r = netlink_open(NETLINK_NETFILTER, &v->policy.netlink);
	if (r < 0)
		return err_set_errno(e, -r, "cannot open netlink in VPC network %u", vni);
	vec_add(&d->vpcs, v);
	v = NULL;
	return 0;
}

static void
vpc_detach(struct dataplane *d, struct vpc *v)
{
	for (size_t i = 0; i < d->vpcs.count; i++) {
		if (d->vpcs.items[i] == v)
			d->vpcs.items[i] = d->vpcs.items[--d->vpcs.count];
	}
	vpc_free(v);
}

static int
node_filter_put(struct dataplane *d, struct err *e)
{
	_cleanup_free_ char(*exits)[IF_NAMESIZE] = xcalloc(d->vpcs.count + 1, sizeof(*exits));

	for (size_t i = 0; i < d->vpcs.count; i++)
		exit_name(d->vpcs.items[i]->vni, exits[i]);
	return policy_node_put(
	    d->netfilter, d->public_interface, (const char(*)[IF_NAMESIZE])exits, d->vpcs.count, e);
}

/* -- life -- */

static int
adopt(struct dataplane *d, struct err *e)
{
	DIR *directory = opendir(d->netns_dir);
	struct dirent *entry;
	int r = 0;

	if (!directory)
		return err_set_errno(e, errno, "cannot read '%s'", d->netns_dir);
	while (r == 0 && (entry = readdir(directory))) {
		_cleanup_free_ char *path = NULL;
		uint32_t vni;
		int netns;

		if (!index_of(entry->d_name, "v", &vni) || vni > VNI_MAX)
			continue;
		path = vpc_path(d, vni);
		r = netns_open(path, &netns, e);
		if (r == ERR_NOT_FOUND) { /* left by a reboot */
			err_clear(e);
			r = netns_unpin(path, e);
		} else if (r == 0) {
			r = vpc_attach(d, vni, netns, e);
		}
	}
	closedir(directory);
	return r;
}

static int
node_prepare(struct dataplane *d, struct err *e)
{
	char name[128];
	int r;

	r = netns_sysctl("ipv4/ip_forward", "1", false, e);
	if (r == 0 && d->public_interface) {
		/* Answers for public addresses come at once, not up to 0.8 s late. */
		(void)snprintf(
		    name, sizeof(name), "ipv4/neigh/%s/proxy_delay", d->public_interface);
		r = netns_sysctl(name, "0", true, e);
	}
	return r < 0 ? r : node_filter_put(d, e);
}

int
dataplane_new(const struct dataplane_options *options, struct dataplane **ret, struct err *e)
{
	_cleanup_(dataplane_freep) struct dataplane *d = xcalloc(1, sizeof(*d));
	int r;

	d->netns_dir = xstrdup(options->netns_dir);
	d->public_interface = options->public_interface ? xstrdup(options->public_interface) : NULL;
	d->mtu = options->mtu ? options->mtu : 1500;
	if (d->public_interface && strlen(d->public_interface) >= IFNAMSIZ)
		return err_set(
		    e, ERR_INVALID, "name of interface '%s' is too long", d->public_interface);
	r = fs_mkdir_p(d->netns_dir, 0755, e);
	if (r < 0)
		return r;
	r = netlink_open(NETLINK_ROUTE, &d->route);
	if (r == 0)
		r = netlink_open(NETLINK_NETFILTER, &d->netfilter);
	if (r < 0)
		return err_set_errno(e, -r, "cannot open netlink");
	r = adopt(d, e);
	if (r == 0)
		r = node_prepare(d, e);
	if (r < 0)
		return r;
	*ret = TAKE(d);
	return 0;
}

void
dataplane_free(struct dataplane *d)
{
	if (!d)
		return;
	VEC_FOREACH (&d->vpcs, v)
		vpc_free(*v);
	vec_done(&d->vpcs);
	netlink_free(d->route);
	netlink_free(d->netfilter);
	free(d->netns_dir);
	free(d->public_interface);
	free(d);
}

/* -- a VPC -- */

static int
vpc_settings(struct vpc *v, struct err *e)
{
	static const struct {
		const char *name, *value;
		bool is_optional;
	} settings[] = {
		{ "ipv4/ip_forward", "1", false },
		{ "ipv4/conf/all/rp_filter", "0", false },
		{ "ipv4/conf/default/rp_filter", "0", false },
		{ "ipv4/conf/all/send_redirects", "0", false },
		{ "ipv4/conf/default/send_redirects", "0", false },
		{ "ipv4/conf/all/accept_redirects", "0", false },
		{ "ipv4/conf/default/proxy_arp", "0", false },
		{ "ipv6/conf/all/disable_ipv6", "1", true },
		{ "ipv6/conf/default/disable_ipv6", "1", true },
	};
	_cleanup_netns_ struct netns_scope scope = NETNS_SCOPE_INIT;
	int r;

	r = netns_enter(&scope, v->netns, e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(settings); i++)
		r = netns_sysctl(settings[i].name, settings[i].value, settings[i].is_optional, e);
	return r;
}

static int
vpc_addresses(struct vpc *v, const struct dataplane_vpc *vpc)
{
	struct rtnl_link lo;
	int r;

	r = rtnl_link_get(v->route, "lo", &lo);
	if (r == 0 && !(lo.flags & IFF_UP))
		r = rtnl_link_set(v->route, lo.index, NULL, 0, 1);
	if (r == 0)
		r = rtnl_address_add(v->route, lo.index, address_of(METADATA), 32);
	if (r == 0)
		r = rtnl_address_add(v->route, lo.index, address_of(RESOLVER), 32);
	/* What no NIC has goes nowhere, in particular not outside. */
	if (r == 0)
		r = rtnl_route_put_blackhole(v->route, address_of(LINK_LOCAL), 16);
	if (r == 0 && vpc->prefix)
		r = rtnl_route_put_blackhole(v->route, vpc->network, vpc->prefix);
	return r;
}

/* The pair x<vni> (node) and ext0 (VPC). Both ends have fixed MACs and permanent neighbours:
 * nothing is asked by ARP, nothing can be answered falsely. */
static int
vpc_exit(struct dataplane *d, struct vpc *v, struct err *e)
{
	const uint8_t vni[3] = { (uint8_t)(v->vni >> 16), (uint8_t)(v->vni >> 8), (uint8_t)v->vni };
	const uint8_t node_mac[6] = { 0x02, 0x76, 0x78, vni[0], vni[1], vni[2] };
	const uint8_t vpc_mac[6] = { 0x02, 0x76, 0x65, vni[0], vni[1], vni[2] };
	char name[IFNAMSIZ], setting[128];
	struct rtnl_link outer, inner;
	int r;

	exit_name(v->vni, name);
	if (rtnl_link_get(v->route, "ext0", &inner) < 0) {
		r = rtnl_link_remove(d->route, name);
		if (r == 0)
			r = rtnl_veth_new(
			    d->route, name, node_mac, "ext0", vpc_mac, v->netns, d->mtu);
		if (r < 0)
			return r;
	}
	if ((r = rtnl_link_get(v->route, "ext0", &inner)) < 0 ||
	    (r = rtnl_link_get(d->route, name, &outer)) < 0 ||
	    (!outer.is_ours && (r = rtnl_link_alias(d->route, outer.index)) < 0))
		return r;
	(void)snprintf(setting, sizeof(setting), "ipv4/conf/%s/send_redirects", name);
	if (netns_sysctl(setting, "0", false, e) < 0)
		return -EIO;
	(void)snprintf(setting, sizeof(setting), "ipv6/conf/%s/disable_ipv6", name);
	(void)netns_sysctl(setting, "1", true, NULL); /* absent without IPv6 */
	if ((r = rtnl_link_set(v->route, inner.index, NULL, d->mtu, 1)) < 0 ||
	    (r = rtnl_link_set(d->route, outer.index, NULL, d->mtu, 1)) < 0 ||
	    (r = rtnl_address_add(v->route, inner.index, address_of(VPC_SIDE), 32)) < 0 ||
	    (r = rtnl_neighbour_put(v->route, inner.index, address_of(NODE_SIDE), node_mac)) < 0 ||
	    (r = rtnl_neighbour_put(d->route, outer.index, address_of(VPC_SIDE), vpc_mac)) < 0)
		return r;
	return rtnl_route_put(v->route, address_of(0), 0, inner.index, address_of(NODE_SIDE));
}

int
dataplane_vpc_put(struct dataplane *d, const struct dataplane_vpc *vpc, struct err *e)
{
	_cleanup_free_ char *path = vpc_path(d, vpc->vni);
	struct vpc *v = vpc_find(d, vpc->vni);
	bool is_new = !v;
	int r, netns;

	if (!vpc->vni || vpc->vni > VNI_MAX || vpc->prefix > 32)
		return err_set(e, ERR_INVALID, "VPC network %u is out of range", vpc->vni);
	if (is_new) {
		r = netns_make(path, &netns, e);
		if (r == 0)
			r = vpc_attach(d, vpc->vni, netns, e);
		if (r < 0)
			return r;
		v = vpc_find(d, vpc->vni);
	}
	/* Policy first: nothing is reachable before it is filtered. */
	r = policy_put_groups(&v->policy, vpc->groups, vpc->group_count, e);
	if (r == 0)
		r = vpc_settings(v, e);
	if (r < 0)
		return err_wrap(e, "VPC network %u", vpc->vni);
	if (is_new) {
		r = node_filter_put(d, e);
		if (r < 0)
			return r;
	}
	r = vpc_addresses(v, vpc);
	if (r == 0)
		r = vpc_exit(d, v, e);
	return r < 0 ? err_set_errno(e, -r, "cannot set up VPC network %u", vpc->vni) : 0;
}

int
dataplane_vpc_remove(struct dataplane *d, uint32_t vni, struct err *e)
{
	_cleanup_free_ char *path = vpc_path(d, vni);
	struct vpc *v = vpc_find(d, vni);
	char name[IFNAMSIZ];
	int r;

	if (v) {
		r = policy_refresh(&v->policy, e);
		if (r < 0)
			return r;
		if (v->policy.nics.count)
			return err_set(e, ERR_CONFLICT, "VPC network %u has %zu NICs", vni,
			    v->policy.nics.count);
	}
	exit_name(vni, name);
	r = rtnl_link_remove(d->route, name);
	if (r < 0)
		return err_set_errno(e, -r, "cannot remove '%s'", name);
	if (v)
		vpc_detach(d, v);
	r = netns_unpin(path, e);
	return r < 0 ? r : v ? node_filter_put(d, e) : 0;
}

/* -- taps -- */

static int
tap_make(const char *name, struct err *e)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	if (fd < 0)
		return err_set_errno(e, errno, "cannot open '/dev/net/tun'");
	memcpy(request.ifr_name, name, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return err_set_errno(e, errno, "cannot create '%s'", name);
	if (ioctl(fd, TUNSETPERSIST, 1) < 0)
		return err_set_errno(e, errno, "cannot keep '%s'", name);
	return 0;
}

static int public_remove(struct dataplane *d, struct vpc *v, struct in_addr address);

/* Everything of a NIC that can be found, given only its name: device, filter, routes. */
static int
nic_clear(struct dataplane *d, struct vpc *v, uint32_t index, struct err *e)
{
	const struct policy_nic *found;
	struct policy_nic nic = { 0 };
	char name[IFNAMSIZ];
	int r;

	tap_name(index, name);
	r = policy_refresh(&v->policy, e);
	if (r < 0)
		return r;
	found = policy_nic_find(&v->policy, index);
	if (found)
		nic = *found;
	r = nic.public_address.s_addr ? public_remove(d, v, nic.public_address) : 0;
	if (r == 0)
		r = rtnl_link_remove(v->route, name); /* its route and neighbour go with it */
	if (r < 0)
		return err_set_errno(e, -r, "cannot remove '%s'", name);
	r = policy_remove_nic(&v->policy, index, e);
	if (r < 0 || !found)
		return r;
	r = conntrack_flush(v->policy.netlink, nic.address);
	if (r == 0 && nic.public_address.s_addr)
		r = conntrack_flush(v->policy.netlink, nic.public_address);
	return r < 0 ? err_set_errno(e, -r, "cannot end connections of '%s'", name) : 0;
}

int
dataplane_tap_create(struct dataplane *d, uint32_t index, struct err *e)
{
	struct rtnl_link link;
	char name[IFNAMSIZ];
	int r;

	tap_name(index, name);
	VEC_FOREACH (&d->vpcs, v) {
		if (rtnl_link_get((*v)->route, name, &link) < 0)
			continue;
		if (link.has_carrier && link.flags & IFF_UP)
			return err_set(e, ERR_CONFLICT, "'%s' is in use by a guest", name);
		r = nic_clear(d, *v, index, e);
		if (r < 0)
			return r;
	}
	r = rtnl_link_get(d->route, name, &link);
	if (r == -ENODEV) {
		r = tap_make(name, e);
		if (r < 0)
			return r;
		r = rtnl_link_get(d->route, name, &link);
		if (r == 0)
			r = rtnl_link_alias(d->route, link.index);
	} else if (r == 0 && !link.is_ours) {
		return err_set(e, ERR_EXISTS, "a device '%s' of somebody else exists", name);
	}
	if (r == 0)
		r = rtnl_link_set(d->route, link.index, gateway_mac, d->mtu, 0);
	return r < 0 ? err_set_errno(e, -r, "cannot set up '%s'", name) : 0;
}

/* -- public addresses -- */

/* One announcement, so that neighbours who knew the address elsewhere learn the change (RFC 5227).
 */
static void
announce(struct dataplane *d, const struct rtnl_link *link, struct in_addr address)
{
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = (int)link->index,
		.sll_halen = ETH_ALEN,
	};
	struct {
		struct ethhdr ether;
		struct arphdr arp;
		uint8_t sender[ETH_ALEN];
		uint8_t sender_address[4];
		uint8_t target[ETH_ALEN];
		uint8_t target_address[4];
	} __attribute__((packed)) frame = {
		.ether.h_proto = htons(ETH_P_ARP),
		.arp = { .ar_hrd = htons(ARPHRD_ETHER),
		    .ar_pro = htons(ETH_P_IP),
		    .ar_hln = ETH_ALEN,
		    .ar_pln = 4,
		    .ar_op = htons(ARPOP_REQUEST) },
	};

	memset(frame.ether.h_dest, 0xff, ETH_ALEN);
	memset(to.sll_addr, 0xff, ETH_ALEN);
	memcpy(frame.ether.h_source, link->mac, ETH_ALEN);
	memcpy(frame.sender, link->mac, ETH_ALEN);
	memcpy(frame.sender_address, &address, 4);
	memcpy(frame.target_address, &address, 4);
	if (fd >= 0) /* best effort: caches expire by themselves */
		(void)!sendto(fd, &frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to));
}

static int
public_put(struct dataplane *d, struct vpc *v, struct in_addr address, bool is_new)
{
	struct rtnl_link outer, outside;
	char name[IFNAMSIZ];
	int r;

	exit_name(v->vni, name);
	r = rtnl_link_get(d->route, name, &outer);
	if (r == 0)
		r = rtnl_route_put(d->route, address, 32, outer.index, address_of(VPC_SIDE));
	if (r < 0 || !d->public_interface)
		return r;
	r = rtnl_link_get(d->route, d->public_interface, &outside);
	if (r == 0)
		r = rtnl_proxy_put(d->route, outside.index, address);
	if (r == 0 && is_new)
		announce(d, &outside, address);
	return r;
}

static bool
public_is_elsewhere(struct dataplane *d, const struct vpc *except, struct in_addr address)
{
	VEC_FOREACH (&d->vpcs, v) {
		if (*v == except || policy_refresh(&(*v)->policy, NULL) < 0)
			continue;
		VEC_FOREACH (&(*v)->policy.nics, nic) {
			if (nic->public_address.s_addr == address.s_addr)
				return true;
		}
	}
	return false;
}

static int
public_remove(struct dataplane *d, struct vpc *v, struct in_addr address)
{
	struct rtnl_link link;
	char name[IFNAMSIZ];
	int r = 0;

	exit_name(v->vni, name);
	if (rtnl_link_get(d->route, name, &link) == 0)
		r = rtnl_route_remove(d->route, address, 32, link.index);
	if (r == 0 && d->public_interface && !public_is_elsewhere(d, v, address) &&
	    rtnl_link_get(d->route, d->public_interface, &link) == 0)
		r = rtnl_proxy_remove(d->route, link.index, address);
	return r;
}

/* -- NICs -- */

static int
nic_settings(struct vpc *v, const char *tap, struct err *e)
{
	static const struct {
		const char *format, *value;
	} settings[] = {
		/* The node answers ARP for every peer that has a route, without delay. */
		{ "ipv4/conf/%s/proxy_arp", "1" },
		{ "ipv4/neigh/%s/proxy_delay", "0" },
		{ "ipv4/conf/%s/rp_filter", "0" },
		{ "ipv4/conf/%s/send_redirects", "0" },
	};
	_cleanup_netns_ struct netns_scope scope = NETNS_SCOPE_INIT;
	int r;

	r = netns_enter(&scope, v->netns, e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(settings); i++) {
		_cleanup_free_ char *name = NULL;
		const char *at = strstr(settings[i].format, "%s");

		name = xasprintf(
		    "%.*s%s%s", (int)(at - settings[i].format), settings[i].format, tap, at + 2);
		r = netns_sysctl(name, settings[i].value, false, e);
	}
	return r;
}

/* The tap inside its VPC, moved there if need be. A move turns it down. */
static int
nic_bring(struct dataplane *d, struct vpc *v, const char *name, struct rtnl_link *ret)
{
	struct rtnl_link link;
	int r;

	r = rtnl_link_get(v->route, name, ret);
	if (r != -ENODEV)
		return r;
	r = rtnl_link_get(d->route, name, &link);
	if (r == 0 && !link.is_ours)
		r = -EEXIST;
	if (r == 0)
		r = rtnl_link_move(d->route, link.index, v->netns);
	return r < 0 ? r : rtnl_link_get(v->route, name, ret);
}

static int
nic_connect(struct dataplane *d, struct vpc *v, const struct dataplane_nic *nic,
    const struct policy_nic *old, const struct rtnl_link *tap)
{
	struct rtnl_link lo;
	bool is_new;
	int r;

	if ((r = rtnl_link_get(v->route, "lo", &lo)) < 0 ||
	    (r = rtnl_address_add(v->route, lo.index, nic->gateway, 32)) < 0)
		return r;
	if (!(tap->flags & IFF_UP) && (r = rtnl_link_set(v->route, tap->index, NULL, 0, 1)) < 0)
		return r;
	if (old && old->address.s_addr != nic->address.s_addr &&
	    ((r = rtnl_route_remove(v->route, old->address, 32, tap->index)) < 0 ||
		(r = rtnl_neighbour_remove(v->route, tap->index, old->address)) < 0 ||
		(r = conntrack_flush(v->policy.netlink, old->address)) < 0))
		return r;
	if ((r = rtnl_neighbour_put(v->route, tap->index, nic->address, nic->mac)) < 0 ||
	    (r = rtnl_route_put(v->route, nic->address, 32, tap->index, address_of(0))) < 0)
		return r;
	if (old && old->public_address.s_addr &&
	    old->public_address.s_addr != nic->public_address.s_addr &&
	    ((r = public_remove(d, v, old->public_address)) < 0 ||
		(r = conntrack_flush(v->policy.netlink, old->public_address)) < 0))
		return r;
	if (!nic->public_address.s_addr)
		return 0;
	is_new = !old || old->public_address.s_addr != nic->public_address.s_addr;
	/* Flows of the NIC that had it before would go on. */
	if (is_new && (r = conntrack_flush(v->policy.netlink, nic->public_address)) < 0)
		return r;
	return public_put(d, v, nic->public_address, is_new);
}

int
dataplane_nic_plug(struct dataplane *d, const struct dataplane_nic *nic, struct err *e)
{
	struct policy_nic wanted = {
		.index = nic->index,
		.address = nic->address,
		.public_address = nic->public_address,
		.group_count = nic->group_count,
	}, old;
	const struct policy_nic *found;
	struct rtnl_link tap;
	char name[IFNAMSIZ];
	struct vpc *v;
	int r;

	tap_name(nic->index, name);
	if (nic->group_count > ARRAY_SIZE(nic->groups) || !nic->address.s_addr || nic->mac[0] & 1 ||
	    nic->subnet_prefix > 32)
		return err_set(e, ERR_INVALID, "NIC '%s' is out of range", name);
	r = vpc_get(d, nic->vni, &v, e);
	if (r < 0)
		return r;
	r = nic_bring(d, v, name, &tap);
	if (r == -ENODEV)
		return err_set(e, ERR_NOT_FOUND, "there is no '%s'", name);
	if (r == 0 && (memcmp(tap.mac, gateway_mac, 6) != 0 || tap.mtu != d->mtu))
		r = rtnl_link_set(v->route, tap.index, gateway_mac, d->mtu, -1);
	if (r < 0)
		return err_set_errno(e, -r, "cannot move '%s' to VPC network %u", name, nic->vni);
	r = nic_settings(v, name, e);
	if (r == 0)
		r = policy_refresh(&v->policy, e);
	if (r < 0)
		return r;
	found = policy_nic_find(&v->policy, nic->index);
	if (found)
		old = *found;
	memcpy(wanted.mac, nic->mac, sizeof(wanted.mac));
	memcpy(wanted.groups, nic->groups, sizeof(wanted.groups));
	r = policy_put_nic(&v->policy, &wanted, e);
	if (r < 0)
		return err_wrap(e, "NIC '%s'", name);
	r = nic_connect(d, v, nic, found ? &old : NULL, &tap);
	return r < 0 ? err_set_errno(e, -r, "cannot connect '%s'", name) : 0;
}

/* A gateway's address stays while another NIC of its subnet is there. */
static int
gateway_remove(struct vpc *v, const struct dataplane_nic *nic)
{
	uint32_t mask = nic->subnet_prefix ? ~0U << (32 - nic->subnet_prefix) : 0;
	struct rtnl_link lo;
	int r;

	VEC_FOREACH (&v->policy.nics, other) {
		if (((ntohl(other->address.s_addr) ^ ntohl(nic->gateway.s_addr)) & mask) == 0)
			return 0;
	}
	r = rtnl_link_get(v->route, "lo", &lo);
	return r < 0 ? r : rtnl_address_remove(v->route, lo.index, nic->gateway, 32);
}

int
dataplane_nic_unplug(struct dataplane *d, const struct dataplane_nic *nic, struct err *e)
{
	struct vpc *v = vpc_find(d, nic->vni);
	struct rtnl_link link;
	char name[IFNAMSIZ];
	int r = 0;

	tap_name(nic->index, name);
	if (v) {
		r = nic_clear(d, v, nic->index, e);
		if (r < 0)
			return r;
		if (nic->gateway.s_addr)
			r = gateway_remove(v, nic);
	}
	/* Created, and never plugged. */
	if (r == 0 && rtnl_link_get(d->route, name, &link) == 0 && link.is_ours)
		r = rtnl_link_remove(d->route, name);
	return r < 0 ? err_set_errno(e, -r, "cannot remove '%s'", name) : 0;
}

/* -- sweep -- */

struct sweep {
	const struct dataplane_nic *keep;
	size_t keep_count;
	uint32_t vni;        /* 0: the node itself */
	VEC(uint32_t) stray; /* indices of taps */
	VEC(uint32_t) exits; /* VNIs of x<vni> */
	VEC(struct {
		struct in_addr address;
		unsigned index;
	})
	routes,
	    proxies;
};

static bool
is_kept(const struct sweep *s, uint32_t index)
{
	for (size_t i = 0; i < s->keep_count; i++) {
		if (s->keep[i].index == index && (!s->vni || s->keep[i].vni == s->vni))
			return true;
	}
	return false;
}

static void
on_swept_link(const struct rtnl_link *link, void *arg)
{
	struct sweep *s = arg;
	uint32_t index;

	if (link->is_ours && index_of(link->name, "tap", &index) && !is_kept(s, index))
		vec_add(&s->stray, index);
	else if (link->is_ours && !s->vni && index_of(link->name, "x", &index))
		vec_add(&s->exits, index);
}

static void
on_swept_route(struct in_addr network, uint8_t prefix, unsigned index, void *arg)
{
	struct sweep *s = arg;

	if (prefix != 32)
		return;
	for (size_t i = 0; i < s->keep_count; i++) {
		if (s->keep[i].public_address.s_addr == network.s_addr)
			return;
	}
	vec_add(&s->routes, ((__typeof__(*s->routes.items)){ network, index }));
}

static void
on_swept_proxy(struct in_addr address, unsigned index, void *arg)
{
	struct sweep *s = arg;

	for (size_t i = 0; i < s->keep_count; i++) {
		if (s->keep[i].public_address.s_addr == address.s_addr)
			return;
	}
	vec_add(&s->proxies, ((__typeof__(*s->proxies.items)){ address, index }));
}

static void
sweep_done(struct sweep *s)
{
	vec_done(&s->stray);
	vec_done(&s->exits);
	vec_done(&s->routes);
	vec_done(&s->proxies);
}

static int
sweep_vpc(struct dataplane *d, struct vpc *v, const struct dataplane_nic *keep, size_t keep_count,
    struct err *e)
{
	_cleanup_(sweep_done) struct sweep s = {
		.keep = keep,
		.keep_count = keep_count,
		.vni = v->vni,
	};
	int r;

	r = policy_refresh(&v->policy, e);
	if (r < 0)
		return r;
	r = rtnl_links(v->route, on_swept_link, &s);
	if (r < 0)
		return err_set_errno(e, -r, "cannot list devices of VPC network %u", v->vni);
	VEC_FOREACH (&v->policy.nics, nic) {
		if (!is_kept(&s, nic->index))
			vec_add(&s.stray, nic->index);
	}
	VEC_FOREACH (&s.stray, index) {
		r = nic_clear(d, v, *index, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
sweep_node(struct dataplane *d, const struct dataplane_nic *keep, size_t keep_count, struct err *e)
{
	_cleanup_(sweep_done) struct sweep s = { .keep = keep, .keep_count = keep_count };
	char name[IFNAMSIZ];
	int r;

	r = rtnl_links(d->route, on_swept_link, &s);
	if (r == 0)
		r = rtnl_routes(d->route, on_swept_route, &s);
	if (r == 0)
		r = rtnl_proxies(d->route, on_swept_proxy, &s);
	for (size_t i = 0; r == 0 && i < s.stray.count; i++) {
		tap_name(s.stray.items[i], name);
		r = rtnl_link_remove(d->route, name);
	}
	for (size_t i = 0; r == 0 && i < s.exits.count; i++) {
		exit_name(s.exits.items[i], name);
		if (!vpc_find(d, s.exits.items[i]))
			r = rtnl_link_remove(d->route, name);
	}
	for (size_t i = 0; r == 0 && i < s.routes.count; i++)
		r = rtnl_route_remove(
		    d->route, s.routes.items[i].address, 32, s.routes.items[i].index);
	for (size_t i = 0; r == 0 && i < s.proxies.count; i++)
		r = rtnl_proxy_remove(
		    d->route, s.proxies.items[i].index, s.proxies.items[i].address);
	return r < 0 ? err_set_errno(e, -r, "cannot sweep the node's network") : 0;
}

int
dataplane_sweep(struct dataplane *d, const struct dataplane_nic *keep, size_t keep_count,
    const uint32_t *vnis, size_t vni_count, struct err *e)
{
	int r;

	for (size_t i = d->vpcs.count; i-- > 0;) {
		struct vpc *v = d->vpcs.items[i];
		bool is_named = false;

		r = sweep_vpc(d, v, keep, keep_count, e);
		if (r < 0)
			return r;
		for (size_t j = 0; j < vni_count; j++)
			is_named = is_named || vnis[j] == v->vni;
		if (!is_named && !v->policy.nics.count) {
			r = dataplane_vpc_remove(d, v->vni, e);
			if (r < 0)
				return r;
		}
	}
	return sweep_node(d, keep, keep_count, e);
}

/* -- for the guests' services -- */

static int
open_socket(int type, uint32_t address, uint16_t port, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = address_of(address),
	};
	int one = 1;

	/* Reuse: the one who asks may still hold the sockets that these replace. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_set_errno(e, errno, "cannot open port %u for guests", port);
	if (port == 67 && (setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) < 0 ||
			      setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) < 0))
		return err_set_errno(e, errno, "cannot set options of port %u", port);
	/* A hop limit of 1 keeps answers from leaving the guest they are for. */
	if (port == 80 && setsockopt(fd, IPPROTO_IP, IP_TTL, &one, sizeof(one)) < 0)
		return err_set_errno(e, errno, "cannot set options of port %u", port);
	if (type == SOCK_STREAM && listen(fd, LISTEN_BACKLOG) < 0)
		return err_set_errno(e, errno, "cannot listen on port %u", port);
	return TAKE_FD(fd);
}

int
dataplane_sockets_open(
    struct dataplane *d, uint32_t vni, struct dataplane_sockets *ret, struct err *e)
{
	static const struct {
		int type;
		uint32_t address;
		uint16_t port;
	} wanted[] = {
		{ SOCK_DGRAM, INADDR_ANY, 67 },
		{ SOCK_STREAM, METADATA, 80 },
		{ SOCK_DGRAM, RESOLVER, 53 },
		{ SOCK_STREAM, RESOLVER, 53 },
	};
	_cleanup_netns_ struct netns_scope scope = NETNS_SCOPE_INIT;
	int fds[ARRAY_SIZE(wanted)];
	struct vpc *v;
	int r;

	r = vpc_get(d, vni, &v, e);
	if (r < 0)
		return r;
	r = netns_enter(&scope, v->netns, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		fds[i] = open_socket(wanted[i].type, wanted[i].address, wanted[i].port, e);
		if (fds[i] < 0) {
			r = fds[i];
			while (i-- > 0)
				fd_close(fds[i]);
			return r;
		}
	}
	*ret = (struct dataplane_sockets){ fds[0], fds[1], fds[2], fds[3] };
	return 0;
}

static int
nic_link(struct dataplane *d, uint32_t vni, uint32_t index, struct rtnl_link *ret, struct err *e)
{
	char name[IFNAMSIZ];
	struct vpc *v;
	int r;

	r = vpc_get(d, vni, &v, e);
	if (r < 0)
		return r;
	tap_name(index, name);
	r = rtnl_link_get(v->route, name, ret);
	if (r == -ENODEV)
		return err_set(e, ERR_NOT_FOUND, "VPC network %u has no '%s'", vni, name);
	return r < 0 ? err_set_errno(e, -r, "cannot examine '%s'", name) : 0;
}

int
dataplane_nic_ifindex(
    struct dataplane *d, uint32_t vni, uint32_t index, unsigned *ret, struct err *e)
{
	struct rtnl_link link;
	int r;

	r = nic_link(d, vni, index, &link, e);
	if (r < 0)
		return r;
	*ret = link.index;
	return 0;
}

int
dataplane_nic_counters(struct dataplane *d, uint32_t vni, uint32_t index,
    struct dataplane_counters *ret, struct err *e)
{
	struct rtnl_link link;
	int r;

	r = nic_link(d, vni, index, &link, e);
	if (r < 0)
		return r;
	/* What the tap sent, the guest received. */
	*ret = (struct dataplane_counters){
		.received_bytes = link.counters.sent_bytes,
		.received_packets = link.counters.sent_packets,
		.sent_bytes = link.counters.received_bytes,
		.sent_packets = link.counters.received_packets,
	};
	return 0;
}
