/* Our own identity, and signing with it. The envelope comes in canonical form from wsse_envelope,
 * so a signature costs one ECDSA operation and eight small digests. XML Signature wants ECDSA
 * values as r and s side by side, 32 bytes each (RFC 4050 and XML Signature 1.1, 6.4.3), OpenSSL
 * gives DER. */
#include "auth/wsse.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include "auth/wsse_envelope.h"
#include "auth/wsse_signer.h"

static void
close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static int
load_certificate(const char *path, X509 **ret, struct err *e)
{
	_cleanup_(close_file) FILE *f = fopen(path, "re");

	if (!f)
		return err_set_errno(e, errno, "cannot open certificate '%s'", path);
	*ret = PEM_read_X509(f, NULL, NULL, NULL);
	ERR_clear_error();
	if (!*ret)
		return err_set(e, ERR_INVALID, "no certificate in '%s'", path);
	return 0;
}

static int
load_key(const char *path, EVP_PKEY **ret, struct err *e)
{
	_cleanup_(close_file) FILE *f = fopen(path, "re");

	if (!f)
		return err_set_errno(e, errno, "cannot open key '%s'", path);
	*ret = PEM_read_PrivateKey(f, NULL, NULL, (void *)"");
	ERR_clear_error();
	if (!*ret)
		return err_set(e, ERR_INVALID, "no private key in '%s'", path);
	if (!wsse_key_is_p256(*ret))
		return err_set(e, ERR_INVALID, "the key in '%s' is not ECDSA P-256", path);
	return 0;
}

int
wsse_identity_load(
    const char *certificate_path, const char *key_path, struct wsse_identity *ret, struct err *e)
{
	_cleanup_(wsse_identity_done) struct wsse_identity id = { 0 };
	unsigned char *der = NULL;
	int r, n;

	r = load_certificate(certificate_path, &id.certificate, e);
	if (r < 0)
		return r;
	r = load_key(key_path, &id.key, e);
	if (r < 0)
		return r;
	if (X509_check_private_key(id.certificate, id.key) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INVALID, "certificate '%s' does not belong to key '%s'",
		    certificate_path, key_path);
	}
	n = i2d_X509(id.certificate, &der);
	if (n <= 0)
		return err_set(
		    e, ERR_INVALID, "certificate '%s' cannot be encoded", certificate_path);
	id.certificate_base64 = base64_encode(der, (size_t)n);
	OPENSSL_free(der);
	*ret = id;
	id = (struct wsse_identity){ 0 };
	return 0;
}

void
wsse_identity_done(struct wsse_identity *id)
{
	EVP_PKEY_free(id->key);
	X509_free(id->certificate);
	free(id->certificate_base64);
	*id = (struct wsse_identity){ 0 };
}

static void
free_md_context(EVP_MD_CTX **c)
{
	EVP_MD_CTX_free(*c);
}

static void
free_signature(ECDSA_SIG **s)
{
	ECDSA_SIG_free(*s);
}

/* ECDSA over the text, r and s as 64 bytes. */
static int
sign(EVP_PKEY *key, struct str text, uint8_t out[64], struct err *e)
{
	_cleanup_(free_md_context) EVP_MD_CTX *c = EVP_MD_CTX_new();
	_cleanup_(free_signature) ECDSA_SIG *signature = NULL;
	unsigned char der[128];
	const unsigned char *p = der;
	size_t n = sizeof(der);

	if (!c || EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(c, der, &n, (const unsigned char *)text.p, text.n) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INTERNAL, "cannot sign a message");
	}
	signature = d2i_ECDSA_SIG(NULL, &p, (long)n);
	assert(signature);
	if (BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, 32) != 32 ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + 32, 32) != 32)
		return err_set(e, ERR_INTERNAL, "cannot sign a message");
	return 0;
}

int
wsse_write(const struct wsse_identity *id, const struct soap_addressing *addressing,
    struct str body_xml, int64_t now_us, struct strbuf *out, struct err *e)
{
	_cleanup_(envelope_done) struct envelope env = { .addressing = addressing,
		.token = id->certificate_base64 };
	_cleanup_free_ char *text = NULL;
	char created[TIME_TEXT_SIZE], expires[TIME_TEXT_SIZE];
	uint8_t signature[64];
	int r;

	assert(addressing->to && addressing->action && addressing->message_id);
	time_format_iso(now_us, created);
	time_format_iso(now_us + WSSE_VALIDITY_S * INT64_C(1000000), expires);
	env.created = created;
	env.expires = expires;
	envelope_wrap_body(&env, body_xml);
	envelope_compose(&env);
	r = sign(id->key, envelope_span_str(&env, env.signed_info), signature, e);
	if (r < 0)
		return r;
	text = base64_encode(signature, sizeof(signature));
	env.signature = text;
	envelope_assemble(&env, out);
	return 0;
}
