/* Signature Version 4 against AWS's published vectors, against requests that real clients signed
 * (tests/data/sigv4/generate makes them with botocore), and against what it must refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include "auth/sigv4.h"
#include "auth/sigv4_key.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "tests/lib/signed_request.h"

static struct sigv4 *verifier;

static int
verify(const struct signed_request *s, struct sigv4_result *ret, struct err *e)
{
	return sigv4_verify(verifier, s->service, &s->rq, s->now_us, ret, e);
}

static int
mismatch_code(enum auth_service service)
{
	return service == AUTH_QUERY ? ERR_AUTH_FAILURE : ERR_SIGNATURE_DOES_NOT_MATCH;
}

/* Another last digit of the signature, wherever it stands. */
static void
break_signature(struct signed_request *s)
{
	char *signature = strstr(s->text, "Signature=");

	assert_non_null(signature);
	signature[10] = signature[10] == '0' ? '1' : '0';
}

static void
verify_files(const char *pattern, size_t at_least)
{
	glob_t files;

	assert_int_equal(glob(pattern, 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= at_least);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		struct signed_request s;
		struct sigv4_result result;
		struct err e = { 0 };

		signed_request_load(&s, files.gl_pathv[i]);
		if (!sigv4_is_present(&s.rq)) { /* of version 2: test_sigv2 */
			signed_request_done(&s);
			continue;
		}
		if (verify(&s, &result, &e) < 0)
			fail_msg("%s: %s: %s", files.gl_pathv[i], fault_name(e.code), e.text);
		break_signature(&s);
		assert_int_equal(verify(&s, &result, &e), mismatch_code(s.service));
		signed_request_done(&s);
	}
	globfree(&files);
}

static void
test_published_suite(void **state)
{
	verify_files("tests/data/sigv4/aws-suite/*.sreq", 28);
}

static void
test_s3_documentation(void **state)
{
	verify_files("tests/data/sigv4/s3-docs/*.sreq", 8);
}

static void
test_real_clients(void **state)
{
	verify_files("tests/data/sigv4/clients/v4-*.sreq", 30);
}

/* -- rules -- */

#define NOW_US (INT64_C(1440938160) * 1000000) /* 20150830T123600Z */
#define KEY "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* A request that our own signer signed; tests change it afterwards. */
struct made {
	struct signed_request s;
	struct strbuf authorization;
	char date[17];
};

static void
made_done(struct made *m)
{
	signed_request_done(&m->s);
	strbuf_done(&m->authorization);
}

static void
make(struct made *m, enum auth_service service, const char *url, const char *access_key,
    int64_t now_us)
{
	struct sigv4_signer signer = { access_key, SECRET, "zone-one",
		service == AUTH_S3 ? "s3" : "ec2", now_us };
	_cleanup_free_ char *text = xasprintf(
	    "GET %s HTTP/1.1\nHost: 127.0.0.1:8773\n\n", url + strlen("http://127.0.0.1:8773"));
	struct err e = { 0 };

	*m = (struct made){ 0 };
	signed_request_parse(&m->s, str_of(text));
	m->s.service = service;
	m->s.now_us = NOW_US;
	assert_int_equal(sigv4_sign(&signer, "GET", url, EMPTY, m->date, &m->authorization, &e), 0);
	signed_request_set(&m->s, "X-Amz-Date", m->date);
	signed_request_set(&m->s, "x-amz-content-sha256", EMPTY);
	signed_request_set(&m->s, "Authorization", strbuf_c(&m->authorization));
}

#define S3_URL "http://127.0.0.1:8773/bucket/key"
#define EC2_URL "http://127.0.0.1:8773/?Action=DescribeInstances"

