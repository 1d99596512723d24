/* Why an instance or a zone is as it is, as a table of situations: each has its code, who can act,
 * since when. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "clc/why.h"

#define S INT64_C(1000000)

enum { CC_NONE, CC_UNCALLED, CC_DOWN, CC_UP };
enum { NODE_NONE, NODE_UP, NODE_DEGRADED, NODE_SILENT };

struct situation {
	const char *what;
	enum clc_instance_state state;
	const char *wanted;
	bool is_untold, is_unreachable, is_paused, put_fails;
	int cc, node;
	const char *step, *waits_for, *who, *reason_code;
	/* expected */
	bool is_off;
	const char *code, *reason, *waits, *acts;
	int64_t since_s;
};

static const struct situation situations[] = {
	{ "runs", INSTANCE_RUNNING, "running", .cc = CC_UP, .node = NODE_UP, .code = "ok",
	    .reason = "it is as it should be", .waits = "nothing", .acts = "nobody",
	    .since_s = 100 },
	{ "runs, its zone away", INSTANCE_RUNNING, "running", .cc = CC_DOWN, .node = NODE_UP,
	    .code = "ok", .reason = "as it should be", .acts = "nobody", .since_s = 100 },
	{ "no controller", INSTANCE_PENDING, "running", .is_untold = true, .cc = CC_NONE,
	    .is_off = true, .code = "Server.ZoneWithoutController",
	    .reason = "zone z has no cluster controller", .waits = "a cluster controller to join",
	    .acts = "administrator", .since_s = 1 },
	{ "untold, controller down", INSTANCE_PENDING, "running", .is_untold = true, .cc = CC_DOWN,
	    .is_off = true, .code = "Server.ZoneUnreachable",
	    .reason = "waiting for cluster controller cc-1 of zone z, which does not answer since "
		      "1970-01-01T00:03:20Z: connection refused",
	    .waits = "cluster controller cc-1 of zone z", .acts = "administrator", .since_s = 200 },
	{ "told, controller down", INSTANCE_STOPPING, "stopped", .cc = CC_DOWN, .node = NODE_UP,
	    .step = "shutting down the guest", .is_off = true, .code = "Server.ZoneUnreachable",
	    .acts = "administrator", .since_s = 200 },
	{ "untold, paused", INSTANCE_PENDING, "running", .is_untold = true, .cc = CC_UP,
	    .is_paused = true, .is_off = true, .code = "Server.Paused",
	    .waits = "mallee-admin reconcilers resume 'zone z'", .acts = "administrator",
	    .since_s = 100 },
	{ "untold, refused", INSTANCE_PENDING, "running", .is_untold = true, .cc = CC_UP,
	    .put_fails = true, .is_off = true, .code = "Server.ZoneRefuses",
	    .reason = "no walrus has joined this cloud", .acts = "administrator", .since_s = 300 },
	{ "untold, refused, before the first call", INSTANCE_PENDING, "running", .is_untold = true,
	    .cc = CC_UNCALLED, .is_off = true, .code = "Server.Telling", .acts = "cloud",
	    .since_s = 100 },
	{ "untold, on its way", INSTANCE_PENDING, "running", .is_untold = true, .cc = CC_UP,
	    .is_off = true, .code = "Server.Telling", .waits = "cluster controller cc-1",
	    .acts = "cloud", .since_s = 100 },
	{ "a reboot untold", INSTANCE_RUNNING, "running", .is_untold = true, .cc = CC_UP,
	    .node = NODE_UP, .is_off = true, .code = "Server.Telling", .acts = "cloud",
	    .since_s = 100 },
	{ "told, no word", INSTANCE_PENDING, "running", .cc = CC_UP, .is_off = true,
	    .code = "Server.WaitingForZone", .acts = "cloud", .since_s = 100 },
	{ "placed, no word", INSTANCE_PENDING, "running", .cc = CC_UP, .node = NODE_UP,
	    .is_off = true, .code = "Server.WaitingForNode", .waits = "node nc-1", .acts = "cloud",
	    .since_s = 100 },
	{ "starting", INSTANCE_PENDING, "running", .cc = CC_UP, .node = NODE_UP,
	    .step = "downloading image 'ami-1' (4%)", .is_off = true, .code = "Server.Starting",
	    .reason = "downloading image 'ami-1' (4%)", .waits = "node nc-1", .acts = "cloud",
	    .since_s = 150 },
	{ "starting, the node knows more", INSTANCE_PENDING, "running", .cc = CC_UP,
	    .node = NODE_UP, .step = "downloading", .waits_for = "walrus", .who = "administrator",
	    .is_off = true, .code = "Server.Starting", .waits = "walrus", .acts = "administrator",
	    .since_s = 150 },
	{ "stopping", INSTANCE_STOPPING, "stopped", .cc = CC_UP, .node = NODE_UP,
	    .step = "shutting down the guest", .is_off = true, .code = "Server.Stopping",
	    .acts = "cloud", .since_s = 150 },
	{ "terminating", INSTANCE_SHUTTING_DOWN, "terminated", .cc = CC_UP, .node = NODE_UP,
	    .step = "removing the disk", .is_off = true, .code = "Server.Terminating",
	    .acts = "cloud", .since_s = 150 },
	{ "starting, node degraded", INSTANCE_PENDING, "running", .cc = CC_UP,
	    .node = NODE_DEGRADED, .step = "starting guest", .is_off = true,
	    .code = "Server.NodeDegraded", .reason = "libvirt does not answer",
	    .waits = "node nc-1", .acts = "administrator", .since_s = 400 },
	{ "runs, node degraded", INSTANCE_RUNNING, "running", .cc = CC_UP, .node = NODE_DEGRADED,
	    .code = "ok", .acts = "nobody", .since_s = 100 },
	{ "runs, node silent", INSTANCE_RUNNING, "running", .is_unreachable = true, .cc = CC_UP,
	    .node = NODE_SILENT, .is_off = true, .code = "Server.Unreachable",
	    .reason = "the node 'nc-1' is silent since 1970-01-01T00:08:20Z: no route to host",
	    .waits = "node nc-1", .acts = "administrator", .since_s = 500 },
	{ "silent, no row of the node", INSTANCE_RUNNING, "running", .is_unreachable = true,
	    .cc = CC_UP, .is_off = true, .code = "Server.Unreachable", .acts = "administrator",
	    .since_s = 100 },
	{ "ended while silent", INSTANCE_TERMINATED, "terminated", .is_unreachable = true,
	    .cc = CC_UP, .node = NODE_SILENT, .code = "ok", .acts = "nobody", .since_s = 100 },
	{ "stopped by its user", INSTANCE_STOPPED, "stopped", .cc = CC_UP, .node = NODE_UP,
	    .reason_code = "Client.UserInitiatedShutdown", .code = "Client.UserInitiatedShutdown",
	    .waits = "start it", .acts = "user", .since_s = 100 },
	{ "image missing", INSTANCE_TERMINATED, "terminated", .cc = CC_UP,
	    .reason_code = "Server.InvalidImage", .code = "Server.InvalidImage",
	    .waits = "register the image again", .acts = "user", .since_s = 100 },
	{ "no room at its start", INSTANCE_STOPPED, "stopped", .cc = CC_UP,
	    .reason_code = "Server.InsufficientInstanceCapacity",
	    .code = "Server.InsufficientInstanceCapacity", .acts = "administrator",
	    .since_s = 100 },
	{ "a code of tomorrow", INSTANCE_STOPPED, "stopped", .cc = CC_UP,
	    .reason_code = "Server.Tomorrow", .code = "Server.Tomorrow", .acts = "administrator",
	    .since_s = 100 },
};

