/* x-amz-copy-source and its range, as clients send them and as they should not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "copy_source.h"

static const struct {
	const char *header, *bucket, *key, *version;
} good[] = {
	{ "b/k", "b", "k", NULL },
	{ "/b/k", "b", "k", NULL },
	{ "b/a/b//c/", "b", "a/b//c/", NULL },
	{ "b//k", "b", "/k", NULL },
	{ "b%2Fk", "b", "k", NULL },
	{ "b/%C3%BC%20%25+", "b", "\xc3\xbc %+", NULL },
	{ "b/k?versionId=7ff99eb9c50f3b452cfc6eef52503c26", "b", "k",
	    "7ff99eb9c50f3b452cfc6eef52503c26" },
	{ "b/k?versionId=null", "b", "k", "null" },
	{ "b/k?versionId=", "b", "k", NULL },
	{ "b/k%3FversionId=1", "b", "k?versionId=1", NULL },
	{ "b/what?ever", "b", "what?ever", NULL },
};
static const char *const bad[] = { "", "/", "b", "b/", "/b", "//k", "b/%zz", "b/%", "b/%00",
	"b/%ff", "?versionId=1", "b/k?versionId=123" };

static void
test_sources(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct copy_source_name name;
	char long_key[1100] = "b/";
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(copy_source_parse(str_of(good[i].header), arena, &name, &e), 0);
		assert_string_equal(name.bucket, good[i].bucket);
		assert_true(str_is(name.key, good[i].key));
		assert_true(strings_equal(name.version_id, good[i].version));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
		    copy_source_parse(str_of(bad[i]), arena, &name, &e), ERR_INVALID_ARGUMENT);
	memset(long_key + 2, 'x', 1025);
	assert_int_equal(copy_source_parse(str_of(long_key), arena, &name, &e), ERR_KEY_TOO_LONG);
	long_key[1026] = 0;
	assert_int_equal(copy_source_parse(str_of(long_key), arena, &name, &e), 0);
}

static void
test_ranges(void **state)
{
	static const char *const wrong[] = { "", "bytes", "bytes=", "bytes=1", "bytes=1-",
		"bytes=-1", "bytes=2-1", "bytes=0-10", "bytes=10-10", "lines=0-1", "bytes=0-1,3-4",
		"bytes=0-18446744073709551616", "bytes=+0-1" };
	uint64_t first, count;
	struct err e;

	assert_int_equal(copy_range_parse(STR("bytes=0-9"), 10, &first, &count, &e), 0);
	assert_int_equal(first, 0);
	assert_int_equal(count, 10);
	assert_int_equal(copy_range_parse(STR("bytes=9-9"), 10, &first, &count, &e), 0);
	assert_int_equal(first, 9);
	assert_int_equal(count, 1);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(copy_range_parse(str_of(wrong[i]), 10, &first, &count, &e),
		    ERR_INVALID_ARGUMENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sources),
		cmocka_unit_test(test_ranges) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
