/* Conditions: all must be ready, and those that must be refreshed go stale. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <time.h>
#include "run/health.h"

static void
assert_health(bool ready, const char *text)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	assert_int_equal(health_is_ready(&out), ready);
	assert_string_equal(strbuf_c(&out), text);
}

static void
every_condition_must_be_ready(void **state)
{
	assert_health(true, "");
	health_set("store", true, NULL);
	health_set("peers", false, "no answer from '%s'", "cc");
	assert_health(false, "store ok\npeers: no answer from 'cc'\n");
	health_set("peers", true, "ignored when ready");
	assert_health(true, "store ok\npeers ok\n");
	/* a warning is read, and keeps nobody away */
	health_warn("disk", "%d bytes are free", 7);
	assert_health(true, "store ok\npeers ok\ndisk: 7 bytes are free\n");
	health_warn("disk", NULL);
	assert_health(true, "store ok\npeers ok\ndisk ok\n");
	health_warn("disk", "again");
	health_set("disk", true, NULL);
	assert_health(true, "store ok\npeers ok\ndisk ok\n");
	health_reset();
	assert_health(true, "");
}

static void
unrefreshed_conditions_go_stale(void **state)
{
	struct timespec a_while = { .tv_nsec = 30 * 1000000L };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	health_expect("store", 10);
	assert_health(false, "store: not known yet\n");
	health_expect("store", 60000);
	health_set("store", true, NULL);
	assert_health(true, "store ok\n");
	health_expect("store", 10);
	(void)nanosleep(&a_while, NULL);
	assert_false(health_is_ready(&out));
	assert_memory_equal(strbuf_c(&out), "store: nothing heard for ", 25);
	health_reset();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_condition_must_be_ready),
		cmocka_unit_test(unrefreshed_conditions_go_stale),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
