#pragma once
/* Bytes at rest, encrypted: AES-256 in counter mode, an initialisation vector for each extent, so that any
 * range can be read alone. The key is the object's own. Where walrus keeps it (SSE-S3) it is stored wrapped by
 * a master key; where the client does (SSE-C) it is made of the client's, of which only a salted check is
 * stored. Blobs and their sums are over the encrypted bytes; damage is found by those, not here. */
#include <stdint.h>
#include "base/arena.h"
#include "blob.h"
#include "keyring.h"

#define CUSTOMER_KEY_SIZE 32
#define IV_TEXT_SIZE 33

/* The column `encryption`: NULL, "service VERSION WRAPPED" or "customer SALT CHECK". */
enum encryption { ENCRYPTION_NONE, ENCRYPTION_SERVICE, ENCRYPTION_CUSTOMER };
enum encryption encryption_kind(const char *text);

/* A new key: what to store of it, and itself. */
void encryption_new_service(
    const struct keyring *k, struct arena *arena, char **ret_text, uint8_t key[DATA_KEY_SIZE]);
void encryption_new_customer(const uint8_t customer_key[CUSTOMER_KEY_SIZE], struct arena *arena,
    char **ret_text, uint8_t key[DATA_KEY_SIZE]);
/* The key of what was stored. customer_key may be NULL. ERR_ENCRYPTED_BY_CUSTOMER without one that is
 * needed, ERR_ACCESS_DENIED with a wrong one, ERR_CORRUPT. */
int encryption_key(const struct keyring *k, const char *text, const uint8_t *customer_key,
    uint8_t key[DATA_KEY_SIZE], struct err *e);

struct cipher;
struct cipher *cipher_new(const uint8_t key[DATA_KEY_SIZE]); /* with a new vector */
void cipher_free(struct cipher *c);
DEFINE_CLEANUP(struct cipher *, cipher_free)
const char *cipher_iv(const struct cipher *c); /* c NULL: NULL */
/* To the blob, in order, encrypted. c NULL: as they are. */
int cipher_write(struct cipher *c, struct blob_writer *w, struct str bytes, struct err *e);
/* Goes on at that byte of what has this vector. ERR_CORRUPT: it is none. */
int cipher_seek(struct cipher *c, const char *iv, uint64_t offset, struct err *e);
void cipher_apply(struct cipher *c, void *bytes, size_t n); /* in place; both ways are the same */
