#pragma once
#include "request.h"

/* ERR_BUCKET_NOT_FOUND. */
int bucket_get(struct walrus *w, const char *name, struct arena *arena, struct bucket *ret,
    struct err *e);
int bucket_find(struct store_tx *tx, const char *name, struct arena *arena, struct bucket *ret,
    struct err *e); /* the same inside a closure */

int bucket_create(struct request *rq, struct err *e);
int bucket_head(struct request *rq, struct err *e);
int bucket_delete(struct request *rq, struct err *e);
int bucket_list_all(struct request *rq, struct err *e);
int bucket_location(struct request *rq, struct err *e);
int bucket_versioning(struct request *rq, struct err *e);
