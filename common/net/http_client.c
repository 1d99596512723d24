/* HTTP client: libcurl's multi interface, its sockets and its timer on a daemon loop. Other threads
 * hand transfers over by loop_post; everything else is the loop's own.
 *
 * A peer is checked in two places. curl checks the chain when ca_path alone is given. Pins are
 * checked by us in curl's pre-request hook, after the handshake and before the first byte of the
 * request, and also when curl reuses a connection: curl does not know pins, so it may offer one
 * that was opened under another. */
#include "net/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/list.h"
#include "net/tls.h"
#include "run/lock.h"

#define DEFAULT_CONNECT_MS 2000
#define DEFAULT_TIMEOUT_MS 30000
#define DEFAULT_REPLY_MAX (1 << 20)
#define LOW_SPEED 1024 /* bytes per second */
#define REPLY_HEADERS_MAX (64 * 1024)
#define CONNECTIONS_MAX 256 /* kept open */

struct http_client {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer;
	struct list transfers; /* loop */
	bool is_closing;
	/* Transfers that were handed over and not yet taken, for http_client_free to end. */
	struct lock lock;
	struct list waiting; /* under lock */
	atomic_uint references;
};

struct transfer {
	struct list link; /* of transfers or waiting */
	struct http_client *client;
	CURL *easy;
	struct curl_slist *headers;
	char *method, *url, *unix_socket;
	char *certificate_path, *key_path, *ca_path, *pin, *ca_pin;
	bool has_tls, skip_name;
	char *body;
	size_t body_n, body_at;
	int body_fd;
	struct http_client_upload *upload;
	uint32_t connect_timeout_ms, timeout_ms, low_speed_ms;
	size_t reply_max;
	int (*sink)(void *arg, const void *p, size_t n, struct err *e);
	void *sink_arg;
	void (*done)(void *arg, struct http_client_reply *reply, const struct err *e);
	void *arg;
	struct http_client_reply reply;
	struct err e; /* of a callback of ours; code 0: none */
	char curl_error[CURL_ERROR_SIZE];
};

struct socket_watch {
	struct http_client *client;
	curl_socket_t fd;
	struct loop_watch *watch;
};

void
http_client_reply_done(struct http_client_reply *r)
{
	strbuf_done(&r->body);
	strbuf_done(&r->headers);
}

static void
transfer_free(struct transfer *t)
{
	if (t->easy)
		curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	free(t->method);
	free(t->url);
	free(t->unix_socket);
	free(t->certificate_path);
	free(t->key_path);
	free(t->ca_path);
	free(t->pin);
	free(t->ca_pin);
	free(t->body);
	http_client_reply_done(&t->reply);
	free(t);
}

static void
client_unref(struct http_client *c)
{
	if (atomic_fetch_sub(&c->references, 1) > 1)
		return;
	lock_done(&c->lock);
	free(c);
}

static void
transfer_end(struct transfer *t, const struct err *e)
{
	list_remove(&t->link);
	t->done(t->arg, e ? NULL : &t->reply, e);
	transfer_free(t);
}

/* -- who is the peer -- */

static SSL *
ssl_of(CURL *easy)
{
	struct curl_tlssessioninfo *info = NULL;

	if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info ||
	    info->backend != CURLSSLBACKEND_OPENSSL)
		return NULL;
	return info->internals;
}

static bool
certificate_has_fingerprint(X509 *certificate, const char *wanted)
{
	unsigned char digest[32];
	char text[65];
	unsigned n = sizeof(digest);

	if (X509_digest(certificate, EVP_sha256(), digest, &n) != 1)
		return false;
	hex_encode(digest, n, text);
	return strcmp(text, wanted) == 0;
}

/* The pinned CA among what the peer sent or ca_path holds; a new reference. */
static X509 *
find_pinned_ca(const struct transfer *t, STACK_OF(X509) * sent)
{
	X509 *found = NULL;

	for (int i = 0; i < sk_X509_num(sent); i++)
		if (certificate_has_fingerprint(sk_X509_value(sent, i), t->ca_pin)) {
			X509_up_ref(sk_X509_value(sent, i));
			return sk_X509_value(sent, i);
		}
	if (t->ca_path) {
		FILE *f = fopen(t->ca_path, "re");

		while (f && (found = PEM_read_X509(f, NULL, NULL, NULL)) &&
		       !certificate_has_fingerprint(found, t->ca_pin)) {
			X509_free(found);
			found = NULL;
		}
		if (f)
			fclose(f);
		ERR_clear_error();
	}
	return found;
}

