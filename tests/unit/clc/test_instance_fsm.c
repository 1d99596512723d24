/* Every state by every event, and what an event changes beside the state. */
#include "fixture.h"

#define REFUSED INSTANCE_STATE_MAX
#define P INSTANCE_PENDING
#define R INSTANCE_RUNNING
#define D INSTANCE_SHUTTING_DOWN
#define T INSTANCE_TERMINATED
#define G INSTANCE_STOPPING
#define S INSTANCE_STOPPED
#define X REFUSED

/* Written down a second time, by hand: where each event leads from each state. X: refused (user) or
 * ignored. */
static const enum clc_instance_state expected[INSTANCE_STATE_MAX][INSTANCE_EVENT_MAX] = {
	/*		   start stop reboot term pending running stopped failed ended */
	[INSTANCE_PENDING] = { P, G, P, D, P, R, S, T, T },
	[INSTANCE_RUNNING] = { R, G, R, D, X, R, S, S, T },
	[INSTANCE_SHUTTING_DOWN] = { X, X, X, D, D, D, D, T, T },
	[INSTANCE_TERMINATED] = { X, X, X, T, X, X, X, T, T },
	[INSTANCE_STOPPING] = { X, G, X, D, G, G, S, S, T },
	[INSTANCE_STOPPED] = { P, S, X, D, X, X, S, X, T },
};

struct step {
	struct fixture *f;
	const char *id;
	enum clc_instance_state from;
	enum instance_event event;
	int result;
	struct clc_instance before, after;
};

static int
take_step(struct store_tx *tx, void *arg, struct err *e)
{
	struct step *s = arg;
	struct clc_instance i;
	struct err ignored = { 0 };
	int r = clc_instance_load(tx, NULL, s->id, s->f->arena, &i, e);

	if (r < 0)
		return r;
	i.state = s->from;
	i.generation = 1;
	s->before = i;
	s->result = clc_instance_apply(tx, &i, s->event, NULL, &ignored);
	s->after = i;
	return 0;
}

static void
test_table(void **state)
{
	for (unsigned from = 0; from < INSTANCE_STATE_MAX; from++)
		for (unsigned event = 0; event < INSTANCE_EVENT_MAX; event++) {
			struct fixture_launch l = { .f = *state };
			struct step s = { .f = *state, .from = from, .event = event };

			fixture_write(*state, fixture_launch, &l);
			s.id = l.id;
			fixture_write(*state, take_step, &s);
			if (expected[from][event] == REFUSED) {
				assert_int_equal(s.result,
				    event <= EV_TERMINATE ? ERR_INCORRECT_INSTANCE_STATE : 0);
				assert_int_equal(s.after.state, from);
			} else {
				assert_int_equal(s.result, 0);
				if (s.after.state != expected[from][event])
					fail_msg("%s by event %u leads to %s",
					    instance_state_to_string(from), event,
					    instance_state_to_string(s.after.state));
			}
			/* The zone hears of what users want, and of the end. */
			if (event > EV_TERMINATE && s.after.state != INSTANCE_TERMINATED &&
			    s.after.state != INSTANCE_STOPPED)
				assert_int_equal(s.after.revision, s.before.revision);
			if (s.after.state == INSTANCE_TERMINATED && from != INSTANCE_TERMINATED)
				assert_int_equal(s.after.to_put, PUT_FORGET);
		}
}

static void
test_start_is_a_new_generation(void **state)
{
	struct fixture_launch l = { .f = *state };
	struct step s = { .f = *state, .from = INSTANCE_STOPPED, .event = EV_START };

	fixture_write(*state, fixture_launch, &l);
	s.id = l.id;
	fixture_write(*state, take_step, &s);
	assert_int_equal(s.after.generation, 2);
	assert_int_equal(s.after.to_put, PUT_SPEC);
	assert_string_equal(s.after.wanted, "running");
}

struct report {
	struct fixture *f;
	const char *id;
	struct instance_report report;
	struct clc_instance after;
};

static int
take_report(struct store_tx *tx, void *arg, struct err *e)
{
	struct report *r = arg;
	int result = clc_instance_report(tx, &r->report, e);

	return result < 0 ? result : clc_instance_load(tx, NULL, r->id, r->f->arena, &r->after, e);
}

static void
test_reports(void **state)
{
	struct fixture_launch l = { .f = *state };
	struct report r = { .f = *state };

	fixture_write(*state, fixture_launch, &l);
	r.id = l.id;
	r.report = (struct instance_report){ .instance_id = l.id,
		.generation = 1,
		.state = "running",
		.node_id = "nc-1",
		.boot_count = 1 };
	fixture_write(*state, take_report, &r);
	assert_int_equal(r.after.state, INSTANCE_RUNNING);
	assert_string_equal(r.after.node_id, "nc-1");
	assert_int_equal(r.after.boot_count, 1);

	/* Of another generation: not what is wanted, so not news. */
	r.report.generation = 2;
	r.report.state = "stopped";
	fixture_write(*state, take_report, &r);
	assert_int_equal(r.after.state, INSTANCE_RUNNING);

	/* The guest shut itself down: stopped is what is wanted now, and its public address goes
	 * back. */
	r.report.generation = 1;
	r.report.reason_code = "Client.InstanceInitiatedShutdown";
	r.report.reason_message = "Client.InstanceInitiatedShutdown: Instance initiated shutdown";
	fixture_write(*state, take_report, &r);
	assert_int_equal(r.after.state, INSTANCE_STOPPED);
	assert_string_equal(r.after.wanted, "stopped");
	assert_string_equal(r.after.reason_code, "Client.InstanceInitiatedShutdown");

	/* One that nobody knows is no error: its row may have expired. */
	r.report.instance_id = "i-0123456789abcdef0";
	fixture_write(*state, take_report, &r);
}

static void
test_names_are_inverses(void **state)
{
	enum clc_instance_state s;

	for (unsigned i = 0; i < INSTANCE_STATE_MAX; i++) {
		assert_true(instance_state_from_string(instance_state_to_string(i), &s));
		assert_int_equal(s, i);
	}
	assert_false(instance_state_from_string("asleep", &s));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_table, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
		    test_start_is_a_new_generation, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_reports, fixture_setup, fixture_teardown),
		cmocka_unit_test(test_names_are_inverses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
