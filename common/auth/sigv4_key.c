/* Signing keys are derived from the secret by four HMACs over date, region and service, the same
 * for all requests of a day: they are kept in an LRU. An entry carries the generation of the secret
 * it was made from, so a rotated or disabled key never meets an old derivation. */
#include "auth/sigv4_key.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include "auth/digest.h"
#include "base/list.h"
#include "base/map.h"
#include "run/lock.h"

struct derived {
	struct list lru; /* most recently used last */
	char *name;      /* "access key/date/region/service" */
	uint64_t generation;
	uint8_t key[32];
};
struct sigv4_keys {
	struct lock lock;    /* LEAF; guards all below */
	struct map *by_name; /* -> struct derived */
	struct list lru;
};

void
sigv4_derive(const char *secret, const struct sigv4_scope *scope, uint8_t out[32])
{
	char first[SECRET_KEY_SIZE + 8];
	uint8_t key[32];
	struct str derived = { (const char *)key, sizeof(key) };

	(void)snprintf(first, sizeof(first), "AWS4%s", secret);
	hmac(DIGEST_SHA256, str_of(first), scope->date, key);
	hmac(DIGEST_SHA256, derived, scope->region, key);
	hmac(DIGEST_SHA256, derived, scope->service, key);
	hmac(DIGEST_SHA256, derived, STR("aws4_request"), out);
	OPENSSL_cleanse(first, sizeof(first));
	OPENSSL_cleanse(key, sizeof(key));
}

void
sigv4_string_to_sign(const char *date, const char *scope, struct str canonical, struct strbuf *out)
{
	const char *const lines[] = { SIGV4_ALGORITHM, date, scope };
	char hash[65];

	digest_hex(DIGEST_SHA256, canonical, hash);
	strbuf_reserve(out, 255);
	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		strbuf_adds(out, lines[i]);
		strbuf_addc(out, '\n');
	}
	strbuf_add(out, hash, sizeof(hash) - 1);
}

void
sigv4_signature(
    const uint8_t key[32], const char *date, const char *scope, struct str canonical, char out[65])
{
	_cleanup_strbuf_ struct strbuf to_sign = STRBUF_INIT;
	uint8_t mac[32];

	sigv4_string_to_sign(date, scope, canonical, &to_sign);
	hmac(DIGEST_SHA256, (struct str){ (const char *)key, 32 }, strbuf_str(&to_sign), mac);
	hex_encode(mac, sizeof(mac), out);
}

static void
free_derived(void *p)
{
	struct derived *d = p;

	list_remove(&d->lru);
	OPENSSL_cleanse(d->key, sizeof(d->key));
	free(d->name);
	free(d);
}

struct sigv4_keys *
sigv4_keys_new(void)
{
	struct sigv4_keys *k = xcalloc(1, sizeof(*k));

	lock_init(&k->lock, LOCK_LEAF);
	list_init(&k->lru);
	k->by_name = map_new(free_derived);
	return k;
}

void
sigv4_keys_free(struct sigv4_keys *k)
{
	if (!k)
		return;
	map_free(k->by_name);
	lock_done(&k->lock);
	free(k);
}

static bool
find(struct sigv4_keys *k, const char *name, uint64_t generation, uint8_t out[32])
{
	struct derived *d;

	LOCK_SCOPE(&k->lock);
	d = map_find(k->by_name, name);
	if (!d || d->generation != generation)
		return false;
	list_remove(&d->lru);
	list_add_tail(&k->lru, &d->lru);
	memcpy(out, d->key, sizeof(d->key));
	return true;
}

static void
remember(struct sigv4_keys *k, const char *name, uint64_t generation, const uint8_t key[32])
{
	struct derived *d = xcalloc(1, sizeof(*d));

	d->name = xstrdup(name);
	d->generation = generation;
	memcpy(d->key, key, sizeof(d->key));
	LOCK_SCOPE(&k->lock);
	while (map_count(k->by_name) >= SIGV4_KEYS_MAX)
		(void)map_remove(k->by_name, CONTAINER_OF(k->lru.next, struct derived, lru)->name);
	list_add_tail(&k->lru, &d->lru);
	map_set(k->by_name, name, d);
}

void
sigv4_keys_get(struct sigv4_keys *k, const struct auth_key *key, const struct sigv4_scope *scope,
    uint8_t out[32])
{
	const struct str parts[] = { str_of(key->access_key_id), scope->date, scope->region,
		scope->service };
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;

	strbuf_reserve(&name, 127);
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		if (i)
			strbuf_addc(&name, '/');
		strbuf_addstr(&name, parts[i]);
	}
	if (find(k, strbuf_c(&name), key->generation, out))
		return;
	sigv4_derive(key->secret, scope, out); /* without the lock */
	remember(k, strbuf_c(&name), key->generation, out);
}

size_t
sigv4_keys_count(struct sigv4_keys *k)
{
	LOCK_SCOPE(&k->lock);
	return map_count(k->by_name);
}
