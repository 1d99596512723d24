/* By table, eight bytes at a time; or by folding, where the processor has the multiplication that
 * it needs: what was read so far is kept as a few polynomials of 128 bits that have the same
 * remainder, and each is moved past the bytes that follow it by two products. At last 16 bytes are
 * left, and go by table. ("Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", Intel,
 * 2009.) */
#include "crc.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define NARROW 64 /* bytes in a step: four polynomials */
#define WIDE 128  /* eight, two to a register */
/* One stream of reads does not keep the memory busy, and the processor itself fetches ahead within
 * a page only: of large spans two places are read at once, and asked for before. */
#define FAR (32 * 1024)
#define AHEAD 2048

static const struct {
	uint64_t polynomial; /* reflected */
	unsigned bits;
} kinds[CRC_MAX] = {
	[CRC_32] = { UINT64_C(0xedb88320), 32 },
	[CRC_32C] = { UINT64_C(0x82f63b78), 32 },
	[CRC_64NVME] = { UINT64_C(0x9a6c9329ac4bc9b5), 64 },
};

struct tables {
	uint64_t t[8][256];
	/* What the two halves of 16 bytes are multiplied by to move past a step. */
	uint64_t past_far[2], past_wide[2], past_narrow[2], past_one[2];
};
static struct tables tables_of[CRC_MAX];
static bool is_narrow, is_wide;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* x^n modulo the polynomial, bit 63 being x^0. */
static uint64_t
power(unsigned n, enum crc_kind kind)
{
	uint64_t r = UINT64_C(1) << (kinds[kind].bits - 1);

	while (n-- > 0)
		r = r & 1 ? r >> 1 ^ kinds[kind].polynomial : r >> 1;
	return r << (64 - kinds[kind].bits);
}

/* The product of two reflected numbers comes out one place too low: hence x^(n - 1) for x^n. The
 * half that lies first in memory is of the higher powers. */
static void
make_past(uint64_t past[2], unsigned bytes, enum crc_kind kind)
{
	past[0] = power(bytes * 8 + 63, kind);
	past[1] = power(bytes * 8 - 1, kind);
}

static void
make_tables(struct tables *tables, enum crc_kind kind)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t c = i;

		for (unsigned k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ kinds[kind].polynomial : c >> 1;
		tables->t[0][i] = c;
	}
	for (unsigned i = 0; i < 256; i++)
		for (unsigned k = 1; k < 8; k++)
			tables->t[k][i] =
			    tables->t[k - 1][i] >> 8 ^ tables->t[0][tables->t[k - 1][i] & 0xff];
	make_past(tables->past_far, FAR, kind);
	make_past(tables->past_wide, WIDE, kind);
	make_past(tables->past_narrow, NARROW, kind);
	make_past(tables->past_one, 16, kind);
}

static void
make_all(void)
{
	for (unsigned kind = 0; kind < CRC_MAX; kind++)
		make_tables(&tables_of[kind], kind);
#ifdef __x86_64__
	is_narrow = __builtin_cpu_supports("pclmul");
	is_wide =
	    is_narrow && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
#endif
}

