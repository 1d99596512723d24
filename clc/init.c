/* Making the cloud: its two CAs (daemons; storage), our own certificate, the certificate that users
 * wrap bundle keys to, the instance types, and the first account with everything its admin needs.
 * Prints shell lines, the only time the secret key is shown. The first account is written last and
 * in one transaction: a store without it is no cloud yet, so that an interrupted init can simply be
 * run again. */
#include "init.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <sys/stat.h>

#include "auth/digest.h"
#include "base/clock.h"
#include "rpc/trust.h"
#include "run/fs.h"

#include "account.h"
#include "instance_type.h"

#define FIRST_ACCOUNT "mallee"
#define USER_CERTIFICATE_DAYS 3650
#define RSA_BITS 2048

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(BIO *, BIO_free_all)

/* -- RSA certificates, for clients that want RSA: self-signed, because only the key in them matters
 * -- */

static X509 *
self_signed(EVP_PKEY *key, const char *common_name)
{
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	uint8_t serial[16];
	BIGNUM *number;

	random_bytes(serial, sizeof(serial));
	serial[0] &= 0x7f;
	number = BN_bin2bn(serial, sizeof(serial), NULL);
	BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	X509_set_version(certificate, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), USER_CERTIFICATE_DAYS * 24L * 3600);
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"Mallee", -1, -1, 0);
	X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const uint8_t *)common_name, -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	X509_set_pubkey(certificate, key);
	X509_sign(certificate, key, EVP_sha256());
	return certificate;
}

static void
bio_text(BIO *bio, struct strbuf *out)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);

	strbuf_reset(out);
	strbuf_add(out, p, n);
}

static int
write_pair(const char *directory, const char *name, const char *common_name, struct strbuf *ret_pem,
    char fingerprint[65], struct err *e)
{
	_cleanup_free_ char *key_path = xasprintf("%s/%s-key.pem", directory, name);
	_cleanup_free_ char *certificate_path = xasprintf("%s/%s-cert.pem", directory, name);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = EVP_RSA_gen(RSA_BITS);
	_cleanup_(BIO_free_allp) BIO *key_bio = BIO_new(BIO_s_mem()), *bio = BIO_new(BIO_s_mem());
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_(X509_freep) X509 *certificate = NULL;
	uint8_t *der = NULL;
	int n, r;

	if (!key)
		return err_set(e, ERR_INTERNAL, "cannot make an RSA key");
	certificate = self_signed(key, common_name);
	PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
	PEM_write_bio_X509(bio, certificate);
	n = i2d_X509(certificate, &der);
	digest_hex(DIGEST_SHA256, (struct str){ (char *)der, n }, fingerprint);
	OPENSSL_free(der);
	bio_text(key_bio, &text);
	r = fs_write_atomic(key_path, strbuf_str(&text), 0600, e);
	bio_text(bio, ret_pem);
	return r < 0 ? r : fs_write_atomic(certificate_path, strbuf_str(ret_pem), 0644, e);
}

/* -- our own certificate -- */

static int
certify_self(const char *state_dir, struct err *e)
{
	_cleanup_free_ char *trust = xasprintf("%s/trust", state_dir);
	_cleanup_free_ char *key = xasprintf("%s/key.pem", trust);
	_cleanup_free_ char *ca_path = xasprintf("%s/ca.pem", trust);
	_cleanup_strbuf_ struct strbuf csr = STRBUF_INIT, pem = STRBUF_INIT, ca_pem = STRBUF_INIT;
	char peer_id[ID_MAX];
	struct trust_peer self = {
		.peer_id = peer_id, .role = (char *)"clc", .zone = (char *)"", .clc_url = (char *)""
	};
	struct trust_ca ca = { 0 };
	int r;

	id_new(peer_id, "clc");
	r = trust_key_create(key, e);
	if (r == 0)
		r = trust_csr(key, &csr, e);
	if (r == 0)
		r = trust_ca_load(trust, &ca, e);
	if (r == 0)
		r = trust_sign(&ca, strbuf_c(&csr), &(struct trust_subject){ peer_id, "clc", NULL },
		    TRUST_DAYS, &pem, e);
	trust_ca_done(&ca);
	if (r == 0)
		r = fs_read(ca_path, 65536, &ca_pem, e);
	return r < 0 ? r : trust_install(state_dir, &self, strbuf_c(&pem), strbuf_c(&ca_pem), e);
}

/* -- the store -- */

struct first {
	const struct clc_conf *conf;
	struct clc_account account;
	const char *certificate_pem, *fingerprint;
};

