/* Keys, certificate requests and the CA that signs them, by OpenSSL 3. Every key is ECDSA P-256. A
 * request contributes nothing but its public key and the proof of holding the private one: names,
 * dates and extensions are the signer's. */
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include "base/clock.h"
#include "base/id.h"
#include "net/url.h"
#include "rpc/trust.h"
#include "rpc/trust_internal.h"
#include "run/fs.h"

#define CA_DAYS (20 * 365)
#define BACKDATE_US (5 * 60 * INT64_C(1000000)) /* the other host's clock may be behind */
#define DAY_US (24 * 3600 * INT64_C(1000000))
#define PEM_MAX (16 * 1024)

void
trust_key_free(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

void
trust_certificate_free(X509 **certificate)
{
	X509_free(*certificate);
}

void
trust_request_free(X509_REQ **request)
{
	X509_REQ_free(*request);
}

static void
free_bio(BIO **b)
{
	BIO_free(*b);
}

int
trust_openssl_failed(struct err *e, const char *what)
{
	char reason[160];

	ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
	ERR_clear_error();
	return err_set(e, ERR_INTERNAL, "cannot %s: %s", what, reason);
}

char *
trust_path(const char *state_dir, const char *file)
{
	return xasprintf("%s/trust/%s", state_dir, file);
}

int64_t
trust_time_us(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) * 1000000 : 0;
}

/* -- PEM -- */

static int
bio_to_strbuf(BIO *b, struct strbuf *out)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	strbuf_add(out, p, (size_t)n);
	return 0;
}

int
trust_certificate_to_pem(X509 *certificate, struct strbuf *out, struct err *e)
{
	_cleanup_(free_bio) BIO *b = BIO_new(BIO_s_mem());

	if (!b || PEM_write_bio_X509(b, certificate) != 1)
		return trust_openssl_failed(e, "encode a certificate");
	return bio_to_strbuf(b, out);
}

static int
key_to_pem(EVP_PKEY *key, struct strbuf *out, struct err *e)
{
	_cleanup_(free_bio) BIO *b = BIO_new(BIO_s_secmem());

	if (!b || PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) != 1)
		return trust_openssl_failed(e, "encode a key");
	return bio_to_strbuf(b, out);
}

X509 *
trust_certificate_from_pem(const char *pem)
{
	_cleanup_(free_bio) BIO *b = BIO_new_mem_buf(pem, -1);
	X509 *certificate = b ? PEM_read_bio_X509(b, NULL, NULL, (void *)"") : NULL;

	ERR_clear_error();
	return certificate;
}

int
trust_read_certificate(const char *path, X509 **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	int r = fs_read(path, PEM_MAX, &pem, e);

	if (r < 0)
		return r;
	*ret = trust_certificate_from_pem(strbuf_c(&pem));
	return *ret ? 0 : err_set(e, ERR_INVALID, "'%s' holds no certificate", path);
}

int
trust_read_key(const char *path, EVP_PKEY **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	_cleanup_(free_bio) BIO *b = NULL;
	int r = fs_read(path, PEM_MAX, &pem, e);

	if (r < 0)
		return r;
	b = BIO_new_mem_buf(strbuf_c(&pem), -1);
	*ret = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)"") : NULL;
	OPENSSL_cleanse(pem.p, pem.n);
	ERR_clear_error();
	return *ret ? 0 : err_set(e, ERR_INVALID, "'%s' holds no key", path);
}

bool
trust_fingerprint_of(X509 *certificate, char out[65])
{
	unsigned char sha256[32];
	unsigned n = 0;

	if (X509_digest(certificate, EVP_sha256(), sha256, &n) != 1 || n != sizeof(sha256))
		return false;
	hex_encode(sha256, sizeof(sha256), out);
	return true;
}

bool
trust_ca_fingerprint(const char *ca_path, char out[65])
{
	_cleanup_(trust_certificate_free) X509 *certificate = NULL;

	return trust_read_certificate(ca_path, &certificate, NULL) == 0 &&
	       trust_fingerprint_of(certificate, out);
}

/* -- keys and requests -- */

int
trust_key_create(const char *key_path, struct err *e)
{
	_cleanup_(trust_key_free) EVP_PKEY *key = EVP_EC_gen("P-256");
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	int r;

	if (!key)
		return trust_openssl_failed(e, "make a key");
	r = key_to_pem(key, &pem, e);
	if (r == 0)
		r = fs_write_atomic(key_path, strbuf_str(&pem), 0600, e);
	if (pem.p)
		OPENSSL_cleanse(pem.p, pem.n);
	return r;
}

