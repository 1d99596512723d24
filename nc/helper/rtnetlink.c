/* rtnetlink requests. Each is one message and one acknowledgement, about 20 us; "replace" semantics
 * make repeating them harmless, so callers need not look first. What is ours is marked (alias of a
 * device, protocol of a route or proxy neighbour), so that a sweep never removes what is not. */
#include "helper/rtnetlink.h"
#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>

static void
parse_link(const struct nlmsghdr *h, struct rtnl_link *link)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *a;

	*link = (struct rtnl_link){ .index = (unsigned)m->ifi_index, .flags = m->ifi_flags };
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		const void *p = mnl_attr_get_payload(a);
		size_t n = mnl_attr_get_payload_len(a);

		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			memcpy(link->name, p, n < IFNAMSIZ ? n : IFNAMSIZ - 1);
			break;
		case IFLA_ADDRESS:
			if (n == sizeof(link->mac))
				memcpy(link->mac, p, n);
			break;
		case IFLA_MTU:
			if (n == sizeof(link->mtu))
				memcpy(&link->mtu, p, n);
			break;
		case IFLA_CARRIER:
			link->has_carrier = n == 1 && *(const uint8_t *)p;
			break;
		case IFLA_IFALIAS:
			link->is_ours = n >= sizeof(RTNL_ALIAS) - 1 &&
					memcmp(p, RTNL_ALIAS, sizeof(RTNL_ALIAS) - 1) == 0;
			break;
		case IFLA_STATS64: {
			struct rtnl_link_stats64 s = { 0 };

			memcpy(&s, p, n < sizeof(s) ? n : sizeof(s));
			link->counters = (struct dataplane_counters){
				.received_bytes = s.rx_bytes,
				.received_packets = s.rx_packets,
				.sent_bytes = s.tx_bytes,
				.sent_packets = s.tx_packets,
			};
			break;
		}
		default:
			break;
		}
	}
}

static int
on_link(const struct nlmsghdr *h, void *arg)
{
	if (h->nlmsg_type == RTM_NEWLINK)
		parse_link(h, arg);
	return 0;
}

int
rtnl_link_get(struct netlink *n, const char *name, struct rtnl_link *ret)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	struct nlmsghdr *h = netlink_message(n, RTM_GETLINK, 0, &m, sizeof(m));
	struct rtnl_link link = { 0 };
	int r;

	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	r = netlink_query(n, h, on_link, &link);
	if (r < 0)
		return r;
	*ret = link;
	return 0;
}

struct link_walk {
	void (*fn)(const struct rtnl_link *link, void *arg);
	void *arg;
};

static int
on_each_link(const struct nlmsghdr *h, void *arg)
{
	struct link_walk *walk = arg;
	struct rtnl_link link;

	if (h->nlmsg_type != RTM_NEWLINK)
		return 0;
	parse_link(h, &link);
	walk->fn(&link, walk->arg);
	return 0;
}

int
rtnl_links(struct netlink *n, void (*fn)(const struct rtnl_link *, void *), void *arg)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	struct link_walk walk = { fn, arg };

	return netlink_query(
	    n, netlink_message(n, RTM_GETLINK, NLM_F_DUMP, &m, sizeof(m)), on_each_link, &walk);
}

int
rtnl_veth_new(struct netlink *n, const char *name, const uint8_t mac[6], const char *peer_name,
    const uint8_t peer_mac[6], int peer_netns, uint32_t mtu)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	struct nlmsghdr *h =
	    netlink_message(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	struct nlattr *info, *data, *peer;
	int r;

	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(h, IFLA_MTU, mtu);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_str(h, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
	memcpy(mnl_nlmsg_put_extra_header(h, sizeof(m)), &m, sizeof(m));
	mnl_attr_put_strz(h, IFLA_IFNAME, peer_name);
	mnl_attr_put(h, IFLA_ADDRESS, 6, peer_mac);
	mnl_attr_put_u32(h, IFLA_MTU, mtu);
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)peer_netns);
	mnl_attr_nest_end(h, peer);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	r = netlink_request(n, h);
	return r == -EEXIST ? 0 : r;
}

int
rtnl_link_remove(struct netlink *n, const char *name)
{
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	struct nlmsghdr *h = netlink_message(n, RTM_DELLINK, 0, &m, sizeof(m));
	int r;

	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	r = netlink_request(n, h);
	return r == -ENODEV ? 0 : r;
}

