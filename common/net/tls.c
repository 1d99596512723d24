/* TLS contexts. A reload builds a whole new SSL_CTX from the files and swaps it in; connections
 * keep the one they began with. No tickets and no session cache: a resumed session would carry a
 * peer's certificate past its revocation or renewal. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <time.h>
#include "base/str.h"
#include "run/lock.h"

struct tls_context {
	atomic_uint references;
	struct lock lock;
	SSL_CTX *ctx; /* under lock */
	char *certificate_path, *key_path, *ca_path;
	enum tls_peer peer;
	int min_version;
};

static int
tls_fail(struct err *e, const char *what, const char *path)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	int r = err_set(e, ERR_INVALID, "%s '%s': %s", what, path, reason ? reason : "unusable");

	ERR_clear_error();
	return r;
}

static int
check_validity(SSL_CTX *ctx, const char *path, struct err *e)
{
	X509 *certificate = SSL_CTX_get0_certificate(ctx);

	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)
		return err_set(e, ERR_INVALID, "certificate '%s': expired", path);
	return 0;
}

static int
require_peers(SSL_CTX *ctx, const struct tls_context *c, struct err *e)
{
	STACK_OF(X509_NAME) * names;
	int mode = SSL_VERIFY_PEER;

	if (SSL_CTX_load_verify_file(ctx, c->ca_path) != 1)
		return tls_fail(e, "cannot load CA certificates", c->ca_path);
	names = SSL_load_client_CA_file(c->ca_path);
	if (!names)
		return tls_fail(e, "cannot load CA certificates", c->ca_path);
	SSL_CTX_set_client_CA_list(ctx, names);
	if (c->peer == TLS_PEER_REQUIRED)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(ctx, mode, NULL);
	return 0;
}

static void
ssl_ctx_freep(SSL_CTX **ctx)
{
	SSL_CTX_free(*ctx);
}

static int
build(const struct tls_context *c, SSL_CTX **ret, struct err *e)
{
	_cleanup_(ssl_ctx_freep) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int r;

	ERR_clear_error();
	if (!ctx || SSL_CTX_set_min_proto_version(ctx, c->min_version) != 1)
		return err_set(e, ERR_INTERNAL, "cannot make a TLS context");
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
				     SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (SSL_CTX_use_certificate_chain_file(ctx, c->certificate_path) != 1)
		return tls_fail(e, "cannot load certificate", c->certificate_path);
	r = check_validity(ctx, c->certificate_path, e);
	if (r < 0)
		return r;
	if (SSL_CTX_use_PrivateKey_file(ctx, c->key_path, SSL_FILETYPE_PEM) != 1)
		return tls_fail(e, "cannot load key", c->key_path);
	if (SSL_CTX_check_private_key(ctx) != 1)
		return tls_fail(e, "key does not match the certificate", c->key_path);
	if (c->peer != TLS_PEER_NONE) {
		r = require_peers(ctx, c, e);
		if (r < 0)
			return r;
	}
	*ret = TAKE(ctx);
	return 0;
}

int
tls_server_new(const struct tls_files *files, enum tls_peer peer, int min_version,
    struct tls_context **ret, struct err *e)
{
	struct tls_context *c;
	int r;

	if (!files->certificate_path || !files->key_path)
		return err_set(e, ERR_INVALID, "TLS needs a certificate and a key");
	c = xcalloc(1, sizeof(*c));
	atomic_init(&c->references, 1);
	lock_init(&c->lock, LOCK_LEAF);
	c->certificate_path = xstrdup(files->certificate_path);
	c->key_path = xstrdup(files->key_path);
	c->ca_path = files->ca_path ? xstrdup(files->ca_path) : NULL;
	c->peer = files->ca_path ? peer : TLS_PEER_NONE;
	c->min_version = min_version;
	r = build(c, &c->ctx, e);
	if (r < 0) {
		tls_unref(c);
		return r;
	}
	*ret = c;
	return 0;
}

int
tls_reload(struct tls_context *c, struct err *e)
{
	SSL_CTX *fresh = NULL, *old;
	int r = build(c, &fresh, e);

	if (r < 0)
		return r;
	lock_take(&c->lock);
	old = c->ctx;
	c->ctx = fresh;
	lock_release(&c->lock);
	SSL_CTX_free(old);
	return 0;
}

struct tls_context *
tls_ref(struct tls_context *c)
{
	atomic_fetch_add(&c->references, 1);
	return c;
}

void
tls_unref(struct tls_context *c)
{
	if (!c || atomic_fetch_sub(&c->references, 1) > 1)
		return;
	SSL_CTX_free(c->ctx);
	lock_done(&c->lock);
	free(c->certificate_path);
	free(c->key_path);
	free(c->ca_path);
	free(c);
}

SSL_CTX *
tls_current(struct tls_context *c)
{
	LOCK_SCOPE(&c->lock);

	SSL_CTX_up_ref(c->ctx);
	return c->ctx;
}

bool
tls_peer_fingerprint(SSL *ssl, char out[65])
{
	X509 *peer = SSL_get0_peer_certificate(ssl);
	unsigned char digest[32];
	unsigned n = sizeof(digest);

	if (!peer || X509_digest(peer, EVP_sha256(), digest, &n) != 1)
		return false;
	hex_encode(digest, n, out);
	return true;
}
