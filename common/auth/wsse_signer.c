/* Who may sign. A certificate is trusted when our CA signed it, its dates hold, it is no CA itself
 * and its subject names a role and a peer. Parsing and chain building cost more than the message's
 * own signature, so the outcome is cached by the SHA-256 of the certificate; only certificates that
 * passed enter the cache, and dates are compared at every use. */
#include "auth/wsse_signer.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <assert.h>
#include "auth/digest.h"
#include "base/map.h"
#include "run/lock.h"

struct wsse_signers {
	char *ca_path;
	struct lock lock; /* LEAF; guards all below */
	X509_STORE *store;
	struct map *signers; /* fingerprint -> struct wsse_signer */
};

static const char *const roles[] = { "clc", "cc", "sc", "nc", "walrus" };

bool
wsse_key_is_p256(const EVP_PKEY *key)
{
	char group[32];

	return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       strcmp(group, "prime256v1") == 0;
}

void
wsse_signer_done(struct wsse_signer *s)
{
	EVP_PKEY_free(s->key);
	s->key = NULL;
}

static void
free_signer(void *p)
{
	wsse_signer_done(p);
	free(p);
}

static void
store_freep(X509_STORE **store)
{
	X509_STORE_free(*store);
}

static void
certificate_freep(X509 **c)
{
	X509_free(*c);
}

static int
load_store(const char *path, X509_STORE **ret, struct err *e)
{
	_cleanup_(store_freep) X509_STORE *store = X509_STORE_new();

	if (!store)
		return err_set(e, ERR_INTERNAL, "no memory for a certificate store");
	if (X509_STORE_load_file(store, path) != 1) {
		ERR_clear_error();
		return err_set(e, ERR_INVALID, "no CA certificate in '%s'", path);
	}
	*ret = TAKE(store);
	return 0;
}

int
wsse_signers_new(const char *ca_path, struct wsse_signers **ret, struct err *e)
{
	X509_STORE *store = NULL;
	struct wsse_signers *s;
	int r;

	r = load_store(ca_path, &store, e);
	if (r < 0)
		return r;
	s = xcalloc(1, sizeof(*s));
	s->ca_path = xstrdup(ca_path);
	lock_init(&s->lock, LOCK_LEAF);
	s->store = store;
	s->signers = map_new(free_signer);
	*ret = s;
	return 0;
}

void
wsse_signers_free(struct wsse_signers *s)
{
	if (!s)
		return;
	map_free(s->signers);
	X509_STORE_free(s->store);
	lock_done(&s->lock);
	free(s->ca_path);
	free(s);
}

int
wsse_signers_reload(struct wsse_signers *s, struct err *e)
{
	_cleanup_(store_freep) X509_STORE *store = NULL;
	X509_STORE *old;
	int r;

	r = load_store(s->ca_path, &store, e);
	if (r < 0)
		return r;
	LOCK_SCOPE(&s->lock);
	old = s->store;
	s->store = TAKE(store);
	store = old;
	map_free(s->signers); /* whoever the old CA vouched for must be asked about again */
	s->signers = map_new(free_signer);
	return 0;
}

/* The only value of that kind in the subject, as plain ASCII. */
static bool
subject_field(const X509_NAME *subject, int nid, char *out, size_t size)
{
	int at = X509_NAME_get_index_by_NID(subject, nid, -1), n;
	const ASN1_STRING *value;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, nid, at) >= 0)
		return false;
	value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	n = ASN1_STRING_length(value);
	if (n <= 0 || (size_t)n >= size)
		return false;
	memcpy(out, ASN1_STRING_get0_data(value), (size_t)n);
	out[n] = '\0';
	for (int i = 0; i < n; i++)
		if (out[i] <= ' ' || out[i] > '~')
			return false;
	return true;
}

static bool
is_role(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		if (strcmp(text, roles[i]) == 0)
			return true;
	return false;
}

static int
read_subject(X509 *c, struct wsse_signer *ret, struct err *e)
{
	const X509_NAME *subject = X509_get_subject_name(c);
	char organisation[16];

	if (X509_NAME_entry_count(subject) != 3 ||
	    !subject_field(subject, NID_organizationName, organisation, sizeof(organisation)) ||
	    strcmp(organisation, "Mallee") != 0 ||
	    !subject_field(subject, NID_organizationalUnitName, ret->role, sizeof(ret->role)) ||
	    !subject_field(subject, NID_commonName, ret->subject, sizeof(ret->subject)))
		return err_set(e, ERR_AUTH_FAILURE, "the certificate's subject names no peer");
	if (!is_role(ret->role))
		return err_set(
		    e, ERR_AUTH_FAILURE, "the certificate's role '%s' is unknown", ret->role);
	return 0;
}

static int64_t
us_of(const ASN1_TIME *t)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm) * 1000000;
}

/* The chain's dates, so that a cached answer ends when any link of it does. */
static void
intersect_dates(STACK_OF(X509) * chain, struct wsse_signer *ret)
{
	ret->not_before_us = INT64_MIN;
	ret->not_after_us = INT64_MAX;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		int64_t from = us_of(X509_get0_notBefore(sk_X509_value(chain, i)));
		int64_t to = us_of(X509_get0_notAfter(sk_X509_value(chain, i)));

		ret->not_before_us = from > ret->not_before_us ? from : ret->not_before_us;
		ret->not_after_us = to < ret->not_after_us ? to : ret->not_after_us;
	}
}

