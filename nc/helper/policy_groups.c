/* Security groups: each has a chain and two sets of ranges per direction, and a set of its members.
 * Groups are kept as sorted values, so that two versions compare and only the difference is sent. A
 * set of address, protocol and port ranges refuses elements that overlap at an end; the few rules
 * that do so are written as plain rules instead, decided by the same test as the kernel's. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "helper/policy_internal.h"

static const struct nft_field rule_fields[] = { { NFT_KEY_IPV4, 4 }, { NFT_KEY_PROTOCOL, 1 },
	{ NFT_KEY_PORT, 2 } };
static const struct nft_field icmp_fields[] = { { NFT_KEY_IPV4, 4 }, { NFT_KEY_ICMP_TYPE, 1 },
	{ NFT_KEY_ICMP_CODE, 1 } };
static const struct nft_field address_field[] = { { NFT_KEY_IPV4, 4 } };

/* -- values -- */

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

void
policy_groups_done(struct policy_groups *g)
{
	VEC_FOREACH (g, group) {
		vec_done(&group->rules);
		vec_done(&group->members);
	}
	vec_done(g);
}

struct policy_group *
policy_group_find(const struct policy_groups *g, uint32_t index)
{
	VEC_FOREACH (g, group) {
		if (group->index == index)
			return group;
	}
	return NULL;
}

struct policy_group *
policy_group_get(struct policy_groups *g, uint32_t index)
{
	struct policy_group *found = policy_group_find(g, index);

	if (found)
		return found;
	vec_add(g, ((struct policy_group){ .index = index }));
	return &g->items[g->count - 1];
}

void
policy_group_fill(struct policy_group *to, const struct dataplane_group *from)
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

/* -- in the kernel -- */

const char *
policy_name(char name[NFT_NAME_SIZE], const char *prefix, uint32_t index)
{
	(void)snprintf(name, NFT_NAME_SIZE, "%s_%u", prefix, index);
	return name;
}

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
		match_protocol(t, (uint8_t)r->protocol);
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
		nft_lookup(t, policy_name(name, "m", r->group), R0, false);
	} else {
		uint32_t first = htonl(b->first[0]), last = htonl(b->last[0]);

		nft_range(t, R0, &first, &last, 4);
	}
	write_service(t, r, b);
	rule_verdict(t, NF_ACCEPT);
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

/* Where a group's rules of one direction go: into sets, or, where the sets refuse, into the chain.
 */
struct layout {
	VEC(struct box) elements;                  /* narrow ones first */
	VEC(const struct dataplane_rule *) plains; /* of the group that it is made from */
};

static void
layout_done(struct layout *l)
{
	vec_done(&l->elements);
	vec_done(&l->plains);
}

static bool
ends_in(const struct box *b, const struct box *other)
{
	return other->is_icmp == b->is_icmp &&
	       (box_holds(other, b->first) || box_holds(other, b->last));
}

static void
layout_fill(struct layout *l, const struct policy_group *g, const struct direction *d)
{
	VEC_FOREACH (&g->rules, r) {
		struct box b = rule_box(r);
		bool is_plain = r->group != 0;

		if (r->is_ingress != d->is_ingress)
			continue;
		VEC_FOREACH (&l->elements, other)
			is_plain = is_plain || ends_in(&b, other);
		if (is_plain)
			vec_add(&l->plains, r);
		else
			vec_add(&l->elements, b);
	}
}

static void
write_element(struct nft *t, const struct policy_group *g, const struct direction *d,
    const struct box *b, bool is_added)
{
	uint8_t first[BOX_KEY_SIZE], last[BOX_KEY_SIZE];
	char name[NFT_NAME_SIZE];

	policy_name(name, b->is_icmp ? d->icmp : d->services, g->index);
	box_key(b, b->first, first);
	box_key(b, b->last, last);
	if (is_added)
		nft_element_add_range(t, name, first, last, BOX_KEY_SIZE);
	else
		nft_element_remove_range(t, name, first, last, BOX_KEY_SIZE);
}

static void
write_chain(
    struct nft *t, const struct policy_group *g, const struct direction *d, const struct layout *l)
{
	char chain[NFT_NAME_SIZE], name[NFT_NAME_SIZE];

	policy_name(chain, d->chain, g->index);
	nft_rule_begin(t, chain);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, d->offset, 4, R0);
	nft_meta(t, NFT_META_L4PROTO, R1);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R2);
	nft_lookup(t, policy_name(name, d->services, g->index), R0, false);
	rule_verdict(t, NF_ACCEPT);
	nft_rule_begin(t, chain);
	match_protocol(t, IPPROTO_ICMP);
	nft_payload(t, NFT_PAYLOAD_NETWORK_HEADER, d->offset, 4, R0);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, R1);
	nft_payload(t, NFT_PAYLOAD_TRANSPORT_HEADER, 1, 1, R2);
	nft_lookup(t, policy_name(name, d->icmp, g->index), R0, false);
	rule_verdict(t, NF_ACCEPT);
	VEC_FOREACH (&l->plains, r) {
		struct box b = rule_box(*r);

		write_plain_rule(t, chain, d->offset, *r, &b);
	}
}

