#pragma once
/* Placement groups, as requests name them. */
#include "request.h"
#include "rpc/placement.h"

struct clc_placement_group { /* strings from the arena */
	const char *group_id, *name, *spread_level;
	enum placement_strategy strategy;
	int64_t partition_count;
};

int clc_placement_group_load(struct store_tx *tx, const char *group_id, struct arena *arena,
    struct clc_placement_group *ret, struct err *e);
/* How a request names one: by name or by id. */
struct clc_placement_group_ref {
	const char *name, *group_id;
	const uint32_t *partition_number; /* NULL: none given */
};
/* Of the account; *ret NULL when none is named. PLACEMENT_GROUP_UNKNOWN, PLACEMENT_GROUP_ID_MALFORMED,
 * INVALID_PARAMETER_COMBINATION, INVALID_PARAMETER_VALUE for a partition that it does not have. */
int clc_placement_group_find(struct store_tx *tx, struct request *rq,
    const struct clc_placement_group_ref *ref, const struct clc_placement_group **ret, struct err *e);
