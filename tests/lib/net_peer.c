/* See net_peer.h. Clients are plain blocking sockets: what a test sends is what goes out. */
#include "tests/lib/net_peer.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"

static void *
loop_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

void
net_loop_start(struct net_loop *l)
{
	assert_int_equal(loop_new(&l->loop, NULL), 0);
	net_loop_run(l);
}

static void
note_running(void *arg)
{
	*(atomic_bool *)arg = true;
}

void
net_loop_run(struct net_loop *l)
{
	atomic_bool is_running = false;

	loop_post(l->loop, note_running, &is_running);
	assert_int_equal(pthread_create(&l->thread, NULL, loop_thread, l->loop), 0);
	while (!is_running)
		usleep(500);
}

void
net_loop_stop(struct net_loop *l)
{
	loop_stop(l->loop);
	(void)pthread_join(l->thread, NULL);
}

void
net_loop_free(struct net_loop *l)
{
	loop_free(l->loop);
}

struct starting {
	struct net_server *s;
	const struct http_server_options *options;
	int fd;
	atomic_bool is_started;
};

static void
start_on_loop(void *arg)
{
	struct starting *st = arg;
	struct err e = { 0 };

	if (http_server_new(st->s->on.loop, st->options, &st->fd, 1, &st->s->server, &e) < 0) {
		fprintf(stderr, "http_server_new: %s\n", e.text);
		abort();
	}
	st->is_started = true; /* st is gone from here on */
}

void
net_server_start(struct net_server *s, const struct http_server_options *options)
{
	struct starting st = { s, options, net_listen(&s->port), false };

	net_loop_start(&s->on);
	loop_post(s->on.loop, start_on_loop, &st);
	while (!st.is_started)
		usleep(500);
}

void
net_server_stop(struct net_server *s)
{
	net_loop_stop(&s->on);
	http_server_free(s->server);
	net_loop_free(&s->on);
}

static int
bound(int family, const void *address, socklen_t n, uint16_t *ret_port)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage a;
	socklen_t size = sizeof(a);

	if (fd < 0 || bind(fd, address, n) < 0 || listen(fd, 1024) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	if (ret_port)
		*ret_port = ntohs(((struct sockaddr_in *)&a)->sin_port); /* same place in v6 */
	return fd;
}

int
net_listen(uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int fd;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = bound(AF_INET, &a, sizeof(a), ret_port);
	assert_true(fd >= 0);
	return fd;
}

int
net_listen6(uint16_t *ret_port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };

	return bound(AF_INET6, &a, sizeof(a), ret_port);
}

static struct sockaddr_un
unix_address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	assert_true(strlen(path) < sizeof(a.sun_path));
	strcpy(a.sun_path, path);
	return a;
}

int
net_listen_unix(const char *path)
{
	struct sockaddr_un a = unix_address(path);
	int fd = bound(AF_UNIX, &a, sizeof(a), NULL);

	assert_true(fd >= 0);
	return fd;
}

static void
set_patience(int fd)
{
	struct timeval t = { .tv_sec = 10 };

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

int
net_connect(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	set_patience(fd);
	return fd;
}

int
net_connect_unix(const char *path)
{
	struct sockaddr_un a = unix_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	set_patience(fd);
	return fd;
}

void
net_send(int fd, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0) {
		ssize_t r = send(fd, from, n, MSG_NOSIGNAL);

		if (r < 0) /* the server may have closed: the reply tells */
			return;
		from += r;
		n -= (size_t)r;
	}
}

void
net_sends(int fd, const char *s)
{
	net_send(fd, s, strlen(s));
}

