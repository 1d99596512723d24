/* Manifests: those that tools make are read and their signatures hold; each change of a good one is
 * refused, by the parser or by the signature; what is written here is read here. Made by
 * tests/lib/bundle.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "manifest.h"
#include "run/fs.h"

#define DATA "tests/data/manifest/"
#define KEY "000102030405060708090a0b0c0d0e0f"
#define IV "101112131415161718191a1b1c1d1e1f"

static void
load(const char *name, struct strbuf *out)
{
	_cleanup_free_ char *path = xasprintf(DATA "%s", name);
	struct err e = { 0 };

	if (fs_read(path, 1 << 20, out, &e) < 0)
		fail_msg("%s", e.text);
}

static void
test_good(void **state)
{
	static const char *const names[] = { "good.xml", "indented.xml" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, user = STRBUF_INIT,
					       cloud = STRBUF_INIT;
		char hex[MANIFEST_KEY_HEX + 1];
		struct manifest m = { 0 };
		struct err e = { 0 };

		load(names[i], &text);
		load("user-cert.pem", &user);
		load("cloud-cert.pem", &cloud);
		if (manifest_parse(strbuf_str(&text), arena, &m, &e) < 0)
			fail_msg("%s: %s", names[i], e.text);
		assert_string_equal(m.architecture, "x86_64");
		assert_string_equal(m.kernel_id, "eki-00000000000000001");
		assert_string_equal(m.ramdisk_id, "eri-00000000000000001");
		assert_string_equal(m.name, "disk");
		assert_string_equal(m.user, "123456789012");
		assert_string_equal(m.type, "machine");
		assert_int_equal(m.size_bytes, 400000);
		assert_int_equal(m.mapping_count, 2);
		assert_string_equal(m.mappings[0].virtual_name, "ephemeral0");
		assert_string_equal(m.mappings[0].device, "sdb");
		assert_true(m.part_count >= 2);
		assert_string_equal(m.parts[0].filename, "disk.part.0");
		assert_int_equal(strlen(m.parts[0].sha1), 40);
		assert_true(manifest_is_signed_by(&m, strbuf_c(&user)));
		assert_false(manifest_is_signed_by(&m, strbuf_c(&cloud)));
		assert_false(manifest_is_signed_by(&m, "no certificate"));
		assert_int_equal(manifest_unwrap(DATA "cloud-key.pem", m.cloud_key, hex, &e), 0);
		assert_string_equal(hex, KEY);
		assert_int_equal(manifest_unwrap(DATA "cloud-key.pem", m.cloud_iv, hex, &e), 0);
		assert_string_equal(hex, IV);
		assert_int_equal(manifest_unwrap(DATA "user-key.pem", m.cloud_key, hex, &e),
		    ERR_INVALID_MANIFEST);
	}
}

/* Each character that stands for something, changed: refused, or it was not of what is signed. */
static void
test_every_change_is_noticed(void **state)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, user = STRBUF_INIT;
	const char *image;
	size_t unsigned_changes = 0;

	load("good.xml", &text);
	load("user-cert.pem", &user);
	image = strstr(strbuf_c(&text), "<machine_configuration>");
	for (size_t i = 0; i < text.n; i += 7) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct manifest m = { 0 };
		struct err e = { 0 };
		char kept = text.p[i];

		text.p[i] = kept == '1' ? '2' : '1';
		if (manifest_parse(strbuf_str(&text), arena, &m, &e) == 0 &&
		    manifest_is_signed_by(&m, strbuf_c(&user))) {
			/* The tools' names and versions are of no account. */
			assert_true(text.p + i < image);
			unsigned_changes++;
		}
		text.p[i] = kept;
	}
	assert_true(unsigned_changes < 30);
}

