/* Where an instance goes. What may not be is checked first (room, maintenance, the rules of its
 * group); among the nodes that are left, better() decides in the order of its lines. */
#include "rpc/placement.h"

static const char *const policies[PLACEMENT_POLICY_MAX] = {
	[PLACEMENT_ROUND_ROBIN] = "round-robin",
	[PLACEMENT_GREEDY] = "greedy",
	[PLACEMENT_POWER_SAVE] = "power-save",
};
static const char *const strategies[PLACEMENT_STRATEGY_MAX] = {
	[PLACEMENT_CLUSTER] = "cluster",
	[PLACEMENT_SPREAD] = "spread",
	[PLACEMENT_PARTITION] = "partition",
};

const char *
placement_policy_to_string(enum placement_policy p)
{
	return policies[p];
}

bool
placement_policy_from_string(const char *text, enum placement_policy *ret)
{
	for (unsigned i = 0; i < PLACEMENT_POLICY_MAX; i++)
		if (strings_equal(text, policies[i])) {
			*ret = i;
			return true;
		}
	return false;
}

const char *
placement_strategy_to_string(enum placement_strategy s)
{
	return strategies[s];
}

bool
placement_strategy_from_string(const char *text, enum placement_strategy *ret)
{
	for (unsigned i = 0; text && i < PLACEMENT_STRATEGY_MAX; i++)
		if (strings_equal(text, strategies[i])) {
			*ret = i;
			return true;
		}
	return false;
}

enum placement_state
placement_state_from_string(const char *node_state)
{
	return strings_equal(node_state, "up")         ? PLACEMENT_UP
	       : strings_equal(node_state, "degraded") ? PLACEMENT_DEGRADED
						       : PLACEMENT_SILENT;
}

/* -- what may not be -- */

static bool
has_other_partition(const struct placement_node *n, uint32_t partition)
{
	for (uint32_t p = 1; p <= PLACEMENT_PARTITIONS_MAX; p++)
		if (p != partition && n->partition_members[p])
			return true;
	return false;
}

enum placement_refusal
placement_check(const struct placement_node *n, const struct placement_demand *d)
{
	if (n->state == PLACEMENT_SILENT)
		return PLACEMENT_IS_SILENT;
	if (n->is_maintained)
		return PLACEMENT_IS_MAINTAINED;
	if (n->state == PLACEMENT_DEGRADED && !d->takes_degraded)
		return PLACEMENT_IS_DEGRADED;
	if (n->vcpus - n->vcpus_held < d->vcpus)
		return PLACEMENT_NO_VCPUS;
	if (n->memory_mib - n->memory_mib_held < d->memory_mib)
		return PLACEMENT_NO_MEMORY;
	if (n->disk_gib - n->disk_gib_held < d->disk_gib)
		return PLACEMENT_NO_DISK;
	if (d->strategy == PLACEMENT_SPREAD && n->members)
		return PLACEMENT_HAS_MEMBER;
	if (d->strategy == PLACEMENT_PARTITION && has_other_partition(n, d->partition))
		return PLACEMENT_HAS_PARTITION;
	return PLACEMENT_FITS;
}

/* -- which of those that are left -- */

static int64_t
room_on(const struct placement_node *n, const struct placement_demand *d)
{
	int64_t room = INT64_MAX;

#define BOUND(have, need)                                                                          \
	if ((need) > 0 && (have) / (need) < room)                                                  \
		room = (have) / (need);
	BOUND(n->vcpus - n->vcpus_held, d->vcpus)
	BOUND(n->memory_mib - n->memory_mib_held, d->memory_mib)
	BOUND(n->disk_gib - n->disk_gib_held, d->disk_gib)
#undef BOUND
	return room;
}

/* Of a cluster as many as are still to come, of a partition the node that it has already: so the
 * other nodes stay free for the other partitions. */
static int64_t
affinity(const struct placement_node *n, const struct placement_demand *d)
{
	int64_t room;

	switch (d->strategy) {
	case PLACEMENT_CLUSTER:
		if (n->members)
			return INT64_MAX / 2 + n->members;
		room = room_on(n, d);
		return room < d->count ? room : d->count;
	case PLACEMENT_PARTITION:
		return n->members > 0;
	case PLACEMENT_ALONE:
	case PLACEMENT_SPREAD:
	case PLACEMENT_STRATEGY_MAX:
		break;
	}
	return 0;
}

static bool
is_better(const struct placement_node *a, const struct placement_node *b,
    const struct placement_demand *d, enum placement_policy policy)
{
	int64_t left_a = a->memory_mib - a->memory_mib_held,
		left_b = b->memory_mib - b->memory_mib_held;

	if (a->state != b->state)
		return a->state > b->state;
	if (affinity(a, d) != affinity(b, d))
		return affinity(a, d) > affinity(b, d);
	if (a->is_asleep != b->is_asleep)
		return b->is_asleep;
	return policy == PLACEMENT_ROUND_ROBIN ? left_a > left_b : left_a < left_b;
}

