/* Bodies that are long or slow, clients that are many, loops that are several. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "net/http_internal.h"
#include "tests/lib/http_paths.h"

/* -- streams -- */

static size_t
memory_kib(void)
{
	char line[256];
	size_t kib = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		(void)sscanf(line, "VmRSS: %zu", &kib);
	if (f)
		fclose(f);
	return kib;
}

static void
slow_reader_holds_little(void **state)
{
	size_t received = 0, wrong = 0;
	static char buffer[65536];
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port), small = 32768;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	net_sends(fd, "GET /stream HTTP/1.0\r\n\r\n");
	usleep(100000);
	while (received < 200 || memmem(buffer, received, "\r\n\r\n", 4) == NULL) {
		ssize_t n = recv(fd, buffer + received, 200, 0);

		assert_true(n > 0);
		received += (size_t)n;
	}
	{
		char *body = (char *)memmem(buffer, received, "\r\n\r\n", 4) + 4;
		size_t n = received - (size_t)(body - buffer);

		for (size_t i = 0; i < n; i++)
			wrong += body[i] != http_pattern_at(i);
		received = n;
	}
	for (unsigned turn = 0; received < STREAM_BYTES; turn++) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			wrong += buffer[i] != http_pattern_at(received + (size_t)i);
		received += (size_t)n;
		if (turn % 16 == 0)
			usleep(1000);
	}
	assert_int_equal(wrong, 0);
	assert_true(http_seen.drain_calls > 5);
	assert_true(http_seen.queued_max <= 2 * HTTP_REPLY_LOW + 32768 + 1024);
	net_reply_done(&r);
	close(fd);
}

static void
send_pattern(int fd, size_t n)
{
	static char buffer[65536];

	for (size_t at = 0; at < n; at += sizeof(buffer)) {
		for (size_t i = 0; i < sizeof(buffer); i++)
			buffer[i] = http_pattern_at(at + i);
		net_send(fd, buffer, n - at < sizeof(buffer) ? n - at : sizeof(buffer));
	}
}

static void
uploads(void **state)
{
	static const char *const paths[] = { "/read", "/slow" };
	struct net_reply r = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_free_ char *head =
		    xasprintf("PUT %s HTTP/1.1\r\nHost: t\r\nContent-Length: %u\r\n\r\n", paths[i],
			STREAM_BYTES);
		int fd = net_connect(http_paths_server.port);

		for (int turn = 0; turn < 2; turn++) {
			net_sends(fd, head);
			send_pattern(fd, STREAM_BYTES);
			assert_int_equal(net_read_reply(fd, false, &r), 200);
			assert_string_equal(r.body.p, "10485760 bytes, 0 wrong, trailer \n");
		}
		close(fd);
	}
	net_reply_done(&r);
}

static void
chunked_both_ways(void **state)
{
	struct net_reply r = { 0 };
	static char body[100000];
	int fd = net_connect(http_paths_server.port);
	size_t at = 0;

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = http_pattern_at(i);
	net_sends(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t n = 1; at < sizeof(body); n = n * 3 + 1) {
		char size[32];

		if (n > sizeof(body) - at)
			n = sizeof(body) - at;
		snprintf(size, sizeof(size), "%zX;x=y\r\n", n);
		net_sends(fd, size);
		net_send(fd, body + at, n);
		net_sends(fd, "\r\n");
		at += n;
	}
	net_sends(fd, "0\r\n\r\n" ASK("/"));
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_true(net_reply_has(&r, "\r\nTransfer-Encoding: chunked\r\n"));
	assert_int_equal(r.body.n, sizeof(body));
	assert_memory_equal(r.body.p, body, sizeof(body));
	net_reply_done(&r);
	close(fd);
}

/* A handler that keeps its pieces stops the client: TCP pushes back, memory stays bounded. */
static void
unreleased_pieces_push_back(void **state)
{
	static char buffer[65536];
	size_t before = memory_kib(), sent = 0;
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port), small = 65536;
	struct timeval patience = { .tv_usec = 300000 };

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	net_sends(fd, "PUT /hold HTTP/1.1\r\nHost: t\r\nContent-Length: 1073741824\r\n\r\n");
	for (;;) {
		ssize_t n = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	assert_true(sent >= HTTP_BODY_CREDITS * (64 << 10));
	assert_true(sent < 32 << 20); /* what the kernel's buffers and the pieces take */
	assert_int_equal(http_seen.pieces_max, HTTP_BODY_CREDITS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(memory_kib() < before + 3 * 1024);
#else
	(void)before;
#endif
	http_resume(http_seen.kept, http_paths_let_go, NULL);
	/* It moves again. */
	patience.tv_sec = 5;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	for (size_t more = 0; more < 512 << 10;) {
		ssize_t n = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL);

		assert_true(n > 0);
		more += (size_t)n;
	}
	close(fd);
	for (int i = 0; i < 100 && http_seen.gones == 0; i++) {
		http_resume(http_seen.kept, http_paths_let_go, NULL);
		usleep(20000);
	}
	assert_int_equal(http_seen.gones, 1);
	net_reply_done(&r);
}

