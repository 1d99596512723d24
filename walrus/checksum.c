/* Five algorithms behind one face. CRC-32 and CRC-64/NVME go by table, eight bytes at a time, or
 * where the processor multiplies polynomials by folding, 64 bytes at a time: every object has one
 * of them. */
#include "checksum.h"

#include <pthread.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "auth/digest.h"
#include "crc32c.h"

#define CRC32_POLYNOMIAL UINT64_C(0xedb88320)
#define CRC64NVME_POLYNOMIAL UINT64_C(0x9a6c9329ac4bc9b5)

static const struct {
	const char *header;
	size_t size;
} algorithms[CHECKSUM_MAX] = {
	[CHECKSUM_CRC32] = { "x-amz-checksum-crc32", 4 },
	[CHECKSUM_CRC32C] = { "x-amz-checksum-crc32c", 4 },
	[CHECKSUM_CRC64NVME] = { "x-amz-checksum-crc64nvme", 8 },
	[CHECKSUM_SHA1] = { "x-amz-checksum-sha1", 20 },
	[CHECKSUM_SHA256] = { "x-amz-checksum-sha256", 32 },
};

const char *
checksum_header(enum checksum_algorithm a)
{
	return algorithms[a].header;
}

size_t
checksum_size(enum checksum_algorithm a)
{
	return algorithms[a].size;
}

bool
checksum_from_header(struct str name, enum checksum_algorithm *ret)
{
	for (unsigned a = 0; a < CHECKSUM_MAX; a++)
		if (str_is_nocase(name, algorithms[a].header)) {
			*ret = a;
			return true;
		}
	return false;
}

/* -- tables -- */

struct tables {
	uint64_t t[8][256];
	unsigned bits;
	bool folds;
	uint64_t fold_512[2], fold_128[2]; /* what the two halves of 16 bytes are multiplied by */
};
static struct tables crc32_tables, crc64nvme_tables;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* x^n modulo the polynomial, bit 63 being x^0. */
static uint64_t
power(unsigned n, uint64_t polynomial, unsigned bits)
{
	uint64_t r = UINT64_C(1) << (bits - 1);

	while (n-- > 0)
		r = r & 1 ? r >> 1 ^ polynomial : r >> 1;
	return r << (64 - bits);
}

/* The product of two reflected numbers comes out one place too low: hence x^(n - 1) for x^n. The
 * half that lies first in memory is of the higher powers. */
static void
make_folds(struct tables *tables, uint64_t polynomial)
{
#ifdef __x86_64__
	tables->folds = __builtin_cpu_supports("pclmul");
#endif
	tables->fold_512[0] = power(512 + 63, polynomial, tables->bits);
	tables->fold_512[1] = power(512 - 1, polynomial, tables->bits);
	tables->fold_128[0] = power(128 + 63, polynomial, tables->bits);
	tables->fold_128[1] = power(128 - 1, polynomial, tables->bits);
}

