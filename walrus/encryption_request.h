#pragma once
/* What requests say of encryption: x-amz-server-side-encryption and its kin, and the bucket's default. */
#include "encryption.h"
#include "request.h"

/* Of an object or an upload that begins: what to store of its key. ret_cipher (may be NULL): what its bytes go
 * through, NULL for none; the caller frees it. ERR_INVALID_ARGUMENT, ERR_INVALID_REQUEST,
 * ERR_INVALID_ENCRYPTION, ERR_KMS_NOT_FOUND. */
int encryption_begin(struct request *rq, char **ret_text, struct cipher **ret_cipher, struct err *e);
/* Of one more part of an upload that has `text`. */
int encryption_go_on(struct request *rq, const char *text, struct cipher **ret_cipher, struct err *e);
/* Of an object that is read: the reader can read it afterwards. Sets headers of the reply. */
int encryption_unlock(
    struct request *rq, const struct object *o, struct content_reader *reader, struct err *e);
/* The same of the source of a copy, by x-amz-copy-source-server-side-encryption-customer-*. */
int encryption_unlock_source(
    struct request *rq, const struct object *o, struct content_reader *reader, struct err *e);
/* Whether an object that this request makes can have the key of that one: then *ret_text is its own. */
bool encryption_is_same(struct request *rq, const char *source_text);
/* The headers of a reply, of what was stored. */
void encryption_reply(struct request *rq, const char *text);

/* The setting of a bucket: value is non-NULL. */
int encryption_default_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void encryption_default_write(struct request *rq, struct xml_writer *w, const void *value);
