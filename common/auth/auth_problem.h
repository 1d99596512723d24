#pragma once
/* What can be wrong with a signed request, and which fault each service calls it. Private to auth.
 */
#include "auth/credentials.h"

enum auth_problem {
	AUTH_MISSING,       /* no signature at all */
	AUTH_MALFORMED,     /* Authorization header cannot be read */
	AUTH_BAD_PARAMETER, /* of a signature in the query */
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

/* The active key of that name; false and a key that signs nothing when there is none, so that the
 * caller can go on to the end and take the same time. */
bool auth_find_key(
    auth_lookup_fn lookup, void *arg, struct str access_key_id, struct auth_key *ret);

/* First header of that name, any case; p NULL when absent. */
struct str auth_header(const struct auth_request *rq, const char *name);
unsigned auth_header_count(const struct auth_request *rq, const char *name);
