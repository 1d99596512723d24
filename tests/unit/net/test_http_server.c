/* The server over real sockets, by clients that behave and by clients that don't. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "run/fs.h"
#include "run/metrics.h"
#include "tests/lib/http_paths.h"

static void
strictness_table(void **state)
{
	_cleanup_strbuf_ struct strbuf file = STRBUF_INIT;
	struct str rest, line;

	assert_int_equal(fs_read("tests/data/http_cases", 1 << 20, &file, NULL), 0);
	rest = strbuf_str(&file);
	while (str_split(&rest, '\n', &line)) {
		_cleanup_strbuf_ struct strbuf in = STRBUF_INIT;
		struct net_reply r = { 0 };
		struct str name;
		int fd, wanted;

		if (line.n == 0 || line.p[0] == '#')
			continue;
		assert_true(str_split(&line, ' ', &name));
		line = str_trim(line);
		wanted = atoi(line.p);
		net_unescape((struct str){ line.p + 4, line.n - 4 }, &in);
		fd = net_connect(http_paths_server.port);
		net_send(fd, in.p, in.n);
		if (net_read_reply(fd, false, &r) != wanted)
			fail_msg("%.*s: status %d, not %d", (int)name.n, name.p, r.status, wanted);
		if (wanted >= 400) {
			assert_true(net_reply_has(&r, "\r\nConnection: close\r\n"));
			(void)shutdown(fd, SHUT_WR);
			if (!net_closes(fd, 3000))
				fail_msg("%.*s: not closed", (int)name.n, name.p);
		}
		net_reply_done(&r);
		close(fd);
	}
}

/* A refused request hides no second one: what follows it is never answered. */
static void
nothing_follows_an_error(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n"
		      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" ASK("/smuggled"));
	assert_int_equal(net_read_reply(fd, false, &r), 400);
	assert_int_equal(net_read_reply(fd, false, &r), 0);
	assert_int_equal(http_seen.heads, 0);
	net_reply_done(&r);
	close(fd);
}

static void
keeps_alive_and_pipelines(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, ASK("/a") "POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n"
				"\x00" /* ends the literal: sent below */);
	net_send(fd, "", 1);
	net_sends(fd, "POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
		      "1\r\n");
	net_send(fd, "", 1);
	net_sends(fd, "\r\n0\r\nX-T: trail\r\n\r\n" ASK("/b") ASK("/c"));
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "ok\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "1 bytes, 0 wrong, trailer \n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "1 bytes, 0 wrong, trailer trail\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_false(net_has_input(fd, 50));
	assert_int_equal(http_seen.completes, 5);
	net_reply_done(&r);
	close(fd);
}

static void
byte_by_byte(void **state)
{
	static const char in[] = "POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"
				 "\r\n0\r\nX-T: z\r\n\r\n" ASK("/");
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	for (size_t i = 0; i < sizeof(in) - 1; i++) {
		net_send(fd, in + i, 1);
		usleep(500);
	}
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "0 bytes, 0 wrong, trailer z\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	net_reply_done(&r);
	close(fd);
}

static void
bodiless_replies(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "HEAD / HTTP/1.1\r\nHost: t\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: t\r\n\r\n"
		      "HEAD /file HTTP/1.1\r\nHost: t\r\n\r\n" ASK("/empty") ASK("/"));
	assert_int_equal(net_read_reply(fd, true, &r), 200);
	assert_true(net_reply_has(&r, "\r\nContent-Length: 3\r\n"));
	assert_true(net_reply_has(&r, "\r\nServer: Mallee\r\n"));
	assert_true(net_reply_has(&r, "\r\nDate: "));
	assert_int_equal(net_read_reply(fd, true, &r), 200);
	assert_int_equal(net_read_reply(fd, true, &r), 200);
	assert_true(net_reply_has(&r, "\r\nContent-Length: 10485760\r\n"));
	assert_int_equal(net_read_reply(fd, false, &r), 204);
	assert_false(net_reply_has(&r, "Content-Length"));
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "ok\n");
	net_reply_done(&r);
	close(fd);
}