static void
assert_is_pattern(const struct net_reply *r)
{
	assert_int_equal(r->body.n, STREAM_BYTES);
	for (size_t i = 0; i < r->body.n; i++)
		if (r->body.p[i] != http_pattern_at(i))
			fail_msg("byte %zu differs", i);
}

static void
files_and_ranges(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd,
	    ASK("/file") "GET /file HTTP/1.1\r\nHost: t\r\nRange: bytes=100-299\r\n\r\n"
			 "GET /file HTTP/1.1\r\nHost: t\r\nRange: bytes=-5\r\n\r\n"
			 "GET /file HTTP/1.1\r\nHost: t\r\nRange: bytes=99999999-\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_is_pattern(&r);
	assert_int_equal(net_read_reply(fd, false, &r), 206);
	assert_int_equal(r.body.n, 200);
	assert_int_equal(r.body.p[199], http_pattern_at(299));
	assert_int_equal(net_read_reply(fd, false, &r), 206);
	assert_int_equal(r.body.n, 5);
	assert_int_equal(net_read_reply(fd, false, &r), 416);
	net_reply_done(&r);
	close(fd);
}

/* Through a socket that takes little at a time; and as often as to find pipes that are not given
 * back. */
static void
pages_of_a_file(void **state)
{
	struct net_reply r = { 0 };
	int fd;

	for (unsigned round = 0; round < 10; round++) {
		fd = net_connect(http_paths_server.port);
		net_sends(fd, ASK("/pages") "HEAD /pages HTTP/1.1\r\nHost: t\r\n\r\n" ASK("/"));
		if (round % 2) {
			assert_int_equal(net_read_reply(fd, false, &r), 200);
			assert_is_pattern(&r);
			assert_int_equal(net_read_reply(fd, true, &r), 200);
			assert_int_equal(net_read_reply(fd, false, &r), 200);
			assert_string_equal(r.body.p, "ok\n");
		}
		close(fd); /* or amid the pages */
	}
	net_reply_done(&r);
}

/* Content-Length is a promise: what can't keep it cuts the connection. */
static void
broken_promises_cut(void **state)
{
	static const char *const paths[] = { "/file-short", "/too-short", "/too-long", "/abort" };
	struct net_reply r = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		(void)net_get(http_paths_server.port, paths[i], &r);
		assert_true(r.status == 0 || r.is_cut);
	}
	assert_int_equal(http_seen.completes, 0);
	net_reply_done(&r);
}

static void
values_do_not_become_headers(void **state)
{
	struct net_reply r = { 0 };

	assert_int_equal(net_get(http_paths_server.port, "/inject", &r), 200);
	assert_true(net_reply_has(&r, "\r\nX-Stored: a  Set-Cookie: b\r\n"));
	net_reply_done(&r);
}

/* -- deadlines -- */

static void
slowloris_head(void **state)
{
	uint64_t began = clock_monotonic_ms(), took;
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "GET / HTTP/1.1\r\nHost: t\r\nX: ");
	while (!net_has_input(fd, 50) && clock_monotonic_ms() - began < 5000)
		net_sends(fd, "x"); /* active all the time: no idle timer would end it */
	took = clock_monotonic_ms() - began;
	assert_true(took >= HEAD_TIMEOUT_MS - HTTP_TICK_MS && took < HEAD_TIMEOUT_MS + 1500);
	{
		struct net_reply r = { 0 };

		assert_int_equal(net_read_reply(fd, false, &r), 408);
		net_reply_done(&r);
	}
	close(fd);
	assert_int_equal(http_seen.heads, 0);
}

