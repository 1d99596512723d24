/* WebSocket against frames written by hand: the handshake and its refusals, echo of all sizes,
 * limits, closing from either side, pings, and a peer that does not read. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "net/websocket.h"
#include "tests/lib/net_peer.h"

#define MESSAGE_MAX 200000
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define UPGRADE                                                                                    \
	"GET /ws HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" \
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n\r\n"

static struct net_server server;
static atomic_uint accepted, closed, gones, limits;

static void
on_message(struct websocket *ws, bool is_text, const void *p, size_t n, void *arg)
{
	if (is_text && n == 5 && memcmp(p, "close", 5) == 0)
		websocket_close(ws, 1001);
	else if (is_text && n == 5 && memcmp(p, "flood", 5) == 0)
		while (websocket_send(ws, false, arg, 100000, NULL) == 0)
			limits = 0;
	else
		assert_int_equal(websocket_send(ws, is_text, p, n, NULL), 0);
	limits++;
}

static void
on_closed(struct websocket *ws, void *arg)
{
	closed++;
}

static const struct websocket_handler handler = { .message = on_message, .closed = on_closed };

static void
on_head(struct http_exchange *x, void *arg)
{
	static char zeros[100000];

	accepted += websocket_accept(x, "binary", MESSAGE_MAX, &handler, zeros) != NULL;
}

static void
on_gone(struct http_exchange *x, bool complete, void *arg)
{
	gones++;
}

static int
setup(void **state)
{
	const struct http_server_options o = { .name = "ws",
		.handler = { .head = on_head, .gone = on_gone },
		.idle_timeout_ms = 400 };

	accepted = closed = gones = 0;
	net_server_start(&server, &o);
	return 0;
}

static int
teardown(void **state)
{
	net_server_stop(&server);
	return accepted == closed ? 0 : -1;
}

static void
send_frame(int fd, unsigned char first, const void *p, size_t n)
{
	static const unsigned char mask[4] = { 0x12, 0x34, 0x56, 0x78 };
	unsigned char head[14] = { first };
	_cleanup_free_ unsigned char *masked = xmalloc(n + 1);
	size_t size;

	if (n < 126) {
		head[1] = (unsigned char)(0x80 | n);
		size = 2;
	} else if (n < 65536) {
		head[1] = 0x80 | 126;
		head[2] = (unsigned char)(n >> 8);
		head[3] = (unsigned char)n;
		size = 4;
	} else {
		head[1] = 0x80 | 127;
		for (int i = 0; i < 8; i++)
			head[2 + i] = (unsigned char)((uint64_t)n >> (56 - 8 * i));
		size = 10;
	}
	memcpy(head + size, mask, 4);
	for (size_t i = 0; i < n; i++)
		masked[i] = ((const unsigned char *)p)[i] ^ mask[i % 4];
	net_send(fd, head, size + 4);
	net_send(fd, masked, n);
}

/* Returns the first byte of the frame, 0 at the end of the connection. */
static unsigned char
read_frame(int fd, struct strbuf *out)
{
	unsigned char head[10];
	uint64_t n;

	strbuf_reset(out);
	if (recv(fd, head, 2, MSG_WAITALL) != 2)
		return 0;
	n = head[1] & 0x7f;
	if (n >= 126) {
		size_t size = n == 126 ? 2 : 8;

		if (recv(fd, head + 2, size, MSG_WAITALL) != (ssize_t)size)
			return 0;
		n = 0;
		for (size_t i = 0; i < size; i++)
			n = n << 8 | head[2 + i];
	}
	strbuf_reserve(out, n + 1);
	if (n && recv(fd, out->p, n, MSG_WAITALL) != (ssize_t)n)
		return 0;
	out->n = n;
	return head[0];
}

