/* One table from what went wrong to what each service's clients expect to read. EC2 does not tell
 * an unknown key from a wrong signature, IAM, STS and S3 do; S3 has codes of its own for each way
 * of writing a signature wrongly. */
#include "auth/auth_problem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/strbuf.h"

static const int codes[AUTH_PROBLEM_MAX][AUTH_SERVICE_MAX] = {
	[AUTH_MISSING] = { ERR_MISSING_AUTHENTICATION_TOKEN, ERR_ACCESS_DENIED,
	    ERR_MISSING_AUTHENTICATION_TOKEN },
	[AUTH_MALFORMED] = { ERR_INCOMPLETE_SIGNATURE, ERR_AUTHORIZATION_HEADER_MALFORMED,
	    ERR_INCOMPLETE_SIGNATURE },
	[AUTH_BAD_PARAMETER] = { ERR_INCOMPLETE_SIGNATURE, ERR_AUTHORIZATION_QUERY_PARAMETERS,
	    ERR_INCOMPLETE_SIGNATURE },
	[AUTH_BAD_FIELD] = { ERR_INCOMPLETE_SIGNATURE, ERR_INVALID_ARGUMENT,
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

int
auth_refuse_ambiguous(enum auth_service service, const struct auth_request *rq, struct err *e)
{
	struct str header = auth_header(rq, "authorization");

	err_detail(rq->details, "ArgumentName", STR("Authorization"));
	err_detail(rq->details, "ArgumentValue", header.p ? header : STR(""));
	return auth_refuse(service, AUTH_AMBIGUOUS, e,
	    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature "
	    "query string parameter or the Authorization header should be specified");
}

int
auth_refuse_unknown(
    enum auth_service service, struct err_details *d, struct str access_key_id, struct err *e)
{
	err_detail(d, "AWSAccessKeyId", access_key_id);
	return auth_refuse(service, AUTH_UNKNOWN_KEY, e,
	    "The AWS Access Key Id you provided does not exist in our records.");
}

/* "41 57 53 34": the text is hard to compare where it holds what cannot be seen. */
static void
detail_bytes(struct err_details *d, const char *name, struct str text)
{
	_cleanup_strbuf_ struct strbuf hex = STRBUF_INIT;

	for (size_t i = 0; i < text.n; i++)
		strbuf_addf(&hex, i ? " %02x" : "%02x", (unsigned char)text.p[i]);
	err_detail(d, name, strbuf_str(&hex));
}

int
auth_refuse_mismatch(
    enum auth_service service, struct err_details *d, const struct auth_mismatch *m, struct err *e)
{
	if (d) {
		err_detail(d, "AWSAccessKeyId", m->access_key_id);
		err_detail(d, "StringToSign", m->to_sign);
		err_detail(d, "SignatureProvided", m->signature);
		detail_bytes(d, "StringToSignBytes", m->to_sign);
		if (m->canonical.p) {
			err_detail(d, "CanonicalRequest", m->canonical);
			detail_bytes(d, "CanonicalRequestBytes", m->canonical);
		}
	}
	return auth_refuse(service, AUTH_MISMATCH, e,
	    "The request signature we calculated does not match the signature you provided. Check "
	    "your key and signing method.");
}

/* Whole seconds, as S3 writes times in errors. */
static void
detail_time(struct err_details *d, const char *name, int64_t us)
{
	char text[TIME_TEXT_SIZE];

	time_format_iso(us, text);
	err_detailf(d, name, "%.19sZ", text);
}

int
auth_refuse_skewed(enum auth_service service, struct err_details *d, struct str time,
    int64_t now_us, struct err *e)
{
	err_detail(d, "RequestTime", time);
	detail_time(d, "ServerTime", now_us);
	err_detailf(d, "MaxAllowedSkewMilliseconds", "%lld", (long long)(AUTH_SKEW_US / 1000));
	return auth_refuse(service, AUTH_SKEWED, e,
	    "The difference between the request time and the current time is too large.");
}

int
auth_refuse_expired(enum auth_service service, struct err_details *d, int64_t until_us,
    uint32_t expires_s, int64_t now_us, struct err *e)
{
	if (expires_s > 0)
		err_detailf(d, "X-Amz-Expires", "%u", expires_s);
	detail_time(d, "Expires", until_us);
	detail_time(d, "ServerTime", now_us);
	return auth_refuse(service, AUTH_EXPIRED, e, "Request has expired");
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
auth_header_str(const struct auth_request *rq, struct str name)
{
	for (unsigned i = 0; i < rq->header_count; i++)
		if (rq->headers[i].name.n == name.n && str_eq_nocase(rq->headers[i].name, name))
			return rq->headers[i].value;
	return (struct str){ NULL, 0 };
}

unsigned
auth_header_count_str(const struct auth_request *rq, struct str name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rq->header_count; i++)
		n += rq->headers[i].name.n == name.n && str_eq_nocase(rq->headers[i].name, name);
	return n;
}
