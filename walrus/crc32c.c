/* CRC-32C with SSE 4.2 or by a table. The instruction answers after three cycles but may begin in
 * each: three lanes of a piece run side by side, and their sums are joined by moving each past the
 * bytes that follow it, which is linear and therefore four look-ups. */
#include "crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u

#define LANE 2048 /* bytes; a piece is three */

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;
static uint32_t past_lane[4][256]; /* what a sum becomes when LANE zero bytes follow */
static pthread_once_t past_lane_once = PTHREAD_ONCE_INIT;

static void
make_table(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t c = i;

		for (unsigned k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		table[0][i] = c;
	}
	for (unsigned i = 0; i < 256; i++)
		for (unsigned k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

static uint32_t
by_table(uint32_t c, const unsigned char *p, size_t n)
{
	(void)pthread_once(&table_once, make_table);
	for (; n >= 8; p += 8, n -= 8) {
		c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		     (uint32_t)p[3] << 24;
		c = table[7][c & 0xff] ^ table[6][c >> 8 & 0xff] ^ table[5][c >> 16 & 0xff] ^
		    table[4][c >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
		    table[0][p[7]];
	}
	for (; n > 0; p++, n--)
		c = c >> 8 ^ table[0][(c ^ *p) & 0xff];
	return c;
}

#if defined(__x86_64__)
#include <immintrin.h>

static void
make_past_lane(void)
{
	static const unsigned char zeros[LANE];

	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t moved = by_table(UINT32_C(1) << bit, zeros, LANE);

		for (unsigned i = 0; i < 256; i++)
			if (i >> bit % 8 & 1)
				past_lane[bit / 8][i] ^= moved;
	}
}

static uint32_t
move_past_lane(uint32_t c)
{
	return past_lane[0][c & 0xff] ^ past_lane[1][c >> 8 & 0xff] ^ past_lane[2][c >> 16 & 0xff] ^
	       past_lane[3][c >> 24];
}

static uint64_t
word_at(const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

__attribute__((target("sse4.2"))) static uint32_t
three_lanes(uint32_t c, const unsigned char *p)
{
	uint64_t a = c, b = 0, d = 0;

	for (size_t i = 0; i < LANE; i += 8) {
		a = _mm_crc32_u64(a, word_at(p + i));
		b = _mm_crc32_u64(b, word_at(p + i + LANE));
		d = _mm_crc32_u64(d, word_at(p + i + 2 * LANE));
	}
	return move_past_lane(move_past_lane((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)d;
}

__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t c, const unsigned char *p, size_t n)
{
	uint64_t wide;

	if (n >= 3 * LANE)
		(void)pthread_once(&past_lane_once, make_past_lane);
	for (; n >= 3 * LANE; p += 3 * LANE, n -= 3 * LANE)
		c = three_lanes(c, p);
	wide = c;
	for (; n >= 8; p += 8, n -= 8)
		wide = _mm_crc32_u64(wide, word_at(p));
	c = (uint32_t)wide;
	for (; n > 0; p++, n--)
		c = _mm_crc32_u8(c, *p);
	return c;
}

static int
has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#else
static uint32_t
by_instruction(uint32_t c, const unsigned char *p, size_t n)
{
	return by_table(c, p, n);
}

static int
has_instruction(void)
{
	return 0;
}
#endif

uint32_t
crc32c(uint32_t before, const void *p, size_t n)
{
	return ~(has_instruction() ? by_instruction(~before, p, n) : by_table(~before, p, n));
}
