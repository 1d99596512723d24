/* Five algorithms behind one face. */
#include "checksum.h"

#include "auth/digest.h"
#include "crc.h"

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
	const struct str prefix = STR("x-amz-checksum-");

	/* hardly a header is one */
	if (name.n <= prefix.n || !str_eq_nocase((struct str){ name.p, prefix.n }, prefix))
		return false;
	for (unsigned a = 0; a < CHECKSUM_MAX; a++)
		if (str_is_nocase(name, algorithms[a].header)) {
			*ret = a;
			return true;
		}
	return false;
}

/* -- one checksum -- */

void
checksum_begin(struct checksum *c, enum checksum_algorithm a)
{
	*c = (struct checksum){ .algorithm = a };
	if (a == CHECKSUM_SHA1 || a == CHECKSUM_SHA256)
		c->digest = digest_begin(a == CHECKSUM_SHA1 ? DIGEST_SHA1 : DIGEST_SHA256);
}

void
checksum_add(struct checksum *c, struct str bytes)
{
	switch (c->algorithm) {
	case CHECKSUM_CRC32:
		c->crc = crc(CRC_32, c->crc, bytes.p, bytes.n);
		break;
	case CHECKSUM_CRC32C:
		c->crc = crc(CRC_32C, c->crc, bytes.p, bytes.n);
		break;
	case CHECKSUM_CRC64NVME:
		c->crc = crc(CRC_64NVME, c->crc, bytes.p, bytes.n);
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
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(c->crc >> 8 * (size - 1 - i));
	return size;
}

void
checksum_done(struct checksum *c)
{
	EVP_MD_CTX_free(TAKE(c->digest));
}
