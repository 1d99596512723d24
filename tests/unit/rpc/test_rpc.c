/* Calls between two nodes over real TLS on loopback: what gets through, who is refused, restarts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/id.h"
#include "rpc/rpc_internal.h"
#include "tests/lib/peers.h"

struct world {
	struct test_cloud cloud;
	struct test_node server, cc, clc;
	struct rpc_peer *from_cc, *from_clc; /* the server, as they see it */
};

static void
must(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct err e = { 0 };

	log_set_level(LOG_ERROR);
	test_cloud_setup(&w->cloud);
	test_node_setup(&w->server, &w->cloud, "nc-00000000000000001", "nc", -1, 30);
	test_node_setup(&w->cc, &w->cloud, "cc-00000000000000002", "cc", -1, 30);
	test_node_setup(&w->clc, &w->cloud, "clc-0000000000000003", "clc", -1, 30);
	must(test_node_start(&w->server, &e), &e);
	must(test_node_start(&w->cc, &e), &e);
	must(test_node_start(&w->clc, &e), &e);
	w->from_cc = rpc_peer_new(w->cc.rpc, w->server.id, "nc", w->server.url, NULL);
	w->from_clc = rpc_peer_new(w->clc.rpc, NULL, "nc", w->server.url, NULL);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	rpc_peer_free(w->from_cc);
	rpc_peer_free(w->from_clc);
	test_node_teardown(&w->cc);
	test_node_teardown(&w->clc);
	test_node_teardown(&w->server);
	test_cloud_teardown(&w->cloud);
	free(w);
	return 0;
}

static int
echo(struct rpc_peer *p, const char *text, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_echo_in in = { .text = text };
	struct test_echo_out out;
	int r = rpc_call(p, &test_echo, NULL, &in, &out, arena, 5000, e);

	if (r == 0)
		assert_string_equal(out.text, text);
	return r;
}

static void
a_call_carries_everything(void **state)
{
	struct world *w = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const char *names[] = { "one", "<two>&\"", "dr\xc3\xa9i" };
	struct test_echo_in in = { .text = " a\n\tb ",
		.number = INT64_MIN,
		.secret = "hidden",
		.volume = 11,
		.names = { names, 3 } };
	struct test_echo_out out;
	struct rpc_context context = { "req-7f3a", "000012345678" };
	struct err e = { 0 };

	assert_false(rpc_peer_is_up(w->from_cc));
	must(rpc_call(w->from_cc, &test_echo, &context, &in, &out, arena, 5000, &e), &e);
	assert_true(rpc_peer_is_up(w->from_cc));
	assert_string_equal(out.text, " a\n\tb ");
	assert_int_equal(out.number, INT64_MIN);
	assert_int_equal(out.volume, 11);
	assert_int_equal(out.names.count, 3);
	assert_string_equal(out.names.items[1], names[1]);
	assert_string_equal(out.names.items[2], names[2]);
	assert_string_equal(out.caller, w->cc.id);
	assert_string_equal(out.role, "cc");
	assert_string_equal(out.request_id, "req-7f3a");
	assert_string_equal(out.account_id, "000012345678");
	assert_in_range(out.left_ms, 3000, 5000);
	must(echo(w->from_clc, "by role alone", &e), &e);
}

static void
the_role_decides(void **state)
{
	struct world *w = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_only_clc_in in = { 0 };
	struct test_only_clc_out out;
	struct err e = { 0 };

	must(rpc_call(w->from_clc, &test_only_clc, NULL, &in, &out, arena, 5000, &e), &e);
	assert_int_equal(
	    rpc_call(w->from_cc, &test_only_clc, NULL, &in, &out, arena, 5000, &e), ERR_DENIED);
	assert_string_equal(
	    e.text, "'cc-00000000000000002' of role 'cc' may not call OnlyClc of 'test'");
	assert_int_equal(w->server.served, 1);
	assert_true(rpc_peer_is_up(w->from_cc)); /* it answered */
}

