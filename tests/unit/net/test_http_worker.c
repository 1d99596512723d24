/* Calls on the pool: collected bodies, limits, a full queue, deadlines, answers given later,
 * clients that leave, servers that go first. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "net/http_worker.h"
#include "tests/lib/net_peer.h"

static struct workers *workers;
static struct http_worker_options calls;
static struct net_server server;
static atomic_uint started, finished, seen_gone;
static atomic_bool blocked;
static struct http_call *_Atomic deferred;

static void
on_call(struct http_call *call, void *arg)
{
	const struct http_head *h = call->head;

	started++;
	if (str_is(h->path, "/block")) {
		while (blocked)
			usleep(1000);
	} else if (str_is(h->path, "/later")) {
		call->deferred = true;
		deferred = call;
		finished++;
		return; /* the call may be gone already */
	} else if (str_is(h->path, "/status")) {
		call->status = 404;
		call->content_type = "application/json";
		call->headers[call->header_count++] =
		    (struct http_header){ STR("X-A"), str_of(call->request_id) };
		strbuf_adds(&call->reply, "{}");
		finished++;
		return;
	} else if (str_is(h->path, "/none")) {
		call->status = 204;
		finished++;
		return;
	}
	strbuf_addf(&call->reply, "%.*s|%.*s|%.*s|%zu|%.*s|%s", (int)h->method.n, h->method.p,
	    (int)h->path.n, h->path.p, (int)h->query.n, h->query.p, call->body.n,
	    (int)http_head_find(h, "x-in").n, http_head_find(h, "x-in").p, call->peer.address);
	finished++;
}

static void
on_refuse(struct http_call *call, int status, const char *message)
{
	strbuf_addf(&call->reply, "<Error>%s %.*s</Error>", message, (int)call->head->path.n,
	    call->head->path.p);
}

static int
setup(void **state)
{
	struct http_server_options o = {
		.name = "calls",
		.handler = http_worker_handler,
		.arg = &calls,
	};

	started = finished = seen_gone = 0;
	deferred = NULL;
	assert_int_equal(workers_new(2, 2, &workers, NULL), 0);
	calls = (struct http_worker_options){ .workers = workers,
		.fn = on_call,
		.body_max = 1000000,
		.timeout_ms = 600,
		.refuse = on_refuse };
	net_server_start(&server, &o);
	return 0;
}

static int
teardown(void **state)
{
	net_server_stop(&server);
	http_worker_wait(&calls);
	workers_free(workers);
	return 0;
}

