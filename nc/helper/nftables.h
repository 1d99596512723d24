#pragma once
/* nftables transactions, encoded directly: a batch of objects that takes effect as a whole or not
 * at all. Everything is named, so no handles are needed. Expressions work on 4-byte registers
 * NFT_REG32_x; a concatenation is neighbouring registers. */
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include "helper/netlink.h"

enum nft_key_type { /* what nft's listing calls them; the kernel does not look */
	NFT_KEY_IPV4 = 7,
	NFT_KEY_ETHER = 9,
	NFT_KEY_PROTOCOL = 12,
	NFT_KEY_PORT = 13,
	NFT_KEY_ICMP_TYPE = 14,
	NFT_KEY_ICMP_CODE = 32,
	NFT_KEY_IFNAME = 41,
};

#define NFT_NAME_SIZE 32 /* of our own chains, sets and maps */
struct nft {
	struct netlink_batch batch;
	uint8_t family;
	const char *table;     /* of what follows */
	struct nlmsghdr *open; /* the rule or element list under construction */
	struct nlattr *list;
	uint32_t last; /* the latest object's message */
	uint32_t set_id;
	char element_set[NFT_NAME_SIZE]; /* "": no element list is open */
	uint16_t element_type;
};
void nft_begin(struct nft *t);
void nft_done(struct nft *t);
static inline bool
nft_is_empty(const struct nft *t)
{
	return t->batch.count <= 1;
}
/* Commits. -errno of the first object refused; its ordinal for the message. Nothing to do is 0. */
int nft_commit(struct nft *t, struct netlink *n, uint32_t *ret_failed);
/* The number of transactions this namespace has seen: equal means that nobody changed anything. */
int nft_generation(struct netlink *n, uint32_t *ret);

void nft_table_use(struct nft *t, uint8_t family, const char *name); /* no message */
void nft_table_add(struct nft *t);
void nft_table_remove(struct nft *t);
void nft_chain_add(struct nft *t, const char *name);
void nft_chain_add_base(struct nft *t, const char *name, const char *type, uint32_t hook,
    int32_t priority, uint32_t policy);
void nft_chain_remove(struct nft *t, const char *name);
void nft_chain_flush(struct nft *t, const char *name);

struct nft_field {
	enum nft_key_type type;
	uint8_t size;
};
#define NFT_FIELDS_MAX 4
/* Elements are keys made of fields, each padded to 4 bytes. With is_interval every field is a
 * range. */
void nft_set_add(struct nft *t, const char *name, const struct nft_field *fields, unsigned count,
    bool is_interval);
void nft_verdict_map_add(struct nft *t, const char *name, enum nft_key_type key, uint8_t key_size);
void nft_address_map_add(struct nft *t, const char *name); /* IPv4 to IPv4 */
void nft_set_remove(struct nft *t, const char *name);
void nft_set_flush(struct nft *t, const char *name);

/* Elements: each call adds one; neighbours of the same set and verb share messages. */
void nft_element_add(struct nft *t, const char *set, const void *key, size_t key_size);
void nft_element_add_range(
    struct nft *t, const char *set, const void *first, const void *last, size_t key_size);
void nft_element_add_jump(
    struct nft *t, const char *set, const void *key, size_t key_size, const char *chain);
void nft_element_add_data(struct nft *t, const char *set, const void *key, size_t key_size,
    const void *data, size_t data_size);
void nft_element_remove(struct nft *t, const char *set, const void *key, size_t key_size);
void nft_element_remove_range(
    struct nft *t, const char *set, const void *first, const void *last, size_t key_size);

/* A rule: begin, expressions in order, end. */
void nft_rule_begin(struct nft *t, const char *chain);
void nft_rule_end(struct nft *t);
void nft_meta(struct nft *t, uint32_t key, uint32_t reg);
void nft_payload(struct nft *t, uint32_t base, uint32_t offset, uint32_t size, uint32_t reg);
void nft_compare(struct nft *t, uint32_t reg, uint32_t operator, const void * data, size_t size);
void nft_range(struct nft *t, uint32_t reg, const void *first, const void *last, size_t size);
void nft_lookup(struct nft *t, const char *set, uint32_t reg, bool is_inverted);
void nft_lookup_verdict(struct nft *t, const char *map, uint32_t reg);
void nft_lookup_data(struct nft *t, const char *map, uint32_t reg, uint32_t to_reg);
void nft_connection(struct nft *t, uint32_t key, uint32_t reg);
/* Continues when (reg & mask) is non-zero, or is zero. 4 bytes, host order. */
void nft_bits(struct nft *t, uint32_t reg, uint32_t mask, bool is_zero);
void nft_limit(struct nft *t, uint64_t per_second, uint32_t burst);
void nft_nat(struct nft *t, uint32_t type, uint32_t reg);
void nft_verdict(struct nft *t, int32_t code, const char *chain);

/* Dumps. An absent table or set is an empty dump. */
int nft_chains(struct netlink *n, uint8_t family, const char *table,
    void (*fn)(const char *chain, void *arg), void *arg);
struct nft_element {
	const void *key;
	size_t key_size;
	const void *data; /* NULL: none */
	size_t data_size;
	const char *chain; /* of a verdict; NULL: none */
};
int nft_elements(struct netlink *n, uint8_t family, const char *table, const char *set,
    void (*fn)(const struct nft_element *element, void *arg), void *arg);
