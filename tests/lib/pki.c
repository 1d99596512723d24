/* Certificates for tests, made with OpenSSL directly and not with the code under test. */
#include "tests/lib/pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			(void)fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #x);       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void
add_name(X509_NAME *name, const char *field, const char *value)
{
	if (value)
		MUST(X509_NAME_add_entry_by_txt(
		    name, field, MBSTRING_ASC, (const unsigned char *)value, -1, -1, 0));
}

static void
add_extension(X509 *c, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	MUST(extension && X509_add_ext(c, extension, -1));
	X509_EXTENSION_free(extension);
}

static EVP_PKEY *
new_key(const char *curve)
{
	if (curve && strcmp(curve, "RSA") == 0)
		return EVP_RSA_gen(2048);
	return EVP_EC_gen(curve ? curve : "P-256");
}

void
pki_issue(const struct pki *issuer, const struct pki_subject *subject, struct pki *ret)
{
	static int serial;
	X509 *c = X509_new();

	MUST(c && X509_set_version(c, 2));
	ret->key = new_key(subject->curve);
	MUST(ret->key && X509_set_pubkey(c, ret->key));
	MUST(ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial));
	MUST(ASN1_TIME_set(X509_getm_notBefore(c), (time_t)(subject->not_before_us / 1000000)));
	MUST(ASN1_TIME_set(X509_getm_notAfter(c), (time_t)(subject->not_after_us / 1000000)));
	add_name(X509_get_subject_name(c), "O", subject->organisation);
	add_name(X509_get_subject_name(c), "OU", subject->unit);
	add_name(X509_get_subject_name(c), "CN", subject->name);
	MUST(X509_set_issuer_name(
	    c, issuer ? X509_get_subject_name(issuer->certificate) : X509_get_subject_name(c)));
	add_extension(c, NID_basic_constraints, subject->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	add_extension(c, NID_key_usage,
	    subject->is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	MUST(X509_sign(c, issuer ? issuer->key : ret->key, EVP_sha256()));
	ret->certificate = c;
}

void
pki_write(const struct pki *p, const char *certificate_path, const char *key_path)
{
	FILE *f;

	if (certificate_path) {
		f = fopen(certificate_path, "w");
		MUST(f && PEM_write_X509(f, p->certificate) && fclose(f) == 0);
	}
	if (key_path) {
		f = fopen(key_path, "w");
		MUST(f && PEM_write_PrivateKey(f, p->key, NULL, NULL, 0, NULL, NULL) &&
		     fclose(f) == 0);
	}
}

void
pki_done(struct pki *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->certificate);
	*p = (struct pki){ 0 };
}