int
trust_csr(const char *key_path, struct strbuf *ret_pem, struct err *e)
{
	_cleanup_(trust_key_free) EVP_PKEY *key = NULL;
	_cleanup_(trust_request_free) X509_REQ *request = X509_REQ_new();
	_cleanup_(free_bio) BIO *b = BIO_new(BIO_s_mem());
	int r = trust_read_key(key_path, &key, e);

	if (r < 0)
		return r;
	if (!request || !b || X509_REQ_set_version(request, X509_REQ_VERSION_1) != 1 ||
	    X509_REQ_set_pubkey(request, key) != 1 ||
	    X509_REQ_sign(request, key, EVP_sha256()) <= 0 ||
	    PEM_write_bio_X509_REQ(b, request) != 1)
		return trust_openssl_failed(e, "make a certificate request");
	return bio_to_strbuf(b, ret_pem);
}

static bool
is_p256(EVP_PKEY *key)
{
	char group[32];
	size_t n = 0;

	return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
	       (strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0);
}

static int
read_request(const char *csr_pem, X509_REQ **ret, struct err *e)
{
	_cleanup_(free_bio) BIO *b = BIO_new_mem_buf(csr_pem, -1);
	_cleanup_(trust_request_free) X509_REQ *request =
	    b ? PEM_read_bio_X509_REQ(b, NULL, NULL, (void *)"") : NULL;
	EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;

	ERR_clear_error();
	if (!request)
		return err_set(e, ERR_INVALID, "the certificate request cannot be read");
	if (!key || !is_p256(key))
		return err_set(e, ERR_INVALID, "the certificate request's key is not ECDSA P-256");
	if (X509_REQ_verify(request, key) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INVALID, "the certificate request's signature is wrong");
	}
	*ret = TAKE(request);
	return 0;
}

/* -- certificates -- */

static bool
add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;
	bool ok;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ok = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

static bool
add_name(X509_NAME *name, const char *field, const char *value)
{
	return X509_NAME_add_entry_by_txt(
		   name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0) == 1;
}

static bool
set_serial(X509 *certificate)
{
	unsigned char bytes[16];
	BIGNUM *n;
	bool ok;

	random_bytes(bytes, sizeof(bytes));
	bytes[0] &= 0x7f;
	bytes[0] |= 0x40; /* positive, always 16 bytes */
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(certificate));
	BN_free(n);
	return ok;
}

static bool
set_dates(X509 *certificate, int64_t not_before_us, int64_t not_after_us)
{
	return ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)(not_before_us / 1000000)) &&
	       ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)(not_after_us / 1000000));
}

static bool
fill_ca(X509 *c, EVP_PKEY *key, const char *name)
{
	int64_t now = clock_now_us();
	X509_NAME *subject = X509_get_subject_name(c);

	return X509_set_version(c, X509_VERSION_3) == 1 && set_serial(c) &&
	       set_dates(c, now - BACKDATE_US, now + CA_DAYS * DAY_US) &&
	       add_name(subject, "O", "Mallee") && add_name(subject, "CN", name) &&
	       X509_set_issuer_name(c, subject) == 1 && X509_set_pubkey(c, key) == 1 &&
	       add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	       add_extension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	       add_extension(c, c, NID_subject_key_identifier, "hash") &&
	       X509_sign(c, key, EVP_sha256()) > 0;
}

int
trust_ca_create(const char *directory, const char *name, struct err *e)
{
	_cleanup_free_ char *key_path = xasprintf("%s/ca.key", directory);
	_cleanup_free_ char *ca_path = xasprintf("%s/ca.pem", directory);
	_cleanup_(trust_key_free) EVP_PKEY *key = NULL;
	_cleanup_(trust_certificate_free) X509 *c = X509_new();
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	int r;

	if (fs_exists(ca_path))
		return err_set(e, ERR_EXISTS, "there is already a CA in '%s'", directory);
	r = fs_mkdir_p(directory, 0700, e);
	if (r == 0)
		r = trust_key_create(key_path, e);
	if (r == 0)
		r = trust_read_key(key_path, &key, e);
	if (r < 0)
		return r;
	if (!c || !fill_ca(c, key, name))
		return trust_openssl_failed(e, "make a CA certificate");
	r = trust_certificate_to_pem(c, &pem, e);
	return r < 0 ? r : fs_write_atomic(ca_path, strbuf_str(&pem), 0644, e);
}

