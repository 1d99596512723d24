/* What zones report. Whichever store is put back or lost, nothing ends because it is not named, and
 * all that is wanted is told again. */
#include "fixture.h"
#include "zone_news.h"

#define ZONE_EPOCH 4711

struct telling {
	struct fixture *f;
	const struct report_set *set;
	uint64_t own_epoch;
};

static int
tell(struct store_tx *tx, void *arg, struct err *e)
{
	const struct telling *t = arg;

	return clc_zone_news(tx, "zone-a", t->own_epoch, t->set, e);
}

static void
hear(struct fixture *f, const struct report_set *set)
{
	struct telling t = { .f = f, .set = set, .own_epoch = store_epoch(f->clc.store) };

	fixture_write(f, tell, &t);
}

static void
report(struct fixture *f, const char *id, uint64_t generation, const char *state, bool complete)
{
	struct instance_report one = { .instance_id = id,
		.generation = generation,
		.state = state,
		.node_id = "nc-1",
		.boot_count = 1 };
	struct report_set set = { .epoch = ZONE_EPOCH,
		.revision = 1,
		.complete = complete,
		.instances = { .items = &one, .count = id != NULL } };

	hear(f, &set);
}

struct look {
	struct fixture *f;
	const char *id;
	struct clc_instance i;
	int64_t nodes_revision, nodes_put;
	char node_state[16];
};

static int
look_up(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *zone = NULL, *node = NULL;
	struct look *l = arg;
	int r = l->id ? clc_instance_load(tx, NULL, l->id, l->f->arena, &l->i, e) : 0;

	if (r == 0)
		r = store_query_one(tx, Q_ZONE_BY_NAME, &zone, "zone", e, "zone-a");
	if (r == 0)
		r = store_query_one(tx, Q_NODE_BY_ID, &node, "node", e, "nc-1");
	if (r < 0)
		return r;
	l->nodes_revision = store_int(zone, 3);
	l->nodes_put = store_int(zone, 4);
	snprintf(l->node_state, sizeof(l->node_state), "%s", store_text(node, 0));
	return 0;
}

static struct look
look(struct fixture *f, const char *id)
{
	struct look l = { .f = f, .id = id };
	struct err e = { 0 };

	if (store_read(f->clc.store, look_up, &l, &e) < 0)
		fail_msg("%s", e.text);
	return l;
}

struct order {
	const char *id;
	enum instance_event event;
};

static int
give(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct order *o = arg;
	struct clc_instance i;
	int r = clc_instance_load(tx, NULL, o->id, arena, &i, e);

	return r < 0 ? r : clc_instance_apply(tx, &i, o->event, NULL, e);
}

static void
order(struct fixture *f, const char *id, enum instance_event event)
{
	struct order o = { id, event };

	fixture_write(f, give, &o);
}

static int
mark_told(struct store_tx *tx, void *arg, struct err *e)
{
	const struct clc_instance *i = arg;

	return store_exec(tx, Q_INSTANCE_PUT_DONE, NULL, e, i->instance_id, i->revision, i->to_put);
}

static void
told(struct fixture *f, const char *id)
{
	struct clc_instance i = look(f, id).i;

	fixture_write(f, mark_told, &i);
	assert_int_equal(look(f, id).i.to_put, PUT_NOTHING);
}

/* An instance that runs and whose zone knows all of it. */
static const char *
run(struct fixture *f)
{
	struct fixture_launch l = { .f = f };

	report(f, NULL, 0, NULL, false); /* the epoch is known from here on */
	fixture_write(f, fixture_launch, &l);
	told(f, l.id);
	report(f, l.id, 1, "running", false);
	assert_int_equal(look(f, l.id).i.state, INSTANCE_RUNNING);
	assert_int_equal(look(f, l.id).i.to_put, PUT_NOTHING);
	return arena_strdup(f->arena, l.id);
}

static void
test_a_new_store_of_the_zone(void **state)
{
	struct fixture *f = *state;
	const char *id = run(f);
	struct node_report node = { .node_id = "nc-1", .state = "up", .vcpus = 8 };
	struct report_set set = { .epoch = ZONE_EPOCH + 1, .revision = 1, .complete = true };
	struct look l;

	hear(f, &set);
	l = look(f, id);
	assert_int_equal(l.i.state, INSTANCE_RUNNING);
	assert_int_equal(l.i.to_put, PUT_SPEC);
	assert_string_equal(l.i.node_id, "nc-1"); /* which it is told with */
	assert_true(l.nodes_revision > l.nodes_put);
	assert_true(
	    l.nodes_revision > 1000000000); /* above what any other copy of this store said */
	assert_string_equal(l.node_state, "silent");
	set.epoch = ZONE_EPOCH + 2;
	set.nodes.items = &node;
	set.nodes.count = 1;
	set.complete = false; /* the rest comes later */
	told(f, id);
	hear(f, &set);
	l = look(f, id);
	assert_string_equal(l.node_state, "up");
	assert_int_equal(l.i.to_put, PUT_SPEC);
	/* From the same store, nothing is told again. */
	told(f, id);
	hear(f, &set);
	assert_int_equal(look(f, id).i.to_put, PUT_NOTHING);
	/* A gap in what was heard is as good as a new store. */
	set.complete = true;
	hear(f, &set);
	assert_int_equal(look(f, id).i.to_put, PUT_SPEC);
}

static int
count_nodes(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_ZONE_NODES, &rows, e, "zone-a");

	*(size_t *)arg = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0)
		++*(size_t *)arg;
	return r;
}

