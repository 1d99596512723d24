/* Choosing a node: tables of nodes, demands and policies, and what is said where none will do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* after the above, as cmocka wants */
#include <cmocka.h>
#include "rpc/placement.h"

#define UP .state = PLACEMENT_UP
#define NODE(id, v, m, d) .node_id = id, .vcpus = v, .memory_mib = m, .disk_gib = d
#define NODES_MAX 4

/* One demand of 1 processor, 1024 MiB and 10 GiB, unless it says otherwise. */
static const struct row {
	const char *what;
	struct placement_node nodes[NODES_MAX];
	struct placement_demand demand;
	enum placement_policy policy;
	const char *chosen, *why;
} rows[] = {
	{ "most memory left", { { NODE("a", 8, 4096, 100), UP }, { NODE("b", 8, 8192, 100), UP } },
	    { 0 }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "what is held counts",
	    { { NODE("a", 8, 4096, 100), UP },
		{ NODE("b", 8, 8192, 100), UP, .memory_mib_held = 5000 } },
	    { 0 }, PLACEMENT_ROUND_ROBIN, "a", NULL },
	{ "the first of equals",
	    { { NODE("a", 8, 4096, 100), UP }, { NODE("b", 8, 4096, 100), UP } }, { 0 },
	    PLACEMENT_ROUND_ROBIN, "a", NULL },
	{ "greedy: the fullest",
	    { { NODE("a", 8, 4096, 100), UP }, { NODE("b", 8, 2048, 100), UP } }, { 0 },
	    PLACEMENT_GREEDY, "b", NULL },
	{ "greedy: that has room",
	    { { NODE("a", 8, 4096, 100), UP }, { NODE("b", 8, 1000, 100), UP } }, { 0 },
	    PLACEMENT_GREEDY, "a", NULL },
	{ "power-save: awake ones first",
	    { { NODE("a", 8, 2048, 100), UP, .is_asleep = true }, { NODE("b", 8, 8192, 100), UP } },
	    { 0 }, PLACEMENT_POWER_SAVE, "b", NULL },
	{ "asleep when no other has room",
	    { { NODE("a", 8, 2048, 100), UP, .is_asleep = true },
		{ NODE("b", 8, 8192, 100), UP, .vcpus_held = 8 } },
	    { 0 }, PLACEMENT_POWER_SAVE, "a", NULL },
	{ "awake ones first, whatever the policy",
	    { { NODE("a", 8, 9000, 100), UP, .is_asleep = true }, { NODE("b", 8, 2048, 100), UP } },
	    { 0 }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "reserved", { { NODE("a", 8, 2048, 100), UP }, { NODE("b", 8, 8192, 100), UP } },
	    { .preferred = "a" }, PLACEMENT_ROUND_ROBIN, "a", NULL },
	{ "reserved, but full",
	    { { NODE("a", 8, 2048, 100), UP, .disk_gib_held = 95 },
		{ NODE("b", 8, 8192, 100), UP } },
	    { .preferred = "a" }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "reserved, but in maintenance",
	    { { NODE("a", 8, 2048, 100), UP, .is_maintained = true },
		{ NODE("b", 8, 8192, 100), UP } },
	    { .preferred = "a" }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "fragmented: room in all, in none of them",
	    { { NODE("a", 3, 4096, 100), UP, .vcpus_held = 1 },
		{ NODE("b", 8, 8192, 100), UP, .memory_mib_held = 7000 },
		{ NODE("c", 8, 8192, 100), UP, .disk_gib_held = 91 } },
	    { .vcpus = 3, .memory_mib = 2048 }, PLACEMENT_ROUND_ROBIN, NULL,
	    "1 node is full (processors), 1 is full (memory), 1 is full (disk)" },
	{ "every reason",
	    { { NODE("a", 8, 100, 100), UP }, { NODE("b", 8, 100, 100), UP },
		{ NODE("c", 8, 8192, 100), UP, .is_maintained = true },
		{ NODE("d", 8, 8192, 100), .state = PLACEMENT_SILENT } },
	    { 0 }, PLACEMENT_ROUND_ROBIN, NULL,
	    "2 nodes are full (memory), 1 is in maintenance, 1 is silent" },
	{ "silent before maintained: nobody can tell",
	    { { NODE("a", 8, 8192, 100), .state = PLACEMENT_SILENT, .is_maintained = true } },
	    { 0 }, PLACEMENT_ROUND_ROBIN, NULL, "1 node is silent" },
	{ "no nodes", { { 0 } }, { 0 }, PLACEMENT_ROUND_ROBIN, NULL, "the zone has no nodes" },
	{ "degraded", { { NODE("a", 8, 8192, 100), .state = PLACEMENT_DEGRADED } }, { 0 },
	    PLACEMENT_ROUND_ROBIN, NULL, "1 node is degraded" },
	{ "degraded, promised already",
	    { { NODE("a", 8, 8192, 100), .state = PLACEMENT_DEGRADED } },
	    { .takes_degraded = true }, PLACEMENT_ROUND_ROBIN, "a", NULL },
	{ "promised already: but one that is well goes first",
	    { { NODE("a", 8, 8192, 100), .state = PLACEMENT_DEGRADED },
		{ NODE("b", 8, 2048, 100), UP } },
	    { .takes_degraded = true }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "cluster: where the others are",
	    { { NODE("a", 8, 8192, 100), UP }, { NODE("b", 8, 2048, 100), UP, .members = 1 } },
	    { .strategy = PLACEMENT_CLUSTER, .count = 1 }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "cluster: where all fit",
	    { { NODE("a", 2, 8192, 100), UP }, { NODE("b", 8, 4096, 100), UP } },
	    { .strategy = PLACEMENT_CLUSTER, .count = 4 }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "cluster: the next node when the first is full",
	    { { NODE("a", 8, 8192, 100), UP },
		{ NODE("b", 8, 2048, 100), UP, .members = 1, .vcpus_held = 8 } },
	    { .strategy = PLACEMENT_CLUSTER, .count = 1 }, PLACEMENT_ROUND_ROBIN, "a", NULL },
	{ "spread: never two on one",
	    { { NODE("a", 8, 8192, 100), UP, .members = 1 }, { NODE("b", 8, 2048, 100), UP } },
	    { .strategy = PLACEMENT_SPREAD }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "spread: no node is left",
	    { { NODE("a", 8, 8192, 100), UP, .members = 1 },
		{ NODE("b", 8, 2048, 100), UP, .members = 1 } },
	    { .strategy = PLACEMENT_SPREAD }, PLACEMENT_ROUND_ROBIN, NULL,
	    "2 nodes have an instance of the placement group already" },
	{ "partition: with its own",
	    { { NODE("a", 8, 9000, 100), UP },
		{ NODE("b", 8, 4096, 100), UP, .members = 1, .partition_members = { [2] = 1 } },
		{ NODE("c", 8, 8192, 100), UP, .members = 1, .partition_members = { [1] = 1 } } },
	    { .strategy = PLACEMENT_PARTITION, .partition = 2 }, PLACEMENT_ROUND_ROBIN, "b", NULL },
	{ "partition: never with another",
	    { { NODE("a", 8, 9000, 100), UP, .members = 2, .partition_members = { [1] = 2 } } },
	    { .strategy = PLACEMENT_PARTITION, .partition = 7 }, PLACEMENT_ROUND_ROBIN, NULL,
	    "1 node belongs to another partition of the placement group" },
};

