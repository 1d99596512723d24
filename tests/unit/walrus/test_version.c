/* Ids of versions: what they look like, and the place that they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "version.h"

static void
test_an_id_holds_its_position(void **state)
{
	static const int64_t positions[] = { 0, 1, 0x123456789abcdef, INT64_MAX - 1, INT64_MAX };
	char before[VERSION_ID_SIZE] = "", id[VERSION_ID_SIZE], again[VERSION_ID_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(positions); i++) {
		int64_t position = -1;

		version_id_new(positions[i], id);
		version_id_new(positions[i], again);
		assert_int_equal(strlen(id), VERSION_ID_SIZE - 1);
		assert_string_not_equal(id, again);
		assert_true(version_id_is_valid(str_of(id)));
		assert_true(version_id_position(id, &position));
		assert_true(position == positions[i]);
		assert_true(strcmp(before, id) < 0); /* in the order of positions */
		memcpy(before, id, sizeof(id));
	}
}

static const struct {
	const char *id;
	bool is_valid, has_position;
} ids[] = {
	{ "null", true, false },
	{ "00000000000000000000000000000000", true, true },
	{ "7fffffffffffffffffffffffffffffff", true, true },
	{ "8000000000000000ffffffffffffffff", true, false },
	{ "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", true, false },
	{ "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrH", false, false },
	{ "3sL4kqtJlcpXroDTDmJ.rmSpXd3-IbrH", true, false },
	{ "0000000000000000000000000000000", false, false },
	{ "000000000000000000000000000000000", false, false },
	{ "0000000000000000000000000000000 ", false, false },
	{ "", false, false },
	{ "Null", false, false },
	{ "null ", false, false },
};

static void
test_ids(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		int64_t position = -1;

		assert_int_equal(version_id_is_valid(str_of(ids[i].id)), ids[i].is_valid);
		assert_int_equal(version_id_position(ids[i].id, &position), ids[i].has_position);
		assert_int_equal(position >= 0, ids[i].has_position);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_id_holds_its_position),
		cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
