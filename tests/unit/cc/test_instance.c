/* Acceptance and placement: what is wanted is taken once and in order, on a node that has room, and
 * nothing that exists is ever forgotten, ended or placed again by mistake. */
#include "fixture.h"

#include <pthread.h>

static void
test_a_new_one_gets_the_node_with_most_memory(void **state)
{
	struct fixture *f = *state;
	struct cc_instance i = put(f, "i-1", 1, "running");

	assert_string_equal(i.node_id, "nc-1");
	assert_string_equal(i.state, "pending");
	i = get(f, "i-1");
	assert_int_equal(i.holds, HOLDS_ALL);
	assert_int_equal(i.to_put, PUT_SPEC);
	assert_int_equal(i.disk_gib, 1);
	assert_int_equal(node_of(f, "nc-1").memory_mib_held, 1024);
	assert_int_equal(node_of(f, "nc-1").disk_gib_held, 1);
	/* 7, 6, 5, then 4 and 4: the first by name */
	for (int n = 0; n < 3; n++)
		assert_string_equal(
		    put(f, (char[]){ 'i', '-', (char)('a' + n), 0 }, 1, "running").node_id, "nc-1");
	assert_string_equal(put(f, "i-5", 1, "running").node_id, "nc-1");
	assert_string_equal(put(f, "i-6", 1, "running").node_id, "nc-2");
}

static void
test_the_same_again(void **state)
{
	struct fixture *f = *state;

	put(f, "i-1", 1, "running");
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "running");
	assert_int_equal(get(f, "i-1").to_put, PUT_NOTHING);
	assert_string_equal(put(f, "i-1", 1, "running").state, "running");
	assert_string_equal(get(f, "i-1").state, "running");
	assert_int_equal(get(f, "i-1").to_put, PUT_SPEC);
	assert_int_equal(get(f, "i-1").boot_count, 1);
	assert_int_equal(node_of(f, "nc-1").vcpus_held, 1);
}

static void
test_what_a_node_says_of_an_export_is_kept_and_passed_on(void **state)
{
	struct fixture *f = *state;
	struct instance_spec spec = spec_of("i-1", 1, "stopped");
	struct export_spec wanted = { "export-1", "https://walrus/secret" };
	struct export_report export = { .export_id = "export-1",
		.state = "running",
		.progress = 40,
		.has_progress = true,
		.size_bytes = 1ull << 40,
		.has_size_bytes = true };
	struct instance_report report = { .instance_id = "i-1",
		.generation = 1,
		.state = "stopped",
		.node_id = "nc-1",
		.export = &export };
	struct report_set set = {
		.epoch = 1, .revision = 2, .instances = { .items = &report, .count = 1 }
	};
	struct instance_spec sent;
	struct cc_instance i;

	put(f, "i-1", 1, "running");
	told(f, "i-1");
	spec.export = &wanted;
	must(try_put(f, &spec, &i, &(struct err){ 0 }), &(struct err){ 0 });
	i = get(f, "i-1");
	assert_int_equal(i.to_put, PUT_SPEC);
	assert_int_equal(cc_instance_spec(&i, f->arena, &sent, NULL), 0);
	assert_string_equal(sent.export->url, "https://walrus/secret");
	write_step(f, (struct step){ step_news, .node_id = "nc-1", .in = &set }, NULL);
	i = get(f, "i-1");
	cc_instance_to_report(&i, f->arena, &report);
	assert_string_equal(report.export->state, "running");
	assert_int_equal(report.export->progress, 40);
	assert_int_equal(report.export->size_bytes, 1ull << 40);
	/* and no longer, once it is said no longer */
	report.export = NULL;
	set.revision = 3;
	write_step(f, (struct step){ step_news, .node_id = "nc-1", .in = &set }, NULL);
	assert_null(get(f, "i-1").export);
}

/* What comes after generation 2, wanted stopped, 3 reboots. */
static const struct {
	uint64_t generation;
	const char *wanted;
	uint32_t reboot_serial;
	bool is_stale;
} orders[] = {
	{ 1, "running", 9, true },
	{ 1, "terminated", 9, true },
	{ 2, "running", 3, true },
	{ 2, "stopped", 2, true },
	{ 2, "stopped", 3, false },
	{ 2, "stopped", 4, false },
	{ 2, "terminated", 3, false },
	{ 3, "running", 0, false },
};

