#pragma once
/* The body of a request, decoded: aws-chunked framing taken off, digests taken and compared. What
 * it needs lies in struct request. */
#include "base/err.h"
#include "base/str.h"

struct request;
struct sigv4_result;

/* What the head says of the body, once the operation is known. */
int body_expect(struct request *rq, const struct sigv4_result *signature, struct err *e);
/* Content-MD5 and x-amz-checksum-*, as rq->head has them; what of the object is kept of each byte.
 */
int body_expect_digests(struct request *rq, struct err *e);
/* Bytes as they were sent: what they hold goes to the operation. */
int body_take(struct request *rq, struct str bytes, struct err *e);
/* The object's own bytes: they are hashed, and go to the operation. */
int body_add(struct request *rq, struct str bytes, struct err *e);
/* That it was whole and had the digests that were announced; rq->md5 is set, and
 * rq->wanted_sha256, where there is one, is that of the body. */
int body_check(struct request *rq, struct err *e);
