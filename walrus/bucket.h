#pragma once
#include "request.h"

/* ERR_BUCKET_NOT_FOUND. */
int bucket_get(struct walrus *w, const char *name, struct arena *arena, struct bucket *ret,
    struct err *e);
int bucket_find(struct store_tx *tx, const char *name, struct arena *arena, struct bucket *ret,
    struct err *e); /* the same inside a closure */

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
int bucket_versioning(struct request *rq, struct err *e);