/* Whether the peer's chain leads to the one CA that is pinned, and to a certificate for servers. */
static bool
chain_is_pinned(const struct transfer *t, SSL *ssl)
{
	STACK_OF(X509) *sent = SSL_get_peer_cert_chain(ssl);
	X509 *leaf = SSL_get0_peer_certificate(ssl), *ca;
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool ok = false;

	ca = leaf && sent ? find_pinned_ca(t, sent) : NULL;
	if (ca && store && ctx && X509_check_ca(ca) > 0 && X509_STORE_add_cert(store, ca) == 1 &&
	    X509_STORE_CTX_init(ctx, store, leaf, sent) == 1) {
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
		ok = X509_verify_cert(ctx) == 1;
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(ca);
	ERR_clear_error();
	return ok;
}

static int
before_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct transfer *t = arg;
	SSL *ssl = ssl_of(t->easy);

	t->reply.peer_fingerprint[0] = '\0';
	if (ssl)
		(void)tls_peer_fingerprint(ssl, t->reply.peer_fingerprint);
	if (t->pin && strcmp(t->reply.peer_fingerprint, t->pin) != 0) {
		err_set(&t->e, ERR_DENIED, "the server shows another certificate");
		return CURL_PREREQFUNC_ABORT;
	}
	if (t->ca_pin && (!ssl || !chain_is_pinned(t, ssl))) {
		err_set(&t->e, ERR_DENIED, "the server's certificate is not of the expected CA");
		return CURL_PREREQFUNC_ABORT;
	}
	return CURL_PREREQFUNC_OK;
}

/* -- bytes -- */

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	n *= size;
	/* A new status line: what came before was an interim reply. */
	if (n > 5 && memcmp(p, "HTTP/", 5) == 0)
		strbuf_reset(&t->reply.headers);
	if (t->reply.headers.n + n > REPLY_HEADERS_MAX) {
		err_set(&t->e, ERR_LIMIT, "the reply's head is too large");
		return 0;
	}
	strbuf_add(&t->reply.headers, p, n);
	return n;
}

static size_t
on_data(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	long status = 0;

	n *= size;
	(void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (t->sink && status / 100 == 2) {
		int r = t->sink(t->sink_arg, p, n, &t->e);

		if (r < 0) {
			t->e.code = r;
			return CURL_WRITEFUNC_ERROR;
		}
		return n;
	}
	if (t->reply.body.n + n > t->reply_max) {
		err_set(&t->e, ERR_LIMIT, "the reply is larger than %zu bytes", t->reply_max);
		return CURL_WRITEFUNC_ERROR;
	}
	strbuf_add(&t->reply.body, p, n);
	return n;
}

static bool
is_cancelled(struct transfer *t)
{
	if (!t->upload || !atomic_load(&t->upload->is_cancelled))
		return false;
	err_set(&t->e, ERR_CANCELLED, "nobody wants it sent any more");
	return true;
}

/* Once a second, as long as there is a limit on speed; a peer that reads nothing asks for no body.
 */
static int
on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	return is_cancelled(arg);
}

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t left = t->body_n - t->body_at;

	n *= size;
	if (n > left)
		n = left;
	if (is_cancelled(t))
		return CURL_READFUNC_ABORT;
	if (t->body_fd < 0) {
		memcpy(p, t->body + t->body_at, n);
	} else if (n > 0) {
		ssize_t r = pread(t->body_fd, p, n, (off_t)t->body_at);

		if (r <= 0) {
			err_set_errno(&t->e, r < 0 ? errno : EIO, "cannot read what is to be sent");
			return CURL_READFUNC_ABORT;
		}
		n = (size_t)r;
	}
	t->body_at += n;
	if (t->upload)
		atomic_store(&t->upload->sent, t->body_at);
	return n;
}

static int
on_seek(void *arg, curl_off_t offset, int origin)
{
	struct transfer *t = arg;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->body_n)
		return CURL_SEEKFUNC_CANTSEEK;
	t->body_at = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* -- setting up -- */

