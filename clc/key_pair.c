/* Key pairs. A created private key is shown once and never stored. Fingerprints as EC2 has them:
 * SHA-1 of the DER private key (created RSA), MD5 of the DER public key (imported RSA), SHA-256 in
 * base64 for ED25519. Public keys are kept as OpenSSH lines. RFC 4253 (wire format), RFC 4716 and
 * openssh-key-v1. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "auth/digest.h"
#include "base/clock.h"
#include "base/vec.h"

#include "filter.h"
#include "named.h"
#include "quota.h"
#include "request.h"
#include "tags.h"

#define NAME_MAX_LENGTH 255
#define RSA_BITS 2048
#define RSA_BITS_MIN 1024
#define RSA_BITS_MAX 16384
#define ED25519_SIZE 32

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(BIGNUM *, BN_free)
DEFINE_CLEANUP(BIO *, BIO_free_all)

struct key_pair {
	struct request *rq;
	char id[ID_MAX];
	const char *name, *type, *fingerprint, *public_key;
	const struct tag *tags;
	size_t tag_count;
};

/* -- the SSH wire format -- */

static void
put_bytes(struct strbuf *out, const void *p, size_t n)
{
	uint8_t length[4] = { n >> 24, n >> 16, n >> 8, n };

	strbuf_add(out, length, sizeof(length));
	strbuf_add(out, p, n);
}

static void
put_number(struct strbuf *out, const BIGNUM *number)
{
	size_t n = BN_num_bytes(number);
	_cleanup_free_ uint8_t *p = xcalloc(1, n + 1);

	BN_bn2bin(number, p + 1);
	/* Two's complement: a leading zero keeps it positive. */
	if (n && p[1] & 0x80)
		put_bytes(out, p, n + 1);
	else
		put_bytes(out, p + 1, n);
}

static bool
get_bytes(struct str *in, struct str *ret)
{
	const uint8_t *p = (const uint8_t *)in->p;
	size_t n;

	if (in->n < 4)
		return false;
	n = (size_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
	if (n > in->n - 4)
		return false;
	*ret = (struct str){ in->p + 4, n };
	*in = (struct str){ in->p + 4 + n, in->n - 4 - n };
	return true;
}

static void
ssh_blob(EVP_PKEY *key, bool is_rsa, struct strbuf *out)
{
	if (is_rsa) {
		_cleanup_(BN_freep) BIGNUM *n = NULL, *exponent = NULL;

		EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n);
		EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent);
		put_bytes(out, "ssh-rsa", 7);
		put_number(out, exponent);
		put_number(out, n);
	} else {
		uint8_t raw[ED25519_SIZE];
		size_t n = sizeof(raw);

		EVP_PKEY_get_raw_public_key(key, raw, &n);
		put_bytes(out, "ssh-ed25519", 11);
		put_bytes(out, raw, n);
	}
}

static char *
ssh_line(EVP_PKEY *key, bool is_rsa, const char *comment, struct arena *arena)
{
	_cleanup_strbuf_ struct strbuf blob = STRBUF_INIT;
	_cleanup_free_ char *coded = NULL;

	ssh_blob(key, is_rsa, &blob);
	coded = base64_encode(blob.p, blob.n);
	return arena_printf(arena, "%s %s %s", is_rsa ? "ssh-rsa" : "ssh-ed25519", coded, comment);
}

/* -- fingerprints -- */

static char *
colons(const uint8_t *p, size_t n, struct arena *arena)
{
	char *text = arena_alloc(arena, n * 3);

	for (size_t i = 0; i < n; i++)
		snprintf(text + i * 3, 4, i + 1 < n ? "%02x:" : "%02x", p[i]);
	return text;
}

static char *
fingerprint_of(EVP_PKEY *key, bool is_rsa, bool is_imported, struct arena *arena)
{
	uint8_t hash[64], *der = NULL;
	char *text;
	int n;

	if (!is_rsa) {
		_cleanup_strbuf_ struct strbuf blob = STRBUF_INIT;
		_cleanup_free_ char *coded = NULL;

		ssh_blob(key, false, &blob);
		digest(DIGEST_SHA256, strbuf_str(&blob), hash);
		coded = base64_encode(hash, digest_size(DIGEST_SHA256));
		return arena_strdup(arena, coded);
	}
	if (is_imported) {
		n = i2d_PUBKEY(key, &der);
		digest(DIGEST_MD5, (struct str){ (char *)der, n }, hash);
		text = colons(hash, digest_size(DIGEST_MD5), arena);
	} else {
		PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);

		n = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
		digest(DIGEST_SHA1, (struct str){ (char *)der, n }, hash);
		text = colons(hash, digest_size(DIGEST_SHA1), arena);
		PKCS8_PRIV_KEY_INFO_free(info);
	}
	OPENSSL_free(der);
	return text;
}

