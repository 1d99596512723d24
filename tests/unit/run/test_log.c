/* Lines as they are written: context, quoting, escaping of what came from outside, levels, length.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/strbuf.h"
#include "run/log.h"

static int saved_stderr, reading;
static char line[16384];

static int
catch_stderr(void **state)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	saved_stderr = dup(STDERR_FILENO);
	(void)dup2(ends[1], STDERR_FILENO);
	(void)close(ends[1]);
	reading = ends[0];
	log_set_level(LOG_INFO);
	return 0;
}

static int
release_stderr(void **state)
{
	(void)dup2(saved_stderr, STDERR_FILENO);
	(void)close(saved_stderr);
	(void)close(reading);
	return 0;
}

/* What was logged, without the time. */
static const char *
logged(void)
{
	ssize_t n = read(reading, line, sizeof(line) - 1);

	assert_true(n > 14);
	line[n] = '\0';
	assert_int_equal(line[2], ':');
	assert_int_equal(line[8], '.');
	return line + 13;
}

static const struct log context = { .daemon = "nc", .request_id = "7f3a", .account_id = "000012" };
static const struct log bare = { .daemon = "nc" };

static void
writes_context_event_and_pairs(void **state)
{
	log_info(
	    &context, "instance.started", "instance=%s vcpus=%u boot_ms=%lu", "i-0abc", 2u, 8120ul);
	assert_string_equal(logged(),
	    "info nc instance.started req=7f3a acct=000012 instance=i-0abc vcpus=2 boot_ms=8120\n");
	log_warn(&bare, "quiet", "%s", "");
	assert_string_equal(logged(), "warn nc quiet \n");
	log_error(NULL, "early", "a=%d", -1);
	assert_string_equal(logged(), "error - early a=-1\n");
}

static void
values_from_outside_cannot_pass_for_text(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain", "info nc e v=plain end=1\n" },
		{ "two words", "info nc e v=\"two words\" end=1\n" },
		{ "", "info nc e v=\"\" end=1\n" },
		{ "a\nerror nc fake x=1", "info nc e v=\"a\\nerror nc fake x=1\" end=1\n" },
		{ "say \"hi\"", "info nc e v=\"say \\\"hi\\\"\" end=1\n" },
		{ "x=1", "info nc e v=\"x=1\" end=1\n" },
		{ "\x1b[31m", "info nc e v=\"\\x1b[31m\" end=1\n" },
		{ "gr\xc3\xbc\xc3\x9f", "info nc e v=gr\xc3\xbc\xc3\x9f end=1\n" },
		{ "\xff\xfe", "info nc e v=\"\\xff\\xfe\" end=1\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		log_info(&bare, "e", "v=%s end=%d", cases[i].in, 1);
		assert_string_equal(logged(), cases[i].out);
	}
	log_info(&bare, "e", "text %s", "a\nb");
	assert_string_equal(logged(), "info nc e text a\\nb\n");
}

static void
quotes_of_the_format_hold_a_value_together(void **state)
{
	log_info(&bare, "e", "error=\"cannot %s: %s\" n=%d", "open", "no such file", 5);
	assert_string_equal(logged(), "info nc e error=\"cannot open: no such file\" n=5\n");
	log_info(&bare, "e", "address=%s:%u", "10.0.0.1", 80u);
	assert_string_equal(logged(), "info nc e address=10.0.0.1:80\n");
}

static void
every_conversion_takes_its_argument(void **state)
{
	const char *volatile absent = NULL;

	log_info(&bare, "e", "a=%hhu b=%zu c=%lld d=%.2f e=%.*s f=%5d g=%-3sx h=%c i=%% j=%x k=%s",
	    (unsigned char)200, (size_t)7, -8ll, 1.5, 3, "abcdef", 42, "z", 'q', 0xbeefu, absent);
	assert_string_equal(logged(),
	    "info nc e a=200 b=7 c=-8 d=1.50 e=abc f=\"   42\" g=\"z  x\" h=q i=% j=beef k=-\n");
	errno = ENOENT;
	log_info(&bare, "e", "why=%m");
	assert_string_equal(logged(), "info nc e why=\"No such file or directory\"\n");
	assert_int_equal(errno, ENOENT);
}

static void
levels_filter(void **state)
{
	enum log_level level;

	log_set_level(LOG_WARN);
	log_info(&bare, "hidden", "a=%d", 1);
	log_warn(&bare, "shown", "a=%d", 1);
	assert_string_equal(logged(), "warn nc shown a=1\n");
	for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
		assert_true(log_level_from_string(log_level_to_string((enum log_level)i), &level));
		assert_int_equal(level, i);
	}
	assert_false(log_level_from_string("loud", &level));
}

static void
a_line_is_bounded(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char *text;

	for (int i = 0; i < 20000; i++)
		strbuf_addc(&b, 'x');
	log_info(&bare, "e", "v=%s", strbuf_c(&b));
	text = logged();
	assert_true(strlen(text) < 8300);
	assert_string_equal(text + strlen(text) - 4, "...\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, catch_stderr, release_stderr)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(writes_context_event_and_pairs),
		T(values_from_outside_cannot_pass_for_text),
		T(quotes_of_the_format_hold_a_value_together),
		T(every_conversion_takes_its_argument),
		T(levels_filter),
		T(a_line_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
