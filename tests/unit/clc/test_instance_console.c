/* Passwords on consoles: what an agent wrote last, if it is whole. */
#include "fixture.h"

#include "instance_console.h"

static const struct {
	const char *console, *password;
} cases[] = {
	{ "", "" },
	{ "booting\nlogin: ", "" },
	{ "<Password>aGVsbG8=</Password>", "aGVsbG8=" },
	{ "x\n<Username>Administrator</Username>\r\n<Password>\r\naGVs\r\nbG8=\r\n</Password>\r\n",
	    "aGVsbG8=" },
	/* the last one counts */
	{ "<Password>aGVsbG8=</Password> <Password>d29ybGQ=</Password>", "d29ybGQ=" },
	/* cut, by the guest or by the end of what is kept */
	{ "<Password>aGVsbG8=</Password> <Password>d29y", "aGVsbG8=" },
	{ "GVsbG8=</Password>", "" },
	/* what is no password */
	{ "<Password></Password>", "" },
	{ "<Password> \n </Password>", "" },
	{ "<Password>not base64!</Password>", "" },
	{ "<Password>aGVsbG8=</Password><Password>***</Password>", "aGVsbG8=" },
	{ "<password>aGVsbG8=</password>", "" },
	{ "<Password><Password>aGVsbG8=</Password>", "aGVsbG8=" },
};

static void
test_passwords(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);

	for (size_t n = 0; n < ARRAY_SIZE(cases); n++)
		assert_string_equal(
		    clc_console_password(str_of(cases[n].console), arena), cases[n].password);
}

static void
test_a_password_too_long(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);

	for (size_t n = 4096; n <= 4100; n += 4) {
		_cleanup_free_ char *text = xcalloc(1, n + 1), *console = NULL;

		memset(text, 'A', n);
		console = xasprintf("<Password>%s</Password>", text);
		assert_string_equal(
		    clc_console_password(str_of(console), arena), n == 4096 ? text : "");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passwords),
		cmocka_unit_test(test_a_password_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
