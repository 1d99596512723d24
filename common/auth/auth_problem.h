#pragma once
/* What can be wrong with a signed request, and which fault each service calls it. Private to auth.
 */
#include "auth/credentials.h"

enum auth_problem {
	AUTH_MISSING,       /* no signature at all */
	AUTH_MALFORMED,     /* Authorization header cannot be read */
	AUTH_BAD_PARAMETER, /* of a signature in the query */
	AUTH_BAD_FIELD,     /* of a signature in a form */
	AUTH_AMBIGUOUS,     /* two signatures, two dates */
	AUTH_UNKNOWN_KEY,
	AUTH_MISMATCH,
	AUTH_UNSIGNED_HEADER,
	AUTH_SKEWED,
	AUTH_EXPIRED,
	AUTH_BODY_MISMATCH,
	AUTH_PROBLEM_MAX
};
int auth_refuse(enum auth_service service, enum auth_problem problem, struct err *e,
    const char *format, ...) _printf_(4, 5);

/* The refusals that every version of a signature has, with the details that S3 gives of them. */
int auth_refuse_ambiguous(enum auth_service service, const struct auth_request *rq, struct err *e);
int auth_refuse_unknown(
    enum auth_service service, struct err_details *d, struct str access_key_id, struct err *e);
/* `to_sign` is what the signature should have been of; canonical, p NULL where there is none, what
 * that was made of. */
struct auth_mismatch {
	struct str access_key_id, signature, to_sign, canonical;
};
int auth_refuse_mismatch(
    enum auth_service service, struct err_details *d, const struct auth_mismatch *m, struct err *e);
/* `time`: as the request wrote it. */
int auth_refuse_skewed(enum auth_service service, struct err_details *d, struct str time,
    int64_t now_us, struct err *e);
/* `until_us`: when it ended; expires_s: X-Amz-Expires, 0 where there is none. */
int auth_refuse_expired(enum auth_service service, struct err_details *d, int64_t until_us,
    uint32_t expires_s, int64_t now_us, struct err *e);
#define AUTH_SKEW_US (15 * 60 * INT64_C(1000000))

/* The active key of that name; false and a key that signs nothing when there is none, so that the
 * caller can go on to the end and take the same time. */
bool auth_find_key(
    auth_lookup_fn lookup, void *arg, struct str access_key_id, struct auth_key *ret);

/* First header of that name, any case; p NULL when absent. */
struct str auth_header_str(const struct auth_request *rq, struct str name);
unsigned auth_header_count_str(const struct auth_request *rq, struct str name);
static inline struct str
auth_header(const struct auth_request *rq, const char *name)
{
	return auth_header_str(rq, str_of(name));
}
static inline unsigned
auth_header_count(const struct auth_request *rq, const char *name)
{
	return auth_header_count_str(rq, str_of(name));
}
