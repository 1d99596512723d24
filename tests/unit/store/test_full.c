/* A full disk: writes fail with ERR_NO_SPACE and say so to /readyz, nothing acknowledged is lost,
 * reads go on, and the first write that finds room ends it, without a restart. Everybody can have a
 * limit on the size of files; root also gets a real small file system. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "run/health.h"
#include "tests/lib/store_fixture.h"

#define BODY 4000

struct big {
	int64_t id;
	size_t n;
};

static int
put_big(struct store_tx *tx, void *arg, struct err *e)
{
	static const char zeros[1 << 20];
	struct big *big = arg;

	return store_exec(tx, Q_ITEM_ADD, NULL, e, big->id, NULL, (struct str){ zeros, big->n });
}

static void
limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static bool
becomes_ready(bool ready)
{
	uint64_t end_ms = clock_monotonic_ms() + 5000;

	while (clock_monotonic_ms() < end_ms) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		if (health_is_ready(&text) == ready)
			return true;
		usleep(10 * 1000);
	}
	return false;
}

/* Fills the store until it refuses; returns how many were accepted. */
static int64_t
fill(struct fixture *f)
{
	struct big big = { 0, BODY };
	struct err e = { 0 };
	int r;

	while ((r = store_write(f->store, put_big, &big, &e)) == 0)
		assert_true(++big.id < 100000);
	if (r != ERR_NO_SPACE)
		fail_msg("%d: %s", r, e.text);
	assert_non_null(strstr(e.text, "no space left"));
	return big.id;
}

static void
a_file_size_limit(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	int64_t count;

	signal(SIGXFSZ, SIG_IGN);
	assert_true(becomes_ready(true));
	limit_file_size(512 << 10);
	count = fill(f);
	assert_true(count > 20 && count < 128);
	assert_int_equal(fixture_count(f->store), count);
	assert_true(becomes_ready(false));
	assert_int_equal(
	    store_write(f->store, put_big, &(struct big){ count, 1 << 19 }, &e), ERR_NO_SPACE);
	assert_int_equal(fixture_count(f->store), count);

	limit_file_size(RLIM_INFINITY);
	assert_int_equal(store_write(f->store, put_big, &(struct big){ count, BODY }, &e), 0);
	assert_int_equal(fixture_count(f->store), count + 1);
	assert_true(becomes_ready(true));
	fixture_close(f);
	fixture_open(f, &fixture_schema);
	assert_int_equal(fixture_count(f->store), count + 1);
}

struct client {
	pthread_t thread;
	struct store *store;
	struct big big;
	int r;
};

static void *
client_main(void *arg)
{
	struct client *c = arg;
	struct err e = { 0 };

	c->r = store_write(c->store, put_big, &c->big, &e);
	return NULL;
}

static int
hold(struct store_tx *tx, void *arg, struct err *e)
{
	usleep(100 * 1000);
	return 0;
}

static void *
hold_main(void *arg)
{
	struct err e = { 0 };

	(void)store_write(arg, hold, NULL, &e); /* only to let the others queue up */
	return NULL;
}

/* One batch of a write that cannot fit and several that can. */
static void
a_big_write_does_not_sink_small_ones(void **state)
{
	struct fixture *f = *state;
	struct client clients[9] = { 0 };
	pthread_t holder;

	signal(SIGXFSZ, SIG_IGN);
	limit_file_size(512 << 10);
	pthread_create(&holder, NULL, hold_main, f->store);
	usleep(20 * 1000);
	for (int i = 0; i < 9; i++) {
		clients[i] =
		    (struct client){ .store = f->store, .big = { i, i == 4 ? (1 << 20) : 1000 } };
		pthread_create(&clients[i].thread, NULL, client_main, &clients[i]);
	}
	for (int i = 0; i < 9; i++) {
		pthread_join(clients[i].thread, NULL);
		assert_int_equal(clients[i].r, i == 4 ? ERR_NO_SPACE : 0);
	}
	pthread_join(holder, NULL);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(fixture_count(f->store), 8);
}

/* ---- a real one ---- */

static void
on_small_file_system(struct fixture *f)
{
	_cleanup_free_ char *ballast = xasprintf("%s/ballast", f->directory);
	struct err e = { 0 };
	char block[4096] = { 0 };
	int64_t count;
	int fd;

	fixture_open(f, &fixture_schema);
	assert_true(becomes_ready(true));
	fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (int i = 0; i < 64; i++)
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	count = fill(f);
	assert_int_equal(fixture_count(f->store), count);
	assert_true(becomes_ready(false));
	assert_int_equal(unlink(ballast), 0);
	close(fd);
	assert_int_equal(store_write(f->store, put_big, &(struct big){ count, BODY }, &e), 0);
	assert_true(becomes_ready(true));

	/* full again, also for the checkpoint; then closed and opened without room */
	count = 1 + count;
	for (struct big big = { 1000000, BODY }; store_write(f->store, put_big, &big, &e) == 0;
	     big.id++)
		count++;
	fixture_close(f);
	fixture_open(f, &fixture_schema);
	assert_int_equal(fixture_count(f->store), count);
	fixture_close(f);
}

static void
a_small_file_system(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t child;

	if (geteuid() != 0) {
		print_message("needs root for a mount\n");
		skip();
	}
	fixture_close(f);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("none", f->directory, "tmpfs", 0, "size=2m") < 0)
			_exit(77);
		on_small_file_system(f);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("cannot mount here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_file_size_limit),
		T(a_big_write_does_not_sink_small_ones),
		T(a_small_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