static void
http_1_0(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_true(net_reply_has(&r, "\r\nConnection: keep-alive\r\n"));
	net_sends(fd, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_false(net_reply_has(&r, "chunked"));
	assert_int_equal(r.body.n, STREAM_BYTES);
	net_reply_done(&r);
	close(fd);
}

static void
close_is_honoured(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "GET / HTTP/1.1\r\nHost: t\r\nConnection: TE, close\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_true(net_reply_has(&r, "\r\nConnection: close\r\n"));
	assert_true(net_closes(fd, 1000));
	net_reply_done(&r);
	close(fd);
}

/* A reply before `end` was called, but after the last byte: the promise to keep the connection
 * holds. */
static void
replies_before_the_end(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	for (int i = 0; i < 5; i++) {
		net_sends(
		    fd, i % 2 ? ASK("/eager")
			      : "PUT /eager HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc");
		assert_int_equal(net_read_reply(fd, false, &r), 200);
		assert_false(net_reply_has(&r, "Connection: close"));
	}
	net_reply_done(&r);
	close(fd);
}

/* -- 100-continue and refusals -- */

static void
continue_waits_for_the_handler(void **state)
{
	struct net_reply r = { 0 };
	char buffer[64] = "";
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "PUT /refuse HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n"
		      "Expect: 100-continue\r\n\r\n");
	assert_int_equal(recv(fd, buffer, 12, MSG_WAITALL), 12);
	assert_string_equal(buffer, "HTTP/1.1 403"); /* and no 100 before it */
	assert_true(net_closes(fd, 2000));
	close(fd);

	fd = net_connect(http_paths_server.port);
	net_sends(fd, "PUT /read HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n"
		      "Expect: 100-continue\r\n\r\n");
	assert_int_equal(recv(fd, buffer, 25, MSG_WAITALL), 25);
	assert_memory_equal(buffer, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	net_send(fd, "", 1);
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "1 bytes, 0 wrong, trailer \n");
	/* before an empty body as well: clients wait for it */
	net_sends(fd, "PUT /read HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n"
		      "Expect: 100-continue\r\n\r\n");
	assert_int_equal(recv(fd, buffer, 25, MSG_WAITALL), 25);
	assert_memory_equal(buffer, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "0 bytes, 0 wrong, trailer \n");
	/* still usable */
	net_sends(fd, ASK("/"));
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	net_reply_done(&r);
	close(fd);
}

/* The reply to a refused upload reaches a client that is still sending. */
static void
lingers_after_early_error(void **state)
{
	_cleanup_free_ char *body = xcalloc(1, 4 << 20);
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "PUT /refuse HTTP/1.1\r\nHost: t\r\nContent-Length: 4194304\r\n\r\n");
	net_send(fd, body, 4 << 20);
	assert_int_equal(net_read_reply(fd, false, &r), 403);
	assert_string_equal(r.body.p, "no\n");
	(void)shutdown(fd, SHUT_WR);
	assert_true(net_closes(fd, 2000));
	net_reply_done(&r);
	close(fd);
}

static void
body_limit(void **state)
{
	struct net_reply r = { 0 };
	char body[2000] = "";
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "PUT /read?limit HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n"
		      "Expect: 100-continue\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 413);
	close(fd);
	for (int n = 1000; n <= 1001; n++) {
		_cleanup_free_ char *size = xasprintf("%x\r\n", n);

		fd = net_connect(http_paths_server.port);
		net_sends(fd, "PUT /read?limit HTTP/1.1\r\nHost: t\r\n"
			      "Transfer-Encoding: chunked\r\n\r\n");
		net_sends(fd, size);
		net_send(fd, body, (size_t)n);
		net_sends(fd, "\r\n0\r\n\r\n");
		assert_int_equal(net_read_reply(fd, false, &r), n == 1000 ? 200 : 413);
		close(fd);
	}
	net_reply_done(&r);
}

/* -- suspension -- */

static void
resumes_from_another_thread(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	for (int i = 0; i < 200; i++) {
		net_sends(fd, ASK("/suspend"));
		assert_int_equal(net_read_reply(fd, false, &r), 200);
		assert_string_equal(r.body.p, "from another thread\n");
	}
	/* pipelined behind a suspended one: in order */
	net_sends(fd, ASK("/suspend") ASK("/") ASK("/suspend"));
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "from another thread\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "ok\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	net_reply_done(&r);
	close(fd);
}

