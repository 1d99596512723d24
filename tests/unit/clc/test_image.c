/* Where an image is, and what its first bytes may say. */
#include "fixture.h"

#include "image.h"

static const struct {
	const char *in, *bucket, *key, *format; /* bucket NULL: refused */
} locations[] = {
	{ "bucket/key", "bucket", "key", "raw" },
	{ "/bucket/key", "bucket", "key", "raw" },
	{ "s3://bucket/key", "bucket", "key", "raw" },
	{ "bucket/a/b/disk.qcow2", "bucket", "a/b/disk.qcow2", "qcow2" },
	{ "bucket/disk.qcow2.old", "bucket", "disk.qcow2.old", "raw" },
	{ "bucket/.qcow2", "bucket", ".qcow2", "raw" },
	{ "bucket/x.qcow2", "bucket", "x.qcow2", "qcow2" },
	{ "bucket/QCOW2", "bucket", "QCOW2", "raw" },
	{ "bucket//key", "bucket", "/key", "raw" },
	{ "bucket/../other", "bucket", "../other", "raw" },
	{ "", NULL, NULL, NULL },
	{ "/", NULL, NULL, NULL },
	{ "bucket", NULL, NULL, NULL },
	{ "bucket/", NULL, NULL, NULL },
	{ "/key", NULL, NULL, NULL },
	{ "//key", NULL, NULL, NULL },
	{ "s3://", NULL, NULL, NULL },
	{ "s3://bucket", NULL, NULL, NULL },
	{ "s3:///key", NULL, NULL, NULL },
};

static void
test_locations(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(locations); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct clc_image image = { 0 };
		struct err e = { 0 };
		int r = clc_image_split_location(locations[i].in, arena, &image, &e);

		if (!locations[i].bucket) {
			assert_int_equal(r, ERR_INVALID_PARAMETER_VALUE);
			continue;
		}
		if (r < 0)
			fail_msg("'%s': %s", locations[i].in, e.text);
		assert_string_equal(image.bucket, locations[i].bucket);
		assert_string_equal(image.object_key, locations[i].key);
		assert_string_equal(image.format, locations[i].format);
	}
}

/* A path cannot lead to another object: whatever is in a key stays in its place. */
static void
test_url(void **state)
{
	struct clc_image image = { .bucket = "b", .object_key = "a b/../c?d#e%" };
	_cleanup_strbuf_ struct strbuf url = STRBUF_INIT;

	clc_image_url(&image, "http://walrus:8777//", &url);
	assert_string_equal(strbuf_c(&url), "http://walrus:8777/b/a%20b/../c%3Fd%23e%25");
}

struct header {
	uint32_t version;
	uint64_t backing, features, disk; /* disk 0: 1 GiB */
	size_t size;
	const char *magic;
};

static int
check(struct header h)
{
	char bytes[512] = { 0 };
	struct err e = { 0 };
	int64_t disk = 0;

	memcpy(bytes, h.magic ? h.magic : "QFI\xfb", 4);
	for (unsigned i = 0; i < 8; i++) {
		bytes[8 + i] = (char)(h.backing >> (56 - 8 * i));
		bytes[24 + i] = (char)((h.disk ? h.disk : 1 << 30) >> (56 - 8 * i));
		bytes[72 + i] = (char)(h.features >> (56 - 8 * i));
	}
	bytes[7] = (char)h.version;
	return clc_image_check_qcow2(
	    (struct str){ bytes, h.size ? h.size : 512 }, "b/k", &disk, &e);
}

static void
test_qcow2(void **state)
{
	assert_int_equal(check((struct header){ .version = 3 }), 0);
	assert_int_equal(check((struct header){ .version = 2 }), 0);
	assert_int_equal(check((struct header){ .version = 3, .features = 1 | 8 | 16 }), 0);
	assert_int_equal(
	    check((struct header){ .version = 3, .backing = 512 }), ERR_INVALID_MANIFEST);
	assert_int_equal(
	    check((struct header){ .version = 2, .backing = 1ULL << 63 }), ERR_INVALID_MANIFEST);
	assert_int_equal(
	    check((struct header){ .version = 3, .features = 4 }), ERR_INVALID_MANIFEST);
	assert_int_equal(check((struct header){ .version = 1 }), ERR_INVALID_MANIFEST);
	assert_int_equal(check((struct header){ .version = 4 }), ERR_INVALID_MANIFEST);
	assert_int_equal(
	    check((struct header){ .version = 3, .magic = "KDMV" }), ERR_INVALID_MANIFEST);
	assert_int_equal(check((struct header){ .version = 3, .size = 103 }), ERR_INVALID_MANIFEST);
	assert_int_equal(check((struct header){ .version = 3, .size = 104 }), 0);
	assert_int_equal(check((struct header){ .version = 3, .size = 1 }), ERR_INVALID_MANIFEST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locations),
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_qcow2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