static void
faults_come_back_by_name(void **state)
{
	struct world *w = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	static const struct {
		const char *fault;
		int code;
	} cases[] = {
		{ "INSTANCE_NOT_FOUND", ERR_INSTANCE_NOT_FOUND },
		{ "NO_SPACE", ERR_NO_SPACE },
		{ "STALE", ERR_STALE }, /* the handler's own, not the epoch's */
		{ "NOT_MODIFIED", ERR_NOT_MODIFIED },
		{ "AUTH_FAILURE", ERR_AUTH_FAILURE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test_fail_in in = { .fault = cases[i].fault };
		struct test_fail_out out;
		_cleanup_free_ char *text = xasprintf("told to fail with '%s'", in.fault);
		struct err e = { 0 };

		assert_int_equal(rpc_call(w->from_cc, &test_fail, NULL, &in, &out, arena, 5000, &e),
		    cases[i].code);
		assert_string_equal(e.text, text);
	}
	assert_int_equal(w->server.served, ARRAY_SIZE(cases)); /* none was repeated */
}

static void
a_restart_is_noticed_and_forgiven(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };
	uint64_t epoch = rpc_epoch(w->server.rpc);

	must(echo(w->from_cc, "before", &e), &e);
	for (int i = 0; i < 3; i++) {
		test_node_stop(&w->server);
		must(test_node_start(&w->server, &e), &e);
		assert_true(rpc_epoch(w->server.rpc) != epoch);
		must(echo(w->from_cc, "after", &e), &e); /* at the first try */
	}
	assert_int_equal(w->server.served, 4);
}

static void
a_dead_peer_fails_fast_and_recovers_within_a_second(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };
	uint64_t started;
	unsigned tries = 0;

	must(echo(w->from_cc, "before", &e), &e);
	test_node_stop(&w->server);
	close(w->server.listener);
	w->server.listener = -1;
	started = clock_monotonic_ms();
	while (clock_monotonic_ms() - started < 2000) {
		uint64_t asked = clock_monotonic_ms();

		assert_int_equal(echo(w->from_cc, "?", &e), ERR_UNAVAILABLE);
		assert_true(clock_monotonic_ms() - asked < 1500); /* no time-out */
		assert_false(rpc_peer_is_up(w->from_cc));
		assert_in_range(rpc_peer_retry_ms(w->from_cc), 0, RPC_BACKOFF_MAX_MS);
		(void)poll(NULL, 0, 20);
		tries++;
	}
	assert_true(tries > 10);
	test_node_teardown(&w->server);
	/* the same name on another port: what a registry would tell */
	test_node_setup(&w->server, &w->cloud, "nc-00000000000000001", "nc", -1, 30);
	must(test_node_start(&w->server, &e), &e);
	rpc_peer_free(w->from_cc);
	w->from_cc = rpc_peer_new(w->cc.rpc, w->server.id, "nc", w->server.url, NULL);
	must(echo(w->from_cc, "after", &e), &e);

	/* and on the same port, with nothing but time passing */
	test_node_stop(&w->server);
	for (int i = 0; i < 5; i++) { /* the listener is open, nobody accepts */
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct test_echo_in in = { .text = "x" };
		struct test_echo_out out;

		(void)rpc_call(w->from_cc, &test_echo, NULL, &in, &out, arena, 100, &e);
	}
	must(test_node_start(&w->server, &e), &e);
	started = clock_monotonic_ms();
	while (echo(w->from_cc, "again", &e) < 0) {
		/* under a second, and as much again for a loaded machine */
		assert_true(clock_monotonic_ms() - started < 2000);
		(void)poll(NULL, 0, 10);
	}
}

static void
deadlines_hold(void **state)
{
	struct world *w = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_slow_in in = { .ms = 2500 };
	struct test_slow_out out;
	struct err e = { 0 };
	uint64_t started;

	must(echo(w->from_cc, "warm", &e), &e);
	started = clock_monotonic_ms();
	assert_int_equal(
	    rpc_call(w->from_cc, &test_slow, NULL, &in, &out, arena, 200, &e), ERR_TIMEOUT);
	assert_true(clock_monotonic_ms() - started < 2000);
	assert_non_null(strstr(e.text, "did not answer Slow within 200 ms"));
	assert_true(rpc_peer_is_up(w->from_cc)); /* slow is not away */
	must(echo(w->from_cc, "still", &e), &e);
}