static void
notices_hangup_while_suspended(void **state)
{
	static const char *const tails[] = { "", ASK("/pipelined") };

	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		int fd = net_connect(http_paths_server.port);
		uint64_t before;

		http_seen.has_kept = false;
		net_sends(fd, ASK("/keep"));
		net_sends(fd, tails[i]);
		while (!http_seen.has_kept)
			usleep(1000);
		before = net_cpu_us();
		usleep(200000);
		/* Unread input must not make the loop spin. */
		assert_true(net_cpu_us() - before < 100000);
		assert_int_equal(http_seen.gones, i);
		close(fd);
		assert_true(http_seen_reaches(&http_seen.gones, (unsigned)i + 1));
		before = net_cpu_us();
		usleep(200000);
		assert_true(net_cpu_us() - before < 100000);
		/* The one who answers now finds nobody, and is told so. */
		http_resume(http_seen.kept, http_paths_answer, "late\n");
		for (int n = 0; n < 500 && http_seen.resumed_gone <= i; n++)
			usleep(10000);
		assert_int_equal(http_seen.resumed_gone, i + 1);
	}
	assert_int_equal(http_seen.completes, 0);
}

/* One that hung up meanwhile among them: it does not hold up the others. */
static void
many_are_resumed_at_once(void **state)
{
	static const char *const texts[] = { "first\n", "second\n", "third\n" };
	struct http_resumes all = { 0 };
	struct net_reply r = { 0 };
	int fds[ARRAY_SIZE(texts)];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		http_seen.has_kept = false;
		fds[i] = net_connect(http_paths_server.port);
		net_sends(fds[i], ASK("/keep"));
		while (!http_seen.has_kept)
			usleep(1000);
		http_resume_later(&all, http_seen.kept, http_paths_answer, (void *)texts[i]);
	}
	close(fds[1]);
	assert_true(http_seen_reaches(&http_seen.gones, 1));
	http_resume_all(&all);
	assert_int_equal(net_read_reply(fds[0], false, &r), 200);
	assert_string_equal(strbuf_c(&r.body), texts[0]);
	assert_int_equal(net_read_reply(fds[2], false, &r), 200);
	assert_string_equal(strbuf_c(&r.body), texts[2]);
	assert_int_equal(http_seen.resumed_alive, 2);
	assert_int_equal(http_seen.resumed_gone, 1);
	http_resume_all(&all); /* nothing is left of them */
	net_reply_done(&r);
	close(fds[0]);
	close(fds[2]);
}

static void
suspension_expires(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, ASK("/expire"));
	assert_int_equal(net_read_reply(fd, false, &r), 504);
	assert_int_equal(http_seen.expiries, 1);
	http_resume(http_seen.kept, http_paths_answer, "late\n");
	for (int n = 0; n < 500 && !http_seen.resumed_gone; n++)
		usleep(10000);
	assert_int_equal(http_seen.resumed_gone, 1);
	net_sends(fd, ASK("/expire-503"));
	assert_int_equal(net_read_reply(fd, false, &r), 503);
	net_reply_done(&r);
	close(fd);
}

/* Refs that outlive the server: the callback still comes, once, with nobody. */
static void
resume_after_the_server(void **state)
{
	struct http_resumes all = { 0 };
	struct net_server other;
	int fd;

	net_server_start(&other, &http_paths_options);
	fd = net_connect(other.port);
	net_sends(fd, ASK("/keep"));
	while (!http_seen.has_kept)
		usleep(1000);
	net_loop_stop(&other.on);
	http_resume(http_seen.kept, http_paths_answer, "a"); /* queued, never run by the loop */
	http_server_free(other.server);
	assert_int_equal(http_seen.resumed_gone, 1);
	http_resume(http_seen.kept, http_paths_answer, "b");
	assert_int_equal(http_seen.resumed_gone, 2);
	http_resume_later(&all, http_seen.kept, http_paths_answer, "c");
	http_resume_later(&all, http_seen.kept, http_paths_answer, "d");
	assert_int_equal(http_seen.resumed_gone, 2);
	http_resume_all(&all);
	assert_int_equal(http_seen.resumed_gone, 4);
	net_loop_free(&other.on);
	close(fd);
}

/* Pieces in the hands of threads outlive exchange, connection and server. */
static void
pieces_outlive_the_server(void **state)
{
	static const char body[300000];
	struct net_server other;
	int fd;

	net_server_start(&other, &http_paths_options);
	fd = net_connect(other.port);
	net_sends(fd, "PUT /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 300001\r\n\r\n");
	net_send(fd, body, sizeof(body));
	for (int i = 0; i < 500 && !http_seen.slow_pieces; i++)
		usleep(1000);
	net_server_stop(&other);
	close(fd);
	for (int i = 0; i < 500 && http_seen.slow_pieces; i++)
		usleep(1000);
	assert_int_equal(http_seen.slow_pieces, 0);
}

