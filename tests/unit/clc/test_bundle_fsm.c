/* The table of a bundle task, all states by all events, and what becomes of the instance it holds.
 */
#include "fixture.h"

#include "bundle_task.h"

#define NO BUNDLE_STATE_MAX /* not in the table */
static const enum bundle_state wanted[BUNDLE_STATE_MAX][BUNDLE_EVENT_MAX] = {
	/*                      TAKEN, STOPPED, EXPORTED, STORED, FAILED, LOST, CANCEL, UNDONE */
	[BUNDLE_PENDING] = { BUNDLE_WAITING_FOR_SHUTDOWN, NO, NO, NO, BUNDLE_FAILED, BUNDLE_FAILED,
	    BUNDLE_CANCELLING, NO },
	[BUNDLE_WAITING_FOR_SHUTDOWN] = { NO, BUNDLE_BUNDLING, NO, NO, BUNDLE_FAILED, BUNDLE_FAILED,
	    BUNDLE_CANCELLING, NO },
	[BUNDLE_BUNDLING] = { NO, NO, BUNDLE_STORING, NO, BUNDLE_FAILED, BUNDLE_FAILED,
	    BUNDLE_CANCELLING, NO },
	[BUNDLE_STORING] = { NO, NO, NO, BUNDLE_COMPLETE, BUNDLE_FAILED, NO, BUNDLE_CANCELLING,
	    NO },
	[BUNDLE_CANCELLING] = { NO, NO, NO, NO, NO, NO, NO, BUNDLE_FAILED },
	[BUNDLE_COMPLETE] = { NO, NO, NO, NO, NO, NO, NO, NO },
	[BUNDLE_FAILED] = { NO, NO, NO, NO, NO, NO, NO, NO },
};

static void
test_names(void **state)
{
	for (unsigned s = 0; s < BUNDLE_STATE_MAX; s++) {
		enum bundle_state back = BUNDLE_STATE_MAX;

		assert_true(bundle_state_from_string(bundle_state_to_string(s), &back));
		assert_int_equal(back, s);
	}
	assert_false(bundle_state_from_string("done", &(enum bundle_state){ 0 }));
	assert_false(bundle_state_from_string(NULL, &(enum bundle_state){ 0 }));
}

/* -- tasks on rows -- */

struct world {
	struct fixture *f;
	char instance_id[ID_MAX];
	struct clc_bundle_task task;
	struct clc_instance instance;
	struct export_report report;
	enum bundle_event event;
	const char *state;
	int code;
};

static int
make_task(struct store_tx *tx, void *arg, struct err *e)
{
	struct world *w = arg;
	struct request rq = {
		.clc = &w->f->clc, .arena = w->f->arena, .account_id = w->f->account.account_id
	};

	w->task = (struct clc_bundle_task){ .instance_id = w->instance_id, .kind = "bundle" };
	return clc_bundle_insert(tx, &rq, &w->task, &w->instance, e);
}

static int
load_both(struct store_tx *tx, void *arg, struct err *e)
{
	struct world *w = arg;
	int r = clc_bundle_load(tx, NULL, w->task.task_id, w->f->arena, &w->task, e);

	return r < 0 ? r
		     : clc_instance_load(tx, NULL, w->instance_id, w->f->arena, &w->instance, e);
}

static int
apply(struct store_tx *tx, void *arg, struct err *e)
{
	struct world *w = arg;
	int r = load_both(tx, w, e);

	if (r == 0) {
		w->code = clc_bundle_apply(tx, &w->task, w->event,
		    w->event == BUNDLE_EV_FAILED ? "Server.InternalError" : NULL, "why", e);
		if (w->code < 0)
			err_clear(e);
	}
	return r;
}

static int
set_task_state(struct store_tx *tx, void *arg, struct err *e)
{
	struct world *w = arg;

	w->task.is_held = true;
	return clc_bundle_write(tx, &w->task, e);
}