static size_t
count_nodes(const struct placement_node *nodes)
{
	size_t n = 0;

	while (n < NODES_MAX && nodes[n].node_id)
		n++;
	return n;
}

static struct placement_demand
filled(struct placement_demand d)
{
	d.vcpus = d.vcpus ? d.vcpus : 1;
	d.memory_mib = d.memory_mib ? d.memory_mib : 1024;
	d.disk_gib = d.disk_gib ? d.disk_gib : 10;
	return d;
}

static void
test_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct placement_demand d = filled(rows[i].demand);
		struct placement_node nodes[NODES_MAX], *found;
		struct placement_why why;

		memcpy(nodes, rows[i].nodes, sizeof(nodes));
		found = placement_choose(nodes, count_nodes(nodes), &d, rows[i].policy, &why);
		if (!strings_equal(found ? found->node_id : NULL, rows[i].chosen))
			fail_msg("%s: %s", rows[i].what, found ? found->node_id : "none");
		if (found)
			continue;
		placement_why_format(&why, &text);
		if (strcmp(strbuf_c(&text), rows[i].why) != 0)
			fail_msg("%s: %s", rows[i].what, strbuf_c(&text));
	}
}

static int64_t
random_below(uint64_t *seed, uint64_t limit)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (int64_t)(*seed % limit);
}

