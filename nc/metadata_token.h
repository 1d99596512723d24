#pragma once
/* Session tokens of IMDSv2. Nothing is stored: a token is its expiry and a MAC over expiry and NIC,
 * by a key that the node keeps, so tokens survive a restart and another guest's token is worth
 * nothing. */
#include <netinet/in.h>
#include "base/err.h"
#include "base/str.h"

#define METADATA_TOKEN_SIZE 64 /* text, with its end */
#define METADATA_TOKEN_TTL_MAX 21600

struct metadata_key {
	uint8_t bytes[32];
};
struct metadata_token_owner {
	uint32_t vni;
	struct in_addr address;
	const char *instance_id;
};
/* Reads the key of `directory`, making it (0600) the first time. */
int metadata_key_load(const char *directory, struct metadata_key *ret, struct err *e);
void metadata_token_make(const struct metadata_key *key, const struct metadata_token_owner *owner,
    int64_t now_us, uint32_t ttl_seconds, char out[METADATA_TOKEN_SIZE]);
/* Seconds left, or 0: expired, damaged, or somebody else's. */
uint32_t metadata_token_check(const struct metadata_key *key,
    const struct metadata_token_owner *owner, int64_t now_us, struct str token);
