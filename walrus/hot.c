/* Keys share a few thousand counters, by hash. A counter is odd from the moment when a statement
 * writes a row of such a key until the transaction is over, and higher afterwards. An entry carries
 * the counter as it was before its snapshot was read, and is one only as long as the counter is
 * still that: nothing has to be removed when a key changes, a reader that is late can do no harm,
 * and while a commit is on its way nobody is answered from here, because whoever reads the store
 * may already see it. */
#include "hot.h"

#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "run/lock.h"

#define COUNTERS 4096
#define SHARDS 16
#define OBJECT_MAX BLOB_INLINE_MAX
#define KEY_MAX 1024
#define NAME_MAX_SIZE (2 * sizeof(int64_t) + KEY_MAX + 1)

struct entry {
	struct hot_object hot; /* what callers hold */
	struct hot_ticket ticket;
	struct list lru; /* under the shard's lock; the one used last is last */
	size_t bytes;
	atomic_uint references;
	char *name;
};

struct shard {
	struct lock lock;
	struct map *entries; /* under lock, like what follows; one count each */
	struct list lru;
	size_t bytes;
};

struct hot {
	struct store_watch watch;
	uint64_t shard_max;
	atomic_uint_fast64_t all; /* of statements that may have written any row */
	atomic_uint_fast64_t counters[COUNTERS];
	struct shard shards[SHARDS];
	/* the writer's thread alone */
	unsigned *written;
	size_t written_count, written_size;
};

/* FNV-1a: an even spread is all that is wanted, a collision only costs a look into the store. */
static uint32_t
hash(int64_t bucket_id, struct str key)
{
	uint64_t h = UINT64_C(14695981039346656037) ^ (uint64_t)bucket_id;

	for (size_t i = 0; i < key.n; i++)
		h = (h ^ (unsigned char)key.p[i]) * UINT64_C(1099511628211);
	return (uint32_t)(h ^ h >> 32);
}

/* False when the key is none that a map can hold. */
static bool
name_of(int64_t bucket_id, struct str key, char out[NAME_MAX_SIZE])
{
	if (key.n > KEY_MAX || memchr(key.p, 0, key.n))
		return false;
	hex_encode(&bucket_id, sizeof(bucket_id), out);
	memcpy(out + 2 * sizeof(bucket_id), key.p, key.n);
	out[2 * sizeof(bucket_id) + key.n] = 0;
	return true;
}

static struct shard *
shard_of(struct hot *h, uint32_t number)
{
	return &h->shards[number / COUNTERS % SHARDS];
}

/* -- what is written -- */

static void
make_odd(atomic_uint_fast64_t *counter)
{
	atomic_fetch_add(counter, 1);
}

static void
on_wrote(void *arg, int64_t bucket_id, struct str key)
{
	struct hot *h = arg;
	unsigned at;

	if (!key.p) {
		if (atomic_load(&h->all) % 2 == 0)
			make_odd(&h->all);
		return;
	}
	at = hash(bucket_id, key) % COUNTERS;
	if (atomic_load(&h->counters[at]) % 2)
		return;
	if (h->written_count == h->written_size) {
		h->written_size = h->written_size ? 2 * h->written_size : 64;
		h->written = xrealloc(h->written, h->written_size * sizeof(*h->written));
	}
	h->written[h->written_count++] = at;
	make_odd(&h->counters[at]);
}

static void
on_ended(void *arg)
{
	struct hot *h = arg;

	if (atomic_load(&h->all) % 2)
		atomic_fetch_add(&h->all, 1);
	while (h->written_count > 0)
		atomic_fetch_add(&h->counters[h->written[--h->written_count]], 1);
}

/* -- life -- */

static void
unref(void *p)
{
	struct entry *x = p;

	if (atomic_fetch_sub(&x->references, 1) == 1)
		free(x);
}

void
hot_unref(struct hot_object *o)
{
	if (o)
		unref(CONTAINER_OF(o, struct entry, hot));
}

struct hot *
hot_new(struct store *store, uint64_t bytes_max)
{
	struct hot *h = xcalloc(1, sizeof(*h));

	h->shard_max = bytes_max / SHARDS;
	for (unsigned i = 0; i < SHARDS; i++) {
		lock_init(&h->shards[i].lock, LOCK_CACHE);
		list_init(&h->shards[i].lru);
		h->shards[i].entries = map_new(unref);
	}
	h->watch = (struct store_watch){ "object", on_wrote, on_ended, h };
	store_set_watch(store, &h->watch);
	return h;
}

void
hot_free(struct hot *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		map_free(h->shards[i].entries);
		lock_done(&h->shards[i].lock);
	}
	free(h->written);
	free(h);
}

/* -- finding -- */

