/* Orders and news against a real store: what is taken, what is refused, what is reported. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>
#include "instance_store.h"
#include "network_store.h"
#include "schema.h"

#define ID "i-0123456789abcdef0"
#define OTHER "i-0123456789abcdef1"

struct world {
	char directory[64];
	struct store *store;
	struct arena *arena;
	struct node_capacity capacity;
};

static void
open_it(struct world *w)
{
	_cleanup_free_ char *url = xasprintf("sqlite:%s/nc.db", w->directory);
	static const struct log log = { .daemon = "test" };
	struct err e = { 0 };

	if (store_open(url, &nc_schema, &log, &w->store, &e) < 0)
		fail_msg("%s", e.text);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	log_set_level(LOG_ERROR);
	strcpy(w->directory, "/tmp/instance-store-XXXXXX");
	assert_non_null(mkdtemp(w->directory));
	open_it(w);
	w->arena = arena_new(0);
	w->capacity = (struct node_capacity){ 4, 4096, 100 };
	*state = w;
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int
teardown(void **state)
{
	struct world *w = *state;

	store_close(w->store);
	arena_free(w->arena);
	(void)nftw(w->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static struct instance_spec
spec(const char *id, uint64_t generation, const char *wanted)
{
	static struct image_file file = {
		.image_id = "ami-1", .digest = "d", .size_bytes = 3 << 20, .format = "raw"
	};

	return (struct instance_spec){ .instance_id = id,
		.account_id = "000012345678",
		.reservation_id = "r-1",
		.generation = generation,
		.wanted = wanted,
		.instance_type = "t1",
		.vcpus = 2,
		.memory_mib = 1024,
		.image = &file,
		.shutdown_behavior = "stop",
		.region = "r",
		.zone = "z",
		.hostname = "h",
		.domain = "d" };
}

static int
put(struct world *w, const char *id, uint64_t generation, const char *wanted,
    struct instance_record *ret)
{
	struct instance_spec s = spec(id, generation, wanted);
	struct err e = { 0 };

	return instance_put(w->store, &s, &w->capacity, w->arena, ret, &e);
}

static int
tell(struct world *w, uint64_t generation, enum instance_event event)
{
	const struct instance_news n = { .instance_id = ID,
		.generation = generation,
		.event = event,
		.has_started = event == EVENT_STARTED,
		.host_boot = "boot" };

	return instance_event(w->store, &n, NULL);
}

static enum instance_state
state_of(struct world *w, const char *id)
{
	struct instance_record i;
	struct err e = { 0 };

	if (instance_load(w->store, id, w->arena, &i, &e) < 0)
		fail_msg("%s", e.text);
	return i.state;
}

static void
a_life(void **state)
{
	struct world *w = *state;
	struct instance_record i;

	assert_int_equal(put(w, ID, 1, "running", &i), 0);
	assert_int_equal(i.state, INSTANCE_PENDING);
	assert_int_equal(tell(w, 1, EVENT_STARTED), 0);
	assert_int_equal(put(w, ID, 1, "running", &i), 0); /* again: nothing moves */
	assert_int_equal(i.state, INSTANCE_RUNNING);
	assert_int_equal(i.boot_count, 1);
	assert_string_equal(i.host_boot, "boot");
	assert_int_equal(put(w, ID, 1, "stopped", &i), 0);
	assert_int_equal(i.state, INSTANCE_STOPPING);
	assert_int_equal(tell(w, 1, EVENT_RELEASED), 0);
	assert_int_equal(state_of(w, ID), INSTANCE_STOPPED);
	assert_int_equal(put(w, ID, 2, "running", &i), 0);
	assert_int_equal(i.state, INSTANCE_PENDING);
	assert_int_equal(i.boot_count, 0);
	assert_int_equal(put(w, ID, 2, "terminated", &i), 0);
	assert_int_equal(i.state, INSTANCE_SHUTTING_DOWN);
	assert_int_equal(instance_forget(w->store, ID, NULL), ERR_CONFLICT);
	assert_int_equal(tell(w, 2, EVENT_RELEASED), 0);
	assert_int_equal(instance_forget(w->store, ID, NULL), 0);
	assert_int_equal(instance_forget(w->store, ID, NULL), 0);
	assert_int_equal(instance_load(w->store, ID, w->arena, &i, NULL), ERR_NOT_FOUND);
}