static void
slow_body_is_cut(void **state)
{
	uint64_t began = clock_monotonic_ms();
	struct net_reply r = { 0 };
	int fd = net_connect(http_paths_server.port);

	net_sends(fd, "PUT /read HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
	while (!net_has_input(fd, 20) && clock_monotonic_ms() - began < 5000)
		net_sends(fd, "x"); /* 50 bytes per second */
	assert_int_equal(net_read_reply(fd, false, &r), 408);
	close(fd);

	/* Faster than the minimum: goes on over several windows. */
	fd = net_connect(http_paths_server.port);
	net_sends(fd, "PUT /read HTTP/1.1\r\nHost: t\r\nContent-Length: 6000\r\n\r\n");
	for (size_t i = 0; i < 6000; i += 60) {
		char piece[60];

		for (size_t n = 0; n < sizeof(piece); n++)
			piece[n] = http_pattern_at(i + n);
		net_send(fd, piece, sizeof(piece));
		usleep(15000); /* 4000 bytes per second */
	}
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "6000 bytes, 0 wrong, trailer \n");
	net_reply_done(&r);
	close(fd);
}

static void
reader_that_stops_is_cut(void **state)
{
	int fd = net_connect(http_paths_server.port), small = 4096;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	net_sends(fd, ASK("/stream"));
	assert_true(http_seen_reaches(&http_seen.gones, 1));
	assert_int_equal(http_seen.completes, 0);
	close(fd);
}

static void
idle_connections_time_out(void **state)
{
	struct http_server_options quick = http_paths_options;
	struct net_server s;
	int silent, used;
	struct net_reply r = { 0 };

	quick.idle_timeout_ms = 300;
	net_server_start(&s, &quick);
	silent = net_connect(s.port);
	used = net_connect(s.port);
	net_sends(used, ASK("/"));
	assert_int_equal(net_read_reply(used, false, &r), 200);
	assert_true(net_closes(silent, 2000));
	assert_true(net_closes(used, 2000));
	close(silent);
	close(used);
	net_server_stop(&s);
	net_reply_done(&r);
}

/* -- many -- */

#define IDLE 1000

static void
idle_connections_hold_no_buffers(void **state)
{
	static int fds[IDLE];
	struct net_reply r = { 0 };
	struct net_server s;
	size_t before = 0, after;

	net_server_start(&s, &http_paths_options);
	for (int i = 0; i < IDLE; i++) {
		if (i == 100)
			before = memory_kib();
		fds[i] = net_connect(s.port);
		net_sends(fds[i], ASK("/"));
		assert_int_equal(net_read_reply(fds[i], false, &r), 200);
	}
	after = memory_kib();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(after - before < IDLE * 2); /* under 2 KiB each */
#else
	(void)before;
	(void)after;
#endif
	for (int i = 0; i < IDLE; i += 7) {
		net_sends(fds[i], ASK("/"));
		assert_int_equal(net_read_reply(fds[i], false, &r), 200);
	}
	for (int i = 0; i < IDLE; i++)
		close(fds[i]);
	net_server_stop(&s);
	net_reply_done(&r);
}

static void
connection_limit_pauses_accepting(void **state)
{
	struct http_server_options few = http_paths_options;
	struct net_server s;
	struct net_reply r = { 0 };
	int a, b, c;

	few.connections_max = 2;
	net_server_start(&s, &few);
	a = net_connect(s.port);
	b = net_connect(s.port);
	net_sends(a, ASK("/"));
	net_sends(b, ASK("/"));
	assert_int_equal(net_read_reply(a, false, &r), 200);
	assert_int_equal(net_read_reply(b, false, &r), 200);
	c = net_connect(s.port); /* waits in the backlog */
	net_sends(c, ASK("/"));
	assert_false(net_has_input(c, 300));
	close(a);
	assert_int_equal(net_read_reply(c, false, &r), 200);
	close(b);
	close(c);
	net_server_stop(&s);
	net_reply_done(&r);
}

/* Without a descriptor for it a connection waits in the backlog; the loop neither spins nor gives
 * up. */