struct hot_ticket
hot_ticket(struct hot *h, int64_t bucket_id, struct str key)
{
	if (!h)
		return (struct hot_ticket){ 1, 1 };
	return (struct hot_ticket){ atomic_load(&h->counters[hash(bucket_id, key) % COUNTERS]),
		atomic_load(&h->all) };
}

static bool
is_settled(struct hot_ticket t)
{
	return t.one % 2 == 0 && t.all % 2 == 0;
}

struct hot_object *
hot_find(struct hot *h, int64_t bucket_id, struct str key)
{
	struct hot_ticket now = hot_ticket(h, bucket_id, key);
	struct shard *s;
	char name[NAME_MAX_SIZE];
	struct entry *x;

	if (!is_settled(now) || !name_of(bucket_id, key, name))
		return NULL;
	s = shard_of(h, hash(bucket_id, key));
	LOCK_SCOPE(&s->lock);
	x = map_find(s->entries, name);
	if (!x || x->ticket.one != now.one || x->ticket.all != now.all)
		return NULL;
	list_remove(&x->lru);
	list_add_tail(&s->lru, &x->lru);
	atomic_fetch_add(&x->references, 1);
	return &x->hot;
}

size_t
hot_count(struct hot *h)
{
	size_t count = 0;

	for (unsigned i = 0; i < SHARDS; i++) {
		LOCK_SCOPE(&h->shards[i].lock);
		count += map_count(h->shards[i].entries);
	}
	return count;
}

/* -- putting in -- */

static void
drop_locked(struct shard *s, struct entry *x)
{
	s->bytes -= x->bytes;
	list_remove(&x->lru);
	(void)map_remove(s->entries, x->name);
}

/* Moves a text behind the entry; with *io_at NULL only counts. */
static char *
pack(char **io_at, size_t *io_bytes, const void *p, size_t n)
{
	char *copy = *io_at;

	*io_bytes += n + 1;
	if (!p || !copy)
		return NULL;
	memcpy(copy, p, n);
	copy[n] = 0;
	*io_at += n + 1;
	return copy;
}

/* All that `to` points to, copied to `at`. Returns the bytes that takes. */
static size_t
pack_all(struct hot_object *to, const struct object *o, const struct extent *extent,
    const char *name, char *at, char **ret_name)
{
	struct object_attributes *a = &to->object.attributes;
	char **const texts[] = { &a->headers, &a->acl, &a->tags, &a->checksum, &a->storage_class,
		&a->lock_mode, &to->object.version_id, &to->object.content_id, &to->object.etag,
		&to->object.sha256, &to->object.account_id, &to->extent.checksum };
	size_t bytes = 0;

	to->object = *o;
	to->extent = extent ? *extent : (struct extent){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (*texts[i])
			*texts[i] = pack(&at, &bytes, *texts[i], strlen(*texts[i]));
	to->object.key.p = pack(&at, &bytes, o->key.p, o->key.n);
	to->extent.blob.data.p = pack(&at, &bytes, to->extent.blob.data.p, to->extent.blob.data.n);
	*ret_name = pack(&at, &bytes, name, strlen(name));
	return bytes;
}

static struct entry *
entry_new(const struct object *o, const struct extent *extent, const char *name)
{
	struct hot_object sizing;
	char *unused;
	size_t bytes = pack_all(&sizing, o, extent, name, NULL, &unused);
	struct entry *x = xmalloc(sizeof(*x) + bytes);

	x->bytes = sizeof(*x) + bytes;
	atomic_init(&x->references, 1);
	(void)pack_all(&x->hot, o, extent, name, (char *)(x + 1), &x->name);
	return x;
}

static bool
is_wanted(const struct object *o, const struct extent *extents, size_t count)
{
	if (o->is_marker || !o->is_current || o->size_bytes > OBJECT_MAX || count > 1 ||
	    o->attributes.encryption)
		return false;
	return count == 0 || (!extents[0].blob.id[0] && !extents[0].iv);
}

void
hot_offer(struct hot *h, struct hot_ticket ticket, int64_t bucket_id, const struct object *o,
    const struct extent *extents, size_t count)
{
	char name[NAME_MAX_SIZE];
	struct entry *x, *old;
	struct shard *s;

	if (!is_settled(ticket) || !is_wanted(o, extents, count) ||
	    !name_of(bucket_id, o->key, name))
		return;
	x = entry_new(o, count ? extents : NULL, name);
	x->ticket = ticket;
	s = shard_of(h, hash(bucket_id, o->key));
	LOCK_SCOPE(&s->lock);
	old = map_find(s->entries, name);
	if (old)
		drop_locked(s, old);
	s->bytes += x->bytes;
	list_add_tail(&s->lru, &x->lru);
	map_set(s->entries, name, x);
	while (s->bytes > h->shard_max)
		drop_locked(s, CONTAINER_OF(s->lru.next, struct entry, lru));
}