#define SET(option, value)                                                                         \
	do {                                                                                       \
		CURLcode _code = curl_easy_setopt(t->easy, CURLOPT_##option, value);               \
		assert(_code == CURLE_OK);                                                         \
	} while (0)

static void
set_tls(struct transfer *t)
{
	SET(SSL_SESSIONID_CACHE, 0L); /* a resumed session shows no chain to check */
	SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (!t->has_tls)
		return;
	if (t->certificate_path)
		SET(SSLCERT, t->certificate_path);
	if (t->key_path)
		SET(SSLKEY, t->key_path);
	if (t->ca_path)
		SET(CAINFO, t->ca_path);
	if (t->pin || t->ca_pin)
		SET(SSL_VERIFYPEER, 0L); /* before_request does it */
	if (t->pin || t->ca_pin || t->skip_name)
		SET(SSL_VERIFYHOST, 0L);
}

static void
set_body(struct transfer *t)
{
	if (t->body_n == 0 && strcmp(t->method, "HEAD") == 0) {
		SET(NOBODY, 1L);
		return;
	}
	if (t->body_n > 0 || strcmp(t->method, "POST") == 0 || strcmp(t->method, "PUT") == 0) {
		SET(UPLOAD, 1L);
		SET(INFILESIZE_LARGE, (curl_off_t)t->body_n);
		SET(READFUNCTION, on_body);
		SET(READDATA, t);
		SET(SEEKFUNCTION, on_seek);
		SET(SEEKDATA, t);
	}
	if (t->upload) {
		SET(NOPROGRESS, 0L);
		SET(XFERINFOFUNCTION, on_progress);
		SET(XFERINFODATA, t);
	}
	SET(CUSTOMREQUEST, t->method);
}

/* A cut link says nothing: an idle connection is given up after 5 s and 3 probes 2 s apart. */
static int
set_keepalive_count(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	int probes = 3;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes)); /* a hint */
	return CURL_SOCKOPT_OK;
}

static void
set_limits(struct transfer *t)
{
	SET(CONNECTTIMEOUT_MS, (long)t->connect_timeout_ms);
	SET(TIMEOUT_MS, (long)t->timeout_ms);
	if (t->low_speed_ms) {
		SET(LOW_SPEED_LIMIT, (long)LOW_SPEED);
		SET(LOW_SPEED_TIME, (long)((t->low_speed_ms + 999) / 1000));
	}
	/* A long poll is silent for long: a peer that lost its power must not look like one that
	 * waits. */
	SET(TCP_KEEPALIVE, 1L);
	SET(TCP_KEEPIDLE, 5L);
	SET(SOCKOPTFUNCTION, set_keepalive_count);
	SET(TCP_KEEPINTVL, 2L);
	SET(NOSIGNAL, 1L);
	SET(PROXY, "");
	SET(FOLLOWLOCATION, 0L);
	SET(PROTOCOLS_STR, "http,https");
	SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(BUFFERSIZE, 128L * 1024);
}

static void
set_up(struct transfer *t)
{
	t->easy = curl_easy_init();
	assert(t->easy);
	SET(PRIVATE, t);
	SET(ERRORBUFFER, t->curl_error);
	SET(URL, t->url);
	if (t->unix_socket)
		SET(UNIX_SOCKET_PATH, t->unix_socket);
	SET(HTTPHEADER, t->headers);
	SET(HEADERFUNCTION, on_header);
	SET(HEADERDATA, t);
	SET(WRITEFUNCTION, on_data);
	SET(WRITEDATA, t);
	SET(PREREQFUNCTION, before_request);
	SET(PREREQDATA, t);
	set_limits(t);
	set_tls(t);
	set_body(t);
}

static char *
copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void
copy_headers(struct transfer *t, const struct http_client_request *r)
{
	bool has_expect = false;

	for (unsigned i = 0; i < r->header_count; i++) {
		const struct http_header *h = &r->headers[i];
		/* "Name;" is how curl is told to send an empty value. */
		_cleanup_free_ char *line = xasprintf(h->value.n ? "%.*s: %.*s" : "%.*s;%.*s",
		    (int)h->name.n, h->name.p, (int)h->value.n, h->value.n ? h->value.p : "");

		for (char *c = line; *c; c++)
			if ((unsigned char)*c < ' ' && *c != '\t')
				*c = ' ';
		has_expect |= str_is_nocase(h->name, "expect");
		t->headers = curl_slist_append(t->headers, line);
	}
	/* curl would wait a second for 100 Continue; worth it only for what can't be sent twice. */
	if (!has_expect && t->body_fd < 0)
		t->headers = curl_slist_append(t->headers, "Expect:");
	t->headers = curl_slist_append(t->headers, "Accept:");
}

