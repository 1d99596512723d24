/* What the sc says of its storage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above, as cmocka wants */
#include <cmocka.h>
#include "rpc/sc.handlers.h"
#include "schema.h"
#include "storage.h"
#include "tests/lib/net_peer.h"

static const struct {
	uint32_t low_percent;
	const char *state;
} cases[] = { { 0, "up" }, { 101, "degraded" } }; /* no disk has 101 % free */

static void
test_describe_storage(void **state)
{
	_cleanup_free_ char *directory = net_temporary_directory();
	_cleanup_free_ char *url = xasprintf("sqlite:%s/sc.db", directory);
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct log log = { .daemon = "sc" };
	struct sc_conf conf = { .daemon.state_dir = directory };
	struct sc sc = { .conf = &conf, .log = &log };
	struct rpc_request rq = { .arena = arena, .state = &sc };
	struct err e = { 0 };

	if (store_open(url, &sc_schema, &log, &sc.store, &e) < 0)
		fail_msg("%s", e.text);
	for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
		struct sc_describe_storage_out out = { 0 };

		conf.disk_low_percent = cases[n].low_percent;
		if (sc_handle_describe_storage(&rq, NULL, &out, &e) < 0)
			fail_msg("%s", e.text);
		assert_string_equal(out.state, cases[n].state);
		assert_int_equal(out.reason != NULL, cases[n].low_percent > 0);
		assert_true(out.disk_bytes > 0 && out.free_bytes <= out.disk_bytes);
		assert_int_equal(out.volumes, 0);
	}
	conf.daemon.state_dir = (char *)"/nonexistent";
	assert_true(
	    sc_handle_describe_storage(&rq, NULL, &(struct sc_describe_storage_out){ 0 }, &e) < 0);
	store_close(sc.store);
	net_remove_directory(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_describe_storage) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