/* What the zone says of the instance. */
static int
zone_says(struct store_tx *tx, void *arg, struct err *e)
{
	struct world *w = arg;
	struct instance_report report = { .instance_id = w->instance_id,
		.node_id = "nc-1",
		.state = w->state,
		.export = w->report.export_id ? &w->report : NULL };
	int r = load_both(tx, w, e);

	report.generation = (uint64_t)w->instance.generation;
	return r < 0 ? r : clc_instance_report(tx, &report, e);
}

static int
start_export(struct store_tx *tx, void *arg, struct err *e)
{
	struct world *w = arg;
	int r = store_exec(tx, Q_INSTANCE_EXPORT_SET, NULL, e, w->instance_id, w->task.export_id);

	if (r == 0)
		r = load_both(tx, w, e);
	if (r == 0 && w->instance.state != INSTANCE_STOPPED)
		r = clc_instance_apply(tx, &w->instance, EV_STOP, NULL, e);
	return r == 0 ? clc_bundle_apply(tx, &w->task, BUNDLE_EV_TAKEN, NULL, NULL, e) : r;
}

static void
say(struct world *w, const char *state)
{
	w->state = state;
	fixture_write(w->f, zone_says, w);
	fixture_write(w->f, load_both, w);
}

static void
happens(struct world *w, enum bundle_event event)
{
	w->event = event;
	fixture_write(w->f, apply, w);
	fixture_write(w->f, load_both, w);
}

/* A running instance of a task that has just begun. */
static struct world
begin(struct fixture *f)
{
	struct world w = { .f = f };
	struct fixture_launch launch = { .f = f };

	fixture_write(f, fixture_launch, &launch);
	memcpy(w.instance_id, launch.id, sizeof(w.instance_id));
	w.task.task_id = "none yet";
	w.state = "running";
	{
		struct instance_report report = { .instance_id = w.instance_id,
			.generation = 1,
			.state = "running",
			.node_id = "nc-1" };

		fixture_write(f, (store_fn)clc_instance_report, &report);
	}
	fixture_write(f, make_task, &w);
	return w;
}

static void
test_the_whole_table(void **state)
{
	struct world w = begin(*state);

	for (unsigned s = 0; s < BUNDLE_STATE_MAX; s++)
		for (unsigned v = 0; v < BUNDLE_EVENT_MAX; v++) {
			enum bundle_state next = NO;
			bool is_legal = clc_bundle_accepts(s, v, &next);

			assert_int_equal(is_legal, wanted[s][v] != NO);
			if (is_legal)
				assert_int_equal(next, wanted[s][v]);
			w.task.state = s;
			fixture_write(w.f, set_task_state, &w);
			happens(&w, v);
			assert_int_equal(w.task.state, is_legal ? wanted[s][v] : s);
			assert_int_equal(
			    w.code, is_legal || v != BUNDLE_EV_CANCEL ? 0 : ERR_INCORRECT_STATE);
			/* It runs, and is put back at once wherever it is held no more. */
			assert_string_equal(w.instance.wanted, "running");
		}
}

static void
test_a_life(void **state)
{
	struct world w = begin(*state);
	const char *export_id = arena_strdup(w.f->arena, w.task.export_id);
	int64_t generation = w.instance.generation;

	assert_true(w.task.was_running);
	fixture_write(w.f, start_export, &w);
	say(&w, "stopping");
	assert_int_equal(w.task.state, BUNDLE_WAITING_FOR_SHUTDOWN);
	assert_string_equal(w.instance.export_id, export_id);
	w.report = (struct export_report){ .export_id = "another", .state = "done" };
	say(&w, "stopped");
	assert_int_equal(w.task.state, BUNDLE_WAITING_FOR_SHUTDOWN); /* not of this one */
	w.report =
	    (struct export_report){ .export_id = export_id, .state = "running", .progress = 50 };
	say(&w, "stopped");
	assert_int_equal(w.task.state, BUNDLE_BUNDLING);
	assert_int_equal(w.task.progress, 35);
	w.report = (struct export_report){ .export_id = export_id,
		.state = "done",
		.progress = 100,
		.size_bytes = 1000,
		.archive_bytes = 100 };
	say(&w, "stopped");
	assert_int_equal(w.task.state, BUNDLE_STORING);
	assert_int_equal(w.task.size_bytes, 1000);
	assert_int_equal(w.task.archive_bytes, 100);
	/* its disk is copied: it starts again while the rest goes on */
	assert_null(w.instance.export_id);
	assert_false(w.task.is_held);
	assert_int_equal(w.instance.state, INSTANCE_PENDING);
	assert_int_equal(w.instance.generation, generation + 1);
	say(&w, "stopped"); /* said again, of the generation before or this: nothing begins anew */
	assert_int_equal(w.task.state, BUNDLE_STORING);
	happens(&w, BUNDLE_EV_STORED);
	assert_int_equal(w.task.state, BUNDLE_COMPLETE);
	assert_int_equal(w.task.progress, 100);
}