static const struct {
	const char *name;
	enum auth_service service;
	const char *header, *value; /* NULL: removed */
	int code;
} header_rules[] = {
	{ "unchanged", AUTH_S3, "X-Other", "1", 0 },
	{ "unchanged query", AUTH_QUERY, "X-Other", "1", 0 },
	{ "an unsigned x-amz header", AUTH_S3, "x-amz-acl", "public-read", ERR_ACCESS_DENIED },
	{ "an unsigned x-amz header, query", AUTH_QUERY, "X-AMZ-Acl", "x",
	    ERR_INCOMPLETE_SIGNATURE },
	{ "another host", AUTH_S3, "Host", "127.0.0.2:8773", ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "another host, query", AUTH_QUERY, "Host", "127.0.0.2:8773", ERR_AUTH_FAILURE },
	{ "another host, iam", AUTH_IAM, "Host", "127.0.0.2:8773", ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "another payload hash", AUTH_S3, "x-amz-content-sha256", "UNSIGNED-PAYLOAD",
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "a malformed payload hash", AUTH_S3, "x-amz-content-sha256", "xyz",
	    ERR_INVALID_ARGUMENT },
	{ "no payload hash", AUTH_S3, "x-amz-content-sha256", NULL, ERR_INVALID_REQUEST },
	{ "a signed header gone, query", AUTH_QUERY, "x-amz-content-sha256", NULL,
	    ERR_AUTH_FAILURE },
	{ "a false payload hash, query", AUTH_QUERY, "x-amz-content-sha256",
	    "0000000000000000000000000000000000000000000000000000000000000000", ERR_AUTH_FAILURE },
	{ "another second", AUTH_S3, "X-Amz-Date", "20150830T123601Z",
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "another day than the scope's", AUTH_S3, "X-Amz-Date", "20150831T123600Z",
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "a malformed date", AUTH_S3, "X-Amz-Date", "2015-08-30T12:36:00Z",
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "no date", AUTH_S3, "X-Amz-Date", NULL, ERR_ACCESS_DENIED },
	{ "no date, query", AUTH_QUERY, "X-Amz-Date", NULL, ERR_INCOMPLETE_SIGNATURE },
	{ "no authorization", AUTH_S3, "Authorization", NULL, ERR_ACCESS_DENIED },
	{ "no authorization, query", AUTH_QUERY, "Authorization", NULL,
	    ERR_MISSING_AUTHENTICATION_TOKEN },
	{ "a basic authorization", AUTH_QUERY, "Authorization", "Basic eDp5",
	    ERR_MISSING_AUTHENTICATION_TOKEN },
	{ "only the algorithm", AUTH_S3, "Authorization", "AWS4-HMAC-SHA256",
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "version 4A", AUTH_S3, "Authorization", "AWS4-ECDSA-P256-SHA256 Credential=a",
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "no parts", AUTH_QUERY, "Authorization", "AWS4-HMAC-SHA256 ", ERR_INCOMPLETE_SIGNATURE },
	{ "a part missing", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY "/20150830/r/s3/aws4_request, SignedHeaders=host",
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "a part twice", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY "/20150830/r/s3/aws4_request, SignedHeaders=host, "
	    "Signature=" EMPTY ", Signature=" EMPTY,
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "an unknown part", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY "/20150830/r/s3/aws4_request, SignedHeaders=host, "
	    "Signature=" EMPTY ", More=1",
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "a short scope", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY "/20150830/s3/aws4_request, SignedHeaders=host, "
	    "Signature=" EMPTY,
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "a long scope", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY "/20150830/a/b/s3/aws4_request, SignedHeaders=host, "
	    "Signature=" EMPTY,
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "another terminator", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY "/20150830/r/s3/aws5_request, SignedHeaders=host, "
	    "Signature=" EMPTY,
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "a region too long", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY
	    "/20150830/a23456789012345678901234567890123/s3/aws4_request, SignedHeaders=host, "
	    "Signature=" EMPTY,
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "no access key", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=/20150830/r/s3/aws4_request, SignedHeaders=host, "
	    "Signature=" EMPTY,
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "host not signed", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY
	    "/20150830/r/s3/aws4_request, SignedHeaders=x-amz-content-sha256;x-amz-date, "
	    "Signature=" EMPTY,
	    ERR_ACCESS_DENIED },
	{ "signed headers in upper case", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY
	    "/20150830/r/s3/aws4_request, SignedHeaders=Host;x-amz-content-sha256;x-amz-date, "
	    "Signature=" EMPTY,
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "an empty name in the list", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY
	    "/20150830/r/s3/aws4_request, SignedHeaders=host;;x-amz-date, Signature=" EMPTY,
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "a signed header that did not come", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY "/20150830/r/s3/aws4_request, "
	    "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
	    "Signature=" EMPTY,
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "a signature in upper case", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY
	    "/20150830/r/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
	    "Signature=E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
	{ "a short signature", AUTH_S3, "Authorization",
	    "AWS4-HMAC-SHA256 Credential=" KEY
	    "/20150830/r/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
	    "Signature=e3",
	    ERR_AUTHORIZATION_HEADER_MALFORMED },
};

static void
test_header_rules(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(header_rules); i++) {
		_cleanup_(made_done) struct made m;
		struct sigv4_result result;
		struct err e = { 0 };
		int r;

		make(&m, header_rules[i].service,
		    header_rules[i].service == AUTH_S3 ? S3_URL : EC2_URL, KEY, NOW_US);
		signed_request_set(&m.s, header_rules[i].header, header_rules[i].value);
		r = verify(&m.s, &result, &e);
		if (r != header_rules[i].code)
			fail_msg("%s: %s %s", header_rules[i].name, fault_name(r), e.text);
	}
}