static void
make_zone(const struct situation *s, struct clc_zone_view *ret)
{
	*ret = (struct clc_zone_view){ .zone = "z", .made_us = 1 * S };
	if (s->cc == CC_NONE)
		return;
	snprintf(ret->cc_id, sizeof(ret->cc_id), "cc-1");
	ret->cc.is_listed = true;
	ret->cc.is_known = s->cc != CC_UNCALLED;
	ret->cc.is_up = s->cc == CC_UP;
	ret->cc.since_us = 200 * S;
	snprintf(ret->cc.why, sizeof(ret->cc.why), "connection refused");
	ret->put.is_paused = s->is_paused;
	if (s->put_fails) {
		ret->put.since_us = 300 * S;
		err_set(&ret->put.last_error, ERR_SERVICE_UNAVAILABLE,
		    "no walrus has joined this cloud");
	}
}

static void
every_situation_has_its_reason(void **state)
{
	static const struct clc_node_view nodes[] = {
		[NODE_UP] = { "up", NULL, 350 * S, 600 * S },
		[NODE_DEGRADED] = { "degraded", "libvirt does not answer", 400 * S, 600 * S },
		[NODE_SILENT] = { "silent", "no route to host", 510 * S, 500 * S },
	};
	_cleanup_arena_ struct arena *arena = arena_new(0);

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(situations); n++) {
		const struct situation *s = &situations[n];
		struct clc_instance i = { .instance_id = "i-1",
			.zone = "z",
			.state = s->state,
			.wanted = s->wanted,
			.state_us = 100 * S,
			.step = s->step,
			.step_us = s->step ? 150 * S : 0,
			.waits_for = s->waits_for,
			.who = s->who,
			.reason_code = s->reason_code,
			.is_unreachable = s->is_unreachable,
			.node_id = s->node ? "nc-1" : NULL,
			.to_put = s->is_untold                      ? PUT_SPEC
				  : s->state == INSTANCE_TERMINATED ? PUT_FORGET
								    : PUT_NOTHING };
		struct clc_zone_view zone;
		struct clc_why why;

		make_zone(s, &zone);
		clc_why_instance(&i, &zone, s->node ? &nodes[s->node] : NULL, arena, &why);
		if (!strings_equal(why.code, s->code) || !strings_equal(why.who, s->acts) ||
		    why.since_us != s->since_s * S || why.is_off != s->is_off)
			fail_msg("%s: code %s, who %s, since %lld, off %d", s->what, why.code,
			    why.who, (long long)(why.since_us / S), why.is_off);
		if (s->reason && !strstr(why.reason, s->reason))
			fail_msg("%s: reason '%s'", s->what, why.reason);
		if (s->waits && !strstr(why.waits_for, s->waits))
			fail_msg("%s: waits for '%s'", s->what, why.waits_for);
		assert_non_null(why.reason);
		assert_non_null(why.waits_for);
		assert_true(why.reason[0] && why.waits_for[0]);
	}
}

