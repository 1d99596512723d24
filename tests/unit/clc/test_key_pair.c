/* Key pairs against ssh-keygen's and openssl's own words. tests/data/key_pairs: one RSA and one
 * ED25519 key in every form that users have; fingerprints below are what these programs printed:
 *   openssl rsa -in rsa -pubout -outform DER | openssl md5 -c       (imported)
 *   openssl pkcs8 -in rsa -topk8 -nocrypt -outform DER | openssl sha1 -c   (created)
 *   ssh-keygen -l -f ed25519.pub */
#include "fixture.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "clc/ec2.api.h"
#include "run/fs.h"

int ec2_handle_create_key_pair(struct request *rq, const struct create_key_pair_in *in,
    struct create_key_pair_out *out, struct err *e);
int ec2_handle_import_key_pair(struct request *rq, const struct import_key_pair_in *in,
    struct import_key_pair_out *out, struct err *e);

#define DATA "tests/data/key_pairs/"
#define RSA_MD5 "bc:7c:c6:29:9e:a3:55:f3:36:67:d7:0f:32:1d:d1:b8"
#define ED_SHA256 "lP3fgJ7gdBc2g+M6xPQ7c+u054ScbfaSEfJsoyNeCL8="

static const struct service service = { .name = "ec2" };
static const struct operation operation = { .name = "ImportKeyPair" };

static struct request
request_of(struct fixture *f)
{
	return (struct request){ .clc = &f->clc,
		.arena = f->arena,
		.id = "request",
		.account_id = f->account.account_id,
		.user_id = f->account.user_id,
		.user_name = "admin",
		.source_address = "127.0.0.1",
		.user_agent = "test",
		.service = &service,
		.operation = &operation,
		.version = "2016-11-15",
		.parameters = "" };
}

static int
import(struct fixture *f, const char *name, struct str material, struct import_key_pair_out *out)
{
	struct request rq = request_of(f);
	struct import_key_pair_in in = { .key_name = name, .public_key_material = material };
	struct err e = { 0 };

	memset(out, 0, sizeof(*out));
	return ec2_handle_import_key_pair(&rq, &in, out, &e);
}

/* What is kept of a key, by its name. */
struct row {
	struct fixture *f;
	const char *name;
	char *public_key;
};

static int
read_row(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct row *row = arg;
	int r = store_query_one(tx, Q_KEY_PAIR_BY_NAME, &rows, "key", e, row->f->account.account_id,
	    "mallee-1", row->name);

	if (r == 0)
		row->public_key = arena_strdup(row->f->arena, store_text(rows, 1));
	return r;
}

static char *
stored(struct fixture *f, const char *name)
{
	struct row row = { .f = f, .name = name };

	fixture_write(f, read_row, &row);
	return row.public_key;
}

/* "ssh-rsa AAAA...": without the comment */
static void
assert_same_key(const char *a, const char *b)
{
	const char *blob_a = strchr(a, ' ') + 1, *blob_b = strchr(b, ' ') + 1;
	size_t n_a = (size_t)(blob_a - a) + strcspn(blob_a, " \n"),
	       n_b = (size_t)(blob_b - b) + strcspn(blob_b, " \n");

	assert_int_equal(n_a, n_b);
	assert_memory_equal(a, b, n_a);
}

static void
read_data(const char *name, struct strbuf *out)
{
	_cleanup_free_ char *path = xasprintf(DATA "%s", name);
	struct err e = { 0 };

	if (fs_read(path, 65536, out, &e) < 0)
		fail_msg("%s", e.text);
}

static const struct {
	const char *file, *fingerprint, *same_as;
} imports[] = {
	{ "rsa.pub", RSA_MD5, "rsa.pub" },     /* a comment of several words */
	{ "rsa.crlf", RSA_MD5, "rsa.pub" },    /* from Windows */
	{ "rsa.rfc4716", RSA_MD5, "rsa.pub" }, /* a Comment: header */
	{ "rsa.pem", RSA_MD5, "rsa.pub" },     /* SubjectPublicKeyInfo */
	{ "rsa.der", RSA_MD5, "rsa.pub" },     /* the same, binary */
	{ "rsa.der64", RSA_MD5, "rsa.pub" },   /* the same in base64, in lines */
	{ "rsa.blob64", RSA_MD5, "rsa.pub" },  /* the middle word of rsa.pub alone */
	{ "ed25519.pub", ED_SHA256, "ed25519.pub" },
	{ "ed25519.rfc4716", ED_SHA256, "ed25519.pub" },
};

static void
test_imports(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(imports); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, line = STRBUF_INIT;
		struct import_key_pair_out out;

		read_data(imports[i].file, &text);
		read_data(imports[i].same_as, &line);
		if (import(f, imports[i].file, strbuf_str(&text), &out) < 0)
			fail_msg("'%s' is refused", imports[i].file);
		assert_string_equal(out.key_fingerprint, imports[i].fingerprint);
		assert_true(id_is_valid(out.key_pair_id, "key"));
		assert_same_key(stored(f, imports[i].file), strbuf_c(&line));
	}
}

/* A line cut anywhere is no key, or (within its comment) the same key; no prefix is another one. */
static void
test_cut_short(void **state)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	struct import_key_pair_out out;
	size_t whole;

	read_data("rsa.pub", &line);
	whole = strlen("ssh-rsa ") + strcspn(strbuf_c(&line) + strlen("ssh-rsa "), " ");
	for (size_t n = 0; n < whole; n++) {
		char name[32];

		snprintf(name, sizeof(name), "cut-%zu", n);
		if (import(*state, name, (struct str){ line.p, n }, &out) != ERR_KEY_FORMAT)
			fail_msg("%zu bytes of the line are taken", n);
	}
	assert_int_equal(import(*state, "whole", (struct str){ line.p, whole }, &out), 0);
}

