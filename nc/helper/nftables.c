/* The encoder of nftables transactions. The nft program and its library read the whole table for
 * each command, so their cost grows with the ruleset (80 ms at 10,000 elements, docs/network.md);
 * an element encoded here costs 10 us whatever the table holds. Attributes follow
 * linux/netfilter/nf_tables.h; numbers are big-endian unless said otherwise. */
#include "helper/nftables.h"
#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

#define ELEMENT_LIST_MAX (48 * 1024) /* an attribute's length is 16 bits */

static uint16_t
message_type(int type)
{
	return (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
}

static void
put_u32(struct nlmsghdr *h, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(h, type, htonl(value));
}

static void
put_u64(struct nlmsghdr *h, uint16_t type, uint64_t value)
{
	mnl_attr_put_u64(h, type, htobe64(value));
}

void
nft_begin(struct nft *t)
{
	struct nlmsghdr *h;

	*t = (struct nft){ 0 };
	h = netlink_batch_begin(
	    &t->batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	netlink_batch_end(&t->batch, h);
}

void
nft_done(struct nft *t)
{
	netlink_batch_done(&t->batch);
}

static void
end_object(struct nft *t, struct nlmsghdr *h)
{
	t->last = t->batch.count - 1;
	netlink_batch_end(&t->batch, h);
}

/* Elements gather in one message until something else comes. */
static void
end_elements(struct nft *t)
{
	if (!t->element_set[0])
		return;
	mnl_attr_nest_end(t->open, t->list);
	end_object(t, t->open);
	t->open = NULL;
	t->element_set[0] = '\0';
}

static struct nlmsghdr *
begin_object(struct nft *t, int type, uint16_t flags)
{
	end_elements(t);
	assert(!t->open);
	return netlink_batch_begin(&t->batch, message_type(type), flags, t->family, 0);
}

int
nft_commit(struct nft *t, struct netlink *n, uint32_t *ret_failed)
{
	struct nlmsghdr *h;

	end_elements(t);
	assert(!t->open);
	if (nft_is_empty(t))
		return 0;
	h = netlink_batch_begin(&t->batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	netlink_batch_end(&t->batch, h);
	return netlink_batch_send(n, &t->batch, t->last, ret_failed);
}

static int
on_generation(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_GEN_ID && mnl_attr_get_payload_len(a) == 4)
			*(uint32_t *)arg = ntohl(mnl_attr_get_u32(a));
	}
	return 0;
}

static struct nlmsghdr *
get_message(struct netlink *n, int type, uint16_t flags, uint8_t family)
{
	struct nfgenmsg g = { .nfgen_family = family, .version = NFNETLINK_V0 };

	return netlink_message(n, message_type(type), flags, &g, sizeof(g));
}

int
nft_generation(struct netlink *n, uint32_t *ret)
{
	return netlink_query(n, get_message(n, NFT_MSG_GETGEN, 0, AF_UNSPEC), on_generation, ret);
}

void
nft_table_use(struct nft *t, uint8_t family, const char *name)
{
	end_elements(t);
	t->family = family;
	t->table = name;
}

void
nft_table_add(struct nft *t)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_NEWTABLE, NLM_F_CREATE);

	mnl_attr_put_strz(h, NFTA_TABLE_NAME, t->table);
	put_u32(h, NFTA_TABLE_FLAGS, 0);
	end_object(t, h);
}

void
nft_table_remove(struct nft *t)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_DELTABLE, 0);

	mnl_attr_put_strz(h, NFTA_TABLE_NAME, t->table);
	end_object(t, h);
}

void
nft_chain_add(struct nft *t, const char *name)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_NEWCHAIN, NLM_F_CREATE);

	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, t->table);
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
	end_object(t, h);
}

void
nft_chain_add_base(struct nft *t, const char *name, const char *type, uint32_t hook,
    int32_t priority, uint32_t policy)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	struct nlattr *nest;

	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, t->table);
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
	nest = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
	put_u32(h, NFTA_HOOK_HOOKNUM, hook);
	put_u32(h, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	mnl_attr_nest_end(h, nest);
	put_u32(h, NFTA_CHAIN_POLICY, policy);
	mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, type);
	end_object(t, h);
}

