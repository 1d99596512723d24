/* RunInstances and the orders after it, called as the front door calls them: capacity is exact
 * whoever asks at once, and a call about several instances does all or nothing. */
#include "fixture.h"

#include <pthread.h>

#include "clc/ec2.api.h"
#include "placement.h"
#include "zone.h"

int ec2_handle_run_instances(
    struct request *rq, const struct run_instances_in *in, struct reservation *out, struct err *e);
int ec2_handle_stop_instances(struct request *rq, const struct stop_instances_in *in,
    struct stop_instances_out *out, struct err *e);
int ec2_handle_start_instances(struct request *rq, const struct start_instances_in *in,
    struct start_instances_out *out, struct err *e);
int ec2_handle_reboot_instances(struct request *rq, const struct reboot_instances_in *in,
    struct reboot_instances_out *out, struct err *e);
int ec2_handle_terminate_instances(struct request *rq, const struct terminate_instances_in *in,
    struct terminate_instances_out *out, struct err *e);

#define IMAGE FIXTURE_IMAGE

static const struct service service = { .name = "ec2" };
static const struct operation operation = { .name = "RunInstances" };

static int
insert_image(struct store_tx *tx, void *arg, struct err *e)
{
	struct fixture *f = arg;

	return fixture_image(tx, f, e);
}

static int
setup(void **state)
{
	struct fixture *f;

	fixture_setup(state);
	f = *state;
	f->conf.stop_instance_store = true;
	fixture_write(f, insert_image, f);
	return 0;
}

static struct request
request_of(struct fixture *f, struct arena *arena)
{
	return (struct request){ .clc = &f->clc,
		.log = f->log,
		.arena = arena,
		.id = "request",
		.account_id = f->account.account_id,
		.user_id = f->account.user_id,
		.user_name = "admin",
		.source_address = "127.0.0.1",
		.user_agent = "test",
		.service = &service,
		.operation = &operation,
		.version = "2016-11-15",
		.parameters = "" };
}

/* How many were started; or the error. */
static int
run(struct fixture *f, struct arena *arena, const char *type, uint32_t min, uint32_t max,
    const char *token, struct reservation *out)
{
	struct request rq = request_of(f, arena);
	struct run_instances_in in = { .image_id = IMAGE,
		.instance_type = type,
		.min_count = min,
		.max_count = max,
		.client_token = token };
	struct err e = { 0 };
	int r;

	memset(out, 0, sizeof(*out));
	r = ec2_handle_run_instances(&rq, &in, out, &e);
	return r < 0 ? r : (int)out->instances.count;
}

static int
count_rows(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_ZONE_HELD, &rows, e, "zone-a");

	*(int64_t *)arg = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0)
		*(int64_t *)arg += store_int(rows, 1);
	return r;
}

static int64_t
held(struct fixture *f)
{
	int64_t n = -1;

	fixture_write(f, count_rows, &n);
	return n;
}

/* -- capacity: the fixture's node has 8 vCPUs, 8192 MiB, 100 GiB -- */

static void
test_counts(void **state)
{
	struct fixture *f = *state;
	struct reservation out;

	assert_int_equal(
	    run(f, f->arena, "t2.nano", 9, 9, NULL, &out), ERR_INSUFFICIENT_INSTANCE_CAPACITY);
	assert_int_equal(held(f), 0);
	assert_int_equal(run(f, f->arena, "t2.nano", 2, 3, NULL, &out), 3);
	assert_int_equal(run(f, f->arena, "m1.xlarge", 1, 5, NULL, &out), 1); /* 4 of the 5 left */
	assert_int_equal(
	    run(f, f->arena, "m1.large", 1, 1, NULL, &out), ERR_INSUFFICIENT_INSTANCE_CAPACITY);
	assert_int_equal(run(f, f->arena, "t2.nano", 1, 100, NULL, &out), 1);
	assert_int_equal(
	    run(f, f->arena, "t2.nano", 1, 1, NULL, &out), ERR_INSUFFICIENT_INSTANCE_CAPACITY);
	assert_int_equal(held(f), 8);
}

