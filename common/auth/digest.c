/* Digests on OpenSSL's EVP, arranged for small inputs: the algorithms are fetched once per process
 * and each thread keeps one context, because fetching and allocating per call costs more than
 * hashing a request's canonical form. HMAC is written out over that context (RFC 2104): the
 * library's one-shot HMAC sets up twice as much. */
#include "auth/digest.h"

#include <openssl/crypto.h>
#include <assert.h>
#include <pthread.h>

#define BLOCK 64 /* of all three */

static const struct {
	const char *name;
	size_t size;
} algorithms[DIGEST_MAX] = {
	[DIGEST_MD5] = { "MD5", 16 },
	[DIGEST_SHA1] = { "SHA1", 20 },
	[DIGEST_SHA256] = { "SHA256", 32 },
};

static EVP_MD *fetched[DIGEST_MAX];
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;

static void
free_context(void *context)
{
	EVP_MD_CTX_free(context);
}

static void
fetch_all(void)
{
	for (unsigned a = 0; a < DIGEST_MAX; a++) {
		fetched[a] = EVP_MD_fetch(NULL, algorithms[a].name, NULL);
		if (!fetched[a])
			abort(); /* an OpenSSL without these cannot serve S3 */
	}
	if (pthread_key_create(&context_key, free_context) != 0)
		abort();
}

static EVP_MD_CTX *
new_context(void)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (!c)
		abort();
	return c;
}

/* This thread's context, begun for the algorithm. */
static EVP_MD_CTX *
thread_context(enum digest_algorithm a)
{
	static __thread EVP_MD_CTX *context;

	pthread_once(&fetch_once, fetch_all);
	if (!context) {
		context = new_context();
		(void)pthread_setspecific(context_key, context);
	}
	if (!EVP_DigestInit_ex2(context, fetched[a], NULL))
		abort();
	return context;
}

size_t
digest_size(enum digest_algorithm a)
{
	assert(a < DIGEST_MAX);
	return algorithms[a].size;
}

void
digest(enum digest_algorithm a, struct str in, uint8_t *out)
{
	EVP_MD_CTX *c = thread_context(a);

	EVP_DigestUpdate(c, in.p, in.n);
	EVP_DigestFinal_ex(c, out, NULL);
}

void
digest_hex(enum digest_algorithm a, struct str in, char *out)
{
	uint8_t bytes[EVP_MAX_MD_SIZE];

	digest(a, in, bytes);
	hex_encode(bytes, digest_size(a), out);
}

void
hmac(enum digest_algorithm a, struct str key, struct str in, uint8_t *out)
{
	uint8_t pad[BLOCK] = { 0 }, inner[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *c;

	if (key.n > BLOCK)
		digest(a, key, pad);
	else if (key.n > 0)
		memcpy(pad, key.p, key.n);
	for (unsigned i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36;
	c = thread_context(a);
	EVP_DigestUpdate(c, pad, BLOCK);
	EVP_DigestUpdate(c, in.p, in.n);
	EVP_DigestFinal_ex(c, inner, NULL);
	for (unsigned i = 0; i < BLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	c = thread_context(a);
	EVP_DigestUpdate(c, pad, BLOCK);
	EVP_DigestUpdate(c, inner, digest_size(a));
	EVP_DigestFinal_ex(c, out, NULL);
	OPENSSL_cleanse(pad, sizeof(pad));
}

EVP_MD_CTX *
digest_begin(enum digest_algorithm a)
{
	EVP_MD_CTX *c;

	pthread_once(&fetch_once, fetch_all);
	c = new_context();
	if (!EVP_DigestInit_ex2(c, fetched[a], NULL))
		abort();
	return c;
}

void
digest_end(EVP_MD_CTX *c, uint8_t *out)
{
	if (out)
		EVP_DigestFinal_ex(c, out, NULL);
	EVP_MD_CTX_free(c);
}

bool
digest_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}
