/* Upload policies: what S3's rules let through, and that nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "auth/digest.h"
#include "base/str.h"
#include "upload_policy.h"

#define HEAD "{\"expiration\": \"2030-01-01T00:00:00.000Z\", \"conditions\": ["
#define BUCKET "{\"bucket\": \"b\"}"
#define KEY "[\"starts-with\", \"$key\", \"img\"]"
#define ACL "{\"acl\": \"ec2-bundle-read\"}"

static const struct {
	const char *text;
	int code;
} cases[] = {
	{ HEAD BUCKET ", " ACL ", " KEY "]}", 0 },
	{ HEAD "[\"eq\",\"$bucket\",\"b\"],[\"starts-with\",\"$key\",\"\"]]}", 0 },
	{ HEAD "{\"bucket\":\"b\",\"acl\":\"ec2-bundle-read\"}," KEY "]}", 0 },
	{ HEAD BUCKET "," KEY ",[\"content-length-range\", 1, 10485760]]}", 0 },
	{ HEAD BUCKET "," KEY ",[\"content-length-range\", 0, 10485759]]}",
	    ERR_UNAUTHORIZED_OPERATION },
	{ HEAD BUCKET "," KEY ",[\"content-length-range\", 2, 10485760]]}",
	    ERR_UNAUTHORIZED_OPERATION },
	{ HEAD "{\"bu\\u0063ket\": \"\\u0062\"}, " KEY "]}", 0 },
	{ HEAD "{\"bucket\": \"B\"}, " KEY "]}", ERR_UNAUTHORIZED_OPERATION },
	{ HEAD BUCKET ", {\"acl\": \"private\"}, " KEY "]}", ERR_UNAUTHORIZED_OPERATION },
	{ HEAD BUCKET ", {\"success_action_status\": \"201\"}, " KEY "]}",
	    ERR_UNAUTHORIZED_OPERATION },
	{ HEAD BUCKET ", [\"starts-with\", \"$key\", \"img.\"]]}", ERR_UNAUTHORIZED_OPERATION },
	{ HEAD BUCKET ", {\"key\": \"img\"}]}", ERR_UNAUTHORIZED_OPERATION },
	{ HEAD BUCKET "]}", ERR_UNAUTHORIZED_OPERATION },
	{ HEAD KEY "]}", ERR_UNAUTHORIZED_OPERATION },
	{ HEAD "]}", ERR_UNAUTHORIZED_OPERATION },
	{ "{\"conditions\": [" BUCKET "," KEY "], \"expiration\": \"2010-01-01T00:00:00Z\"}",
	    ERR_UNAUTHORIZED_OPERATION },
	{ "{\"conditions\": [" BUCKET "," KEY "]}", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD BUCKET "," KEY "]} x", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD BUCKET "," KEY "]", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD BUCKET "," KEY, ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD BUCKET ", [\"starts-with\", \"$key\"", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD BUCKET ", [\"starts-with\", \"key\", \"\"]]}", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD BUCKET ", [\"matches\", \"$key\", \"\"]]}", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD "{\"bucket\": [\"b\"]}, " KEY "]}", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD "{\"bucket\": \"b\\x\"}, " KEY "]}", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD "{\"bucket\": \"b\\u0000\"}, " KEY "]}", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD "{\"bucket\": \"b\\", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD "{\"bucket\": \"b\\u00", ERR_INVALID_POLICY_DOCUMENT },
	{ HEAD "null]}", ERR_INVALID_POLICY_DOCUMENT },
	{ "{\"version\": \"1\"}", ERR_INVALID_POLICY_DOCUMENT },
	{ "[]", ERR_INVALID_POLICY_DOCUMENT },
	{ "{", ERR_INVALID_POLICY_DOCUMENT },
	{ "", ERR_INVALID_POLICY_DOCUMENT },
};

static const struct upload upload = { "b", "img", "ec2-bundle-read", 1800000000LL * 1000000 };

static void
policies(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *coded = base64_encode(cases[i].text, strlen(cases[i].text));
		struct err e = { 0 };

		if (upload_policy_check(coded, &upload, &e) != cases[i].code)
			fail_msg("%s: %s", cases[i].text, e.text);
	}
	assert_int_equal(upload_policy_check("*", &upload, NULL), ERR_INVALID_POLICY_DOCUMENT);
}

/* Whatever is cut off, it is never let through, and never read past its end. */
static void
cut_short(void **state)
{
	const char *whole = cases[0].text;

	for (size_t n = 0; n < strlen(whole); n++) {
		_cleanup_free_ char *part = xmemdup(whole, n + 1);
		_cleanup_free_ char *coded = base64_encode(part, n);

		assert_int_equal(
		    upload_policy_check(coded, &upload, NULL), ERR_INVALID_POLICY_DOCUMENT);
	}
}

static void
signatures(void **state)
{
	uint8_t mac[20];
	_cleanup_free_ char *good = NULL;

	hmac(DIGEST_SHA1, str_of("secret"), str_of("cG9saWN5"), mac);
	good = base64_encode(mac, sizeof(mac));
	assert_int_equal(upload_policy_check_signature("cG9saWN5", good, "secret", NULL), 0);
	assert_int_equal(upload_policy_check_signature("cG9saWN5", good, "Secret", NULL),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_int_equal(upload_policy_check_signature("cG9saWN4", good, "secret", NULL),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_int_equal(upload_policy_check_signature("cG9saWN5", "", "secret", NULL),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
	assert_int_equal(upload_policy_check_signature("cG9saWN5", "*", "secret", NULL),
	    ERR_SIGNATURE_DOES_NOT_MATCH);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies),
		cmocka_unit_test(cut_short),
		cmocka_unit_test(signatures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