static int
insert_peer(struct store_tx *tx, void *arg, struct err *e)
{
	return store_exec(tx, Q_PEER_PUT, NULL, e, "nc-2", "nc", "zone-a", "https://h:8775", "f",
	    INT64_C(1), INT64_C(1));
}

/* The last that a zone says of a node which was removed does not bring it back; of one that is
 * silent for another reason it is news. */
static void
test_nodes_that_left(void **state)
{
	struct fixture *f = *state;
	struct node_report nodes[] = {
		{ .node_id = "nc-2", .state = "silent", .reason = "cut off" },
		{ .node_id = "nc-3", .state = "silent", .reason = "no longer part of this zone" }
	};
	struct report_set set = {
		.epoch = ZONE_EPOCH, .revision = 1, .nodes = { .items = nodes, .count = 2 }
	};
	size_t count;

	(void)run(f);
	fixture_write(f, insert_peer, NULL);
	hear(f, &set);
	fixture_write(f, count_nodes, &count);
	assert_int_equal(count, 2); /* nc-1 of the fixture, and nc-2 */
	nodes[1].state = "up";
	hear(f, &set);
	fixture_write(f, count_nodes, &count);
	assert_int_equal(count, 3);
}

static void
test_another_copy_of_this_store(void **state)
{
	struct fixture *f = *state;
	const char *id = run(f);
	struct report_set set = { .epoch = ZONE_EPOCH, .revision = 1 };
	struct telling t = { .f = f, .set = &set, .own_epoch = store_epoch(f->clc.store) + 1 };

	assert_int_equal(clc_zone_kept_epoch(99, 0), 0);
	assert_int_equal(clc_zone_kept_epoch(99, clc_zone_kept_epoch(99, ZONE_EPOCH)), ZONE_EPOCH);
	assert_int_not_equal(
	    clc_zone_kept_epoch(98, clc_zone_kept_epoch(99, ZONE_EPOCH)), ZONE_EPOCH);
	fixture_write(f, tell, &t);
	assert_int_equal(look(f, id).i.to_put, PUT_SPEC);
	assert_int_equal(look(f, id).i.state, INSTANCE_RUNNING);
}

/* The zone is at generation 5 of an instance that this copy of the store saw last like that. */
static const struct {
	bool is_stopped, is_stopping, is_ending;
	const char *reported;
	enum clc_instance_state state;
	const char *wanted;
} later[] = {
	{ .reported = "running", .state = INSTANCE_RUNNING, .wanted = "running" },
	{ .reported = "stopped", .state = INSTANCE_STOPPED, .wanted = "stopped" },
	{ .is_stopped = true,
	    .reported = "running",
	    .state = INSTANCE_RUNNING,
	    .wanted = "running" },
	{ .is_stopped = true,
	    .reported = "stopped",
	    .state = INSTANCE_STOPPED,
	    .wanted = "stopped" },
	{ .is_stopping = true,
	    .reported = "running",
	    .state = INSTANCE_RUNNING,
	    .wanted = "running" },
	{ .is_stopping = true,
	    .reported = "pending",
	    .state = INSTANCE_PENDING,
	    .wanted = "running" },
	{ .is_ending = true,
	    .reported = "running",
	    .state = INSTANCE_SHUTTING_DOWN,
	    .wanted = "terminated" },
	{ .reported = "terminated", .state = INSTANCE_TERMINATED, .wanted = "terminated" },
};

static void
test_catches_up(void **state)
{
	struct fixture *f = *state;

	for (size_t n = 0; n < ARRAY_SIZE(later); n++) {
		const char *id = run(f);
		struct look l;

		if (later[n].is_stopped || later[n].is_stopping)
			order(f, id, EV_STOP);
		if (later[n].is_stopped)
			report(f, id, 1, "stopped", false);
		if (later[n].is_ending)
			order(f, id, EV_TERMINATE);
		report(f, id, 5, later[n].reported, false);
		l = look(f, id);
		assert_int_equal(l.i.state, later[n].state);
		assert_string_equal(l.i.wanted, later[n].wanted);
		assert_int_equal(l.i.generation, 5);
		assert_int_equal(
		    l.i.to_put, later[n].state == INSTANCE_TERMINATED ? PUT_FORGET : PUT_SPEC);
		/* An older one is nothing to catch up with. */
		report(f, id, 4, "failed", false);
		assert_int_equal(look(f, id).i.state, later[n].state);
	}
}

static void
test_what_has_ended_is_forgotten_again(void **state)
{
	struct fixture *f = *state;
	const char *id = run(f);

	order(f, id, EV_TERMINATE);
	report(f, id, 1, "terminated", false);
	assert_int_equal(look(f, id).i.to_put, PUT_FORGET);
	told(f, id);
	report(f, id, 1, "gone", false);
	assert_int_equal(look(f, id).i.to_put, PUT_NOTHING);
	report(f, id, 1, "running", false); /* an older store of the zone */
	assert_int_equal(look(f, id).i.to_put, PUT_FORGET);
	assert_int_equal(look(f, id).i.state, INSTANCE_TERMINATED);
	report(f, "i-00000000000000001", 1, "running", false); /* unknown here */
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_new_store_of_the_zone),
		TEST(test_nodes_that_left),
		TEST(test_another_copy_of_this_store),
		TEST(test_catches_up),
		TEST(test_what_has_ended_is_forgotten_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