static void
out_of_descriptors(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(http_paths_server.port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rlimit before, few;
	struct net_reply r = { 0 };
	uint64_t cpu;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	net_sends(fd, ASK("/"));
	cpu = net_cpu_us();
	assert_false(net_has_input(fd, 400));
	assert_true(net_cpu_us() - cpu < 200000);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	net_reply_done(&r);
	close(fd);
}

/* Clients that leave at every point of an exchange, while others finish: what the sanitizers watch.
 */
static void *
chaos_client(void *arg)
{
	static const char *const requests[] = { ASK("/"), ASK("/suspend"), ASK("/stream"),
		ASK("/file"), "PUT /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 300000\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
		ASK("/suspend") ASK("/suspend"), "GET / HTTP/1.1\r\nHo", ASK("/expire-503") };
	unsigned seed = (unsigned)(uintptr_t)arg;
	static const char zeros[100000];
	char buffer[4096];

	for (int i = 0; i < 60; i++) {
		int fd = net_connect(http_paths_server.port);

		net_sends(fd, requests[rand_r(&seed) % ARRAY_SIZE(requests)]);
		if (rand_r(&seed) % 2)
			net_send(fd, zeros, (size_t)rand_r(&seed) % sizeof(zeros));
		if (rand_r(&seed) % 2)
			usleep((useconds_t)rand_r(&seed) % 3000);
		if (rand_r(&seed) % 2)
			(void)recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (rand_r(&seed) % 3 == 0)
			(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
			    sizeof(struct linger));
		close(fd);
	}
	return NULL;
}

static void
clients_leave_at_any_time(void **state)
{
	pthread_t threads[4];
	struct net_reply r = { 0 };

	for (uintptr_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, chaos_client, (void *)(i + 1)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(net_get(http_paths_server.port, "/", &r), 200);
	for (int i = 0; i < 1000 && http_seen.heads != http_seen.gones; i++)
		usleep(10000);
	assert_int_equal(http_seen.heads, http_seen.gones);
	net_reply_done(&r);
}

/* -- several loops, drain -- */

static void *
steady_client(void *arg)
{
	struct net_server *s = arg;
	struct net_reply r = { 0 };
	uintptr_t answered = 0;

	for (int i = 0; i < 20; i++) {
		int fd = net_connect(s->port);

		for (int n = 0; n < 20; n++) {
			net_sends(fd, n % 3 ? ASK("/") : ASK("/suspend"));
			answered += net_read_reply(fd, false, &r) == 200;
		}
		close(fd);
	}
	net_reply_done(&r);
	return (void *)answered;
}

static void
several_loops(void **state)
{
	struct http_server_options many = http_paths_options;
	pthread_t threads[4];
	struct net_server s;
	uintptr_t answered = 0;

	many.threads = 3;
	net_server_start(&s, &many);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, steady_client, &s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		void *n;

		pthread_join(threads[i], &n);
		answered += (uintptr_t)n;
	}
	assert_int_equal(answered, ARRAY_SIZE(threads) * 400);
	http_server_drain(s.server);
	usleep(100000);
	net_server_stop(&s);
}

static void
drain_on_loop(void *arg)
{
	http_server_drain(arg);
}

static void
drains(void **state)
{
	struct net_reply r = { 0 };
	struct net_server s;
	int idle, busy;

	net_server_start(&s, &http_paths_options);
	idle = net_connect(s.port);
	net_sends(idle, ASK("/"));
	assert_int_equal(net_read_reply(idle, false, &r), 200);
	busy = net_connect(s.port);
	net_sends(busy, ASK("/keep"));
	while (!http_seen.has_kept)
		usleep(1000);
	loop_post(s.on.loop, drain_on_loop, s.server);
	assert_true(net_closes(idle, 2000));
	assert_false(http_server_is_idle(s.server));
	{
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(s.port) };
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), -1);
		close(fd);
	}
	http_resume(http_seen.kept, http_paths_answer, "at last\n");
	assert_int_equal(net_read_reply(busy, false, &r), 200);
	assert_string_equal(r.body.p, "at last\n");
	assert_true(net_reply_has(&r, "\r\nConnection: close\r\n"));
	assert_true(net_closes(busy, 2000));
	assert_true(http_server_is_idle(s.server));
	close(idle);
	close(busy);
	net_server_stop(&s);
	net_reply_done(&r);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, http_paths_setup, http_paths_teardown)
#define HASTY(fn) cmocka_unit_test_setup_teardown(fn, http_paths_setup_hasty, http_paths_teardown)
	const struct CMUnitTest tests[] = {
		TEST(slow_reader_holds_little),
		TEST(uploads),
		TEST(chunked_both_ways),
		TEST(unreleased_pieces_push_back),
		TEST(files_and_ranges),
		TEST(pages_of_a_file),
		TEST(broken_promises_cut),
		TEST(values_do_not_become_headers),
		HASTY(slowloris_head),
		HASTY(slow_body_is_cut),
		HASTY(reader_that_stops_is_cut),
		TEST(idle_connections_time_out),
		TEST(idle_connections_hold_no_buffers),
		TEST(connection_limit_pauses_accepting),
		TEST(out_of_descriptors),
		TEST(clients_leave_at_any_time),
		TEST(several_loops),
		TEST(drains),
	};

	return cmocka_run_group_tests_name(
	    "http_streams", tests, http_paths_make_file, http_paths_remove_file);
}