static void
test_stale_orders(void **state)
{
	struct fixture *f = *state;

	for (size_t n = 0; n < ARRAY_SIZE(orders); n++) {
		_cleanup_free_ char *id = xasprintf("i-%zu", n);
		struct instance_spec spec = spec_of(id, 2, "stopped");
		struct cc_instance i;
		struct err e = { 0 };
		int r;

		spec.reboot_serial = 3;
		must(try_put(f, &spec, &i, &e), &e);
		spec.generation = orders[n].generation;
		spec.wanted = orders[n].wanted;
		spec.reboot_serial = orders[n].reboot_serial;
		r = try_put(f, &spec, &i, &e);
		assert_int_equal(r, orders[n].is_stale ? ERR_STALE : 0);
		i = get(f, id);
		assert_int_equal(i.generation, orders[n].is_stale ? 2 : orders[n].generation);
		assert_string_equal(i.wanted, orders[n].is_stale ? "stopped" : orders[n].wanted);
		assert_int_equal(i.reboot_serial, orders[n].is_stale ? 3 : orders[n].reboot_serial);
	}
}

static void
test_no_room(void **state)
{
	struct fixture *f = *state;
	struct instance_spec spec = spec_of("i-big", 1, "running");
	struct cc_instance i;
	struct report_set set;
	struct err e = { 0 };
	const char *node_id = "?";

	spec.memory_mib = 8193;
	must(try_put(f, &spec, &i, &e), &e);
	assert_string_equal(i.state, "failed");
	assert_string_equal(i.reason_code, "Server.InsufficientInstanceCapacity");
	assert_string_equal(i.reason_message, "Server.InsufficientInstanceCapacity: no node of "
					      "this zone has room for it: 2 nodes are full "
					      "(memory)");
	assert_null(i.node_id);
	assert_int_equal(get(f, "i-big").holds, HOLDS_NOTHING);
	assert_int_equal(get(f, "i-big").to_put, PUT_NOTHING);
	set = news(f);
	assert_string_equal(told_of(&set, "i-big")->state, "failed");
	/* It has no node that must forget it first. */
	must(cc_instance_forget(f->store, "i-big", f->arena, &node_id, &e), &e);
	assert_null(node_id);
	assert_false(is_known(f, "i-big", NULL));
	must(cc_instance_forget(f->store, "i-big", f->arena, &node_id, &e), &e);
}

static void
test_each_resource_counts(void **state)
{
	struct fixture *f = *state;
	struct instance_spec processors = spec_of("i-1", 1, "running"),
			     disk = spec_of("i-2", 1, "running");
	struct cc_instance i;
	struct err e = { 0 };

	processors.vcpus = 9;
	must(try_put(f, &processors, &i, &e), &e);
	assert_string_equal(i.state, "failed");
	disk.has_root_disk_gib = disk.has_ephemeral_gib = true;
	disk.root_disk_gib = 60;
	disk.ephemeral_gib = 41;
	must(try_put(f, &disk, &i, &e), &e);
	assert_string_equal(i.state, "failed");
	disk.instance_id = "i-3";
	disk.ephemeral_gib = 40;
	must(try_put(f, &disk, &i, &e), &e);
	assert_string_equal(i.state, "pending");
	assert_int_equal(i.disk_gib, 100);
}

static void
test_nodes_that_are_up_first(void **state)
{
	struct fixture *f = *state;

	node_says(f, "nc-1", "degraded", 8, 8192, 100);
	assert_string_equal(put(f, "i-1", 1, "running").node_id, "nc-2");
	write_step(f, (struct step){ step_silent, .node_id = "nc-2", .why = "no route" }, NULL);
	assert_string_equal(put(f, "i-2", 1, "running").node_id, "nc-1");
	write_step(f, (struct step){ step_silent, .node_id = "nc-1", .why = "no route" }, NULL);
	assert_string_equal(put(f, "i-4", 1, "running").state, "failed");
	node_says(f, "nc-1", "up", 8, 8192, 100);
	assert_string_equal(put(f, "i-3", 1, "running").node_id, "nc-1");
}

#define THREADS 100
struct launch {
	pthread_t thread;
	struct fixture *f;
	char id[16];
	bool is_placed;
};

static void *
launch(void *arg)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct launch *l = arg;
	struct instance_spec spec = spec_of(l->id, 1, "running");
	struct cc_instance i;
	struct err e = { 0 };

	if (cc_instance_accept(l->f->store, &spec, arena, &i, &e) == 0)
		l->is_placed = strcmp(i.state, "pending") == 0;
	return NULL;
}

