/* The server over real sockets, by clients that behave and by clients that don't. One handler
 * serves every test; the path says what it does. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "net/http_internal.h"
#include "run/fd.h"
#include "run/fs.h"
#include "tests/lib/net_peer.h"

#define STREAM_BYTES (10u << 20)
#define HEAD_TIMEOUT_MS 700
#define WINDOW_MS 600

/* What the handler saw, for all requests of the process. */
static atomic_uint heads, ends, gones, completes, expiries, drain_calls, pieces_max;
static atomic_uint slow_pieces;
static atomic_size_t queued_max;
static atomic_uint resumed_alive, resumed_gone;
static struct http_ref kept; /* of the last /keep */
static atomic_bool has_kept;

struct request {
	uint64_t received, sent;
	unsigned sum;
	struct http_body *held[HTTP_BODY_CREDITS];
	unsigned held_count;
	atomic_uint threads;
};

static char
pattern_at(uint64_t i)
{
	return (char)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static void
send_more(struct http_exchange *x, struct request *rq)
{
	char buffer[32768];

	while (rq->sent < STREAM_BYTES && http_reply_queued(x) < 2 * HTTP_REPLY_LOW) {
		for (size_t i = 0; i < sizeof(buffer); i++)
			buffer[i] = pattern_at(rq->sent + i);
		http_reply_add(x, buffer, sizeof(buffer));
		rq->sent += sizeof(buffer);
		if (http_reply_queued(x) > queued_max)
			queued_max = http_reply_queued(x);
	}
	if (rq->sent == STREAM_BYTES)
		http_reply_end(x);
}

static void
reply_text(struct http_exchange *x, int status, const char *text)
{
	http_reply(x, status, "text/plain", text, strlen(text));
}

static void
answer_late(struct http_exchange *x, void *arg)
{
	if (x) {
		resumed_alive++;
		reply_text(x, 200, arg);
	} else {
		resumed_gone++;
	}
}

static void *
resume_thread(void *arg)
{
	struct http_ref *ref = arg;

	http_resume(*ref, answer_late, "from another thread\n");
	free(ref);
	return NULL;
}

static void
in_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	assert_int_equal(pthread_create(&thread, &attr, fn, arg), 0);
	pthread_attr_destroy(&attr);
}

static void
expired(struct http_exchange *x)
{
	expiries++;
	reply_text(x, 504, "too late\n");
}

static void
serve_file(struct http_exchange *x, const char *path, uint64_t promised)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct http_range range;
	struct err e;
	int r = http_range_parse(http_head_find(http_request(x), "Range"), promised, &range, &e);

	if (r < 0) {
		close(fd);
		http_reply_begin(x, 416);
		http_reply_headerf(
		    x, "Content-Range", "bytes */%llu", (unsigned long long)promised);
		http_reply_end(x);
		return;
	}
	if (r == 0)
		range = (struct http_range){ 0, promised - 1 };
	http_reply_begin(x, r ? 206 : 200);
	http_reply_length(x, range.last - range.first + 1);
	http_reply_file(x, fd, range.first, range.last - range.first + 1);
	http_reply_end(x);
}

static char *file_path; /* STREAM_BYTES of the pattern */

/* All of it at once, in as many pipes. */
static void
serve_pages(struct http_exchange *x)
{
	_cleanup_close_ int fd = open(file_path, O_RDONLY | O_CLOEXEC);

	http_reply_begin(x, 200);
	http_reply_length(x, STREAM_BYTES);
	for (size_t at = 0; at < STREAM_BYTES; at += PAGE_PIPE_BYTES) {
		struct page_pipe *pages = page_pipe_take();
		size_t n =
		    STREAM_BYTES - at < PAGE_PIPE_BYTES ? STREAM_BYTES - at : PAGE_PIPE_BYTES;

		assert_non_null(pages);
		assert_true(page_pipe_fill(pages, fd, at, n));
		http_reply_pages(x, pages, n);
	}
	http_reply_end(x);
}

