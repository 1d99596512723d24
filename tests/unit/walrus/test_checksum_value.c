/* CRCs of parts combine to that of the whole however it was cut; values survive being stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "checksum_value.h"

static const enum checksum_algorithm crcs[] = { CHECKSUM_CRC32, CHECKSUM_CRC32C,
	CHECKSUM_CRC64NVME };

static void
sum(enum checksum_algorithm a, struct str bytes, struct checksum_value *ret)
{
	struct checksum c;

	checksum_begin(&c, a);
	checksum_add(&c, bytes);
	checksum_value_end(&c, ret);
}

static void
test_parts_are_the_whole(void **state)
{
	static const size_t cuts[][4] = { { 0, 0, 0, 5000 }, { 1, 2, 3, 5000 },
		{ 4096, 4096, 4999, 5000 }, { 1000, 2000, 3000, 5000 },
		{ 5000, 5000, 5000, 5000 } };
	char bytes[5000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * i + 7 * i);
	for (size_t a = 0; a < ARRAY_SIZE(crcs); a++)
		for (size_t k = 0; k < ARRAY_SIZE(cuts); k++) {
			struct checksum_value whole, part, made;
			struct checksum_sum s;
			size_t at = 0;

			sum(crcs[a], (struct str){ bytes, sizeof(bytes) }, &whole);
			checksum_sum_begin(&s, crcs[a], CHECKSUM_FULL_OBJECT);
			for (size_t i = 0; i < 4; i++) {
				sum(crcs[a], (struct str){ bytes + at, cuts[k][i] - at }, &part);
				checksum_sum_add(&s, &part, cuts[k][i] - at);
				at = cuts[k][i];
			}
			checksum_sum_end(&s, &made);
			assert_true(checksum_is_same(&whole, &made));
		}
}

/* 10,000 parts of 5 GiB and more, without having them: appending zeros in one step or in two. */
static void
test_sizes_beyond_memory(void **state)
{
	const uint64_t big = (UINT64_C(5) << 40) - 12345;

	for (size_t a = 0; a < ARRAY_SIZE(crcs); a++) {
		uint64_t crc = 0x12345678, one, two;

		one = checksum_combine(crcs[a], crc, 0, big + (UINT64_C(5) << 30));
		two = checksum_combine(
		    crcs[a], checksum_combine(crcs[a], crc, 0, UINT64_C(5) << 30), 0, big);
		assert_int_equal(one, two);
		assert_int_not_equal(one, crc);
		assert_int_equal(checksum_combine(crcs[a], crc, 7, 0), crc ^ 7);
	}
}

static void
test_hash_of_hashes(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct checksum_value part, made;
	struct checksum_sum s;

	checksum_sum_begin(&s, CHECKSUM_SHA256, CHECKSUM_COMPOSITE);
	sum(CHECKSUM_SHA256, STR("abc"), &part);
	checksum_sum_add(&s, &part, 3);
	checksum_sum_add(&s, &part, 3);
	checksum_sum_end(&s, &made);
	/* printf abc | sha256sum twice, their bytes hashed */
	assert_string_equal(
	    checksum_value_text(&made, arena), "O3ccqX48F2mK/yEif6BGtWIqMNjuXS3k7hERoc3yWO4=-2");
}

static void
test_stored_and_read(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	static const char *const texts[] = { "CRC32 FULL_OBJECT AAAAAA==", "CRC32 COMPOSITE",
		"SHA1 COMPOSITE qZk+NkcGgWq6PiVxeFDCbJzQ2J0=-17",
		"CRC64NVME FULL_OBJECT AAAAAAAAAAE=" };
	struct checksum_value v;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		checksum_value_parse(texts[i], &v);
		assert_string_equal(checksum_value_format(&v, arena), texts[i]);
	}
	checksum_value_parse(NULL, &v);
	assert_int_equal(v.algorithm, CHECKSUM_MAX);
	assert_null(checksum_value_format(&v, arena));
	assert_false(checksum_value_read(CHECKSUM_CRC32, STR("AAAA"), &v));
	assert_false(checksum_value_read(CHECKSUM_CRC32, STR("AAAAAA==-x"), &v));
	assert_false(checksum_value_read(CHECKSUM_CRC32, STR("!"), &v));
	assert_true(checksum_value_read(CHECKSUM_CRC32, STR("AAAAAA==-2"), &v));
	assert_int_equal(v.part_count, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parts_are_the_whole),
		cmocka_unit_test(test_sizes_beyond_memory), cmocka_unit_test(test_hash_of_hashes),
		cmocka_unit_test(test_stored_and_read) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
