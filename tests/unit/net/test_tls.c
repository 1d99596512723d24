/* TLS: what contexts refuse, who may connect, fingerprints, sniffing, reload under traffic, and
 * large streams through partial writes. */
#include <fcntl.h>
#include <openssl/pem.h>
#include <signal.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "net/http_server.h"
#include "run/fs.h"
#include "tests/lib/net_peer.h"

#define LARGE (8u << 20)

static char *directory;
static char *file_path;

static char *
path_of(const char *name)
{
	return xasprintf("%s/%s", directory, name);
}

static struct tls_context *
context_with(const char *certificate, const char *key, const char *ca, enum tls_peer peer,
    int version, int wanted, const char *text)
{
	_cleanup_free_ char *c = path_of(certificate), *k = path_of(key),
			    *a = path_of(ca ? ca : "");
	const struct tls_files files = { c, k, ca ? a : NULL };
	struct tls_context *context = NULL;
	struct err e = { 0 };

	assert_int_equal(tls_server_new(&files, peer, version, &context, &e), wanted);
	if (text && !strstr(e.text, text))
		fail_msg("'%s' does not say '%s'", e.text, text);
	return context;
}

static void
bad_files_are_named(void **state)
{
	static const struct {
		const char *certificate, *key, *ca, *text;
	} cases[] = {
		{ "absent.pem", "server.key", NULL, "absent.pem" },
		{ "server.key", "server.key", NULL, "server.key" },
		{ "server.pem", "absent.key", NULL, "absent.key" },
		{ "server.pem", "client.key", NULL, "client.key" },
		{ "expired.pem", "server.key", NULL, "expired" },
		{ "server.pem", "server.key", "absent.pem", "absent.pem" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		(void)context_with(cases[i].certificate, cases[i].key, cases[i].ca,
		    TLS_PEER_REQUIRED, TLS1_2_VERSION, ERR_INVALID, cases[i].text);
}

static void
on_head(struct http_exchange *x, void *arg)
{
	const struct http_peer *p = http_peer(x);

	if (str_starts(http_request(x)->path, "/file")) {
		uint64_t n = str_is(http_request(x)->path, "/file-short") ? LARGE + 1 : LARGE;

		http_reply_begin(x, 200);
		http_reply_length(x, n);
		http_reply_file(x, open(file_path, O_RDONLY | O_CLOEXEC), 0, n);
		http_reply_end(x);
	} else if (http_request(x)->content_length) {
		http_reply_begin(x, 200);
		http_accept_body(x, 0);
	} else {
		_cleanup_free_ char *text = xasprintf("%u %s", p->is_tls, p->fingerprint);

		http_reply(x, 200, "text/plain", text, strlen(text));
	}
}

static void
on_body(struct http_exchange *x, struct http_body *piece, void *arg)
{
	http_reply_add(x, piece->p, piece->n);
	http_body_release(piece);
}

static void
on_end(struct http_exchange *x, const struct http_header *trailers, unsigned count, void *arg)
{
	http_reply_end(x);
}

static void
serve(struct net_server *s, enum http_tls mode, struct tls_context *context)
{
	const struct http_server_options o = {
		.name = "tls",
		.handler = { .head = on_head, .body = on_body, .end = on_end },
		.tls_mode = mode,
		.tls = context,
		.head_timeout_ms = 1500,
	};

	net_server_start(s, &o);
}

struct client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

/* NULL name: no certificate. Returns whether a request can be answered. */
static bool
client_open(struct client *c, uint16_t port, const char *name, int version)
{
	_cleanup_free_ char *ca = path_of("ca.pem");

	c->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(c->ctx, version);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_AUTO_RETRY);
	assert_int_equal(SSL_CTX_load_verify_file(c->ctx, ca), 1);
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	if (name) {
		_cleanup_free_ char *pem = xasprintf("%s/%s.pem", directory, name);
		_cleanup_free_ char *key = xasprintf("%s/%s.key", directory, name);

		assert_int_equal(SSL_CTX_use_certificate_chain_file(c->ctx, pem), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM), 1);
	}
	c->fd = net_connect(port);
	c->ssl = SSL_new(c->ctx);
	SSL_set_fd(c->ssl, c->fd);
	return SSL_connect(c->ssl) == 1;
}

static void
client_close(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	close(c->fd);
	ERR_clear_error();
}

/* The whole of what the server says to one request with Connection: close. */
static bool
client_ask(struct client *c, const char *request, struct strbuf *out)
{
	static char buffer[65536];
	int n;

	strbuf_reset(out);
	if (SSL_write(c->ssl, request, (int)strlen(request)) <= 0)
		return false;
	while ((n = SSL_read(c->ssl, buffer, sizeof(buffer))) > 0)
		strbuf_add(out, buffer, (size_t)n);
	return str_starts(strbuf_str(out), "HTTP/1.1 200");
}

#define ASK "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"

static bool
can_ask(uint16_t port, const char *name, int version, struct strbuf *out)
{
	struct client c;
	bool ok = client_open(&c, port, name, version) && client_ask(&c, ASK, out);

	client_close(&c);
	return ok;
}

