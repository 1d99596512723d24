/* The helper's guest verbs over its real socket protocol, with a hypervisor that does as it is
 * told: fails, hangs, ends guests. And the same verbs against libvirt's own test driver. No
 * network: guests without interfaces. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "helper/helper.h"
#include "run/fd.h"
#include "run/fs.h"
#include "run/lock.h"
#include "tests/lib/helper_specs.h"

#define ID "i-0123456789abcdef0"
#define DEADLINE_MS 300

/* -- a hypervisor of one guest -- */

struct fake {
	struct hypervisor base;
	struct lock lock;
	const struct hypervisor_events *events;
	struct helper_guest guest; /* under lock, like what follows */
	bool hears_button;         /* the guest follows it */
	const char *failing;       /* this call fails */
	const char *hanging;       /* this call hangs until it is set to NULL */
	unsigned created, resumed, destroyed, reset, undefined;
	bool has_shares; /* the definition it was created from bounded it */
	struct helper_cpus cpus;
};

static struct fake *
fake_of(struct hypervisor *h)
{
	return CONTAINER_OF(h, struct fake, base);
}

static int
begin(struct hypervisor *h, const char *call, struct err *e)
{
	struct fake *f = fake_of(h);
	bool fails, hangs;

	for (;;) {
		lock_take(&f->lock);
		fails = f->failing && strcmp(f->failing, call) == 0;
		hangs = f->hanging && strcmp(f->hanging, call) == 0;
		lock_release(&f->lock);
		if (!hangs)
			break;
		(void)poll(NULL, 0, 10);
	}
	return fails ? err_set(e, ERR_IO, "told to fail in %s", call) : 0;
}

static void
end_guest(struct fake *f, uint32_t state)
{
	struct helper_guest g;

	{
		LOCK_SCOPE(&f->lock);
		f->guest.state = state;
		g = f->guest;
	}
	f->events->lifecycle(f->events->arg, &g);
}

static int
fake_connect(struct hypervisor *h, struct err *e)
{
	return begin(h, "connect", e);
}

static int
fake_list(
    struct hypervisor *h, struct helper_guest *guests, size_t max, size_t *ret_count, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "list", e);

	LOCK_SCOPE(&f->lock);
	*ret_count = f->guest.state != GUEST_ABSENT;
	guests[0] = f->guest;
	return r;
}

static int
fake_look(struct hypervisor *h, const char *id, struct helper_guest *ret, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "look", e);

	LOCK_SCOPE(&f->lock);
	*ret = f->guest;
	return r;
}

static int
fake_create(struct hypervisor *h, const char *id, const char *xml, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "create", e);
	const char *generation = strstr(xml, ":generation>");

	assert_non_null(generation);
	if (r < 0)
		return r;
	LOCK_SCOPE(&f->lock);
	f->created++;
	f->has_shares = strstr(xml, "<shares>200</shares>") != NULL;
	f->guest.state = GUEST_PREPARED;
	f->guest.generation = strtoull(generation + 12, NULL, 10);
	return 0;
}

static int
fake_resume(struct hypervisor *h, const char *id, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "resume", e);

	if (r < 0)
		return r;
	LOCK_SCOPE(&f->lock);
	f->resumed++;
	f->guest.state = GUEST_RUNNING;
	return 0;
}

static int
fake_press(struct hypervisor *h, const char *id, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "press", e);

	if (r == 0 && f->hears_button)
		end_guest(f, GUEST_SHUT_DOWN); /* before the call returns: the worst case */
	return r;
}

static int
fake_destroy(struct hypervisor *h, const char *id, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "destroy", e);

	if (r < 0)
		return r;
	{
		LOCK_SCOPE(&f->lock);
		f->destroyed++;
	}
	end_guest(f, GUEST_DESTROYED);
	return 0;
}

static int
fake_reboot(struct hypervisor *h, const char *id, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "reboot", e);

	if (r == 0 && f->hears_button)
		f->events->rebooted(f->events->arg, id);
	return r;
}

static int
fake_reset(struct hypervisor *h, const char *id, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "reset", e);

	LOCK_SCOPE(&f->lock);
	f->reset++;
	return r;
}