/* -- other sockets -- */

static void
other_listeners(void **state)
{
	_cleanup_free_ char *directory = net_temporary_directory();
	_cleanup_free_ char *path = xasprintf("%s/s", directory);
	_cleanup_free_ char *wanted = xasprintf("unix 0  %u 0", geteuid());
	struct net_reply r = { 0 };
	struct http_server *s;
	struct net_loop on;
	uint16_t port6 = 0;
	int fds[2] = { net_listen_unix(path), net_listen6(&port6) }, fd;

	assert_int_equal(loop_new(&on.loop, NULL), 0);
	assert_int_equal(
	    http_server_new(on.loop, &http_paths_options, fds, fds[1] < 0 ? 1 : 2, &s, NULL), 0);
	http_server_free(s);
	loop_free(on.loop);
	net_loop_start(&on);
	(void)unlink(path);
	fds[0] = net_listen_unix(path);
	if (fds[1] >= 0)
		fds[1] = net_listen6(&port6);
	net_loop_stop(&on);
	assert_int_equal(
	    http_server_new(on.loop, &http_paths_options, fds, fds[1] < 0 ? 1 : 2, &s, NULL), 0);
	assert_int_equal(
	    pthread_create(&on.thread, NULL, (void *(*)(void *))(uintptr_t)loop_run, on.loop), 0);
	fd = net_connect_unix(path);
	net_sends(fd, ASK("/peer"));
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, wanted);
	close(fd);
	if (fds[1] >= 0) {
		struct sockaddr_in6 a = { .sin6_family = AF_INET6,
			.sin6_addr = in6addr_loopback,
			.sin6_port = htons(port6) };

		fd = socket(AF_INET6, SOCK_STREAM, 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
		net_sends(fd, ASK("/peer"));
		assert_int_equal(net_read_reply(fd, false, &r), 200);
		free(wanted);
		wanted = xasprintf("::1 0  -1 %u", port6);
		assert_string_equal(r.body.p, wanted);
		close(fd);
	}
	net_loop_stop(&on);
	http_server_free(s);
	loop_free(on.loop);
	net_remove_directory(directory);
	net_reply_done(&r);
}

static void
counts_requests(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct http_server_options named = http_paths_options;
	struct net_server s;
	struct net_reply r = { 0 };
	int fd;

	named.name = "counted";
	net_server_start(&s, &named);
	fd = net_connect(s.port);
	net_sends(fd, ASK("/") ASK("/") ASK("/refuse") "GARBAGE\r\n\r\n");
	for (int i = 0; i < 4; i++)
		(void)net_read_reply(fd, false, &r);
	close(fd);
	net_server_stop(&s);
	metrics_write(&out);
	assert_non_null(
	    strstr(out.p, "mallee_http_requests_total{server=\"counted\",status=\"2xx\"} 2\n"));
	assert_non_null(
	    strstr(out.p, "mallee_http_requests_total{server=\"counted\",status=\"4xx\"} 2\n"));
	assert_non_null(strstr(out.p, "mallee_http_requests_in_flight{server=\"counted\"} 0\n"));
	assert_non_null(strstr(out.p, "mallee_http_connections{server=\"counted\"} 0\n"));
	assert_non_null(strstr(out.p, "mallee_http_request_seconds_count{server=\"counted\"} 4\n"));
	net_reply_done(&r);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, http_paths_setup, http_paths_teardown)
	const struct CMUnitTest tests[] = {
		TEST(strictness_table),
		TEST(nothing_follows_an_error),
		TEST(keeps_alive_and_pipelines),
		TEST(byte_by_byte),
		TEST(bodiless_replies),
		TEST(http_1_0),
		TEST(close_is_honoured),
		TEST(replies_before_the_end),
		TEST(continue_waits_for_the_handler),
		TEST(lingers_after_early_error),
		TEST(body_limit),
		TEST(resumes_from_another_thread),
		TEST(notices_hangup_while_suspended),
		TEST(many_are_resumed_at_once),
		TEST(suspension_expires),
		TEST(resume_after_the_server),
		TEST(pieces_outlive_the_server),
		TEST(other_listeners),
		TEST(counts_requests),
	};

	return cmocka_run_group_tests_name(
	    "http_server", tests, http_paths_make_file, http_paths_remove_file);
}
