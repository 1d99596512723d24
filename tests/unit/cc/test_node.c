/* What nodes report, the set of nodes, silence, and what the clc hears of it all. */
#include "fixture.h"

static void
test_reports(void **state)
{
	static const struct {
		const char *state;
		int64_t holds;
	} cases[] = { { "pending", HOLDS_ALL }, { "running", HOLDS_ALL }, { "stopping", HOLDS_ALL },
		{ "stopped", HOLDS_DISK }, { "failed", HOLDS_DISK }, { "shutting-down", HOLDS_ALL },
		{ "terminated", HOLDS_NOTHING }, { "gone", HOLDS_NOTHING } };
	struct fixture *f = *state;

	put(f, "i-1", 2, "running");
	for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
		instance_says(f, "nc-1", "i-1", 2, cases[n].state);
		assert_string_equal(get(f, "i-1").state, cases[n].state);
		assert_int_equal(get(f, "i-1").holds, cases[n].holds);
		assert_int_equal(node_of(f, "nc-1").vcpus_held, cases[n].holds == HOLDS_ALL);
		assert_int_equal(node_of(f, "nc-1").disk_gib_held, cases[n].holds != HOLDS_NOTHING);
	}
}

static void
test_reports_of_others_are_ignored(void **state)
{
	struct fixture *f = *state;

	put(f, "i-1", 2, "running");
	(void)news(f);
	instance_says(f, "nc-1", "i-1", 1, "terminated");
	instance_says(f, "nc-1", "i-1", 3, "terminated");
	instance_says(f, "nc-2", "i-1", 2, "terminated"); /* not where it was placed */
	instance_says(f, "nc-1", "i-unknown", 1, "running");
	assert_string_equal(get(f, "i-1").state, "pending");
	assert_false(is_known(f, "i-unknown", NULL));
	assert_int_equal(news(f).instances.count, 0);
}

static void
test_what_a_node_has_lost(void **state)
{
	struct fixture *f = *state;
	struct instance_report named = {
		.instance_id = "i-named", .generation = 1, .state = "running"
	};
	struct report_set set = { .epoch = 9,
		.revision = 1,
		.complete = true,
		.instances = { .items = &named, .count = 1 } };
	size_t lost;

	put(f, "i-named", 1, "running");
	put(f, "i-lost", 1, "running");
	told(f, "i-named");
	told(f, "i-lost");
	put(f, "i-new", 1, "running"); /* not told yet */
	/* The set may have been made before the node was told: it alone proves nothing. */
	write_step(f, (struct step){ step_news, .node_id = "nc-1", .in = &set }, NULL);
	assert_string_equal(get(f, "i-lost").state, "pending");
	(void)news(f);
	write_step(f, (struct step){ step_compare, .node_id = "nc-1", .in = &set }, &lost);
	assert_int_equal(lost, 1);
	assert_string_equal(get(f, "i-lost").state, "gone");
	assert_int_equal(get(f, "i-lost").holds, HOLDS_NOTHING);
	assert_string_equal(get(f, "i-named").state, "running");
	assert_string_equal(get(f, "i-new").state, "pending");
	{
		struct report_set heard = news(f);

		assert_int_equal(heard.instances.count, 1);
		assert_string_equal(told_of(&heard, "i-lost")->reason_message,
		    "Server.InternalError: its node knows nothing of it any more");
	}
	write_step(f, (struct step){ step_compare, .node_id = "nc-1", .in = &set }, &lost);
	assert_int_equal(lost, 0);
}

static void
test_silence_and_return(void **state)
{
	struct fixture *f = *state;
	struct report_set heard;

	put(f, "i-1", 1, "running");
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "running");
	(void)news(f);
	write_step(f, (struct step){ step_silent, .node_id = "nc-1", .why = "no route" }, NULL);
	assert_string_equal(node_of(f, "nc-1").state, "silent");
	assert_string_equal(node_of(f, "nc-1").reason, "no route");
	heard = news(f);
	assert_int_equal(heard.instances.count, 1);
	assert_true(heard.instances.items[0].unreachable);
	assert_string_equal(heard.instances.items[0].state, "running");
	assert_int_equal(heard.instances.items[0].boot_count, 1);
	assert_int_equal(heard.nodes.count, 1);
	assert_string_equal(heard.nodes.items[0].state, "silent");
	assert_string_equal(heard.nodes.items[0].reason, "no route");
	/* It is neither lost nor placed again, and what it holds stays held. */
	assert_int_equal(node_of(f, "nc-1").memory_mib_held, 1024);
	assert_string_equal(put(f, "i-1", 1, "running").node_id, "nc-1");
	/* Said again, nothing changes. */
	(void)news(f);
	write_step(f, (struct step){ step_silent, .node_id = "nc-1", .why = "no route" }, NULL);
	heard = news(f);
	assert_int_equal(heard.instances.count + heard.nodes.count, 0);
	node_says(f, "nc-1", "up", 8, 8192, 100);
	heard = news(f);
	assert_string_equal(node_of(f, "nc-1").state, "up");
	assert_false(told_of(&heard, "i-1")->unreachable);
	assert_string_equal(told_of(&heard, "i-1")->state, "running");
	assert_string_equal(heard.nodes.items[0].state, "up");
}

