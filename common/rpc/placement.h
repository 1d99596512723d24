#pragma once
/* Choosing a node for an instance: one pure function of what the nodes have and hold, what is demanded, and
 * the zone's policy. The clc reserves with it and the cc decides with it, so that the two agree. */
#include "base/strbuf.h"

/* Which of the nodes that have room: what a zone's operator decides. */
enum placement_policy {
	PLACEMENT_ROUND_ROBIN, /* the one with the most memory left: load spreads */
	PLACEMENT_GREEDY,      /* the fullest one: whole nodes stay free for what is large */
	PLACEMENT_POWER_SAVE,  /* as greedy; and nodes that hold nothing are put to sleep */
	PLACEMENT_POLICY_MAX
};
const char *placement_policy_to_string(enum placement_policy p);
bool placement_policy_from_string(const char *text, enum placement_policy *ret);

/* How the members of a placement group stand to each other. */
enum placement_strategy {
	PLACEMENT_ALONE,     /* of no group */
	PLACEMENT_CLUSTER,   /* close together: on one node for as long as it has room */
	PLACEMENT_SPREAD,    /* never two on one node */
	PLACEMENT_PARTITION, /* members of different partitions never on one node */
	PLACEMENT_STRATEGY_MAX
};
const char *placement_strategy_to_string(enum placement_strategy s); /* ALONE: NULL */
bool placement_strategy_from_string(const char *text, enum placement_strategy *ret);

enum placement_state { PLACEMENT_SILENT, PLACEMENT_DEGRADED, PLACEMENT_UP };
enum placement_state placement_state_from_string(const char *node_state);

#define PLACEMENT_PARTITIONS_MAX 7
struct placement_node {
	const char *node_id;
	enum placement_state state;
	bool is_asleep;     /* or on its way there or back: it is well, but must be woken */
	bool is_maintained; /* takes no new instances */
	int64_t vcpus, memory_mib, disk_gib;
	int64_t vcpus_held, memory_mib_held, disk_gib_held;
	/* Of the group demanded: members on this node; of a partition group in [1] to [7]. */
	uint32_t members, partition_members[PLACEMENT_PARTITIONS_MAX + 1];
};

struct placement_demand {
	int64_t vcpus, memory_mib, disk_gib;
	enum placement_strategy strategy;
	uint32_t partition;         /* of a partition group: 1 to 7 */
	uint32_t count;             /* how many more of the same follow: those of a cluster want to fit together */
	const char *preferred;      /* a node reserved for it: taken if it may be taken at all; NULL: none */
	bool takes_degraded;        /* promised already: a node whose helper is away for a moment will do */
};

/* Why nodes were passed over, counted. */
enum placement_refusal {
	PLACEMENT_FITS,
	PLACEMENT_NO_VCPUS,
	PLACEMENT_NO_MEMORY,
	PLACEMENT_NO_DISK,
	PLACEMENT_HAS_MEMBER,    /* of the same spread group */
	PLACEMENT_HAS_PARTITION, /* another one of the same partition group */
	PLACEMENT_IS_MAINTAINED,
	PLACEMENT_IS_DEGRADED,
	PLACEMENT_IS_SILENT,
	PLACEMENT_REFUSAL_MAX
};
struct placement_why {
	uint32_t counts[PLACEMENT_REFUSAL_MAX];
};
enum placement_refusal placement_check(const struct placement_node *n, const struct placement_demand *d);
/* The node to take, or NULL and why not. Nodes come in the order of their ids: the first of equals. */
struct placement_node *placement_choose(struct placement_node *nodes, size_t count,
    const struct placement_demand *d, enum placement_policy policy, struct placement_why *ret_why);
/* "2 nodes are full (memory), 1 is in maintenance" */
void placement_why_format(const struct placement_why *why, struct strbuf *out);
/* So many members of the group stand on it; partition: theirs, or what is none. */
void placement_add_members(struct placement_node *n, int64_t partition, int64_t count);
/* One more instance stands on it. */
void placement_hold(struct placement_node *n, const struct placement_demand *d);
/* Of a partition group of so many partitions: the one with the fewest members that can still have one, 0 if
 * there is none; *ret the node for it. */
uint32_t placement_choose_partition(struct placement_node *nodes, size_t count,
    const struct placement_demand *d, uint32_t partition_count, enum placement_policy policy,
    struct placement_node **ret, struct placement_why *ret_why);
/* How many such instances of no group there is room for. */
int64_t placement_room(const struct placement_node *nodes, size_t count, const struct placement_demand *d);
