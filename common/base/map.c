/* Hash map with chains. Buckets double when there are as many entries; the hash is SipHash-1-3
 * under a key drawn at start, so that whoever chooses keys cannot choose collisions. */
#include "base/map.h"

#include <pthread.h>

#include "base/id.h"

#define BUCKETS_MIN 16

struct entry {
	struct entry *next;
	uint64_t hash;
	void *value;
	size_t key_n;
	char key[];
};

struct map {
	struct entry **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	void (*free_value)(void *);
};

static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void
draw_hash_key(void)
{
	random_bytes(hash_key, sizeof(hash_key));
}

static uint64_t
rotate(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash with one compression and three finalisation rounds (Aumasson and Bernstein, 2012). */
static uint64_t
hash_of(struct str key)
{
	uint64_t v[4] = { hash_key[0] ^ 0x736f6d6570736575, hash_key[1] ^ 0x646f72616e646f6d,
		hash_key[0] ^ 0x6c7967656e657261, hash_key[1] ^ 0x7465646279746573 };
	uint64_t last = (uint64_t)key.n << 56, word;
	size_t i;

	for (i = 0; i + 8 <= key.n; i += 8) {
		memcpy(&word, key.p + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (size_t shift = 0; i < key.n; i++, shift += 8)
		last |= (uint64_t)(unsigned char)key.p[i] << shift;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int round = 0; round < 3; round++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct map *
map_new(void (*free_value)(void *))
{
	struct map *m = xcalloc(1, sizeof(*m));

	(void)pthread_once(&hash_key_once, draw_hash_key);
	m->bucket_count = BUCKETS_MIN;
	m->buckets = xcalloc(m->bucket_count, sizeof(*m->buckets));
	m->free_value = free_value;
	return m;
}

static void
value_free(const struct map *m, void *value)
{
	if (m->free_value && value)
		m->free_value(value);
}

void
map_free(struct map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->bucket_count; i++) {
		for (struct entry *x = m->buckets[i], *next; x; x = next) {
			next = x->next;
			value_free(m, x->value);
			free(x);
		}
	}
	free(m->buckets);
	free(m);
}

size_t
map_count(const struct map *m)
{
	return m->count;
}

/* The link that points at the entry of this key, or at the NULL where it would be put. */
static struct entry **
link_of(const struct map *m, struct str key, uint64_t hash)
{
	struct entry **link = &m->buckets[hash & (m->bucket_count - 1)];

	while (*link && !((*link)->hash == hash && (*link)->key_n == key.n &&
			    memcmp((*link)->key, key.p, key.n) == 0))
		link = &(*link)->next;
	return link;
}

void *
map_find_str(const struct map *m, struct str key)
{
	struct entry *x;

	if (!key.p)
		key.p = "";
	x = *link_of(m, key, hash_of(key));
	return x ? x->value : NULL;
}

void *
map_find(const struct map *m, const char *key)
{
	return map_find_str(m, str_of(key));
}

static void
grow(struct map *m)
{
	size_t count = m->bucket_count * 2;
	struct entry **buckets = xcalloc(count, sizeof(*buckets));

	for (size_t i = 0; i < m->bucket_count; i++) {
		for (struct entry *x = m->buckets[i], *next; x; x = next) {
			next = x->next;
			x->next = buckets[x->hash & (count - 1)];
			buckets[x->hash & (count - 1)] = x;
		}
	}
	free(m->buckets);
	m->buckets = buckets;
	m->bucket_count = count;
}

void
map_set(struct map *m, const char *key, void *value)
{
	struct str k = str_of(key);
	uint64_t hash = hash_of(k);
	struct entry **link = link_of(m, k, hash), *x = *link;

	if (x) {
		if (x->value != value)
			value_free(m, x->value);
		x->value = value;
		return;
	}
	x = xmalloc(sizeof(*x) + k.n + 1);
	*x = (struct entry){ .hash = hash, .value = value, .key_n = k.n };
	memcpy(x->key, k.p, k.n);
	x->key[k.n] = '\0';
	*link = x;
	if (++m->count > m->bucket_count)
		grow(m);
}

/* Takes the entry out; the caller frees it. */
static struct entry *
unlink_entry(struct map *m, const char *key)
{
	struct str k = str_of(key);
	struct entry **link = link_of(m, k, hash_of(k)), *x = *link;

	if (x) {
		*link = x->next;
		m->count--;
	}
	return x;
}

bool
map_remove(struct map *m, const char *key)
{
	struct entry *x = unlink_entry(m, key);

	if (!x)
		return false;
	value_free(m, x->value);
	free(x);
	return true;
}

void *
map_take(struct map *m, const char *key)
{
	struct entry *x = unlink_entry(m, key);
	void *value = x ? x->value : NULL;

	free(x);
	return value;
}

/* The cursor is the bucket in its high part and the place in the chain in its low 16 bits; chains
 * are that short by the doubling and the keyed hash. */
bool
map_next(const struct map *m, size_t *cursor, const char **ret_key, void **ret_value)
{
	size_t bucket = *cursor >> 16, place = *cursor & 0xffff;

	for (; bucket < m->bucket_count; bucket++, place = 0) {
		struct entry *x = m->buckets[bucket];

		for (size_t i = 0; x && i < place; i++)
			x = x->next;
		if (!x)
			continue;
		*cursor = bucket << 16 | (place + 1);
		if (ret_key)
			*ret_key = x->key;
		if (ret_value)
			*ret_value = x->value;
		return true;
	}
	*cursor = bucket << 16;
	return false;
}
