/* The ruleset of a VPC. A static skeleton of chains refers to sets and maps by name; all that
 * changes is an element, or the content of one group's two chains. Hooks in order: prerouting raw
 * (anti-spoofing), conntrack, dstnat, forward 0 (egress of the sender's groups), forward 10
 * (ingress of the receiver's), srcnat; two forward chains give "egress and ingress" with plain
 * accept. A set of address, protocol and port ranges refuses elements that overlap at an end; the
 * few rules that do so are written as plain rules instead, decided by the same test as the
 * kernel's. */
#include "helper/policy.h"
#include <arpa/inet.h>
#include <assert.h>
#include <linux/if_ether.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter_arp.h>
#include <linux/netfilter_ipv4.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

#define TABLE "vpc"
#define TAPS "tap"
#define EXIT "ext0"
#define NODE_TABLE "mallee"
#define STATE_BIT(s) (1U << ((s) + 1)) /* as nft's "ct state": NF_CT_STATE_BIT */
#define STATE_INVALID 1U
#define STATE_ESTABLISHED STATE_BIT(IP_CT_ESTABLISHED)
#define STATE_RELATED STATE_BIT(IP_CT_RELATED)
#define METADATA 0xa9fea9feU /* 169.254.169.254 */
#define RESOLVER 0xa9fea9fdU /* 169.254.169.253 */
#define ECHO_PER_SECOND 50

enum {
	R0 = NFT_REG32_00,
	R1 = NFT_REG32_01,
	R2 = NFT_REG32_02,
	R4 = NFT_REG32_04,
	R6 = NFT_REG32_06
};
enum { IP_SOURCE = 12, IP_DESTINATION = 16 };

/* -- vocabulary of rules -- */

static void
on_device(struct nft *t, uint32_t key, uint32_t operator, const char * name, bool is_prefix)
{
	char padded[IFNAMSIZ] = { 0 };

	memcpy(padded, name, strlen(name));
	nft_meta(t, key, R0);
	nft_compare(t, R0, operator, padded, is_prefix ? strlen(name) : IFNAMSIZ);
}

static void
protocol_is(struct nft *t, uint8_t protocol)
{
	nft_meta(t, NFT_META_L4PROTO, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &protocol, 1);
}

static void
port_is(struct nft *t, uint32_t offset, uint16_t port)
{
	uint16_t big = htons(port);

	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &big, 2);
}

static void
address_is(struct nft *t, uint32_t offset, uint32_t address)
{
	uint32_t big = htonl(address);

	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &big, 4);
}

static void
state_has(struct nft *t, uint32_t bits)
{
	nft_connection(t, NFT_CT_STATE, R0);
	nft_bits(t, R0, bits, false);
}

static void
verdict(struct nft *t, int32_t code)
{
	nft_verdict(t, code, NULL);
	nft_rule_end(t);
}

/* -- skeleton -- */

static const struct nft_field nic_fields[] = { { NFT_KEY_IFNAME, IFNAMSIZ }, { NFT_KEY_ETHER, 6 },
	{ NFT_KEY_IPV4, 4 } };
static const struct nft_field rule_fields[] = { { NFT_KEY_IPV4, 4 }, { NFT_KEY_PROTOCOL, 1 },
	{ NFT_KEY_PORT, 2 } };
static const struct nft_field icmp_fields[] = { { NFT_KEY_IPV4, 4 }, { NFT_KEY_ICMP_TYPE, 1 },
	{ NFT_KEY_ICMP_CODE, 1 } };
static const struct nft_field address_field[] = { { NFT_KEY_IPV4, 4 } };
static const struct nft_field device_field[] = { { NFT_KEY_IFNAME, IFNAMSIZ } };

static void
add_sets(struct nft *t)
{
	char name[NFT_NAME_SIZE];

	nft_set_add(t, "nic4", nic_fields, ARRAY_SIZE(nic_fields), false);
	nft_set_add(t, "eip", address_field, 1, false);
	nft_address_map_add(t, "dn");
	nft_address_map_add(t, "sn");
	for (unsigned k = 0; k < POLICY_GROUPS_PER_NIC; k++) {
		(void)snprintf(name, sizeof(name), "sgi%u", k);
		nft_verdict_map_add(t, name, NFT_KEY_IFNAME, IFNAMSIZ);
		(void)snprintf(name, sizeof(name), "sgo%u", k);
		nft_verdict_map_add(t, name, NFT_KEY_IFNAME, IFNAMSIZ);
	}
}

