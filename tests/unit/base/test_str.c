/* Spans, strict numbers, globs, UTF-8. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/str.h"
#include "base/vec.h"

static void
compares_and_cuts(void **state)
{
	struct str rest = STR("a,,b"), part;

	assert_true(str_is(STR("abc"), "abc"));
	assert_false(str_is(STR("abc"), "abcd"));
	assert_true(str_is_nocase(STR("ConTent-Length"), "content-LENGTH"));
	assert_false(str_is_nocase(STR("abc"), "ab"));
	assert_false(str_is_nocase(STR("[\xc3\x84"), "{\xc3\xa4")); /* ASCII only */
	assert_true(str_starts(STR("abc"), ""));
	assert_false(str_starts(STR("ab"), "abc"));
	assert_true(str_is(str_trim(STR(" \t a b\t ")), "a b"));
	assert_true(str_is(str_trim(STR(" \t ")), ""));
	assert_true(str_split(&rest, ',', &part) && str_is(part, "a"));
	assert_true(str_split(&rest, ',', &part) && str_is(part, ""));
	assert_true(str_split(&rest, ',', &part) && str_is(part, "b"));
	assert_false(str_split(&rest, ',', &part));
	rest = STR("");
	assert_true(str_split(&rest, ',', &part) && part.n == 0);
	assert_false(str_split(&rest, ',', &part));
	assert_true(strings_equal(NULL, NULL));
	assert_false(strings_equal(NULL, ""));
	assert_true(strings_equal("a", "a"));
}

enum { U16 = 1, U32 = 2, U64 = 4, I64 = 8 };

static void
numbers_are_whole_decimal_and_in_range(void **state)
{
	static const struct {
		const char *in;
		int types; /* that accept it */
	} cases[] = {
		{ "0", U16 | U32 | U64 | I64 },
		{ "007", U16 | U32 | U64 | I64 },
		{ "65535", U16 | U32 | U64 | I64 },
		{ "65536", U32 | U64 | I64 },
		{ "4294967295", U32 | U64 | I64 },
		{ "4294967296", U64 | I64 },
		{ "9223372036854775807", U64 | I64 },
		{ "9223372036854775808", U64 },
		{ "18446744073709551615", U64 },
		{ "18446744073709551616", 0 },
		{ "99999999999999999999999", 0 },
		{ "-1", I64 },
		{ "-9223372036854775808", I64 },
		{ "-9223372036854775809", 0 },
		{ "--1", 0 },
		{ "-", 0 },
		{ "", 0 },
		{ "+1", 0 },
		{ " 1", 0 },
		{ "1 ", 0 },
		{ "0x1", 0 },
		{ "1e3", 0 },
		{ "1.0", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str s = str_of(cases[i].in);
		uint16_t u16 = 11;
		uint32_t u32 = 22;
		uint64_t u64 = 33;
		int64_t i64 = 44;
		int accepted = str_to_u16(s, &u16) * U16 + str_to_u32(s, &u32) * U32 +
			       str_to_u64(s, &u64) * U64 + str_to_i64(s, &i64) * I64;

		if (accepted != cases[i].types)
			fail_msg("'%s': %d", cases[i].in, accepted);
		assert_true(accepted & U16 || u16 == 11); /* a failure leaves the result alone */
		assert_true(accepted & U32 || u32 == 22);
		assert_true(accepted & U64 || u64 == 33);
		assert_true(accepted & I64 || i64 == 44);
	}
	int64_t i64;
	uint64_t u64;
	char room[STR_U64_ROOM];
	assert_true(str_to_i64(STR("-9223372036854775808"), &i64) && i64 == INT64_MIN);
	assert_true(str_to_u64(STR("18446744073709551615"), &u64) && u64 == UINT64_MAX);
	assert_true(str_is(str_of_u64(u64, room), "18446744073709551615"));
	assert_true(str_is(str_of_u64(0, room), "0") && str_is(str_of_u64(404, room), "404"));
}

static void
booleans(void **state)
{
	bool b = false;

	assert_true(str_to_bool(STR("TRUE"), &b) && b);
	assert_true(str_to_bool(STR("off"), &b) && !b);
	assert_true(str_to_bool(STR("1"), &b) && b);
	assert_false(str_to_bool(STR("2"), &b));
	assert_false(str_to_bool(STR(""), &b));
	assert_true(b);
}

static void
globs(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} cases[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "*", "", true },
		{ "*", "anything", true },
		{ "?", "", false },
		{ "?", "a", true },
		{ "a*c", "ac", true },
		{ "a*c", "abcbc", true },
		{ "a*c", "abcb", false },
		{ "*a*b*", "xxaxxbxx", true },
		{ "*a*b*", "xxbxxaxx", false },
		{ "**a", "ba", true },
		{ "\\*", "*", true },
		{ "\\*", "a", false },
		{ "\\?x", "?x", true },
		{ "\\\\", "\\", true },
		{ "a\\", "a\\", true }, /* a lone backslash at the end is itself */
		{ "i-*", "i-0123", true },
		{ "[a]", "a", false },
		{ "[a]", "[a]", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (glob_match(cases[i].pattern, cases[i].text) != cases[i].matches)
			fail_msg("'%s' '%s'", cases[i].pattern, cases[i].text);
	}
}

static void
a_hostile_glob_costs_little(void **state)
{
	enum { STARS = 200, LENGTH = 2000 };
	char pattern[STARS * 2 + 2], text[LENGTH + 1];

	for (int i = 0; i < STARS; i++)
		memcpy(pattern + i * 2, "*a", 2);
	memcpy(pattern + STARS * 2, "b", 2);
	memset(text, 'a', LENGTH);
	text[LENGTH] = '\0';
	assert_false(glob_match(pattern, text)); /* exponential matchers never get here */
}

static void
utf8(void **state)
{
	static const struct {
		const char *in;
		bool ok;
	} cases[] = {
		{ "", true },
		{ "abc\x7f", true },
		{ "\xc2\x80", true },
		{ "\xc3\xbc", true },
		{ "\xe2\x82\xac", true },
		{ "\xf0\x9f\x98\x80", true },
		{ "\xf4\x8f\xbf\xbf", true },
		{ "\xf4\x90\x80\x80", false }, /* past U+10FFFF */
		{ "\xed\xa0\x80", false },     /* a surrogate */
		{ "\xed\x9f\xbf", true },
		{ "\xc0\x80", false }, /* overlong */
		{ "\xc1\xbf", false },
		{ "\xe0\x9f\xbf", false },
		{ "\xe0\xa0\x80", true },
		{ "\xf0\x8f\xbf\xbf", false },
		{ "\x80", false },
		{ "\xc3", false },
		{ "\xe2\x82", false },
		{ "\xf0\x9f\x98", false },
		{ "\xff", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (is_utf8(str_of(cases[i].in)) != cases[i].ok)
			fail_msg("case %zu", i);
	}
	assert_true(is_utf8(STR("a\0b")));
}

static void
vectors_grow(void **state)
{
	VEC(int) v = { 0 };
	int expected = 0;

	for (int i = 0; i < 1000; i++)
		vec_add(&v, i);
	VEC_FOREACH (&v, p)
		assert_int_equal(*p, expected++);
	assert_int_equal(expected, 1000);
	vec_done(&v);
	VEC_FOREACH (&v, p)
		fail();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compares_and_cuts),
		cmocka_unit_test(numbers_are_whole_decimal_and_in_range),
		cmocka_unit_test(booleans),
		cmocka_unit_test(globs),
		cmocka_unit_test(a_hostile_glob_costs_little),
		cmocka_unit_test(utf8),
		cmocka_unit_test(vectors_grow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