static void
make_table(struct tables *tables, uint64_t polynomial, unsigned bits)
{
	tables->bits = bits;
	make_folds(tables, polynomial);
	for (unsigned i = 0; i < 256; i++) {
		uint64_t c = i;

		for (unsigned k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
		tables->t[0][i] = c;
	}
	for (unsigned i = 0; i < 256; i++)
		for (unsigned k = 1; k < 8; k++)
			tables->t[k][i] =
			    tables->t[k - 1][i] >> 8 ^ tables->t[0][tables->t[k - 1][i] & 0xff];
}

static void
make_tables(void)
{
	make_table(&crc32_tables, CRC32_POLYNOMIAL, 32);
	make_table(&crc64nvme_tables, CRC64NVME_POLYNOMIAL, 64);
}

static uint64_t
by_table(const struct tables *tables, uint64_t c, struct str bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	size_t n = bytes.n;

	for (; n >= 8; p += 8, n -= 8) {
		uint64_t word = 0;

		for (unsigned k = 0; k < 8; k++)
			word |= (uint64_t)p[k] << 8 * k;
		word ^= c;
		c = 0;
		for (unsigned k = 0; k < 8; k++)
			c ^= tables->t[7 - k][word >> 8 * k & 0xff];
	}
	for (; n > 0; p++, n--)
		c = c >> 8 ^ tables->t[0][(c ^ *p) & 0xff];
	return c;
}

#ifdef __x86_64__
/* x times what is in `by`, plus the bytes that come that much later. */
__attribute__((target("pclmul"))) static inline __m128i
fold(__m128i x, __m128i by, __m128i later)
{
	__m128i first = _mm_clmulepi64_si128(x, by, 0x00),
		second = _mm_clmulepi64_si128(x, by, 0x11);

	return _mm_xor_si128(_mm_xor_si128(first, second), later);
}

static inline __m128i
load(const char *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* All but fewer than 16 bytes become 16 that have the same remainder; these and the rest go by
 * table. */
__attribute__((target("pclmul"))) static uint64_t
by_folding(const struct tables *tables, uint64_t c, struct str bytes)
{
	const __m128i by_512 = load((const char *)tables->fold_512);
	const __m128i by_128 = load((const char *)tables->fold_128);
	const char *p = bytes.p;
	size_t n = bytes.n;
	char left[16];
	__m128i x[4];

	for (unsigned i = 0; i < 4; i++)
		x[i] = load(p + 16 * i);
	x[0] = _mm_xor_si128(x[0], _mm_cvtsi64_si128((int64_t)c));
	for (p += 64, n -= 64; n >= 64; p += 64, n -= 64)
		for (unsigned i = 0; i < 4; i++)
			x[i] = fold(x[i], by_512, load(p + 16 * i));
	for (unsigned i = 1; i < 4; i++)
		x[0] = fold(x[0], by_128, x[i]);
	for (; n >= 16; p += 16, n -= 16)
		x[0] = fold(x[0], by_128, load(p));
	_mm_storeu_si128((__m128i *)(void *)left, x[0]);
	c = by_table(tables, 0, (struct str){ left, sizeof(left) });
	return by_table(tables, c, (struct str){ p, n });
}
#endif

static uint64_t
crc(const struct tables *tables, uint64_t c, struct str bytes)
{
#ifdef __x86_64__
	if (tables->folds && bytes.n >= 64)
		return by_folding(tables, c, bytes);
#endif
	return by_table(tables, c, bytes);
}

/* -- one checksum -- */

void
checksum_begin(struct checksum *c, enum checksum_algorithm a)
{
	(void)pthread_once(&once, make_tables);
	*c = (struct checksum){ .algorithm = a };
	if (a == CHECKSUM_CRC32)
		c->crc = UINT32_MAX;
	else if (a == CHECKSUM_CRC64NVME)
		c->crc = UINT64_MAX;
	else if (a == CHECKSUM_SHA1 || a == CHECKSUM_SHA256)
		c->digest = digest_begin(a == CHECKSUM_SHA1 ? DIGEST_SHA1 : DIGEST_SHA256);
}

void
checksum_add(struct checksum *c, struct str bytes)
{
	switch (c->algorithm) {
	case CHECKSUM_CRC32:
		c->crc = crc(&crc32_tables, c->crc, bytes);
		break;
	case CHECKSUM_CRC32C:
		c->crc = crc32c((uint32_t)c->crc, bytes.p, bytes.n);
		break;
	case CHECKSUM_CRC64NVME:
		c->crc = crc(&crc64nvme_tables, c->crc, bytes);
		break;
	case CHECKSUM_SHA1:
	case CHECKSUM_SHA256:
		EVP_DigestUpdate(c->digest, bytes.p, bytes.n);
		break;
	case CHECKSUM_MAX:
		break;
	}
}

size_t
checksum_end(struct checksum *c, uint8_t out[CHECKSUM_SIZE_MAX])
{
	size_t size = algorithms[c->algorithm].size;

	if (c->digest) {
		digest_end(TAKE(c->digest), out);
		return size;
	}
	if (c->algorithm != CHECKSUM_CRC32C)
		c->crc = ~c->crc;
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(c->crc >> 8 * (size - 1 - i));
	return size;
}

void
checksum_done(struct checksum *c)
{
	EVP_MD_CTX_free(TAKE(c->digest));
}