void
nft_chain_remove(struct nft *t, const char *name)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_DELCHAIN, 0);

	mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, t->table);
	mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
	end_object(t, h);
}

void
nft_chain_flush(struct nft *t, const char *name)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_DELRULE, 0);

	mnl_attr_put_strz(h, NFTA_RULE_TABLE, t->table);
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, name);
	end_object(t, h);
}

static struct nlmsghdr *
set_begin(struct nft *t, const char *name, uint32_t flags, uint32_t key_type, uint32_t key_size)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_NEWSET, NLM_F_CREATE);

	mnl_attr_put_strz(h, NFTA_SET_TABLE, t->table);
	mnl_attr_put_strz(h, NFTA_SET_NAME, name);
	put_u32(h, NFTA_SET_FLAGS, flags);
	put_u32(h, NFTA_SET_KEY_TYPE, key_type);
	put_u32(h, NFTA_SET_KEY_LEN, key_size);
	put_u32(h, NFTA_SET_ID, ++t->set_id);
	return h;
}

void
nft_set_add(struct nft *t, const char *name, const struct nft_field *fields, unsigned count,
    bool is_interval)
{
	uint32_t type = 0, size = 0;
	struct nlmsghdr *h;

	assert(count && count <= NFT_FIELDS_MAX);
	for (unsigned i = 0; i < count; i++) {
		type = type << 6 | fields[i].type;
		size += count > 1 ? (fields[i].size + 3U) & ~3U : fields[i].size;
	}
	h = set_begin(t, name,
	    (is_interval ? NFT_SET_INTERVAL : 0) | (count > 1 ? NFT_SET_CONCAT : 0), type, size);
	if (count > 1) {
		struct nlattr *description = mnl_attr_nest_start(h, NFTA_SET_DESC);
		struct nlattr *concat = mnl_attr_nest_start(h, NFTA_SET_DESC_CONCAT);

		for (unsigned i = 0; i < count; i++) {
			struct nlattr *item = mnl_attr_nest_start(h, NFTA_LIST_ELEM);

			put_u32(h, NFTA_SET_FIELD_LEN, fields[i].size);
			mnl_attr_nest_end(h, item);
		}
		mnl_attr_nest_end(h, concat);
		mnl_attr_nest_end(h, description);
	}
	end_object(t, h);
}

void
nft_verdict_map_add(struct nft *t, const char *name, enum nft_key_type key, uint8_t key_size)
{
	struct nlmsghdr *h = set_begin(t, name, NFT_SET_MAP, key, key_size);

	put_u32(h, NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
	put_u32(h, NFTA_SET_DATA_LEN, 0);
	end_object(t, h);
}

void
nft_address_map_add(struct nft *t, const char *name)
{
	struct nlmsghdr *h = set_begin(t, name, NFT_SET_MAP, NFT_KEY_IPV4, 4);

	put_u32(h, NFTA_SET_DATA_TYPE, NFT_KEY_IPV4);
	put_u32(h, NFTA_SET_DATA_LEN, 4);
	end_object(t, h);
}

void
nft_set_remove(struct nft *t, const char *name)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_DELSET, 0);

	mnl_attr_put_strz(h, NFTA_SET_TABLE, t->table);
	mnl_attr_put_strz(h, NFTA_SET_NAME, name);
	end_object(t, h);
}

void
nft_set_flush(struct nft *t, const char *name)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_DELSETELEM, 0);

	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, t->table);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, name);
	end_object(t, h);
}

static void
put_value(struct nlmsghdr *h, uint16_t type, const void *p, size_t n)
{
	struct nlattr *nest = mnl_attr_nest_start(h, type);

	mnl_attr_put(h, NFTA_DATA_VALUE, n, p);
	mnl_attr_nest_end(h, nest);
}

static void
put_verdict(struct nlmsghdr *h, uint16_t type, int32_t code, const char *chain)
{
	struct nlattr *data = mnl_attr_nest_start(h, type);
	struct nlattr *verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);

	put_u32(h, NFTA_VERDICT_CODE, (uint32_t)code);
	if (chain)
		mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
	mnl_attr_nest_end(h, verdict);
	mnl_attr_nest_end(h, data);
}