static void
somebody_else_is_not_the_peer(void **state)
{
	struct world *w = *state;
	struct rpc_peer *other_name =
	    rpc_peer_new(w->cc.rpc, "nc-0000000000000000f", "nc", w->server.url, NULL);
	struct rpc_peer *other_role =
	    rpc_peer_new(w->cc.rpc, w->server.id, "walrus", w->server.url, NULL);
	struct rpc_peer *other_certificate = rpc_peer_new(w->cc.rpc, w->server.id, "nc",
	    w->server.url, "0000000000000000000000000000000000000000000000000000000000000000");
	struct err e = { 0 };

	assert_int_equal(echo(other_name, "?", &e), ERR_AUTH_FAILURE);
	assert_non_null(strstr(e.text, "answered in the place of 'nc-0000000000000000f'"));
	assert_int_equal(echo(other_role, "?", &e), ERR_AUTH_FAILURE);
	assert_int_equal(echo(other_certificate, "?", &e), ERR_UNAVAILABLE);
	assert_int_equal(w->server.served, 0);
	rpc_peer_free(other_name);
	rpc_peer_free(other_role);
	rpc_peer_free(other_certificate);
}

static void
another_cloud_is_refused(void **state)
{
	struct world *w = *state;
	struct test_cloud cloud;
	struct test_node stranger;
	struct rpc_peer *peer, *back;
	struct err e = { 0 };

	test_cloud_setup(&cloud);
	test_node_setup(&stranger, &cloud, "cc-00000000000000009", "cc", -1, 30);
	must(test_node_start(&stranger, &e), &e);
	peer = rpc_peer_new(stranger.rpc, w->server.id, "nc", w->server.url, NULL);
	assert_int_equal(echo(peer, "?", &e), ERR_UNAVAILABLE);
	back = rpc_peer_new(w->cc.rpc, stranger.id, "cc", stranger.url, NULL);
	assert_int_equal(echo(back, "?", &e), ERR_UNAVAILABLE);
	assert_int_equal(w->server.served + stranger.served, 0);
	rpc_peer_free(peer);
	rpc_peer_free(back);
	test_node_teardown(&stranger);
	test_cloud_teardown(&cloud);
}

/* -- versions -- */

static void
versions_meet_or_say_why_not(void **state)
{
	struct world *w = *state;
	struct service old_service = test_service, future_service = test_service;
	struct operation old_echo = test_echo, future_echo = test_echo;
	struct test_echo_in in = { .text = "t", .volume = 11 };
	struct test_echo_out out;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct rpc_peer *old, *future;
	struct err e = { 0 };

	/* one step behind: works, without the new field */
	old_service.first_version = "1";
	old_service.last_version = "2";
	old_echo.service = &old_service;
	old = rpc_peer_new(w->cc.rpc, w->server.id, "nc", w->server.url, NULL);
	must(rpc_call(old, &old_echo, NULL, &in, &out, arena, 5000, &e), &e);
	assert_int_equal(out.volume, 0);
	/* too far ahead */
	future_service.first_version = "4";
	future_service.last_version = "5";
	future_echo.service = &future_service;
	future = rpc_peer_new(w->cc.rpc, w->server.id, "nc", w->server.url, NULL);
	assert_int_equal(
	    rpc_call(future, &future_echo, NULL, &in, &out, arena, 5000, &e), ERR_UNSUPPORTED);
	assert_string_equal(e.text, "'cc-00000000000000002' speaks versions 4 to 5 of the messages "
				    "'test', we speak 2 to 3");
	rpc_peer_free(old);
	rpc_peer_free(future);
}

/* -- raw messages -- */

struct raw {
	const char *action, *to_path, *body;
	uint64_t receiver_epoch; /* 0: the right one; 1: none; else itself */
	uint32_t version;
};