static void
on_head(struct http_exchange *x, void *arg)
{
	const struct http_head *h = http_request(x);
	struct request *rq = xcalloc(1, sizeof(*rq));

	heads++;
	http_set_data(x, rq);
	if (str_starts(h->path, "/read") || str_starts(h->path, "/echo") ||
	    str_starts(h->path, "/hold") || str_starts(h->path, "/slow")) {
		http_accept_body(x, str_is(h->query, "limit") ? 1000 : 0);
		if (str_is(h->path, "/echo"))
			http_reply_begin(x, 200);
	} else if (str_is(h->path, "/stream")) {
		http_reply_begin(x, 200);
		send_more(x, rq);
	} else if (str_is(h->path, "/file")) {
		serve_file(x, file_path, STREAM_BYTES);
	} else if (str_is(h->path, "/pages")) {
		serve_pages(x);
	} else if (str_is(h->path, "/file-short")) {
		serve_file(x, file_path, STREAM_BYTES + 1000);
	} else if (str_is(h->path, "/suspend")) {
		struct http_ref ref = http_suspend(x, 5000, NULL);

		in_thread(resume_thread, xmemdup(&ref, sizeof(ref)));
	} else if (str_is(h->path, "/keep")) {
		kept = http_suspend(x, 0, NULL);
		has_kept = true;
	} else if (str_is(h->path, "/expire")) {
		kept = http_suspend(x, 100, expired);
	} else if (str_is(h->path, "/expire-503")) {
		(void)http_suspend(x, 100, NULL);
	} else if (str_is(h->path, "/refuse")) {
		reply_text(x, 403, "no\n");
	} else if (str_is(h->path, "/eager")) {
		http_accept_body(x, 0);
		if (h->content_length == 0)
			reply_text(x, 200, "eager\n");
	} else if (str_is(h->path, "/empty")) {
		http_reply_begin(x, 204);
		http_reply_end(x);
	} else if (str_is(h->path, "/inject")) {
		http_reply_begin(x, 200);
		http_reply_header(x, "X-Stored", "a\r\nSet-Cookie: b");
		http_reply_end(x);
	} else if (str_is(h->path, "/too-long")) {
		http_reply_begin(x, 200);
		http_reply_length(x, 3);
		http_reply_add(x, "abcd", 4);
		http_reply_end(x);
	} else if (str_is(h->path, "/too-short")) {
		http_reply_begin(x, 200);
		http_reply_length(x, 30);
		http_reply_add(x, "abcd", 4);
		http_reply_end(x);
	} else if (str_is(h->path, "/peer")) {
		const struct http_peer *p = http_peer(x);
		_cleanup_free_ char *text = xasprintf("%s %u %s %lld %u", p->address, p->is_tls,
		    p->fingerprint, p->uid == UINT32_MAX ? -1LL : (long long)p->uid, p->local_port);

		reply_text(x, 200, text);
	} else if (str_is(h->path, "/abort")) {
		http_reply_begin(x, 200);
		http_reply_add(x, "abc", 3);
		http_reply_abort(x);
	} else {
		reply_text(x, 200, "ok\n");
	}
}

static void *
release_thread(void *arg)
{
	struct http_body *piece = arg;

	usleep(2000);
	http_body_release(piece);
	slow_pieces--;
	return NULL;
}

static void
on_body(struct http_exchange *x, struct http_body *piece, void *arg)
{
	struct request *rq = http_data(x);
	const struct http_head *h = http_request(x);

	for (size_t i = 0; i < piece->n; i++)
		if (piece->p[i] != pattern_at(rq->received + i))
			rq->sum++;
	rq->received += piece->n;
	if (str_is(h->path, "/echo"))
		http_reply_add(x, piece->p, piece->n);
	if (str_is(h->path, "/eager") && rq->received == (uint64_t)http_request(x)->content_length)
		reply_text(x, 200, "eager\n");
	if (str_is(h->path, "/hold")) {
		rq->held[rq->held_count++] = piece;
		if (rq->held_count > pieces_max)
			pieces_max = rq->held_count;
		if (!has_kept) {
			kept = http_suspend(x, 0, NULL);
			has_kept = true;
		}
	} else if (str_is(h->path, "/slow")) {
		slow_pieces++;
		in_thread(release_thread, piece);
	} else {
		http_body_release(piece);
	}
}

