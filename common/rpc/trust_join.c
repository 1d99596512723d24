/* The command `join URL TOKEN`: a one-shot process with a loop of its own for the HTTP client.
 * Nothing is trusted but the token: the TLS connection must end in the CA whose hash it carries,
 * and so must the certificate that comes back, for our own key, in our role. The key is made here
 * and stays here. A join that fails half-way leaves at most a key behind, which the next one uses.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "net/http_client.h"
#include "rpc/trust.h"
#include "rpc/trust_internal.h"
#include "run/fs.h"
#include "run/loop.h"

#define REPLY_MAX (64 * 1024)
#define STATUS_EVERY_MS 300

struct joining {
	const char *role, *state_dir, *advertise, *clc_url;
	struct trust_token token;
	char peer_id[48];
	struct loop *loop;
	struct http_client *http;
	pthread_t thread;
	bool has_thread;
};

static void *
loop_main(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void
on_turning(void *arg)
{
	(void)sem_post(arg);
}

static int
start_http(struct joining *j, struct err *e)
{
	sem_t turning;
	int r = loop_new(&j->loop, e);

	if (r == 0)
		r = http_client_new(j->loop, &j->http, e);
	if (r < 0)
		return r;
	r = pthread_create(&j->thread, NULL, loop_main, j->loop);
	if (r != 0)
		return err_set_errno(e, r, "cannot start a thread");
	j->has_thread = true;
	/* From here on the loop is that thread's: http_fetch must not be called before. */
	(void)sem_init(&turning, 0, 0);
	loop_post(j->loop, on_turning, &turning);
	while (sem_wait(&turning) < 0)
		;
	(void)sem_destroy(&turning);
	return 0;
}

static void
joining_done(struct joining *j)
{
	if (j->has_thread) {
		loop_stop(j->loop);
		(void)pthread_join(j->thread, NULL);
	}
	http_client_free(j->http);
	loop_free(j->loop);
}

/* One line of the answer, for people. */
static void
first_line(struct str text, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n && text.p[i] != '\n' && n < size - 1; i++)
		if ((unsigned char)text.p[i] >= ' ' && text.p[i] != 0x7f)
			out[n++] = text.p[i];
	out[n] = '\0';
}

static int
post(struct joining *j, const char *path, struct str body, struct http_client_reply *ret,
    struct err *e)
{
	static const struct http_header headers[] = {
		{ { "Content-Type", 12 }, { "application/x-www-form-urlencoded", 33 } },
	};
	size_t n = strlen(j->clc_url);
	bool has_slash = n && j->clc_url[n - 1] == '/';
	_cleanup_free_ char *url =
	    xasprintf("%.*s%s", (int)(has_slash ? n - 1 : n), j->clc_url, path);
	struct http_client_tls tls = { .pinned_ca_fingerprint = j->token.ca_fingerprint,
		.skip_name = true };
	struct http_client_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.header_count = ARRAY_SIZE(headers),
		.body = body,
		.body_fd = -1,
		.tls = &tls,
		.connect_timeout_ms = 5000,
		.timeout_ms = 15000,
		.reply_max = REPLY_MAX,
	};
	int r = http_fetch(j->http, &request, ret, e);

	return r < 0 ? err_wrap(e, "cannot ask the clc at %s", j->clc_url) : 0;
}

/* -- checks of what came back -- */

static void
free_store(X509_STORE **s)
{
	X509_STORE_free(*s);
}

static void
free_context(X509_STORE_CTX **c)
{
	X509_STORE_CTX_free(*c);
}

static bool
is_signed_by(X509 *certificate, X509 *ca)
{
	_cleanup_(free_store) X509_STORE *store = X509_STORE_new();
	_cleanup_(free_context) X509_STORE_CTX *context = X509_STORE_CTX_new();
	bool ok = store && context && X509_STORE_add_cert(store, ca) == 1 &&
		  X509_STORE_CTX_init(context, store, certificate, NULL) == 1 &&
		  X509_verify_cert(context) == 1;

	ERR_clear_error();
	return ok;
}

static bool
subject_is(X509 *certificate, int nid, const char *value)
{
	char text[64];
	int n =
	    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), nid, text, sizeof(text));

	return n > 0 && strings_equal(text, value);
}

int
trust_check_joined(const struct trust_joined *joined, const char *role, const char *ca_fingerprint,
    const char *key_path, struct err *e)
{
	_cleanup_(trust_certificate_free) X509 *ca = trust_certificate_from_pem(joined->ca);
	_cleanup_(trust_certificate_free) X509 *certificate =
	    trust_certificate_from_pem(joined->certificate);
	_cleanup_(trust_key_free) EVP_PKEY *key = NULL;
	char fingerprint[65];
	int r;

	if (!ca || !certificate)
		return err_set(e, ERR_INVALID, "the clc's answer holds no certificates");
	if (!trust_fingerprint_of(ca, fingerprint) || !strings_equal(fingerprint, ca_fingerprint))
		return err_set(e, ERR_AUTH_FAILURE, "the CA in the clc's answer is another one");
	if (!is_signed_by(certificate, ca))
		return err_set(e, ERR_AUTH_FAILURE, "the certificate is not signed by the CA");
	if (!subject_is(certificate, NID_organizationalUnitName, role) ||
	    !subject_is(certificate, NID_commonName, joined->peer_id))
		return err_set(e, ERR_AUTH_FAILURE, "the certificate is for somebody else");
	r = trust_read_key(key_path, &key, e);
	if (r < 0)
		return r;
	if (X509_check_private_key(certificate, key) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_AUTH_FAILURE, "the certificate is for another key");
	}
	return 0;
}

