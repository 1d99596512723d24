#pragma once
/* Master keys: each object that walrus encrypts has a data key of its own, which is stored wrapped by one of
 * these. They live in a file of the state directory, one "VERSION BASE64" a line; the highest version wraps,
 * all unwrap. Without the file what was encrypted is lost: it belongs into every backup. */
#include <stdint.h>
#include "base/err.h"

#define DATA_KEY_SIZE 32
#define WRAPPED_SIZE (12 + DATA_KEY_SIZE + 16) /* nonce, AES-256-GCM, tag */

struct keyring;
/* Makes the file, with one key, when there is none. ERR_CORRUPT when it can't be understood. */
int keyring_open(const char *path, struct keyring **ret, struct err *e);
void keyring_free(struct keyring *k);
DEFINE_CLEANUP(struct keyring *, keyring_free)
void keyring_wrap(const struct keyring *k, const uint8_t key[DATA_KEY_SIZE], uint32_t *ret_version,
    uint8_t out[WRAPPED_SIZE]);
/* ERR_CORRUPT: no such version, or it was another key. */
int keyring_unwrap(const struct keyring *k, uint32_t version, const uint8_t wrapped[WRAPPED_SIZE],
    uint8_t out[DATA_KEY_SIZE], struct err *e);
