#pragma once
/* The object that a copy is made of: x-amz-copy-source and the headers beside it. */
#include "content.h"
#include "request.h"

#define COPY_BYTES_MAX S3_OBJECT_MAX

struct copy_source_name {
	char *bucket;
	struct str key;
	char *version_id; /* NULL: the current one */
};
/* "/bucket/key?versionId=...", percent-encoded; the first slash may be missing. ERR_INVALID_ARGUMENT. */
int copy_source_parse(struct str header, struct arena *arena, struct copy_source_name *ret, struct err *e);
/* "bytes=FIRST-LAST" of an object of that size. ERR_INVALID_ARGUMENT. */
int copy_range_parse(struct str header, uint64_t size_bytes, uint64_t *ret_first, uint64_t *ret_count,
    struct err *e);

struct copy_source {
	struct copy_source_name name;
	struct bucket *bucket; /* one count */
	struct object object;
	struct content_reader *reader; /* unlocked */
};
/* There, readable for the caller, and as x-amz-copy-source-if-* wants it: else ERR_PRECONDITION_FAILED.
 * ERR_BUCKET_NOT_FOUND, ERR_KEY_NOT_FOUND, ERR_VERSION_NOT_FOUND, ERR_ACCESS_DENIED, ERR_INVALID_REQUEST (a
 * delete marker by its id). */
int copy_source_open(struct request *rq, struct copy_source *ret, struct err *e);
void copy_source_done(struct copy_source *s);
void copy_source_reply(struct request *rq, const struct copy_source *s); /* x-amz-copy-source-version-id */