static const char *const bad[] = { "", " ", "\n", "ssh-rsa", "ssh-rsa ", "ssh-rsa AAAA",
	"ssh-rsa ****", "ssh-dss AAAA x", "AAAA", "not a key at all",
	"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
	"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	"---- BEGIN SSH2 PUBLIC KEY ----\n",
	/* the type said outside is not that inside */
	"ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAAAAQA=",
	/* lengths that go past the end, and round */
	"ssh-rsa /////w==", "ssh-rsa AAAAB3NzaC1yc2H/////", "ssh-rsa AAAAB3NzaC1yc2EAAAAA",
	/* 31 bytes of ED25519 */
	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAHwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" };

static void
test_bad(void **state)
{
	static const char *const files[] = { "ecdsa.pub", "dsa.pem", "rsa512.pem", "trailing.der" };
	struct import_key_pair_out out;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (import(*state, "bad", str_of(bad[i]), &out) != ERR_KEY_FORMAT)
			fail_msg("'%s' is taken", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		read_data(files[i], &text);
		if (import(*state, "bad", strbuf_str(&text), &out) != ERR_KEY_FORMAT)
			fail_msg("'%s' is taken", files[i]);
	}
}

static void
test_names(void **state)
{
	static char longest[257];
	static const struct {
		const char *name;
		int result;
	} names[] = { { "a", 0 }, { "a b", 0 }, { "~!@#", 0 }, { "a", ERR_KEY_PAIR_DUPLICATE },
		{ " a", ERR_INVALID_PARAMETER_VALUE }, { "a ", ERR_INVALID_PARAMETER_VALUE },
		{ "", ERR_INVALID_PARAMETER_VALUE }, { "a\tb", ERR_INVALID_PARAMETER_VALUE },
		{ "\xc3\xa9", ERR_INVALID_PARAMETER_VALUE },
		{ longest, ERR_INVALID_PARAMETER_VALUE }, { longest + 1, 0 } };
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	struct import_key_pair_out out;

	memset(longest, 'n', 256);
	read_data("ed25519.pub", &line);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (import(*state, names[i].name, strbuf_str(&line), &out) != names[i].result)
			fail_msg("name %zu ('%s')", i, names[i].name);
}

/* -- created ones -- */

static void
create(struct fixture *f, const char *name, const char *type, struct create_key_pair_out *out)
{
	struct request rq = request_of(f);
	struct create_key_pair_in in = { .key_name = name, .key_type = type };
	struct err e = { 0 };

	memset(out, 0, sizeof(*out));
	if (ec2_handle_create_key_pair(&rq, &in, out, &e) < 0)
		fail_msg("%s", e.text);
}

/* The file as ssh would read it: ssh-keygen derives the public key, which is the one kept. */
static void
assert_ssh_reads(struct fixture *f, const char *name, const char *material)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", f->directory, name);
	_cleanup_free_ char *command = xasprintf("ssh-keygen -y -f '%s' 2>&1", path);
	char line[4096] = "";
	struct err e = { 0 };
	FILE *pipe;

	assert_int_equal(fs_write_atomic(path, str_of(material), 0600, &e), 0);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	if (!fgets(line, sizeof(line), pipe))
		line[0] = '\0';
	if (pclose(pipe) != 0)
		fail_msg("ssh-keygen does not take the %s key: %s", name, line);
	assert_same_key(stored(f, name), line);
}

static void
test_created(void **state)
{
	static const char *const types[] = { "rsa", "ed25519", NULL };
	struct fixture *f = *state;

	/* Several of each: padding and leading zeros differ from key to key. */
	for (unsigned n = 0; n < 9; n++) {
		const char *type = types[n % 3];
		struct create_key_pair_out out;
		char name[32];

		snprintf(name, sizeof(name), "%.*s-%u", (int)n + 1, "comments", n);
		create(f, name, type, &out);
		assert_ssh_reads(f, name, out.key_material);
		assert_non_null(strstr(out.key_material,
		    type && *type == 'e' ? "BEGIN OPENSSH PRIVATE KEY" : "BEGIN RSA PRIVATE KEY"));
	}
}

static void
test_created_fingerprint(void **state)
{
	struct create_key_pair_out out;
	PKCS8_PRIV_KEY_INFO *info;
	uint8_t *der = NULL, hash[20];
	char expected[64];
	EVP_PKEY *key;
	BIO *bio;
	int n;

	create(*state, "k", "rsa", &out);
	bio = BIO_new_mem_buf(out.key_material, -1);
	key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	assert_non_null(key);
	info = EVP_PKEY2PKCS8(key);
	n = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
	SHA1(der, (size_t)n, hash);
	for (unsigned i = 0; i < sizeof(hash); i++)
		snprintf(expected + 3 * i, 4, i < 19 ? "%02x:" : "%02x", hash[i]);
	assert_string_equal(out.key_fingerprint, expected);
	OPENSSL_free(der);
	PKCS8_PRIV_KEY_INFO_free(info);
	EVP_PKEY_free(key);
	BIO_free(bio);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_imports, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_cut_short, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_bad, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_names, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_created, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
		    test_created_fingerprint, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