static uint64_t
by_table(const struct tables *tables, uint64_t c, const char *bytes, size_t n)
{
	const unsigned char *p = (const unsigned char *)bytes;

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
static inline __m128i
load(const void *p)
{
	return _mm_loadu_si128(p);
}

/* x moved past some bytes, plus what comes there. */
__attribute__((target("pclmul"))) static inline __m128i
fold(__m128i x, __m128i past, __m128i there)
{
	__m128i first = _mm_clmulepi64_si128(x, past, 0x00),
		second = _mm_clmulepi64_si128(x, past, 0x11);

	return _mm_xor_si128(_mm_xor_si128(first, second), there);
}

__attribute__((target("avx2,vpclmulqdq"))) static inline __m256i
fold_two(__m256i x, __m256i past, __m256i there)
{
	__m256i first = _mm256_clmulepi64_epi128(x, past, 0x00),
		second = _mm256_clmulepi64_epi128(x, past, 0x11);

	return _mm256_xor_si256(_mm256_xor_si256(first, second), there);
}

/* Whole steps of the bytes, at least one, become 16 that have the same remainder. */
__attribute__((target("pclmul"))) static __m128i
narrow_steps(const struct tables *tables, uint64_t c, const char *p, size_t n)
{
	const __m128i past = load(tables->past_narrow), past_one = load(tables->past_one);
	__m128i x[4];

	for (unsigned i = 0; i < 4; i++)
		x[i] = load(p + 16 * i);
	x[0] = _mm_xor_si128(x[0], _mm_cvtsi64_si128((int64_t)c));
	for (p += NARROW, n -= NARROW; n >= NARROW; p += NARROW, n -= NARROW)
		for (unsigned i = 0; i < 4; i++)
			x[i] = fold(x[i], past, load(p + 16 * i));
	for (unsigned i = 1; i < 4; i++)
		x[0] = fold(x[0], past_one, x[i]);
	return x[0];
}

#define WIDE_TARGET __attribute__((target("avx2,vpclmulqdq,pclmul")))

WIDE_TARGET static inline void
wide_step(__m256i x[4], __m256i past, const char *p)
{
	_mm_prefetch(p + AHEAD, _MM_HINT_T0);
	_mm_prefetch(p + AHEAD + WIDE / 2, _MM_HINT_T0);
	for (unsigned i = 0; i < 4; i++)
		x[i] = fold_two(x[i], past, _mm256_loadu_si256((const void *)(p + 32 * i)));
}

/* The bytes as far as they come in pairs of FAR, how many it says: the second of a pair is summed
 * by itself, and the first moved past it. */
WIDE_TARGET static size_t
far_steps(const struct tables *tables, __m256i x[4], __m256i past, const char *p, size_t n)
{
	const __m256i past_far = _mm256_broadcastsi128_si256(load(tables->past_far));
	const char *begin = p;

	for (; n >= 2 * FAR; p += 2 * FAR, n -= 2 * FAR) {
		__m256i y[4] = { 0 };

		for (size_t at = 0; at < FAR; at += WIDE) {
			wide_step(x, past, p + at);
			wide_step(y, past, p + FAR + at);
		}
		for (unsigned i = 0; i < 4; i++)
			x[i] = fold_two(x[i], past_far, y[i]);
	}
	return (size_t)(p - begin);
}

WIDE_TARGET static __m128i
wide_steps(const struct tables *tables, uint64_t c, const char *p, size_t n)
{
	const __m256i past = _mm256_broadcastsi128_si256(load(tables->past_wide));
	const __m128i past_one = load(tables->past_one);
	const char *end = p + n;
	__m256i x[4];
	__m128i all;

	for (unsigned i = 0; i < 4; i++)
		x[i] = _mm256_loadu_si256((const void *)(p + 32 * i));
	x[0] = _mm256_xor_si256(x[0], _mm256_set_epi64x(0, 0, 0, (int64_t)c));
	p += WIDE;
	for (p += far_steps(tables, x, past, p, n - WIDE); p < end; p += WIDE)
		wide_step(x, past, p);
	all = _mm256_castsi256_si128(x[0]);
	for (unsigned i = 0; i < 4; i++) {
		if (i > 0)
			all = fold(all, past_one, _mm256_castsi256_si128(x[i]));
		all = fold(all, past_one, _mm256_extracti128_si256(x[i], 1));
	}
	return all;
}

__attribute__((target("pclmul"))) static uint64_t
by_folding(const struct tables *tables, uint64_t c, const char *p, size_t n)
{
	const __m128i past_one = load(tables->past_one);
	size_t step = is_wide && n >= WIDE ? WIDE : NARROW, done = n / step * step;
	char left[16];
	__m128i x =
	    step == WIDE ? wide_steps(tables, c, p, done) : narrow_steps(tables, c, p, done);

	for (p += done, n -= done; n >= 16; p += 16, n -= 16)
		x = fold(x, past_one, load(p));
	_mm_storeu_si128((void *)left, x);
	c = by_table(tables, 0, left, sizeof(left));
	return by_table(tables, c, p, n);
}
#else
static uint64_t
by_folding(const struct tables *tables, uint64_t c, const char *p, size_t n)
{
	return by_table(tables, c, p, n);
}
#endif

uint64_t
crc(enum crc_kind kind, uint64_t before, const void *p, size_t n)
{
	const uint64_t ones = UINT64_MAX >> (64 - kinds[kind].bits);
	const struct tables *tables = &tables_of[kind];

	(void)pthread_once(&once, make_all);
	return ones ^ (is_narrow && n >= NARROW ? by_folding(tables, before ^ ones, p, n)
						: by_table(tables, before ^ ones, p, n));
}