static int
fake_undefine(struct hypervisor *h, const char *id, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "undefine", e);

	if (r < 0)
		return r;
	LOCK_SCOPE(&f->lock);
	f->undefined++;
	f->guest.state = GUEST_ABSENT;
	return 0;
}

static int
fake_shares(
    struct hypervisor *h, const char *type, const char *emulator, uint32_t *ret, struct err *e)
{
	int r = begin(h, "shares", e);

	if (r == 0)
		*ret = 100;
	return r;
}

static int
fake_set_cpus(struct hypervisor *h, const char *id, const struct helper_cpus *cpus, struct err *e)
{
	struct fake *f = fake_of(h);
	int r = begin(h, "cpus", e);

	LOCK_SCOPE(&f->lock);
	f->cpus = *cpus;
	return r;
}

static int
fake_screenshot(struct hypervisor *h, const char *id, bool wakes, int *ret_fd, struct err *e)
{
	int r = begin(h, "screenshot", e);

	if (r < 0)
		return r;
	*ret_fd = memfd_create("screen", MFD_CLOEXEC);
	return write(*ret_fd, wakes ? "woken" : "asleep", 6) == 6 ? 0 : ERR_IO;
}

static const struct hypervisor_ops fake_ops = { .connect = fake_connect,
	.screenshot = fake_screenshot,
	.default_shares = fake_shares,
	.set_cpus = fake_set_cpus,
	.list = fake_list,
	.look = fake_look,
	.create_paused = fake_create,
	.resume = fake_resume,
	.press_power = fake_press,
	.destroy = fake_destroy,
	.reboot = fake_reboot,
	.reset = fake_reset,
	.undefine = fake_undefine };

static void
set(struct fake *f, const char *failing, const char *hanging)
{
	LOCK_SCOPE(&f->lock);

	f->failing = failing;
	f->hanging = hanging;
}

/* -- the helper around it -- */

struct world {
	char directory[64];
	struct helper_conf conf;
	struct helper helper;
	struct loop *loop;
	pthread_t thread;
	struct fake fake;
	int socket;
	uint32_t serial;
};
static const struct log test_log = { .daemon = "test" };

static void *
turn(void *loop)
{
	loop_run(loop);
	return NULL;
}

static void
touch(struct world *w, const char *directory, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", w->directory, directory, name);
	struct err e = { 0 };

	if (fs_write_atomic(path, STR("x"), 0600, &e) < 0)
		fail_msg("%s", e.text);
}

