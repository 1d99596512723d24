/* The one promise: what was acknowledged is there afterwards. A child writes from several threads
 * and says each acknowledged number on a pipe; it is killed at any moment; the store is opened
 * again and every number said must be in it, every event once and in order.
 *
 * By kill -9; by power loss, where only what was fsynced (and any part of the rest) is on the disk;
 * and by a disk that fails. CYCLES= sets the number of rounds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/vec.h"
#include "run/fs.h"
#include "store/outbox.h"
#include "store/sqlite.h"
#include "tests/lib/powerloss.h"
#include "tests/lib/store_fixture.h"

#define THREADS 6

struct writer {
	pthread_t thread;
	struct store *store;
	int64_t next;
	int pipe;
};

static int
add_with_event(struct store_tx *tx, void *arg, struct err *e)
{
	int64_t id = *(int64_t *)arg;
	char text[24];
	int r;

	snprintf(text, sizeof(text), "i-%lld", (long long)id);
	r = store_exec(tx, Q_ITEM_ADD, NULL, e, id, text, str_of(text));
	return r < 0 ? r : outbox_add(tx, "item", text, NULL, NULL, e);
}

static void *
writer_main(void *arg)
{
	struct writer *w = arg;

	for (;;) {
		struct err e = { 0 };

		if (store_write(w->store, add_with_event, &w->next, &e) < 0) {
			fprintf(stderr, "write: %s\n", e.text);
			_exit(98);
		}
		if (write(w->pipe, &w->next, sizeof(w->next)) != sizeof(w->next))
			_exit(97);
		w->next++;
	}
	return NULL;
}

/* Never returns: writes until it is killed, or until the store ends the process. */
static _Noreturn void
child_main(struct fixture *f, int64_t first, int pipe, const char *disk, enum powerloss_fault fault,
    unsigned after)
{
	struct writer writers[THREADS];
	struct rlimit no_core = { 0, 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGABRT, SIG_DFL);
	if (disk)
		powerloss_install(disk, fault, after, (unsigned)first);
	if (fault >= POWERLOSS_SYNC_FAILS) /* its last words are no news here */
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	if (first / 100000000 % 2) /* every other one checkpoints all the time */
		checkpoint_pages = 16;
	fixture_open(f, &fixture_schema);
	for (int i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){ 0, f->store, first + i * 1000000, pipe };
		pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]);
	}
	pause();
	_exit(96);
}

typedef VEC(int64_t) numbers;

