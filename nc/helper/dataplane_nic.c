/* NICs of guests: taps, their filters, neighbours and routes, and public addresses on the node's
 * side. A tap is filtered before it is up; a public address is the first thing that goes, and takes
 * its flows along, whoever had it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "helper/conntrack.h"
#include "helper/dataplane_internal.h"
#include "run/fd.h"

/* The same on all taps, so that a guest that moves needs no new ARP entry. */
static const uint8_t gateway_mac[6] = { 0xfe, 0xff, 0xff, 0xff, 0xff, 0x01 };

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

int
dataplane_nic_clear(struct dataplane *d, struct vpc *v, uint32_t index, struct err *e)
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
		r = dataplane_nic_clear(d, *v, index, e);
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
	r = dataplane_vpc_get(d, nic->vni, &v, e);
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
	struct vpc *v = dataplane_vpc_find(d, nic->vni);
	struct rtnl_link link;
	char name[IFNAMSIZ];
	int r = 0;

	tap_name(nic->index, name);
	if (v) {
		r = dataplane_nic_clear(d, v, nic->index, e);
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

/* -- questions -- */

static int
nic_link(struct dataplane *d, uint32_t vni, uint32_t index, struct rtnl_link *ret, struct err *e)
{
	char name[IFNAMSIZ];
	struct vpc *v;
	int r;

	r = dataplane_vpc_get(d, vni, &v, e);
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
dataplane_neighbour_open(struct dataplane *d, uint32_t vni, uint32_t index,
    struct dataplane_neighbour *ret, struct err *e)
{
	_cleanup_netns_ struct netns_scope scope = NETNS_SCOPE_INIT;
	_cleanup_close_ int fd = -1;
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP) };
	struct rtnl_link link;
	struct vpc *v;
	int r;

	r = nic_link(d, vni, index, &link, e);
	if (r == 0)
		r = dataplane_vpc_get(d, vni, &v, e);
	if (r == 0)
		r = netns_enter(&scope, v->netns, e);
	if (r < 0)
		return r;
	/* Bound before it takes anything: protocol 0 takes nothing. */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	at.sll_ifindex = (int)link.index;
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_set_errno(e, errno, "cannot ask on 'tap%u'", index);
	memcpy(ret->mac, link.mac, sizeof(ret->mac));
	ret->socket = TAKE_FD(fd);
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
