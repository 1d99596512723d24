/* Identifiers: form, validity at its edges, and that they do not repeat. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/id.h"
#include "base/map.h"

static void
ids_are_prefix_and_seventeen_digits(void **state)
{
	char id[ID_MAX];

	for (int i = 0; i < 100; i++) {
		id_new(id, "vpc");
		assert_int_equal(strlen(id), 4 + 17);
		assert_true(id_is_valid(id, "vpc"));
		assert_false(id_is_valid(id, "vp"));
		assert_false(id_is_valid(id, "i"));
	}
}

static void
validity(void **state)
{
	static const struct {
		const char *id;
		bool ok;
	} cases[] = {
		{ "i-0123456789abcdef0", true },
		{ "i-01234567", true },
		{ "i-0123456", false },
		{ "i-012345678", false },
		{ "i-0123456789abcdef", false },
		{ "i-0123456789abcdef01", false },
		{ "i-0123456789ABCDEF0", false },
		{ "i-0123456789abcdefg", false },
		{ "i-0123456 ", false },
		{ "I-01234567", false },
		{ "i01234567", false },
		{ "i-", false },
		{ "i", false },
		{ "", false },
		{ "-01234567", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (id_is_valid(cases[i].id, "i") != cases[i].ok)
			fail_msg("'%s'", cases[i].id);
	}
}

static void
ten_thousand_ids_are_different(void **state)
{
	_cleanup_(map_freep) struct map *seen = map_new(NULL);
	char id[ID_MAX];

	for (int i = 0; i < 10000; i++) {
		id_new(id, "i");
		assert_null(map_find(seen, id));
		map_set(seen, id, seen);
	}
}

static void
assert_alphabet(const char *text, size_t length, const char *alphabet)
{
	assert_int_equal(strlen(text), length);
	assert_int_equal(strspn(text, alphabet), length);
}

static void
other_identifiers_have_their_form(void **state)
{
	char uuid[UUID_TEXT_SIZE], account[ACCOUNT_ID_SIZE], key[ACCESS_KEY_ID_SIZE];
	char secret[SECRET_KEY_SIZE];

	for (int i = 0; i < 200; i++) {
		uuid_new(uuid);
		assert_alphabet(uuid, 36, "0123456789abcdef-");
		assert_int_equal(uuid[14], '4');
		assert_non_null(strchr("89ab", uuid[19]));
		uuid_of((const uint8_t *)"\x00\x11\x22\x33\x44\x55\xf6\x77\xff\x99\xaa\xbb"
					 "\xcc\xdd\xee\x0f",
		    uuid);
		assert_string_equal(uuid, "00112233-4455-4677-bf99-aabbccddee0f");
		account_id_new(account);
		assert_alphabet(account, 12, "0123456789");
		assert_int_not_equal(account[0], '0');
		access_key_id_new(key);
		assert_memory_equal(key, "AKIA", 4);
		assert_alphabet(key, 20, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
		secret_key_new(secret);
		assert_alphabet(
		    secret, 40, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_prefix_and_seventeen_digits),
		cmocka_unit_test(validity),
		cmocka_unit_test(ten_thousand_ids_are_different),
		cmocka_unit_test(other_identifiers_have_their_form),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