/* Runs a child for some milliseconds after its first acknowledgement; returns its wait status. */
static int
crash_once(struct fixture *f, int64_t first, unsigned run_ms, const char *disk,
    enum powerloss_fault fault, unsigned after, numbers *acknowledged)
{
	uint64_t end_ms = 0;
	int fds[2], status;
	int64_t number;
	pid_t child;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		child_main(f, first, fds[1], disk, fault, after);
	close(fds[1]);
	for (;;) {
		struct pollfd p = { fds[0], POLLIN, 0 };
		int wait_ms = -1;

		if (end_ms) {
			uint64_t now_ms = clock_monotonic_ms();

			if (now_ms >= end_ms)
				break;
			wait_ms = (int)(end_ms - now_ms);
		}
		if (poll(&p, 1, wait_ms) == 0)
			break;
		if (read(fds[0], &number, sizeof(number)) != sizeof(number))
			break; /* it has ended by itself */
		vec_add(acknowledged, number);
		if (!end_ms)
			end_ms = clock_monotonic_ms() + run_ms;
	}
	kill(child, SIGKILL);
	while (read(fds[0], &number, sizeof(number)) == sizeof(number))
		vec_add(acknowledged, number);
	close(fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* ---- what is there afterwards ---- */

struct found {
	numbers *items;
	uint64_t revisions; /* 1..revisions are there, none is missing or double */
	bool events_are_whole;
};

static int
collect(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_arena_ struct arena *arena = arena_new((size_t)1 << 30);
	struct found *found = arg;
	struct outbox_event *events;
	size_t count;
	uint64_t last;
	bool gap;
	int r;

	found->items->count = 0;
	r = store_query(tx, Q_ITEM_LIST, &rows, e);
	while (r >= 0 && (r = store_next(rows, e)) > 0)
		vec_add(found->items, store_int(rows, 0));
	if (r >= 0)
		r = outbox_read(tx, 0, UINT32_MAX, arena, &events, &count, &gap, e);
	if (r >= 0)
		r = outbox_last(tx, &last, e);
	if (r < 0)
		return r;
	found->events_are_whole = !gap && last == count;
	for (size_t i = 0; i < count; i++)
		found->events_are_whole &= events[i].revision == i + 1;
	found->revisions = last;
	return 0;
}

static int
by_number(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Opens the store and returns how many acknowledged numbers are not in it. */
static size_t
count_lost(struct fixture *f, const numbers *acknowledged)
{
	numbers items = { 0 };
	struct found found = { .items = &items };
	struct err e = { 0 };
	size_t lost = 0;

	fixture_open(f, &fixture_schema);
	if (store_read(f->store, collect, &found, &e) < 0)
		fail_msg("%s", e.text);
	fixture_close(f);
	assert_true(found.events_are_whole);
	assert_int_equal(found.revisions, items.count);
	for (size_t i = 0; i < acknowledged->count; i++)
		lost += items.count == 0 || !bsearch(&acknowledged->items[i], items.items,
						items.count, sizeof(*items.items), by_number);
	vec_done(&items);
	return lost;
}

static unsigned
cycles(unsigned fallback)
{
	uint32_t n;

	return str_to_u32(str_of(getenv("CYCLES")), &n) ? n : fallback;
}

static void
kill_9_loses_nothing(void **state)
{
	struct fixture *f = *state;
	numbers acknowledged = { 0 };
	unsigned count = cycles(20);
	size_t lost = 0;

	fixture_close(f);
	for (unsigned i = 0; i < count; i++) {
		int status = crash_once(f, (i + 1) * (int64_t)100000000, i * 7 % 60, NULL,
		    POWERLOSS_NONE, 0, &acknowledged);

		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		lost += count_lost(f, &acknowledged);
	}
	print_message(
	    "%u times kill -9: %zu acknowledged, %zu lost\n", count, acknowledged.count, lost);
	assert_true(acknowledged.count >= count);
	assert_int_equal(lost, 0);
	vec_done(&acknowledged);
}

/* ---- power loss ---- */

static void
copy_directory(const char *from, const char *to)
{
	DIR *directory = opendir(from);
	struct dirent *entry;

	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		_cleanup_free_ char *in = xasprintf("%s/%s", from, entry->d_name);
		_cleanup_free_ char *out = xasprintf("%s/%s", to, entry->d_name);
		_cleanup_strbuf_ struct strbuf content = STRBUF_INIT;
		struct err e = { 0 };

		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(fs_read(in, (size_t)1 << 30, &content, &e), 0);
		assert_int_equal(fs_write_atomic(out, strbuf_str(&content), 0600, &e), 0);
	}
	closedir(directory);
}

static void
empty_directory(const char *path)
{
	fixture_remove_directory(path);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* One power cut: the child works on f's directory, the disk is what is found again. */
static int
cut_power(struct fixture *f, const char *disk, int64_t first, unsigned run_ms,
    enum powerloss_fault fault, unsigned after, numbers *acknowledged)
{
	int status = crash_once(f, first, run_ms, disk, fault, after, acknowledged);

	empty_directory(f->directory);
	copy_directory(disk, f->directory);
	return status;
}

static void
power_loss_loses_nothing(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *disk = xasprintf("%s.disk", f->directory);
	numbers acknowledged = { 0 };
	unsigned count = cycles(20);
	size_t lost = 0;

	fixture_close(f);
	empty_directory(f->directory);
	assert_int_equal(mkdir(disk, 0700), 0);
	for (unsigned i = 0; i < count; i++) {
		int status = cut_power(f, disk, (i + 1) * (int64_t)100000000, i * 7 % 60,
		    POWERLOSS_NONE, 0, &acknowledged);

		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		lost += count_lost(f, &acknowledged);
		empty_directory(disk); /* count_lost has worked on it, without the layer */
		copy_directory(f->directory, disk);
	}
	print_message(
	    "%u power cuts: %zu acknowledged, %zu lost\n", count, acknowledged.count, lost);
	assert_true(acknowledged.count >= count);
	assert_int_equal(lost, 0);
	fixture_remove_directory(disk);
	vec_done(&acknowledged);
}

/* The same with a disk whose fsync does nothing: if this lost nothing, the test above proves
 * nothing. */
static void
a_lying_disk_is_found_out(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *disk = xasprintf("%s.disk", f->directory);
	unsigned bad = 0;

	fixture_close(f);
	empty_directory(f->directory);
	assert_int_equal(mkdir(disk, 0700), 0);
	for (unsigned i = 0; i < 3; i++) {
		numbers acknowledged = { 0 };
		struct err e = { 0 };

		(void)cut_power(f, disk, 1, 30, POWERLOSS_LIES, 0, &acknowledged);
		assert_true(acknowledged.count > 0);
		if (store_open(f->url, &fixture_schema, NULL, &f->store, &e) < 0) {
			bad++; /* not even a database */
		} else {
			fixture_close(f);
			bad += count_lost(f, &acknowledged) > 0;
		}
		empty_directory(disk);
		empty_directory(f->directory);
		vec_done(&acknowledged);
	}
	assert_int_equal(bad, 3);
	fixture_remove_directory(disk);
}

/* ---- a disk that fails ---- */

static void
a_failing_disk_ends_the_process(void **state)
{
	static const struct {
		enum powerloss_fault fault;
		unsigned after;
	} cases[] = { { POWERLOSS_SYNC_FAILS, 40 }, { POWERLOSS_SYNC_FAILS, 63 },
		{ POWERLOSS_WRITE_FAILS, 300 }, { POWERLOSS_WRITE_FAILS, 501 } };
	struct fixture *f = *state;
	_cleanup_free_ char *disk = xasprintf("%s.disk", f->directory);

	fixture_close(f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		numbers acknowledged = { 0 };
		int status;

		empty_directory(f->directory);
		assert_int_equal(mkdir(disk, 0700), 0);
		status =
		    cut_power(f, disk, 1, 20000, cases[i].fault, cases[i].after, &acknowledged);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
			fail_msg("case %zu: status %x", i, (unsigned)status);
		assert_int_equal(count_lost(f, &acknowledged), 0);
		fixture_remove_directory(disk);
		vec_done(&acknowledged);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(kill_9_loses_nothing),
		T(power_loss_loses_nothing),
		T(a_lying_disk_is_found_out),
		T(a_failing_disk_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
