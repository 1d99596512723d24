#pragma once
/* TLS by OpenSSL: contexts that can be reloaded under traffic, peer certificates, no renegotiation.
 */
#include <openssl/ssl.h>
#include <stdbool.h>
#include "base/err.h"

struct tls_context; /* counted; the SSL_CTX inside is swapped on reload */
struct tls_files {
	const char *certificate_path; /* PEM chain */
	const char *key_path;
	const char
	    *ca_path; /* peers must chain to it; NULL: peers are not asked for certificates */
};
enum tls_peer { TLS_PEER_NONE, TLS_PEER_OPTIONAL, TLS_PEER_REQUIRED };
/* Server context. min_version TLS1_2_VERSION for users, TLS1_3_VERSION between daemons.
 * ERR_INVALID names the file: missing, key does not match, certificate expired. */
int tls_server_new(const struct tls_files *files, enum tls_peer peer, int min_version,
    struct tls_context **ret, struct err *e);
int tls_reload(struct tls_context *c, struct err *e); /* the old one stays in use on failure */
struct tls_context *tls_ref(struct tls_context *c);
void tls_unref(struct tls_context *c);
SSL_CTX *tls_current(struct tls_context *c); /* a new reference: SSL_CTX_free it */
/* SHA-256 of the peer's DER certificate, lower-case hex; false when there is none. */
bool tls_peer_fingerprint(SSL *ssl, char out[65]);
