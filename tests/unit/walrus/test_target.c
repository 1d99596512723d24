/* Bucket and key of paths and hosts; names of buckets; the end of a common prefix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "list_walk.h"
#include "target.h"

static const struct {
	const char *host, *path;
	int code; /* 0: as follows */
	const char *bucket, *key;
	bool is_virtual_host;
} targets[] = {
	{ "h", "/", 0, NULL, "", false },
	{ "h", "", 0, NULL, "", false },
	{ "h:8777", "/b", 0, "b", "", false },
	{ "h", "/b/", 0, "b", "", false },
	{ "h", "/b/k", 0, "b", "k", false },
	{ "h", "/b//k/", 0, "b", "/k/", false },
	{ "h", "/b/../k", 0, "b", "../k", false },
	{ "h", "/b/a%2Fb%20c+d", 0, "b", "a/b c+d", false },
	{ "h", "/services/Walrus", 0, NULL, "", false },
	{ "h", "/services/Walrus/", 0, NULL, "", false },
	{ "h", "/services/Walrus/b/k", 0, "b", "k", false },
	{ "h", "/services/objectstorage/b/services/Walrus/k", 0, "b", "services/Walrus/k", false },
	{ "h", "/services/Walruses/k", 0, "services", "Walruses/k", false },
	{ "b.s3.test", "/k", 0, "b", "k", true },
	{ "b.s3.test", "/services/Walrus/k", 0, "b", "services/Walrus/k", true },
	{ "b.s3.test", "/services/objectstorage", 0, "b", "services/objectstorage", true },
	{ "b.c.S3.Test:8777", "/", 0, "b.c", "", true },
	{ "B.s3.test", "/K", 0, "b", "K", true },
	{ "[::1]:8777", "/b/k", 0, "b", "k", false },
	{ "[fe80::1]", "/b/k", 0, "b", "k", false },
	{ "s3.test", "/b/k", 0, "b", "k", false },
	{ ".s3.test", "/b/k", 0, "b", "k", false },
	{ "xs3.test", "/b/k", 0, "b", "k", false },
	{ "b.other", "/k", 0, "b", "k", true },
	{ "h", "//k", ERR_BUCKET_NAME, NULL, NULL, false },
	{ "h", "/b/%zz", ERR_INVALID_URI, NULL, NULL, false },
	{ "h", "/b/%00", ERR_INVALID_URI, NULL, NULL, false },
	{ "h", "/b/%ff", ERR_INVALID_URI, NULL, NULL, false },
	{ "h", "/b%", ERR_INVALID_URI, NULL, NULL, false },
};

static void
test_targets(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct http_head head = { .path = str_of(targets[i].path),
			.host = str_of(targets[i].host) };
		struct target t;
		struct err e = { 0 };
		int r = target_parse(&head, "s3.test other", arena, NULL, &t, &e);

		if (r != targets[i].code)
			fail_msg("%s: %s", targets[i].path, fault_name(r));
		if (r < 0)
			continue;
		if (!strings_equal(t.bucket, targets[i].bucket) || !str_is(t.key, targets[i].key) ||
		    t.is_virtual_host != targets[i].is_virtual_host)
			fail_msg(
			    "%s%s: %s %s", targets[i].host, targets[i].path, t.bucket, t.key.p);
		assert_int_equal(t.level, t.key.n    ? TARGET_OBJECT
					  : t.bucket ? TARGET_BUCKET
						     : TARGET_SERVICE);
	}
}

static void
test_length_of_keys(void **state)
{
	for (size_t n = S3_KEY_MAX; n <= S3_KEY_MAX + 1; n++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
		struct http_head head = { 0 };
		struct target t;
		struct err e = { 0 };

		strbuf_adds(&path, "/b/");
		while (path.n < n + 3)
			strbuf_addc(&path, 'k');
		head.path = strbuf_str(&path);
		assert_int_equal(target_parse(&head, "", arena, NULL, &t, &e),
		    n == S3_KEY_MAX ? 0 : ERR_KEY_TOO_LONG);
	}
}

static const struct {
	const char *name;
	bool ok;
} names[] = {
	{ "abc", true },
	{ "a-b.c1", true },
	{ "123", true },
	{ "1.2.3", true },
	{ "1.2.3.4", false },
	{ "ab", false },
	{ "", false },
	{ "Abc", false },
	{ "a_c", false },
	{ "-ab", false },
	{ "ab-", false },
	{ "a..b", false },
	{ "a.-b", false },
	{ "a-.b", false },
	{ ".ab", false },
	{ "xn--ab", false },
	{ "sthree-ab", false },
	{ "amzn-s3-demo-bucket", false },
	{ "ab-s3alias", false },
	{ "ab--ol-s3", false },
	{ "ab.mrap", false },
	{ "ab--x-s3", false },
	{ "ab--table-s3", false },
	{ "s3alias", true },
	{ "a b", false },
	{ "012345678901234567890123456789012345678901234567890123456789abc", true },
	{ "012345678901234567890123456789012345678901234567890123456789abcd", false },
};

static void
test_names_of_buckets(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (bucket_name_is_valid(names[i].name) != names[i].ok)
			fail_msg("'%s'", names[i].name);
}

static const struct {
	const char *prefix, *successor; /* NULL: none */
} successors[] = {
	{ "a", "b" },
	{ "a/", "a0" },
	{ "a\xff", "b" },
	{ "a\xff\xff", "b" },
	{ "a\xfe\xff", "a\xff" },
	{ "\xff\xff", NULL },
	{ "", NULL },
};

static void
test_successors(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(successors); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct str s = list_successor(str_of(successors[i].prefix), arena);

		if (!successors[i].successor)
			assert_null(s.p);
		else
			assert_true(str_is(s, successors[i].successor));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_length_of_keys),
		cmocka_unit_test(test_names_of_buckets),
		cmocka_unit_test(test_successors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
