#pragma once
/* Checksums that clients send along, in a header or in the trailer of an aws-chunked body: "Checking
 * object integrity" of the S3 user guide. */
#include <openssl/evp.h>
#include "base/err.h"
#include "base/str.h"

enum checksum_algorithm {
	CHECKSUM_CRC32,
	CHECKSUM_CRC32C,
	CHECKSUM_CRC64NVME,
	CHECKSUM_SHA1,
	CHECKSUM_SHA256,
	CHECKSUM_MAX
};
#define CHECKSUM_SIZE_MAX 32
struct checksum {
	enum checksum_algorithm algorithm;
	uint64_t crc;
	EVP_MD_CTX *digest;
};
const char *checksum_header(enum checksum_algorithm a); /* "x-amz-checksum-crc32" */
size_t checksum_size(enum checksum_algorithm a);        /* in bytes */
bool checksum_from_header(struct str name, enum checksum_algorithm *ret); /* any case */
void checksum_begin(struct checksum *c, enum checksum_algorithm a);
void checksum_add(struct checksum *c, struct str bytes);
size_t checksum_end(struct checksum *c, uint8_t out[CHECKSUM_SIZE_MAX]); /* big-endian; its size */
void checksum_done(struct checksum *c); /* when it will not end */
