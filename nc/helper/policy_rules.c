/* The static skeleton of a VPC's ruleset: chains that refer to sets and maps by name. Hooks in
 * order: prerouting raw (anti-spoofing), conntrack, dstnat, forward 0 (egress of the sender's
 * groups), forward 10 (ingress of the receiver's), srcnat; two forward chains give "egress and
 * ingress" with plain accept. Also the node's own table. */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter_arp.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <string.h>
#include "helper/policy_internal.h"

#define EXIT "ext0"
#define NODE_TABLE "mallee"
#define STATE_BIT(s) (1U << ((s) + 1)) /* as nft's "ct state": NF_CT_STATE_BIT */
#define STATE_INVALID 1U
#define STATE_ESTABLISHED STATE_BIT(IP_CT_ESTABLISHED)
#define STATE_RELATED STATE_BIT(IP_CT_RELATED)
#define METADATA 0xa9fea9feU /* 169.254.169.254 */
#define RESOLVER 0xa9fea9fdU /* 169.254.169.253 */
#define ECHO_PER_SECOND 50

/* -- vocabulary of rules -- */

void
match_device(struct nft *t, uint32_t key, uint32_t operator, const char * name, bool is_prefix)
{
	char padded[IFNAMSIZ] = { 0 };

	memcpy(padded, name, strlen(name));
	nft_meta(t, key, R0);
	nft_compare(t, R0, operator, padded, is_prefix ? strlen(name) : IFNAMSIZ);
}

void
match_protocol(struct nft *t, uint8_t protocol)
{
	nft_meta(t, NFT_META_L4PROTO, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &protocol, 1);
}

void
match_port(struct nft *t, uint32_t offset, uint16_t port)
{
	uint16_t big = htons(port);

	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &big, 2);
}

void
match_address(struct nft *t, uint32_t offset, uint32_t address)
{
	uint32_t big = htonl(address);

	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &big, 4);
}

void
match_state(struct nft *t, uint32_t bits)
{
	nft_connection(t, NFT_CT_STATE, R0);
	nft_bits(t, R0, bits, false);
}

void
rule_verdict(struct nft *t, int32_t code)
{
	nft_verdict(t, code, NULL);
	nft_rule_end(t);
}

/* -- skeleton -- */

static const struct nft_field nic_fields[] = { { NFT_KEY_IFNAME, IFNAMSIZ }, { NFT_KEY_ETHER, 6 },
	{ NFT_KEY_IPV4, 4 } };
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
	rule_verdict(t, NF_DROP);
	nft_rule_begin(t, "pre");
	match_device(t, NFT_META_IIFNAME, NFT_CMP_EQ, TAPS, true);
	nft_verdict(t, NFT_JUMP, "from_nic");
	nft_rule_end(t);

	/* A guest without an address yet asks for one. */
	nft_rule_begin(t, "from_nic");
	match_address(t, IP_SOURCE, INADDR_ANY);
	match_protocol(t, IPPROTO_UDP);
	match_port(t, 0, 68);
	match_port(t, 2, 67);
	rule_verdict(t, NFT_RETURN);
	nft_rule_begin(t, "from_nic");
	nft_meta(t, NFT_META_IIFNAME, R0);
	nft_payload(t, NFT_PAYLOAD_LL_HEADER, 6, 6, R4);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE, 4, R6);
	nft_lookup(t, "nic4", R0, true);
	rule_verdict(t, NF_DROP);
}

