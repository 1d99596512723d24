/* Growing text: contents, the limit at its edge, what stays after an overflow. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/strbuf.h"

static void
grows_and_stays_terminated(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	assert_string_equal(strbuf_c(&b), "");
	for (int i = 0; i < 1000; i++)
		strbuf_addf(&b, "%d,", i % 10);
	assert_int_equal(b.n, 2000);
	assert_int_equal(strlen(b.p), 2000);
	strbuf_add(&b, "a\0b", 3);
	assert_int_equal(b.n, 2003);
	assert_int_equal(b.p[2003], '\0');
	strbuf_reset(&b);
	assert_string_equal(strbuf_c(&b), "");
}

static void
limit_is_exact_and_sticky(void **state)
{
	_cleanup_strbuf_ struct strbuf b = { .limit = 5 };

	strbuf_adds(&b, "12345");
	assert_false(b.overflowed);
	strbuf_addc(&b, '6');
	assert_true(b.overflowed);
	strbuf_remove_front(&b, 4);
	strbuf_addc(&b, '7');
	assert_string_equal(strbuf_c(&b), "5");
	strbuf_reset(&b);
	strbuf_addf(&b, "%s", "123456");
	assert_true(b.overflowed);
	assert_string_equal(strbuf_c(&b), "");
}

static void
removes_from_the_front_and_gives_away(void **state)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_free_ char *taken = NULL, *empty = NULL;

	strbuf_adds(&b, "hello world");
	strbuf_remove_front(&b, 6);
	assert_string_equal(strbuf_c(&b), "world");
	taken = strbuf_take(&b);
	assert_string_equal(taken, "world");
	assert_int_equal(b.n, 0);
	empty = strbuf_take(&b);
	assert_string_equal(empty, "");
	strbuf_reserve(&b, 100);
	assert_true(b.size > 100);
	assert_string_equal(b.p, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_and_stays_terminated),
		cmocka_unit_test(limit_is_exact_and_sticky),
		cmocka_unit_test(removes_from_the_front_and_gives_away),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
