/* Children: output, input, exit, time, and that nothing survives or leaks into them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "run/cmd.h"
#include "run/fs.h"

/* Tests may use a shell; the module never does. */
static struct cmd *
shell(const char *script)
{
	struct cmd *c = cmd_new("sh");

	cmd_add(c, "-c");
	cmd_add(c, script);
	return c;
}

static void
output_arguments_and_input(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_(cmd_freep) struct cmd *echo = cmd_new("printf");
	_cleanup_(cmd_freep) struct cmd *cat = cmd_new("cat");

	cmd_add(echo, "%s|%s\n");
	cmd_add(echo, "$HOME; `ls`");
	cmd_addf(echo, "%d", 7);
	strbuf_adds(&out, "kept ");
	assert_int_equal(cmd_run(echo, 5000, &out, NULL), 0);
	assert_string_equal(strbuf_c(&out), "kept $HOME; `ls`|7\n");
	strbuf_reset(&out);
	cmd_stdin(cat, STR("a\0b"));
	assert_int_equal(cmd_run(cat, 5000, &out, NULL), 0);
	assert_int_equal(out.n, 3);
	assert_memory_equal(out.p, "a\0b", 3);
}

static void
much_input_and_output_do_not_block_each_other(void **state)
{
	enum { SIZE = 900000 };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_free_ char *input = xmalloc(SIZE);
	_cleanup_(cmd_freep) struct cmd *cat = cmd_new("cat");

	memset(input, 'x', SIZE);
	cmd_stdin(cat, (struct str){ input, SIZE });
	assert_int_equal(cmd_run(cat, 20000, &out, NULL), 0);
	assert_int_equal(out.n, SIZE);
}

static void
a_child_that_reads_nothing_is_fine(void **state)
{
	enum { SIZE = 200000 };
	_cleanup_free_ char *input = xcalloc(1, SIZE);
	_cleanup_(cmd_freep) struct cmd *c = cmd_new("true");

	(void)signal(SIGPIPE, SIG_IGN);
	cmd_stdin(c, (struct str){ input, SIZE });
	assert_int_equal(cmd_run(c, 20000, NULL, NULL), 0);
}

