#pragma once
/* Buckets: a name is one bucket's in the whole cloud, and a bucket belongs to an account. */
#include <stdatomic.h>
#include "setting.h"
#include "walrus.h"

struct request;

enum versioning { VERSIONING_NEVER, VERSIONING_ENABLED, VERSIONING_SUSPENDED };
struct bucket {
	int64_t id;
	char *name, *account_id, *location;
	int64_t created_us;
	enum versioning versioning;
	/* Of one that bucket_get gave; parsed and as stored, NULL: not set. */
	const void *settings[SETTING_MAX + 1];
	const char *documents[SETTING_MAX + 1];
	/* bucket_cache.c's own */
	struct arena *arena;
	atomic_uint references;
};

/* -- the cache: buckets as they are now, immutable, counted -- */
struct buckets;
struct buckets *buckets_new(void);
void buckets_free(struct buckets *b);
/* One count is the caller's. ERR_BUCKET_NOT_FOUND. */
int bucket_get(struct walrus *w, const char *name, struct bucket **ret, struct err *e);
/* The same when it is in memory, else NULL: never blocks. */
struct bucket *bucket_peek(struct walrus *w, const char *name);
void bucket_unref(struct bucket *b);
DEFINE_CLEANUP(struct bucket *, bucket_unref)
/* After every commit that changed the bucket's rows, before it is acknowledged. */
void bucket_forget(struct walrus *w, const char *name);

/* -- inside a closure -- */
/* Without settings; strings from the arena. ERR_BUCKET_NOT_FOUND. */
int bucket_find(struct store_tx *tx, const char *name, struct arena *arena, struct bucket *ret,
    struct err *e);
/* The same bucket is still there: ERR_BUCKET_NOT_FOUND. */
int bucket_check(struct store_tx *tx, const struct bucket *bucket, struct err *e);

int64_t bucket_new_id(void); /* not known to be free */

/* The bucket of an account's images: its name is none that a user can give to a bucket, and only service keys
 * may use what is in it. */
#define BUCKET_OF_IMAGES_SIZE 32
void bucket_of_images_name(const char *account_id, char ret[BUCKET_OF_IMAGES_SIZE]);
/* In a closure that writes: there is one afterwards. */
int bucket_of_images(struct store_tx *tx, const char *account_id, struct arena *arena,
    struct bucket *ret, struct err *e);

int bucket_create(struct request *rq, struct err *e);
int bucket_head(struct request *rq, struct err *e);
int bucket_delete(struct request *rq, struct err *e);
int bucket_list_all(struct request *rq, struct err *e);
int bucket_location(struct request *rq, struct err *e);
int bucket_get_versioning(struct request *rq, struct err *e);
int bucket_put_versioning(struct request *rq, struct err *e);
