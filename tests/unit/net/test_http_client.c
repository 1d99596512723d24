/* The client against our server: methods, bodies both ways, limits, deadlines, pins, cancelling. */
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include "base/clock.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/tls.h"
#include "tests/lib/net_peer.h"

static char *directory;
static struct net_server server, secure;
static struct tls_context *context;
static struct net_loop on;
static struct http_client *client;

static void
on_head(struct http_exchange *x, void *arg)
{
	const struct http_head *h = http_request(x);

	if (str_is(h->path, "/hang")) {
		(void)http_suspend(x, 0, NULL);
	} else if (str_is(h->path, "/drip")) {
		http_reply_begin(x, 200);
		http_reply_add(x, "x", 1); /* and nothing more */
	} else if (str_is(h->path, "/large")) {
		static const char zeros[65536];

		http_reply_begin(x, 200);
		for (int i = 0; i < 64; i++)
			http_reply_add(x, zeros, sizeof(zeros));
		http_reply_end(x);
	} else {
		http_accept_body(x, 0);
	}
}

static void
on_body(struct http_exchange *x, struct http_body *piece, void *arg)
{
	uint64_t *sum = http_data(x);

	if (!sum)
		http_set_data(x, sum = xcalloc(2, sizeof(*sum)));
	for (size_t i = 0; i < piece->n; i++)
		sum[0] = sum[0] * 31 + (unsigned char)piece->p[i];
	sum[1] += piece->n;
	http_body_release(piece);
}

static void
on_end(struct http_exchange *x, const struct http_header *trailers, unsigned count, void *arg)
{
	static uint64_t none[2];
	const struct http_head *h = http_request(x);
	uint64_t *sum = http_data(x) ? http_data(x) : none;
	_cleanup_free_ char *text =
	    xasprintf("%.*s %.*s %llu %llx %.*s", (int)h->method.n, h->method.p, (int)h->target.n,
		h->target.p, (unsigned long long)sum[1], (unsigned long long)sum[0],
		(int)http_head_find(h, "x-mine").n, http_head_find(h, "x-mine").p);

	http_reply_begin(x, str_is(h->path, "/404") ? 404 : 200);
	http_reply_header(x, "X-Reply", "  spaced ");
	http_reply_length(x, strlen(text));
	http_reply_add(x, text, strlen(text));
	http_reply_end(x);
}

static void
on_gone(struct http_exchange *x, bool complete, void *arg)
{
	free(http_data(x));
}

static char *
url_of(uint16_t port, const char *path)
{
	return xasprintf("%s://127.0.0.1:%u%s", port == secure.port ? "https" : "http", port, path);
}

static int
fetch(const char *method, const char *path, struct http_client_reply *reply, struct err *e)
{
	_cleanup_free_ char *url = url_of(server.port, path);
	const struct http_client_request request = { .method = method, .url = url, .body_fd = -1 };

	return http_fetch(client, &request, reply, e);
}

