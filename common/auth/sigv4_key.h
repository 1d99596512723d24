#pragma once
/* Derived signing keys and signatures of them. Private to auth. */
#include "auth/credentials.h"
#include "base/strbuf.h"

#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"
struct sigv4_scope {
	struct str date, region, service; /* 20130524, us-east-1, s3 */
};
void sigv4_derive(const char *secret, const struct sigv4_scope *scope, uint8_t out[32]);
/* "ALGORITHM\ndate\nscope\nSHA-256(canonical)". */
void sigv4_string_to_sign(
    const char *date, const char *scope, struct str canonical, struct strbuf *out);
/* HMAC of "ALGORITHM\ndate\nscope\nSHA-256(canonical)", as hex. */
void sigv4_signature(
    const uint8_t key[32], const char *date, const char *scope, struct str canonical, char out[65]);

struct sigv4_keys; /* an LRU of derived keys, thread-safe */
#define SIGV4_KEYS_MAX 4096
struct sigv4_keys *sigv4_keys_new(void);
void sigv4_keys_free(struct sigv4_keys *k);
void sigv4_keys_get(struct sigv4_keys *k, const struct auth_key *key,
    const struct sigv4_scope *scope, uint8_t out[32]);
size_t sigv4_keys_count(struct sigv4_keys *k);
