/* Digests and HMAC against the vectors of RFC 1321, FIPS 180, RFC 2202 and RFC 4231. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include "auth/digest.h"
#include "base/strbuf.h"

/* `text`, or `count` times the byte `fill` when text is NULL. */
struct input {
	const char *text;
	unsigned char fill;
	unsigned count;
};
#define TEXT(s)                                                                                    \
	{                                                                                          \
		s, 0, 0                                                                            \
	}
#define TIMES(c, n)                                                                                \
	{                                                                                          \
		NULL, c, n                                                                         \
	}
#define COUNTING(n)                                                                                \
	{                                                                                          \
		"", 1, n                                                                           \
	} /* bytes 1, 2, ... n */

static struct str
expand(const struct input *in, char buffer[256])
{
	if (in->text && in->count == 0)
		return str_of(in->text);
	for (unsigned i = 0; i < in->count; i++)
		buffer[i] = (char)(in->text ? i + 1 : in->fill);
	return (struct str){ buffer, in->count };
}

static const struct {
	enum digest_algorithm algorithm;
	struct input key, data;
	const char *mac;
	size_t bytes; /* 0: all; else RFC 4231's truncation */
} macs[] = {
	{ DIGEST_SHA256, TIMES(0x0b, 20), TEXT("Hi There"),
	    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", 0 },
	{ DIGEST_SHA256, TEXT("Jefe"), TEXT("what do ya want for nothing?"),
	    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", 0 },
	{ DIGEST_SHA256, TIMES(0xaa, 20), TIMES(0xdd, 50),
	    "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe", 0 },
	{ DIGEST_SHA256, COUNTING(25), TIMES(0xcd, 50),
	    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b", 0 },
	{ DIGEST_SHA256, TIMES(0x0c, 20), TEXT("Test With Truncation"),
	    "a3b6167473100ee06e0c796c2955552b", 16 },
	{ DIGEST_SHA256, TIMES(0xaa, 131),
	    TEXT("Test Using Larger Than Block-Size Key - Hash Key First"),
	    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", 0 },
	{ DIGEST_SHA256, TIMES(0xaa, 131),
	    TEXT("This is a test using a larger than block-size key and a larger than block-size "
		 "data. "
		 "The key needs to be hashed before being used by the HMAC algorithm."),
	    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2", 0 },
	{ DIGEST_SHA1, TIMES(0x0b, 20), TEXT("Hi There"),
	    "b617318655057264e28bc0b6fb378c8ef146be00", 0 },
	{ DIGEST_SHA1, TEXT("Jefe"), TEXT("what do ya want for nothing?"),
	    "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", 0 },
	{ DIGEST_SHA1, TIMES(0xaa, 20), TIMES(0xdd, 50), "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
	    0 },
	{ DIGEST_SHA1, COUNTING(25), TIMES(0xcd, 50), "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
	    0 },
	{ DIGEST_SHA1, TIMES(0xaa, 80),
	    TEXT("Test Using Larger Than Block-Size Key - Hash Key First"),
	    "aa4ae5e15272d00e95705637ce8a3b55ed402112", 0 },
	{ DIGEST_SHA1, TIMES(0xaa, 80),
	    TEXT("Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data"),
	    "e8e99d0f45237d786d6bbaa7965c7808bbff1a91", 0 },
	{ DIGEST_MD5, TIMES(0x0b, 16), TEXT("Hi There"), "9294727a3638bb1c13f48ef8158bfc9d", 0 },
	{ DIGEST_MD5, TEXT("Jefe"), TEXT("what do ya want for nothing?"),
	    "750c783e6ab0b503eaa86e310a5db738", 0 },
	{ DIGEST_MD5, TIMES(0xaa, 16), TIMES(0xdd, 50), "56be34521d144c88dbb8c733f0e8b3f6", 0 },
	{ DIGEST_MD5, TIMES(0xaa, 80),
	    TEXT("Test Using Larger Than Block-Size Key - Hash Key First"),
	    "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd", 0 },
};

static void
test_hmac_vectors(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(macs); i++) {
		char key[256], data[256], hex[65];
		uint8_t mac[32];
		size_t n = macs[i].bytes ? macs[i].bytes : digest_size(macs[i].algorithm);

		hmac(
		    macs[i].algorithm, expand(&macs[i].key, key), expand(&macs[i].data, data), mac);
		hex_encode(mac, n, hex);
		assert_string_equal(hex, macs[i].mac);
	}
}

static void
test_digest_vectors(void **state)
{
	static const struct {
		enum digest_algorithm algorithm;
		const char *in, *hex;
	} cases[] = {
		{ DIGEST_MD5, "", "d41d8cd98f00b204e9800998ecf8427e" },
		{ DIGEST_MD5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
		{ DIGEST_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
		{ DIGEST_SHA256, "",
		    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ DIGEST_SHA256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char hex[65];
		uint8_t streamed[32];
		EVP_MD_CTX *c = digest_begin(cases[i].algorithm);

		digest_hex(cases[i].algorithm, str_of(cases[i].in), hex);
		assert_string_equal(hex, cases[i].hex);
		for (const char *p = cases[i].in; *p; p++)
			EVP_DigestUpdate(c, p, 1);
		digest_end(c, streamed);
		hex_encode(streamed, digest_size(cases[i].algorithm), hex);
		assert_string_equal(hex, cases[i].hex);
	}
	digest_end(digest_begin(DIGEST_MD5), NULL); /* dropped without a leak */
}

static void *
hash_in_thread(void *arg)
{
	char hex[65];

	for (int i = 0; i < 1000; i++)
		digest_hex(DIGEST_SHA256, STR("abc"), hex);
	return strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0
		   ? arg
		   : NULL;
}

static void
test_threads(void **state)
{
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hash_in_thread, threads), 0);
	for (unsigned i = 0; i < 4; i++) {
		void *result;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_non_null(result);
	}
}

static void
test_equal(void **state)
{
	assert_true(digest_equal("abc", "abc", 3));
	assert_false(digest_equal("abc", "abd", 3));
	assert_true(digest_equal("abc", "abd", 2));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hmac_vectors),
		cmocka_unit_test(test_digest_vectors),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