static void
zones(void **state)
{
	static const struct {
		struct situation s;
		int64_t nodes_up;
		const char *is, *code;
	} cases[] = {
		{ { .cc = CC_NONE }, 1, "unavailable", "Server.ZoneWithoutController" },
		{ { .cc = CC_DOWN }, 1, "unavailable", "Server.ZoneUnreachable" },
		{ { .cc = CC_UNCALLED }, 1, "impaired", "Server.PeerNotCalled" },
		{ { .cc = CC_UP, .is_paused = true }, 1, "impaired", "Server.Paused" },
		{ { .cc = CC_UP, .put_fails = true }, 1, "impaired", "Server.ZoneRefuses" },
		{ { .cc = CC_UP }, 0, "impaired", "Server.ZoneWithoutNodes" },
		{ { .cc = CC_UP }, 1, "available", "ok" },
	};
	_cleanup_arena_ struct arena *arena = arena_new(0);

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(cases); n++) {
		struct clc_zone_view zone;
		struct clc_why why;

		make_zone(&cases[n].s, &zone);
		clc_why_zone(&zone, cases[n].nodes_up, arena, &why);
		assert_string_equal(why.state, cases[n].is);
		assert_string_equal(why.code, cases[n].code);
		assert_int_equal(why.is_off, strcmp(cases[n].code, "ok") != 0);
	}
}

static void
it_is_shown_in_eight_lines(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct clc_why why = { "i-1", "pending", "running", "Server.Starting", "a sentence",
		"node nc-1", "cloud", 0, true };
	size_t lines = 0;

	(void)state;
	clc_why_format(&why, &out);
	for (size_t n = 0; n < out.n; n++)
		lines += out.p[n] == '\n';
	assert_int_equal(lines, 8);
	assert_non_null(strstr(strbuf_c(&out), "since      1970-01-01T00:00:00.000Z ("));
	assert_non_null(strstr(strbuf_c(&out), "waits_for  node nc-1\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_situation_has_its_reason),
		cmocka_unit_test(zones),
		cmocka_unit_test(it_is_shown_in_eight_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
