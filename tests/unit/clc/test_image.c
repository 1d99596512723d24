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

/* What base/qcow2.c says of the header decides; here, that it is asked, and of which images. */
static int
check(const char *format, const char *magic, uint8_t features, int64_t *io_disk_bytes)
{
	struct clc_image image = { .format = format, .location = "b/k" };
	char head[512] = { 0 };
	struct err e = { 0 };

	memcpy(head, magic, 4);
	head[7] = 3;   /* version */
	head[23] = 16; /* bits of a cluster */
	head[29] = 16; /* 1 MiB */
	head[79] = (char)features;
	head[103] = 104; /* length */
	return clc_image_check_format(
	    &image, (struct str){ head, sizeof(head) }, io_disk_bytes, &e);
}

static void
test_formats(void **state)
{
	int64_t disk_bytes = 5;

	assert_int_equal(check("raw", "\xeb\x63\x90\x10", 0, &disk_bytes), 0);
	assert_int_equal(disk_bytes, 5);
	assert_int_equal(check("raw", "QFI\xfb", 0, &disk_bytes), ERR_INVALID_MANIFEST);
	assert_int_equal(check("qcow2", "\xeb\x63\x90\x10", 0, &disk_bytes), ERR_INVALID_MANIFEST);
	assert_int_equal(check("qcow2", "QFI\xfb", 4, &disk_bytes), ERR_INVALID_MANIFEST);
	/* Extended L2 entries: no node takes them. */
	assert_int_equal(check("qcow2", "QFI\xfb", 16, &disk_bytes), ERR_INVALID_MANIFEST);
	assert_int_equal(disk_bytes, 5);
	assert_int_equal(check("qcow2", "QFI\xfb", 0, &disk_bytes), 0);
	assert_int_equal(disk_bytes, 1 << 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locations),
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