static void
test_set_of_nodes(void **state)
{
	struct fixture *f = *state;
	struct report_set heard;

	put(f, "i-1", 1, "running");
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "running");
	/* An older or the same revision is old news. */
	set_nodes(f, 1, NULL, 0);
	assert_non_null(node_of(f, "nc-1").state);
	(void)news(f);
	set_nodes(f, 5, (const char *const[]){ "nc-2", "nc-3" }, 2);
	assert_null(node_of(f, "nc-1").state);
	assert_string_equal(node_of(f, "nc-2").state, "up"); /* what it is stays */
	assert_string_equal(node_of(f, "nc-3").state, "silent");
	heard = news(f);
	assert_true(told_of(&heard, "i-1")->unreachable);
	assert_string_equal(told_of(&heard, "i-1")->state, "running");
	assert_int_equal(heard.nodes.count, 1);
	assert_string_equal(heard.nodes.items[0].node_id, "nc-1");
	assert_string_equal(heard.nodes.items[0].state, "silent");
	assert_string_equal(heard.nodes.items[0].reason, "it is no longer part of this zone");
	/* What a node says that left does not count. */
	node_says(f, "nc-1", "up", 8, 8192, 100);
	instance_says(f, "nc-1", "i-1", 1, "stopped");
	assert_string_equal(get(f, "i-1").state, "running");
	set_nodes(f, 4, (const char *const[]){ "nc-1" }, 1);
	assert_null(node_of(f, "nc-1").state);
	/* It comes back with what it has. */
	set_nodes(f, 6, (const char *const[]){ "nc-1", "nc-2" }, 2);
	assert_string_equal(node_of(f, "nc-1").state, "silent");
	node_says(f, "nc-1", "up", 8, 8192, 100);
	assert_false(get(f, "i-1").is_unreachable);
	assert_int_equal(node_of(f, "nc-1").memory_mib_held, 1024);
}

/* -- networks -- */

struct vpcs {
	const char *node_id;
	size_t count;
	int64_t revision;
};

static int
read_vpcs(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct vpcs *v = arg;
	int r = store_query(tx, Q_VPCS_TO_PUT, &rows, e, v->node_id, (int64_t)8);

	v->count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		v->count++;
		v->revision = store_int(rows, 1);
	}
	return r;
}

static struct vpcs
vpcs_for(struct fixture *f, const char *node_id)
{
	struct vpcs v = { .node_id = node_id };
	struct err e = { 0 };

	must(store_read(f->store, read_vpcs, &v, &e), &e);
	return v;
}

static int
told_vpc(struct store_tx *tx, struct step *s, struct err *e)
{
	return store_exec(tx, Q_VPC_PUT_SET, NULL, e, "vpc-1", s->node_id, (int64_t)s->count);
}

static void
put_vpc(struct fixture *f, uint64_t revision)
{
	struct vpc_spec vpc = { .vpc_id = "vpc-1",
		.account_id = "000000000001",
		.revision = revision,
		.vni = 100,
		.cidr = "172.31.0.0/16" };

	write_step(f, (struct step){ step_vpc, .in = &vpc }, NULL);
}