static void
test_keys(void **state)
{
	static const struct {
		const char *key;
		int codes[AUTH_SERVICE_MAX];
	} cases[] = {
		{ KEY, { 0, 0, 0 } },
		{ "AKIAUNKNOWN",
		    { ERR_AUTH_FAILURE, ERR_INVALID_ACCESS_KEY_ID, ERR_INVALID_CLIENT_TOKEN_ID } },
		{ "AKIADISABLED",
		    { ERR_AUTH_FAILURE, ERR_INVALID_ACCESS_KEY_ID, ERR_INVALID_CLIENT_TOKEN_ID } },
		{ "AKIAIOSFODNN7EXAMPLE", { ERR_AUTH_FAILURE, ERR_SIGNATURE_DOES_NOT_MATCH,
					      ERR_SIGNATURE_DOES_NOT_MATCH } },
		{ "AKIDEXAMPLE-and-more-than-fits",
		    { ERR_AUTH_FAILURE, ERR_INVALID_ACCESS_KEY_ID, ERR_INVALID_CLIENT_TOKEN_ID } },
		{ "-",
		    { ERR_AUTH_FAILURE, ERR_INVALID_ACCESS_KEY_ID, ERR_INVALID_CLIENT_TOKEN_ID } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (enum auth_service service = 0; service < AUTH_SERVICE_MAX; service++) {
			_cleanup_(made_done) struct made m;
			struct sigv4_result result;
			struct err e = { 0 };

			make(&m, service, service == AUTH_S3 ? S3_URL : EC2_URL, cases[i].key,
			    NOW_US);
			if (verify(&m.s, &result, &e) != cases[i].codes[service])
				fail_msg("%s, service %d: %s %s", cases[i].key, service,
				    fault_name(e.code), e.text);
		}
}

static void
test_clock(void **state)
{
	static const struct {
		int64_t skew_s;
		int codes[AUTH_SERVICE_MAX];
	} cases[] = {
		{ 0, { 0, 0, 0 } },
		{ 900, { 0, 0, 0 } },
		{ -900, { 0, 0, 0 } },
		{ 901, { ERR_REQUEST_EXPIRED, ERR_REQUEST_TIME_TOO_SKEWED,
			   ERR_SIGNATURE_DOES_NOT_MATCH } },
		{ -901, { ERR_REQUEST_EXPIRED, ERR_REQUEST_TIME_TOO_SKEWED,
			    ERR_SIGNATURE_DOES_NOT_MATCH } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (enum auth_service service = 0; service < AUTH_SERVICE_MAX; service++) {
			_cleanup_(made_done) struct made m;
			struct sigv4_result result;
			struct err e = { 0 };

			make(&m, service, service == AUTH_S3 ? S3_URL : EC2_URL, KEY,
			    NOW_US + cases[i].skew_s * 1000000);
			if (verify(&m.s, &result, &e) != cases[i].codes[service])
				fail_msg("%lld s, service %d: %s", (long long)cases[i].skew_s,
				    service, e.text);
		}
}

static void
test_ambiguous_requests(void **state)
{
	static const struct {
		const char *name, *header, *value, *query;
	} cases[] = {
		{ "two authorizations", "Authorization", "AWS4-HMAC-SHA256 x", NULL },
		{ "two dates", "X-Amz-Date", "20150830T123600Z", NULL },
		{ "header and query", NULL, NULL, "X-Amz-Signature=" EMPTY },
		{ "header and query credential", NULL, NULL, "a=b&X-Amz-Credential=x" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (enum auth_service service = 0; service <= AUTH_S3; service++) {
			_cleanup_(made_done) struct made m;
			struct sigv4_result result;
			struct err e = { 0 };

			make(&m, service, service == AUTH_S3 ? S3_URL : EC2_URL, KEY, NOW_US);
			if (cases[i].header)
				m.s.headers[m.s.rq.header_count++] =
				    (struct http_header){ str_of(cases[i].header),
					    str_of(cases[i].value) };
			if (cases[i].query)
				m.s.rq.query = str_of(cases[i].query);
			if (verify(&m.s, &result, &e) !=
			    (service == AUTH_S3 ? ERR_INVALID_ARGUMENT : ERR_INCOMPLETE_SIGNATURE))
				fail_msg("%s: %s %s", cases[i].name, fault_name(e.code), e.text);
		}
}

/* What is signed must be what is carried out. */
static void
test_changed_requests(void **state)
{
	static const struct {
		const char *method, *path, *query, *body;
	} cases[] = {
		{ "PUT", NULL, NULL, NULL },
		{ NULL, "/bucket/other", NULL, NULL },
		{ NULL, "/bucket/key/", NULL, NULL },
		{ NULL, "/bucket//key", NULL, NULL },
		{ NULL, NULL, "a=1&b=3", NULL },
		{ NULL, NULL, "a=1&b=2&c=", NULL },
		{ NULL, NULL, "a=1", NULL },
		{ NULL, NULL, "", NULL },
		{ NULL, NULL, "a=1%26b=2", NULL },
		{ NULL, NULL, "A=1&b=2", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(made_done) struct made m;
		struct sigv4_result result;
		struct err e = { 0 };

		make(&m, AUTH_S3, S3_URL "?a=1&b=2", KEY, NOW_US);
		assert_int_equal(verify(&m.s, &result, &e), 0);
		m.s.rq.method = cases[i].method ? str_of(cases[i].method) : m.s.rq.method;
		m.s.rq.path = cases[i].path ? str_of(cases[i].path) : m.s.rq.path;
		m.s.rq.query = cases[i].query ? str_of(cases[i].query) : m.s.rq.query;
		if (verify(&m.s, &result, &e) != ERR_SIGNATURE_DOES_NOT_MATCH)
			fail_msg("case %zu accepted", i);
	}
}

static void
test_same_request_otherwise_spelt(void **state)
{
	static const char *const queries[] = { "b=2%20x&a=%31", "a=1&b=2+x", "&&a=1&&b=2%20x&" };

	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		_cleanup_(made_done) struct made m;
		struct sigv4_result result;
		struct err e = { 0 };

		make(&m, AUTH_S3, S3_URL "?a=1&b=2%20x", KEY, NOW_US);
		m.s.rq.query = str_of(queries[i]);
		if (verify(&m.s, &result, &e) < 0)
			fail_msg("%s: %s", queries[i], e.text);
	}
}

/* The Query API's body is its parameters: it must be the one that was signed. */
static void
test_changed_body(void **state)
{
	struct signed_request s;
	struct sigv4_result result;
	struct err e = { 0 };

	signed_request_load(&s, "tests/data/sigv4/clients/v4-ec2-post.sreq");
	assert_int_equal(verify(&s, &result, &e), 0);
	assert_int_equal(result.payload, SIGV4_PAYLOAD_SIGNED);
	assert_string_equal(result.scope, "20150830/us-east-1/ec2/aws4_request");
	assert_string_equal(result.key.account_id, "123456789012");
	s.rq.body.n--;
	assert_int_equal(verify(&s, &result, &e), ERR_AUTH_FAILURE);
	signed_request_done(&s);
}

static void
test_stated_body_hash(void **state)
{
	_cleanup_(made_done) struct made m;
	struct sigv4_result result;
	struct err e = { 0 };

	make(&m, AUTH_S3, S3_URL, KEY, NOW_US);
	m.s.rq.payload_hash = EMPTY;
	assert_int_equal(verify(&m.s, &result, &e), 0);
	assert_string_equal(result.payload_hash, EMPTY);
	m.s.rq.payload_hash = "f3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	assert_int_equal(verify(&m.s, &result, &e), ERR_CONTENT_SHA256_MISMATCH);
}

/* -- presigned -- */

static void
presigned(struct signed_request *s, const char *url, const char *service, uint32_t expires_s)
{
	struct sigv4_signer signer = { KEY, SECRET, "r", service, NOW_US };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };

	if (sigv4_presign(&signer, "GET", url, expires_s, &out, &e) < 0)
		fail_msg("%s", e.text);
	text = xasprintf("GET %s HTTP/1.1\nHost: 127.0.0.1:8777\n\n",
	    strbuf_c(&out) + strlen("http://127.0.0.1:8777"));
	signed_request_parse(s, str_of(text));
	s->service = strcmp(service, "s3") == 0 ? AUTH_S3 : AUTH_IAM;
}

static void
test_presigning_is_the_documented_one(void **state)
{
	struct sigv4_signer signer = { "AKIAIOSFODNN7EXAMPLE",
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", "s3",
		INT64_C(1369353600) * 1000000 };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct err e = { 0 };

	assert_int_equal(sigv4_presign(&signer, "GET",
			     "https://examplebucket.s3.amazonaws.com/test.txt", 86400, &out, &e),
	    0);
	assert_string_equal(strbuf_c(&out),
	    "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
	    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
	    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
	    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

static void
test_presigned_round_trip(void **state)
{
	static const struct {
		const char *url, *service;
	} cases[] = {
		{ "http://127.0.0.1:8777/bucket/key", "s3" },
		{ "http://127.0.0.1:8777/bucket/%C3%BC%20a+b?versionId=x%2Fy&partNumber=3", "s3" },
		{ "http://127.0.0.1:8777/", "s3" },
		{ "http://127.0.0.1:8777", "sts" },
		{ "http://127.0.0.1:8777/services/Tokens?Action=GetCallerIdentity", "sts" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct signed_request s;
		struct sigv4_result result;
		struct err e = { 0 };

		presigned(&s, cases[i].url, cases[i].service, 600);
		if (verify(&s, &result, &e) < 0)
			fail_msg("%s: %s", cases[i].url, e.text);
		assert_true(result.is_presigned);
		assert_int_equal(result.payload,
		    s.service == AUTH_S3 ? SIGV4_PAYLOAD_UNSIGNED : SIGV4_PAYLOAD_SIGNED);
		signed_request_done(&s);
	}
}

static void
test_presigned_rules(void **state)
{
	static const struct {
		const char *name, *from, *to;
		int64_t later_s;
		int code;
	} cases[] = {
		{ "in time", "", "", 600, 0 },
		{ "too late", "", "", 601, ERR_ACCESS_DENIED },
		{ "a little early", "", "", -900, 0 },
		{ "too early", "", "", -901, ERR_ACCESS_DENIED },
		{ "prolonged", "Expires=600", "Expires=900", 0, ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "for longer than a week", "Expires=600", "Expires=604801", 0,
		    ERR_AUTHORIZATION_QUERY_PARAMETERS },
		{ "for a week", "Expires=600", "Expires=604800", 0, ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "for no time", "Expires=600", "Expires=0", 0, ERR_ACCESS_DENIED },
		{ "negative", "Expires=600", "Expires=-1", 0, ERR_AUTHORIZATION_QUERY_PARAMETERS },
		{ "no number", "Expires=600", "Expires=x", 0, ERR_AUTHORIZATION_QUERY_PARAMETERS },
		{ "without Expires", "X-Amz-Expires=600&", "", 0,
		    ERR_AUTHORIZATION_QUERY_PARAMETERS },
		{ "without Date", "X-Amz-Date=20150830T123600Z&", "", 0,
		    ERR_AUTHORIZATION_QUERY_PARAMETERS },
		{ "without Algorithm", "X-Amz-Algorithm=AWS4-HMAC-SHA256&", "", 0,
		    ERR_AUTHORIZATION_QUERY_PARAMETERS },
		{ "another algorithm", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", 0,
		    ERR_AUTHORIZATION_QUERY_PARAMETERS },
		{ "a parameter twice", "X-Amz-Expires=600", "X-Amz-Expires=600&X-Amz-Expires=600",
		    0, ERR_INVALID_ARGUMENT },
		{ "another key", "/bucket/key", "/bucket/kez", 0, ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "a parameter more", "X-Amz-Date", "acl=&X-Amz-Date", 0,
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "a malformed credential", "%2Faws4_request", "", 0,
		    ERR_AUTHORIZATION_QUERY_PARAMETERS },
		{ "a bad escape", "X-Amz-Date", "%zz&X-Amz-Date", 0, ERR_MALFORMED_QUERY_STRING },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct signed_request s, changed;
		struct sigv4_result result;
		struct err e = { 0 };
		const char *at;
		int r;

		presigned(&s, "http://127.0.0.1:8777/bucket/key", "s3", 600);
		at = strstr(s.text, cases[i].from);
		assert_non_null(at);
		strbuf_add(&text, s.text, (size_t)(at - s.text));
		strbuf_adds(&text, cases[i].to);
		strbuf_adds(&text, at + strlen(cases[i].from));
		signed_request_parse(&changed, strbuf_str(&text));
		changed.service = AUTH_S3;
		changed.now_us = NOW_US + cases[i].later_s * 1000000;
		r = verify(&changed, &result, &e);
		if (r != cases[i].code)
			fail_msg("%s: %s %s", cases[i].name, fault_name(r), e.text);
		signed_request_done(&s);
		signed_request_done(&changed);
	}
}

/* -- derived keys -- */

struct rotating {
	const char *secret;
	uint64_t generation;
};

static bool
rotating_key(void *arg, const char *access_key_id, struct auth_key *ret)
{
	const struct rotating *k = arg;

	*ret = (struct auth_key){ .is_active = true, .generation = k->generation };
	(void)snprintf(ret->access_key_id, sizeof(ret->access_key_id), "%s", access_key_id);
	(void)snprintf(ret->secret, sizeof(ret->secret), "%s", k->secret);
	return true;
}

static void
test_a_rotated_secret_is_not_cached(void **state)
{
	struct rotating k = { SECRET, 1 };
	struct sigv4 *v = sigv4_new(rotating_key, &k);
	_cleanup_(made_done) struct made m;
	struct sigv4_result result;
	struct err e = { 0 };

	make(&m, AUTH_S3, S3_URL, KEY, NOW_US);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sigv4_verify(v, AUTH_S3, &m.s.rq, NOW_US, &result, &e), 0);
	k = (struct rotating){ "another secret", 2 };
	assert_int_equal(
	    sigv4_verify(v, AUTH_S3, &m.s.rq, NOW_US, &result, &e), ERR_SIGNATURE_DOES_NOT_MATCH);
	k = (struct rotating){ SECRET, 3 };
	assert_int_equal(sigv4_verify(v, AUTH_S3, &m.s.rq, NOW_US, &result, &e), 0);
	sigv4_free(v);
}

static void
test_derived_keys_are_bounded(void **state)
{
	struct sigv4_keys *keys = sigv4_keys_new();
	struct auth_key key = { .secret = SECRET, .generation = 1 };
	struct sigv4_scope scope = { STR("20150830"), STR("us-east-1"), STR("iam") };
	uint8_t first[32], again[32];

	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < SIGV4_KEYS_MAX + 10; i++) {
			(void)snprintf(key.access_key_id, sizeof(key.access_key_id), "K%u", i);
			sigv4_keys_get(keys, &key, &scope, i ? again : first);
			assert_memory_equal(i ? again : first, first, sizeof(first));
		}
	assert_int_equal(sigv4_keys_count(keys), SIGV4_KEYS_MAX);
	sigv4_keys_free(keys);
}

/* docs.aws.amazon.com, "Examples of how to derive a signing key" */
static void
test_documented_derivation(void **state)
{
	struct sigv4_scope scope = { STR("20150830"), STR("us-east-1"), STR("iam") };
	uint8_t key[32];
	char hex[65];

	sigv4_derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &scope, key);
	hex_encode(key, sizeof(key), hex);
	assert_string_equal(
	    hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

static int
set_up(void **state)
{
	verifier = sigv4_new(documented_keys, NULL);
	return 0;
}

static int
tear_down(void **state)
{
	sigv4_free(verifier);
	return 0;
}

/* -- forms: Amazon's documented example, "Browser-Based Upload using HTTP POST" -- */

static const char documented_policy[] = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA"
					"0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1"
					"Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy"
					"13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8i"
					"XSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2"
					"Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDov"
					"L3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3"
					"NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0"
					"YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogIC"
					"AgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUx"
					"MjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cH"
					"Rpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFy"
					"dHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7In"
					"gtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZP"
					"RE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdW"
					"VzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGht"
					"IjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOi"
					"AiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
#define FORM_ALGORITHM "AWS4-HMAC-SHA256"
#define FORM_CREDENTIAL "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"
#define FORM_DATE "20151229T000000Z"
#define FORM_SIGNATURE "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"

static void
test_policies(void **state)
{
	static const struct {
		const char *algorithm, *credential, *date, *signature;
		int code;
	} cases[] = {
		{ FORM_ALGORITHM, FORM_CREDENTIAL, FORM_DATE, FORM_SIGNATURE, 0 },
		{ FORM_ALGORITHM, FORM_CREDENTIAL, FORM_DATE,
		    "9afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ FORM_ALGORITHM, FORM_CREDENTIAL, FORM_DATE, "", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ FORM_ALGORITHM, "AKIAIOSFODNN7EXAMPLE/20151229/us-west-1/s3/aws4_request",
		    FORM_DATE, FORM_SIGNATURE, ERR_SIGNATURE_DOES_NOT_MATCH },
		{ FORM_ALGORITHM, "AKIAUNKNOWN/20151229/us-east-1/s3/aws4_request", FORM_DATE,
		    FORM_SIGNATURE, ERR_INVALID_ACCESS_KEY_ID },
		{ FORM_ALGORITHM, "AKIAIOSFODNN7EXAMPLE", FORM_DATE, FORM_SIGNATURE,
		    ERR_INVALID_ARGUMENT },
		{ FORM_ALGORITHM, FORM_CREDENTIAL, "20151230T000000Z", FORM_SIGNATURE,
		    ERR_INVALID_ARGUMENT },
		{ "AWS4-HMAC-SHA1", FORM_CREDENTIAL, FORM_DATE, FORM_SIGNATURE,
		    ERR_INVALID_ARGUMENT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sigv4_policy policy = { str_of(cases[i].algorithm),
			str_of(cases[i].credential), str_of(cases[i].date),
			str_of(cases[i].signature), str_of(documented_policy) };
		struct auth_key key;
		struct err e = { 0 };
		int r = sigv4_verify_policy(verifier, &policy, NULL, &key, &e);

		if (r != cases[i].code)
			fail_msg("case %zu: %s %s", i, fault_name(r), e.text);
		if (r == 0)
			assert_string_equal(key.access_key_id, "AKIAIOSFODNN7EXAMPLE");
	}
}

/* What S3 says of a refusal beside its message. */
static const char *
detail(const struct err_details *d, const char *name)
{
	const struct err_detail *found = err_detail_find(d, name);

	return found ? found->value.p : NULL;
}

static void
test_details(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_(made_done) struct made m;
	struct err_details details = { .arena = arena };
	struct sigv4_result result;
	struct err e = { 0 };

	make(&m, AUTH_S3, S3_URL, KEY, NOW_US);
	m.s.rq.method = STR("PUT");
	m.s.rq.details = &details;
	assert_int_equal(verify(&m.s, &result, &e), ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_string_equal(detail(&details, "AWSAccessKeyId"), KEY);
	assert_int_equal(strlen(detail(&details, "SignatureProvided")), 64);
	assert_memory_equal(detail(&details, "StringToSign"), "AWS4-HMAC-SHA256\n", 17);
	assert_memory_equal(detail(&details, "StringToSignBytes"), "41 57 53 34 ", 12);
	assert_non_null(strstr(detail(&details, "CanonicalRequest"), "\nhost:"));
	assert_non_null(detail(&details, "CanonicalRequestBytes"));

	details.count = 0;
	assert_int_equal(
	    sigv4_verify(verifier, AUTH_S3, &m.s.rq, NOW_US + INT64_C(3600000000), &result, &e),
	    ERR_REQUEST_TIME_TOO_SKEWED);
	assert_string_equal(detail(&details, "MaxAllowedSkewMilliseconds"), "900000");
	assert_string_equal(detail(&details, "ServerTime"), "2015-08-30T13:36:00Z");
	assert_non_null(detail(&details, "RequestTime"));

	details.count = 0;
	signed_request_set(&m.s, "x-amz-acl", "private");
	signed_request_set(&m.s, "X-Amz-Tagging", "a=b");
	assert_int_equal(verify(&m.s, &result, &e), ERR_ACCESS_DENIED);
	assert_string_equal(detail(&details, "HeadersNotSigned"), "x-amz-acl, x-amz-tagging");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_suite),
		cmocka_unit_test(test_s3_documentation),
		cmocka_unit_test(test_real_clients),
		cmocka_unit_test(test_header_rules),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_ambiguous_requests),
		cmocka_unit_test(test_changed_requests),
		cmocka_unit_test(test_same_request_otherwise_spelt),
		cmocka_unit_test(test_changed_body),
		cmocka_unit_test(test_stated_body_hash),
		cmocka_unit_test(test_presigning_is_the_documented_one),
		cmocka_unit_test(test_presigned_round_trip),
		cmocka_unit_test(test_presigned_rules),
		cmocka_unit_test(test_a_rotated_secret_is_not_cached),
		cmocka_unit_test(test_derived_keys_are_bounded),
		cmocka_unit_test(test_documented_derivation),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_details),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