static struct transfer *
transfer_new(struct http_client *c, const struct http_client_request *r)
{
	struct transfer *t = xcalloc(1, sizeof(*t));

	list_init(&t->link);
	t->client = c;
	t->method = xstrdup(r->method ? r->method : "GET");
	t->url = xstrdup(r->url);
	t->unix_socket = copy(r->unix_socket);
	if (r->tls) {
		t->has_tls = true;
		t->certificate_path = copy(r->tls->certificate_path);
		t->key_path = copy(r->tls->key_path);
		t->ca_path = copy(r->tls->ca_path);
		t->pin = copy(r->tls->pinned_fingerprint);
		t->ca_pin = copy(r->tls->pinned_ca_fingerprint);
		t->skip_name = r->tls->skip_name;
	}
	t->body_fd = r->body.p || r->body_length == 0 ? -1 : r->body_fd;
	if (t->body_fd >= 0) {
		t->body_n = r->body_length;
	} else if (r->body.n > 0) {
		t->body = xmemdup(r->body.p, r->body.n);
		t->body_n = r->body.n;
	}
	t->upload = r->upload;
	t->connect_timeout_ms = r->connect_timeout_ms ? r->connect_timeout_ms : DEFAULT_CONNECT_MS;
	t->timeout_ms = r->timeout_ms ? r->timeout_ms : DEFAULT_TIMEOUT_MS;
	t->low_speed_ms = r->low_speed_ms;
	t->reply_max = r->reply_max ? r->reply_max : DEFAULT_REPLY_MAX;
	t->sink = r->sink;
	t->sink_arg = r->sink_arg;
	copy_headers(t, r);
	return t;
}

/* -- curl on the loop -- */

static int
code_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_TIMEOUT;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return ERR_INVALID;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return ERR_DENIED;
	default: /* libcurl's list is open; what is left is some way of not reaching the peer */
		return ERR_UNAVAILABLE;
	}
}

static void
finish(struct transfer *t, CURLcode code)
{
	struct err e = { 0 };
	long status = 0;

	if (code == CURLE_OK && t->e.code == 0) {
		(void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
		t->reply.status = (int)status;
		transfer_end(t, NULL);
		return;
	}
	if (t->e.code != 0) {
		e = t->e;
	} else {
		err_set(&e, code_of(code), "%s",
		    t->curl_error[0] ? t->curl_error : curl_easy_strerror(code));
	}
	/* Without the query: a presigned URL is a secret. */
	err_wrap(&e, "%s %.*s", t->method, (int)strcspn(t->url, "?"), t->url);
	transfer_end(t, &e);
}

static void
collect(struct http_client *c)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(c->multi, &left))) {
		CURLcode code = m->data.result;
		CURL *easy = m->easy_handle;
		struct transfer *t = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
		(void)curl_multi_remove_handle(c->multi, easy);
		finish(t, code);
	}
}

static void
on_socket_ready(void *arg, uint32_t events)
{
	struct socket_watch *w = arg;
	struct http_client *c = w->client;
	int running, mask = 0;

	if (events & (EPOLLIN | EPOLLHUP))
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	(void)curl_multi_socket_action(c->multi, w->fd, mask, &running);
	collect(c);
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http_client *c = arg;
	struct socket_watch *w = socket_arg;
	uint32_t events;

	if (what == CURL_POLL_REMOVE) {
		if (w) {
			loop_watch_free(w->watch);
			free(w);
			(void)curl_multi_assign(c->multi, fd, NULL);
		}
		return 0;
	}
	events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (w) {
		loop_watch_set(w->watch, events);
		return 0;
	}
	w = xcalloc(1, sizeof(*w));
	w->client = c;
	w->fd = fd;
	w->watch = loop_watch_new(c->loop, fd, events, on_socket_ready, w);
	(void)curl_multi_assign(c->multi, fd, w);
	return 0;
}

static void
on_timer(void *arg)
{
	struct http_client *c = arg;
	int running;

	(void)curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(c);
}

