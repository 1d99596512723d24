#pragma once
/* OpenSSL objects tied to scopes, PEM both ways: for the files of trust. */
#include <openssl/x509.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"

void trust_key_free(EVP_PKEY **key);
void trust_certificate_free(X509 **certificate);
void trust_request_free(X509_REQ **request);

/* "cannot WHAT: reason of OpenSSL" */
int trust_openssl_failed(struct err *e, const char *what);
int trust_read_certificate(const char *path, X509 **ret, struct err *e);
int trust_read_key(const char *path, EVP_PKEY **ret, struct err *e);
X509 *trust_certificate_from_pem(const char *pem); /* NULL: none */
int trust_certificate_to_pem(X509 *certificate, struct strbuf *out, struct err *e);
bool trust_fingerprint_of(X509 *certificate, char out[65]);
int64_t trust_time_us(const ASN1_TIME *t);
char *trust_path(const char *state_dir, const char *file); /* heap: <state_dir>/trust/<file> */
/* That an answer of the CLC is for us: role, key, CA. */
struct trust_joined;
int trust_check_joined(const struct trust_joined *joined, const char *role,
    const char *ca_fingerprint, const char *key_path, struct err *e);
