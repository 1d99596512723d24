#pragma once
/* What is stored beside an object's bytes, from the headers of a PUT, a copy, a form or the start of an
 * upload, and back. */
#include "content.h"
#include "request.h"

/* Everything that headers say: system and user metadata, storage class, and what the modules of ACLs,
 * tags, locks and encryption read. Strings from the request's arena. ERR_METADATA_TOO_LARGE,
 * ERR_INVALID_ARGUMENT, ERR_INVALID_STORAGE_CLASS and what those modules say. */
int metadata_read(struct request *rq, struct object_attributes *ret, struct err *e);
/* A stored set of headers without x-amz-website-redirect-location, and that of the request instead: that
 * one is not copied. */
char *metadata_copy(struct request *rq, const char *headers);
const char *metadata_storage_class(const struct object_attributes *a); /* never NULL */
/* ERR_INVALID_REQUEST: response-* of somebody who is anonymous. */
int metadata_check_overrides(const struct request *rq, struct err *e);
/* The headers of a GET or HEAD; the query's response-* have precedence. */
void metadata_reply(struct request *rq, const struct object *o);
/* Those that a 304 repeats, so that caches keep the object by what is said of it now (RFC 9110 section
 * 15.4.5). */
void metadata_reply_unchanged(struct request *rq, const struct object *o);