bool
net_has_input(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

bool
net_closes(int fd, int timeout_ms)
{
	uint64_t until = clock_monotonic_ms() + (uint64_t)timeout_ms;
	char buffer[65536];

	for (;;) {
		uint64_t now = clock_monotonic_ms();

		if (now >= until || !net_has_input(fd, (int)(until - now)))
			return false;
		if (recv(fd, buffer, sizeof(buffer), 0) <= 0)
			return true;
	}
}

static bool
read_byte(int fd, char *c)
{
	return recv(fd, c, 1, 0) == 1;
}

static bool
read_line(int fd, struct strbuf *out)
{
	char c;

	do {
		if (!read_byte(fd, &c))
			return false;
		strbuf_addc(out, c);
	} while (c != '\n');
	return true;
}

static bool
read_bytes(int fd, size_t n, struct strbuf *out)
{
	char buffer[65536];

	while (n > 0) {
		ssize_t r = recv(fd, buffer, n < sizeof(buffer) ? n : sizeof(buffer), 0);

		if (r <= 0)
			return false;
		strbuf_add(out, buffer, (size_t)r);
		n -= (size_t)r;
	}
	return true;
}

static bool
read_chunks(int fd, struct strbuf *out)
{
	for (;;) {
		_cleanup_strbuf_ struct strbuf line = STRBUF_INIT, end = STRBUF_INIT;
		size_t n;

		if (!read_line(fd, &line))
			return false;
		n = strtoul(line.p, NULL, 16);
		if (!read_bytes(fd, n, out) || !read_line(fd, &end))
			return false;
		if (n == 0)
			return true;
	}
}

static bool
read_head(int fd, struct net_reply *r)
{
	size_t line;

	strbuf_reset(&r->head);
	do {
		line = r->head.n;
		if (!read_line(fd, &r->head))
			return false;
	} while (r->head.n - line > 2);
	return true;
}

static const char *
header_of(const struct net_reply *r, const char *name)
{
	const char *p = strcasestr(strbuf_c(&r->head), name);

	return p ? p + strlen(name) : NULL;
}

int
net_read_reply(int fd, bool is_head, struct net_reply *r)
{
	const char *length;

	strbuf_reset(&r->body);
	r->is_cut = false;
	do {
		if (!read_head(fd, r))
			return r->status = 0;
		r->status = atoi(r->head.p + strlen("HTTP/1.1 "));
	} while (r->status == 100);
	if (is_head || r->status == 204 || r->status == 304 || r->status == 101)
		return r->status;
	length = header_of(r, "\r\nContent-Length:");
	if (length)
		r->is_cut = !read_bytes(fd, strtoul(length, NULL, 10), &r->body);
	else if (header_of(r, "\r\nTransfer-Encoding: chunked"))
		r->is_cut = !read_chunks(fd, &r->body);
	else
		(void)read_bytes(fd, SIZE_MAX, &r->body);
	return r->status;
}

void
net_reply_done(struct net_reply *r)
{
	strbuf_done(&r->head);
	strbuf_done(&r->body);
}

bool
net_reply_has(const struct net_reply *r, const char *header_line)
{
	return strcasestr(strbuf_c(&r->head), header_line) != NULL;
}

int
net_get(uint16_t port, const char *path, struct net_reply *r)
{
	_cleanup_free_ char *request =
	    xasprintf("GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", path);
	int fd = net_connect(port);

	net_sends(fd, request);
	(void)net_read_reply(fd, false, r);
	close(fd);
	return r->status;
}

void
net_unescape(struct str in, struct strbuf *out)
{
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		const char *star;

		if (c == '{' && (star = memchr(in.p + i, '*', in.n - i))) {
			long count = strtol(star + 1, NULL, 10);

			while (count-- > 0)
				net_unescape(
				    (struct str){ in.p + i + 1, (size_t)(star - in.p) - i - 1 },
				    out);
			i = (size_t)((const char *)memchr(star, '}', in.n - (size_t)(star - in.p)) -
				     in.p);
			continue;
		}
		if (c != '\\') {
			strbuf_addc(out, c);
			continue;
		}
		switch (in.p[++i]) {
		case 'r':
			strbuf_addc(out, '\r');
			break;
		case 'n':
			strbuf_addc(out, '\n');
			break;
		case 't':
			strbuf_addc(out, '\t');
			break;
		case 'x': {
			char hex[3] = { in.p[i + 1], in.p[i + 2], '\0' };

			strbuf_addc(out, (char)strtol(hex, NULL, 16));
			i += 2;
			break;
		}
		default:
			strbuf_addc(out, in.p[i]);
		}
	}
}

/* -- certificates -- */

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

static void
add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(extension);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

static struct identity
make_identity(const char *name, const struct identity *issuer, EVP_PKEY *key, long valid_s)
{
	struct identity id = { key, X509_new() };
	static long serial = 1;

	if (!id.key)
		id.key = EVP_EC_gen("P-256");
	assert_non_null(id.key);
	X509_set_version(id.certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id.certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(id.certificate), -7200);
	X509_gmtime_adj(X509_getm_notAfter(id.certificate), valid_s);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(id.certificate), "CN", MBSTRING_ASC,
	    (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(
	    id.certificate, X509_get_subject_name(issuer ? issuer->certificate : id.certificate));
	X509_set_pubkey(id.certificate, id.key);
	add_extension(id.certificate, issuer ? issuer->certificate : id.certificate,
	    NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
	if (issuer)
		add_extension(id.certificate, issuer->certificate, NID_subject_alt_name,
		    "IP:127.0.0.1,DNS:localhost");
	X509_sign(id.certificate, issuer ? issuer->key : id.key, EVP_sha256());
	return id;
}

static void
write_identity(const char *directory, const char *name, const struct identity *id, bool with_key,
    const struct identity *chain)
{
	_cleanup_free_ char *pem = xasprintf("%s/%s.pem", directory, name);
	_cleanup_free_ char *key = xasprintf("%s/%s.key", directory, name);
	FILE *f = fopen(pem, "we");

	assert_non_null(f);
	PEM_write_X509(f, id->certificate);
	if (chain)
		PEM_write_X509(f, chain->certificate);
	fclose(f);
	if (!with_key)
		return;
	f = fopen(key, "we");
	assert_non_null(f);
	PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static void
free_identity(struct identity *id)
{
	EVP_PKEY_free(id->key);
	X509_free(id->certificate);
}

void
net_certificates(const char *directory)
{
	struct identity ca = make_identity("test CA", NULL, NULL, 86400);
	struct identity other = make_identity("other CA", NULL, NULL, 86400);
	struct identity server = make_identity("server", &ca, NULL, 86400);
	struct identity client = make_identity("client", &ca, NULL, 86400);
	struct identity stranger = make_identity("stranger", &other, NULL, 86400);
	struct identity expired = make_identity("server", &ca, server.key, -3600);

	write_identity(directory, "ca", &ca, false, NULL);
	write_identity(directory, "other-ca", &other, false, NULL);
	write_identity(directory, "server", &server, true, &ca);
	write_identity(directory, "client", &client, true, NULL);
	write_identity(directory, "stranger", &stranger, true, NULL);
	write_identity(directory, "expired", &expired, false, NULL);
	expired.key = NULL;
	free_identity(&ca);
	free_identity(&other);
	free_identity(&server);
	free_identity(&client);
	free_identity(&stranger);
	free_identity(&expired);
}

char *
net_temporary_directory(void)
{
	char *path = xstrdup("/tmp/mallee-net-XXXXXX");

	assert_non_null(mkdtemp(path));
	return path;
}

void
net_remove_directory(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		_cleanup_free_ char *file = xasprintf("%s/%s", path, entry->d_name);

		(void)unlink(file);
	}
	if (d)
		closedir(d);
	(void)rmdir(path);
}

uint64_t
net_cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}
