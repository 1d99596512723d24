/* Pages: every item once, in order, whatever the size; tokens that are not ours are refused. */
#include "fixture.h"

#include "page.h"

static void
test_every_item_once(void **state)
{
	for (size_t total = 0; total <= 12; total++)
		for (size_t size = 0; size <= 13; size++) {
			_cleanup_arena_ struct arena *arena = arena_new(0);
			const char *token = NULL;
			size_t seen = 0;

			do {
				struct page p;
				struct err e = { 0 };

				assert_int_equal(page_begin(&p, token, size, false, "x", &e), 0);
				page_cut(&p, total);
				assert_int_equal(p.first, seen);
				assert_true(!size || p.count <= size);
				seen += p.count;
				token = page_token(&p, arena);
			} while (token);
			assert_int_equal(seen, total);
		}
}

static void
test_tokens(void **state)
{
	/* "page:", "page:x", "page:-1", "page:99999999999999999999", "page:18446744073709551615",
	 * "x:1", "page:1 " */
	static const char *const bad[] = { "", "x", "*", "cGFnZTo=", "cGFnZTp4",
		"cGFnZTotMQ==", "cGFnZTo5OTk5OTk5OTk5OTk5OTk5OTk5OQ==",
		"cGFnZToxODQ0Njc0NDA3MzcwOTU1MTYxNQ==", "eDox", "cGFnZToxIA==" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct page p;
		struct err e = { 0 };

		if (page_begin(&p, bad[i], 5, false, "x", &e) != ERR_INVALID_NEXT_TOKEN)
			fail_msg("'%s' is taken", bad[i]);
	}
}

/* What was deleted meanwhile leaves an empty last page, not an error. */
static void
test_past_the_end(void **state)
{
	struct page p;
	struct err e = { 0 };

	assert_int_equal(page_begin(&p, "cGFnZTo1MA==", 5, false, "x", &e), 0);
	page_cut(&p, 10);
	assert_int_equal(p.first, 10);
	assert_int_equal(p.count, 0);
	assert_false(p.has_more);
}

static void
test_conflict(void **state)
{
	struct page p;
	struct err e = { 0 };

	assert_int_equal(
	    page_begin(&p, NULL, 5, true, "instancesSet", &e), ERR_INVALID_PARAMETER_COMBINATION);
	assert_string_equal(
	    e.text, "The parameter instancesSet cannot be used with the parameter maxResults");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_item_once),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_past_the_end),
		cmocka_unit_test(test_conflict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