static void
old_orders_and_old_news(void **state)
{
	struct world *w = *state;
	struct instance_record i;

	assert_int_equal(put(w, ID, 5, "running", &i), 0);
	assert_int_equal(put(w, ID, 4, "terminated", &i), ERR_STALE);
	assert_int_equal(put(w, ID, 5, "stopped", &i), 0);
	assert_int_equal(put(w, ID, 5, "running", &i), ERR_STALE); /* overtaken by the stop */
	assert_int_equal(tell(w, 4, EVENT_RELEASED), ERR_STALE);
	assert_int_equal(tell(w, 5, EVENT_STARTED), ERR_INCORRECT_INSTANCE_STATE);
	assert_int_equal(put(w, ID, 6, "running", &i), 0);
	assert_int_equal(tell(w, 5, EVENT_RELEASED), ERR_STALE);
	assert_int_equal(put(w, ID, 6, "terminated", &i), 0);
	assert_int_equal(put(w, ID, 7, "running", &i), ERR_STALE); /* the end is the end */
	assert_int_equal(state_of(w, ID), INSTANCE_SHUTTING_DOWN);
}

static void
capacity(void **state)
{
	struct world *w = *state;
	struct instance_record i;
	struct node_capacity now;

	assert_int_equal(put(w, ID, 1, "running", &i), 0);
	w->capacity.vcpus = 3;
	assert_int_equal(put(w, OTHER, 1, "running", &i), 0);
	assert_int_equal(i.state, INSTANCE_FAILED);
	assert_string_equal(i.reason_code, "Server.InsufficientInstanceCapacity");
	w->capacity.vcpus = 4;
	assert_int_equal(put(w, OTHER, 2, "running", &i), 0);
	assert_int_equal(i.state, INSTANCE_PENDING); /* exactly full */
	assert_null(i.reason_code);
	assert_int_equal(instance_used(w->store, &now, NULL), 0);
	assert_int_equal(now.vcpus, 4);
	assert_int_equal(now.memory_mib, 2048);
	assert_int_equal(now.disk_gib, 2);
	/* One that is stopped gives processors and memory back, and keeps its disk. */
	assert_int_equal(put(w, ID, 1, "stopped", &i), 0);
	assert_int_equal(tell(w, 1, EVENT_RELEASED), 0);
	assert_int_equal(instance_used(w->store, &now, NULL), 0);
	assert_int_equal(now.vcpus, 2);
	assert_int_equal(now.disk_gib, 2);
}

static struct report_set
changes(struct world *w, uint64_t epoch, uint64_t revision)
{
	struct report_set set;
	bool node;
	struct err e = { 0 };

	if (instance_reports_since(w->store, epoch, revision, "nc-1", w->arena, &set, &node, &e) <
	    0)
		fail_msg("%s", e.text);
	return set;
}

static void
reports(void **state)
{
	struct world *w = *state;
	struct instance_record i;
	struct report_set all, more;
	const struct instance_step downloading = { "downloading", "the object store", "cloud",
		false };

	assert_int_equal(put(w, ID, 1, "running", &i), 0);
	assert_int_equal(put(w, OTHER, 1, "running", &i), 0);
	all = changes(w, 0, 0);
	assert_true(all.complete);
	assert_int_equal(all.instances.count, 2);
	more = changes(w, all.epoch, all.revision);
	assert_false(more.complete);
	assert_int_equal(more.instances.count, 0);
	assert_int_equal(more.revision, all.revision);
	/* Several changes of one instance are one report, the last. */
	assert_int_equal(instance_set_step(w->store, ID, 1, &downloading, NULL), 0);
	assert_int_equal(instance_set_step(w->store, ID, 1, &downloading, NULL), 0);
	assert_int_equal(tell(w, 1, EVENT_STARTED), 0);
	more = changes(w, all.epoch, all.revision);
	assert_int_equal(more.instances.count, 1);
	assert_string_equal(more.instances.items[0].state, "running");
	assert_null(more.instances.items[0].step);
	assert_int_equal(more.revision, all.revision + 2); /* the same step is no news */
	assert_int_equal(put(w, ID, 1, "terminated", &i), 0);
	assert_int_equal(tell(w, 1, EVENT_RELEASED), 0);
	assert_int_equal(instance_forget(w->store, ID, NULL), 0);
	more = changes(w, all.epoch, more.revision);
	assert_int_equal(more.instances.count, 1);
	assert_string_equal(more.instances.items[0].state, "gone");
	assert_true(changes(w, all.epoch + 1, 0).complete);
}

