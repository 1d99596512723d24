#pragma once
/* Tags of any resource. */
#include "clc/ec2.api.h"
#include "store/store.h"

#define TAGS_MAX 50
struct tag_list {
	struct tag *items;
	size_t count;
};
/* The tags of the one specification of that resource type; checked: at most 50, key 1 to 127, value at most
 * 255, "aws:" is reserved, no key twice. INVALID_PARAMETER_VALUE. */
int clc_tags_of(const struct tag_specification *specifications, size_t count, const char *type,
    const struct tag **ret_tags, size_t *ret_count, struct err *e);
int clc_tags_insert(struct store_tx *tx, const char *account_id, const char *resource_id,
    const struct tag *tags, size_t count, struct err *e);
int clc_tags_read(struct store_tx *tx, const char *resource_id, struct arena *arena,
    struct tag_list *ret, struct err *e);
