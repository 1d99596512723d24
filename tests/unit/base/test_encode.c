/* Hex and base64 against RFC 4648's vectors, both ways; one encoding per value. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/id.h"
#include "base/str.h"

static void
base64_vectors(void **state)
{
	static const struct {
		const char *plain, *text;
	} cases[] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xfb\xff\xfe", "+//+" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = base64_encode(cases[i].plain, strlen(cases[i].plain));
		_cleanup_free_ void *bytes = NULL;
		size_t n;

		assert_string_equal(text, cases[i].text);
		assert_true(base64_decode(str_of(text), &bytes, &n));
		assert_int_equal(n, strlen(cases[i].plain));
		assert_memory_equal(bytes, cases[i].plain, n);
	}
}

static void
base64_refuses(void **state)
{
	static const char *const cases[] = { "Z", "Zg", "Zg=", "Zg===", "Zg==Zg==", "Zm8",
		"Zm8==", "Zm9v=", "=", "====", "Zh==", "Zm9=", "Zm-v", "Zm_v", "Zm9v!",
		"Z=g=", "\xc3\xbc" };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		void *bytes = NULL;
		size_t n;

		if (base64_decode(str_of(cases[i]), &bytes, &n))
			fail_msg("'%s' is accepted", cases[i]);
		assert_null(bytes);
	}
	assert_false(base64_decode(STR("Zm\0v"), &(void *){ NULL }, &(size_t){ 0 }));
}

static void
base64_skips_white_space(void **state)
{
	_cleanup_free_ char *bytes = NULL;
	size_t n;

	assert_true(base64_decode(STR(" Zm 9v\r\nYg\t=\n=\n"), (void **)&bytes, &n));
	assert_int_equal(n, 4);
	assert_memory_equal(bytes, "foob", 4);
}

static void
all_lengths_come_back(void **state)
{
	for (size_t length = 0; length < 200; length++) {
		unsigned char in[200], out[200];
		char hex[401];
		_cleanup_free_ char *text = NULL;
		_cleanup_free_ void *bytes = NULL;
		size_t n;

		random_bytes(in, length);
		text = base64_encode(in, length);
		assert_int_equal(strlen(text), (length + 2) / 3 * 4);
		assert_true(base64_decode(str_of(text), &bytes, &n));
		assert_int_equal(n, length);
		assert_int_equal(memcmp(bytes, in, n), 0);
		hex_encode(in, length, hex);
		assert_true(hex_decode(str_of(hex), out, sizeof(out), &n));
		assert_int_equal(n, length);
		assert_int_equal(memcmp(out, in, n), 0);
	}
}

static void
hex_refuses(void **state)
{
	unsigned char out[2] = { 9, 9 };
	size_t n = 77;

	assert_true(hex_decode(STR("aBcD"), out, 2, &n));
	assert_int_equal(out[0], 0xab);
	assert_int_equal(out[1], 0xcd);
	assert_int_equal(n, 2);
	assert_false(hex_decode(STR("abc"), out, 2, &n));
	assert_false(hex_decode(STR("ag"), out, 2, &n));
	assert_false(hex_decode(STR("0x"), out, 2, &n));
	assert_false(hex_decode(STR("aabbcc"), out, 2, &n)); /* does not fit */
	assert_int_equal(n, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(base64_refuses),
		cmocka_unit_test(base64_skips_white_space),
		cmocka_unit_test(all_lengths_come_back),
		cmocka_unit_test(hex_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