/* -- private keys as clients save them -- */

static char *
rsa_pem(EVP_PKEY *key, struct arena *arena)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long n;

	PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &p);
	return arena_str(arena, (struct str){ p, n });
}

/* "openssh-key-v1": OpenSSL has no writer for it (OpenSSH, PROTOCOL.key). */
static char *
ed25519_pem(EVP_PKEY *key, const char *comment, struct arena *arena)
{
	_cleanup_strbuf_ struct strbuf public = STRBUF_INIT, private = STRBUF_INIT,
				       all = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint8_t seed_and_public[2 * ED25519_SIZE], check[4], one[4] = { 0, 0, 0, 1 };
	_cleanup_free_ char *coded = NULL;
	size_t n = ED25519_SIZE;

	EVP_PKEY_get_raw_private_key(key, seed_and_public, &n);
	n = ED25519_SIZE;
	EVP_PKEY_get_raw_public_key(key, seed_and_public + ED25519_SIZE, &n);
	ssh_blob(key, false, &public);
	random_bytes(check, sizeof(check));
	strbuf_add(&private, check, sizeof(check));
	strbuf_add(&private, check, sizeof(check));
	strbuf_addstr(&private, strbuf_str(&public));
	put_bytes(&private, seed_and_public, sizeof(seed_and_public));
	put_bytes(&private, comment, strlen(comment));
	for (char pad = 1; private.n % 8; pad++)
		strbuf_addc(&private, pad);

	strbuf_add(&all, "openssh-key-v1", 15); /* with its NUL */
	put_bytes(&all, "none", 4);             /* cipher */
	put_bytes(&all, "none", 4);             /* key derivation */
	put_bytes(&all, "", 0);
	strbuf_add(&all, one, sizeof(one));
	put_bytes(&all, public.p, public.n);
	put_bytes(&all, private.p, private.n);

	coded = base64_encode(all.p, all.n);
	strbuf_adds(&text, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
	for (size_t i = 0; i < strlen(coded); i += 70)
		strbuf_addf(&text, "%.70s\n", coded + i);
	strbuf_adds(&text, "-----END OPENSSH PRIVATE KEY-----\n");
	OPENSSL_cleanse(seed_and_public, sizeof(seed_and_public));
	return arena_strdup(arena, strbuf_c(&text));
}

/* PuTTY's file, in its version 2 that all PuTTYs read: PuTTY's manual, appendix C. */

static void
put_lines(struct strbuf *out, const char *name, const struct strbuf *blob)
{
	_cleanup_free_ char *coded = base64_encode(blob->p, blob->n);
	size_t n = strlen(coded);

	strbuf_addf(out, "%s-Lines: %zu\r\n", name, (n + 63) / 64);
	for (size_t i = 0; i < n; i += 64)
		strbuf_addf(out, "%.64s\r\n", coded + i);
}

static void
put_parameter(struct strbuf *out, EVP_PKEY *key, const char *name)
{
	_cleanup_(BN_freep) BIGNUM *number = NULL;

	EVP_PKEY_get_bn_param(key, name, &number);
	put_number(out, number);
	BN_clear(number);
}

static void
ppk_private_blob(EVP_PKEY *key, bool is_rsa, struct strbuf *out)
{
	uint8_t seed[ED25519_SIZE];
	size_t n = sizeof(seed);

	if (is_rsa) {
		put_parameter(out, key, OSSL_PKEY_PARAM_RSA_D);
		put_parameter(out, key, OSSL_PKEY_PARAM_RSA_FACTOR1);
		put_parameter(out, key, OSSL_PKEY_PARAM_RSA_FACTOR2);
		put_parameter(out, key, OSSL_PKEY_PARAM_RSA_COEFFICIENT1);
		return;
	}
	EVP_PKEY_get_raw_private_key(key, seed, &n);
	while (n && seed[n - 1] == 0) /* a number whose lowest byte comes first */
		n--;
	put_bytes(out, seed, n);
	OPENSSL_cleanse(seed, sizeof(seed));
}

static char *
ppk(EVP_PKEY *key, bool is_rsa, const char *comment, struct arena *arena)
{
	static const char mac_seed[] = "putty-private-key-file-mac-key";
	const char *algorithm = is_rsa ? "ssh-rsa" : "ssh-ed25519";
	_cleanup_strbuf_ struct strbuf public = STRBUF_INIT, private = STRBUF_INIT,
				       signed_text = STRBUF_INIT, text = STRBUF_INIT;
	uint8_t mac_key[32], mac[32];
	char hex[65];

	ssh_blob(key, is_rsa, &public);
	ppk_private_blob(key, is_rsa, &private);
	put_bytes(&signed_text, algorithm, strlen(algorithm));
	put_bytes(&signed_text, "none", 4);
	put_bytes(&signed_text, comment, strlen(comment));
	put_bytes(&signed_text, public.p, public.n);
	put_bytes(&signed_text, private.p, private.n);
	digest(DIGEST_SHA1, str_of(mac_seed), mac_key);
	hmac(DIGEST_SHA1, (struct str){ (char *)mac_key, digest_size(DIGEST_SHA1) },
	    strbuf_str(&signed_text), mac);
	hex_encode(mac, digest_size(DIGEST_SHA1), hex);

	strbuf_addf(&text, "PuTTY-User-Key-File-2: %s\r\nEncryption: none\r\nComment: %s\r\n",
	    algorithm, comment);
	put_lines(&text, "Public", &public);
	put_lines(&text, "Private", &private);
	strbuf_addf(&text, "Private-MAC: %s\r\n", hex);
	return arena_strdup(arena, strbuf_c(&text));
}

static char *
private_file(EVP_PKEY *key, bool is_rsa, bool is_ppk, const char *comment, struct arena *arena)
{
	if (is_ppk)
		return ppk(key, is_rsa, comment, arena);
	return is_rsa ? rsa_pem(key, arena) : ed25519_pem(key, comment, arena);
}

/* -- reading public keys -- */

static EVP_PKEY *
rsa_from_numbers(struct str exponent, struct str modulus)
{
	BIGNUM *n = BN_bin2bn((const uint8_t *)modulus.p, modulus.n, NULL);
	BIGNUM *x = BN_bin2bn((const uint8_t *)exponent.p, exponent.n, NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n);
	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, x);
	params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_fromdata_init(context);
	EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(context);
	BN_free(n);
	BN_free(x);
	return key;
}

