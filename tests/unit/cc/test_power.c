/* Nodes that sleep: which may, what waking is for, and that a launch and a node that falls asleep
 * never pass each other by. */
#include "fixture.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "power.h"
#include "run/fs.h"

static int
step_fall(struct store_tx *tx, struct step *s, struct err *e)
{
	bool done = false;
	int r = cc_power_fall(tx, s->node_id, &done, e);

	s->count = done;
	return r;
}

static int
step_rise(struct store_tx *tx, struct step *s, struct err *e)
{
	return cc_power_rise(tx, s->node_id, s->why, e);
}

static int
step_wake(struct store_tx *tx, struct step *s, struct err *e)
{
	int r = cc_power_begin_waking(tx, s->node_id, e);

	return r < 0 ? r : cc_power_note_waiting(tx, s->node_id, e);
}

static int
step_give_up(struct store_tx *tx, struct step *s, struct err *e)
{
	bool moved = false;
	int r = cc_power_give_up(tx, s->node_id, s->why, &moved, e);

	s->count = moved;
	return r;
}

static bool
fall(struct fixture *f, const char *node_id)
{
	size_t done = 0;

	write_step(f, (struct step){ step_fall, .node_id = node_id }, &done);
	return done;
}

static const char *
power_of(struct fixture *f, const char *node_id)
{
	return node_of(f, node_id).power;
}

static void
test_only_what_nothing_needs(void **state)
{
	struct fixture *f = *state;

	put(f, "i-1", 1, "running");
	assert_string_equal(get(f, "i-1").node_id, "nc-1");
	assert_false(fall(f, "nc-1")); /* on its way there */
	told(f, "i-1");
	instance_says(f, "nc-1", "i-1", 1, "running");
	assert_false(fall(f, "nc-1"));
	put(f, "i-1", 1, "stopped");
	instance_says(f, "nc-1", "i-1", 1, "stopped");
	assert_false(fall(f, "nc-1")); /* that is not told yet */
	told(f, "i-1");
	assert_true(fall(f, "nc-1")); /* a disk can wait */
	assert_string_equal(power_of(f, "nc-1"), "asleep");
	assert_string_equal(node_of(f, "nc-1").state, "up");
	assert_false(fall(f, "nc-1"));
	{
		struct report_set heard = news(f);

		for (size_t i = 0; i < heard.nodes.count; i++)
			if (strcmp(heard.nodes.items[i].node_id, "nc-1") == 0)
				assert_string_equal(heard.nodes.items[i].power, "asleep");
	}
	write_step(f, (struct step){ step_rise, .node_id = "nc-1", .why = "it would not" }, NULL);
	assert_string_equal(power_of(f, "nc-1"), "awake");
	assert_string_equal(node_of(f, "nc-1").power_reason, "it would not");
}

static void
test_awake_ones_first(void **state)
{
	struct fixture *f = *state;
	struct instance_spec spec = spec_of("i-9", 1, "running");
	struct cc_instance i;
	struct err e = { 0 };

	assert_true(fall(f, "nc-1"));
	for (int n = 0; n < 4; n++) /* all that nc-2 holds, though nc-1 has more */
		assert_string_equal(
		    put(f, (char[]){ 'i', '-', (char)('a' + n), 0 }, 1, "running").node_id, "nc-2");
	must(try_put(f, &spec, &i, &e), &e);
	assert_string_equal(i.node_id, "nc-1");
	write_step(f, (struct step){ step_wake, .node_id = "nc-1" }, NULL);
	assert_string_equal(power_of(f, "nc-1"), "waking");
	i = get(f, "i-9");
	assert_string_equal(i.step, "waiting for node nc-1 to wake");
	assert_string_equal(i.waits_for, "node nc-1 to wake");
	assert_string_equal(i.who, "cloud");
	assert_true(i.step_us > 0);
	{
		struct report_set heard = news(f);
		const struct instance_report *r = told_of(&heard, "i-9");

		assert_string_equal(r->waits_for, "node nc-1 to wake");
		assert_true(r->has_step_since && r->step_since == i.step_us);
		/* What is not told yet says that, and of whom it is waited for. */
		assert_string_equal(
		    told_of(&heard, "i-a")->step, "waiting for node nc-2 to be told");
	}
	/* Its node takes over what is said of it. */
	write_step(f, (struct step){ step_rise, .node_id = "nc-1" }, NULL);
	told(f, "i-9");
	instance_says(f, "nc-1", "i-9", 1, "running");
	assert_null(get(f, "i-9").waits_for);
}

