/* Time as text, against the C library's calendar, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>
#include "base/clock.h"

#define US INT64_C(1000000)

static void
formats_known_instants(void **state)
{
	static const struct {
		int64_t us;
		const char *iso, *basic, *http;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z", "19700101T000000Z",
		    "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ 784111777 * US + 123999, "1994-11-06T08:49:37.123Z", "19941106T084937Z",
		    "Sun, 06 Nov 1994 08:49:37 GMT" },
		{ -1, "1969-12-31T23:59:59.999Z", "19691231T235959Z",
		    "Wed, 31 Dec 1969 23:59:59 GMT" },
		{ 951782400 * US, "2000-02-29T00:00:00.000Z", "20000229T000000Z",
		    "Tue, 29 Feb 2000 00:00:00 GMT" },
		{ 253402300799 * US, "9999-12-31T23:59:59.000Z", "99991231T235959Z",
		    "Fri, 31 Dec 9999 23:59:59 GMT" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[TIME_TEXT_SIZE];

		time_format_iso(cases[i].us, text);
		assert_string_equal(text, cases[i].iso);
		time_format_basic(cases[i].us, text);
		assert_string_equal(text, cases[i].basic);
		time_format_http(cases[i].us, text);
		assert_string_equal(text, cases[i].http);
	}
}

static void
every_week_agrees_with_the_c_library(void **state)
{
	for (int64_t s = -2000000000; s < 8000000000; s += 7 * 86400 + 3607) {
		char ours[TIME_TEXT_SIZE], theirs[TIME_TEXT_SIZE];
		time_t t = (time_t)s;
		struct tm tm;
		int64_t back = 0;

		time_format_http(s * US, ours);
		assert_non_null(gmtime_r(&t, &tm));
		assert_true(strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
		assert_string_equal(ours, theirs);
		assert_true(time_parse_http(str_of(ours), &back) && back == s * US);
		time_format_iso(s * US, ours);
		assert_true(time_parse_iso(str_of(ours), &back) && back == s * US);
		time_format_basic(s * US, ours);
		assert_true(time_parse_basic(str_of(ours), &back) && back == s * US);
	}
}

static void
parses_iso(void **state)
{
	static const struct {
		const char *in;
		bool ok;
		int64_t us;
	} cases[] = {
		{ "1994-11-06T08:49:37Z", true, 784111777 * US },
		{ "1994-11-06T08:49:37", true, 784111777 * US },
		{ "1994-11-06T08:49:37.5Z", true, 784111777 * US + 500000 },
		{ "1994-11-06T08:49:37.123456789Z", true, 784111777 * US + 123456 },
		{ "1994-11-06T10:49:37+02:00", true, 784111777 * US },
		{ "1994-11-06T03:19:37-0530", true, 784111777 * US },
		{ "2000-02-29T00:00:00Z", true, 951782400 * US },
		{ "1900-02-29T00:00:00Z", false, 0 },
		{ "2001-02-29T00:00:00Z", false, 0 },
		{ "2001-13-01T00:00:00Z", false, 0 },
		{ "2001-00-01T00:00:00Z", false, 0 },
		{ "2001-04-31T00:00:00Z", false, 0 },
		{ "2001-04-00T00:00:00Z", false, 0 },
		{ "2001-04-01T24:00:00Z", false, 0 },
		{ "2001-04-01T00:60:00Z", false, 0 },
		{ "2001-04-01T00:00:61Z", false, 0 },
		{ "2001-04-01T00:00:00.Z", false, 0 },
		{ "2001-04-01T00:00:00.1234567890Z", false, 0 },
		{ "2001-04-01T00:00:00z", false, 0 },
		{ "2001-04-01T00:00:00Zx", false, 0 },
		{ "2001-04-01T00:00:00+24:00", false, 0 },
		{ "2001-04-01 00:00:00Z", false, 0 },
		{ "01-04-01T00:00:00Z", false, 0 },
		{ "2001-4-1T00:00:00Z", false, 0 },
		{ "2001-04-01", false, 0 },
		{ "-001-04-01T00:00:00Z", false, 0 },
		{ "", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t us = 0;

		if (time_parse_iso(str_of(cases[i].in), &us) != cases[i].ok || us != cases[i].us)
			fail_msg("'%s'", cases[i].in);
	}
}

static void
parses_the_three_forms_of_http(void **state)
{
	static const struct {
		const char *in;
		bool ok;
	} cases[] = {
		{ "Sun, 06 Nov 1994 08:49:37 GMT", true },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", true },
		{ "Sun Nov  6 08:49:37 1994", true },
		{ "Sun, 6 Nov 1994 08:49:37 GMT", false },
		{ "Sun, 06 Nov 1994 08:49:37 UTC", false },
		{ "Sun, 06 Nov 1994 08:49:37", false },
		{ "Sun, 06 nov 1994 08:49:37 GMT", false },
		{ "Sun, 31 Nov 1994 08:49:37 GMT", false },
		{ "Sun, 06 Nov 1994 08:49:37 GMT ", false },
		{ "Xxx, 06 Nov 1994 08:49:37 GMT", false },
		{ "784111777", false },
		{ "", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t us = 0;

		if (time_parse_http(str_of(cases[i].in), &us) != cases[i].ok ||
		    us != (cases[i].ok ? 784111777 * US : 0))
			fail_msg("'%s'", cases[i].in);
	}
}

static void
parses_basic(void **state)
{
	static const char *const wrong[] = { "20150830T123600", "20150830123600Z",
		"20150830T123600z", "20150830T1236000Z", "20150230T123600Z", "2015-08-30T123600Z",
		"" };
	int64_t us = 0;

	assert_true(time_parse_basic(STR("20150830T123600Z"), &us));
	assert_true(us == 1440938160 * US);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(time_parse_basic(str_of(wrong[i]), &us));
	assert_true(us == 1440938160 * US);
}

static void
clocks_run(void **state)
{
	uint64_t us = clock_monotonic_us(), ms = clock_monotonic_ms();

	assert_true(ms - us / 1000 <= 1000);
	assert_true(clock_now_us() / US - (int64_t)time(NULL) <= 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_known_instants),
		cmocka_unit_test(every_week_agrees_with_the_c_library),
		cmocka_unit_test(parses_iso),
		cmocka_unit_test(parses_the_three_forms_of_http),
		cmocka_unit_test(parses_basic),
		cmocka_unit_test(clocks_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
