/* Five algorithms behind one face. CRC-32 and CRC-64/NVME go by table, eight bytes at a time. */
#include "checksum.h"

#include <pthread.h>

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
};
static struct tables crc32_tables, crc64nvme_tables;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
make_table(struct tables *tables, uint64_t polynomial)
{
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
	make_table(&crc32_tables, CRC32_POLYNOMIAL);
	make_table(&crc64nvme_tables, CRC64NVME_POLYNOMIAL);
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
		c->crc = by_table(&crc32_tables, c->crc, bytes);
		break;
	case CHECKSUM_CRC32C:
		c->crc = crc32c((uint32_t)c->crc, bytes.p, bytes.n);
		break;
	case CHECKSUM_CRC64NVME:
		c->crc = by_table(&crc64nvme_tables, c->crc, bytes);
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