static void
add_antispoof(struct nft *t)
{
	uint8_t ipv4 = NFPROTO_IPV4;

	nft_chain_add(t, "from_nic");
	nft_chain_add_base(t, "pre", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW, NF_ACCEPT);
	nft_rule_begin(t, "pre");
	nft_meta(t, NFT_META_NFPROTO, R0);
	nft_compare(t, R0, NFT_CMP_NEQ, &ipv4, 1);
	verdict(t, NF_DROP);
	nft_rule_begin(t, "pre");
	on_device(t, NFT_META_IIFNAME, NFT_CMP_EQ, TAPS, true);
	nft_verdict(t, NFT_JUMP, "from_nic");
	nft_rule_end(t);

	/* A guest without an address yet asks for one. */
	nft_rule_begin(t, "from_nic");
	address_is(t, IP_SOURCE, INADDR_ANY);
	protocol_is(t, IPPROTO_UDP);
	port_is(t, 0, 68);
	port_is(t, 2, 67);
	verdict(t, NFT_RETURN);
	nft_rule_begin(t, "from_nic");
	nft_meta(t, NFT_META_IIFNAME, R0);
	nft_payload(t, NFT_PAYLOAD_LL_HEADER, 6, 6, R4);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE, 4, R6);
	nft_lookup(t, "nic4", R0, true);
	verdict(t, NF_DROP);
}

static void
add_nat(struct nft *t)
{
	nft_chain_add_base(t, "nat_in", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST, NF_ACCEPT);
	nft_rule_begin(t, "nat_in");
	on_device(t, NFT_META_IIFNAME, NFT_CMP_EQ, EXIT, false);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_DESTINATION, 4, R0);
	nft_lookup_data(t, "dn", R0, R0);
	nft_nat(t, NFT_NAT_DNAT, R0);
	nft_rule_end(t);

	nft_chain_add_base(t, "nat_out", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, NF_ACCEPT);
	nft_rule_begin(t, "nat_out");
	on_device(t, NFT_META_OIFNAME, NFT_CMP_EQ, EXIT, false);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE, 4, R0);
	nft_lookup_data(t, "sn", R0, R0);
	nft_nat(t, NFT_NAT_SNAT, R0);
	nft_rule_end(t);
}

/* What guests may say to the node itself: DHCP, metadata, DNS, a few pings. */
static void
add_input(struct nft *t)
{
	static const uint8_t resolvers[] = { IPPROTO_UDP, IPPROTO_TCP };
	uint8_t echo = 8;

	nft_chain_add_base(t, "inp", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER, NF_DROP);
	nft_rule_begin(t, "inp");
	on_device(t, NFT_META_IIFNAME, NFT_CMP_NEQ, TAPS, true);
	verdict(t, NF_DROP);
	nft_rule_begin(t, "inp");
	state_has(t, STATE_ESTABLISHED);
	verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "inp");
	protocol_is(t, IPPROTO_UDP);
	port_is(t, 2, 67);
	verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "inp");
	address_is(t, IP_DESTINATION, METADATA);
	protocol_is(t, IPPROTO_TCP);
	port_is(t, 2, 80);
	verdict(t, NF_ACCEPT);
	for (unsigned i = 0; i < ARRAY_SIZE(resolvers); i++) {
		nft_rule_begin(t, "inp");
		address_is(t, IP_DESTINATION, RESOLVER);
		protocol_is(t, resolvers[i]);
		port_is(t, 2, 53);
		verdict(t, NF_ACCEPT);
	}
	nft_rule_begin(t, "inp");
	protocol_is(t, IPPROTO_ICMP);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &echo, 1);
	nft_limit(t, ECHO_PER_SECOND, ECHO_PER_SECOND);
	verdict(t, NF_ACCEPT);
}

static void
add_group_maps(struct nft *t, const char *chain, uint32_t key, const char *map)
{
	char name[NFT_NAME_SIZE];

	for (unsigned k = 0; k < POLICY_GROUPS_PER_NIC; k++) {
		(void)snprintf(name, sizeof(name), "%s%u", map, k);
		nft_rule_begin(t, chain);
		nft_meta(t, key, R0);
		nft_lookup_verdict(t, name, R0);
		nft_rule_end(t);
	}
}

static void
add_forward(struct nft *t)
{
	nft_chain_add_base(t, "egr", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER, NF_DROP);
	nft_rule_begin(t, "egr");
	state_has(t, STATE_ESTABLISHED | STATE_RELATED);
	verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "egr");
	state_has(t, STATE_INVALID);
	verdict(t, NF_DROP);
	/* From outside only what was sent to a public address. */
	nft_rule_begin(t, "egr");
	on_device(t, NFT_META_IIFNAME, NFT_CMP_EQ, EXIT, false);
	nft_connection(t, NFT_CT_STATUS, R0);
	nft_bits(t, R0, IPS_DST_NAT, true);
	verdict(t, NF_DROP);
	nft_rule_begin(t, "egr");
	on_device(t, NFT_META_IIFNAME, NFT_CMP_NEQ, TAPS, true);
	verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "egr");
	on_device(t, NFT_META_OIFNAME, NFT_CMP_EQ, EXIT, false);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE, 4, R0);
	nft_lookup(t, "eip", R0, true);
	verdict(t, NF_DROP);
	add_group_maps(t, "egr", NFT_META_IIFNAME, "sgo");

	nft_chain_add_base(t, "ing", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER + 10, NF_DROP);
	nft_rule_begin(t, "ing");
	state_has(t, STATE_ESTABLISHED | STATE_RELATED);
	verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "ing");
	on_device(t, NFT_META_OIFNAME, NFT_CMP_NEQ, TAPS, true);
	verdict(t, NF_ACCEPT);
	add_group_maps(t, "ing", NFT_META_OIFNAME, "sgi");
}

