/* Wrapping is AES-256-GCM with a random nonce: a key that was tampered with, or wrapped by another
 * master key, is noticed. */
#include "keyring.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/id.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "run/fs.h"

#define FILE_MAX 65536
#define NONCE_SIZE 12
#define TAG_SIZE 16

struct master_key {
	uint32_t version;
	uint8_t bytes[DATA_KEY_SIZE];
};
struct keyring {
	VEC(struct master_key) keys;
	size_t newest;
};

static int
make_file(const char *path, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *encoded = NULL;
	uint8_t key[DATA_KEY_SIZE];
	int r;

	random_bytes(key, sizeof(key));
	encoded = base64_encode(key, sizeof(key));
	strbuf_addf(&text, "1 %s\n", encoded);
	r = fs_write_atomic(path, strbuf_str(&text), 0600, e);
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(encoded, strlen(encoded));
	OPENSSL_cleanse(text.p, text.n);
	return r;
}

static int
add_line(struct keyring *k, struct str line, struct err *e)
{
	struct master_key key;
	struct str version;
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	if (!str_split(&line, ' ', &version) || !str_to_u32(version, &key.version) ||
	    !base64_decode(line, &bytes, &n) || n != sizeof(key.bytes))
		return err_set(e, ERR_CORRUPT, "a line is no \"VERSION KEY\"");
	VEC_FOREACH (&k->keys, other)
		if (other->version == key.version)
			return err_set(e, ERR_CORRUPT, "version %u is there twice", key.version);
	memcpy(key.bytes, bytes, sizeof(key.bytes));
	OPENSSL_cleanse(bytes, n);
	vec_add(&k->keys, key);
	if (key.version >= k->keys.items[k->newest].version)
		k->newest = k->keys.count - 1;
	OPENSSL_cleanse(&key, sizeof(key));
	return 0;
}

static int
read_file(struct keyring *k, const char *path, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct str rest, line;
	int r = fs_read(path, FILE_MAX, &text, e);

	rest = strbuf_str(&text);
	while (r == 0 && str_split(&rest, '\n', &line))
		if (line.n && line.p[0] != '#')
			r = add_line(k, line, e);
	if (r == 0 && k->keys.count == 0)
		r = err_set(e, ERR_CORRUPT, "there is no key in it");
	if (text.n)
		OPENSSL_cleanse(text.p, text.n);
	return r < 0 ? err_wrap(e, "reading keys from '%s'", path) : 0;
}

int
keyring_open(const char *path, struct keyring **ret, struct err *e)
{
	_cleanup_(keyring_freep) struct keyring *k = xcalloc(1, sizeof(*k));
	int r = fs_exists(path) ? 0 : make_file(path, e);

	if (r == 0)
		r = read_file(k, path, e);
	if (r == 0)
		*ret = TAKE(k);
	return r;
}

void
keyring_free(struct keyring *k)
{
	if (!k)
		return;
	if (k->keys.count)
		OPENSSL_cleanse(k->keys.items, k->keys.count * sizeof(*k->keys.items));
	vec_done(&k->keys);
	free(k);
}

/* OpenSSL fails here only when it has no memory, or is not OpenSSL. */
static void
must(int is_done)
{
	if (is_done != 1)
		abort();
}

void
keyring_wrap(const struct keyring *k, const uint8_t key[DATA_KEY_SIZE], uint32_t *ret_version,
    uint8_t out[WRAPPED_SIZE])
{
	const struct master_key *master = &k->keys.items[k->newest];
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n;

	random_bytes(out, NONCE_SIZE);
	must(c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, master->bytes, out));
	must(EVP_EncryptUpdate(c, out + NONCE_SIZE, &n, key, DATA_KEY_SIZE));
	must(EVP_EncryptFinal_ex(c, out + NONCE_SIZE + DATA_KEY_SIZE, &n));
	must(EVP_CIPHER_CTX_ctrl(
	    c, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, out + NONCE_SIZE + DATA_KEY_SIZE));
	EVP_CIPHER_CTX_free(c);
	*ret_version = master->version;
}

static bool
unwrap(const struct master_key *master, const uint8_t *wrapped, uint8_t *out)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t tag[TAG_SIZE];
	bool is_done;
	int n;

	memcpy(tag, wrapped + NONCE_SIZE + DATA_KEY_SIZE, sizeof(tag));
	must(c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, master->bytes, wrapped));
	must(EVP_DecryptUpdate(c, out, &n, wrapped + NONCE_SIZE, DATA_KEY_SIZE));
	must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, sizeof(tag), tag));
	is_done = EVP_DecryptFinal_ex(c, out + DATA_KEY_SIZE, &n) == 1;
	EVP_CIPHER_CTX_free(c);
	return is_done;
}

int
keyring_unwrap(const struct keyring *k, uint32_t version, const uint8_t wrapped[WRAPPED_SIZE],
    uint8_t out[DATA_KEY_SIZE], struct err *e)
{
	uint8_t key[DATA_KEY_SIZE + 16];
	bool is_done = false;

	VEC_FOREACH (&k->keys, master)
		if (master->version == version)
			is_done = unwrap(master, wrapped, key);
	if (is_done)
		memcpy(out, key, DATA_KEY_SIZE);
	OPENSSL_cleanse(key, sizeof(key));
	return is_done ? 0
		       : err_set(e, ERR_CORRUPT,
			     "the master key of version %u does not open the key of an object",
			     version);
}