/* 8 + 4 GiB and 8 + 8 processors: 12 of them fit. */
static void
test_never_more_than_there_is(void **state)
{
	struct fixture *f = *state;
	struct launch launches[THREADS];
	int placed = 0;

	for (int n = 0; n < THREADS; n++) {
		launches[n] = (struct launch){ .f = f };
		snprintf(launches[n].id, sizeof(launches[n].id), "i-%d", n);
		assert_int_equal(
		    pthread_create(&launches[n].thread, NULL, launch, &launches[n]), 0);
	}
	for (int n = 0; n < THREADS; n++) {
		assert_int_equal(pthread_join(launches[n].thread, NULL), 0);
		placed += launches[n].is_placed;
	}
	assert_int_equal(placed, 12);
	assert_int_equal(node_of(f, "nc-1").memory_mib_held, 8192);
	assert_int_equal(node_of(f, "nc-2").memory_mib_held, 4096);
	assert_int_equal(node_of(f, "nc-1").vcpus_held, 8);
}

static void
stop_it(struct fixture *f, const char *id)
{
	put(f, id, 1, "running");
	told(f, id);
	put(f, id, 1, "stopped");
	told(f, id);
	instance_says(f, "nc-1", id, 1, "stopped");
	assert_int_equal(get(f, id).holds, HOLDS_DISK);
}

static void
test_starts_again_where_its_disk_is(void **state)
{
	struct fixture *f = *state;
	struct instance_spec other = spec_of("i-other", 1, "running");
	struct cc_instance i;
	struct err e = { 0 };

	stop_it(f, "i-1");
	assert_int_equal(node_of(f, "nc-1").memory_mib_held, 0);
	assert_int_equal(node_of(f, "nc-1").disk_gib_held, 1);
	other.memory_mib = 6000; /* so that the other node has more memory left */
	must(try_put(f, &other, &i, &e), &e);
	assert_string_equal(i.node_id, "nc-1");
	i = put(f, "i-1", 2, "running");
	assert_string_equal(i.node_id, "nc-1");
	assert_string_equal(i.state, "pending");
	assert_int_equal(i.boot_count, 0);
	assert_int_equal(node_of(f, "nc-1").disk_gib_held, 2);
}

static void
test_start_again_is_refused_with_the_reason(void **state)
{
	struct fixture *f = *state;
	struct instance_spec other = spec_of("i-other", 1, "running");
	struct cc_instance i;
	struct err e = { 0 };

	stop_it(f, "i-1");
	other.memory_mib = 8000;
	must(try_put(f, &other, &i, &e), &e);
	i = put(f, "i-1", 2, "running");
	assert_string_equal(i.state, "failed");
	assert_string_equal(i.reason_message, "Server.InsufficientInstanceCapacity: the node that "
					      "has its disk has no room for it now");
	assert_int_equal(i.holds, HOLDS_DISK);
	assert_string_equal(i.node_id, "nc-1");
	write_step(f, (struct step){ step_silent, .node_id = "nc-1", .why = "no route" }, NULL);
	i = put(f, "i-1", 3, "running");
	assert_string_equal(i.reason_message,
	    "Server.InsufficientInstanceCapacity: the node that has its disk is silent: no route");
	set_nodes(f, 2, (const char *const[]){ "nc-2" }, 1);
	i = put(f, "i-1", 4, "running");
	assert_string_equal(i.reason_message, "Server.InsufficientInstanceCapacity: the node that "
					      "has its disk is no longer part of this zone");
	/* Its end is only said: nobody is there to carry it out. */
	assert_string_equal(put(f, "i-1", 4, "terminated").state, "terminated");
	assert_int_equal(get(f, "i-1").to_put, PUT_NOTHING);
}

/* Stopped before its zone heard of it: it is kept on a node, not ended. */
static void
test_new_and_stopped(void **state)
{
	struct fixture *f = *state;
	struct cc_instance i = put(f, "i-1", 1, "stopped");

	assert_string_equal(i.node_id, "nc-1");
	assert_int_equal(i.to_put, PUT_SPEC);
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "stopped");
	assert_int_equal(get(f, "i-1").holds, HOLDS_DISK);
}