static void
write_raw(struct world *w, const struct raw *raw, struct strbuf *out)
{
	_cleanup_free_ char *to = xasprintf("%s%s", w->server.url, raw->to_path);
	_cleanup_free_ char *action = xasprintf("urn:mallee:2026:%s", raw->action);
	char uuid[UUID_TEXT_SIZE], message_id[64];
	struct soap_addressing addressing = {
		.to = to,
		.action = action,
		.message_id = message_id,
		.from = w->cc.id,
		.receiver_epoch = raw->receiver_epoch == 0   ? rpc_epoch(w->server.rpc)
				  : raw->receiver_epoch == 1 ? 0
							     : raw->receiver_epoch,
		.sender_epoch = 5,
		.version = raw->version,
	};
	struct rpc_identity *id = rpc_identity_get(w->cc.rpc);
	struct err e = { 0 };

	uuid_new(uuid);
	(void)snprintf(message_id, sizeof(message_id), "urn:uuid:%s", uuid);
	must(wsse_write(&id->wsse, &addressing, str_of(raw->body), clock_now_us(), out, &e), &e);
	rpc_identity_unref(id);
}

static int
send_raw(struct world *w, const char *path, struct str body, struct strbuf *reply)
{
	_cleanup_free_ char *url = xasprintf("%s%s", w->server.url, path);
	struct http_client_tls tls = { w->cc.rpc->certificate_path, w->cc.rpc->key_path,
		w->cc.rpc->ca_path, .skip_name = true };
	struct http_client_request request = {
		.method = "POST", .url = url, .body = body, .body_fd = -1, .tls = &tls
	};
	struct http_client_reply answer = { 0 };
	struct err e = { 0 };

	must(http_fetch(rpc_http(w->cc.rpc), &request, &answer, &e), &e);
	strbuf_reset(reply);
	strbuf_add(reply, strbuf_c(&answer.body), answer.body.n);
	http_client_reply_done(&answer);
	return answer.status;
}

#define ECHO_BODY "<Echo xmlns=\"urn:mallee:2026\"><text>raw</text></Echo>"

