#pragma once
/* What the files of policy.h share: the vocabulary of rules, the skeleton, and groups. */
#include <net/if.h>
#include "helper/policy.h"

#define TABLE "vpc"
#define TAPS "tap"

enum {
	R0 = NFT_REG32_00,
	R1 = NFT_REG32_01,
	R2 = NFT_REG32_02,
	R4 = NFT_REG32_04,
	R6 = NFT_REG32_06
};
enum { IP_SOURCE = 12, IP_DESTINATION = 16 }; /* offsets in the IPv4 header */

/* Parts of a rule, each leaving it unless the packet matches; they use R0. */
void match_device(
    struct nft *t, uint32_t key, uint32_t operation, const char *name, bool is_prefix);
void match_protocol(struct nft *t, uint8_t protocol);
void match_port(struct nft *t, uint32_t offset, uint16_t port);
void match_address(struct nft *t, uint32_t offset, uint32_t address);
void match_state(struct nft *t, uint32_t bits);
void rule_verdict(struct nft *t, int32_t code); /* and the rule's end */

/* Both tables anew, in place of what there is; leaves the inet table in use. */
void policy_skeleton_add(struct nft *t);

void policy_groups_done(struct policy_groups *g);
struct policy_group *policy_group_find(const struct policy_groups *g, uint32_t index);
struct policy_group *policy_group_get(struct policy_groups *g, uint32_t index); /* adds it */
void policy_group_fill(struct policy_group *to, const struct dataplane_group *from);
int policy_groups_check(const struct dataplane_group *groups, size_t count, struct err *e);
/* Turns one set of groups into another. */
void policy_groups_update(
    struct nft *t, const struct policy_groups *old, const struct policy_groups *new);
const char *policy_name(char name[NFT_NAME_SIZE], const char *prefix, uint32_t index);