static void
add_arp(struct nft *t)
{
	uint16_t request = htons(1);
	uint32_t none = 0;

	nft_table_use(t, NFPROTO_ARP, TABLE);
	nft_set_add(t, "nic", nic_fields, ARRAY_SIZE(nic_fields), false);
	nft_chain_add_base(t, "inp", "filter", NF_ARP_IN, 0, NF_DROP);
	nft_rule_begin(t, "inp");
	on_device(t, NFT_META_IIFNAME, NFT_CMP_EQ, EXIT, false);
	verdict(t, NF_ACCEPT);
	/* Duplicate address detection has no sender address. */
	nft_rule_begin(t, "inp");
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &request, 2);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, 14, 4, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &none, 4);
	verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "inp");
	nft_meta(t, NFT_META_IIFNAME, R0);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, 8, 6, R4);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, 14, 4, R6);
	nft_lookup(t, "nic", R0, false);
	verdict(t, NF_ACCEPT);
}

static void
add_skeleton(struct nft *t)
{
	static const uint8_t families[] = { NFPROTO_INET, NFPROTO_ARP };

	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		nft_table_use(t, families[i], TABLE);
		nft_table_add(t); /* so that there is one to remove */
		nft_table_remove(t);
		nft_table_add(t);
	}
	add_arp(t);
	nft_table_use(t, NFPROTO_INET, TABLE);
	add_sets(t);
	add_antispoof(t);
	add_nat(t);
	add_input(t);
	add_forward(t);
}

/* -- groups: values -- */

static int
compare_numbers(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static uint32_t
rule_width(const struct dataplane_rule *r)
{
	return r->from < 0 || r->to < 0 ? 65536 : (uint32_t)(r->to - r->from);
}

/* Narrow rules first: a wide range may join a set that holds a narrow one, not the reverse. */
static int
rule_compare(const void *pa, const void *pb)
{
	const struct dataplane_rule *a = pa, *b = pb;
	int r;

	if ((r = compare_numbers(a->is_ingress, b->is_ingress)) ||
	    (r = compare_numbers(b->prefix, a->prefix)) ||
	    (r = compare_numbers(a->protocol < 0, b->protocol < 0)) ||
	    (r = compare_numbers(rule_width(a), rule_width(b))) ||
	    (r = compare_numbers(a->protocol, b->protocol)) ||
	    (r = compare_numbers(a->from, b->from)) || (r = compare_numbers(a->to, b->to)) ||
	    (r = compare_numbers(ntohl(a->network.s_addr), ntohl(b->network.s_addr))))
		return r;
	return compare_numbers(a->group, b->group);
}

static int
address_compare(const void *a, const void *b)
{
	return compare_numbers(
	    ntohl(((const struct in_addr *)a)->s_addr), ntohl(((const struct in_addr *)b)->s_addr));
}

static void
groups_done(struct policy_groups *g)
{
	VEC_FOREACH (g, group) {
		vec_done(&group->rules);
		vec_done(&group->members);
	}
	vec_done(g);
}

static struct policy_group *
group_find(const struct policy_groups *g, uint32_t index)
{
	VEC_FOREACH (g, group) {
		if (group->index == index)
			return group;
	}
	return NULL;
}

static struct policy_group *
group_get(struct policy_groups *g, uint32_t index)
{
	struct policy_group *found = group_find(g, index);

	if (found)
		return found;
	vec_add(g, ((struct policy_group){ .index = index }));
	return &g->items[g->count - 1];
}

static void
group_fill(struct policy_group *to, const struct dataplane_group *from)
{
	for (size_t i = 0; i < from->rule_count; i++) {
		struct dataplane_rule rule = from->rules[i];
		uint32_t mask = rule.prefix ? ~0U << (32 - rule.prefix) : 0;

		rule.network.s_addr &= htonl(mask);
		if (rule.group)
			rule.network.s_addr = rule.prefix = 0;
		vec_add(&to->rules, rule);
	}
	for (size_t i = 0; i < from->member_count; i++)
		vec_add(&to->members, from->members[i]);
	if (to->rules.count) {
		size_t kept = 1;

		qsort(to->rules.items, to->rules.count, sizeof(*to->rules.items), rule_compare);
		for (size_t i = 1; i < to->rules.count; i++) {
			if (rule_compare(&to->rules.items[kept - 1], &to->rules.items[i]) != 0)
				to->rules.items[kept++] = to->rules.items[i];
		}
		to->rules.count = kept;
	}
	if (to->members.count) {
		size_t kept = 1;

		qsort(to->members.items, to->members.count, sizeof(*to->members.items),
		    address_compare);
		for (size_t i = 1; i < to->members.count; i++) {
			if (to->members.items[kept - 1].s_addr != to->members.items[i].s_addr)
				to->members.items[kept++] = to->members.items[i];
		}
		to->members.count = kept;
	}
}

static bool
rules_are_equal(const struct policy_group *a, const struct policy_group *b)
{
	if (a->rules.count != b->rules.count)
		return false;
	for (size_t i = 0; i < a->rules.count; i++) {
		if (rule_compare(&a->rules.items[i], &b->rules.items[i]) != 0)
			return false;
	}
	return true;
}

/* -- groups: in the kernel -- */

#define NAME(prefix, index)                                                                        \
	({                                                                                         \
		(void)snprintf(name, sizeof(name), prefix "_%u", (index));                         \
		name;                                                                              \
	})

struct box { /* ranges of address, protocol and port, or address, type and code; host order */
	uint32_t first[3], last[3];
	bool is_icmp;
};

static bool
has_ports(int16_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
	       protocol == IPPROTO_DCCP || protocol == IPPROTO_UDPLITE;
}

static struct box
rule_box(const struct dataplane_rule *r)
{
	uint32_t network = ntohl(r->network.s_addr);
	uint32_t host = r->prefix == 0 ? ~0U : r->prefix >= 32 ? 0 : ~0U >> r->prefix;
	struct box b = { { network, 0, 0 }, { network | host, 255, 65535 }, false };

	if (r->protocol == IPPROTO_ICMP) {
		b.is_icmp = true;
		b.last[2] = 255;
		if (r->from >= 0)
			b.first[1] = b.last[1] = (uint32_t)r->from;
		if (r->to >= 0)
			b.first[2] = b.last[2] = (uint32_t)r->to;
		return b;
	}
	if (r->protocol >= 0)
		b.first[1] = b.last[1] = (uint32_t)r->protocol;
	if (has_ports(r->protocol) && r->from >= 0 && r->to >= 0) {
		b.first[2] = (uint32_t)r->from;
		b.last[2] = (uint32_t)r->to;
	}
	return b;
}

static bool
box_holds(const struct box *b, const uint32_t point[3])
{
	for (unsigned i = 0; i < 3; i++) {
		if (point[i] < b->first[i] || point[i] > b->last[i])
			return false;
	}
	return true;
}

#define BOX_KEY_SIZE 12

static void
box_key(const struct box *b, const uint32_t point[3], uint8_t out[BOX_KEY_SIZE])
{
	uint32_t address = htonl(point[0]);
	uint16_t port = htons((uint16_t)point[2]);

	memset(out, 0, BOX_KEY_SIZE);
	memcpy(out, &address, 4);
	out[4] = (uint8_t)point[1];
	if (b->is_icmp)
		out[8] = (uint8_t)point[2];
	else
		memcpy(out + 8, &port, 2);
}

/* "protocol, ports or type and code" of a rule that is not in a set. */
static void
write_service(struct nft *t, const struct dataplane_rule *r, const struct box *b)
{
	uint8_t first[2] = { (uint8_t)b->first[1], (uint8_t)b->first[2] };
	uint8_t last[2] = { (uint8_t)b->last[1], (uint8_t)b->last[2] };

	if (r->protocol >= 0)
		protocol_is(t, (uint8_t)r->protocol);
	if (b->is_icmp) {
		for (unsigned i = 0; i < 2; i++) {
			nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, i, 1, R0);
			nft_range(t, R0, &first[i], &last[i], 1);
		}
	} else if (has_ports(r->protocol)) {
		uint16_t from = htons((uint16_t)b->first[2]), to = htons((uint16_t)b->last[2]);

		nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R0);
		nft_range(t, R0, &from, &to, 2);
	}
}

