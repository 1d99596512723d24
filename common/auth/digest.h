#pragma once
/* Digests and HMAC by OpenSSL, one-shot and streaming, with the algorithms fetched once. */
#include <openssl/evp.h>
#include "base/str.h"

enum digest_algorithm { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256, DIGEST_MAX };
size_t digest_size(enum digest_algorithm a);
void digest(enum digest_algorithm a, struct str in, uint8_t *out);
void digest_hex(enum digest_algorithm a, struct str in, char *out); /* 2 * size + 1 */
void hmac(enum digest_algorithm a, struct str key, struct str in, uint8_t *out);
EVP_MD_CTX *digest_begin(enum digest_algorithm a);         /* EVP_DigestUpdate; then digest_end */
void digest_end(EVP_MD_CTX *c, uint8_t *out);              /* frees c; out NULL: dropped */
bool digest_equal(const void *a, const void *b, size_t n); /* constant time */