static EVP_PKEY *
key_from_blob(struct str blob, bool *ret_is_rsa)
{
	struct str type, a, b;

	if (!get_bytes(&blob, &type))
		return NULL;
	if (str_is(type, "ssh-rsa") && get_bytes(&blob, &a) && get_bytes(&blob, &b) &&
	    blob.n == 0 && a.n && a.n <= 8 && b.n >= 128 && b.n <= 2049) {
		*ret_is_rsa = true;
		return rsa_from_numbers(a, b);
	}
	if (str_is(type, "ssh-ed25519") && get_bytes(&blob, &a) && blob.n == 0 &&
	    a.n == ED25519_SIZE) {
		*ret_is_rsa = false;
		return EVP_PKEY_new_raw_public_key(
		    EVP_PKEY_ED25519, NULL, (const uint8_t *)a.p, a.n);
	}
	return NULL;
}

/* Takes the key over; NULL for a kind or size that is no login key. */
static EVP_PKEY *
accept_key(EVP_PKEY *key, bool *ret_is_rsa)
{
	int type = key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
	int bits = key ? EVP_PKEY_get_bits(key) : 0;

	*ret_is_rsa = type == EVP_PKEY_RSA;
	if (type == EVP_PKEY_ED25519 ||
	    (*ret_is_rsa && bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX))
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

/* SubjectPublicKeyInfo, and nothing behind it */
static EVP_PKEY *
key_from_der(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)n);

	if (key && p != (const uint8_t *)bytes + n) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error(); /* not being DER is no error here */
	return key;
}

/* An OpenSSH line, an RFC 4716 block, a PEM public key, DER, or the base64 of a DER or SSH blob. */
static EVP_PKEY *
read_public_key(struct str text, bool *ret_is_rsa)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
	_cleanup_strbuf_ struct strbuf coded = STRBUF_INIT;
	_cleanup_free_ void *bytes = NULL;
	struct str rest = text, line, word;
	EVP_PKEY *key;
	size_t n;

	key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	ERR_clear_error(); /* nor is not being PEM */
	if (!key)
		key = key_from_der(text.p, text.n);
	if (key)
		return accept_key(key, ret_is_rsa);
	if (str_starts(text, "ssh-")) {
		(void)str_split(&rest, ' ', &word);
		(void)str_split(&rest, ' ', &word);
		(void)str_split(&word, '\n', &line);
		strbuf_addstr(&coded, line);
	} else {
		while (str_split(&rest, '\n', &line))
			if (!str_starts(line, "---") && !memchr(line.p, ':', line.n))
				strbuf_addstr(&coded, line);
	}
	if (!base64_decode(strbuf_str(&coded), &bytes, &n))
		return NULL;
	key = key_from_blob((struct str){ bytes, n }, ret_is_rsa);
	if (!key)
		key = key_from_der(bytes, n);
	return accept_key(key, ret_is_rsa);
}