/* Progress is no new step; what is waited for, and by whom, goes with it. */
static void
steps_say_since_when_and_for_what(void **state)
{
	static const struct instance_step steps[] = {
		{ "downloading image (10%)", "the store", "cloud", false },
		{ "downloading image (90%)", "the store", "cloud", false },
		{ "downloading image (90%)", "the store", "administrator", false },
		{ "starting guest", "libvirt", "cloud", false },
	};
	struct world *w = *state;
	struct instance_record i;
	struct instance_report report;
	int64_t since = 0;

	assert_int_equal(put(w, ID, 1, "running", &i), 0);
	for (unsigned n = 0; n < ARRAY_SIZE(steps); n++) {
		assert_int_equal(instance_set_step(w->store, ID, 1, &steps[n], NULL), 0);
		assert_int_equal(instance_load(w->store, ID, w->arena, &i, NULL), 0);
		instance_to_report(&i, "nc-1", &report);
		assert_string_equal(report.step, steps[n].step);
		assert_string_equal(report.waits_for, steps[n].waits_for);
		assert_string_equal(report.who, steps[n].who);
		assert_true(report.has_step_since);
		assert_true(n == 0 || (report.step_since == since) == (n < 3));
		since = report.step_since;
		assert_null(report.reachability);
	}
	assert_int_equal(tell(w, 1, EVENT_STARTED), 0);
	assert_int_equal(instance_load(w->store, ID, w->arena, &i, NULL), 0);
	instance_to_report(&i, "nc-1", &report);
	assert_null(report.step);
	assert_null(report.waits_for);
	assert_null(report.who);
	assert_false(report.has_step_since);
}

static void
reachability_begins_anew(void **state)
{
	struct world *w = *state;
	struct instance_record i;

	assert_int_equal(put(w, ID, 1, "running", &i), 0);
	assert_int_equal(instance_set_reachability(w->store, ID, 1, "passed", NULL), 0);
	assert_int_equal(instance_load(w->store, ID, w->arena, &i, NULL), 0);
	assert_null(i.reachability); /* it does not run yet */
	assert_int_equal(tell(w, 1, EVENT_STARTED), 0);
	assert_int_equal(instance_load(w->store, ID, w->arena, &i, NULL), 0);
	assert_string_equal(i.reachability, "initializing");
	assert_int_equal(instance_set_reachability(w->store, ID, 1, "passed", NULL), 1);
	assert_int_equal(instance_set_reachability(w->store, ID, 1, "passed", NULL), 0);
	assert_int_equal(instance_set_reachability(w->store, ID, 1, "failed", NULL), 1);
	assert_int_equal(instance_set_reachability(w->store, ID, 2, "passed", NULL), ERR_STALE);
	assert_int_equal(put(w, ID, 1, "stopped", &i), 0);
	assert_int_equal(tell(w, 1, EVENT_RELEASED), 0);
	assert_int_equal(put(w, ID, 2, "running", &i), 0);
	assert_int_equal(tell(w, 2, EVENT_STARTED), 0);
	assert_int_equal(instance_load(w->store, ID, w->arena, &i, NULL), 0);
	assert_string_equal(i.reachability, "initializing");
}