/* Opens the next element of `set`, in a message shared with the one before when that fits. */
static struct nlattr *
element_begin(struct nft *t, uint16_t type, const char *set, const void *key, const void *last,
    size_t key_size)
{
	struct nlattr *nest;

	if (t->element_set[0] && (t->element_type != type || strcmp(t->element_set, set) != 0 ||
				     t->open->nlmsg_len > ELEMENT_LIST_MAX))
		end_elements(t);
	if (!t->element_set[0]) {
		uint16_t flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;

		t->open = begin_object(t, type, flags);
		mnl_attr_put_strz(t->open, NFTA_SET_ELEM_LIST_TABLE, t->table);
		mnl_attr_put_strz(t->open, NFTA_SET_ELEM_LIST_SET, set);
		(void)snprintf(t->element_set, sizeof(t->element_set), "%s", set);
		t->element_type = type;
		t->list = mnl_attr_nest_start(t->open, NFTA_SET_ELEM_LIST_ELEMENTS);
	}
	nest = mnl_attr_nest_start(t->open, NFTA_LIST_ELEM);
	put_value(t->open, NFTA_SET_ELEM_KEY, key, key_size);
	if (last)
		put_value(t->open, NFTA_SET_ELEM_KEY_END, last, key_size);
	return nest;
}

void
nft_element_add(struct nft *t, const char *set, const void *key, size_t key_size)
{
	struct nlattr *nest = element_begin(t, NFT_MSG_NEWSETELEM, set, key, NULL, key_size);

	mnl_attr_nest_end(t->open, nest);
}

void
nft_element_add_range(
    struct nft *t, const char *set, const void *first, const void *last, size_t key_size)
{
	struct nlattr *nest = element_begin(t, NFT_MSG_NEWSETELEM, set, first, last, key_size);

	mnl_attr_nest_end(t->open, nest);
}

void
nft_element_add_jump(
    struct nft *t, const char *set, const void *key, size_t key_size, const char *chain)
{
	struct nlattr *nest = element_begin(t, NFT_MSG_NEWSETELEM, set, key, NULL, key_size);

	put_verdict(t->open, NFTA_SET_ELEM_DATA, NFT_JUMP, chain);
	mnl_attr_nest_end(t->open, nest);
}

void
nft_element_add_data(struct nft *t, const char *set, const void *key, size_t key_size,
    const void *data, size_t data_size)
{
	struct nlattr *nest = element_begin(t, NFT_MSG_NEWSETELEM, set, key, NULL, key_size);

	put_value(t->open, NFTA_SET_ELEM_DATA, data, data_size);
	mnl_attr_nest_end(t->open, nest);
}

void
nft_element_remove(struct nft *t, const char *set, const void *key, size_t key_size)
{
	struct nlattr *nest = element_begin(t, NFT_MSG_DELSETELEM, set, key, NULL, key_size);

	mnl_attr_nest_end(t->open, nest);
}

void
nft_element_remove_range(
    struct nft *t, const char *set, const void *first, const void *last, size_t key_size)
{
	struct nlattr *nest = element_begin(t, NFT_MSG_DELSETELEM, set, first, last, key_size);

	mnl_attr_nest_end(t->open, nest);
}