static void
make_files(struct world *w)
{
	char digest[65] = { 0 };
	static const char *const directories[] = { "instances", ("instances/" ID), "cache",
		"consoles" };

	for (unsigned i = 0; i < ARRAY_SIZE(directories); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", w->directory, directories[i]);

		assert_int_equal(mkdir(path, 0755), 0);
	}
	for (int i = 0; i < 64; i += 2)
		memcpy(digest + i, "ab", 2);
	touch(w, "cache", digest);
	touch(w, "instances/" ID, "root.qcow2");
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	int pair[2];
	struct err e = { 0 };

	log_set_level(LOG_ERROR);
	strcpy(w->directory, "/tmp/guest-jobs-XXXXXX");
	assert_non_null(mkdtemp(w->directory));
	make_files(w);
	w->conf = (struct helper_conf){ .instances_dir = xasprintf("%s/instances", w->directory),
		.cache_dir = xasprintf("%s/cache", w->directory),
		.libvirt_deadline_ms = DEADLINE_MS,
		.hypervisor = (char *)"qemu",
		.emulator = (char *)"/bin/true",
		.libvirt_uri = (char *)"test:///default" };
	assert_int_equal(loop_new(&w->loop, &e), 0);
	assert_int_equal(helper_init(&w->helper, w->loop, &w->conf, &test_log, &e), 0);
	w->helper.console_dir = xasprintf("%s/consoles", w->directory);
	w->helper.screen_dir = xasprintf("%s/screens", w->directory);
	w->fake.base.ops = &fake_ops;
	lock_init(&w->fake.lock, LOCK_LEAF);
	strcpy(w->fake.guest.instance_id, ID);
	w->fake.events = helper_events(&w->helper);
	w->helper.hypervisor = &w->fake.base;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	helper_connect(&w->helper, pair[0]);
	w->socket = pair[1];
	assert_int_equal(pthread_create(&w->thread, NULL, turn, w->loop), 0);
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

	set(&w->fake, NULL, NULL);
	close(w->socket);
	(void)poll(NULL, 0, 50); /* the helper sees the end of its connection */
	loop_stop(w->loop);
	pthread_join(w->thread, NULL);
	guest_jobs_free(&w->helper);
	workers_free(w->helper.workers);
	loop_free(w->loop);
	free(w->helper.console_dir);
	free(w->helper.screen_dir);
	free(w->conf.instances_dir);
	free(w->conf.cache_dir);
	lock_done(&w->fake.lock);
	(void)nftw(w->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static uint32_t
send_it(struct world *w, enum helper_verb verb, const void *p, size_t n)
{
	const struct helper_header h = { HELPER_MAGIC, HELPER_VERSION, (uint16_t)verb, ++w->serial,
		(uint32_t)n, 0 };

	assert_int_equal(
	    helper_frame_send(w->socket, &h, (struct str){ p, n }, NULL, 0, 1000, NULL), 0);
	return h.serial;
}

struct answer {
	char fault[48]; /* "" when it was none */
	char text[256];
	char payload[4096];
};

/* The answer to that request; events and other answers are skipped. */
static struct answer
receive(struct world *w, uint32_t serial)
{
	struct answer a = { 0 };
	struct helper_header h;
	struct pollfd p = { .fd = w->socket, .events = POLLIN };

	do {
		memset(a.payload, 0, sizeof(a.payload));
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(fd_read_all(w->socket, &h, sizeof(h), NULL), 0);
		assert_true(h.length <= sizeof(a.payload));
		assert_int_equal(fd_read_all(w->socket, a.payload, h.length, NULL), 0);
	} while (h.serial != serial);
	if (h.is_error) {
		memcpy(a.fault, a.payload, sizeof(a.fault));
		memcpy(a.text, a.payload + sizeof(a.fault), sizeof(a.text));
	}
	return a;
}

static struct answer
ask(struct world *w, enum helper_verb verb, const void *p, size_t n)
{
	return receive(w, send_it(w, verb, p, n));
}

static struct answer
start(struct world *w, uint64_t generation)
{
	struct helper_guest_spec s;

	spec_guest(&s);
	s.nic_count = 0;
	s.generation = generation;
	return ask(w, HELPER_GUEST_START, &s, sizeof(s));
}

static uint32_t
send_stop(struct world *w, bool force, uint32_t grace_ms)
{
	const struct helper_guest_stop s = {
		.instance_id = ID, .force = force, .grace_ms = grace_ms
	};

	return send_it(w, HELPER_GUEST_STOP, &s, sizeof(s));
}

static struct answer
stop(struct world *w, bool force, uint32_t grace_ms)
{
	return receive(w, send_stop(w, force, grace_ms));
}

static bool
was_running(const struct answer *a)
{
	return ((const struct helper_guest_started *)(const void *)a->payload)->was_running;
}

#define assert_ok(a) assert_string_equal((a).fault, "")

/* -- the tests -- */

static void
a_generation_is_started_once(void **state)
{
	struct world *w = *state;
	struct answer a = start(w, 1);

	assert_ok(a);
	assert_false(was_running(&a));
	a = start(w, 1);
	assert_ok(a);
	assert_true(was_running(&a));
	assert_int_equal(w->fake.created, 1);
	end_guest(&w->fake, GUEST_SHUT_DOWN);
	a = start(w, 1);
	assert_string_equal(a.fault, "CONFLICT");
	assert_non_null(strstr(a.text, "has run already"));
	assert_int_equal(w->fake.created, 1);
	assert_ok(start(w, 2));
	assert_int_equal(w->fake.created, 2);
	/* A newer generation takes the place of a running older one. */
	assert_ok(start(w, 3));
	assert_int_equal(w->fake.created, 3);
}

static void
guests_are_bounded(void **state)
{
	struct world *w = *state;
	struct helper_guest_cpus move = { .instance_id = ID };

	helper_cpus_add(&move.cpus, 5);
	assert_string_equal(
	    ask(w, HELPER_GUEST_CPUS, &move, sizeof(move)).fault, "CONFLICT"); /* absent */
	set(&w->fake, "shares", NULL); /* libvirt cannot be asked: the guest starts all the same */
	assert_ok(start(w, 1));
	assert_false(w->fake.has_shares);
	set(&w->fake, NULL, NULL);
	assert_ok(start(w, 2));
	assert_true(w->fake.has_shares);
	assert_ok(ask(w, HELPER_GUEST_CPUS, &move, sizeof(move)));
	assert_int_equal(helper_cpus_count(&w->fake.cpus), 1);
	assert_true(helper_cpus_has(&w->fake.cpus, 5));
	set(&w->fake, "cpus", NULL);
	assert_string_equal(ask(w, HELPER_GUEST_CPUS, &move, sizeof(move)).fault, "IO");
}

static void
pictures_come_as_descriptors(void **state)
{
	struct world *w = *state;
	struct helper_guest_screen ref = { .instance_id = ID };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct helper_header h;
	struct iovec iov = { &h, sizeof(h) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	char text[8] = "";
	int fd;

	assert_string_equal(ask(w, HELPER_GUEST_SCREEN, &ref, sizeof(ref)).fault, "CONFLICT");
	assert_ok(start(w, 1));
	set(&w->fake, "screenshot", NULL);
	assert_string_equal(ask(w, HELPER_GUEST_SCREEN, &ref, sizeof(ref)).fault, "IO");
	set(&w->fake, NULL, NULL);
	send_it(w, HELPER_GUEST_SCREEN, &ref, sizeof(ref));
	assert_int_equal(recvmsg(w->socket, &m, MSG_WAITALL), sizeof(h));
	assert_int_equal(h.length, 0);
	assert_int_equal(h.is_error, 0);
	c = CMSG_FIRSTHDR(&m);
	assert_non_null(c);
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	assert_int_equal(pread(fd, text, 6, 0), 6);
	assert_string_equal(text, "asleep");
	close(fd);
	assert_ok(stop(w, true, 0)); /* the job is over: another may have the guest */
}

static void
a_start_that_broke_off_goes_on(void **state)
{
	struct world *w = *state;
	struct answer a;

	set(&w->fake, "resume", NULL);
	a = start(w, 1);
	assert_string_equal(a.fault, "IO");
	assert_int_equal(w->fake.guest.state, GUEST_PREPARED);
	set(&w->fake, NULL, NULL);
	a = start(w, 1);
	assert_ok(a);
	assert_false(was_running(&a));
	assert_int_equal(w->fake.created, 1);
	assert_int_equal(w->fake.resumed, 1);
}

static void
files_are_looked_at(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *disk = xasprintf("%s/instances/%s/root.qcow2", w->directory, ID);
	struct answer a;

	assert_int_equal(unlink(disk), 0);
	a = start(w, 1);
	assert_string_equal(a.fault, "NOT_FOUND");
	assert_int_equal(symlink("/etc/passwd", disk), 0);
	a = start(w, 1);
	assert_string_equal(a.fault, "IO"); /* ELOOP */
	assert_int_equal(unlink(disk), 0);
	assert_int_equal(mkfifo(disk, 0600), 0);
	a = start(w, 1);
	assert_string_equal(a.fault, "INVALID");
	assert_int_equal(w->fake.created, 0);
}

static void
stops(void **state)
{
	struct world *w = *state;

	assert_ok(stop(w, false, 0)); /* nothing there */
	assert_int_equal(w->fake.destroyed, 0);

	assert_ok(start(w, 1));
	w->fake.hears_button = true;
	assert_ok(stop(w, false, 10000));
	assert_int_equal(w->fake.destroyed, 0);

	assert_ok(start(w, 2));
	w->fake.hears_button = false;
	assert_ok(stop(w, false, 50)); /* by force after the grace */
	assert_int_equal(w->fake.destroyed, 1);

	assert_ok(start(w, 3));
	assert_ok(stop(w, true, 10000));
	assert_int_equal(w->fake.destroyed, 2);
	assert_int_equal(w->fake.guest.state, GUEST_ABSENT);
}

static void
force_takes_the_place_of_patience(void **state)
{
	struct world *w = *state;
	const struct helper_guest_reboot reboot = { .instance_id = ID };
	struct answer a;
	uint32_t patient;

	assert_ok(start(w, 1));
	patient = send_stop(w, false, 600000);
	(void)poll(NULL, 0, 50);
	a = ask(w, HELPER_GUEST_REBOOT, &reboot, sizeof(reboot));
	assert_string_equal(a.fault, "CONFLICT"); /* one at a time */
	{
		uint32_t forced = send_stop(w, true, 0);

		a = receive(w, patient); /* its answer comes first */
		assert_string_equal(a.fault, "CANCELLED");
		assert_ok(receive(w, forced));
	}
	assert_int_equal(w->fake.destroyed, 1);
}

static void
reboots(void **state)
{
	struct world *w = *state;
	struct helper_guest_reboot r = { .instance_id = ID, .grace_ms = 50 };
	struct answer a = ask(w, HELPER_GUEST_REBOOT, &r, sizeof(r));

	assert_string_equal(a.fault, "CONFLICT"); /* nothing runs */
	assert_ok(start(w, 1));
	assert_ok(ask(w, HELPER_GUEST_REBOOT, &r, sizeof(r)));
	assert_int_equal(w->fake.reset, 1);
	w->fake.hears_button = true;
	r.grace_ms = 600000;
	assert_ok(ask(w, HELPER_GUEST_REBOOT, &r, sizeof(r)));
	assert_int_equal(w->fake.reset, 1);
}

static void
a_call_that_hangs(void **state)
{
	struct world *w = *state;
	static const char *const calls[] = { "look", "create", "resume" };

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		uint64_t began = clock_monotonic_ms();
		struct answer a;
		struct helper_health health;

		set(&w->fake, NULL, calls[i]);
		a = start(w, i + 1);
		assert_string_equal(a.fault, "TIMEOUT");
		assert_true(clock_monotonic_ms() - began < 10 * DEADLINE_MS);
		a = ask(w, HELPER_PROBE, NULL, 0);
		memcpy(&health, a.payload, sizeof(health));
		assert_true(health.degraded);
		assert_non_null(strstr(health.reason, "libvirt"));
		set(&w->fake, NULL, NULL);
		(void)poll(NULL, 0, 100);
		a = start(w, i + 1); /* what the late call did is found, not done twice */
		assert_ok(a);
		assert_int_equal(w->fake.created, i + 1);
	}
}

/* The command is the administrator's, run as it stands; what it says is answered. */
static void
a_host_goes_to_sleep(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *first = xasprintf("%s/asleep", w->directory);
	_cleanup_free_ char *command =
	    xasprintf("/usr/bin/touch  %s %s/$HOME", first, w->directory);
	_cleanup_free_ char *literal = xasprintf("%s/$HOME", w->directory);
	struct answer a = ask(w, HELPER_SLEEP, NULL, 0);
	const struct helper_health before = w->helper.health;

	assert_string_equal(a.fault, "UNSUPPORTED");
	assert_non_null(strstr(a.text, "no sleep_command is configured"));
	w->conf.sleep_command = (char *)"touch /nowhere";
	a = ask(w, HELPER_SLEEP, NULL, 0);
	assert_string_equal(a.fault, "INVALID");
	w->conf.sleep_command = command;
	assert_ok(ask(w, HELPER_SLEEP, NULL, 0));
	assert_int_equal(access(first, F_OK), 0);
	assert_int_equal(access(literal, F_OK), 0); /* there is no shell */
	w->conf.sleep_command = (char *)"/usr/bin/false";
	a = ask(w, HELPER_SLEEP, NULL, 0);
	assert_string_equal(a.fault, "IO");
	w->conf.sleep_command = (char *)"/usr/bin/sleep 60";
	a = ask(w, HELPER_SLEEP, NULL, 0);
	assert_string_equal(a.fault, "TIMEOUT");
	assert_memory_equal(
	    &w->helper.health, &before, sizeof(before)); /* nor is it libvirt's fault */
	w->conf.sleep_command = NULL;
}

static void
every_call_may_fail(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *call;
		bool in_start;
	} cases[] = { { "look", true }, { "create", true }, { "resume", true }, { "look", false },
		{ "press", false }, { "destroy", false }, { "undefine", false } };
	uint64_t generation = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct answer a;

		if (!cases[i].in_start)
			assert_ok(start(w, ++generation));
		set(&w->fake, cases[i].call, NULL);
		a = cases[i].in_start ? start(w, ++generation) : stop(w, false, 20);
		assert_string_equal(a.fault, "IO");
		set(&w->fake, NULL, NULL);
		assert_ok(stop(w, false, 20)); /* repeated, it comes to its end */
		assert_int_equal(w->fake.guest.state, GUEST_ABSENT);
	}
}

