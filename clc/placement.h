#pragma once
/* Capacity: which node each instance holds its room on. Decided within the transaction that accepts, against
 * rows, so that it is exact whoever asks at once and however the room is spread over nodes. */
#include "instance.h"

#define SPREAD_MAX 7 /* running members of a spread group in one zone, as at Amazon */

struct clc_placement_group;
struct clc_seat {
	const char *node_id;
	int64_t partition_number;
};
/* Instances of one kind that want room in one zone. */
struct clc_seating {
	const char *zone, *instance_type;
	const char *shown_zone; /* as the account names it, for what it is told; NULL: the same */
	int64_t vcpus, memory_mib, disk_gib;
	const struct clc_placement_group *group; /* NULL: none */
	int64_t partition_number;                /* 0: any */
	const char *instance_id;                 /* of one that exists already: it is not in its own way */
	/* out */
	struct clc_seat *seats; /* from the arena */
	uint32_t count;
};
/* Nodes for up to `max` of them. ERR_INSUFFICIENT_INSTANCE_CAPACITY with the reasons when there is room for
 * fewer than `min`; ERR_PLACEMENT_GROUP_IN_USE for a cluster group that is in another zone. */
int clc_placement_seat(struct store_tx *tx, struct clc_seating *s, uint32_t min, uint32_t max,
    struct arena *arena, struct err *e);
/* The zone with the most room for it: it has a subnet, or not, is the caller's business. */
int clc_placement_choose_zone(struct store_tx *tx, struct clc_seating *s, uint32_t max, struct arena *arena,
    const char **ret_zone, struct err *e);
/* A stopped instance is to start: on the node of its disk, or, if it never had one, on a node that is
 * reserved for it now. ERR_INSUFFICIENT_INSTANCE_CAPACITY. */
int clc_placement_start(struct store_tx *tx, struct request *rq, struct clc_instance *i, struct err *e);
/* Whether the node that has a stopped instance's disk has room for more of it.
 * ERR_INSUFFICIENT_INSTANCE_CAPACITY. */
int clc_placement_grow(struct store_tx *tx, struct request *rq, const struct clc_instance *i,
    int64_t more_gib, struct err *e);
/* Whether a stopped instance may join the group where its disk is, and the partition that it gets (0 given:
 * any). ERR_INSUFFICIENT_INSTANCE_CAPACITY, ERR_PLACEMENT_GROUP_IN_USE. */
int clc_placement_join(struct store_tx *tx, const struct clc_instance *i,
    const struct clc_placement_group *group, int64_t *partition_number, struct arena *arena, struct err *e);
/* How many launches of the type succeed now, and the sentence with which the next one fails. */
int clc_placement_capacity(struct store_tx *tx, const char *instance_type, const char *zone,
    struct arena *arena, int64_t *ret_count, struct err *ret_sentence, struct err *e);

/* What a zone's cc is told of it: group, strategy, partition, the node reserved. */
int clc_placement_spec(struct store_tx *tx, const struct clc_instance *i, struct arena *arena,
    struct placement_spec **ret, struct err *e);
