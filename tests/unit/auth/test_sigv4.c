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
#include "base/clock.h"
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_suite),
		cmocka_unit_test(test_s3_documentation),
		cmocka_unit_test(test_real_clients),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