static int
check_chain(X509_STORE *store, X509 *c, int64_t now_us, struct wsse_signer *ret, struct err *e)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int r = 0;

	if (!context || X509_STORE_CTX_init(context, store, c, NULL) != 1) {
		X509_STORE_CTX_free(context);
		return err_set(e, ERR_INTERNAL, "no memory for a certificate check");
	}
	X509_STORE_CTX_set_time(context, 0, (time_t)(now_us / 1000000));
	X509_STORE_CTX_set_depth(context, 0); /* the CA signs peers itself */
	if (X509_verify_cert(context) != 1)
		r = err_set(e, ERR_AUTH_FAILURE, "the certificate is not trusted: %s",
		    X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
	else
		intersect_dates(X509_STORE_CTX_get0_chain(context), ret);
	X509_STORE_CTX_free(context);
	ERR_clear_error();
	return r;
}

/* The certificate's DER must be the one encoding, whole: its hash is its name. */
static int
parse_certificate(const void *der, size_t n, X509 **ret, struct err *e)
{
	_cleanup_(certificate_freep) X509 *c = NULL;
	const unsigned char *p = der;
	unsigned char *again = NULL;
	int length;
	bool same;

	c = d2i_X509(NULL, &p, (long)n);
	length = c ? i2d_X509(c, &again) : -1;
	same = length > 0 && (size_t)length == n && memcmp(again, der, n) == 0;
	OPENSSL_free(again);
	ERR_clear_error();
	if (!same)
		return err_set(e, ERR_AUTH_FAILURE, "the token is no certificate");
	*ret = TAKE(c);
	return 0;
}

static int
check_certificate(X509_STORE *store, const void *der, size_t n, int64_t now_us,
    struct wsse_signer *ret, struct err *e)
{
	_cleanup_(certificate_freep) X509 *c = NULL;
	int r;

	r = parse_certificate(der, n, &c, e);
	if (r < 0)
		return r;
	r = check_chain(store, c, now_us, ret, e);
	if (r < 0)
		return r;
	if (X509_check_ca(c) != 0 || !(X509_get_key_usage(c) & KU_DIGITAL_SIGNATURE))
		return err_set(e, ERR_AUTH_FAILURE, "the certificate is not for signing messages");
	r = read_subject(c, ret, e);
	if (r < 0)
		return r;
	if (!wsse_key_is_p256(X509_get0_pubkey(c)))
		return err_set(e, ERR_AUTH_FAILURE, "the certificate's key is not ECDSA P-256");
	ret->key = X509_get_pubkey(c);
	return 0;
}

static void
copy_signer(const struct wsse_signer *from, struct wsse_signer *ret)
{
	*ret = *from;
	EVP_PKEY_up_ref(ret->key);
}

static void
remember_locked(struct wsse_signers *s, const struct wsse_signer *signer)
{
	struct wsse_signer *kept = xcalloc(1, sizeof(*kept));

	if (map_count(s->signers) >= WSSE_SIGNERS_MAX) {
		map_free(s->signers);
		s->signers = map_new(free_signer);
	}
	copy_signer(signer, kept);
	map_set(s->signers, signer->fingerprint, kept);
}

/* From the cache, or checked now. The check runs without the lock, on a reference to the store, and
 * counts only if no reload came between. */
static int
find_or_check(struct wsse_signers *s, struct str der, const char *fingerprint, int64_t now_us,
    struct wsse_signer *ret, struct err *e)
{
	_cleanup_(store_freep) X509_STORE *store = NULL;
	const struct wsse_signer *found;
	int r;

	lock_take(&s->lock);
	found = map_find(s->signers, fingerprint);
	if (found)
		copy_signer(found, ret);
	store = s->store;
	X509_STORE_up_ref(store);
	lock_release(&s->lock);
	if (found)
		return 0;
	r = check_certificate(store, der.p, der.n, now_us, ret, e);
	if (r < 0)
		return r;
	memcpy(ret->fingerprint, fingerprint, WSSE_FINGERPRINT_SIZE);
	LOCK_SCOPE(&s->lock);
	if (s->store == store)
		remember_locked(s, ret);
	return 0;
}

int
wsse_signers_get(struct wsse_signers *s, const char *token, int64_t now_us, struct wsse_signer *ret,
    struct err *e)
{
	_cleanup_(wsse_signer_done) struct wsse_signer signer = { 0 };
	_cleanup_free_ void *der = NULL;
	char fingerprint[WSSE_FINGERPRINT_SIZE];
	size_t n;
	int r;

	if (!base64_decode(str_of(token), &der, &n))
		return err_set(e, ERR_AUTH_FAILURE, "the token is not base64");
	digest_hex(DIGEST_SHA256, (struct str){ der, n }, fingerprint);
	r = find_or_check(s, (struct str){ der, n }, fingerprint, now_us, &signer, e);
	if (r < 0)
		return r;
	if (now_us < signer.not_before_us || now_us > signer.not_after_us)
		return err_set(e, ERR_AUTH_FAILURE, "the certificate of '%s' is not valid now",
		    signer.subject);
	*ret = signer;
	signer.key = NULL;
	return 0;
}

bool
wsse_signers_is_same_peer(struct wsse_signers *s, const char *fingerprint,
    const struct wsse_signer *signer, int64_t now_us)
{
	const struct wsse_signer *other;

	if (strcmp(fingerprint, signer->fingerprint) == 0)
		return true;
	LOCK_SCOPE(&s->lock);
	other = map_find(s->signers, fingerprint);
	return other && strcmp(other->subject, signer->subject) == 0 &&
	       strcmp(other->role, signer->role) == 0 && now_us <= other->not_after_us;
}
