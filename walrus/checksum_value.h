#pragma once
/* Checksums of objects and parts as values: as they are stored, compared, made of those of parts, answered. */
#include "checksum.h"
#include "content.h"
#include "request.h"

#define CHECKSUM_DEFAULT CHECKSUM_CRC64NVME /* of what comes without, as at Amazon */
enum checksum_type { CHECKSUM_FULL_OBJECT, CHECKSUM_COMPOSITE };
struct checksum_value {
	enum checksum_algorithm algorithm; /* CHECKSUM_MAX: none */
	enum checksum_type type;
	uint8_t bytes[CHECKSUM_SIZE_MAX];
	size_t size;         /* 0: no value yet, of an upload that was begun */
	uint32_t part_count; /* of one that is composite */
};
/* The columns `checksum`: "CRC32 FULL_OBJECT BASE64", without value for an upload. NULL reads as none. */
void checksum_value_parse(const char *text, struct checksum_value *ret);
char *checksum_value_format(const struct checksum_value *v, struct arena *arena);
/* Its value as clients see it: "BASE64", "BASE64-PARTS". NULL: none. */
char *checksum_value_text(const struct checksum_value *v, struct arena *arena);
bool checksum_value_read(enum checksum_algorithm a, struct str text, struct checksum_value *ret); /* its inverse */
void checksum_value_end(struct checksum *c, struct checksum_value *ret); /* of bytes, as one */

const char *checksum_name(enum checksum_algorithm a);    /* "CRC32" */
const char *checksum_element(enum checksum_algorithm a); /* "ChecksumCRC32" */
const char *checksum_type_name(enum checksum_type t);    /* "FULL_OBJECT" */
bool checksum_from_name(struct str name, enum checksum_algorithm *ret);

/* Of parts, in order: hash of hashes, or for a CRC that of all bytes, by arithmetic alone. */
struct checksum_sum {
	struct checksum_value value;
	struct checksum hashes;
	uint64_t crc, size_bytes;
};
void checksum_sum_begin(struct checksum_sum *s, enum checksum_algorithm a, enum checksum_type type);
void checksum_sum_add(struct checksum_sum *s, const struct checksum_value *part, uint64_t part_bytes);
void checksum_sum_end(struct checksum_sum *s, struct checksum_value *ret);
/* CRC of a followed by b, of which the CRCs are known. */
uint64_t checksum_combine(enum checksum_algorithm a, uint64_t crc_a, uint64_t crc_b, uint64_t bytes_b);

/* -- requests -- */
/* x-amz-checksum-algorithm and -type of an upload that begins, or of a copy; CHECKSUM_MAX: none named.
 * ERR_INVALID_REQUEST. */
int checksum_wanted(const struct request *rq, struct checksum_value *ret, struct err *e);
/* The value that x-amz-checksum-* names, of the object and not of the body; CHECKSUM_MAX: none. */
int checksum_named(const struct request *rq, struct checksum_value *ret, struct err *e);
bool checksum_is_same(const struct checksum_value *a, const struct checksum_value *b);
/* Of the body that was read whole, as the client said it. */
void checksum_of_body(const struct request *rq, struct checksum_value *ret);
/* The header of the value, and x-amz-checksum-type. */
void checksum_reply(struct request *rq, const char *text);
/* <ChecksumCRC32>, and <ChecksumType> if asked for. */
void checksum_write(struct request *rq, struct xml_writer *w, const char *text, bool with_type);
/* <ChecksumAlgorithm> and <ChecksumType>, for lists. */
void checksum_write_kind(struct xml_writer *w, const char *text);