static const struct {
	const char *from, *to, *says;
} broken[] = {
	{ "<manifest>", "<manifests>", "not XML" },
	{ "2007-10-10", "2007-10-11", "version" },
	{ "<size>400000", "<size>-1", "size" },
	{ "<size>400000", "<size>0", "size" },
	{ "<size>400000", "<size>99999999999999999", "size" },
	{ "<type>machine", "<type>volume", "type" },
	{ "algorithm=\"SHA1\"", "algorithm=\"MD5\"", "digest" },
	{ "<parts count=\"", "<parts count=\"0\" n=\"", "parts" },
	{ "<parts count=\"", "<parts count=\"999999\" n=\"", "too many" },
	{ "<parts count=\"", "<parts count=\"2048\" n=\"", "fewer" },
	{ "index=\"1\"", "index=\"0\"", "twice" },
	{ "index=\"1\"", "index=\"77\"", "index" },
	{ "disk.part.1", "../part.1", "beside" },
	{ "disk.part.1", ".part.1", "beside" },
	{ "<signature>", "<signature>z", "signature" },
	{ "ec2_encrypted_iv", "ec2_encrypted_ib", "not XML" },
	{ "<user>123456789012</user>", "", "user" },
	{ "<image>", "<picture>", "not XML" },
	{ "<architecture>x86_64</architecture>", "", "architecture" },
};

static void
test_broken(void **state)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	load("good.xml", &text);
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		_cleanup_strbuf_ struct strbuf changed = STRBUF_INIT;
		const char *at = strstr(strbuf_c(&text), broken[i].from);
		struct manifest m = { 0 };
		struct err e = { 0 };

		assert_non_null(at);
		strbuf_add(&changed, text.p, (size_t)(at - text.p));
		strbuf_adds(&changed, broken[i].to);
		strbuf_adds(&changed, at + strlen(broken[i].from));
		assert_int_equal(
		    manifest_parse(strbuf_str(&changed), arena, &m, &e), ERR_INVALID_MANIFEST);
		if (!strstr(e.text, broken[i].says))
			fail_msg("'%s' -> '%s': %s", broken[i].from, broken[i].to, e.text);
	}
}

static void
test_written_and_read(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, cloud = STRBUF_INIT, user = STRBUF_INIT;
	struct manifest_part parts[] = { { "a&b.part.0",
	    "0123456789abcdef0123456789abcdef01234567" } };
	struct manifest_mapping mappings[] = { { "root", "sda1" } };
	struct manifest m = { .architecture = "x86_64",
		.name = "a<b",
		.user = "123456789012",
		.type = "machine",
		.sha1 = "76543210fedcba9876543210fedcba9876543210",
		.size_bytes = 10,
		.bundled_bytes = 20,
		.parts = parts,
		.part_count = 1,
		.mappings = mappings,
		.mapping_count = 1 };
	struct manifest again = { 0 };
	char hex[MANIFEST_KEY_HEX + 1];
	struct err e = { 0 };

	load("cloud-cert.pem", &cloud);
	load("user-cert.pem", &user);
	assert_int_equal(manifest_wrap(strbuf_c(&cloud), KEY, arena, &m.cloud_key, &e), 0);
	assert_int_equal(manifest_wrap(strbuf_c(&cloud), IV, arena, &m.cloud_iv, &e), 0);
	assert_int_equal(manifest_wrap(strbuf_c(&user), KEY, arena, &m.user_key, &e), 0);
	assert_int_equal(manifest_wrap(strbuf_c(&user), IV, arena, &m.user_iv, &e), 0);
	assert_int_equal(manifest_wrap("none", KEY, arena, &m.user_key, &e), ERR_INVALID);
	assert_int_equal(manifest_write(&m, DATA "cloud-key.pem", &text, &e), 0);
	if (manifest_parse(strbuf_str(&text), arena, &again, &e) < 0)
		fail_msg("%s", e.text);
	assert_true(manifest_is_signed_by(&again, strbuf_c(&cloud)));
	assert_false(manifest_is_signed_by(&again, strbuf_c(&user)));
	assert_string_equal(again.name, m.name);
	assert_string_equal(again.parts[0].filename, parts[0].filename);
	assert_string_equal(again.mappings[0].virtual_name, "root");
	assert_null(again.kernel_id);
	assert_int_equal(manifest_unwrap(DATA "user-key.pem", again.user_iv, hex, &e), 0);
	assert_string_equal(hex, IV);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_every_change_is_noticed),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_written_and_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
