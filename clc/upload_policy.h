#pragma once
/* Upload policies: what the owner of a bucket signs to let somebody else put objects into it, as S3's browser
 * uploads know them (base64 of a JSON document, signed with HMAC-SHA1 of that base64). */
#include <stdint.h>
#include "base/err.h"

struct upload {
	const char *bucket;
	const char *key;    /* each one that is to be written: all begin with this */
	const char *acl;    /* of the objects */
	int64_t now_us;
};
/* SIGNATURE_DOES_NOT_MATCH unless `secret` made the signature. */
int upload_policy_check_signature(const char *policy, const char *signature, const char *secret,
    struct err *e);
/* INVALID_POLICY_DOCUMENT when it can't be read; UNAUTHORIZED_OPERATION when it has expired, or does not allow the
 * upload: every condition must hold, and bucket and key must have one. */
int upload_policy_check(const char *policy, const struct upload *upload, struct err *e);
