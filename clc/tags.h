#pragma once
/* Tags of any resource. */
#include "clc/ec2.api.h"
#include "store/store.h"

#define TAGS_MAX 50 /* per resource */
#define TAG_KEY_MAX 127
#define TAG_VALUE_MAX 255

struct tag_list {
	struct tag *items;
	size_t count;
};
/* Of a key: 1 to 127 characters, "aws:" is reserved. Of tags beside: at most 50, values of at most 255
 * characters, no key twice. INVALID_PARAMETER_VALUE, TAG_LIMIT_EXCEEDED. */
int clc_tag_check_key(const char *key, struct err *e);
int clc_tags_check(const struct tag *tags, size_t count, struct err *e);
/* Keys that may be shown in an instance's metadata. INVALID_PARAMETER_VALUE. */
int clc_tags_check_metadata(const struct tag *tags, size_t count, struct err *e);
/* The tags of the one specification of that resource type; all are checked. A launch ("instance") takes
 * those of its network interfaces and volumes as well. */
int clc_tags_of(const struct tag_specification *specifications, size_t count, const char *type,
    const struct tag **ret_tags, size_t *ret_count, struct err *e);
int clc_tags_insert(struct store_tx *tx, const char *account_id, const char *resource_id,
    const struct tag *tags, size_t count, struct err *e);
int clc_tags_read(struct store_tx *tx, const char *resource_id, struct arena *arena,
    struct tag_list *ret, struct err *e);

/* A kind of resource, known by the prefix of its ids. What the cloud has none of has no statement: an id
 * of it is not found. */
struct clc_taggable {
	const char *prefix, *type; /* "ami", "image" */
	int query;                 /* id, account, region: a row if it is there; -1: never */
	int fault;
	const char *message;       /* with one %s */
};
const struct clc_taggable *clc_taggable_find(const char *id); /* NULL: an id of nothing */
