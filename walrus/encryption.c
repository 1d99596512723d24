/* The counter of byte `offset` is the vector plus offset / 16, as one big-endian number. */
#include "encryption.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "auth/digest.h"
#include "base/id.h"

#define BLOCK 16
#define SALT_SIZE 16
#define MAC_SIZE 32
#define PIECE (64 * 1024)

enum encryption
encryption_kind(const char *text)
{
	struct str s = str_of(text);

	return str_starts(s, "service ")    ? ENCRYPTION_SERVICE
	       : str_starts(s, "customer ") ? ENCRYPTION_CUSTOMER
					    : ENCRYPTION_NONE;
}

/* -- keys -- */

void
encryption_new_service(
    const struct keyring *k, struct arena *arena, char **ret_text, uint8_t key[DATA_KEY_SIZE])
{
	uint8_t wrapped[WRAPPED_SIZE];
	_cleanup_free_ char *text = NULL;
	uint32_t version;

	random_bytes(key, DATA_KEY_SIZE);
	keyring_wrap(k, key, &version, wrapped);
	text = base64_encode(wrapped, sizeof(wrapped));
	*ret_text = arena_printf(arena, "service %u %s", version, text);
}

/* Two values of one customer's key and a salt: what encrypts, and what may be stored. */
static void
derive(const uint8_t *customer_key, const uint8_t salt[SALT_SIZE], char purpose, uint8_t *out)
{
	char text[SALT_SIZE + 1];

	memcpy(text, salt, SALT_SIZE);
	text[SALT_SIZE] = purpose;
	hmac(DIGEST_SHA256, (struct str){ (const char *)customer_key, CUSTOMER_KEY_SIZE },
	    (struct str){ text, sizeof(text) }, out);
}

void
encryption_new_customer(const uint8_t customer_key[CUSTOMER_KEY_SIZE], struct arena *arena,
    char **ret_text, uint8_t key[DATA_KEY_SIZE])
{
	uint8_t salt[SALT_SIZE], check[MAC_SIZE];
	char salt_text[2 * SALT_SIZE + 1], check_text[2 * MAC_SIZE + 1];

	random_bytes(salt, sizeof(salt));
	derive(customer_key, salt, 'c', check);
	derive(customer_key, salt, 'k', key);
	hex_encode(salt, sizeof(salt), salt_text);
	hex_encode(check, sizeof(check), check_text);
	*ret_text = arena_printf(arena, "customer %s %s", salt_text, check_text);
}

static int
corrupt(struct err *e)
{
	return err_set(e, ERR_CORRUPT, "what is stored of an object's key can't be understood");
}

static int
key_of_service(const struct keyring *k, struct str rest, uint8_t *key, struct err *e)
{
	_cleanup_free_ void *wrapped = NULL;
	struct str version_text;
	uint32_t version;
	size_t n;

	if (!str_split(&rest, ' ', &version_text) || !str_to_u32(version_text, &version) ||
	    !base64_decode(rest, &wrapped, &n) || n != WRAPPED_SIZE)
		return corrupt(e);
	return keyring_unwrap(k, version, wrapped, key, e);
}

static int
key_of_customer(struct str rest, const uint8_t *customer_key, uint8_t *key, struct err *e)
{
	uint8_t salt[SALT_SIZE], check[MAC_SIZE], seen[MAC_SIZE];
	struct str salt_text;
	size_t n, m;

	if (!str_split(&rest, ' ', &salt_text) || !hex_decode(salt_text, salt, sizeof(salt), &n) ||
	    n != sizeof(salt) || !hex_decode(rest, check, sizeof(check), &m) || m != sizeof(check))
		return corrupt(e);
	if (!customer_key)
		return err_set(e, ERR_ENCRYPTED_BY_CUSTOMER,
		    "The object was stored using a form of Server Side Encryption. The correct "
		    "parameters must be provided to retrieve the object.");
	derive(customer_key, salt, 'c', seen);
	if (!digest_equal(seen, check, sizeof(check)))
		return err_set(e, ERR_ACCESS_DENIED, "Access Denied");
	derive(customer_key, salt, 'k', key);
	return 0;
}