static void
failures_say_why(void **state)
{
	static const struct {
		const char *script, *said;
		int code;
	} cases[] = {
		{ "echo one >&2; echo bad news >&2; exit 3",
		    "'sh' failed with status 3: one bad news", ERR_IO },
		{ "exit 1", "'sh' failed with status 1", ERR_IO },
		{ "kill -9 $$", "'sh' was killed by signal 9", ERR_IO },
		{ "head -c 1048577 /dev/zero", "'sh' printed more than 1048576 bytes", ERR_LIMIT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		_cleanup_(cmd_freep) struct cmd *c = shell(cases[i].script);
		struct err e = { 0 };

		assert_int_equal(cmd_run(c, 10000, &out, &e), cases[i].code);
		assert_string_equal(e.text, cases[i].said);
	}
	_cleanup_(cmd_freep) struct cmd *absent = cmd_new("mallee-no-such-program");
	struct err e = { 0 };

	assert_int_equal(cmd_run(absent, 1000, NULL, &e), ERR_NOT_FOUND);
	assert_string_equal(e.text, "program 'mallee-no-such-program' is not installed");
}

static void
a_mebibyte_of_output_fits(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_(cmd_freep) struct cmd *c = shell("head -c 1048576 /dev/zero");

	assert_int_equal(cmd_run(c, 10000, &out, NULL), 0);
	assert_int_equal(out.n, 1048576);
}

static void
time_out_kills_the_whole_group(void **state)
{
	char path[] = "/tmp/mallee-cmd-test-XXXXXX";
	int fd = mkstemp(path);
	_cleanup_free_ char *script = xasprintf("sleep 60 & echo $! > %s; wait", path);
	_cleanup_strbuf_ struct strbuf pid = STRBUF_INIT;
	_cleanup_(cmd_freep) struct cmd *c = shell(script);
	uint64_t started_ms = clock_monotonic_ms();
	struct err e = { 0 };
	int grandchild;

	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(cmd_run(c, 500, NULL, &e), ERR_TIMEOUT);
	assert_string_equal(e.text, "'sh' did not finish in time");
	assert_in_range(clock_monotonic_ms() - started_ms, 490, 20000);
	assert_int_equal(fs_read(path, 100, &pid, NULL), 0);
	(void)unlink(path);
	grandchild = atoi(strbuf_c(&pid));
	assert_true(grandchild > 1);
	/* Killed; perhaps not reaped by init yet, but certainly no longer asleep. */
	for (int i = 0; i < 100 && kill(grandchild, 0) == 0; i++) {
		_cleanup_free_ char *stat_path = xasprintf("/proc/%d/stat", grandchild);
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct timespec a_while = { .tv_nsec = 10 * 1000000L };

		if (fs_read(stat_path, 1000, &text, NULL) == 0 && strstr(strbuf_c(&text), ") Z "))
			break;
		assert_true(i < 99);
		(void)nanosleep(&a_while, NULL);
	}
}

static void
a_grandchild_that_keeps_the_pipe_does_not_hold_us_up(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_(cmd_freep) struct cmd *c = shell("sleep 3 & echo done");
	uint64_t started_ms = clock_monotonic_ms();

	assert_int_equal(cmd_run(c, 10000, &out, NULL), 0);
	assert_string_equal(strbuf_c(&out), "done\n");
	assert_true(clock_monotonic_ms() - started_ms < 2500);
}

static void
a_child_inherits_nothing(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_(cmd_freep) struct cmd *c = shell("env | sort | tr '\\n' ' '; ls /proc/self/fd | "
						   "wc -l; grep SigBlk /proc/self/status");
	int leak = open("/dev/null", O_RDONLY);
	sigset_t term;

	(void)setenv("SECRET", "x", 1);
	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &term, NULL);
	assert_int_equal(cmd_run(c, 5000, &out, NULL), 0);
	(void)sigprocmask(SIG_UNBLOCK, &term, NULL);
	(void)close(leak);
	assert_null(strstr(strbuf_c(&out), "SECRET"));
	assert_non_null(
	    strstr(strbuf_c(&out), "LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
	assert_non_null(strstr(strbuf_c(&out), "\n4\n") ?: strstr(strbuf_c(&out), " 4\n"));
	assert_non_null(strstr(strbuf_c(&out), "0000000000000000\n"));
}

static bool
the_second_time(void *arg)
{
	return ++*(unsigned *)arg == 2;
}

static bool
never(void *arg)
{
	++*(unsigned *)arg;
	return false;
}

static void
a_child_that_is_wanted_no_more_is_killed(void **state)
{
	_cleanup_(cmd_freep) struct cmd *c = shell("sleep 60"), *quick = shell("sleep 1.2");
	uint64_t began = clock_monotonic_ms();
	unsigned asked = 0;

	cmd_watch(c, the_second_time, &asked);
	assert_int_equal(cmd_run(c, 60000, NULL, NULL), ERR_CANCELLED);
	assert_true(clock_monotonic_ms() - began < 5000);
	asked = 0;
	cmd_watch(quick, never, &asked);
	assert_int_equal(cmd_run(quick, 60000, NULL, NULL), 0);
	assert_in_range(asked, 2, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_arguments_and_input),
		cmocka_unit_test(much_input_and_output_do_not_block_each_other),
		cmocka_unit_test(a_child_that_reads_nothing_is_fine),
		cmocka_unit_test(failures_say_why),
		cmocka_unit_test(a_mebibyte_of_output_fits),
		cmocka_unit_test(time_out_kills_the_whole_group),
		cmocka_unit_test(a_grandchild_that_keeps_the_pipe_does_not_hold_us_up),
		cmocka_unit_test(a_child_inherits_nothing),
		cmocka_unit_test(a_child_that_is_wanted_no_more_is_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