static int
open_socket(void)
{
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

	net_sends(fd, UPGRADE);
	assert_int_equal(net_read_reply(fd, false, &r), 101);
	/* RFC 6455 section 1.3 */
	assert_true(
	    net_reply_has(&r, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	assert_true(net_reply_has(&r, "\r\nSec-WebSocket-Protocol: binary\r\n"));
	assert_false(net_reply_has(&r, "Content-Length"));
	net_reply_done(&r);
	return fd;
}

static void
refuses_bad_handshakes(void **state)
{
	static const struct {
		const char *in;
		int status;
	} cases[] = {
		{ "POST /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n\r\n",
		    400 },
		{ "GET /ws HTTP/1.1\r\nHost: t\r\n\r\n", 426 },
		{ "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		  "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " KEY "\r\n\r\n",
		    426 },
		{ "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		  "Sec-WebSocket-Version: 13\r\n\r\n",
		    400 },
		{ "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2hvcnQ=\r\n\r\n",
		    400 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_reply r = { 0 };
		int fd = net_connect(server.port);

		net_sends(fd, cases[i].in);
		assert_int_equal(net_read_reply(fd, false, &r), cases[i].status);
		if (r.status == 426)
			assert_true(net_reply_has(&r, "\r\nSec-WebSocket-Version: 13\r\n"));
		net_reply_done(&r);
		close(fd);
	}
	assert_int_equal(accepted, 0);
}

static void
echoes(void **state)
{
	static const size_t sizes[] = { 0, 1, 125, 126, 65535, 65536, MESSAGE_MAX };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_free_ char *bytes = xmalloc(MESSAGE_MAX);
	int fd = open_socket();

	for (size_t i = 0; i < MESSAGE_MAX; i++)
		bytes[i] = (char)(i * 17);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		send_frame(fd, 0x82, bytes, sizes[i]);
		assert_int_equal(read_frame(fd, &out), 0x82);
		assert_int_equal(out.n, sizes[i]);
		assert_memory_equal(out.p, bytes, sizes[i]);
	}
	/* fragments, with a ping between them */
	send_frame(fd, 0x01, "hel", 3);
	send_frame(fd, 0x89, "ping", 4);
	send_frame(fd, 0x80, "lo", 2);
	assert_int_equal(read_frame(fd, &out), 0x8a);
	assert_int_equal(read_frame(fd, &out), 0x81);
	assert_int_equal(out.n, 5);
	assert_memory_equal(out.p, "hello", 5);
	/* our close is answered, then the connection ends */
	send_frame(fd, 0x88, "\x03\xe8", 2);
	assert_int_equal(read_frame(fd, &out), 0x88);
	assert_true(net_closes(fd, 2000));
	close(fd);
}

static void
data_behind_the_handshake(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	static const unsigned char frame[] = { 0x81, 0x82, 0, 0, 0, 0, 'h', 'i' };
	char both[sizeof(UPGRADE) - 1 + sizeof(frame)];
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

	memcpy(both, UPGRADE, sizeof(UPGRADE) - 1);
	memcpy(both + sizeof(UPGRADE) - 1, frame, sizeof(frame));
	net_send(fd, both, sizeof(both));
	assert_int_equal(net_read_reply(fd, false, &r), 101);
	assert_int_equal(read_frame(fd, &out), 0x81);
	assert_int_equal(out.n, 2);
	close(fd);
	net_reply_done(&r);
}

static void
closes_with_a_reason(void **state)
{
	static const struct {
		unsigned char first;
		size_t n;
		unsigned code;
	} cases[] = {
		{ 0x82, MESSAGE_MAX + 1, 1009 }, /* too large */
		{ 0x83, 1, 1002 },               /* no such opcode */
		{ 0xc2, 1, 1002 },               /* reserved bit */
		{ 0x81, 100, 1007 },             /* not UTF-8 */
	};
	_cleanup_free_ char *bytes = xmalloc(MESSAGE_MAX + 1);

	memset(bytes, 0xff, MESSAGE_MAX + 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		int fd = open_socket();

		send_frame(fd, cases[i].first, bytes, cases[i].n);
		assert_int_equal(read_frame(fd, &out), 0x88);
		assert_true(out.n >= 2);
		assert_int_equal(
		    (unsigned char)out.p[0] << 8 | (unsigned char)out.p[1], cases[i].code);
		assert_true(net_closes(fd, 2000));
		close(fd);
	}
}

static void
closes_from_our_side(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	int fd = open_socket();

	send_frame(fd, 0x81, "close", 5);
	assert_int_equal(read_frame(fd, &out), 0x88);
	assert_int_equal((unsigned char)out.p[0] << 8 | (unsigned char)out.p[1], 1001);
	send_frame(fd, 0x88, "\x03\xe9", 2);
	assert_true(net_closes(fd, 2000));
	close(fd);
}

static void
pings_the_silent(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	int fd = open_socket();

	for (int i = 0; i < 3; i++) { /* answered: it stays */
		assert_int_equal(read_frame(fd, &out), 0x89);
		send_frame(fd, 0x8a, "", 0);
	}
	assert_int_equal(read_frame(fd, &out), 0x89);
	assert_true(net_closes(fd, 3000)); /* not answered: it goes */
	close(fd);
}

static void
bounds_what_is_queued(void **state)
{
	int fd = open_socket();

	limits = 0;
	send_frame(fd, 0x81, "flood", 5);
	for (int i = 0; i < 300 && limits == 0; i++)
		usleep(10000);
	assert_int_equal(limits, 1); /* websocket_send said no */
	close(fd);
}

static void
hangs_up(void **state)
{
	for (int i = 0; i < 10; i++) {
		int fd = open_socket();

		if (i % 2)
			send_frame(fd, 0x01, "half", 4);
		close(fd);
	}
	for (int i = 0; i < 300 && closed < 10; i++)
		usleep(10000);
	assert_int_equal(closed, 10);
	assert_int_equal(gones, 10);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(refuses_bad_handshakes),
		TEST(echoes),
		TEST(data_behind_the_handshake),
		TEST(closes_with_a_reason),
		TEST(closes_from_our_side),
		TEST(pings_the_silent),
		TEST(bounds_what_is_queued),
		TEST(hangs_up),
	};

	return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