/* -- rows -- */

static int
insert_key_pair(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *count = NULL;
	struct key_pair *k = arg;
	struct request *rq = k->rq;
	int64_t changed = 0, limit;
	int r = clc_quota_get(tx, rq->account_id, "key-pairs",
	    clc_quota_default(rq->clc->conf, "key-pairs"), &limit, e);

	if (r < 0)
		return r;
	r = store_query_one(tx, Q_KEY_PAIR_COUNT, &count, "count of key pairs", e, rq->account_id,
	    rq->clc->conf->region);
	if (r < 0)
		return r;
	if (store_int(count, 0) >= limit)
		return err_set(e, ERR_KEY_PAIR_LIMIT_EXCEEDED,
		    "You have reached the limit of %lld key pairs", (long long)limit);
	r = store_exec(tx, Q_KEY_PAIR_INSERT, &changed, e, k->id, rq->account_id,
	    rq->clc->conf->region, k->name, k->type, k->fingerprint, k->public_key,
	    store_now_us(tx));
	if (r < 0)
		return r;
	if (changed == 0)
		return err_set(
		    e, ERR_KEY_PAIR_DUPLICATE, "The keypair '%s' already exists.", k->name);
	r = clc_tags_insert(tx, rq->account_id, k->id, k->tags, k->tag_count, e);
	return r < 0 ? r : request_record(tx, rq, "key_pair", k->id, e);
}

static int
check_key_name(const char *name, struct err *e)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < 0x20 || (unsigned char)name[i] > 0x7e)
			n = 0;
	if (n == 0 || n > NAME_MAX_LENGTH || name[0] == ' ' || name[n - 1] == ' ')
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Invalid value for parameter KeyName: 1 to 255 ASCII characters, no space at "
		    "the ends");
	return 0;
}

static int
save(struct key_pair *k, EVP_PKEY *key, bool is_rsa, bool is_imported,
    const struct tag_specification *tags, size_t tag_count, struct err *e)
{
	int r = clc_tags_of(tags, tag_count, "key-pair", &k->tags, &k->tag_count, e);

	if (r < 0)
		return r;
	id_new(k->id, "key");
	k->type = is_rsa ? "rsa" : "ed25519";
	k->fingerprint = fingerprint_of(key, is_rsa, is_imported, k->rq->arena);
	k->public_key = ssh_line(key, is_rsa, k->name, k->rq->arena);
	return store_write(k->rq->clc->store, insert_key_pair, k, e);
}

int
ec2_handle_create_key_pair(struct request *rq, const struct create_key_pair_in *in,
    struct create_key_pair_out *out, struct err *e)
{
	bool is_rsa = !in->key_type || strcmp(in->key_type, "rsa") == 0;
	struct key_pair k = { .rq = rq, .name = in->key_name };
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	int r = check_key_name(in->key_name, e);

	if (r < 0)
		return r;
	key = is_rsa ? EVP_RSA_gen(RSA_BITS) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!key)
		return err_set(e, ERR_INTERNAL, "cannot make a key");
	r = save(
	    &k, key, is_rsa, false, in->tag_specifications.items, in->tag_specifications.count, e);
	if (r < 0)
		return r;
	out->key_name = k.name;
	out->key_fingerprint = k.fingerprint;
	out->key_pair_id = arena_strdup(rq->arena, k.id);
	out->key_material = private_file(
	    key, is_rsa, in->key_format && strcmp(in->key_format, "ppk") == 0, k.name, rq->arena);
	out->tags.items = arena_memdup(rq->arena, k.tags, k.tag_count * sizeof(*k.tags));
	out->tags.count = k.tag_count;
	return 0;
}

int
ec2_handle_import_key_pair(struct request *rq, const struct import_key_pair_in *in,
    struct import_key_pair_out *out, struct err *e)
{
	struct key_pair k = { .rq = rq, .name = in->key_name };
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	bool is_rsa = false;
	int r = check_key_name(in->key_name, e);

	if (r < 0)
		return r;
	key = read_public_key(in->public_key_material, &is_rsa);
	if (!key)
		return err_set(e, ERR_KEY_FORMAT, "Key is not in valid OpenSSH public key format");
	r = save(
	    &k, key, is_rsa, true, in->tag_specifications.items, in->tag_specifications.count, e);
	if (r < 0)
		return r;
	out->key_name = k.name;
	out->key_fingerprint = k.fingerprint;
	out->key_pair_id = arena_strdup(rq->arena, k.id);
	out->tags.items = arena_memdup(rq->arena, k.tags, k.tag_count * sizeof(*k.tags));
	out->tags.count = k.tag_count;
	return 0;
}