static void
methods(void **state)
{
	static const struct {
		const char *method, *path, *text;
		int status;
	} cases[] = {
		{ "GET", "/a?b", "GET /a?b 0 0 ", 200 },
		{ "DELETE", "/a", "DELETE /a 0 0 ", 200 },
		{ "POST", "/a", "POST /a 0 0 ", 200 },
		{ "PUT", "/a", "PUT /a 0 0 ", 200 },
		{ "HEAD", "/a", "", 200 },
		{ "GET", "/404", "GET /404 0 0 ", 404 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_client_reply reply = { 0 };
		struct err e = { 0 };

		assert_int_equal(fetch(cases[i].method, cases[i].path, &reply, &e), 0);
		assert_int_equal(reply.status, cases[i].status);
		assert_string_equal(strbuf_c(&reply.body), cases[i].text);
		assert_true(str_is(http_client_reply_find(&reply, "x-reply"), "spaced"));
		assert_null(http_client_reply_find(&reply, "absent").p);
		assert_string_equal(reply.peer_fingerprint, "");
		http_client_reply_done(&reply);
	}
}

static void
sends_bodies(void **state)
{
	_cleanup_free_ char *url = url_of(server.port, "/up"), *bytes = xmalloc(3 << 20);
	_cleanup_free_ char *wanted = NULL;
	const struct http_header headers[] = { { STR("X-Mine"), STR("yes") },
		{ STR("X-None"), STR("") } };
	struct http_client_request request = { .method = "PUT",
		.url = url,
		.headers = headers,
		.header_count = 2,
		.body = { bytes, 3 << 20 },
		.body_fd = -1 };
	struct http_client_reply reply = { 0 };
	struct http_client_upload upload = { 0 };
	int fd = memfd_create("body", MFD_CLOEXEC);
	uint64_t sum = 0;

	for (size_t i = 0; i < 3 << 20; i++) {
		bytes[i] = (char)(i * 11 + (i >> 9));
		sum = sum * 31 + (unsigned char)bytes[i];
	}
	wanted = xasprintf("PUT /up 3145728 %llx yes", (unsigned long long)sum);
	assert_int_equal(http_fetch(client, &request, &reply, NULL), 0);
	assert_string_equal(reply.body.p, wanted);
	http_client_reply_done(&reply);

	assert_int_equal(write(fd, bytes, 3 << 20), 3 << 20);
	request.body = (struct str){ NULL, 0 };
	request.body_fd = fd;
	request.body_length = 3 << 20;
	reply = (struct http_client_reply){ 0 };
	assert_int_equal(http_fetch(client, &request, &reply, NULL), 0);
	assert_string_equal(reply.body.p, wanted);
	http_client_reply_done(&reply);

	/* watched, and stopped */
	request.upload = &upload;
	reply = (struct http_client_reply){ 0 };
	assert_int_equal(http_fetch(client, &request, &reply, NULL), 0);
	assert_int_equal(upload.sent, 3 << 20);
	http_client_reply_done(&reply);
	upload.is_cancelled = true;
	assert_int_equal(http_fetch(client, &request, &reply, NULL), ERR_CANCELLED);
	request.upload = NULL;

	/* a file shorter than promised */
	request.body_length = (3 << 20) + 1;
	assert_int_equal(http_fetch(client, &request, &reply, NULL), ERR_IO);
	close(fd);
}

static void *
cancel_soon(void *arg)
{
	struct http_client_upload *upload = arg;

	while (atomic_load(&upload->sent) == 0)
		usleep(10000);
	usleep(300000); /* the sockets' buffers are full by now */
	atomic_store(&upload->is_cancelled, true);
	return NULL;
}

/* A peer that takes the connection and reads nothing. */
static void
stops_sending_to_who_does_not_read(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t at_n = sizeof(at);
	struct http_client_upload upload = { 0 };
	struct http_client_reply reply = { 0 };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = memfd_create("body", MFD_CLOEXEC);
	uint64_t begin = clock_monotonic_ms();
	_cleanup_free_ char *url = NULL;
	pthread_t thread;

	assert_int_equal(bind(s, (struct sockaddr *)&at, at_n), 0);
	assert_int_equal(listen(s, 1), 0);
	assert_int_equal(getsockname(s, (struct sockaddr *)&at, &at_n), 0);
	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	url = url_of(ntohs(at.sin_port), "/up");
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &upload), 0);
	assert_int_equal(http_fetch(client,
			     &(struct http_client_request){ .method = "PUT",
				 .url = url,
				 .body_fd = fd,
				 .body_length = 64 << 20,
				 .upload = &upload,
				 .timeout_ms = 60000,
				 .low_speed_ms = 40000 },
			     &reply, NULL),
	    ERR_CANCELLED);
	assert_true(clock_monotonic_ms() - begin < 20000);
	pthread_join(thread, NULL);
	close(fd);
	close(s);
}

static int
sink(void *arg, const void *p, size_t n, struct err *e)
{
	size_t *left = arg;

	if (n > *left)
		return err_set(e, ERR_NO_SPACE, "sink is full");
	*left -= n;
	return 0;
}

static void
limits(void **state)
{
	_cleanup_free_ char *url = url_of(server.port, "/large");
	size_t left = 4 << 20;
	struct http_client_request request = { .url = url, .body_fd = -1, .reply_max = 1 << 20 };
	struct http_client_reply reply = { 0 };
	struct err e = { 0 };

	assert_int_equal(http_fetch(client, &request, &reply, &e), ERR_LIMIT);
	assert_non_null(strstr(e.text, "larger"));
	request.reply_max = 4 << 20;
	assert_int_equal(http_fetch(client, &request, &reply, &e), 0);
	assert_int_equal(reply.body.n, 4 << 20);
	http_client_reply_done(&reply);

	reply = (struct http_client_reply){ 0 };
	request.sink = sink;
	request.sink_arg = &left;
	assert_int_equal(http_fetch(client, &request, &reply, &e), 0);
	assert_int_equal(left, 0);
	assert_int_equal(reply.body.n, 0);
	http_client_reply_done(&reply);
	left = 100000;
	assert_int_equal(http_fetch(client, &request, &reply, &e), ERR_NO_SPACE);
	assert_non_null(strstr(e.text, "sink is full"));
}

