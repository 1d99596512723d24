/* Signature Version 2 against requests that boto 2 signed (tests/data/sigv4/generate) and Amazon's
 * documented examples, and against what it must refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include "auth/digest.h"
#include "auth/sigv2.h"
#include "base/clock.h"
#include "base/strbuf.h"
#include "net/url.h"
#include "tests/lib/signed_request.h"

static int
verify(const struct signed_request *s, struct auth_key *ret, struct err *e)
{
	return sigv2_verify(
	    documented_keys, NULL, s->service, &s->rq, s->bucket, s->now_us, ret, e);
}

static void
verify_files(const char *pattern, size_t at_least)
{
	glob_t files;

	assert_int_equal(glob(pattern, 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= at_least);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		struct signed_request s;
		struct auth_key key;
		struct err e = { 0 };

		signed_request_load(&s, files.gl_pathv[i]);
		assert_true(sigv2_is_present(s.service, &s.rq));
		if (verify(&s, &key, &e) < 0)
			fail_msg("%s: %s: %s", files.gl_pathv[i], fault_name(e.code), e.text);
		assert_string_equal(key.account_id, "123456789012");
		s.rq.method = STR("DELETE");
		assert_int_equal(verify(&s, &key, &e),
		    s.service == AUTH_QUERY ? ERR_AUTH_FAILURE : ERR_SIGNATURE_DOES_NOT_MATCH);
		signed_request_done(&s);
	}
	globfree(&files);
}

static void
test_real_clients(void **state)
{
	verify_files("tests/data/sigv4/clients/v2-*.sreq", 15);
}

static void
test_documented_examples(void **state)
{
	verify_files("tests/data/sigv4/v2-docs/*.sreq", 8);
}

#define NOW_US (INT64_C(1440938160) * 1000000) /* 2015-08-30T12:36:00Z */
#define S3_FILE "tests/data/sigv4/clients/v2-s3-meta.sreq"
#define PRESIGNED_FILE "tests/data/sigv4/clients/v2-s3-presigned-response.sreq"
#define QUERY_FILE "tests/data/sigv4/clients/v2-ec2-get.sreq"

/* The file's text with one change, as a request of its own. */
static void
load_changed(struct signed_request *s, const char *path, const char *from, const char *to)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct signed_request original;
	const char *at;

	signed_request_load(&original, path);
	at = strstr(original.text, from);
	if (!at)
		fail_msg("'%s' is not in %s", from, path);
	strbuf_add(&text, original.text, (size_t)(at - original.text));
	strbuf_adds(&text, to);
	strbuf_adds(&text, at + strlen(from));
	signed_request_parse(s, strbuf_str(&text));
	signed_request_done(&original);
}