static int
on_timeout_wanted(CURLM *multi, long timeout_ms, void *arg)
{
	struct http_client *c = arg;

	if (timeout_ms < 0)
		loop_timer_stop(c->timer);
	else
		loop_timer_set(c->timer, (uint32_t)timeout_ms);
	return 0;
}

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void
init_curl(void)
{
	(void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

int
http_client_new(struct loop *loop, struct http_client **ret, struct err *e)
{
	struct http_client *c;

	(void)pthread_once(&curl_once, init_curl);
	c = xcalloc(1, sizeof(*c));
	c->multi = curl_multi_init();
	if (!c->multi) {
		free(c);
		return err_set(e, ERR_INTERNAL, "cannot start libcurl");
	}
	c->loop = loop;
	c->timer = loop_timer_new(loop, on_timer, c);
	list_init(&c->transfers);
	list_init(&c->waiting);
	lock_init(&c->lock, LOCK_HTTP);
	atomic_init(&c->references, 1);
	(void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	(void)curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
	(void)curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	(void)curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	(void)curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
	*ret = c;
	return 0;
}

static void
cancel_all(struct list *transfers)
{
	struct err e = { 0 };

	err_set(&e, ERR_CANCELLED, "the client is closing");
	while (!list_is_empty(transfers)) {
		struct transfer *t = CONTAINER_OF(transfers->next, struct transfer, link);

		if (t->easy)
			(void)curl_multi_remove_handle(t->client->multi, t->easy);
		transfer_end(t, &e);
	}
}

/* Takes the transfers that threads left in `waiting`. */
static void
take_waiting(void *arg)
{
	struct http_client *c = arg;
	bool is_closing;

	do {
		struct transfer *t = NULL;

		lock_take(&c->lock);
		is_closing = c->is_closing;
		if (!list_is_empty(&c->waiting)) {
			t = CONTAINER_OF(c->waiting.next, struct transfer, link);
			list_remove(&t->link);
		}
		lock_release(&c->lock);
		if (!t)
			break;
		list_add_tail(&c->transfers, &t->link);
		set_up(t);
		(void)curl_multi_add_handle(c->multi, t->easy);
	} while (!is_closing);
	client_unref(c);
}

void
http_client_free(struct http_client *c)
{
	struct list waiting;

	if (!c)
		return;
	list_init(&waiting);
	lock_take(&c->lock);
	c->is_closing = true;
	while (!list_is_empty(&c->waiting)) {
		struct list *l = c->waiting.next;

		list_remove(l);
		list_add_tail(&waiting, l);
	}
	lock_release(&c->lock);
	cancel_all(&c->transfers);
	cancel_all(&waiting);
	(void)curl_multi_cleanup(c->multi);
	loop_timer_free(c->timer);
	client_unref(c);
}

void
http_send(struct http_client *c, const struct http_client_request *request,
    void (*done)(void *arg, struct http_client_reply *reply, const struct err *e), void *arg)
{
	struct transfer *t = transfer_new(c, request);

	t->done = done;
	t->arg = arg;
	atomic_fetch_add(&c->references, 1);
	lock_take(&c->lock);
	list_add_tail(&c->waiting, &t->link);
	lock_release(&c->lock);
	loop_post(c->loop, take_waiting, c);
}

/* -- blocking -- */

struct fetch {
	struct lock lock;
	pthread_cond_t condition;
	bool is_done;
	int r;
	struct http_client_reply *reply;
	struct err e;
};

static void
fetched(void *arg, struct http_client_reply *reply, const struct err *e)
{
	struct fetch *f = arg;
	LOCK_SCOPE(&f->lock);

	if (reply) {
		*f->reply = *reply;
		*reply = (struct http_client_reply){ 0 }; /* the bytes moved */
	} else {
		f->e = *e;
		f->r = e->code;
	}
	f->is_done = true;
	(void)pthread_cond_signal(&f->condition);
}

int
http_fetch(struct http_client *c, const struct http_client_request *request,
    struct http_client_reply *ret, struct err *e)
{
	struct http_client_reply reply = { 0 };
	struct fetch f = { .condition = PTHREAD_COND_INITIALIZER, .reply = &reply };

	assert(!loop_is_current(c->loop));
	lock_init(&f.lock, LOCK_LEAF);
	http_send(c, request, fetched, &f);
	lock_take(&f.lock);
	while (!f.is_done)
		(void)lock_wait(&f.lock, &f.condition, -1);
	lock_release(&f.lock);
	lock_done(&f.lock);
	(void)pthread_cond_destroy(&f.condition);
	if (f.r < 0) {
		if (e)
			*e = f.e;
		return f.r;
	}
	*ret = reply;
	return 0;
}

struct str
http_client_reply_find(const struct http_client_reply *r, const char *name)
{
	struct str rest = strbuf_str(&r->headers), line;
	size_t n = strlen(name);

	while (str_split(&rest, '\n', &line))
		if (line.n > n && line.p[n] == ':' &&
		    str_is_nocase((struct str){ line.p, n }, name)) {
			struct str value = { line.p + n + 1, line.n - n - 1 };

			if (value.n && value.p[value.n - 1] == '\r')
				value.n--;
			return str_trim(value);
		}
	return (struct str){ NULL, 0 };
}