static void
write_plain_rule(struct nft *t, const char *chain, uint32_t offset, const struct dataplane_rule *r,
    const struct box *b)
{
	char name[NFT_NAME_SIZE];

	nft_rule_begin(t, chain);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, R0);
	if (r->group) {
		nft_lookup(t, NAME("m", r->group), R0, false);
	} else {
		uint32_t first = htonl(b->first[0]), last = htonl(b->last[0]);

		nft_range(t, R0, &first, &last, 4);
	}
	write_service(t, r, b);
	verdict(t, NF_ACCEPT);
}

struct direction {
	bool is_ingress;
	const char *chain, *services, *icmp; /* prefixes of names */
	uint32_t offset;                     /* of the address that rules speak of */
};
static const struct direction directions[] = {
	{ true, "i", "c", "ci", IP_SOURCE },
	{ false, "o", "d", "di", IP_DESTINATION },
};

static const char *
name_of(char name[NFT_NAME_SIZE], const char *prefix, uint32_t index)
{
	(void)snprintf(name, NFT_NAME_SIZE, "%s_%u", prefix, index);
	return name;
}

static void
write_rules(struct nft *t, const struct policy_group *g, const struct direction *d)
{
	char chain[NFT_NAME_SIZE], services[NFT_NAME_SIZE], icmp[NFT_NAME_SIZE];
	VEC(struct box) taken = { 0 };

	name_of(chain, d->chain, g->index);
	name_of(services, d->services, g->index);
	name_of(icmp, d->icmp, g->index);

	nft_rule_begin(t, chain);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, d->offset, 4, R0);
	nft_meta(t, NFT_META_L4PROTO, R1);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R2);
	nft_lookup(t, services, R0, false);
	verdict(t, NF_ACCEPT);
	nft_rule_begin(t, chain);
	protocol_is(t, IPPROTO_ICMP);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, d->offset, 4, R0);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, R1);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 1, 1, R2);
	nft_lookup(t, icmp, R0, false);
	verdict(t, NF_ACCEPT);

	VEC_FOREACH (&g->rules, r) {
		struct box b = rule_box(r);
		bool is_plain = r->group != 0;
		uint8_t first[BOX_KEY_SIZE], last[BOX_KEY_SIZE];

		if (r->is_ingress != d->is_ingress)
			continue;
		VEC_FOREACH (&taken, other) {
			if (other->is_icmp == b.is_icmp &&
			    (box_holds(other, b.first) || box_holds(other, b.last)))
				is_plain = true;
		}
		if (is_plain) {
			write_plain_rule(t, chain, d->offset, r, &b);
			continue;
		}
		box_key(&b, b.first, first);
		box_key(&b, b.last, last);
		nft_element_add_range(t, b.is_icmp ? icmp : services, first, last, BOX_KEY_SIZE);
		vec_add(&taken, b);
	}
	vec_done(&taken);
}