void
nft_rule_begin(struct nft *t, const char *chain)
{
	struct nlmsghdr *h = begin_object(t, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

	mnl_attr_put_strz(h, NFTA_RULE_TABLE, t->table);
	mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
	t->open = h;
	t->list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
}

void
nft_rule_end(struct nft *t)
{
	struct nlmsghdr *h = t->open;

	mnl_attr_nest_end(h, t->list);
	t->open = NULL;
	end_object(t, h);
}

struct expression {
	struct nlattr *item, *data;
};

static struct expression
expression_begin(struct nft *t, const char *name)
{
	struct expression x;

	x.item = mnl_attr_nest_start(t->open, NFTA_LIST_ELEM);
	mnl_attr_put_strz(t->open, NFTA_EXPR_NAME, name);
	x.data = mnl_attr_nest_start(t->open, NFTA_EXPR_DATA);
	return x;
}

static void
expression_end(struct nft *t, struct expression x)
{
	mnl_attr_nest_end(t->open, x.data);
	mnl_attr_nest_end(t->open, x.item);
}

void
nft_meta(struct nft *t, uint32_t key, uint32_t reg)
{
	struct expression x = expression_begin(t, "meta");

	put_u32(t->open, NFTA_META_KEY, key);
	put_u32(t->open, NFTA_META_DREG, reg);
	expression_end(t, x);
}

void
nft_payload(struct nft *t, uint32_t base, uint32_t offset, uint32_t size, uint32_t reg)
{
	struct expression x = expression_begin(t, "payload");

	put_u32(t->open, NFTA_PAYLOAD_DREG, reg);
	put_u32(t->open, NFTA_PAYLOAD_BASE, base);
	put_u32(t->open, NFTA_PAYLOAD_OFFSET, offset);
	put_u32(t->open, NFTA_PAYLOAD_LEN, size);
	expression_end(t, x);
}

void
nft_compare(struct nft *t, uint32_t reg, uint32_t operator, const void * data, size_t size)
{
	struct expression x = expression_begin(t, "cmp");

	put_u32(t->open, NFTA_CMP_SREG, reg);
	put_u32(t->open, NFTA_CMP_OP, operator);
	put_value(t->open, NFTA_CMP_DATA, data, size);
	expression_end(t, x);
}

void
nft_range(struct nft *t, uint32_t reg, const void *first, const void *last, size_t size)
{
	struct expression x = expression_begin(t, "range");

	put_u32(t->open, NFTA_RANGE_SREG, reg);
	put_u32(t->open, NFTA_RANGE_OP, NFT_RANGE_EQ);
	put_value(t->open, NFTA_RANGE_FROM_DATA, first, size);
	put_value(t->open, NFTA_RANGE_TO_DATA, last, size);
	expression_end(t, x);
}

static void
lookup(struct nft *t, const char *set, uint32_t reg, int64_t to_reg, uint32_t flags)
{
	struct expression x = expression_begin(t, "lookup");

	mnl_attr_put_strz(t->open, NFTA_LOOKUP_SET, set);
	put_u32(t->open, NFTA_LOOKUP_SREG, reg);
	if (to_reg >= 0)
		put_u32(t->open, NFTA_LOOKUP_DREG, (uint32_t)to_reg);
	if (flags)
		put_u32(t->open, NFTA_LOOKUP_FLAGS, flags);
	expression_end(t, x);
}

void
nft_lookup(struct nft *t, const char *set, uint32_t reg, bool is_inverted)
{
	lookup(t, set, reg, -1, is_inverted ? NFT_LOOKUP_F_INV : 0);
}

void
nft_lookup_verdict(struct nft *t, const char *map, uint32_t reg)
{
	lookup(t, map, reg, NFT_REG_VERDICT, 0);
}

void
nft_lookup_data(struct nft *t, const char *map, uint32_t reg, uint32_t to_reg)
{
	lookup(t, map, reg, to_reg, 0);
}

void
nft_connection(struct nft *t, uint32_t key, uint32_t reg)
{
	struct expression x = expression_begin(t, "ct");

	put_u32(t->open, NFTA_CT_KEY, key);
	put_u32(t->open, NFTA_CT_DREG, reg);
	expression_end(t, x);
}

void
nft_bits(struct nft *t, uint32_t reg, uint32_t mask, bool is_zero)
{
	struct expression x = expression_begin(t, "bitwise");
	uint32_t zero = 0;

	put_u32(t->open, NFTA_BITWISE_SREG, reg);
	put_u32(t->open, NFTA_BITWISE_DREG, reg);
	put_u32(t->open, NFTA_BITWISE_LEN, sizeof(mask));
	put_value(t->open, NFTA_BITWISE_MASK, &mask, sizeof(mask));
	put_value(t->open, NFTA_BITWISE_XOR, &zero, sizeof(zero));
	expression_end(t, x);
	nft_compare(t, reg, is_zero ? NFT_CMP_EQ : NFT_CMP_NEQ, &zero, sizeof(zero));
}

void
nft_limit(struct nft *t, uint64_t per_second, uint32_t burst)
{
	struct expression x = expression_begin(t, "limit");

	put_u64(t->open, NFTA_LIMIT_RATE, per_second);
	put_u64(t->open, NFTA_LIMIT_UNIT, 1);
	put_u32(t->open, NFTA_LIMIT_BURST, burst);
	put_u32(t->open, NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
	expression_end(t, x);
}

void
nft_nat(struct nft *t, uint32_t type, uint32_t reg)
{
	struct expression x = expression_begin(t, "nat");

	put_u32(t->open, NFTA_NAT_TYPE, type);
	put_u32(t->open, NFTA_NAT_FAMILY, NFPROTO_IPV4);
	put_u32(t->open, NFTA_NAT_REG_ADDR_MIN, reg);
	expression_end(t, x);
}

void
nft_verdict(struct nft *t, int32_t code, const char *chain)
{
	struct expression x = expression_begin(t, "immediate");

	put_u32(t->open, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	put_verdict(t->open, NFTA_IMMEDIATE_DATA, code, chain);
	expression_end(t, x);
}

struct chain_walk {
	const char *table;
	void (*fn)(const char *chain, void *arg);
	void *arg;
};

static int
on_chain(const struct nlmsghdr *h, void *arg)
{
	struct chain_walk *walk = arg;
	const char *table = NULL, *name = NULL;
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_CHAIN_TABLE)
			table = mnl_attr_get_str(a);
		else if (mnl_attr_get_type(a) == NFTA_CHAIN_NAME)
			name = mnl_attr_get_str(a);
	}
	if (table && name && strcmp(table, walk->table) == 0)
		walk->fn(name, walk->arg);
	return 0;
}

int
nft_chains(struct netlink *n, uint8_t family, const char *table, void (*fn)(const char *, void *),
    void *arg)
{
	struct chain_walk walk = { table, fn, arg };

	return netlink_query(
	    n, get_message(n, NFT_MSG_GETCHAIN, NLM_F_DUMP, family), on_chain, &walk);
}

struct element_walk {
	void (*fn)(const struct nft_element *element, void *arg);
	void *arg;
};

static void
parse_data(const struct nlattr *nest, const void **ret, size_t *ret_size, const char **ret_chain)
{
	const struct nlattr *a, *b;

	mnl_attr_for_each_nested(a, nest)
	{
		if (mnl_attr_get_type(a) == NFTA_DATA_VALUE) {
			*ret = mnl_attr_get_payload(a);
			*ret_size = mnl_attr_get_payload_len(a);
		} else if (mnl_attr_get_type(a) == NFTA_DATA_VERDICT) {
			mnl_attr_for_each_nested(b, a)
			{
				if (mnl_attr_get_type(b) == NFTA_VERDICT_CHAIN)
					*ret_chain = mnl_attr_get_str(b);
			}
		}
	}
}

static int
on_elements(const struct nlmsghdr *h, void *arg)
{
	struct element_walk *walk = arg;
	const struct nlattr *a, *item, *field;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(item, a)
		{
			struct nft_element element = { 0 };
			const char *none = NULL;

			mnl_attr_for_each_nested(field, item)
			{
				if (mnl_attr_get_type(field) == NFTA_SET_ELEM_KEY)
					parse_data(field, &element.key, &element.key_size, &none);
				else if (mnl_attr_get_type(field) == NFTA_SET_ELEM_DATA)
					parse_data(field, &element.data, &element.data_size,
					    &element.chain);
			}
			if (element.key)
				walk->fn(&element, walk->arg);
		}
	}
	return 0;
}

int
nft_elements(struct netlink *n, uint8_t family, const char *table, const char *set,
    void (*fn)(const struct nft_element *, void *), void *arg)
{
	struct nlmsghdr *h = get_message(n, NFT_MSG_GETSETELEM, NLM_F_DUMP, family);
	struct element_walk walk = { fn, arg };
	int r;

	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
	mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
	r = netlink_query(n, h, on_elements, &walk);
	return r == -ENOENT ? 0 : r;
}