static void
an_instance_is_forgotten_only_when_it_ended(void **state)
{
	struct world *w = *state;
	const struct helper_guest_ref ref = { .instance_id = ID };
	_cleanup_free_ char *log = xasprintf("%s/consoles/%s.log", w->directory, ID);
	struct answer a;

	assert_ok(start(w, 1));
	assert_true(fs_exists(log));
	a = ask(w, HELPER_GUEST_FORGET, &ref, sizeof(ref));
	assert_string_equal(a.fault, "CONFLICT");
	assert_ok(stop(w, true, 0));
	assert_true(fs_exists(log)); /* GetConsoleOutput of a stopped instance */
	assert_ok(ask(w, HELPER_GUEST_FORGET, &ref, sizeof(ref)));
	assert_false(fs_exists(log));
}

static void
nonsense_is_refused(void **state)
{
	struct world *w = *state;
	struct helper_header h = { HELPER_MAGIC, HELPER_VERSION, HELPER_HELLO, 1,
		HELPER_PAYLOAD_MAX + 1, 0 };
	struct answer a = ask(w, (enum helper_verb)77, "xyz", 3);
	char byte;

	assert_string_equal(a.fault, "UNSUPPORTED");
	a = ask(w, HELPER_GUEST_STOP, "xyz", 3);
	assert_string_equal(a.fault, "INVALID");
	/* What is no frame ends the connection. */
	assert_int_equal(fd_write_all(w->socket, &h, sizeof(h), NULL), 0);
	assert_int_equal(read(w->socket, &byte, 1), 0);
}