static void
fingerprint_of(const char *name, char out[65])
{
	_cleanup_free_ char *path = path_of(name);
	FILE *f = fopen(path, "re");
	X509 *certificate = PEM_read_X509(f, NULL, NULL, NULL);
	unsigned char digest[32];
	unsigned n;

	fclose(f);
	X509_digest(certificate, EVP_sha256(), digest, &n);
	hex_encode(digest, 32, out);
	X509_free(certificate);
}

static void
peers(void **state)
{
	static const struct {
		enum tls_peer peer;
		const char *name;
		bool ok;
	} cases[] = {
		{ TLS_PEER_NONE, NULL, true },
		{ TLS_PEER_OPTIONAL, NULL, true },
		{ TLS_PEER_OPTIONAL, "client", true },
		{ TLS_PEER_OPTIONAL, "stranger", false },
		{ TLS_PEER_REQUIRED, NULL, false },
		{ TLS_PEER_REQUIRED, "client", true },
		{ TLS_PEER_REQUIRED, "stranger", false },
	};
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	char fingerprint[65];

	fingerprint_of("client.pem", fingerprint);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_context *context = context_with(
		    "server.pem", "server.key", "ca.pem", cases[i].peer, TLS1_2_VERSION, 0, NULL);
		struct net_server s;

		serve(&s, HTTP_TLS_REQUIRED, context);
		for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			if (can_ask(s.port, cases[i].name, version, &out) != cases[i].ok)
				fail_msg("case %zu, version %x", i, (unsigned)version);
			if (!cases[i].ok)
				continue;
			assert_non_null(strstr(out.p, cases[i].name ? fingerprint : "\r\n1 "));
		}
		net_server_stop(&s);
		tls_unref(context);
	}
}

static void
old_versions_are_refused(void **state)
{
	struct tls_context *context =
	    context_with("server.pem", "server.key", NULL, TLS_PEER_NONE, TLS1_3_VERSION, 0, NULL);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct net_server s;

	serve(&s, HTTP_TLS_REQUIRED, context);
	assert_false(can_ask(s.port, NULL, TLS1_2_VERSION, &out));
	assert_true(can_ask(s.port, NULL, TLS1_3_VERSION, &out));
	net_server_stop(&s);
	tls_unref(context);
}

static void
first_byte_decides(void **state)
{
	struct tls_context *context =
	    context_with("server.pem", "server.key", NULL, TLS_PEER_NONE, TLS1_2_VERSION, 0, NULL);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct net_reply r = { 0 };
	struct net_server s;
	int fd;

	serve(&s, HTTP_TLS_OPTIONAL, context);
	assert_int_equal(net_get(s.port, "/", &r), 200);
	assert_string_equal(r.body.p, "0 ");
	assert_true(can_ask(s.port, NULL, TLS1_3_VERSION, &out));
	/* A handshake that stops is ended by the head deadline. */
	fd = net_connect(s.port);
	net_send(fd, "\x16\x03\x01\x02", 4);
	assert_true(net_closes(fd, 4000));
	close(fd);
	net_server_stop(&s);

	serve(&s, HTTP_TLS_REQUIRED, context);
	assert_int_equal(net_get(s.port, "/", &r), 0);
	net_server_stop(&s);
	tls_unref(context);
	net_reply_done(&r);
}

static void
large_bodies(void **state)
{
	struct tls_context *context =
	    context_with("server.pem", "server.key", NULL, TLS_PEER_NONE, TLS1_2_VERSION, 0, NULL);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT, file = STRBUF_INIT;
	struct net_server s;
	struct client c;
	const char *body;

	assert_int_equal(fs_read(file_path, LARGE, &file, NULL), 0);
	serve(&s, HTTP_TLS_REQUIRED, context);
	assert_true(client_open(&c, s.port, NULL, TLS1_3_VERSION));
	assert_true(
	    client_ask(&c, "GET /file HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", &out));
	client_close(&c);
	body = memmem(out.p, out.n, "\r\n\r\n", 4);
	assert_non_null(body);
	assert_int_equal(out.p + out.n - body - 4, LARGE);
	assert_memory_equal(body + 4, file.p, LARGE);

	/* echo, in HTTP/1.0 so that the reply is the bare bytes; the client writes it all before
	 * it reads, which the server must absorb by its queue and not by a deadlock */
	assert_true(client_open(&c, s.port, NULL, TLS1_2_VERSION));
	{
		static const char head[] = "POST / HTTP/1.0\r\nContent-Length: 1048576\r\n\r\n";

		assert_true(SSL_write(c.ssl, head, sizeof(head) - 1) > 0);
		for (size_t at = 0; at < 1 << 20; at += 16384)
			assert_int_equal(SSL_write(c.ssl, file.p + at, 16384), 16384);
	}
	strbuf_reset(&out);
	for (;;) {
		char buffer[16384];
		int n = SSL_read(c.ssl, buffer, sizeof(buffer));

		if (n <= 0)
			break;
		strbuf_add(&out, buffer, (size_t)n);
	}
	body = memmem(out.p, out.n, "\r\n\r\n", 4);
	assert_non_null(body);
	assert_int_equal(out.p + out.n - body - 4, 1 << 20);
	assert_memory_equal(body + 4, file.p, 1 << 20);
	client_close(&c);
	net_server_stop(&s);
	tls_unref(context);
}

