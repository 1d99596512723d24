#pragma once
/* AWS Signature Version 2: Query API (HmacSHA1, HmacSHA256, GET and POST) and S3 (header and
 * query), as euca2ools, boto 2 and old SDKs sign. */
#include "auth/credentials.h"

bool sigv2_is_present(enum auth_service service, const struct auth_request *rq);
/* For S3 with virtual-host style `bucket` is the bucket taken from the host, else NULL. */
int sigv2_verify(auth_lookup_fn lookup, void *arg, enum auth_service service,
    const struct auth_request *rq, const char *bucket, int64_t now_us, struct auth_key *ret,
    struct err *e);

/* The policy of a form that a browser sends to a bucket. */
struct sigv2_policy {
	struct str access_key_id, signature; /* base64 */
	struct str policy;                   /* as it came: base64 */
};
/* ERR_INVALID_ACCESS_KEY_ID, ERR_SIGNATURE_DOES_NOT_MATCH. details may be NULL. */
int sigv2_verify_policy(auth_lookup_fn lookup, void *arg, const struct sigv2_policy *policy,
    struct err_details *details, struct auth_key *ret, struct err *e);