static void
deadlines(void **state)
{
	_cleanup_free_ char *hang = url_of(server.port, "/hang"),
			    *drip = url_of(server.port, "/drip"), *refused = NULL;
	struct http_client_request request = { .url = hang, .body_fd = -1, .timeout_ms = 300 };
	struct http_client_reply reply = { 0 };
	uint64_t began = clock_monotonic_ms();
	struct err e = { 0 };
	uint16_t port;
	int fd;

	assert_int_equal(http_fetch(client, &request, &reply, &e), ERR_TIMEOUT);
	assert_true(clock_monotonic_ms() - began < 3000);
	request.url = drip;
	request.timeout_ms = 30000;
	request.low_speed_ms = 1000;
	assert_int_equal(http_fetch(client, &request, &reply, &e), ERR_TIMEOUT);
	assert_true(clock_monotonic_ms() - began < 10000);

	fd = net_listen(&port);
	close(fd);
	refused = url_of(port, "/");
	request.url = refused;
	assert_int_equal(http_fetch(client, &request, &reply, &e), ERR_UNAVAILABLE);
	request.url = "ftp://127.0.0.1/";
	assert_int_equal(http_fetch(client, &request, &reply, &e), ERR_INVALID);
	request.url = "not a url";
	assert_int_equal(http_fetch(client, &request, &reply, &e), ERR_INVALID);
}

static void
fingerprint_of(const char *name, char out[65])
{
	_cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
	FILE *f = fopen(path, "re");
	X509 *certificate = PEM_read_X509(f, NULL, NULL, NULL);
	unsigned char digest[32];
	unsigned n;

	fclose(f);
	X509_digest(certificate, EVP_sha256(), digest, &n);
	hex_encode(digest, 32, out);
	X509_free(certificate);
}

/* The order matters: what a good pin opened, a bad one may not reuse. */
static void
pins(void **state)
{
	_cleanup_free_ char *url = url_of(secure.port, "/"),
			    *ca = xasprintf("%s/ca.pem", directory),
			    *other = xasprintf("%s/other-ca.pem", directory),
			    *pem = xasprintf("%s/client.pem", directory),
			    *key = xasprintf("%s/client.key", directory);
	char right[65], wrong[65], right_ca[65], wrong_ca[65];
	const struct {
		struct http_client_tls tls;
		int r;
	} cases[] = {
		{ { .ca_path = ca }, 0 },
		{ { .ca_path = ca, .skip_name = true }, 0 },
		{ { .ca_path = other }, ERR_DENIED },
		{ { 0 }, ERR_DENIED },
		{ { .pinned_fingerprint = right }, 0 },
		{ { .pinned_fingerprint = wrong }, ERR_DENIED },
		{ { .pinned_fingerprint = right }, 0 },
		{ { .pinned_ca_fingerprint = right_ca }, 0 },
		{ { .pinned_ca_fingerprint = wrong_ca }, ERR_DENIED },
		{ { .pinned_ca_fingerprint = right }, ERR_DENIED },
		{ { .pinned_ca_fingerprint = wrong_ca, .ca_path = other }, ERR_DENIED },
		{ { .pinned_ca_fingerprint = right_ca, .ca_path = ca }, 0 },
		{ { .ca_path = ca, .certificate_path = pem, .key_path = key }, 0 },
	};

	fingerprint_of("server.pem", right);
	fingerprint_of("client.pem", wrong);
	fingerprint_of("ca.pem", right_ca);
	fingerprint_of("other-ca.pem", wrong_ca);
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			const struct http_client_request request = {
				.url = url, .body_fd = -1, .tls = &cases[i].tls
			};
			struct http_client_reply reply = { 0 };
			struct err e = { 0 };
			int r = http_fetch(client, &request, &reply, &e);

			if (r != cases[i].r)
				fail_msg("case %zu: %d %s", i, r, e.text);
			if (r == 0)
				assert_string_equal(reply.peer_fingerprint, right);
			http_client_reply_done(&reply);
		}
	/* A pin asks for TLS. */
	{
		_cleanup_free_ char *plain = url_of(server.port, "/");
		const struct http_client_tls tls = { .pinned_fingerprint = right };
		const struct http_client_request request = {
			.url = plain, .body_fd = -1, .tls = &tls
		};
		struct http_client_reply reply = { 0 };

		assert_int_equal(http_fetch(client, &request, &reply, NULL), ERR_DENIED);
	}
}