static void
on_end(struct http_exchange *x, const struct http_header *trailers, unsigned count, void *arg)
{
	struct request *rq = http_data(x);
	_cleanup_free_ char *text = NULL;

	ends++;
	if (str_is(http_request(x)->path, "/eager"))
		return;
	if (str_is(http_request(x)->path, "/echo")) {
		http_reply_end(x);
		return;
	}
	text = xasprintf("%llu bytes, %u wrong, trailer %.*s\n", (unsigned long long)rq->received,
	    rq->sum, count ? (int)trailers[0].value.n : 0, count ? trailers[0].value.p : "");
	reply_text(x, 200, text);
}

static void
on_drained(struct http_exchange *x, void *arg)
{
	drain_calls++;
	send_more(x, http_data(x));
}

static void
on_gone(struct http_exchange *x, bool complete, void *arg)
{
	struct request *rq = http_data(x);

	gones++;
	completes += complete;
	for (unsigned i = 0; i < rq->held_count; i++)
		http_body_release(rq->held[i]);
	free(rq);
}

static struct http_server_options options = {
	.name = "test",
	.handler = { on_head, on_body, on_end, on_drained, on_gone },
	.idle_timeout_ms = 20000,
	.server_header = "Mallee",
};
static struct net_server server;

/* Each test has a fresh server and, at its end, no exchange that was not let go. */
static void
start_with(const struct http_server_options *o)
{
	heads = ends = gones = completes = expiries = drain_calls = 0;
	queued_max = 0;
	pieces_max = resumed_alive = resumed_gone = 0;
	has_kept = false;
	net_server_start(&server, o);
}

static int
setup(void **state)
{
	start_with(&options);
	return 0;
}

/* For tests of deadlines only: a busy machine must not fail the others. */
static int
setup_hasty(void **state)
{
	struct http_server_options hasty = options;

	hasty.head_timeout_ms = HEAD_TIMEOUT_MS;
	hasty.body_rate_window_ms = WINDOW_MS;
	start_with(&hasty);
	return 0;
}

static int
teardown(void **state)
{
	net_server_stop(&server);
	return heads == gones ? 0 : -1;
}

static bool
reaches(atomic_uint *counter, unsigned value)
{
	for (int i = 0; i < 500 && *counter < value; i++)
		usleep(10000);
	return *counter >= value;
}

#define ASK(path) "GET " path " HTTP/1.1\r\nHost: t\r\n\r\n"

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
		fd = net_connect(server.port);
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
	int fd = net_connect(server.port);

	net_sends(fd, "POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n"
		      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" ASK("/smuggled"));
	assert_int_equal(net_read_reply(fd, false, &r), 400);
	assert_int_equal(net_read_reply(fd, false, &r), 0);
	assert_int_equal(heads, 0);
	net_reply_done(&r);
	close(fd);
}

static void
keeps_alive_and_pipelines(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

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
	assert_int_equal(completes, 5);
	net_reply_done(&r);
	close(fd);
}

