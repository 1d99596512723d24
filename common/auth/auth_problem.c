/* One table from what went wrong to what each service's clients expect to read. EC2 does not tell
 * an unknown key from a wrong signature, IAM, STS and S3 do; S3 has codes of its own for each way
 * of writing a signature wrongly. */
#include "auth/auth_problem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const int codes[AUTH_PROBLEM_MAX][AUTH_SERVICE_MAX] = {
	[AUTH_MISSING] = { ERR_MISSING_AUTHENTICATION_TOKEN, ERR_ACCESS_DENIED,
	    ERR_MISSING_AUTHENTICATION_TOKEN },
	[AUTH_MALFORMED] = { ERR_INCOMPLETE_SIGNATURE, ERR_AUTHORIZATION_HEADER_MALFORMED,
	    ERR_INCOMPLETE_SIGNATURE },
	[AUTH_BAD_PARAMETER] = { ERR_INCOMPLETE_SIGNATURE, ERR_AUTHORIZATION_QUERY_PARAMETERS,
	    ERR_INCOMPLETE_SIGNATURE },
	[AUTH_AMBIGUOUS] = { ERR_INCOMPLETE_SIGNATURE, ERR_INVALID_ARGUMENT,
	    ERR_INCOMPLETE_SIGNATURE },
	[AUTH_UNKNOWN_KEY] = { ERR_AUTH_FAILURE, ERR_INVALID_ACCESS_KEY_ID,
	    ERR_INVALID_CLIENT_TOKEN_ID },
	[AUTH_MISMATCH] = { ERR_AUTH_FAILURE, ERR_SIGNATURE_DOES_NOT_MATCH,
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	[AUTH_UNSIGNED_HEADER] = { ERR_INCOMPLETE_SIGNATURE, ERR_ACCESS_DENIED,
	    ERR_INCOMPLETE_SIGNATURE },
	[AUTH_SKEWED] = { ERR_REQUEST_EXPIRED, ERR_REQUEST_TIME_TOO_SKEWED,
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	[AUTH_EXPIRED] = { ERR_REQUEST_EXPIRED, ERR_ACCESS_DENIED, ERR_SIGNATURE_DOES_NOT_MATCH },
	[AUTH_BODY_MISMATCH] = { ERR_AUTH_FAILURE, ERR_CONTENT_SHA256_MISMATCH,
	    ERR_SIGNATURE_DOES_NOT_MATCH },
};

int
auth_refuse(
    enum auth_service service, enum auth_problem problem, struct err *e, const char *format, ...)
{
	char text[256];
	va_list ap;

	assert(service < AUTH_SERVICE_MAX && problem < AUTH_PROBLEM_MAX);
	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return err_set(e, codes[problem][service], "%s", text);
}

bool
auth_find_key(auth_lookup_fn lookup, void *arg, struct str access_key_id, struct auth_key *ret)
{
	char id[ACCESS_KEY_ID_SIZE] = "";

	if (access_key_id.n < sizeof(id)) {
		memcpy(id, access_key_id.p, access_key_id.n);
		if (strlen(id) == access_key_id.n && lookup(arg, id, ret) && ret->is_active)
			return true;
	}
	*ret = (struct auth_key){ .access_key_id = "-",
		.secret = "no such key no such key no such key....." };
	return false;
}

struct str
auth_header(const struct auth_request *rq, const char *name)
{
	for (unsigned i = 0; i < rq->header_count; i++)
		if (str_is_nocase(rq->headers[i].name, name))
			return rq->headers[i].value;
	return (struct str){ NULL, 0 };
}

unsigned
auth_header_count(const struct auth_request *rq, const char *name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rq->header_count; i++)
		n += str_is_nocase(rq->headers[i].name, name);
	return n;
}