static struct nlmsghdr *
link_change(struct netlink *n, unsigned index, unsigned flags, unsigned change)
{
	struct ifinfomsg m = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = (int)index,
		.ifi_flags = flags,
		.ifi_change = change,
	};

	return netlink_message(n, RTM_NEWLINK, 0, &m, sizeof(m));
}

int
rtnl_link_move(struct netlink *n, unsigned index, int netns)
{
	struct nlmsghdr *h = link_change(n, index, 0, 0);

	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)netns);
	return netlink_request(n, h);
}

int
rtnl_link_alias(struct netlink *n, unsigned index)
{
	struct nlmsghdr *h = link_change(n, index, 0, 0);

	mnl_attr_put_strz(h, IFLA_IFALIAS, RTNL_ALIAS);
	return netlink_request(n, h);
}

int
rtnl_link_set(struct netlink *n, unsigned index, const uint8_t *mac, uint32_t mtu, int up)
{
	struct nlmsghdr *h = link_change(n, index, up > 0 ? IFF_UP : 0, up >= 0 ? IFF_UP : 0);

	if (mac)
		mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	if (mtu)
		mnl_attr_put_u32(h, IFLA_MTU, mtu);
	return netlink_request(n, h);
}

static int
address(struct netlink *n, uint16_t type, uint16_t flags, unsigned index, struct in_addr a,
    uint8_t prefix)
{
	struct ifaddrmsg m = {
		.ifa_family = AF_INET,
		.ifa_prefixlen = prefix,
		.ifa_scope = RT_SCOPE_UNIVERSE,
		.ifa_index = index,
	};
	struct nlmsghdr *h = netlink_message(n, type, flags, &m, sizeof(m));

	mnl_attr_put_u32(h, IFA_LOCAL, a.s_addr);
	mnl_attr_put_u32(h, IFA_ADDRESS, a.s_addr);
	return netlink_request(n, h);
}

int
rtnl_address_add(struct netlink *n, unsigned index, struct in_addr a, uint8_t prefix)
{
	return address(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, a, prefix);
}

int
rtnl_address_remove(struct netlink *n, unsigned index, struct in_addr a, uint8_t prefix)
{
	int r = address(n, RTM_DELADDR, 0, index, a, prefix);

	return r == -EADDRNOTAVAIL ? 0 : r;
}

static struct nlmsghdr *
route(struct netlink *n, uint16_t type, uint16_t flags, struct in_addr network, uint8_t prefix,
    uint8_t kind, uint8_t scope, uint8_t nexthop_flags)
{
	struct rtmsg m = {
		.rtm_family = AF_INET,
		.rtm_dst_len = prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTNL_PROTOCOL,
		.rtm_scope = scope,
		.rtm_type = kind,
		.rtm_flags = nexthop_flags,
	};
	struct nlmsghdr *h = netlink_message(n, type, flags, &m, sizeof(m));

	mnl_attr_put_u32(h, RTA_DST, network.s_addr);
	return h;
}

int
rtnl_route_put(
    struct netlink *n, struct in_addr network, uint8_t prefix, unsigned index, struct in_addr via)
{
	bool is_via = via.s_addr != 0;
	struct nlmsghdr *h = route(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, network, prefix,
	    RTN_UNICAST, is_via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK, is_via ? RTNH_F_ONLINK : 0);

	if (is_via)
		mnl_attr_put_u32(h, RTA_GATEWAY, via.s_addr);
	mnl_attr_put_u32(h, RTA_OIF, index);
	return netlink_request(n, h);
}

int
rtnl_route_put_blackhole(struct netlink *n, struct in_addr network, uint8_t prefix)
{
	return netlink_request(n, route(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, network,
				      prefix, RTN_BLACKHOLE, RT_SCOPE_UNIVERSE, 0));
}

int
rtnl_route_remove(struct netlink *n, struct in_addr network, uint8_t prefix, unsigned index)
{
	struct nlmsghdr *h =
	    route(n, RTM_DELROUTE, 0, network, prefix, RTN_UNICAST, RT_SCOPE_NOWHERE, 0);
	int r;

	mnl_attr_put_u32(h, RTA_OIF, index);
	r = netlink_request(n, h);
	return r == -ESRCH ? 0 : r;
}