struct placement_node *
placement_choose(struct placement_node *nodes, size_t count, const struct placement_demand *d,
    enum placement_policy policy, struct placement_why *ret_why)
{
	struct placement_node *best = NULL;

	*ret_why = (struct placement_why){ 0 };
	for (size_t i = 0; i < count; i++) {
		struct placement_node *n = &nodes[i];
		enum placement_refusal refusal = placement_check(n, d);

		ret_why->counts[refusal]++;
		if (refusal != PLACEMENT_FITS)
			continue;
		if (d->preferred && strcmp(d->preferred, n->node_id) == 0)
			return n;
		if (!best || is_better(n, best, d, policy))
			best = n;
	}
	return best;
}

void
placement_add_members(struct placement_node *n, int64_t partition, int64_t count)
{
	n->members += (uint32_t)count;
	if (partition > 0 && partition <= PLACEMENT_PARTITIONS_MAX)
		n->partition_members[partition] += (uint32_t)count;
}

void
placement_hold(struct placement_node *n, const struct placement_demand *d)
{
	n->vcpus_held += d->vcpus;
	n->memory_mib_held += d->memory_mib;
	n->disk_gib_held += d->disk_gib;
	if (d->strategy == PLACEMENT_ALONE)
		return;
	n->members++;
	if (d->strategy == PLACEMENT_PARTITION)
		n->partition_members[d->partition]++;
}

uint32_t
placement_choose_partition(struct placement_node *nodes, size_t count,
    const struct placement_demand *d, uint32_t partition_count, enum placement_policy policy,
    struct placement_node **ret, struct placement_why *ret_why)
{
	uint32_t members[PLACEMENT_PARTITIONS_MAX + 1] = { 0 };
	bool tried[PLACEMENT_PARTITIONS_MAX + 1] = { false };

	*ret = NULL;
	*ret_why = (struct placement_why){ 0 };
	for (size_t i = 0; i < count; i++)
		for (uint32_t p = 1; p <= PLACEMENT_PARTITIONS_MAX; p++)
			members[p] += nodes[i].partition_members[p];
	for (uint32_t n = 0; n < partition_count; n++) {
		struct placement_demand one = *d;
		uint32_t fewest = 0;

		for (uint32_t p = 1; p <= partition_count; p++)
			if (!tried[p] && (!fewest || members[p] < members[fewest]))
				fewest = p;
		tried[fewest] = true;
		one.partition = fewest;
		*ret = placement_choose(nodes, count, &one, policy, ret_why);
		if (*ret)
			return fewest;
	}
	return 0;
}

int64_t
placement_room(const struct placement_node *nodes, size_t count, const struct placement_demand *d)
{
	int64_t room = 0;

	for (size_t i = 0; i < count; i++)
		if (placement_check(&nodes[i], d) == PLACEMENT_FITS)
			room += room_on(&nodes[i], d);
	return room;
}

/* -- words -- */

static const struct {
	const char *one, *many;
} words[PLACEMENT_REFUSAL_MAX] = {
	[PLACEMENT_NO_VCPUS] = { "is full (processors)", "are full (processors)" },
	[PLACEMENT_NO_MEMORY] = { "is full (memory)", "are full (memory)" },
	[PLACEMENT_NO_DISK] = { "is full (disk)", "are full (disk)" },
	[PLACEMENT_HAS_MEMBER] = { "has an instance of the placement group already",
	    "have an instance of the placement group already" },
	[PLACEMENT_HAS_PARTITION] = { "belongs to another partition of the placement group",
	    "belong to another partition of the placement group" },
	[PLACEMENT_IS_MAINTAINED] = { "is in maintenance", "are in maintenance" },
	[PLACEMENT_IS_DEGRADED] = { "is degraded", "are degraded" },
	[PLACEMENT_IS_SILENT] = { "is silent", "are silent" },
};

void
placement_why_format(const struct placement_why *why, struct strbuf *out)
{
	bool is_first = true;

	for (unsigned i = PLACEMENT_FITS + 1; i < PLACEMENT_REFUSAL_MAX; i++) {
		uint32_t n = why->counts[i];

		if (!n)
			continue;
		strbuf_addf(out, "%s%u %s%s", is_first ? "" : ", ", n,
		    !is_first ? ""
		    : n == 1  ? "node "
			      : "nodes ",
		    n == 1 ? words[i].one : words[i].many);
		is_first = false;
	}
	if (is_first)
		strbuf_adds(out, "the zone has no nodes");
}
