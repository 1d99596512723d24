/* Files and descriptors: whole or not at all, limits at their edge, descriptors over sockets. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "run/fd.h"
#include "run/fs.h"

static char dir[] = "/tmp/mallee-files-test-XXXXXX";

static char *
path_of(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static int
set_up(void **state)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/mallee-files-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int
tear_down(void **state)
{
	_cleanup_free_ char *rm = xasprintf("rm -rf '%s'", dir);

	return system(rm);
}

static void
writes_and_reads_whole_files(void **state)
{
	_cleanup_free_ char *path = path_of("f");
	_cleanup_strbuf_ struct strbuf in = STRBUF_INIT, out = STRBUF_INIT;
	struct stat st;

	for (int i = 0; i < 200000; i++)
		strbuf_addc(&in, (char)i);
	assert_int_equal(fs_write_atomic(path, strbuf_str(&in), 0640, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(fs_read(path, in.n, &out, NULL), 0);
	assert_int_equal(out.n, in.n);
	assert_memory_equal(out.p, in.p, in.n);
	strbuf_reset(&out);
	assert_int_equal(fs_read(path, in.n - 1, &out, NULL), ERR_LIMIT);
	assert_int_equal(fs_write_atomic(path, STR("short"), 0600, NULL), 0);
	strbuf_reset(&out);
	assert_int_equal(fs_read(path, 100, &out, NULL), 0);
	assert_string_equal(strbuf_c(&out), "short");
	strbuf_reset(&out);
	assert_int_equal(fs_write_atomic(path, STR(""), 0600, NULL), 0);
	assert_int_equal(fs_read(path, 0, &out, NULL), 0);
	assert_string_equal(strbuf_c(&out), "");
}

static void
a_failed_write_leaves_nothing_behind(void **state)
{
	_cleanup_free_ char *path = path_of("d"), *inside = path_of("d/x"), *ls = path_of("");
	_cleanup_free_ char *count = xasprintf("test $(ls %s | wc -l) = 1", ls);
	struct err e = { 0 };

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(fs_write_atomic(inside, STR("x"), 0600, NULL), 0);
	assert_int_equal(fs_write_atomic(path, STR("x"), 0600, &e), ERR_IO); /* a directory */
	assert_non_null(strstr(e.text, "cannot replace '"));
	assert_int_equal(system(count), 0);
	assert_int_equal(fs_write_atomic("/nonexistent/x", STR("x"), 0600, &e), ERR_NOT_FOUND);
}

static void
makes_directories_on_the_way(void **state)
{
	_cleanup_free_ char *deep = path_of("a/b//c/"), *file = path_of("file");
	_cleanup_free_ char *below = path_of("file/x");
	struct err e = { 0 };
	uint64_t available = 0, total = 0;

	assert_int_equal(fs_mkdir_p(deep, 0700, &e), 0);
	assert_int_equal(fs_mkdir_p(deep, 0700, &e), 0);
	assert_true(fs_exists(deep));
	assert_int_equal(fs_write_atomic(file, STR("x"), 0600, NULL), 0);
	assert_int_equal(fs_mkdir_p(file, 0700, &e), ERR_IO);
	assert_int_equal(fs_mkdir_p(below, 0700, &e), ERR_IO);
	assert_non_null(strstr(e.text, "Not a directory"));
	assert_false(fs_exists(below));
	assert_int_equal(fs_free_bytes(dir, &available, &total, NULL), 0);
	assert_true(total > 0 && available <= total);
	assert_int_equal(fs_free_bytes("/nonexistent", &available, &total, NULL), ERR_NOT_FOUND);
}

static void
reads_all_or_says_how_much_is_missing(void **state)
{
	char bytes[10];
	struct err e = { 0 };
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(fd_write_all(ends[1], "0123456", 7, NULL), 0);
	(void)close(ends[1]);
	assert_int_equal(fd_read_all(ends[0], bytes, 10, &e), ERR_CORRUPT);
	assert_string_equal(e.text, "ends 3 bytes early");
	(void)close(ends[0]);
}

static void
descriptors_travel_over_sockets(void **state)
{
	static const int types[] = { SOCK_SEQPACKET, SOCK_STREAM };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		int pair[2], pipe_ends[2], got[4] = { -1, -1, -1, -1 };
		size_t count = 4;
		char text[16];

		assert_int_equal(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(pipe(pipe_ends), 0);
		assert_int_equal(fd_send_with_fds(pair[0], "hello", 5, pipe_ends, 2, NULL), 0);
		assert_int_equal(
		    fd_receive_with_fds(pair[1], text, sizeof(text), got, &count, NULL), 5);
		assert_int_equal(count, 2);
		assert_int_equal(fcntl(got[0], F_GETFD), FD_CLOEXEC);
		assert_int_equal(fd_write_all(got[1], "x", 1, NULL), 0);
		assert_int_equal(fd_read_all(pipe_ends[0], text, 1, NULL), 0);
		fd_close(got[0]);
		fd_close(got[1]);
		/* Unwanted descriptors are closed, not leaked. */
		count = 1;
		assert_int_equal(fd_send_with_fds(pair[0], "hi", 2, pipe_ends, 2, NULL), 0);
		assert_int_equal(
		    fd_receive_with_fds(pair[1], text, sizeof(text), got, &count, NULL), 2);
		assert_int_equal(count, 1);
		fd_close(got[0]);
		fd_close(pipe_ends[1]);
		assert_int_equal(fd_read_all(pipe_ends[0], text, 1, NULL), ERR_CORRUPT);
		fd_close(pipe_ends[0]);
		fd_close(pair[0]);
		count = 4;
		assert_int_equal(
		    fd_receive_with_fds(pair[1], text, sizeof(text), got, &count, NULL), 0);
		fd_close(pair[1]);
	}
}

static void
a_datagram_that_does_not_fit_is_an_error(void **state)
{
	int pair[2], got[4];
	size_t count = 4;
	char text[4];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fd_send_with_fds(pair[0], "hello", 5, pair, 1, NULL), 0);
	assert_int_equal(
	    fd_receive_with_fds(pair[1], text, sizeof(text), got, &count, NULL), ERR_LIMIT);
	fd_close(pair[1]);
	assert_int_equal(fd_send_with_fds(pair[0], "x", 1, NULL, 0, NULL), ERR_UNAVAILABLE);
	fd_close(pair[0]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(writes_and_reads_whole_files),
		T(a_failed_write_leaves_nothing_behind),
		T(makes_directories_on_the_way),
		T(reads_all_or_says_how_much_is_missing),
		T(descriptors_travel_over_sockets),
		T(a_datagram_that_does_not_fit_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