static void
create_group(struct nft *t, uint32_t index)
{
	char name[NFT_NAME_SIZE];

	nft_set_add(t, NAME("m", index), address_field, 1, false);
	for (unsigned i = 0; i < ARRAY_SIZE(directions); i++) {
		const struct direction *d = &directions[i];

		nft_chain_add(t, name_of(name, d->chain, index));
		nft_set_add(t, name_of(name, d->services, index), rule_fields,
		    ARRAY_SIZE(rule_fields), true);
		nft_set_add(
		    t, name_of(name, d->icmp, index), icmp_fields, ARRAY_SIZE(icmp_fields), true);
	}
}

static void
update_members(struct nft *t, const struct policy_group *old, const struct policy_group *new)
{
	char name[NFT_NAME_SIZE];
	size_t i = 0, j = 0, olds = old ? old->members.count : 0;

	NAME("m", new->index);
	while (i < olds || j < new->members.count) {
		int order = i == olds ? 1
			    : j == new->members.count
				? -1
				: address_compare(&old->members.items[i], &new->members.items[j]);

		if (order < 0)
			nft_element_remove(t, name, &old->members.items[i], 4);
		else if (order > 0)
			nft_element_add(t, name, &new->members.items[j], 4);
		i += order <= 0;
		j += order >= 0;
	}
}

static void
update_rules(struct nft *t, const struct policy_group *old, const struct policy_group *new)
{
	char name[NFT_NAME_SIZE];

	if (old && rules_are_equal(old, new))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(directions); i++) {
		const struct direction *d = &directions[i];

		if (old) {
			nft_chain_flush(t, name_of(name, d->chain, new->index));
			nft_set_flush(t, name_of(name, d->services, new->index));
			nft_set_flush(t, name_of(name, d->icmp, new->index));
		}
		write_rules(t, new, d);
	}
}

/* All chains of a direction go before any set that their rules may name. */
static void
remove_groups(struct nft *t, const struct policy_groups *old, const struct policy_groups *new)
{
	char name[NFT_NAME_SIZE];

	VEC_FOREACH (old, g) {
		if (group_find(new, g->index))
			continue;
		for (unsigned i = 0; i < ARRAY_SIZE(directions); i++)
			nft_chain_remove(t, name_of(name, directions[i].chain, g->index));
	}
	VEC_FOREACH (old, g) {
		if (group_find(new, g->index))
			continue;
		nft_set_remove(t, NAME("m", g->index));
		for (unsigned i = 0; i < ARRAY_SIZE(directions); i++) {
			nft_set_remove(t, name_of(name, directions[i].services, g->index));
			nft_set_remove(t, name_of(name, directions[i].icmp, g->index));
		}
	}
}

static void
update_groups(struct nft *t, const struct policy_groups *old, const struct policy_groups *new)
{
	VEC_FOREACH (new, g) {
		if (!group_find(old, g->index))
			create_group(t, g->index);
	}
	VEC_FOREACH (new, g) {
		const struct policy_group *was = group_find(old, g->index);

		update_members(t, was, g);
		update_rules(t, was, g);
	}
	remove_groups(t, old, new);
}

/* -- NICs -- */

#define NIC_KEY_SIZE 28
#define NIC_ELEMENTS_MAX (2 + 2 * POLICY_GROUPS_PER_NIC + 3)

struct nic_element {
	uint8_t family;
	char set[8];
	uint8_t key[NIC_KEY_SIZE], key_size;
	char chain[NFT_NAME_SIZE]; /* a verdict map's value */
	struct in_addr value;      /* an address map's value; 0: a plain set */
};