static void
raw_messages(void **state)
{
	struct world *w = *state;
	static const struct {
		struct raw raw;
		const char *path; /* posted to; NULL: as addressed */
		int status;
		const char *holds;
	} cases[] = {
		{ { "test:Echo", "/services/test", ECHO_BODY, 0, 3 }, NULL, 200, "<EchoReply" },
		{ { "test:Echo", "/services/internal", ECHO_BODY, 0, 2 }, NULL, 200, "<EchoReply" },
		{ { "test:Echo", "/services/test", ECHO_BODY, 0, 1 }, NULL, 500,
		    "<Code>UNSUPPORTED</Code>" },
		{ { "test:Echo", "/services/test", ECHO_BODY, 0, 4 }, NULL, 500,
		    "<Code>UNSUPPORTED</Code>" },
		{ { "test:Echo", "/services/test", ECHO_BODY, 1, 3 }, NULL, 500,
		    "<Code>STALE</Code>" },
		{ { "test:Echo", "/services/test", ECHO_BODY, 77, 3 }, NULL, 500,
		    "<Code>STALE</Code>" },
		{ { "test:Nonsense", "/services/test", ECHO_BODY, 0, 3 }, NULL, 500,
		    "<Code>UNSUPPORTED</Code>" },
		{ { "nc:Echo", "/services/test", ECHO_BODY, 0, 3 }, NULL, 500,
		    "<Code>UNSUPPORTED</Code>" },
		{ { "test:Fail", "/services/test", ECHO_BODY, 0, 3 }, NULL, 500,
		    "<Code>INVALID</Code>" },
		{ { "test:Echo", "/services/other", ECHO_BODY, 0, 3 }, "/services/test", 500,
		    "<Code>DENIED</Code>" },
		{ { "test:Echo", "/services/test", ECHO_BODY, 0, 3 }, "/services/other", 404,
		    "nothing here" },
		{ { "test:Echo", "/services/test",
		      "<Echo xmlns=\"urn:mallee:2026\"><text>raw</text><new>1</new></Echo>", 0, 3 },
		    NULL, 500, "unknown element &apos;new&apos;" },
		{ { "test:Hello", "/services/test", "<Hello xmlns=\"urn:mallee:2026\"></Hello>", 1,
		      0 },
		    NULL, 500, "<Code>INVALID</Code>" },
		{ { "test:Hello", "/services/test",
		      "<Hello xmlns=\"urn:mallee:2026\"><peerId>cc-00000000000000002</peerId>"
		      "<role>clc</role><versionMin>2</versionMin><versionMax>3</versionMax>"
		      "<epoch>5</epoch></Hello>",
		      1, 0 },
		    NULL, 500, "<Code>DENIED</Code>" },
		{ { "test:Hello", "/services/test",
		      "<Hello xmlns=\"urn:mallee:2026\"><peerId>cc-00000000000000002</peerId>"
		      "<role>cc</role><versionMin>2</versionMin><versionMax>3</versionMax>"
		      "<epoch>5</epoch></Hello>",
		      1, 0 },
		    NULL, 200, "<HelloReply" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf message = STRBUF_INIT, reply = STRBUF_INIT;
		const char *path = cases[i].path ? cases[i].path : cases[i].raw.to_path;
		int status;

		write_raw(w, &cases[i].raw, &message);
		status = send_raw(w, path, strbuf_str(&message), &reply);
		if (status != cases[i].status)
			fail_msg("case %zu: %d %s", i, status, strbuf_c(&reply));
		if (!strstr(strbuf_c(&reply), cases[i].holds) &&
		    !(strstr(cases[i].holds, "&apos;") &&
			strstr(strbuf_c(&reply), "unknown element 'new'")))
			fail_msg("case %zu: no '%s' in %s", i, cases[i].holds, strbuf_c(&reply));
	}
	assert_int_equal(w->server.served, 2);
}

static void
a_replay_is_refused(void **state)
{
	struct world *w = *state;
	_cleanup_strbuf_ struct strbuf message = STRBUF_INIT, reply = STRBUF_INIT;
	const struct raw raw = { "test:Echo", "/services/test", ECHO_BODY, 0, 3 };
	struct err e = { 0 };

	write_raw(w, &raw, &message);
	assert_int_equal(send_raw(w, raw.to_path, strbuf_str(&message), &reply), 200);
	assert_int_equal(send_raw(w, raw.to_path, strbuf_str(&message), &reply), 403);
	assert_int_equal(w->server.served, 1);
	/* nor does a restart forget: the epoch is another */
	test_node_stop(&w->server);
	must(test_node_start(&w->server, &e), &e);
	assert_int_equal(send_raw(w, raw.to_path, strbuf_str(&message), &reply), 500);
	assert_non_null(strstr(strbuf_c(&reply), "<Code>STALE</Code>"));
	assert_int_equal(w->server.served, 1);
	/* and one changed byte is enough */
	strbuf_reset(&message);
	write_raw(w, &raw, &message);
	*strstr(message.p, ">raw<") = ' ';
	assert_true(send_raw(w, raw.to_path, strbuf_str(&message), &reply) != 200);
	strbuf_reset(&message);
	write_raw(w, &raw, &message);
	strstr(message.p, ">raw<")[1] = 'R';
	assert_int_equal(send_raw(w, raw.to_path, strbuf_str(&message), &reply), 403);
	assert_int_equal(w->server.served, 1);
}

static void
a_message_too_large_is_an_error_here(void **state)
{
	struct world *w = *state;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_free_ char *text = xmalloc(65537);
	const char *names[8] = { text, text, text, text, text, text, text, text };
	struct test_echo_in in = { .text = "x", .names = { names, 8 } };
	struct test_echo_out out;
	struct err e = { 0 };

	memset(text, 'a', 65536);
	text[65536] = '\0';
	assert_int_equal(
	    rpc_call(w->from_cc, &test_echo, NULL, &in, &out, arena, 5000, &e), ERR_LIMIT);
	assert_non_null(strstr(e.text, "is larger than 262144"));
	in.names.count = 3;
	must(rpc_call(w->from_cc, &test_echo, NULL, &in, &out, arena, 5000, &e), &e);
}

/* -- without a thread -- */

struct answers {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned ok, failed;
	int code;
};

static void
on_answer(void *arg, const void *out, const struct err *e)
{
	struct answers *a = arg;
	const struct test_echo_out *o = out;

	pthread_mutex_lock(&a->mutex);
	if (o && strings_equal(o->text, "async")) {
		a->ok++;
	} else {
		a->failed++;
		a->code = e->code;
	}
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->mutex);
}

