#pragma once
/* If-Match and its kin: RFC 9110 section 13, and "Conditional requests" of the S3 user guide. */
#include "content.h"
#include "request.h"

/* Of a read: 0 to go on, 304 or 412 otherwise. */
int condition_of_read(const struct request *rq, const struct object *o);
/* The same of the source of a copy, by x-amz-copy-source-if-*: whether all hold. */
bool condition_of_source(const struct request *rq, const struct object *o);
/* RFC 9110 13.1.5: a range is only meant for the object that the client knows. */
bool condition_wants_range(const struct request *rq, const struct object *o);
/* "*", or a list of tags. */
bool condition_names_etag(struct str list, const char *etag);

/* Of a write: what the key's current object must be when it commits. p NULL: no matter what. */
struct write_condition {
	struct str if_match;
	bool if_none; /* If-None-Match: *: there must be none */
};
/* From the headers. ERR_NOT_IMPLEMENTED: a tag in If-None-Match, as at Amazon. */
int write_condition_read(const struct request *rq, struct write_condition *ret, struct err *e);
/* current: NULL, or a row. ERR_PRECONDITION_FAILED, ERR_KEY_NOT_FOUND. */
int write_condition_check(
    const struct write_condition *c, const struct object *current, struct err *e);