int
encryption_key(const struct keyring *k, const char *text, const uint8_t *customer_key,
    uint8_t key[DATA_KEY_SIZE], struct err *e)
{
	struct str rest = str_of(text), kind;

	(void)str_split(&rest, ' ', &kind);
	switch (encryption_kind(text)) {
	case ENCRYPTION_SERVICE:
		return key_of_service(k, rest, key, e);
	case ENCRYPTION_CUSTOMER:
		return key_of_customer(rest, customer_key, key, e);
	case ENCRYPTION_NONE:
		break;
	}
	return corrupt(e);
}

/* -- bytes -- */

struct cipher {
	EVP_CIPHER_CTX *context;
	char iv[IV_TEXT_SIZE];
	char *piece; /* of what is being written */
};

/* OpenSSL fails here only when it has no memory, or is not OpenSSL. */
static void
must(int is_done)
{
	if (is_done != 1)
		abort();
}

struct cipher *
cipher_new(const uint8_t key[DATA_KEY_SIZE])
{
	struct cipher *c = xcalloc(1, sizeof(*c));
	uint8_t iv[BLOCK];

	random_bytes(iv, sizeof(iv));
	hex_encode(iv, sizeof(iv), c->iv);
	c->context = EVP_CIPHER_CTX_new();
	must(c->context && EVP_EncryptInit_ex(c->context, EVP_aes_256_ctr(), NULL, key, iv));
	return c;
}

void
cipher_free(struct cipher *c)
{
	if (!c)
		return;
	EVP_CIPHER_CTX_free(c->context); /* wipes the key */
	free(c->piece);
	free(c);
}

const char *
cipher_iv(const struct cipher *c)
{
	return c ? c->iv : NULL;
}

static void
apply(struct cipher *c, const void *from, void *to, size_t n)
{
	const uint8_t *in = from;
	uint8_t *out = to;

	while (n > 0) {
		int step = n > 1 << 30 ? 1 << 30 : (int)n, done;

		must(EVP_EncryptUpdate(c->context, out, &done, in, step));
		in += step;
		out += step;
		n -= (size_t)step;
	}
}

void
cipher_apply(struct cipher *c, void *bytes, size_t n)
{
	apply(c, bytes, bytes, n);
}

int
cipher_write(struct cipher *c, struct blob_writer *w, struct str bytes, struct err *e)
{
	int r = 0;

	if (!c)
		return blob_writer_add(w, bytes, e);
	if (!c->piece)
		c->piece = xmalloc(PIECE);
	while (r == 0 && bytes.n > 0) {
		struct str piece = { c->piece, bytes.n < PIECE ? bytes.n : PIECE };

		apply(c, bytes.p, c->piece, piece.n);
		r = blob_writer_add(w, piece, e);
		bytes.p += piece.n;
		bytes.n -= piece.n;
	}
	return r;
}

int
cipher_seek(struct cipher *c, const char *iv, uint64_t offset, struct err *e)
{
	uint8_t counter[BLOCK], skipped[BLOCK];
	uint64_t carry = offset / BLOCK;
	size_t n;

	if (!hex_decode(str_of(iv), counter, sizeof(counter), &n) || n != sizeof(counter))
		return err_set(e, ERR_CORRUPT, "an extent has no initialisation vector");
	for (unsigned i = BLOCK; i-- > 0 && carry > 0;) {
		carry += counter[i];
		counter[i] = (uint8_t)carry;
		carry >>= 8;
	}
	must(EVP_EncryptInit_ex(c->context, NULL, NULL, NULL, counter));
	if (offset % BLOCK) {
		memset(skipped, 0, sizeof(skipped));
		cipher_apply(c, skipped, offset % BLOCK);
	}
	return 0;
}