int
trust_ca_load(const char *directory, struct trust_ca *ret, struct err *e)
{
	_cleanup_free_ char *key_path = xasprintf("%s/ca.key", directory);
	_cleanup_free_ char *ca_path = xasprintf("%s/ca.pem", directory);
	_cleanup_(trust_ca_done) struct trust_ca ca = { 0 };
	int r;

	r = trust_read_key(key_path, &ca.key, e);
	if (r == 0)
		r = trust_read_certificate(ca_path, &ca.certificate, e);
	if (r < 0)
		return r;
	if (X509_check_private_key(ca.certificate, ca.key) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INVALID, "'%s' does not belong to '%s'", key_path, ca_path);
	}
	*ret = ca;
	ca = (struct trust_ca){ 0 };
	return 0;
}

void
trust_ca_done(struct trust_ca *ca)
{
	EVP_PKEY_free(ca->key);
	X509_free(ca->certificate);
	*ca = (struct trust_ca){ 0 };
}

static bool
is_name(const char *s, size_t max)
{
	size_t n = strlen(s);

	return n > 0 && n <= max && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

/* As OpenSSL's configuration files write alternative names. A host that is no name is left out. */
static char *
names_of(const struct trust_subject *s)
{
	_cleanup_free_ char *own =
	    xasprintf("DNS:%s,DNS:%s.%s.mallee.internal", s->peer_id, s->peer_id, s->role);
	unsigned char address[sizeof(struct in6_addr)];
	struct url url;
	struct err ignored;
	size_t n;

	if (!s->url || url_parse(s->url, &url, &ignored) < 0)
		return TAKE(own);
	if (inet_pton(AF_INET, url.host, address) == 1 ||
	    inet_pton(AF_INET6, url.host, address) == 1)
		return xasprintf("%s,IP:%s", own, url.host);
	n = strspn(url.host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");
	return n > 0 && !url.host[n] ? xasprintf("%s,DNS:%s", own, url.host) : TAKE(own);
}

static bool
fill_peer(X509 *c, const struct trust_ca *ca, EVP_PKEY *key, const struct trust_subject *s,
    int64_t not_before_us, int64_t not_after_us)
{
	_cleanup_free_ char *names = names_of(s);
	X509_NAME *subject = X509_get_subject_name(c);

	return X509_set_version(c, X509_VERSION_3) == 1 && set_serial(c) &&
	       set_dates(c, not_before_us, not_after_us) && add_name(subject, "O", "Mallee") &&
	       add_name(subject, "OU", s->role) && add_name(subject, "CN", s->peer_id) &&
	       X509_set_issuer_name(c, X509_get_subject_name(ca->certificate)) == 1 &&
	       X509_set_pubkey(c, key) == 1 &&
	       add_extension(c, ca->certificate, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(c, ca->certificate, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(c, ca->certificate, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       add_extension(c, ca->certificate, NID_subject_alt_name, names) &&
	       add_extension(c, ca->certificate, NID_subject_key_identifier, "hash") &&
	       add_extension(c, ca->certificate, NID_authority_key_identifier, "keyid:always") &&
	       X509_sign(c, ca->key, EVP_sha256()) > 0;
}

int
trust_sign_dates(const struct trust_ca *ca, const char *csr_pem, const struct trust_subject *s,
    int64_t not_before_us, int64_t not_after_us, struct strbuf *ret_pem, struct err *e)
{
	_cleanup_(trust_request_free) X509_REQ *request = NULL;
	_cleanup_(trust_certificate_free) X509 *c = X509_new();
	int r;

	if (!is_name(s->peer_id, 40) || !is_name(s->role, 15))
		return err_set(
		    e, ERR_INVALID, "no peer id or role: '%.64s', '%.64s'", s->peer_id, s->role);
	r = read_request(csr_pem, &request, e);
	if (r < 0)
		return r;
	if (!c || !fill_peer(c, ca, X509_REQ_get0_pubkey(request), s, not_before_us, not_after_us))
		return trust_openssl_failed(e, "make a certificate");
	return trust_certificate_to_pem(c, ret_pem, e);
}

int
trust_sign(const struct trust_ca *ca, const char *csr_pem, const struct trust_subject *subject,
    unsigned days, struct strbuf *ret_pem, struct err *e)
{
	int64_t now = clock_now_us();

	return trust_sign_dates(
	    ca, csr_pem, subject, now - BACKDATE_US, now + days * DAY_US, ret_pem, e);
}