static void
byte_by_byte(void **state)
{
	static const char in[] = "POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"
				 "\r\n0\r\nX-T: z\r\n\r\n" ASK("/");
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

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
	int fd = net_connect(server.port);

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
	int fd = net_connect(server.port);

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
	int fd = net_connect(server.port);

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
	int fd = net_connect(server.port);

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
	int fd = net_connect(server.port);

	net_sends(fd, "PUT /refuse HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n"
		      "Expect: 100-continue\r\n\r\n");
	assert_int_equal(recv(fd, buffer, 12, MSG_WAITALL), 12);
	assert_string_equal(buffer, "HTTP/1.1 403"); /* and no 100 before it */
	assert_true(net_closes(fd, 2000));
	close(fd);

	fd = net_connect(server.port);
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
	int fd = net_connect(server.port);

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
	int fd = net_connect(server.port);

	net_sends(fd, "PUT /read?limit HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n"
		      "Expect: 100-continue\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 413);
	close(fd);
	for (int n = 1000; n <= 1001; n++) {
		_cleanup_free_ char *size = xasprintf("%x\r\n", n);

		fd = net_connect(server.port);
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
	int fd = net_connect(server.port);

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

static uint64_t
cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
notices_hangup_while_suspended(void **state)
{
	static const char *const tails[] = { "", ASK("/pipelined") };

	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		int fd = net_connect(server.port);
		uint64_t before;

		has_kept = false;
		net_sends(fd, ASK("/keep"));
		net_sends(fd, tails[i]);
		while (!has_kept)
			usleep(1000);
		before = cpu_us();
		usleep(200000);
		/* Unread input must not make the loop spin. */
		assert_true(cpu_us() - before < 100000);
		assert_int_equal(gones, i);
		close(fd);
		assert_true(reaches(&gones, (unsigned)i + 1));
		before = cpu_us();
		usleep(200000);
		assert_true(cpu_us() - before < 100000);
		/* The one who answers now finds nobody, and is told so. */
		http_resume(kept, answer_late, "late\n");
		for (int n = 0; n < 500 && resumed_gone <= i; n++)
			usleep(10000);
		assert_int_equal(resumed_gone, i + 1);
	}
	assert_int_equal(completes, 0);
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
		has_kept = false;
		fds[i] = net_connect(server.port);
		net_sends(fds[i], ASK("/keep"));
		while (!has_kept)
			usleep(1000);
		http_resume_later(&all, kept, answer_late, (void *)texts[i]);
	}
	close(fds[1]);
	assert_true(reaches(&gones, 1));
	http_resume_all(&all);
	assert_int_equal(net_read_reply(fds[0], false, &r), 200);
	assert_string_equal(strbuf_c(&r.body), texts[0]);
	assert_int_equal(net_read_reply(fds[2], false, &r), 200);
	assert_string_equal(strbuf_c(&r.body), texts[2]);
	assert_int_equal(resumed_alive, 2);
	assert_int_equal(resumed_gone, 1);
	http_resume_all(&all); /* nothing is left of them */
	net_reply_done(&r);
	close(fds[0]);
	close(fds[2]);
}

static void
suspension_expires(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

	net_sends(fd, ASK("/expire"));
	assert_int_equal(net_read_reply(fd, false, &r), 504);
	assert_int_equal(expiries, 1);
	http_resume(kept, answer_late, "late\n");
	for (int n = 0; n < 500 && !resumed_gone; n++)
		usleep(10000);
	assert_int_equal(resumed_gone, 1);
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

	net_server_start(&other, &options);
	fd = net_connect(other.port);
	net_sends(fd, ASK("/keep"));
	while (!has_kept)
		usleep(1000);
	net_loop_stop(&other.on);
	http_resume(kept, answer_late, "a"); /* queued, never run by the loop */
	http_server_free(other.server);
	assert_int_equal(resumed_gone, 1);
	http_resume(kept, answer_late, "b");
	assert_int_equal(resumed_gone, 2);
	http_resume_later(&all, kept, answer_late, "c");
	http_resume_later(&all, kept, answer_late, "d");
	assert_int_equal(resumed_gone, 2);
	http_resume_all(&all);
	assert_int_equal(resumed_gone, 4);
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

	net_server_start(&other, &options);
	fd = net_connect(other.port);
	net_sends(fd, "PUT /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 300001\r\n\r\n");
	net_send(fd, body, sizeof(body));
	for (int i = 0; i < 500 && !slow_pieces; i++)
		usleep(1000);
	net_server_stop(&other);
	close(fd);
	for (int i = 0; i < 500 && slow_pieces; i++)
		usleep(1000);
	assert_int_equal(slow_pieces, 0);
}

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
	int fd = net_connect(server.port), small = 32768;

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
			wrong += body[i] != pattern_at(i);
		received = n;
	}
	for (unsigned turn = 0; received < STREAM_BYTES; turn++) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			wrong += buffer[i] != pattern_at(received + (size_t)i);
		received += (size_t)n;
		if (turn % 16 == 0)
			usleep(1000);
	}
	assert_int_equal(wrong, 0);
	assert_true(drain_calls > 5);
	assert_true(queued_max <= 2 * HTTP_REPLY_LOW + 32768 + 1024);
	net_reply_done(&r);
	close(fd);
}

