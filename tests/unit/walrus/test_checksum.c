/* The check values of the CRC catalogue ("123456789"), and that no way of cutting the input
 * matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/id.h"
#include "checksum.h"
#include "crc.h"

static void
sum(enum checksum_algorithm a, struct str bytes, size_t piece, char out[2 * CHECKSUM_SIZE_MAX + 1])
{
	struct checksum c;
	uint8_t value[CHECKSUM_SIZE_MAX];
	size_t n;

	checksum_begin(&c, a);
	while (bytes.n > 0) {
		n = bytes.n < piece ? bytes.n : piece;
		checksum_add(&c, (struct str){ bytes.p, n });
		bytes.p += n;
		bytes.n -= n;
	}
	n = checksum_end(&c, value);
	hex_encode(value, n, out);
}

static const struct {
	enum checksum_algorithm algorithm;
	const char *header, *value;
} known[] = {
	{ CHECKSUM_CRC32, "X-Amz-Checksum-Crc32", "cbf43926" },
	{ CHECKSUM_CRC32C, "x-amz-checksum-crc32c", "e3069283" },
	{ CHECKSUM_CRC64NVME, "x-amz-checksum-crc64nvme", "ae8b14860a799888" },
	{ CHECKSUM_SHA1, "x-amz-checksum-sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441" },
	{ CHECKSUM_SHA256, "x-amz-checksum-sha256",
	    "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225" },
};

static void
test_known_values(void **state)
{
	char text[2 * CHECKSUM_SIZE_MAX + 1];
	enum checksum_algorithm a;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		assert_true(checksum_from_header(str_of(known[i].header), &a));
		assert_int_equal(a, known[i].algorithm);
		sum(a, STR("123456789"), 9, text);
		assert_string_equal(text, known[i].value);
	}
	assert_false(checksum_from_header(STR("x-amz-checksum-type"), &a));
}

static void
test_pieces(void **state)
{
	char bytes[14001], whole[2 * CHECKSUM_SIZE_MAX + 1], cut[2 * CHECKSUM_SIZE_MAX + 1];
	struct str all = { bytes, sizeof(bytes) };

	random_bytes(bytes, sizeof(bytes));
	for (unsigned a = 0; a < CHECKSUM_MAX; a++) {
		sum(a, all, sizeof(bytes), whole);
		for (size_t piece = 1; piece < 300; piece += piece < 80 ? 1 : 13) {
			sum(a, all, piece, cut);
			assert_string_equal(cut, whole);
		}
	}
}

/* RFC 3720 B.4 */
static void
test_crc32c(void **state)
{
	unsigned char bytes[32] = { 0 };

	assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (unsigned char)i;
	assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
	assert_int_equal(crc32c(crc32c(0, bytes, 5), bytes + 5, 27), 0x46dd794e);
	assert_int_equal(crc32c(0, NULL, 0), 0);
}

/* Bit by bit. */
static uint64_t
slow_crc(uint64_t polynomial, unsigned bits, const char *p, size_t n)
{
	const uint64_t ones = UINT64_MAX >> (64 - bits);
	uint64_t c = ones;

	for (size_t i = 0; i < n; i++) {
		c ^= (unsigned char)p[i];
		for (unsigned k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
	}
	return c ^ ones;
}

/* Large spans are read in two places at once: around the sizes where that begins and ends. */
static void
test_large_crcs(void **state)
{
	static const struct {
		uint64_t polynomial;
		unsigned bits;
	} kinds[CRC_MAX] = { [CRC_32] = { 0xedb88320, 32 },
		[CRC_32C] = { 0x82f63b78, 32 },
		[CRC_64NVME] = { 0x9a6c9329ac4bc9b5, 64 } };
	static const size_t sizes[] = { 65535, 65536, 65537, 65663, 65664, 65665, 131071, 131072,
		131200, 131327, 262144, 300001 };
	static char bytes[300002];

	random_bytes(bytes, sizeof(bytes));
	for (unsigned kind = 0; kind < CRC_MAX; kind++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			const char *p = bytes + i % 2;
			uint64_t slow =
			    slow_crc(kinds[kind].polynomial, kinds[kind].bits, p, sizes[i]);

			assert_true(crc(kind, 0, p, sizes[i]) == slow);
			assert_true(
			    crc(kind, crc(kind, 0, p, 1000), p + 1000, sizes[i] - 1000) == slow);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_values),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_large_crcs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