static void
numbers_stay(void **state)
{
	struct world *w = *state;
	uint32_t n = 0;

	assert_int_equal(nic_index(w->store, "eni-a", ID, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(nic_index(w->store, "eni-b", OTHER, &n, NULL), 0);
	assert_int_equal(n, 2);
	store_close(w->store);
	open_it(w);
	assert_int_equal(nic_index(w->store, "eni-b", OTHER, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(nic_release(w->store, ID, NULL), 0);
	assert_int_equal(nic_index(w->store, "eni-c", OTHER, &n, NULL), 0);
	assert_int_equal(n, 1); /* the lowest that is free */
	assert_int_equal(group_index(w->store, "sg-a", &n, NULL), 0);
	assert_int_equal(n, 1);
}

static void
vpc_revisions(void **state)
{
	struct world *w = *state;
	struct vpc_spec vpc = { .vpc_id = "vpc-1",
		.account_id = "1",
		.revision = 5,
		.vni = 1001,
		.cidr = "172.31.0.0/16" },
			got;
	bool has_changed = false;

	assert_int_equal(vpc_load(w->store, "vpc-1", w->arena, &got, NULL), ERR_NOT_FOUND);
	assert_int_equal(vpc_store(w->store, &vpc, &has_changed, NULL), 0);
	assert_true(has_changed);
	vpc.cidr = "10.0.0.0/16";
	assert_int_equal(vpc_store(w->store, &vpc, &has_changed, NULL), 0);
	assert_false(has_changed);
	vpc.revision = 6;
	assert_int_equal(vpc_store(w->store, &vpc, &has_changed, NULL), 0);
	assert_true(has_changed);
	assert_int_equal(vpc_load(w->store, "vpc-1", w->arena, &got, NULL), 0);
	assert_string_equal(got.cidr, "10.0.0.0/16");
	assert_int_equal(got.vni, 1001);
}

static void
exports(void **state)
{
	struct world *w = *state;
	struct instance_spec s = spec(ID, 1, "stopped");
	struct export_spec wanted = { "export-1", "https://store/secret" };
	struct export_report half = { .export_id = "export-1", .state = "running", .progress = 50 };
	struct export_report other = { .export_id = "export-2", .state = "done" };
	struct instance_record i;
	struct instance_report report;

	s.export = &wanted;
	assert_int_equal(instance_put(w->store, &s, &w->capacity, w->arena, &i, NULL), 0);
	instance_to_report(&i, "nc-1", &report);
	assert_string_equal(report.export->state, "waiting");
	assert_int_equal(instance_set_export(w->store, ID, &half, true, NULL), 0);
	assert_int_equal(instance_set_export(w->store, ID, &other, false, NULL), ERR_STALE);
	store_close(w->store);
	open_it(w);
	assert_int_equal(instance_load(w->store, ID, w->arena, &i, NULL), 0);
	assert_true(i.needs_sources);
	assert_string_equal(i.export->state, "running");
	assert_int_equal(i.export->progress, 50);
	/* a fresh address: what was done stays */
	assert_int_equal(instance_put(w->store, &s, &w->capacity, w->arena, &i, NULL), 0);
	assert_false(i.needs_sources);
	assert_int_equal(i.export->progress, 50);
	/* another export begins at nothing */
	wanted.export_id = "export-2";
	assert_int_equal(instance_put(w->store, &s, &w->capacity, w->arena, &i, NULL), 0);
	assert_string_equal(i.export->state, "waiting");
	assert_int_equal(instance_set_export(w->store, ID, &half, false, NULL), ERR_STALE);
	/* none: nothing is told any more, and what comes late changes nothing */
	s.export = NULL;
	assert_int_equal(instance_put(w->store, &s, &w->capacity, w->arena, &i, NULL), 0);
	assert_null(i.export);
	assert_int_equal(instance_set_export(w->store, ID, &other, false, NULL), ERR_STALE);
	/* termination ends it, whatever the last record said */
	s.export = &wanted;
	assert_int_equal(instance_put(w->store, &s, &w->capacity, w->arena, &i, NULL), 0);
	s.wanted = "terminated";
	assert_int_equal(instance_put(w->store, &s, &w->capacity, w->arena, &i, NULL), 0);
	assert_null(i.export);
}

int
main(void)
{
#define IN_A_WORLD(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_A_WORLD(a_life),
		IN_A_WORLD(old_orders_and_old_news),
		IN_A_WORLD(capacity),
		IN_A_WORLD(reports),
		IN_A_WORLD(steps_say_since_when_and_for_what),
		IN_A_WORLD(reachability_begins_anew),
		IN_A_WORLD(numbers_stay),
		IN_A_WORLD(vpc_revisions),
		IN_A_WORLD(exports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