static void
answers(void **state)
{
	_cleanup_free_ char *body = xcalloc(1, 1000001);
	_cleanup_free_ char *head = NULL;
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

	net_sends(fd, "GET /a?b=c HTTP/1.1\r\nHost: t\r\nX-In: yes\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "GET|/a|b=c|0|yes|127.0.0.1");
	assert_true(net_reply_has(&r, "\r\nContent-Type: text/xml;charset=UTF-8\r\n"));
	net_sends(fd, "GET http://t HTTP/1.1\r\nHost: t\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "GET|/||0||127.0.0.1");
	head = xasprintf("POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", 1000000);
	net_sends(fd, head);
	net_send(fd, body, 1000000);
	assert_int_equal(net_read_reply(fd, false, &r), 200);
	assert_string_equal(r.body.p, "POST|/b||1000000||127.0.0.1");
	net_sends(
	    fd, "GET /status HTTP/1.1\r\nHost: t\r\n\r\nGET /none HTTP/1.1\r\nHost: t\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 404);
	assert_true(net_reply_has(&r, "\r\nContent-Type: application/json\r\n"));
	assert_true(net_reply_has(&r, "\r\nX-A: "));
	assert_string_equal(r.body.p, "{}");
	assert_int_equal(net_read_reply(fd, false, &r), 204);
	close(fd);
	net_reply_done(&r);
}

static void
refuses_large_bodies(void **state)
{
	_cleanup_free_ char *body = xcalloc(1, 1000001);
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

	net_sends(fd, "POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: 1000001\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 413);
	assert_string_equal(r.body.p, "<Error>the request body is too large /b</Error>");
	close(fd);
	fd = net_connect(server.port);
	net_sends(fd, "POST /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nF4241\r\n");
	net_send(fd, body, 1000001);
	net_sends(fd, "\r\n0\r\n\r\n");
	assert_int_equal(net_read_reply(fd, false, &r), 413);
	assert_string_equal(r.body.p, "<Error>the request body is too large /c</Error>");
	close(fd);
	assert_int_equal(started, 0);
	net_reply_done(&r);
}

static void
full_queue_and_deadline(void **state)
{
	struct net_reply r = { 0 };
	int fds[5];

	blocked = true;
	for (int i = 0; i < 4; i++) { /* two run, two wait */
		fds[i] = net_connect(server.port);
		net_sends(fds[i], "GET /block HTTP/1.1\r\nHost: t\r\n\r\n");
		while (i < 2 && started <= (unsigned)i)
			usleep(1000);
	}
	usleep(50000);
	fds[4] = net_connect(server.port);
	net_sends(fds[4], "GET /block HTTP/1.1\r\nHost: t\r\n\r\n");
	assert_int_equal(net_read_reply(fds[4], false, &r), 503);
	assert_string_equal(r.body.p, "<Error>too many requests are waiting /block</Error>");
	for (int i = 0; i < 4; i++) {
		assert_int_equal(net_read_reply(fds[i], false, &r), 503);
		assert_string_equal(r.body.p, "<Error>the request took too long /block</Error>");
	}
	blocked = false;
	http_worker_wait(&calls);
	usleep(20000);
	assert_int_equal(finished, 2); /* those that still waited had no client to run for */
	/* The connections live on; late results went nowhere. */
	for (int i = 0; i < 5; i++) {
		net_sends(fds[i], "GET /x HTTP/1.1\r\nHost: t\r\n\r\n");
		assert_int_equal(net_read_reply(fds[i], false, &r), 200);
		close(fds[i]);
	}
	net_reply_done(&r);
}

static void
answers_later(void **state)
{
	struct net_reply r = { 0 };
	int fd = net_connect(server.port);

	for (int i = 0; i < 20; i++) {
		struct http_call *call;

		net_sends(fd, "GET /later HTTP/1.1\r\nHost: t\r\n\r\n");
		while (!(call = deferred))
			usleep(500);
		deferred = NULL;
		strbuf_adds(&call->reply, "later");
		http_call_finish(call);
		assert_int_equal(net_read_reply(fd, false, &r), 200);
		assert_string_equal(r.body.p, "later");
	}
	close(fd);
	net_reply_done(&r);
}

static void
tells_of_clients_that_left(void **state)
{
	struct http_call *call;
	int fd = net_connect(server.port);

	net_sends(fd, "GET /later HTTP/1.1\r\nHost: t\r\n\r\n");
	while (!(call = deferred))
		usleep(500);
	assert_false(call->client_gone);
	close(fd);
	for (int i = 0; i < 500 && !call->client_gone; i++)
		usleep(10000);
	assert_true(call->client_gone);
	http_call_finish(call); /* freed, and nobody minds */
}

/* The server goes while a call runs, one waits and one is deferred. */
static void
server_goes_first(void **state)
{
	struct http_server_options o = {
		.name = "calls",
		.handler = http_worker_handler,
		.arg = &calls,
	};
	struct net_server s;
	int fds[3];

	net_server_start(&s, &o);
	blocked = true;
	for (int i = 0; i < 3; i++) {
		fds[i] = net_connect(s.port);
		net_sends(fds[i], i == 0 ? "GET /later HTTP/1.1\r\nHost: t\r\n\r\n"
					 : "GET /block HTTP/1.1\r\nHost: t\r\n\r\n");
		while (started <= (unsigned)i)
			usleep(1000);
	}
	net_server_stop(&s);
	blocked = false;
	http_worker_wait(&calls);
	http_call_finish(deferred);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(answers),
		TEST(refuses_large_bodies),
		TEST(full_queue_and_deadline),
		TEST(answers_later),
		TEST(tells_of_clients_that_left),
		TEST(server_goes_first),
	};

	return cmocka_run_group_tests_name("http_worker", tests, NULL, NULL);
}
