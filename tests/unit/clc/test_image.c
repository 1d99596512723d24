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
	uint32_t backing_size, cluster_bits, crypt, snapshots,
	    length; /* 0 of bits and length: as usual */
	uint64_t autoclear;
	size_t size;
	const char *magic;
};

static void
put_be(char *to, uint64_t value, unsigned n)
{
	while (n--) {
		to[n] = (char)value;
		value >>= 8;
	}
}

static int
check(struct header h)
{
	char bytes[512] = { 0 };
	struct err e = { 0 };
	int64_t disk = 0;
	int r;

	memcpy(bytes, h.magic ? h.magic : "QFI\xfb", 4);
	put_be(bytes + 4, h.version, 4);
	put_be(bytes + 8, h.backing, 8);
	put_be(bytes + 16, h.backing_size, 4);
	put_be(bytes + 20, h.cluster_bits ? h.cluster_bits : 16, 4);
	put_be(bytes + 24, h.disk ? h.disk : 1 << 30, 8);
	put_be(bytes + 32, h.crypt, 4);
	put_be(bytes + 60, h.snapshots, 4);
	put_be(bytes + 72, h.features, 8);
	put_be(bytes + 88, h.autoclear, 8);
	put_be(bytes + 100, h.length ? h.length : 104, 4);
	r = clc_image_check_qcow2((struct str){ bytes, h.size ? h.size : 512 }, "b/k", &disk, &e);
	if (r == 0)
		assert_int_equal(disk, h.disk ? (int64_t)h.disk : 1 << 30);
	return r;
}

static const struct header good_headers[] = {
	{ .version = 3 }, { .version = 2 }, { .version = 3, .features = 1 | 8 | 16 },
	{ .version = 3, .length = 112 }, { .version = 3, .size = 104 },
	{ .version = 3, .disk = 1ULL << 44 }, { .version = 3, .cluster_bits = 9 },
	{ .version = 3, .cluster_bits = 21 },
	{ .version = 2, .features = 4, .autoclear = 2, .length = 1 }, /* not of that version */
};
static const struct header bad_headers[] = {
	{ .version = 3, .backing = 512 },
	{ .version = 2, .backing = 1ULL << 63 },
	{ .version = 3, .backing_size = 1 },
	{ .version = 3, .features = 2 }, /* damaged */
	{ .version = 3, .features = 4 }, /* a data file */
	{ .version = 3, .features = 32 },
	{ .version = 3, .features = 1ULL << 63 },
	{ .version = 3, .autoclear = 2 }, /* a raw data file */
	{ .version = 3, .length = 72 },
	{ .version = 3, .length = 105 },
	{ .version = 3, .cluster_bits = 8 },
	{ .version = 3, .cluster_bits = 22 },
	{ .version = 3, .crypt = 1 },
	{ .version = 2, .crypt = 2 },
	{ .version = 3, .snapshots = 1 },
	{ .version = 3, .disk = (1ULL << 44) + 1 },
	{ .version = 1 },
	{ .version = 4 },
	{ .version = 3, .magic = "KDMV" },
	{ .version = 3, .size = 103 },
	{ .version = 3, .size = 1 },
};

static void
test_qcow2(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good_headers); i++)
		assert_int_equal(check(good_headers[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_headers); i++)
		if (check(bad_headers[i]) != ERR_INVALID_MANIFEST)
			fail_msg("the bad header %zu", i);
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