static void
test_quota_first(void **state)
{
	struct fixture *f = *state;
	struct reservation out;

	f->conf.instance_limit = 4;
	assert_int_equal(
	    run(f, f->arena, "m3.2xlarge", 5, 5, NULL, &out), ERR_INSTANCE_LIMIT_EXCEEDED);
	assert_int_equal(run(f, f->arena, "t2.nano", 1, 10, NULL, &out), 4);
	assert_int_equal(
	    run(f, f->arena, "t2.nano", 1, 1, NULL, &out), ERR_INSTANCE_LIMIT_EXCEEDED);
}

#define THREADS 32
#define ROUNDS 2

struct racer {
	struct fixture *f;
	const char *token;
	int started, refused, others;
	char reservation_id[ID_MAX];
};

static void *
race(void *arg)
{
	struct racer *racer = arg;

	for (unsigned n = 0; n < ROUNDS; n++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct reservation out;
		int r = run(racer->f, arena, "t2.nano", 1, 1, racer->token, &out);

		if (r == 1)
			racer->started++;
		else if (r == ERR_INSUFFICIENT_INSTANCE_CAPACITY)
			racer->refused++;
		else
			racer->others++;
		if (r > 0)
			snprintf(racer->reservation_id, sizeof(racer->reservation_id), "%s",
			    out.reservation_id);
	}
	return NULL;
}

static void
race_all(struct fixture *f, const char *token, struct racer racers[THREADS])
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){ .f = f, .token = token };
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void
test_many_at_once(void **state)
{
	struct racer racers[THREADS], all = { 0 };

	race_all(*state, NULL, racers);
	for (unsigned i = 0; i < THREADS; i++) {
		all.started += racers[i].started;
		all.refused += racers[i].refused;
		all.others += racers[i].others;
	}
	assert_int_equal(all.started, 8);
	assert_int_equal(all.refused, THREADS * ROUNDS - 8);
	assert_int_equal(all.others, 0);
	assert_int_equal(held(*state), 8);
}

static void
test_one_token_at_once(void **state)
{
	struct racer racers[THREADS];

	race_all(*state, "token", racers);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(racers[i].started, ROUNDS);
		assert_string_equal(racers[i].reservation_id, racers[0].reservation_id);
	}
	assert_int_equal(held(*state), 1);
}

static void
test_token_mismatch(void **state)
{
	struct fixture *f = *state;
	struct reservation out;

	assert_int_equal(run(f, f->arena, "t2.nano", 1, 1, "token", &out), 1);
	assert_int_equal(
	    run(f, f->arena, "t2.micro", 1, 1, "token", &out), ERR_IDEMPOTENT_PARAMETER_MISMATCH);
	assert_int_equal(
	    run(f, f->arena, "t2.nano", 1, 2, "token", &out), ERR_IDEMPOTENT_PARAMETER_MISMATCH);
	assert_int_equal(run(f, f->arena, "t2.nano", 1, 1, "token", &out), 1);
	assert_int_equal(held(f), 1);
}

/* -- several ids -- */

enum verb { VERB_START, VERB_STOP, VERB_REBOOT, VERB_TERMINATE };

static int
order(struct fixture *f, enum verb verb, const char **ids, size_t count)
{
	struct request rq = request_of(f, f->arena);
	struct err e = { 0 };

	switch (verb) {
	case VERB_START: {
		struct start_instances_in in = { .instance_ids = { ids, count } };
		struct start_instances_out out = { 0 };

		return ec2_handle_start_instances(&rq, &in, &out, &e);
	}
	case VERB_STOP: {
		struct stop_instances_in in = { .instance_ids = { ids, count } };
		struct stop_instances_out out = { 0 };

		return ec2_handle_stop_instances(&rq, &in, &out, &e);
	}
	case VERB_REBOOT: {
		struct reboot_instances_in in = { .instance_ids = { ids, count } };
		struct reboot_instances_out out = { 0 };

		return ec2_handle_reboot_instances(&rq, &in, &out, &e);
	}
	case VERB_TERMINATE: {
		struct terminate_instances_in in = { .instance_ids = { ids, count } };
		struct terminate_instances_out out = { 0 };
		int r = ec2_handle_terminate_instances(&rq, &in, &out, &e);

		return r < 0 ? r : (int)out.instances.count;
	}
	}
	return 0;
}