static void
test_new_and_terminated(void **state)
{
	struct fixture *f = *state;
	struct report_set set;

	assert_string_equal(put(f, "i-1", 1, "terminated").state, "terminated");
	set = news(f);
	assert_string_equal(told_of(&set, "i-1")->state, "terminated");
	assert_int_equal(get(f, "i-1").to_put, PUT_NOTHING);
}

/* This store is new, or older than what happened: the clc says where it was. */
static const struct {
	const char *wanted;
	int64_t holds;
} learned[] = { { "running", HOLDS_ALL }, { "stopped", HOLDS_DISK }, { "terminated", HOLDS_DISK } };

static void
test_learns_where_it_was(void **state)
{
	struct fixture *f = *state;

	/* Full and silent nodes are no reason: it is there. */
	write_step(
	    f, (struct step){ step_silent, .node_id = "nc-2", .why = "no answer yet" }, NULL);
	for (size_t n = 0; n < ARRAY_SIZE(learned); n++) {
		_cleanup_free_ char *id = xasprintf("i-%zu", n);
		struct instance_spec spec = spec_of(id, 5, learned[n].wanted);
		struct cc_instance i;
		struct err e = { 0 };

		spec.memory_mib = 100000;
		spec.node_id = "nc-2";
		must(try_put(f, &spec, &i, &e), &e);
		i = get(f, id);
		assert_string_equal(i.state, "pending");
		assert_string_equal(i.node_id, "nc-2");
		assert_int_equal(i.holds, learned[n].holds);
		assert_int_equal(i.to_put, PUT_SPEC);
		assert_int_equal(i.generation, 5);
	}
	/* What is known is not taken from the clc. */
	put(f, "i-9", 1, "running");
	{
		struct instance_spec spec = spec_of("i-9", 1, "running");
		struct cc_instance i;
		struct err e = { 0 };

		spec.node_id = "nc-2";
		must(try_put(f, &spec, &i, &e), &e);
		assert_string_equal(i.node_id, "nc-1");
	}
}

static void
test_forget(void **state)
{
	struct fixture *f = *state;
	const char *node_id = NULL;
	struct err e = { 0 };

	put(f, "i-1", 1, "running");
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "running");
	assert_int_equal(cc_instance_forget(f->store, "i-1", f->arena, &node_id, &e), ERR_CONFLICT);
	put(f, "i-1", 1, "terminated");
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "terminated");
	must(cc_instance_forget(f->store, "i-1", f->arena, &node_id, &e), &e);
	assert_string_equal(node_id, "nc-1");
	assert_int_equal(get(f, "i-1").to_put, PUT_FORGET);
	/* An order said before and heard after it does not undo it. */
	put(f, "i-1", 1, "terminated");
	assert_int_equal(get(f, "i-1").to_put, PUT_FORGET);
}

/* A launch that failed on its node is wanted to run still; its end is the clc's word. */
static void
test_forget_what_failed(void **state)
{
	struct fixture *f = *state;
	const char *node_id = NULL;
	struct err e = { 0 };

	put(f, "i-1", 1, "running");
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "failed");
	assert_int_equal(get(f, "i-1").holds, HOLDS_DISK);
	must(cc_instance_forget(f->store, "i-1", f->arena, &node_id, &e), &e);
	assert_string_equal(node_id, "nc-1");
	assert_int_equal(get(f, "i-1").to_put, PUT_FORGET);
}

static void
test_forget_on_a_node_that_left(void **state)
{
	struct fixture *f = *state;
	const char *node_id = "?";
	struct err e = { 0 };

	put(f, "i-1", 1, "running");
	told(f, "i-1");
	set_nodes(f, 2, (const char *const[]){ "nc-2" }, 1);
	put(f, "i-1", 1, "terminated");
	must(cc_instance_forget(f->store, "i-1", f->arena, &node_id, &e), &e);
	assert_null(node_id);
	assert_false(is_known(f, "i-1", NULL));
}

/* -- what the zone is told about placement -- */

static void
set_policy(struct fixture *f, uint64_t revision, const char *policy, const char *maintained)
{
	struct peer_record records[2] = { { "nc-1", "nc", "https://10.0.0.2:8775", "f" },
		{ "nc-2", "nc", "https://10.0.0.2:8775", "f" } };
	struct cc_put_nodes_in in = { .revision = revision,
		.nodes = { .items = records, .count = 2 },
		.placement_policy = policy };

	for (size_t i = 0; i < 2; i++)
		records[i].is_maintained = strings_equal(records[i].peer_id, maintained);
	write_step(f, (struct step){ step_nodes, .in = &in }, NULL);
}