static void
await(struct answers *a, unsigned count)
{
	pthread_mutex_lock(&a->mutex);
	while (a->ok + a->failed < count)
		pthread_cond_wait(&a->changed, &a->mutex);
	pthread_mutex_unlock(&a->mutex);
}

static void
async_calls(void **state)
{
	struct world *w = *state;
	struct answers a = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
	struct err e = { 0 };
	char text[] = "async";

	for (int i = 0; i < 20; i++) {
		struct test_echo_in in = { .text = text };

		memcpy(text, "async", 5);
		rpc_call_async(w->from_cc, &test_echo, NULL, &in, 10000, on_answer, &a);
		memset(text, 'x', 5); /* it was copied */
	}
	await(&a, 20);
	assert_int_equal(a.ok, 20);
	test_node_stop(&w->server);
	must(test_node_start(&w->server, &e), &e);
	memcpy(text, "async", 5);
	rpc_call_async(w->from_cc, &test_echo, NULL, &(struct test_echo_in){ .text = text }, 10000,
	    on_answer, &a);
	await(&a, 21);
	assert_int_equal(a.ok, 21);
}

static void *
call_slowly(void *arg)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_slow_in in = { .ms = 3000 };
	struct test_slow_out out;
	struct err e = { 0 };

	return (void *)(intptr_t)rpc_call(arg, &test_slow, NULL, &in, &out, arena, 60000, &e);
}

/* A daemon that stops does not wait for its peers. */
static void
stopping_ends_calls(void **state)
{
	struct world *w = *state;
	struct answers a = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER };
	pthread_t thread;
	void *code;
	uint64_t started;
	struct err e = { 0 };

	must(echo(w->from_cc, "warm", &e), &e);
	assert_int_equal(pthread_create(&thread, NULL, call_slowly, w->from_cc), 0);
	rpc_call_async(w->from_cc, &test_slow, NULL, &(struct test_slow_in){ .ms = 3000 }, 60000,
	    on_answer, &a);
	(void)poll(NULL, 0, 200);
	started = clock_monotonic_ms();
	rpc_cancel(w->cc.rpc);
	pthread_join(thread, &code);
	assert_int_equal((intptr_t)code, ERR_CANCELLED);
	await(&a, 1);
	assert_int_equal(a.code, ERR_CANCELLED);
	test_node_stop(&w->cc);
	assert_true(clock_monotonic_ms() - started < 2500);
}

static void *
call_often(void *arg)
{
	struct err e = { 0 };
	intptr_t failed = 0;

	for (int i = 0; i < 25; i++)
		failed += echo(arg, "many", &e) < 0;
	return (void *)failed;
}

static void
many_callers_at_once(void **state)
{
	struct world *w = *state;
	pthread_t threads[6];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, call_often, i % 2 ? w->from_cc : w->from_clc),
		    0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		assert_int_equal((intptr_t)failed, 0);
	}
	assert_int_equal(w->server.served, 25 * ARRAY_SIZE(threads));
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_call_carries_everything),
		test(the_role_decides),
		test(faults_come_back_by_name),
		test(a_restart_is_noticed_and_forgiven),
		test(a_dead_peer_fails_fast_and_recovers_within_a_second),
		test(deadlines_hold),
		test(somebody_else_is_not_the_peer),
		test(another_cloud_is_refused),
		test(versions_meet_or_say_why_not),
		test(raw_messages),
		test(a_replay_is_refused),
		test(a_message_too_large_is_an_error_here),
		test(async_calls),
		test(stopping_ends_calls),
		test(many_callers_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