static unsigned
nic_elements(const struct policy_nic *nic, struct nic_element out[NIC_ELEMENTS_MAX])
{
	unsigned n = 0;
	uint8_t key[NIC_KEY_SIZE] = { 0 };

	if (!nic)
		return 0;
	memset(out, 0, NIC_ELEMENTS_MAX * sizeof(*out));
	(void)snprintf((char *)key, IFNAMSIZ, TAPS "%u", nic->index);
	memcpy(key + 16, nic->mac, 6);
	memcpy(key + 24, &nic->address, 4);
	for (unsigned i = 0; i < 2; i++, n++) {
		out[n] = (struct nic_element){ .family = i ? NFPROTO_ARP : NFPROTO_INET,
			.key_size = NIC_KEY_SIZE };
		(void)snprintf(out[n].set, sizeof(out[n].set), "%s", i ? "nic" : "nic4");
		memcpy(out[n].key, key, NIC_KEY_SIZE);
	}
	for (unsigned k = 0; k < nic->group_count; k++) {
		for (unsigned i = 0; i < 2; i++, n++) {
			out[n] =
			    (struct nic_element){ .family = NFPROTO_INET, .key_size = IFNAMSIZ };
			(void)snprintf(out[n].set, sizeof(out[n].set), "sg%c%u", "io"[i], k);
			name_of(out[n].chain, directions[i].chain, nic->groups[k]);
			memcpy(out[n].key, key, IFNAMSIZ);
		}
	}
	if (!nic->public_address.s_addr)
		return n;
	for (unsigned i = 0; i < 3; i++, n++) {
		static const char *const sets[] = { "dn", "sn", "eip" };

		out[n] = (struct nic_element){ .family = NFPROTO_INET, .key_size = 4 };
		(void)snprintf(out[n].set, sizeof(out[n].set), "%s", sets[i]);
		memcpy(out[n].key, i == 0 ? &nic->public_address : &nic->address, 4);
		if (i < 2)
			out[n].value = i == 0 ? nic->address : nic->public_address;
	}
	return n;
}

static bool
element_is_in(const struct nic_element *x, const struct nic_element *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct nic_element *y = &list[i];

		if (x->family == y->family && strcmp(x->set, y->set) == 0 &&
		    memcmp(x->key, y->key, sizeof(x->key)) == 0 &&
		    strcmp(x->chain, y->chain) == 0 && x->value.s_addr == y->value.s_addr)
			return true;
	}
	return false;
}

/* Turns one NIC into another; either may be NULL. is_forced adds also what should be there already:
 * adding the same again is accepted. */
static void
update_nic(
    struct nft *t, const struct policy_nic *old, const struct policy_nic *new, bool is_forced)
{
	struct nic_element before[NIC_ELEMENTS_MAX], after[NIC_ELEMENTS_MAX];
	unsigned before_count = nic_elements(old, before), after_count = nic_elements(new, after);

	for (unsigned i = 0; i < before_count; i++) {
		if (element_is_in(&before[i], after, after_count))
			continue;
		nft_table_use(t, before[i].family, TABLE);
		nft_element_remove(t, before[i].set, before[i].key, before[i].key_size);
	}
	for (unsigned i = 0; i < after_count; i++) {
		const struct nic_element *x = &after[i];

		if (!is_forced && element_is_in(x, before, before_count))
			continue;
		nft_table_use(t, x->family, TABLE);
		if (x->chain[0])
			nft_element_add_jump(t, x->set, x->key, x->key_size, x->chain);
		else if (x->value.s_addr)
			nft_element_add_data(t, x->set, x->key, x->key_size, &x->value, 4);
		else
			nft_element_add(t, x->set, x->key, x->key_size);
	}
	nft_table_use(t, NFPROTO_INET, TABLE);
}

/* -- mirror -- */

void
policy_done(struct policy *p)
{
	netlink_free(p->netlink);
	vec_done(&p->nics);
	groups_done(&p->groups);
	*p = (struct policy){ 0 };
}

static struct policy_nic *
nic_find(const struct policy *p, uint32_t index)
{
	VEC_FOREACH (&p->nics, nic) {
		if (nic->index == index)
			return nic;
	}
	return NULL;
}

const struct policy_nic *
policy_nic_find(const struct policy *p, uint32_t index)
{
	return nic_find(p, index);
}

static bool
read_index(const void *text, size_t n, const char *prefix, uint32_t *ret)
{
	struct str s = { text, strnlen(text, n) };
	size_t skip = strlen(prefix);

	return str_starts(s, prefix) && str_to_u32((struct str){ s.p + skip, s.n - skip }, ret);
}

static void
load_nic(const struct nft_element *x, void *arg)
{
	struct policy *p = arg;
	struct policy_nic nic = { 0 };

	if (x->key_size != NIC_KEY_SIZE || !read_index(x->key, IFNAMSIZ, TAPS, &nic.index) ||
	    nic_find(p, nic.index))
		return;
	memcpy(nic.mac, (const uint8_t *)x->key + 16, 6);
	memcpy(&nic.address, (const uint8_t *)x->key + 24, 4);
	vec_add(&p->nics, nic);
}

static void
load_nic_group(const struct nft_element *x, void *arg)
{
	struct policy *p = arg;
	uint32_t index, group;
	struct policy_nic *nic;

	if (x->key_size != IFNAMSIZ || !x->chain || !read_index(x->key, IFNAMSIZ, TAPS, &index) ||
	    !read_index(x->chain, strlen(x->chain), "i_", &group))
		return;
	nic = nic_find(p, index);
	if (nic && nic->group_count < POLICY_GROUPS_PER_NIC)
		nic->groups[nic->group_count++] = group;
}