struct route_walk {
	void (*fn)(struct in_addr network, uint8_t prefix, unsigned index, void *arg);
	void *arg;
};

static int
on_route(const struct nlmsghdr *h, void *arg)
{
	struct route_walk *walk = arg;
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct in_addr network = { 0 };
	unsigned index = 0;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_protocol != RTNL_PROTOCOL ||
	    m->rtm_table != RT_TABLE_MAIN)
		return 0;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		if (mnl_attr_get_payload_len(a) != 4)
			continue;
		if (mnl_attr_get_type(a) == RTA_DST)
			network.s_addr = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_OIF)
			index = mnl_attr_get_u32(a);
	}
	walk->fn(network, m->rtm_dst_len, index, walk->arg);
	return 0;
}

int
rtnl_routes(struct netlink *n, void (*fn)(struct in_addr, uint8_t, unsigned, void *), void *arg)
{
	struct rtmsg m = { .rtm_family = AF_INET };
	struct route_walk walk = { fn, arg };

	return netlink_query(
	    n, netlink_message(n, RTM_GETROUTE, NLM_F_DUMP, &m, sizeof(m)), on_route, &walk);
}

static struct nlmsghdr *
neighbour(struct netlink *n, uint16_t type, uint16_t flags, unsigned index, struct in_addr a,
    uint8_t neighbour_flags)
{
	struct ndmsg m = {
		.ndm_family = AF_INET,
		.ndm_ifindex = (int)index,
		.ndm_state = NUD_PERMANENT,
		.ndm_flags = neighbour_flags,
	};
	struct nlmsghdr *h = netlink_message(n, type, flags, &m, sizeof(m));

	mnl_attr_put_u32(h, NDA_DST, a.s_addr);
	return h;
}

int
rtnl_neighbour_put(struct netlink *n, unsigned index, struct in_addr a, const uint8_t mac[6])
{
	struct nlmsghdr *h = neighbour(n, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, index, a, 0);

	mnl_attr_put(h, NDA_LLADDR, 6, mac);
	return netlink_request(n, h);
}

static int
neighbour_remove(struct netlink *n, unsigned index, struct in_addr a, uint8_t flags)
{
	int r = netlink_request(n, neighbour(n, RTM_DELNEIGH, 0, index, a, flags));

	return r == -ENOENT || r == -ESRCH || r == -ENODEV || r == -ENXIO ? 0 : r;
}

int
rtnl_neighbour_remove(struct netlink *n, unsigned index, struct in_addr a)
{
	return neighbour_remove(n, index, a, 0);
}

int
rtnl_proxy_put(struct netlink *n, unsigned index, struct in_addr a)
{
	struct nlmsghdr *h =
	    neighbour(n, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, index, a, NTF_PROXY);

	mnl_attr_put_u8(h, NDA_PROTOCOL, RTNL_PROTOCOL);
	return netlink_request(n, h);
}

int
rtnl_proxy_remove(struct netlink *n, unsigned index, struct in_addr a)
{
	return neighbour_remove(n, index, a, NTF_PROXY);
}

struct proxy_walk {
	void (*fn)(struct in_addr a, unsigned index, void *arg);
	void *arg;
};

static int
on_proxy(const struct nlmsghdr *h, void *arg)
{
	struct proxy_walk *walk = arg;
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	struct in_addr address = { 0 };
	bool is_ours = false;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWNEIGH || m->ndm_family != AF_INET ||
	    !(m->ndm_flags & NTF_PROXY))
		return 0;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		if (mnl_attr_get_type(a) == NDA_DST && mnl_attr_get_payload_len(a) == 4)
			address.s_addr = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == NDA_PROTOCOL && mnl_attr_get_payload_len(a) == 1)
			is_ours = mnl_attr_get_u8(a) == RTNL_PROTOCOL;
	}
	if (is_ours)
		walk->fn(address, (unsigned)m->ndm_ifindex, walk->arg);
	return 0;
}

int
rtnl_proxies(struct netlink *n, void (*fn)(struct in_addr, unsigned, void *), void *arg)
{
	struct ndmsg m = { .ndm_family = AF_INET, .ndm_flags = NTF_PROXY };
	struct proxy_walk walk = { fn, arg };

	return netlink_query(
	    n, netlink_message(n, RTM_GETNEIGH, NLM_F_DUMP, &m, sizeof(m)), on_proxy, &walk);
}
