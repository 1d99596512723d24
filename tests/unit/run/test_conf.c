/* Configuration files: each type at its limits, every complaint with file, line and key. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>
#include "run/conf.h"
#include "run/fs.h"

struct values {
	char *name, *path, *color, *words, *needed;
	uint32_t count, wait_ms;
	uint64_t size;
	bool on;
};
static const struct conf_key keys[] = {
	{ "name", CONF_STRING, offsetof(struct values, name), "anon", "a name" },
	{ "path", CONF_PATH, offsetof(struct values, path), "/tmp", "a path" },
	{ "color", CONF_ENUM, offsetof(struct values, color), "red", "a color", "red|green" },
	{ "words", CONF_LIST, offsetof(struct values, words), "a  b", "words" },
	{ "needed", CONF_STRING, offsetof(struct values, needed), NULL, "must be there" },
	{ "count", CONF_U32, offsetof(struct values, count), "5", "a count", NULL, 1, 10 },
	{ "wait", CONF_DURATION, offsetof(struct values, wait_ms), "3", "a time", NULL, 0, 0 },
	{ "size", CONF_SIZE, offsetof(struct values, size), "1K", "a size", NULL, 0, 0 },
	{ "on", CONF_BOOL, offsetof(struct values, on), "no", "a switch" },
	CONF_END,
};

static int
parse(const char *text, struct values *v, struct err *e)
{
	return conf_parse(keys, "x.conf", str_of(text), v, e);
}

static void
fallbacks_fill_what_is_absent(void **state)
{
	struct values v = { 0 };

	assert_int_equal(parse("needed = yes\n", &v, NULL), 0);
	assert_string_equal(v.name, "anon");
	assert_string_equal(v.path, "/tmp");
	assert_string_equal(v.color, "red");
	assert_string_equal(v.words, "a b");
	assert_string_equal(v.needed, "yes");
	assert_int_equal(v.count, 5);
	assert_int_equal(v.wait_ms, 3000);
	assert_int_equal(v.size, 1024);
	assert_false(v.on);
	conf_done(keys, &v);
	assert_null(v.name);
}

static void
reads_a_file_as_people_write_it(void **state)
{
	struct values v = { 0 };

	assert_int_equal(parse("# comment\n\n  needed=a b = c#d  # why\r\n\twords\t=  x   y\tz \n"
			       "count = 10\nwait = 200ms\nsize = 2G\non = Yes\nname =",
			     &v, NULL),
	    0);
	assert_string_equal(v.needed, "a b = c#d");
	assert_string_equal(v.words, "x y z");
	assert_string_equal(v.name, "");
	assert_int_equal(v.count, 10);
	assert_int_equal(v.wait_ms, 200);
	assert_true(v.size == UINT64_C(2) << 30);
	assert_true(v.on);
	conf_done(keys, &v);
}

static void
complaints_name_file_line_and_key(void **state)
{
	static const struct {
		const char *in, *said;
	} cases[] = {
		{ "", "x.conf: needed is required" },
		{ "needed = 1\nneeded = 2", "x.conf:2: needed is given twice" },
		{ "nmae = x", "x.conf:1: unknown key 'nmae'" },
		{ "= x", "x.conf:1: unknown key ''" },
		{ "name", "x.conf:1: 'name' is not of the form key = value" },
		{ "\n\npath = tmp", "x.conf:3: path must be an absolute path, not 'tmp'" },
		{ "color = re", "x.conf:1: color must be one of red|green, not 're'" },
		{ "count = 0", "x.conf:1: count must be between 1 and 10" },
		{ "count = 11", "x.conf:1: count must be between 1 and 10" },
		{ "count = 1x", "x.conf:1: count must be a number, not '1x'" },
		{ "count = 18446744073709551616", "x.conf:1: count must be a number" },
		{ "wait = 5 s", "x.conf:1: wait must be a duration" },
		{ "wait = 1194h", "x.conf:1: wait must be between 0 and 4294967295" },
		{ "wait = 99999999999999999d", "x.conf:1: wait must be a duration" },
		{ "size = 16777216T", "x.conf:1: size must be a size" },
		{ "size = K", "x.conf:1: size must be a size" },
		{ "on = maybe", "x.conf:1: on must be yes or no, not 'maybe'" },
		{ "name = \xff", "x.conf: not a text file" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct values v = { 0 };
		struct err e = { 0 };

		assert_int_equal(parse(cases[i].in, &v, &e), ERR_INVALID);
		if (!str_starts(str_of(e.text), cases[i].said))
			fail_msg("'%s' says '%s', not '%s'", cases[i].in, e.text, cases[i].said);
		conf_done(keys, &v);
	}
}

static void
the_largest_duration_fits(void **state)
{
	struct values v = { 0 };

	assert_int_equal(parse("needed=1\nwait = 4294967295ms\nsize = 16777215T", &v, NULL), 0);
	assert_true(v.wait_ms == UINT32_MAX);
	assert_true(v.size == UINT64_C(16777215) << 40);
	conf_done(keys, &v);
}

static void
loads_files(void **state)
{
	char path[] = "/tmp/mallee-conf-test-XXXXXX";
	_cleanup_free_ char *large = xmalloc((256 << 10) + 2);
	struct values v = { 0 };
	struct err e = { 0 };
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(fs_write_atomic(path, STR("needed = file\n"), 0600, NULL), 0);
	assert_int_equal(conf_load(keys, path, &v, &e), 0);
	assert_string_equal(v.needed, "file");
	conf_done(keys, &v);
	memset(large, '#', (256 << 10) + 1);
	assert_int_equal(
	    fs_write_atomic(path, (struct str){ large, (256 << 10) + 1 }, 0600, NULL), 0);
	assert_int_equal(conf_load(keys, path, &v, &e), ERR_LIMIT);
	(void)unlink(path);
	assert_int_equal(conf_load(keys, path, &v, &e), ERR_NOT_FOUND);
	assert_int_equal(conf_load(keys, NULL, &v, &e), ERR_INVALID);
	conf_done(keys, &v);
}

static void
describes_every_key(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	conf_describe(keys, &out);
	assert_non_null(strstr(strbuf_c(&out), "  needed = (required)\n      must be there\n"));
	assert_non_null(strstr(strbuf_c(&out), "  color = red\n      a color (red|green)\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fallbacks_fill_what_is_absent),
		cmocka_unit_test(reads_a_file_as_people_write_it),
		cmocka_unit_test(complaints_name_file_line_and_key),
		cmocka_unit_test(the_largest_duration_fits),
		cmocka_unit_test(loads_files),
		cmocka_unit_test(describes_every_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