static void
test_one_that_does_not_wake(void **state)
{
	struct fixture *f = *state;
	struct instance_spec spec;
	struct cc_instance i;
	struct err e = { 0 };
	size_t moved = 0;

	/* One with its disk there; then nc-1 sleeps, and nc-2 is full but for one. */
	put(f, "i-disk", 1, "running");
	told(f, "i-disk");
	instance_says(f, "nc-1", "i-disk", 1, "stopped");
	assert_true(fall(f, "nc-1"));
	for (int n = 0; n < 4; n++)
		put(f, (char[]){ 'i', '-', (char)('a' + n), 0 }, 1, "running");
	assert_string_equal(put(f, "i-x", 1, "running").node_id, "nc-1");
	assert_string_equal(put(f, "i-y", 1, "running").node_id, "nc-1");
	spec = spec_of("i-disk", 2, "running");
	must(try_put(f, &spec, &i, &e), &e);
	assert_string_equal(i.node_id, "nc-1");
	instance_says(f, "nc-2", "i-a", 1, "terminated");
	write_step(f, (struct step){ step_wake, .node_id = "nc-1" }, NULL);
	write_step(f,
	    (struct step){ step_give_up, .node_id = "nc-1", .why = "did not wake within 1 s" },
	    &moved);
	assert_true(moved);
	assert_string_equal(node_of(f, "nc-1").state, "silent");
	assert_string_equal(power_of(f, "nc-1"), "awake"); /* silent is not asleep */
	assert_string_equal(get(f, "i-x").node_id, "nc-2");
	assert_string_equal(get(f, "i-x").state, "pending");
	assert_null(get(f, "i-x").waits_for);
	i = get(f, "i-y");
	assert_string_equal(i.state, "failed");
	assert_null(i.node_id);
	assert_string_equal(i.reason_message, "Server.InsufficientInstanceCapacity: no node of "
					      "this zone has room for it: 1 node is full "
					      "(memory), 1 is silent");
	i = get(f, "i-disk");
	assert_string_equal(i.state, "failed");
	assert_string_equal(i.node_id, "nc-1");
	assert_int_equal(i.holds, HOLDS_DISK);
	assert_string_equal(i.reason_message, "Server.InsufficientInstanceCapacity: node 'nc-1' "
					      "did not wake within 1 s, and has its disk");
}

/* Launches and a node that falls asleep, at once and many times over: what was placed before it
 * fell keeps it awake; it is never asleep with something on it that came before. */
#define ROUNDS 40

struct race {
	struct fixture *f;
	int round;
};

static void *
launch_one(void *arg)
{
	struct race *race = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_free_ char *id = xasprintf("i-%d", race->round);
	struct instance_spec spec = spec_of(id, 1, "running");
	struct placement_spec placement = { .preferred_node_id = "nc-1" };
	struct cc_instance i;
	struct err e = { 0 };

	spec.placement = &placement;
	must(cc_instance_accept(race->f->store, &spec, arena, &i, &e), &e);
	assert_string_equal(i.node_id, "nc-1");
	return NULL;
}

static void
test_a_launch_and_falling_asleep(void **state)
{
	struct fixture *f = *state;
	int fell = 0;

	for (int n = 0; n < ROUNDS; n++) {
		_cleanup_free_ char *id = xasprintf("i-%d", n);
		struct race race = { f, n };
		pthread_t thread;
		bool has_fallen;

		assert_int_equal(pthread_create(&thread, NULL, launch_one, &race), 0);
		if (n % 2)
			sched_yield();
		has_fallen = fall(f, "nc-1");
		pthread_join(thread, NULL);
		fell += has_fallen;
		/* Placed after it fell: it counts as asleep, and is woken; else it is awake. */
		assert_string_equal(power_of(f, "nc-1"), has_fallen ? "asleep" : "awake");
		assert_false(fall(f, "nc-1"));
		write_step(f, (struct step){ step_rise, .node_id = "nc-1" }, NULL);
		told(f, id);
		instance_says(f, "nc-1", id, 1, "terminated");
	}
	print_message("fell asleep first %d times of %d\n", fell, ROUNDS);
}

/* -- ways to wake -- */

static void
test_magic_packet(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	struct cc_node n = { .node_id = "nc-1", .mac = "02:ab:cd:00:11:fe" };
	static const uint8_t mac[] = { 0x02, 0xab, 0xcd, 0x00, 0x11, 0xfe };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct cc_conf conf = { .wake_command = (char *)"" };
	_cleanup_free_ char *to = NULL;
	struct err e = { 0 };
	uint8_t got[200];

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	conf.wake_broadcast = to = xasprintf("127.0.0.1:%u", ntohs(address.sin_port));
	must(cc_power_wake(&conf, &n, &e), &e);
	assert_int_equal(recv(fd, got, sizeof(got), 0), 102);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(got[i], 0xff);
	for (size_t i = 6; i < 102; i++)
		assert_int_equal(got[i], mac[i % 6]);
	close(fd);
	conf.wake_broadcast = (char *)"nowhere";
	assert_int_equal(cc_power_wake(&conf, &n, &e), ERR_INVALID);
	conf.wake_broadcast = (char *)"127.0.0.1:0";
	assert_int_equal(cc_power_wake(&conf, &n, &e), ERR_INVALID);
	n.mac = NULL;
	assert_int_equal(cc_power_wake(&conf, &n, &e), ERR_UNSUPPORTED);
}

static void
test_wake_command(void **state)
{
	struct fixture *f = *state;
	struct cc_node n = {
		.node_id = "nc-1", .mac = "02:00:00:00:00:01", .url = "https://10.0.0.2:8775"
	};
	_cleanup_free_ char *path = xasprintf("%s/said", f->directory);
	_cleanup_free_ char *command =
	    xasprintf("dd  of=%s-{node}-{mac}-{address}-{other} if=/dev/null", path);
	_cleanup_free_ char *made = xasprintf("%s-nc-1-02:00:00:00:00:01-10.0.0.2-{other}", path);
	struct cc_conf conf = { .wake_command = command };
	struct err e = { 0 };

	must(cc_power_wake(&conf, &n, &e), &e);
	assert_int_equal(access(made, F_OK), 0);
	conf.wake_command = (char *)"false {node}";
	assert_int_equal(cc_power_wake(&conf, &n, &e), ERR_IO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_only_what_nothing_needs, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
		    test_awake_ones_first, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
		    test_one_that_does_not_wake, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
		    test_a_launch_and_falling_asleep, fixture_setup, fixture_teardown),
		cmocka_unit_test(test_magic_packet),
		cmocka_unit_test_setup_teardown(test_wake_command, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