static void
load_public(const struct nft_element *x, void *arg)
{
	struct policy *p = arg;

	if (x->key_size != 4 || x->data_size != 4)
		return;
	VEC_FOREACH (&p->nics, nic) {
		if (memcmp(&nic->address, x->data, 4) == 0)
			memcpy(&nic->public_address, x->key, 4);
	}
}

static void
load_chain(const char *chain, void *arg)
{
	struct policy *p = arg;
	uint32_t index;

	p->has_table = true;
	if (read_index(chain, strlen(chain), "i_", &index))
		(void)group_get(&p->groups, index);
}

static int
load(struct policy *p)
{
	char name[NFT_NAME_SIZE];
	int r;

	p->nics.count = 0;
	groups_done(&p->groups);
	p->has_table = p->has_contents = false;
	r = nft_chains(p->netlink, NFPROTO_INET, TABLE, load_chain, p);
	if (r == 0)
		r = nft_elements(p->netlink, NFPROTO_INET, TABLE, "nic4", load_nic, p);
	for (unsigned k = 0; r == 0 && k < POLICY_GROUPS_PER_NIC; k++) {
		(void)snprintf(name, sizeof(name), "sgi%u", k);
		r = nft_elements(p->netlink, NFPROTO_INET, TABLE, name, load_nic_group, p);
	}
	if (r == 0)
		r = nft_elements(p->netlink, NFPROTO_INET, TABLE, "dn", load_public, p);
	return r;
}

int
policy_refresh(struct policy *p, struct err *e)
{
	uint32_t generation = 0;
	int r;

	r = nft_generation(p->netlink, &generation);
	if (r == 0 && p->is_loaded && generation == p->generation)
		return 0;
	if (r == 0)
		r = load(p);
	p->is_loaded = r == 0;
	p->generation = generation;
	return r < 0 ? err_set_errno(e, -r, "cannot read packet filter") : 0;
}

/* Commits; afterwards the mirror is true again if the caller brings it up to date. */
static int
commit(struct policy *p, struct nft *t, struct err *e)
{
	uint32_t failed = 0;
	int r;

	r = nft_commit(t, p->netlink, &failed);
	if (r < 0) {
		p->is_loaded = false;
		return err_set_errno(
		    e, -r, "packet filter refused change %u of %u", failed, t->batch.count);
	}
	r = nft_generation(p->netlink, &p->generation);
	if (r < 0)
		p->is_loaded = false;
	return 0;
}

/* Groups that NICs or other groups' rules name exist, if only as empty ones. */
static void
add_named_groups(
    struct policy_groups *groups, const struct policy *p, const struct policy_nic *more)
{
	for (size_t i = 0; i < groups->count; i++) {
		for (size_t j = 0; j < groups->items[i].rules.count; j++) {
			uint32_t named = groups->items[i].rules.items[j].group;

			if (named)
				(void)group_get(groups, named);
		}
	}
	VEC_FOREACH (&p->nics, nic) {
		for (unsigned k = 0; k < nic->group_count; k++)
			(void)group_get(groups, nic->groups[k]);
	}
	for (unsigned k = 0; more && k < more->group_count; k++)
		(void)group_get(groups, more->groups[k]);
}

static int
check_groups(const struct dataplane_group *groups, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		const struct dataplane_group *g = &groups[i];

		if (!g->index)
			return err_set(e, ERR_INVALID, "group index is 0");
		if (g->rule_count > DATAPLANE_RULES_MAX || g->member_count > DATAPLANE_MEMBERS_MAX)
			return err_set(e, ERR_LIMIT, "group %u has %zu rules and %zu members",
			    g->index, g->rule_count, g->member_count);
		for (size_t j = 0; j < g->rule_count; j++) {
			const struct dataplane_rule *r = &g->rules[j];
			int32_t limit = r->protocol == IPPROTO_ICMP ? 255 : 65535;

			if (r->protocol < -1 || r->protocol > 255 || r->prefix > 32 ||
			    r->from > limit || r->to > limit || r->from < -1 || r->to < -1 ||
			    (has_ports(r->protocol) && r->from > r->to))
				return err_set(e, ERR_INVALID,
				    "rule %zu of group %u is out of range", j, g->index);
		}
		for (size_t j = 0; j < i; j++) {
			if (groups[j].index == g->index)
				return err_set(e, ERR_INVALID, "group %u is named twice", g->index);
		}
	}
	return 0;
}

int
policy_put_groups(
    struct policy *p, const struct dataplane_group *groups, size_t count, struct err *e)
{
	_cleanup_(groups_done) struct policy_groups wanted = { 0 };
	const struct policy_groups none = { 0 };
	_cleanup_(nft_done) struct nft t = { 0 };
	struct policy_groups old;
	int r;

