/* VPCs and NICs in the kernel. Devices, addresses, routes and neighbours are "replace" requests,
 * which change nothing when repeated; the packet filter is kept by policy.h. Order matters twice: a
 * NIC is filtered before it is up, and its public address is the first thing that goes. What this
 * process knows is only a cache: everything is found again in the namespaces pinned under netns_dir
 * and in the kernel's own tables, so it may die at any moment (docs/network.md). */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "helper/dataplane_internal.h"
#include "run/fd.h"
#include "run/fs.h"

#define VNI_MAX 0xffffffU
#define NODE_SIDE 0xa9fe0101U  /* 169.254.1.1: a VPC's next hop; nobody has the address */
#define LINK_LOCAL 0xa9fe0000U /* 169.254.0.0/16 */
#define METADATA 0xa9fea9feU
#define RESOLVER 0xa9fea9fdU
#define LISTEN_BACKLOG 256

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

struct vpc *
dataplane_vpc_find(const struct dataplane *d, uint32_t vni)
{
	VEC_FOREACH (&d->vpcs, v) {
		if ((*v)->vni == vni)
			return *v;
	}
	return NULL;
}

int
dataplane_vpc_get(const struct dataplane *d, uint32_t vni, struct vpc **ret, struct err *e)
{
	*ret = dataplane_vpc_find(d, vni);
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
		{ "ipv4/conf/all/accept_source_route", "0", false },
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
	struct vpc *v = dataplane_vpc_find(d, vpc->vni);
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
		v = dataplane_vpc_find(d, vpc->vni);
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
	struct vpc *v = dataplane_vpc_find(d, vni);
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

	r = dataplane_vpc_get(d, vni, &v, e);
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