/* -- DescribeKeyPairs -- */

struct listing {
	struct request *rq;
	const struct describe_key_pairs_in *in;
	VEC(struct key_pair_info) keys;
	struct named names, ids;
};

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	struct arena *arena = l->rq->arena;
	int r = store_query(tx, Q_KEY_PAIRS, &rows, e, l->rq->account_id, l->rq->clc->conf->region);

	l->keys.count = 0;
	named_init(&l->names, l->in->key_names.items, l->in->key_names.count, arena);
	named_init(&l->ids, l->in->key_pair_ids.items, l->in->key_pair_ids.count, arena);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct key_pair_info k = { .key_pair_id = arena_strdup(arena, store_text(rows, 0)),
			.key_name = arena_strdup(arena, store_text(rows, 1)),
			.key_type = arena_strdup(arena, store_text(rows, 2)),
			.key_fingerprint = arena_strdup(arena, store_text(rows, 3)),
			.has_create_time = true,
			.create_time = store_int(rows, 5) };
		bool is_named = named_sees(&l->names, k.key_name);

		is_named &= named_sees(&l->ids, k.key_pair_id);
		if (l->in->include_public_key)
			k.public_key = arena_strdup(arena, store_text(rows, 4));
		r = clc_tags_read(tx, k.key_pair_id, arena, (void *)&k.tags, e);
		if (r < 0)
			return r;
		if (is_named &&
		    filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &k))
			vec_add(&l->keys, k);
	}
	return r;
}

static int
check_found(const struct listing *l, struct err *e)
{
	const char *name = named_missing(&l->names), *id = named_missing(&l->ids);

	if (name)
		return err_set(
		    e, ERR_KEY_PAIR_NOT_FOUND, "The key pair '%.255s' does not exist", name);
	if (id)
		return err_set(
		    e, ERR_KEY_PAIR_NOT_FOUND, "The key pair ID '%.100s' does not exist", id);
	return 0;
}

int
ec2_handle_describe_key_pairs(struct request *rq, const struct describe_key_pairs_in *in,
    struct describe_key_pairs_out *out, struct err *e)
{
	struct listing l = { .rq = rq, .in = in };
	int r = store_read(rq->clc->store, read_listing, &l, e);
	if (r == 0)
		r = check_found(&l, e);
	if (r == 0) {
		out->key_pairs.count = l.keys.count;
		out->key_pairs.items =
		    arena_memdup(rq->arena, l.keys.items, l.keys.count * sizeof(*l.keys.items));
	}
	vec_done(&l.keys);
	return r;
}

/* -- DeleteKeyPair: deleting what is not there succeeds -- */

struct deletion {
	struct request *rq;
	const struct delete_key_pair_in *in;
	char id[ID_MAX];
};

static int
delete_key_pair(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct deletion *d = arg;
	bool has_name = d->in->key_name && d->in->key_name[0];
	int r;

	d->id[0] = '\0';
	r = store_query_one(tx, has_name ? Q_KEY_PAIR_BY_NAME : Q_KEY_PAIR_BY_ID, &rows, "key pair",
	    NULL, d->rq->account_id, d->rq->clc->conf->region,
	    has_name ? d->in->key_name : d->in->key_pair_id);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		return err_set(e, r, "cannot read the key pair");
	snprintf(d->id, sizeof(d->id), "%s", store_text(rows, 0));
	r = store_exec(tx, Q_TAGS_DELETE, NULL, e, d->id);
	if (r == 0)
		r = store_exec(tx, Q_KEY_PAIR_DELETE, NULL, e, d->id);
	return r == 0 ? request_record(tx, d->rq, "key_pair", d->id, e) : r;
}

int
ec2_handle_delete_key_pair(struct request *rq, const struct delete_key_pair_in *in,
    struct delete_key_pair_out *out, struct err *e)
{
	struct deletion d = { .rq = rq, .in = in };
	int r;

	if ((!in->key_name || !in->key_name[0]) && (!in->key_pair_id || !in->key_pair_id[0]))
		return err_set(
		    e, ERR_MISSING_PARAMETER, "The request must contain the parameter KeyName");
	r = store_write(rq->clc->store, delete_key_pair, &d, e);
	if (r < 0)
		return r;
	out->has_result = out->result = true;
	out->key_pair_id = d.id[0] ? arena_strdup(rq->arena, d.id) : NULL;
	return 0;
}