static const struct {
	const char *name, *path, *from, *to;
	int64_t later_s;
	int code;
} rules[] = {
	{ "nothing", S3_FILE, "PUT", "PUT", 0, 0 },
	{ "at the edge of the clock", S3_FILE, "PUT", "PUT", 900, 0 },
	{ "behind it", S3_FILE, "PUT", "PUT", 901, ERR_REQUEST_TIME_TOO_SKEWED },
	{ "before it", S3_FILE, "PUT", "PUT", -901, ERR_REQUEST_TIME_TOO_SKEWED },
	{ "another method", S3_FILE, "PUT", "GET", 0, ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "another key", S3_FILE, "/key ", "/kez ", 0, ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "a sub-resource", S3_FILE, "/key ", "/key?acl ", 0, ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "a parameter that is none", S3_FILE, "/key ", "/key?x=y ", 0, 0 },
	{ "another ACL", S3_FILE, "public-read", "private", 0, ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "a header more", S3_FILE, "Host:", "x-amz-meta-c: d\nHost:", 0,
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "another type", S3_FILE, "text/plain", "text/html", 0, ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "a date twice removed", S3_FILE, "Date: Sun", "X-Date: Sun", 0, ERR_ACCESS_DENIED },
	{ "no signature", S3_FILE, "AWS AKIDEXAMPLE:", "AWS AKIDEXAMPLE", 0, ERR_INVALID_ARGUMENT },
	{ "an unknown key", S3_FILE, "AWS AKIDEXAMPLE:", "AWS AKIDEXAMPLF:", 0,
	    ERR_INVALID_ACCESS_KEY_ID },
	{ "a disabled key", S3_FILE, "AWS AKIDEXAMPLE:", "AWS AKIADISABLED:", 0,
	    ERR_INVALID_ACCESS_KEY_ID },
	{ "a signature that is no base64", S3_FILE, "AWS AKIDEXAMPLE:", "AWS AKIDEXAMPLE:!", 0,
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "two authorizations", S3_FILE, "Host:", "Authorization: AWS a:b\nHost:", 0,
	    ERR_INVALID_ARGUMENT },
	{ "header and query", S3_FILE, "/key ", "/key?Signature=x ", 0, ERR_INVALID_ARGUMENT },
	{ "a presigned URL in time", PRESIGNED_FILE, "GET", "GET", 600, 0 },
	{ "too late", PRESIGNED_FILE, "GET", "GET", 601, ERR_ACCESS_DENIED },
	{ "prolonged", PRESIGNED_FILE, "Expires=14", "Expires=24", 0,
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "without Expires", PRESIGNED_FILE, "Expires=", "Expirez=", 0, ERR_ACCESS_DENIED },
	{ "Expires no number", PRESIGNED_FILE, "Expires=", "Expires=x", 0, ERR_ACCESS_DENIED },
	{ "Expires out of range", PRESIGNED_FILE, "Expires=", "Expires=9999999999", 0,
	    ERR_ACCESS_DENIED },
	{ "a signature twice", PRESIGNED_FILE, "Signature=", "Signature=x&Signature=", 0,
	    ERR_INVALID_ARGUMENT },
	{ "another response type", PRESIGNED_FILE, "text/plain", "text/html", 0,
	    ERR_SIGNATURE_DOES_NOT_MATCH },
	{ "a query in time", QUERY_FILE, "GET", "GET", -900, 0 },
	{ "a query too late", QUERY_FILE, "GET", "GET", 901, ERR_REQUEST_EXPIRED },
	{ "another action", QUERY_FILE, "DescribeInstances", "TerminateInstances", 0,
	    ERR_AUTH_FAILURE },
	{ "another host", QUERY_FILE, "127.0.0.1", "127.0.0.2", 0, ERR_AUTH_FAILURE },
	{ "a parameter more", QUERY_FILE, "InstanceId.1=", "InstanceId.0=i-0&InstanceId.1=", 0,
	    ERR_AUTH_FAILURE },
	{ "a parameter fewer", QUERY_FILE, "&InstanceId.10=i-2", "", 0, ERR_AUTH_FAILURE },
	{ "another digest", QUERY_FILE, "HmacSHA256", "HmacSHA1", 0, ERR_AUTH_FAILURE },
	{ "no digest known", QUERY_FILE, "HmacSHA256", "HmacMD5", 0, ERR_INCOMPLETE_SIGNATURE },
	{ "version 1", QUERY_FILE, "SignatureVersion=2", "SignatureVersion=1", 0,
	    ERR_INCOMPLETE_SIGNATURE },
	{ "no version", QUERY_FILE, "&SignatureVersion=2", "", 0, ERR_INCOMPLETE_SIGNATURE },
	{ "no time", QUERY_FILE, "Timestamp=", "Timeztamp=", 0, ERR_INCOMPLETE_SIGNATURE },
	{ "two times", QUERY_FILE, "Timestamp=", "Expires=2015-08-30T12%3A36%3A00Z&Timestamp=", 0,
	    ERR_INCOMPLETE_SIGNATURE },
	{ "expired", QUERY_FILE, "Timestamp=", "Expires=", 1, ERR_REQUEST_EXPIRED },
	{ "no time at all", QUERY_FILE, "Timestamp=2015", "Timestamp=yyyy", 0,
	    ERR_INCOMPLETE_SIGNATURE },
	{ "an unknown key, query", QUERY_FILE, "AKIDEXAMPLE", "AKIDEXAMPLF", 0, ERR_AUTH_FAILURE },
	{ "an action twice signed", QUERY_FILE, "Signature=", "Signature=x&Signature=", 0,
	    ERR_INCOMPLETE_SIGNATURE },
	{ "a bad escape", QUERY_FILE, "Action=", "%zz=", 0, ERR_MALFORMED_QUERY_STRING },
};

static void
test_rules(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct signed_request s;
		struct auth_key key;
		struct err e = { 0 };
		int r;

		load_changed(&s, rules[i].path, rules[i].from, rules[i].to);
		s.now_us = NOW_US + rules[i].later_s * 1000000;
		s.service = rules[i].path[strlen("tests/data/sigv4/clients/v2-")] == 's'
				? AUTH_S3
				: AUTH_QUERY;
		r = verify(&s, &key, &e);
		if (r != rules[i].code)
			fail_msg("%s: %s %s", rules[i].name, fault_name(r), e.text);
		signed_request_done(&s);
	}
}

