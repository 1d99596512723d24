#pragma once
/* How the file of a blob looks, for those that write and read it: the bytes, a CRC-32C of each block, the trailer. */
#include "blob.h"

#define BLOB_MAGIC "MalleeB1"
#define BLOB_PAGE 4096

struct blob_trailer { /* little-endian, like every machine this runs on */
	char magic[8];
	uint64_t size_bytes;
	uint32_t block_bytes, block_count;
	uint32_t table_crc32c;
	uint32_t crc32c; /* of the fields above */
};
_Static_assert(sizeof(struct blob_trailer) == 32, "the trailer is part of the format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

char *blob_path(const struct blobs *b, const char *id); /* heap */
/* From the start of a page on: the kernel copies there several times faster than to malloc's sixteenth byte. */
char *blob_memory(size_t n);
