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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_clients),
		cmocka_unit_test(test_documented_examples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