static bool
box_is_in(const struct box *b, const struct layout *l)
{
	VEC_FOREACH (&l->elements, other) {
		if (other->is_icmp == b->is_icmp &&
		    memcmp(other->first, b->first, sizeof(b->first)) == 0 &&
		    memcmp(other->last, b->last, sizeof(b->last)) == 0)
			return true;
	}
	return false;
}

static bool
plains_are_equal(const struct layout *a, const struct layout *b)
{
	if (a->plains.count != b->plains.count)
		return false;
	for (size_t i = 0; i < a->plains.count; i++) {
		if (rule_compare(a->plains.items[i], b->plains.items[i]) != 0)
			return false;
	}
	return true;
}

/* A narrow range can't join a set in which a wide one lies already. */
static bool
must_refill(const struct layout *old, const struct layout *new)
{
	VEC_FOREACH (&new->elements, b) {
		if (box_is_in(b, old))
			continue;
		VEC_FOREACH (&new->elements, kept) {
			if (kept != b && ends_in(b, kept) && box_is_in(kept, old))
				return true;
		}
	}
	return false;
}

static void
update_elements(struct nft *t, const struct policy_group *g, const struct direction *d,
    const struct layout *old, const struct layout *new)
{
	const struct layout none = { 0 };
	char name[NFT_NAME_SIZE];

	if (must_refill(old, new)) {
		nft_set_flush(t, policy_name(name, d->services, g->index));
		nft_set_flush(t, policy_name(name, d->icmp, g->index));
		old = &none;
	}
	VEC_FOREACH (&old->elements, b) {
		if (!box_is_in(b, new))
			write_element(t, g, d, b, false);
	}
	VEC_FOREACH (&new->elements, b) {
		if (!box_is_in(b, old))
			write_element(t, g, d, b, true);
	}
}

static void
group_create(struct nft *t, uint32_t index)
{
	char name[NFT_NAME_SIZE];

	nft_set_add(t, policy_name(name, "m", index), address_field, 1, false);
	for (unsigned i = 0; i < ARRAY_SIZE(directions); i++) {
		const struct direction *d = &directions[i];

		nft_chain_add(t, policy_name(name, d->chain, index));
		nft_set_add(t, policy_name(name, d->services, index), rule_fields,
		    ARRAY_SIZE(rule_fields), true);
		nft_set_add(t, policy_name(name, d->icmp, index), icmp_fields,
		    ARRAY_SIZE(icmp_fields), true);
	}
}

static void
update_members(struct nft *t, const struct policy_group *old, const struct policy_group *new)
{
	char name[NFT_NAME_SIZE];
	size_t i = 0, j = 0, olds = old ? old->members.count : 0;

	policy_name(name, "m", new->index);
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
		_cleanup_(layout_done) struct layout before = { 0 }, after = { 0 };

		if (old)
			layout_fill(&before, old, d);
		layout_fill(&after, new, d);
		if (old && !plains_are_equal(&before, &after))
			nft_chain_flush(t, policy_name(name, d->chain, new->index));
		if (!old || !plains_are_equal(&before, &after))
			write_chain(t, new, d, &after);
		update_elements(t, new, d, &before, &after);
	}
}

/* All chains of a direction go before any set that their rules may name. */
static void
remove_groups(struct nft *t, const struct policy_groups *old, const struct policy_groups *new)
{
	char name[NFT_NAME_SIZE];

	VEC_FOREACH (old, g) {
		if (policy_group_find(new, g->index))
			continue;
		for (unsigned i = 0; i < ARRAY_SIZE(directions); i++)
			nft_chain_remove(t, policy_name(name, directions[i].chain, g->index));
	}
	VEC_FOREACH (old, g) {
		if (policy_group_find(new, g->index))
			continue;
		nft_set_remove(t, policy_name(name, "m", g->index));
		for (unsigned i = 0; i < ARRAY_SIZE(directions); i++) {
			nft_set_remove(t, policy_name(name, directions[i].services, g->index));
			nft_set_remove(t, policy_name(name, directions[i].icmp, g->index));
		}
	}
}

void
policy_groups_update(
    struct nft *t, const struct policy_groups *old, const struct policy_groups *new)
{
	VEC_FOREACH (new, g) {
		if (!policy_group_find(old, g->index))
			group_create(t, g->index);
	}
	VEC_FOREACH (new, g) {
		const struct policy_group *was = policy_group_find(old, g->index);

		update_members(t, was, g);
		update_rules(t, was, g);
	}
	remove_groups(t, old, new);
}

int
policy_groups_check(const struct dataplane_group *groups, size_t count, struct err *e)
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