static void
test_a_failure_puts_it_back(void **state)
{
	struct world w = begin(*state);
	const char *export_id = arena_strdup(w.f->arena, w.task.export_id);

	fixture_write(w.f, start_export, &w);
	w.report = (struct export_report){
		.export_id = export_id, .state = "failed", .reason = "the node has no room for it"
	};
	say(&w, "stopped");
	assert_int_equal(w.task.state, BUNDLE_FAILED);
	assert_string_equal(w.task.error_code, "Server.InternalError");
	assert_string_equal(w.task.error_message, "the node has no room for it");
	assert_true(w.task.to_clean);
	assert_int_equal(w.instance.state, INSTANCE_PENDING);
}

static void
test_cancelled_while_it_stops(void **state)
{
	struct world w = begin(*state);

	fixture_write(w.f, start_export, &w);
	happens(&w, BUNDLE_EV_CANCEL);
	assert_int_equal(w.task.state, BUNDLE_CANCELLING);
	assert_true(w.task.is_held); /* it can't start from there */
	assert_null(w.instance.export_id);
	w.report.export_id = NULL;
	say(&w, "stopped");
	assert_true(w.task.is_held);
	happens(&w, BUNDLE_EV_UNDONE);
	assert_int_equal(w.task.state, BUNDLE_FAILED);
	assert_false(w.task.is_held);
	assert_int_equal(w.instance.state, INSTANCE_PENDING);
}

static int
stays_stopped(struct store_tx *tx, void *arg, struct err *e)
{
	return store_exec(tx, Q_BUNDLE_STAYS_STOPPED, NULL, e, (const char *)arg);
}

static void
test_one_that_was_stopped_stays_so(void **state)
{
	struct world w = begin(*state);
	const char *export_id = arena_strdup(w.f->arena, w.task.export_id);

	fixture_write(w.f, stays_stopped, w.instance_id); /* a user's stop meanwhile */
	fixture_write(w.f, start_export, &w);
	w.report = (struct export_report){
		.export_id = export_id, .state = "done", .size_bytes = 1, .archive_bytes = 1
	};
	say(&w, "stopped");
	assert_int_equal(w.task.state, BUNDLE_STORING);
	assert_int_equal(w.instance.state, INSTANCE_STOPPED);
	assert_false(w.task.is_held);
}

static void
test_lost(void **state)
{
	struct world w = begin(*state);

	fixture_write(w.f, start_export, &w);
	say(&w, "gone");
	happens(&w, BUNDLE_EV_LOST);
	assert_int_equal(w.task.state, BUNDLE_FAILED);
	assert_false(w.task.is_held);
	assert_int_equal(w.instance.state, INSTANCE_TERMINATED);
}

int
main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		WITH_STORE(test_the_whole_table),
		WITH_STORE(test_a_life),
		WITH_STORE(test_a_failure_puts_it_back),
		WITH_STORE(test_cancelled_while_it_stops),
		WITH_STORE(test_one_that_was_stopped_stays_so),
		WITH_STORE(test_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