static void
send_pattern(int fd, size_t n)
{
	static char buffer[65536];

	for (size_t at = 0; at < n; at += sizeof(buffer)) {
		for (size_t i = 0; i < sizeof(buffer); i++)
			buffer[i] = pattern_at(at + i);
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
		int fd = net_connect(server.port);

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
	int fd = net_connect(server.port);
	size_t at = 0;

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = pattern_at(i);
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

static void
let_go(struct http_exchange *x, void *arg)
{
	struct request *rq;

	if (!x)
		return;
	rq = http_data(x);
	while (rq->held_count > 0)
		http_body_release(rq->held[--rq->held_count]);
}

/* A handler that keeps its pieces stops the client: TCP pushes back, memory stays bounded. */
static void
unreleased_pieces_push_back(void **state)
{
	static char buffer[65536];
	size_t before = memory_kib(), sent = 0;
	struct net_reply r = { 0 };
	int fd = net_connect(server.port), small = 65536;
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
	assert_true(sent < 32 << 20); /* what the kernel's buffers and four pieces take */
	assert_int_equal(pieces_max, HTTP_BODY_CREDITS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(memory_kib() < before + 3 * 1024);
#else
	(void)before;
#endif
	http_resume(kept, let_go, NULL);
	/* It moves again. */
	patience.tv_sec = 5;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	for (size_t more = 0; more < 512 << 10;) {
		ssize_t n = send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL);

		assert_true(n > 0);
		more += (size_t)n;
	}
	close(fd);
	for (int i = 0; i < 100 && gones == 0; i++) {
		http_resume(kept, let_go, NULL);
		usleep(20000);
	}
	assert_int_equal(gones, 1);
	net_reply_done(&r);
}

static void
files_and_ranges(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

	net_sends(fd,
	    ASK("/file") "GET /file HTTP/1.1\r\nHost: t\r\nRange: bytes=100-299\r\n\r\n"
			 "GET /file HTTP/1.1\r\nHost: t\r\nRange: bytes=-5\r\n\r\n"
			 "GET /file HTTP/1.1\r\nHost: t\r\nRange: bytes=99999999-\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_int_equal(r.body.n, STREAM_BYTES);
	for (size_t i = 0; i < r.body.n; i++)
		if (r.body.p[i] != pattern_at(i))
			fail_msg("byte %zu differs", i);
	assert_int_equal(net_read_reply(fd, false, &r), 206);
	assert_int_equal(r.body.n, 200);
	assert_int_equal(r.body.p[199], pattern_at(299));
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
		fd = net_connect(server.port);
		net_sends(fd, ASK("/pages") "HEAD /pages HTTP/1.1\r\nHost: t\r\n\r\n" ASK("/"));
		if (round % 2) {
			assert_int_equal(net_read_reply(fd, false, &r), 200);
			assert_int_equal(r.body.n, STREAM_BYTES);
			for (size_t i = 0; i < r.body.n; i++)
				if (r.body.p[i] != pattern_at(i))
					fail_msg("byte %zu differs", i);
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
		(void)net_get(server.port, paths[i], &r);
		assert_true(r.status == 0 || r.is_cut);
	}
	assert_int_equal(completes, 0);
	net_reply_done(&r);
}

static void
values_do_not_become_headers(void **state)
{
	struct net_reply r = { 0 };

	assert_int_equal(net_get(server.port, "/inject", &r), 200);
	assert_true(net_reply_has(&r, "\r\nX-Stored: a  Set-Cookie: b\r\n"));
	net_reply_done(&r);
}

/* -- deadlines -- */

static void
slowloris_head(void **state)
{
	uint64_t began = clock_monotonic_ms(), took;
	int fd = net_connect(server.port);

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
	assert_int_equal(heads, 0);
}

static void
slow_body_is_cut(void **state)
{
	uint64_t began = clock_monotonic_ms();
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

	net_sends(fd, "PUT /read HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
	while (!net_has_input(fd, 20) && clock_monotonic_ms() - began < 5000)
		net_sends(fd, "x"); /* 50 bytes per second */
	assert_int_equal(net_read_reply(fd, false, &r), 408);
	close(fd);

	/* Faster than the minimum: goes on over several windows. */
	fd = net_connect(server.port);
	net_sends(fd, "PUT /read HTTP/1.1\r\nHost: t\r\nContent-Length: 6000\r\n\r\n");
	for (size_t i = 0; i < 6000; i += 60) {
		char piece[60];

		for (size_t n = 0; n < sizeof(piece); n++)
			piece[n] = pattern_at(i + n);
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
	int fd = net_connect(server.port), small = 4096;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	net_sends(fd, ASK("/stream"));
	assert_true(reaches(&gones, 1));
	assert_int_equal(completes, 0);
	close(fd);
}

static void
idle_connections_time_out(void **state)
{
	struct http_server_options quick = options;
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

	net_server_start(&s, &options);
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
	struct http_server_options few = options;
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
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(server.port) };
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
	cpu = cpu_us();
	assert_false(net_has_input(fd, 400));
	assert_true(cpu_us() - cpu < 200000);
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
		int fd = net_connect(server.port);

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
	assert_int_equal(net_get(server.port, "/", &r), 200);
	for (int i = 0; i < 1000 && heads != gones; i++)
		usleep(10000);
	assert_int_equal(heads, gones);
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
	struct http_server_options many = options;
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

	net_server_start(&s, &options);
	idle = net_connect(s.port);
	net_sends(idle, ASK("/"));
	assert_int_equal(net_read_reply(idle, false, &r), 200);
	busy = net_connect(s.port);
	net_sends(busy, ASK("/keep"));
	while (!has_kept)
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
	http_resume(kept, answer_late, "at last\n");
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
	assert_int_equal(http_server_new(on.loop, &options, fds, fds[1] < 0 ? 1 : 2, &s, NULL), 0);
	http_server_free(s);
	loop_free(on.loop);
	net_loop_start(&on);
	(void)unlink(path);
	fds[0] = net_listen_unix(path);
	if (fds[1] >= 0)
		fds[1] = net_listen6(&port6);
	net_loop_stop(&on);
	assert_int_equal(http_server_new(on.loop, &options, fds, fds[1] < 0 ? 1 : 2, &s, NULL), 0);
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
	struct http_server_options named = options;
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

static int
make_file(void **state)
{
	static char directory[] = "/tmp/mallee-net-file-XXXXXX";
	FILE *f;

	assert_non_null(mkdtemp(directory));
	file_path = xasprintf("%s/file", directory);
	f = fopen(file_path, "we");
	assert_non_null(f);
	for (size_t i = 0; i < STREAM_BYTES; i++)
		(void)putc_unlocked(pattern_at(i), f);
	fclose(f);
	return 0;
}

static int
remove_file(void **state)
{
	(void)unlink(file_path);
	*strrchr(file_path, '/') = '\0';
	(void)rmdir(file_path);
	free(file_path);
	return 0;
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define HASTY(fn) cmocka_unit_test_setup_teardown(fn, setup_hasty, teardown)
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
		TEST(other_listeners),
		TEST(counts_requests),
	};

	return cmocka_run_group_tests_name("http_server", tests, make_file, remove_file);
}