static void
test_networks_go_where_their_instances_are(void **state)
{
	struct fixture *f = *state;
	struct network_interface nic = { .interface_id = "eni-1", .vpc_id = "vpc-1" };
	struct instance_spec spec = spec_of("i-1", 1, "running");
	struct cc_instance i;
	struct report_set anew = { .epoch = 9, .revision = 1, .complete = true };
	struct err e = { 0 };

	put_vpc(f, 3);
	assert_int_equal(vpcs_for(f, "nc-1").count, 0);
	spec.interfaces.items = &nic;
	spec.interfaces.count = 1;
	must(try_put(f, &spec, &i, &e), &e);
	assert_int_equal(vpcs_for(f, "nc-1").revision, 3);
	assert_int_equal(vpcs_for(f, "nc-2").count, 0);
	put_vpc(f, 2); /* older */
	assert_int_equal(vpcs_for(f, "nc-1").revision, 3);
	put_vpc(f, 4);
	assert_int_equal(vpcs_for(f, "nc-1").revision, 4);
	write_step(f, (struct step){ told_vpc, .node_id = "nc-1", .count = 4 }, NULL);
	assert_int_equal(vpcs_for(f, "nc-1").count, 0);
	/* A node that begins anew must be told again. */
	write_step(f, (struct step){ step_news, .node_id = "nc-1", .in = &anew }, NULL);
	assert_int_equal(vpcs_for(f, "nc-1").count, 1);
}

/* -- news -- */

static void
test_news_are_told_once_and_as_they_are_now(void **state)
{
	struct fixture *f = *state;
	struct report_set set = news(f);

	assert_true(set.complete);
	assert_int_equal(set.nodes.count, 2);
	put(f, "i-1", 1, "running");
	put(f, "i-2", 1, "running");
	instance_says(f, "nc-1", "i-1", 1, "running");
	instance_says(f, "nc-1", "i-1", 1, "stopped");
	set = news(f);
	assert_false(set.complete);
	assert_int_equal(set.instances.count, 2);
	assert_string_equal(told_of(&set, "i-1")->state, "stopped");
	set = news(f);
	assert_int_equal(set.instances.count + set.nodes.count, 0);
	assert_false(set.complete);
}

static int
trim_all(struct store_tx *tx, struct step *s, struct err *e)
{
	return outbox_trim(tx, 0, e);
}

static void
test_everything_after_another_epoch_or_a_gap(void **state)
{
	struct fixture *f = *state;
	struct report_set set;

	put(f, "i-1", 1, "running");
	(void)news(f);
	f->heard.epoch++;
	set = news(f);
	assert_true(set.complete);
	assert_int_equal(set.instances.count, 1);
	assert_int_equal(set.nodes.count, 2);
	put(f, "i-2", 1, "running");
	write_step(f, (struct step){ trim_all }, NULL);
	set = news(f);
	assert_true(set.complete);
	assert_int_equal(set.instances.count, 2);
	/* A place that was never reached is none of this log. */
	f->heard.revision += 100;
	assert_true(news(f).complete);
}

#define MANY 1000

static int
insert_many(struct store_tx *tx, struct step *s, struct err *e)
{
	int r = 0;

	for (int n = 0; r == 0 && n < MANY; n++) {
		_cleanup_free_ char *id = xasprintf("i-%04d", n);

		r = store_exec(tx, Q_INSTANCE_PUT, NULL, e, id, "000000000001", (int64_t)1,
		    "running", (int64_t)0, "<record/>", NULL, "nc-1", (int64_t)0, (int64_t)0,
		    (int64_t)0, (int64_t)HOLDS_ALL, (int64_t)PUT_NOTHING, "running", NULL, NULL,
		    (int64_t)0, NULL, (int64_t)0);
	}
	return r;
}

/* More than a message holds comes in pages, all of it. */
static void
test_many(void **state)
{
	struct fixture *f = *state;
	bool seen[MANY] = { false };
	size_t pages = 0, count = 0;
	struct report_set set;

	write_step(f, (struct step){ insert_many }, NULL);
	for (set = news(f); pages == 0 || set.instances.count; set = news(f)) {
		assert_true(++pages < 20);
		assert_false(set.complete);
		assert_true(set.instances.count + set.nodes.count <= 200);
		for (size_t i = 0; i < set.instances.count; i++)
			seen[atoi(set.instances.items[i].instance_id + 2)] = true;
	}
	for (int n = 0; n < MANY; n++)
		count += seen[n];
	assert_int_equal(count, MANY);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_reports),
		TEST(test_reports_of_others_are_ignored),
		TEST(test_what_a_node_has_lost),
		TEST(test_silence_and_return),
		TEST(test_set_of_nodes),
		TEST(test_networks_go_where_their_instances_are),
		TEST(test_news_are_told_once_and_as_they_are_now),
		TEST(test_everything_after_another_epoch_or_a_gap),
		TEST(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