static void
add_nat(struct nft *t)
{
	nft_chain_add_base(t, "nat_in", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST, NF_ACCEPT);
	nft_rule_begin(t, "nat_in");
	match_device(t, NFT_META_IIFNAME, NFT_CMP_EQ, EXIT, false);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_DESTINATION, 4, R0);
	nft_lookup_data(t, "dn", R0, R0);
	nft_nat(t, NFT_NAT_DNAT, R0);
	nft_rule_end(t);

	nft_chain_add_base(t, "nat_out", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, NF_ACCEPT);
	nft_rule_begin(t, "nat_out");
	match_device(t, NFT_META_OIFNAME, NFT_CMP_EQ, EXIT, false);
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
	match_device(t, NFT_META_IIFNAME, NFT_CMP_NEQ, TAPS, true);
	rule_verdict(t, NF_DROP);
	nft_rule_begin(t, "inp");
	match_state(t, STATE_ESTABLISHED);
	rule_verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "inp");
	match_protocol(t, IPPROTO_UDP);
	match_port(t, 2, 67);
	rule_verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "inp");
	match_address(t, IP_DESTINATION, METADATA);
	match_protocol(t, IPPROTO_TCP);
	match_port(t, 2, 80);
	rule_verdict(t, NF_ACCEPT);
	for (unsigned i = 0; i < ARRAY_SIZE(resolvers); i++) {
		nft_rule_begin(t, "inp");
		match_address(t, IP_DESTINATION, RESOLVER);
		match_protocol(t, resolvers[i]);
		match_port(t, 2, 53);
		rule_verdict(t, NF_ACCEPT);
	}
	nft_rule_begin(t, "inp");
	match_protocol(t, IPPROTO_ICMP);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &echo, 1);
	nft_limit(t, ECHO_PER_SECOND, ECHO_PER_SECOND);
	rule_verdict(t, NF_ACCEPT);
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
	match_state(t, STATE_ESTABLISHED | STATE_RELATED);
	rule_verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "egr");
	match_state(t, STATE_INVALID);
	rule_verdict(t, NF_DROP);
	/* From outside only what was sent to a public address. */
	nft_rule_begin(t, "egr");
	match_device(t, NFT_META_IIFNAME, NFT_CMP_EQ, EXIT, false);
	nft_connection(t, NFT_CT_STATUS, R0);
	nft_bits(t, R0, IPS_DST_NAT, true);
	rule_verdict(t, NF_DROP);
	nft_rule_begin(t, "egr");
	match_device(t, NFT_META_IIFNAME, NFT_CMP_NEQ, TAPS, true);
	rule_verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "egr");
	match_device(t, NFT_META_OIFNAME, NFT_CMP_EQ, EXIT, false);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE, 4, R0);
	nft_lookup(t, "eip", R0, true);
	rule_verdict(t, NF_DROP);
	add_group_maps(t, "egr", NFT_META_IIFNAME, "sgo");

	nft_chain_add_base(t, "ing", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER + 10, NF_DROP);
	nft_rule_begin(t, "ing");
	match_state(t, STATE_ESTABLISHED | STATE_RELATED);
	rule_verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "ing");
	match_device(t, NFT_META_OIFNAME, NFT_CMP_NEQ, TAPS, true);
	rule_verdict(t, NF_ACCEPT);
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
	match_device(t, NFT_META_IIFNAME, NFT_CMP_EQ, EXIT, false);
	rule_verdict(t, NF_ACCEPT);
	/* Duplicate address detection has no sender address. */
	nft_rule_begin(t, "inp");
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, 6, 2, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &request, 2);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, 14, 4, R0);
	nft_compare(t, R0, NFT_CMP_EQ, &none, 4);
	rule_verdict(t, NF_ACCEPT);
	nft_rule_begin(t, "inp");
	nft_meta(t, NFT_META_IIFNAME, R0);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, 8, 6, R4);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, 14, 4, R6);
	nft_lookup(t, "nic", R0, false);
	rule_verdict(t, NF_ACCEPT);
}

void
policy_skeleton_add(struct nft *t)
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
	rule_verdict(&t, NF_ACCEPT);
	nft_rule_begin(&t, "inp");
	match_state(&t, STATE_ESTABLISHED | STATE_RELATED);
	rule_verdict(&t, NF_ACCEPT);
	nft_rule_begin(&t, "inp");
	rule_verdict(&t, NF_DROP);

	nft_chain_add_base(&t, "fwd", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER, NF_ACCEPT);
	nft_rule_begin(&t, "fwd");
	device_is_in(&t, NFT_META_IIFNAME, "exits", false);
	device_is_in(&t, NFT_META_OIFNAME, "outside", true);
	rule_verdict(&t, NF_DROP);
	r = nft_commit(&t, netlink, &failed);
	return r < 0 ? err_set_errno(e, -r, "node's packet filter refused change %u", failed) : 0;
}