struct lookup {
	struct fixture *f;
	const char *id;
	struct clc_instance i;
};

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;

	return clc_instance_load(tx, NULL, l->id, l->f->arena, &l->i, e);
}

static enum clc_instance_state
state_of(struct fixture *f, const char *id)
{
	struct lookup l = { .f = f, .id = id };

	fixture_write(f, load, &l);
	return l.i.state;
}

static void
test_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct reservation out;
	const char *ids[4];

	assert_int_equal(run(f, f->arena, "t2.nano", 3, 3, NULL, &out), 3);
	for (unsigned n = 0; n < 3; n++)
		ids[n] = out.instances.items[n].instance_id;
	for (enum verb verb = VERB_START; verb <= VERB_TERMINATE; verb++) {
		ids[3] = "i-00000000000000000";
		assert_int_equal(order(f, verb, ids, 4), ERR_INSTANCE_NOT_FOUND);
		ids[3] = "x";
		assert_int_equal(order(f, verb, ids, 4), ERR_INSTANCE_MALFORMED);
		for (unsigned n = 0; n < 3; n++)
			assert_int_equal(state_of(f, ids[n]), INSTANCE_PENDING);
	}
	/* One in the wrong state keeps the others from being rebooted or started. */
	assert_int_equal(order(f, VERB_STOP, &ids[2], 1), 0);
	assert_int_equal(order(f, VERB_REBOOT, ids, 3), ERR_INCORRECT_INSTANCE_STATE);
	assert_int_equal(order(f, VERB_START, ids, 3), ERR_INCORRECT_INSTANCE_STATE);
	assert_int_equal(state_of(f, ids[0]), INSTANCE_PENDING);
	ids[3] = ids[0]; /* twice is once */
	assert_int_equal(order(f, VERB_TERMINATE, ids, 4), 3);
	assert_int_equal(order(f, VERB_TERMINATE, ids, 4), 3);
	assert_int_equal(state_of(f, ids[2]), INSTANCE_SHUTTING_DOWN);
}

static void
test_protection(void **state)
{
	struct fixture *f = *state;
	struct request rq = request_of(f, f->arena);
	struct run_instances_in in = { .image_id = IMAGE,
		.instance_type = "t2.nano",
		.min_count = 1,
		.max_count = 1,
		.has_disable_api_termination = true,
		.disable_api_termination = true };
	struct reservation out = { 0 }, plain;
	const char *ids[2];
	struct err e = { 0 };

	assert_int_equal(run(f, f->arena, "t2.nano", 1, 1, NULL, &plain), 1);
	assert_int_equal(ec2_handle_run_instances(&rq, &in, &out, &e), 0);
	ids[0] = plain.instances.items[0].instance_id;
	ids[1] = out.instances.items[0].instance_id;
	assert_int_equal(order(f, VERB_TERMINATE, ids, 2), ERR_OPERATION_NOT_PERMITTED);
	assert_int_equal(state_of(f, ids[0]), INSTANCE_PENDING);
	assert_int_equal(
	    order(f, VERB_STOP, ids, 2), 0); /* stopping is not what it protects from */
	assert_int_equal(order(f, VERB_TERMINATE, ids, 1), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_counts, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_quota_first, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_many_at_once, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_one_token_at_once, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_token_mismatch, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_all_or_nothing, setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_protection, setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
