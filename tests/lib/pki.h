#pragma once
/* Certificates for tests: a CA and what it issues, as PEM files. Everything aborts on failure. */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

struct pki {
	EVP_PKEY *key;
	X509 *certificate;
};
struct pki_subject {
	const char *organisation, *unit, *name; /* NULL: left out */
	int64_t not_before_us, not_after_us;
	bool is_ca;
	const char *curve; /* NULL: P-256; "RSA": 2048 bits */
};
/* `issuer` NULL: signed by itself. */
void pki_issue(const struct pki *issuer, const struct pki_subject *subject, struct pki *ret);
void pki_write(
    const struct pki *p, const char *certificate_path, const char *key_path); /* either NULL */
void pki_done(struct pki *p);