/* Records half sent are repeated exactly, from memory and from files, while the peer reads slowly;
 * a file that is too short cuts the connection before a byte that is not its own. */
static void
slow_reader_and_short_file(void **state)
{
	static const char *const paths[] = { "/file", "/file-short" };
	struct tls_context *context =
	    context_with("server.pem", "server.key", NULL, TLS_PEER_NONE, TLS1_2_VERSION, 0, NULL);
	_cleanup_strbuf_ struct strbuf file = STRBUF_INIT;
	struct net_server s;

	assert_int_equal(fs_read(file_path, LARGE, &file, NULL), 0);
	serve(&s, HTTP_TLS_REQUIRED, context);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_free_ char *request =
		    xasprintf("GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", paths[i]);
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		static char buffer[70000];
		const char *body;
		struct client c;
		int n, small = 262144;

		assert_true(client_open(&c, s.port, NULL, TLS1_3_VERSION));
		(void)setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
		assert_true(SSL_write(c.ssl, request, (int)strlen(request)) > 0);
		for (int turn = 0; (n = SSL_read(c.ssl, buffer, sizeof(buffer))) > 0; turn++) {
			strbuf_add(&out, buffer, (size_t)n);
			if (turn % 32 == 0)
				usleep(2000);
		}
		body = memmem(out.p, out.n, "\r\n\r\n", 4);
		assert_non_null(body);
		body += 4;
		n = (int)(out.p + out.n - body);
		assert_true(i == 0 ? n == (int)LARGE : n <= (int)LARGE);
		assert_memory_equal(body, file.p, (size_t)n);
		client_close(&c);
	}
	net_server_stop(&s);
	tls_unref(context);
}

static atomic_bool stop_asking;

static void *
asking_thread(void *arg)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct net_server *s = arg;
	uintptr_t failed = 0;

	while (!stop_asking)
		failed += !can_ask(s->port, "client", TLS1_3_VERSION, &out);
	return (void *)failed;
}

static void
copy_file(const char *from, const char *to)
{
	_cleanup_free_ char *a = path_of(from), *b = path_of(to);
	_cleanup_strbuf_ struct strbuf content = STRBUF_INIT;

	assert_int_equal(fs_read(a, 1 << 20, &content, NULL), 0);
	assert_int_equal(fs_write_atomic(b, strbuf_str(&content), 0600, NULL), 0);
}

static void
reloads_under_traffic(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct tls_context *context;
	struct net_server s;
	struct err e = { 0 };
	pthread_t thread;
	void *failed;

	copy_file("server.pem", "live.pem");
	copy_file("server.key", "live.key");
	copy_file("ca.pem", "live-ca.pem");
	context = context_with(
	    "live.pem", "live.key", "live-ca.pem", TLS_PEER_REQUIRED, TLS1_3_VERSION, 0, NULL);
	serve(&s, HTTP_TLS_REQUIRED, context);
	stop_asking = false;
	assert_int_equal(pthread_create(&thread, NULL, asking_thread, &s), 0);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(tls_reload(context, &e), 0);
		usleep(5000);
	}
	/* A reload that fails leaves the old one in use. */
	copy_file("expired.pem", "live.pem");
	assert_int_equal(tls_reload(context, &e), ERR_INVALID);
	usleep(50000);
	stop_asking = true;
	pthread_join(thread, &failed);
	assert_int_equal((uintptr_t)failed, 0);
	/* And one that works counts: another CA, the old client is out. */
	copy_file("server.pem", "live.pem");
	copy_file("other-ca.pem", "live-ca.pem");
	assert_int_equal(tls_reload(context, &e), 0);
	assert_false(can_ask(s.port, "client", TLS1_3_VERSION, &out));
	assert_true(can_ask(s.port, "stranger", TLS1_3_VERSION, &out));
	net_server_stop(&s);
	tls_unref(context);
}

static int
make_files(void **state)
{
	FILE *f;

	directory = net_temporary_directory();
	net_certificates(directory);
	file_path = path_of("large");
	f = fopen(file_path, "we");
	for (uint32_t i = 0; i < LARGE / 4; i++) {
		uint32_t word = i * 2654435761u;

		(void)fwrite(&word, 4, 1, f);
	}
	fclose(f);
	return 0;
}

static int
remove_files(void **state)
{
	net_remove_directory(directory);
	free(directory);
	free(file_path);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_files_are_named),
		cmocka_unit_test(peers),
		cmocka_unit_test(old_versions_are_refused),
		cmocka_unit_test(first_byte_decides),
		cmocka_unit_test(large_bodies),
		cmocka_unit_test(slow_reader_and_short_file),
		cmocka_unit_test(reloads_under_traffic),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("tls", tests, make_files, remove_files);
}