static const char *
node_for(struct fixture *f, const char *id, const struct placement_spec *placement)
{
	struct instance_spec spec = spec_of(id, 1, "running");
	struct cc_instance i;
	struct err e = { 0 };

	spec.placement = (struct placement_spec *)placement;
	must(try_put(f, &spec, &i, &e), &e);
	return i.node_id;
}

static void
test_policy_and_maintenance(void **state)
{
	struct fixture *f = *state;
	const struct placement_spec reserved = { .preferred_node_id = "nc-2" };
	struct cc_instance i;

	assert_string_equal(node_for(f, "i-1", NULL), "nc-1");
	set_policy(f, 2, "greedy", NULL);
	assert_string_equal(node_for(f, "i-2", NULL), "nc-2"); /* has less left */
	set_policy(f, 3, "greedy", "nc-2");
	assert_string_equal(node_for(f, "i-3", NULL), "nc-1");
	assert_string_equal(node_for(f, "i-4", &reserved), "nc-1"); /* cannot be had */
	assert_true(node_of(f, "nc-2").is_maintained);
	/* What runs there goes on; what is stopped does not start. */
	told(f, "i-2");
	instance_says(f, "nc-2", "i-2", 1, "stopped");
	i = put(f, "i-2", 2, "running");
	assert_string_equal(i.state, "failed");
	assert_string_equal(i.reason_message,
	    "Server.InsufficientInstanceCapacity: the node that has its disk is in maintenance");
	set_policy(f, 4, NULL, NULL); /* a clc that knows of none */
	assert_string_equal(node_for(f, "i-5", &reserved), "nc-2");
	assert_string_equal(node_for(f, "i-6", NULL), "nc-1");
}

static void
test_groups(void **state)
{
	static const struct placement_spec spread = { .group_id = "pg-1", .strategy = "spread" },
					   first = { .group_id = "pg-2",
						   .strategy = "partition",
						   .partition_number = 1,
						   .partition_count = 2 },
					   second = { .group_id = "pg-2",
						   .strategy = "partition",
						   .partition_number = 2,
						   .partition_count = 2 },
					   cluster = { .group_id = "pg-3", .strategy = "cluster" };
	struct fixture *f = *state;
	struct cc_instance i;

	assert_string_equal(node_for(f, "i-1", &spread), "nc-1");
	assert_string_equal(node_for(f, "i-2", &spread), "nc-2");
	assert_null(node_for(f, "i-3", &spread));
	i = get(f, "i-3");
	assert_string_equal(i.reason_message, "Server.InsufficientInstanceCapacity: no node of "
					      "this zone has room for it: 2 nodes have "
					      "an instance of the placement group already");
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "terminated");
	assert_string_equal(node_for(f, "i-4", &spread), "nc-1");
	assert_string_equal(node_for(f, "i-5", &second), "nc-1");
	assert_string_equal(node_for(f, "i-6", &first), "nc-2");
	assert_string_equal(node_for(f, "i-7", &first), "nc-2");
	assert_null(node_for(f, "i-8",
	    &(struct placement_spec){ .group_id = "pg-2",
		.strategy = "partition",
		.partition_number = 3,
		.partition_count = 3 }));
	assert_string_equal(node_for(f, "i-9", &cluster), "nc-1");
	set_policy(f, 2, "greedy", NULL);
	assert_string_equal(node_for(f, "i-10", &cluster), "nc-1");
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_policy_and_maintenance),
		TEST(test_groups),
		TEST(test_a_new_one_gets_the_node_with_most_memory),
		TEST(test_the_same_again),
		TEST(test_what_a_node_says_of_an_export_is_kept_and_passed_on),
		TEST(test_stale_orders),
		TEST(test_no_room),
		TEST(test_each_resource_counts),
		TEST(test_nodes_that_are_up_first),
		TEST(test_never_more_than_there_is),
		TEST(test_starts_again_where_its_disk_is),
		TEST(test_start_again_is_refused_with_the_reason),
		TEST(test_new_and_stopped),
		TEST(test_new_and_terminated),
		TEST(test_learns_where_it_was),
		TEST(test_forget),
		TEST(test_forget_what_failed),
		TEST(test_forget_on_a_node_that_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