/* -- the steps -- */

static int
refuse_second_join(const char *state_dir, struct err *e)
{
	struct trust_peer peer;

	if (trust_peer_load(state_dir, &peer, e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : e->code;
	err_set(e, ERR_EXISTS,
	    "already joined to %s as '%s': remove '%s/trust' to leave that cloud", peer.clc_url,
	    peer.peer_id, state_dir);
	trust_peer_done(&peer);
	return e->code;
}

static int
make_request(struct joining *j, struct strbuf *body, struct err *e)
{
	_cleanup_free_ char *directory = xasprintf("%s/trust", j->state_dir);
	_cleanup_free_ char *key_path = trust_path(j->state_dir, "key.pem");
	_cleanup_strbuf_ struct strbuf csr = STRBUF_INIT;
	int r = fs_mkdir_p(directory, 0700, e);

	if (r == 0 && !fs_exists(key_path))
		r = trust_key_create(key_path, e);
	if (r == 0)
		r = trust_csr(key_path, &csr, e);
	return r < 0 ? r
		     : trust_join_format(&j->token, j->role, j->advertise, strbuf_c(&csr), body, e);
}

static int
take_answer(struct joining *j, const struct http_client_reply *reply, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_free_ char *key_path = trust_path(j->state_dir, "key.pem");
	struct trust_joined joined;
	struct trust_peer peer;
	char why[200];
	int r;

	if (reply->status != 200) {
		first_line(strbuf_str(&reply->body), why, sizeof(why));
		return err_set(
		    e, ERR_DENIED, "the clc refused: %s", *why ? why : "it gave no reason");
	}
	r = trust_joined_parse(strbuf_str(&reply->body), arena, &joined, e);
	if (r == 0)
		r = trust_check_joined(&joined, j->role, j->token.ca_fingerprint, key_path, e);
	if (r < 0)
		return r;
	(void)snprintf(j->peer_id, sizeof(j->peer_id), "%s", joined.peer_id);
	peer = (struct trust_peer){ .peer_id = (char *)joined.peer_id,
		.role = (char *)j->role,
		.zone = (char *)joined.zone,
		.clc_url = (char *)j->clc_url };
	return trust_install(j->state_dir, &peer, joined.certificate, joined.ca, e);
}

static int
enter_cloud(struct joining *j, struct err *e)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	struct http_client_reply reply = { 0 };
	int r;

	r = refuse_second_join(j->state_dir, e);
	if (r == 0)
		r = make_request(j, &body, e);
	if (r == 0)
		r = post(j, "/join", strbuf_str(&body), &reply, e);
	if (r == 0)
		r = take_answer(j, &reply, e);
	http_client_reply_done(&reply);
	return r;
}

/* 1: in service; 0: not yet, *why says what is missing. */
static int
ask_status(struct joining *j, char *why, size_t size, struct err *e)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	struct http_client_reply reply = { 0 };
	int r, status;

	trust_join_status_format(&j->token, j->peer_id, &body);
	r = post(j, "/join/status", strbuf_str(&body), &reply, e);
	if (r < 0)
		return r;
	status = reply.status;
	first_line(strbuf_str(&reply.body), why, size);
	http_client_reply_done(&reply);
	if (status == 200)
		return 1;
	if (status != 202)
		return err_set(e, ERR_DENIED, "the clc refused: %s", why);
	return 0;
}

static int
await_service(struct joining *j, unsigned wait_s, struct err *e)
{
	uint64_t end_ms = clock_monotonic_ms() + wait_s * UINT64_C(1000);
	char why[200] = "";
	int r;

	for (;;) {
		r = ask_status(j, why, sizeof(why), e);
		if (r != 0)
			return r < 0 ? r : 0;
		if (clock_monotonic_ms() >= end_ms)
			return err_set(e, ERR_TIMEOUT, "joined as '%s', but not in service: %s",
			    j->peer_id, why);
		(void)poll(NULL, 0, STATUS_EVERY_MS);
	}
}

int
trust_join(const char *role, const char *state_dir, const char *advertise, const char *clc_url,
    const char *token, unsigned wait_s)
{
	struct joining j = {
		.role = role, .state_dir = state_dir, .advertise = advertise, .clc_url = clc_url
	};
	struct err e = { 0 };
	int r = 0;

	(void)signal(SIGPIPE, SIG_IGN);
	if (strncmp(clc_url, "https://", 8) != 0)
		r = err_set(&e, ERR_INVALID, "'%.200s' is no https:// URL of a clc", clc_url);
	else if (!trust_token_parse(token, &j.token))
		r = err_set(&e, ERR_INVALID,
		    "this is no token: take the whole line that 'mallee-admin token %s' printed",
		    role);
	if (r == 0)
		r = start_http(&j, &e);
	if (r == 0)
		r = enter_cloud(&j, &e);
	if (r == 0 && wait_s)
		r = await_service(&j, wait_s, &e);
	joining_done(&j);
	if (r < 0) {
		fprintf(stderr, "mallee-%s: %s\n", role, e.text);
		return 1;
	}
	puts(wait_s ? "in service" : "joined");
	return 0;
}