/* libvirt's own test driver knows definitions, states and events, and no QEMU. */
static void
with_libvirt(void **state)
{
	struct world *w = *state;
	struct hypervisor *h = NULL;
	struct answer a;
	struct err e = { 0 };

	if (hyp_libvirt_new("test:///default", helper_events(&w->helper), &h, &e) < 0)
		fail_msg("%s", e.text);
	w->helper.hypervisor = h;
	w->conf.libvirt_deadline_ms = 20000;
	strcpy(w->helper.health.hypervisor, "test");
	a = start(w, 7);
	if (a.fault[0])
		fail_msg("%s: %s", a.fault, a.text);
	a = ask(w, HELPER_GUEST_LIST, NULL, 0);
	{
		struct helper_guest_list *l = (void *)a.payload;

		assert_int_equal(l->count, 1); /* its own domain "test" is none of ours */
		assert_string_equal(l->guests[0].instance_id, ID);
		assert_int_equal(l->guests[0].state, GUEST_RUNNING);
		assert_int_equal(l->guests[0].generation, 7);
	}
	a = start(w, 7);
	assert_true(was_running(&a));
	assert_ok(stop(w, false, 5000));
	a = ask(w, HELPER_GUEST_LIST, NULL, 0);
	assert_int_equal(((struct helper_guest_list *)(void *)a.payload)->count, 0);
}

int
main(void)
{
#define IN_A_WORLD(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_A_WORLD(a_generation_is_started_once),
		IN_A_WORLD(guests_are_bounded),
		IN_A_WORLD(pictures_come_as_descriptors),
		IN_A_WORLD(a_start_that_broke_off_goes_on),
		IN_A_WORLD(files_are_looked_at),
		IN_A_WORLD(stops),
		IN_A_WORLD(force_takes_the_place_of_patience),
		IN_A_WORLD(reboots),
		IN_A_WORLD(a_call_that_hangs),
		IN_A_WORLD(a_host_goes_to_sleep),
		IN_A_WORLD(every_call_may_fail),
		IN_A_WORLD(an_instance_is_forgotten_only_when_it_ended),
		IN_A_WORLD(nonsense_is_refused),
		IN_A_WORLD(with_libvirt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