/* placement_room says how often placement_choose finds one. */
static void
test_room_is_what_fits(void **state)
{
	uint64_t seed = 88172645463325252u;

	for (int round = 0; round < 300; round++) {
		struct placement_node nodes[NODES_MAX] = { 0 }, *found;
		struct placement_demand d = { 0 };
		struct placement_why why;
		int64_t room, n = 0;

		for (size_t i = 0; i < NODES_MAX; i++)
			nodes[i] = (struct placement_node){ .node_id = "n",
				.state = random_below(&seed, 4) ? PLACEMENT_UP : PLACEMENT_SILENT,
				.is_maintained = random_below(&seed, 8) == 0,
				.vcpus = random_below(&seed, 20),
				.vcpus_held = random_below(&seed, 10),
				.memory_mib = random_below(&seed, 20000),
				.memory_mib_held = random_below(&seed, 10000),
				.disk_gib = random_below(&seed, 200),
				.disk_gib_held = random_below(&seed, 50) };
		d.vcpus = 1 + random_below(&seed, 4);
		d.memory_mib = 1 + random_below(&seed, 4000);
		d.disk_gib = random_below(&seed, 40);
		room = placement_room(nodes, NODES_MAX, &d);
		while ((found = placement_choose(
			    nodes, NODES_MAX, &d, round % PLACEMENT_POLICY_MAX, &why))) {
			placement_hold(found, &d);
			assert_true(found->vcpus_held <= found->vcpus);
			assert_true(found->memory_mib_held <= found->memory_mib);
			assert_true(found->disk_gib_held <= found->disk_gib);
			n++;
		}
		assert_int_equal(n, room);
	}
}

/* Seven members over three partitions and three nodes: 3, 2 and 2, each on a node of its own. */
static void
test_partitions_are_even(void **state)
{
	struct placement_node nodes[] = { { NODE("a", 8, 8192, 100), UP },
		{ NODE("b", 8, 9192, 100), UP }, { NODE("c", 8, 7192, 100), UP } };
	struct placement_demand d =
	    filled((struct placement_demand){ .strategy = PLACEMENT_PARTITION });
	uint32_t members[PLACEMENT_PARTITIONS_MAX + 1] = { 0 };
	struct placement_node *found;
	struct placement_why why;

	for (int i = 0; i < 7; i++) {
		d.partition = placement_choose_partition(
		    nodes, 3, &d, 3, PLACEMENT_ROUND_ROBIN, &found, &why);
		assert_non_null(found);
		placement_hold(found, &d);
		members[d.partition]++;
	}
	assert_int_equal(members[1], 3);
	assert_int_equal(members[2], 2);
	assert_int_equal(members[3], 2);
	for (size_t n = 0; n < 3; n++) {
		int kinds = 0;

		for (uint32_t p = 1; p <= 3; p++)
			kinds += nodes[n].partition_members[p] > 0;
		assert_int_equal(kinds, 1);
	}
	/* A fourth partition has no node; of four, those that have one are used. */
	d.partition = 4;
	assert_null(placement_choose(nodes, 3, &d, PLACEMENT_ROUND_ROBIN, &why));
	assert_int_equal(why.counts[PLACEMENT_HAS_PARTITION], 3);
	assert_int_equal(
	    placement_choose_partition(nodes, 3, &d, 4, PLACEMENT_ROUND_ROBIN, &found, &why), 2);
}

static void
test_names(void **state)
{
	enum placement_policy policy;
	enum placement_strategy strategy;

	for (unsigned i = 0; i < PLACEMENT_POLICY_MAX; i++) {
		assert_true(placement_policy_from_string(placement_policy_to_string(i), &policy));
		assert_int_equal(policy, i);
	}
	for (unsigned i = PLACEMENT_ALONE + 1; i < PLACEMENT_STRATEGY_MAX; i++) {
		assert_true(
		    placement_strategy_from_string(placement_strategy_to_string(i), &strategy));
		assert_int_equal(strategy, i);
	}
	assert_false(placement_policy_from_string("fair", &policy));
	assert_false(placement_policy_from_string(NULL, &policy));
	assert_false(placement_strategy_from_string(NULL, &strategy));
	assert_null(placement_strategy_to_string(PLACEMENT_ALONE));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_room_is_what_fits),
		cmocka_unit_test(test_partitions_are_even),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