static int
write_first(struct store_tx *tx, void *arg, struct err *e)
{
	struct first *f = arg;
	char id[ID_MAX];
	int r = clc_instance_types_create(tx, e);

	if (r == 0)
		r = clc_account_create(tx, f->conf, FIRST_ACCOUNT, &f->account, e);
	id_new(id, "cert");
	return r < 0
		   ? r
		   : store_exec(tx, Q_CERTIFICATE_INSERT, NULL, e, id, f->account.account_id,
			 f->account.user_id, f->fingerprint, f->certificate_pem, store_now_us(tx));
}

static int
find_account(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_ACCOUNTS, &rows, e);

	return r < 0 ? r : store_next(rows, e);
}

/* Trust and certificates, made once it is sure that nothing uses older ones. */
static int
make_files(const char *state, struct strbuf *ret_pem, char fingerprint[65], struct err *e)
{
	_cleanup_free_ char *trust = xasprintf("%s/trust", state),
			    *storage = xasprintf("%s/storage", state);
	_cleanup_free_ char *credentials = xasprintf("%s/credentials", state);
	_cleanup_strbuf_ struct strbuf bundle_pem = STRBUF_INIT;
	char unused[65];
	int r;

	r = fs_mkdir_p(trust, 0700, e);
	if (r == 0)
		r = fs_mkdir_p(storage, 0700, e);
	if (r == 0)
		r = fs_mkdir_p(credentials, 0700, e);
	if (r == 0 && (r = trust_ca_create(trust, "Mallee cloud CA", e)) == ERR_EXISTS)
		r = 0;
	if (r == 0 && (r = trust_ca_create(storage, "Mallee storage CA", e)) == ERR_EXISTS)
		r = 0;
	if (r == 0)
		r = certify_self(state, e);
	if (r == 0)
		r = write_pair(credentials, "cloud", "bundles", &bundle_pem, unused, e);
	return r == 0 ? write_pair(
			    credentials, "admin", FIRST_ACCOUNT " admin", ret_pem, fingerprint, e)
		      : r;
}

static int
make_cloud(const struct clc_conf *conf, struct first *f, struct err *e)
{
	const char *state = conf->daemon.state_dir;
	_cleanup_free_ char *url = xasprintf("sqlite:%s/clc.db", state);
	_cleanup_(store_closep) struct store *store = NULL;
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	struct log log = { .daemon = "clc" };
	char fingerprint[65];
	int r;

	r = fs_mkdir_p(state, 0700, e);
	if (r == 0)
		r = store_open(url, &clc_schema, &log, &store, e);
	if (r == 0 && (r = store_read(store, find_account, NULL, e)) > 0)
		r = err_set(e, ERR_EXISTS, "there is a cloud in '%s' already", state);
	if (r == 0)
		r = make_files(state, &pem, fingerprint, e);
	f->certificate_pem = strbuf_c(&pem);
	f->fingerprint = fingerprint;
	return r < 0 ? r : store_write(store, write_first, f, e);
}

int
clc_init_command(const void *configuration, int argc, char **argv)
{
	const struct clc_conf *conf = configuration;
	struct first f = { .conf = conf };
	struct err e = { 0 };

	if (argc > 0) {
		fprintf(stderr, "mallee-clc: init takes no arguments\n");
		return 2;
	}
	if (make_cloud(conf, &f, &e) < 0) {
		fprintf(stderr, "mallee-clc: %s\n", e.text);
		return 1;
	}
	printf("# Account '%s', user '%s'. The secret key is shown this once.\n", f.account.name,
	    ADMIN_USER);
	printf("AWS_ACCESS_KEY_ID=%s\n", f.account.access_key_id);
	printf("AWS_SECRET_ACCESS_KEY=%s\n", f.account.secret);
	printf("AWS_DEFAULT_REGION=%s\n", conf->region);
	printf("EC2_URL=%s/services/compute\n", conf->ec2_url);
	if (conf->s3_url[0])
		printf("S3_URL=%s\n", conf->s3_url);
	printf("EC2_USER_ID=%s\n", f.account.account_id);
	printf("EC2_CERT=%s/credentials/admin-cert.pem\n", conf->daemon.state_dir);
	printf("EC2_PRIVATE_KEY=%s/credentials/admin-key.pem\n", conf->daemon.state_dir);
	printf("EUCALYPTUS_CERT=%s/credentials/cloud-cert.pem\n", conf->daemon.state_dir);
	return 0;
}
