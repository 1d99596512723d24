/* What is named is shown and must be there. */
#include "fixture.h"

#include "named.h"

static void
test_named(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	static const char *const items[] = { "a", "b", "a", "c" };
	struct named n;

	named_init(&n, items, 4, arena);
	assert_string_equal(named_missing(&n), "a");
	assert_true(named_sees(&n, "a")); /* one named twice is one */
	assert_true(named_sees(&n, "c"));
	assert_false(named_sees(&n, "x"));
	assert_string_equal(named_missing(&n), "b");
	assert_true(named_sees(&n, "b"));
	assert_null(named_missing(&n));
	/* again, as a closure that runs again */
	named_init(&n, items, 4, arena);
	assert_non_null(named_missing(&n));
	/* nothing named: all */
	named_init(&n, NULL, 0, arena);
	assert_true(named_sees(&n, "x"));
	assert_null(named_missing(&n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