	r = check_groups(groups, count, e);
	if (r < 0)
		return r;
	r = policy_refresh(p, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		group_fill(group_get(&wanted, groups[i].index), &groups[i]);
	add_named_groups(&wanted, p, NULL);

	nft_begin(&t);
	if (p->has_contents) {
		nft_table_use(&t, NFPROTO_INET, TABLE);
		update_groups(&t, &p->groups, &wanted);
	} else { /* everything anew, at once: what passes goes on passing */
		add_skeleton(&t);
		update_groups(&t, &none, &wanted);
		VEC_FOREACH (&p->nics, nic)
			update_nic(&t, NULL, nic, true);
	}
	r = commit(p, &t, e);
	if (r < 0)
		return r;
	old = p->groups;
	p->groups = wanted;
	wanted = old;
	p->has_table = p->has_contents = true;
	return 0;
}

int
policy_put_nic(struct policy *p, const struct policy_nic *nic, struct err *e)
{
	_cleanup_(groups_done) struct policy_groups wanted = { 0 };
	_cleanup_(nft_done) struct nft t = { 0 };
	struct policy_nic *old, *robbed = NULL;
	int r;

	r = policy_refresh(p, e);
	if (r < 0)
		return r;
	if (!p->has_table)
		return err_set(e, ERR_NOT_FOUND, "VPC has no packet filter yet");
	old = nic_find(p, nic->index);
	if (!old && p->nics.count >= DATAPLANE_NICS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d NICs in one VPC", DATAPLANE_NICS_MAX);
	VEC_FOREACH (&p->nics, other) {
		if (other != old && nic->public_address.s_addr &&
		    other->public_address.s_addr == nic->public_address.s_addr)
			robbed = other;
	}

	nft_begin(&t);
	nft_table_use(&t, NFPROTO_INET, TABLE);
	for (unsigned k = 0; k < nic->group_count; k++) {
		struct policy_group empty = { .index = nic->groups[k] };

		if (group_find(&p->groups, empty.index) || group_find(&wanted, empty.index))
			continue;
		(void)group_get(&wanted, empty.index);
		create_group(&t, empty.index);
		update_rules(&t, NULL, &empty);
	}
	if (robbed) {
		struct policy_nic without = *robbed;

		without.public_address.s_addr = 0;
		update_nic(&t, robbed, &without, false);
	}
	update_nic(&t, old, nic, !p->has_contents);
	r = commit(p, &t, e);
	if (r < 0)
		return r;
	VEC_FOREACH (&wanted, g)
		(void)group_get(&p->groups, g->index);
	if (robbed)
		robbed->public_address.s_addr = 0;
	if (old)
		*old = *nic;
	else
		vec_add(&p->nics, *nic);
	return 0;
}

int
policy_remove_nic(struct policy *p, uint32_t index, struct err *e)
{
	_cleanup_(nft_done) struct nft t = { 0 };
	struct policy_nic *old;
	int r;

	r = policy_refresh(p, e);
	if (r < 0)
		return r;
	old = nic_find(p, index);
	if (!old)
		return 0;
	nft_begin(&t);
	nft_table_use(&t, NFPROTO_INET, TABLE);
	update_nic(&t, old, NULL, false);
	r = commit(p, &t, e);
	if (r < 0)
		return r;
	*old = p->nics.items[--p->nics.count];
	return 0;
}

/* -- the node -- */

static void
device_is_in(struct nft *t, uint32_t key, const char *set, bool is_inverted)
{
	nft_meta(t, key, R0);
	nft_lookup(t, set, R0, is_inverted);
}

static void
add_device(struct nft *t, const char *set, const char *name)
{
	char key[IFNAMSIZ] = { 0 };

	(void)snprintf(key, sizeof(key), "%s", name);
	nft_element_add(t, set, key, sizeof(key));
}

int
policy_node_put(struct netlink *netlink, const char *public_interface,
    const char (*exits)[IF_NAMESIZE], size_t exit_count, struct err *e)
{
	_cleanup_(nft_done) struct nft t = { 0 };
	uint32_t failed = 0;
	int r;

	nft_begin(&t);
	nft_table_use(&t, NFPROTO_INET, NODE_TABLE);
	nft_table_add(&t);
	nft_table_remove(&t);
	nft_table_add(&t);
	nft_set_add(&t, "exits", device_field, 1, false);
	nft_set_add(&t, "outside", device_field, 1, false);
	for (size_t i = 0; i < exit_count; i++) {
		add_device(&t, "exits", exits[i]);
		add_device(&t, "outside", exits[i]);
	}
	if (public_interface)
		add_device(&t, "outside", public_interface);

	nft_chain_add_base(&t, "inp", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER, NF_ACCEPT);
	nft_rule_begin(&t, "inp");
	device_is_in(&t, NFT_META_IIFNAME, "exits", true);
	verdict(&t, NF_ACCEPT);
	nft_rule_begin(&t, "inp");
	state_has(&t, STATE_ESTABLISHED | STATE_RELATED);
	verdict(&t, NF_ACCEPT);
	nft_rule_begin(&t, "inp");
	verdict(&t, NF_DROP);

	nft_chain_add_base(&t, "fwd", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER, NF_ACCEPT);
	nft_rule_begin(&t, "fwd");
	device_is_in(&t, NFT_META_IIFNAME, "exits", false);
	device_is_in(&t, NFT_META_OIFNAME, "outside", true);
	verdict(&t, NF_DROP);
	r = nft_commit(&t, netlink, &failed);
	return r < 0 ? err_set_errno(e, -r, "node's packet filter refused change %u", failed) : 0;
}