/* Parameters of a link that stand for headers are signed one by one, not only as one text. */
static void
test_links(void **state)
{
	static const char to_sign[] =
	    "PUT\n\n\n1440938761\nx-amz-acl:private\nx-amz-meta-a:b,c\n/bucket/key";
	static const struct {
		const char *parameters;
		int code;
	} cases[] = {
		{ "x-amz-acl=private&x-amz-meta-a=b,c", 0 },
		{ "X-Amz-Meta-A=b,c&X-Amz-Acl=private", 0 },
		{ "x-amz-acl=private", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "x-amz-acl=private&x-amz-meta-a=b,c&x-amz-meta-c=d",
		    ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "x-amz-acl=private&x-amz-meta-a=b&x-amz-meta-a=c", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "x-amz-acl=private&x-amz-meta-a=b,c&x-amz-meta-a=d", 0 },
		{ "x-amz-acl=private%0Ax-amz-meta-a:b,c", ERR_INVALID_ARGUMENT },
		{ "x-amz-acl:private%0Ax-amz-meta-a=b,c", ERR_INVALID_ARGUMENT },
	};
	struct auth_key key;
	_cleanup_free_ char *signature = NULL;
	uint8_t mac[EVP_MAX_MD_SIZE];

	assert_true(documented_keys(NULL, "AKIDEXAMPLE", &key));
	hmac(DIGEST_SHA1, str_of(key.secret), STR(to_sign), mac);
	signature = base64_encode(mac, digest_size(DIGEST_SHA1));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct signed_request s;
		struct err e = { 0 };
		int r;

		strbuf_addf(&text,
		    "PUT /bucket/key?AWSAccessKeyId=AKIDEXAMPLE&Expires=1440938761&%s&Signature=",
		    cases[i].parameters);
		url_encode(&text, str_of(signature), false);
		strbuf_adds(&text, " HTTP/1.1\n\n");
		signed_request_parse(&s, strbuf_str(&text));
		s.service = AUTH_S3;
		s.now_us = NOW_US;
		r = verify(&s, &key, &e);
		if (r != cases[i].code)
			fail_msg("%s: %s %s", cases[i].parameters, fault_name(r), e.text);
		signed_request_done(&s);
	}
}

static void
test_presence(void **state)
{
	static const struct {
		enum auth_service service;
		const char *text;
		bool is_present;
	} cases[] = {
		{ AUTH_S3, "GET / HTTP/1.1\nAuthorization: AWS a:b\n\n", true },
		{ AUTH_S3, "GET / HTTP/1.1\nAuthorization: AWS4-HMAC-SHA256 x\n\n", false },
		{ AUTH_S3, "GET /?AWSAccessKeyId=a&Signature=b HTTP/1.1\n\n", true },
		{ AUTH_S3, "GET /?AWSAccessKeyId=a HTTP/1.1\n\n", false },
		{ AUTH_S3, "GET / HTTP/1.1\n\n", false },
		{ AUTH_QUERY, "GET /?AWSAccessKeyId=a HTTP/1.1\n\n", true },
		{ AUTH_QUERY, "POST / HTTP/1.1\n\nAction=x&AWSAccessKeyId=a", true },
		{ AUTH_QUERY, "POST / HTTP/1.1\n\nAction=x", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct signed_request s;
		struct auth_key key;
		struct err e = { 0 };

		signed_request_parse(&s, str_of(cases[i].text));
		assert_int_equal(sigv2_is_present(cases[i].service, &s.rq), cases[i].is_present);
		s.service = cases[i].service;
		assert_true(verify(&s, &key, &e) < 0);
		signed_request_done(&s);
	}
}

/* HMAC-SHA1 of the policy as it is sent, by the documentation's key; made by Python. */
#define POLICY_SIGNATURE "eL3OlIgXlaEdW8YOBw30RYKlweI="

static void
test_policies(void **state)
{
	static const struct {
		const char *id, *signature;
		int code;
	} cases[] = {
		{ "AKIAIOSFODNN7EXAMPLE",
		    "aVzQWu5KZg2PsdL9zKrmWQ7KcZM=", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "AKIAIOSFODNN7EXAMPLE", "SIGNED", 0 },
		{ "AKIAIOSFODNN7EXAMPLE", "", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "AKIAIOSFODNN7EXAMPLE", "!", ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "AKIAUNKNOWN", "SIGNED", ERR_INVALID_ACCESS_KEY_ID },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool is_right = strcmp(cases[i].signature, "SIGNED") == 0;
		struct sigv2_policy policy = { str_of(cases[i].id),
			str_of(is_right ? POLICY_SIGNATURE : cases[i].signature), STR("cG9saWN5") };
		struct auth_key key;
		struct err e = { 0 };

		assert_int_equal(
		    sigv2_verify_policy(documented_keys, NULL, &policy, NULL, &key, &e),
		    cases[i].code);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_clients),
		cmocka_unit_test(test_documented_examples),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_presence),
		cmocka_unit_test(test_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
