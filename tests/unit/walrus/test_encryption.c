/* What was written in one piece is read from anywhere; keys open only what they closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "encryption.h"
#include "run/fs.h"

static char directory[] = "/tmp/test_encryption.XXXXXX";

static char *
path_of(const char *name)
{
	return xasprintf("%s/%s", directory, name);
}

static int
make_directory(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int
remove_directory(void **state)
{
	_cleanup_free_ char *command = xasprintf("rm -rf %s", directory);

	return system(command);
}

static void
test_any_range(void **state)
{
	static const size_t offsets[] = { 0, 1, 15, 16, 17, 4095, 4096, 70000, 99999 };
	uint8_t key[DATA_KEY_SIZE] = { 7 };
	_cleanup_(cipher_freep) struct cipher *c = cipher_new(key), *other = cipher_new(key);
	_cleanup_free_ char *plain = xcalloc(1, 100000), *closed = xmalloc(100000);
	struct err e;

	memcpy(closed, plain, 100000);
	cipher_apply(c, closed, 100000);
	assert_memory_not_equal(closed, plain, 16);
	assert_string_not_equal(cipher_iv(c), cipher_iv(other));
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		size_t n = 100000 - offsets[i];
		_cleanup_free_ char *piece = xmemdup(closed + offsets[i], n);

		assert_int_equal(cipher_seek(other, cipher_iv(c), offsets[i], &e), 0);
		cipher_apply(other, piece, n);
		assert_memory_equal(piece, plain + offsets[i], n);
	}
	assert_int_equal(cipher_seek(other, "zz", 0, &e), ERR_CORRUPT);
	assert_int_equal(cipher_seek(other, NULL, 0, &e), ERR_CORRUPT);
}

/* The counter carries over all its bytes: NIST SP 800-38A wants that, and a vector may end in ones.
 */
static void
test_the_counter_carries(void **state)
{
	uint8_t key[DATA_KEY_SIZE] = { 1 };
	_cleanup_(cipher_freep) struct cipher *c = cipher_new(key);
	char a[64] = { 0 }, b[16] = { 0 };
	struct err e;

	assert_int_equal(cipher_seek(c, "00ffffffffffffffffffffffffffffff", 0, &e), 0);
	cipher_apply(c, a, sizeof(a));
	assert_int_equal(cipher_seek(c, "01000000000000000000000000000000", 0, &e), 0);
	cipher_apply(c, b, sizeof(b));
	assert_memory_equal(a + 16, b, sizeof(b));
	memset(b, 0, sizeof(b));
	assert_int_equal(cipher_seek(c, "00ffffffffffffffffffffffffffffff", 32, &e), 0);
	cipher_apply(c, b, sizeof(b));
	assert_memory_equal(a + 32, b, sizeof(b));
}

static void
test_service_keys(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_free_ char *path = path_of("keys"), *other_path = path_of("other");
	_cleanup_(keyring_freep) struct keyring *k = NULL, *again = NULL, *other = NULL;
	uint8_t key[DATA_KEY_SIZE], seen[DATA_KEY_SIZE];
	struct stat st;
	struct err e;
	char *text;

	assert_int_equal(keyring_open(path, &k, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	encryption_new_service(k, arena, &text, key);
	assert_int_equal(encryption_kind(text), ENCRYPTION_SERVICE);
	assert_int_equal(keyring_open(path, &again, &e), 0);
	assert_int_equal(encryption_key(again, text, NULL, seen, &e), 0);
	assert_memory_equal(seen, key, sizeof(key));
	assert_int_equal(keyring_open(other_path, &other, &e), 0);
	assert_int_equal(encryption_key(other, text, NULL, seen, &e), ERR_CORRUPT);
	assert_int_equal(encryption_key(k, "service 1 AAAA", NULL, seen, &e), ERR_CORRUPT);
	assert_int_equal(encryption_key(k, "service 9", NULL, seen, &e), ERR_CORRUPT);
}

/* A key is added: it closes from now on, the old one still opens. */
static void
test_rotation(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_free_ char *path = path_of("rotated");
	_cleanup_(keyring_freep) struct keyring *k = NULL, *both = NULL, *bad = NULL;
	_cleanup_strbuf_ struct strbuf file = STRBUF_INIT;
	uint8_t key[DATA_KEY_SIZE], seen[DATA_KEY_SIZE];
	char *old, *new;
	struct err e;

	assert_int_equal(keyring_open(path, &k, &e), 0);
	encryption_new_service(k, arena, &old, key);
	assert_int_equal(fs_read(path, 4096, &file, &e), 0);
	strbuf_adds(&file, "# added\n2 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
	assert_int_equal(fs_write_atomic(path, strbuf_str(&file), 0600, &e), 0);
	assert_int_equal(keyring_open(path, &both, &e), 0);
	assert_int_equal(encryption_key(both, old, NULL, seen, &e), 0);
	assert_memory_equal(seen, key, sizeof(key));
	encryption_new_service(both, arena, &new, key);
	assert_true(str_starts(str_of(new), "service 2 "));
	assert_int_equal(encryption_key(k, new, NULL, seen, &e), ERR_CORRUPT);
	strbuf_adds(&file, "2 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
	assert_int_equal(fs_write_atomic(path, strbuf_str(&file), 0600, &e), 0);
	assert_int_equal(keyring_open(path, &bad, &e), ERR_CORRUPT);
	assert_int_equal(fs_write_atomic(path, STR("1 short\n"), 0600, &e), 0);
	assert_int_equal(keyring_open(path, &bad, &e), ERR_CORRUPT);
	assert_int_equal(fs_write_atomic(path, STR(""), 0600, &e), 0);
	assert_int_equal(keyring_open(path, &bad, &e), ERR_CORRUPT);
}

static void
test_customer_keys(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	uint8_t mine[CUSTOMER_KEY_SIZE] = "a key of exactly 32 bytes, mine.",
		other[CUSTOMER_KEY_SIZE] = { 0 };
	uint8_t key[DATA_KEY_SIZE], seen[DATA_KEY_SIZE];
	char *text, *twice, *hex = arena_alloc(arena, 2 * sizeof(mine) + 1);
	struct err e;

	encryption_new_customer(mine, arena, &text, key);
	encryption_new_customer(mine, arena, &twice, seen);
	assert_string_not_equal(text, twice);
	assert_memory_not_equal(key, seen, sizeof(key));
	assert_int_equal(encryption_kind(text), ENCRYPTION_CUSTOMER);
	assert_int_equal(encryption_key(NULL, text, mine, seen, &e), 0);
	assert_memory_equal(key, seen, sizeof(key));
	assert_int_equal(encryption_key(NULL, text, other, seen, &e), ERR_ACCESS_DENIED);
	assert_int_equal(encryption_key(NULL, text, NULL, seen, &e), ERR_ENCRYPTED_BY_CUSTOMER);
	assert_int_equal(encryption_key(NULL, "customer 00 00", mine, seen, &e), ERR_CORRUPT);
	assert_int_equal(encryption_key(NULL, "nonsense", mine, seen, &e), ERR_CORRUPT);
	hex_encode(mine, sizeof(mine), hex);
	assert_null(strstr(text, hex));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_any_range),
		cmocka_unit_test(test_the_counter_carries), cmocka_unit_test(test_service_keys),
		cmocka_unit_test(test_rotation), cmocka_unit_test(test_customer_keys) };

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
