/* Every request asks for its bucket, hardly one changes it. A bucket is read once, with its
 * settings parsed, and shared until a commit changes it. A reader that began before such a commit
 * may come with what was: it looks at the epoch first, and keeps its bucket for itself when that
 * has moved. */
#include "base/map.h"
#include "bucket.h"
#include "run/lock.h"
#include "schema.h"

#define CACHED_MAX 4096
#define BUCKET_BYTES_MAX                                                                           \
	(32 * 1024 * 1024) /* more than rules of 4 MiB take, and all other settings of 256 KiB */

struct buckets {
	struct lock lock;
	struct map *by_name; /* under lock, like what follows: struct bucket, one count each */
	uint64_t epoch;      /* rises with every change */
};

static void
unref(void *p)
{
	bucket_unref(p);
}

struct buckets *
buckets_new(void)
{
	struct buckets *b = xcalloc(1, sizeof(*b));

	lock_init(&b->lock, LOCK_CACHE);
	b->by_name = map_new(unref);
	return b;
}

void
buckets_free(struct buckets *b)
{
	if (!b)
		return;
	map_free(b->by_name);
	lock_done(&b->lock);
	free(b);
}

void
bucket_unref(struct bucket *b)
{
	if (b && b->arena && atomic_fetch_sub(&b->references, 1) == 1)
		arena_free(b->arena);
}

void
bucket_forget(struct walrus *w, const char *name)
{
	LOCK_SCOPE(&w->buckets->lock);
	w->buckets->epoch++;
	(void)map_remove(w->buckets->by_name, name);
}

/* -- reading one -- */

static int
add_setting(struct bucket *b, const char *kind, const char *body, struct err *e)
{
	for (unsigned s = 0; s < SETTING_MAX; s++) {
		if (strcmp(setting_names[s], kind) != 0)
			continue;
		b->documents[s] = arena_strdup(b->arena, body);
		if (setting_kinds[s].parse(str_of(b->documents[s]), b->arena, &b->settings[s], e) ==
		    0)
			return 0;
	}
	/* Without it the bucket might let in whom it must not. */
	return err_set(
	    e, ERR_CORRUPT, "the setting '%s' of bucket '%s' can't be read", kind, b->name);
}

struct lookup {
	const char *name;
	struct bucket *bucket;
};

static int
read_bucket(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;
	struct bucket *b = l->bucket;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct arena *arena = b->arena;
	int r = bucket_find(tx, l->name, arena, b, e);

	b->arena = arena;
	if (r == 0)
		r = store_query(tx, Q_BUCKET_SETTINGS, &rows, e, b->id);
	while (r >= 0 && rows && (r = store_next(rows, e)) > 0)
		r = add_setting(b, store_text(rows, 0), store_text(rows, 1), e);
	return r;
}

static struct bucket *
find_cached(struct buckets *cache, const char *name, uint64_t *ret_epoch)
{
	struct bucket *b;

	LOCK_SCOPE(&cache->lock);
	*ret_epoch = cache->epoch;
	b = map_find(cache->by_name, name);
	if (b)
		atomic_fetch_add(&b->references, 1);
	return b;
}

static void
offer(struct buckets *cache, struct bucket *b, uint64_t epoch)
{
	LOCK_SCOPE(&cache->lock);
	if (cache->epoch != epoch)
		return;
	if (map_count(cache->by_name) >= CACHED_MAX) {
		map_free(cache->by_name);
		cache->by_name = map_new(unref);
	}
	atomic_fetch_add(&b->references, 1);
	map_set(cache->by_name, b->name, b);
}

struct bucket *
bucket_peek(struct walrus *w, const char *name)
{
	uint64_t epoch;

	return find_cached(w->buckets, name, &epoch);
}

int
bucket_get(struct walrus *w, const char *name, struct bucket **ret, struct err *e)
{
	struct arena *arena;
	struct lookup l = { .name = name };
	uint64_t epoch;
	int r;

	*ret = find_cached(w->buckets, name, &epoch);
	if (*ret)
		return 0;
	arena = arena_new(BUCKET_BYTES_MAX);
	l.bucket = arena_alloc(arena, sizeof(*l.bucket));
	l.bucket->arena = arena;
	atomic_init(&l.bucket->references, 1);
	r = store_read(w->store, read_bucket, &l, e);
	if (r < 0) {
		arena_free(arena);
		return r;
	}
	/* bucket_find wrote the whole of it */
	atomic_init(&l.bucket->references, 1);
	offer(w->buckets, l.bucket, epoch);
	*ret = l.bucket;
	return 0;
}