static void
unix_socket(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/sock", directory);
	const struct http_client_request request = {
		.url = "http://localhost/u", .unix_socket = path, .body_fd = -1
	};
	const struct http_server_options o = {
		.handler = { on_head, on_body, on_end, NULL, on_gone }, .threads = 1
	};
	struct http_client_reply reply = { 0 };
	struct http_server *s;
	int fd = net_listen_unix(path);

	assert_int_equal(http_server_new(on.loop, &o, &fd, 1, &s, NULL), 0);
	assert_int_equal(http_fetch(client, &request, &reply, NULL), 0);
	assert_string_equal(reply.body.p, "GET /u 0 0 ");
	http_client_reply_done(&reply);
	http_server_free(s);
}

static atomic_uint done_count, done_ok;

static void
on_done(void *arg, struct http_client_reply *reply, const struct err *e)
{
	assert_true(loop_is_current(on.loop));
	done_count++;
	done_ok += reply && reply->status == 200;
	if (arg && e)
		assert_int_equal(e->code, ERR_CANCELLED);
}

static void *
sending_thread(void *arg)
{
	_cleanup_free_ char *url = url_of(server.port, "/many");
	const struct http_client_request request = { .url = url, .body_fd = -1 };

	for (int i = 0; i < 50; i++)
		http_send(client, &request, on_done, NULL);
	return NULL;
}

static void
many_at_once(void **state)
{
	pthread_t threads[4];

	done_count = done_ok = 0;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, sending_thread, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 1000 && done_count < 200; i++)
		usleep(10000);
	assert_int_equal(done_ok, 200);
}

static void
free_on_loop(void *arg)
{
	http_client_free(arg);
}

static void
new_on_loop(void *arg)
{
	struct http_client *c;

	assert_int_equal(http_client_new(on.loop, &c, NULL), 0);
	*(struct http_client * _Atomic *)arg = c;
}

static void
cancels_at_the_end(void **state)
{
	_cleanup_free_ char *url = url_of(server.port, "/hang");
	const struct http_client_request request = { .url = url, .body_fd = -1 };
	struct http_client *_Atomic short_lived = NULL;

	done_count = done_ok = 0;
	loop_post(on.loop, new_on_loop, &short_lived);
	while (!short_lived)
		usleep(1000);
	for (int i = 0; i < 5; i++)
		http_send(short_lived, &request, on_done, &done_count);
	usleep(50000);
	for (int i = 0; i < 5; i++)
		http_send(short_lived, &request, on_done, &done_count);
	loop_post(on.loop, free_on_loop, short_lived);
	for (int i = 0; i < 500 && done_count < 10; i++)
		usleep(10000);
	assert_int_equal(done_count, 10);
	assert_int_equal(done_ok, 0);
}

static int
setup(void **state)
{
	_cleanup_free_ char *pem = NULL, *key = NULL, *ca = NULL;
	struct http_server_options o = { .name = "plain",
		.handler = { on_head, on_body, on_end, NULL, on_gone } };
	struct tls_files files;

	directory = net_temporary_directory();
	net_certificates(directory);
	files.certificate_path = pem = xasprintf("%s/server.pem", directory);
	files.key_path = key = xasprintf("%s/server.key", directory);
	files.ca_path = ca = xasprintf("%s/ca.pem", directory);
	assert_int_equal(
	    tls_server_new(&files, TLS_PEER_OPTIONAL, TLS1_2_VERSION, &context, NULL), 0);
	net_server_start(&server, &o);
	o.name = "secure";
	o.tls_mode = HTTP_TLS_REQUIRED;
	o.tls = context;
	net_server_start(&secure, &o);
	assert_int_equal(loop_new(&on.loop, NULL), 0);
	assert_int_equal(http_client_new(on.loop, &client, NULL), 0);
	net_loop_run(&on);
	return 0;
}

static int
teardown(void **state)
{
	net_loop_stop(&on);
	http_client_free(client);
	net_loop_free(&on);
	net_server_stop(&server);
	net_server_stop(&secure);
	tls_unref(context);
	net_remove_directory(directory);
	free(directory);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(methods),
		cmocka_unit_test(sends_bodies),
		cmocka_unit_test(stops_sending_to_who_does_not_read),
		cmocka_unit_test(limits),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(pins),
		cmocka_unit_test(unix_socket),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(cancels_at_the_end),
	};

	return cmocka_run_group_tests_name("http_client", tests, setup, teardown);
}
