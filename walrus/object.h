#pragma once
#include "request.h"

/* What is stored beside the bytes, from the request's headers: text or NULL. */
int object_headers(struct request *rq, char **ret, struct err *e);

/* In a closure: the key now has this object (content_id's extents are there), whatever it had before. */
struct object_put {
	struct str key;
	const char *content_id, *etag, *sha256, *account_id, *headers;
	uint64_t size_bytes;
	int64_t modified_us; /* out */
};
int object_replace(struct store_tx *tx, const struct bucket *bucket, struct object_put *put,
    struct err *e);

/* In a closure: the key has no object any more, whether it had one or not. */
int object_remove(struct store_tx *tx, const struct bucket *bucket, struct str key, struct err *e);

/* Bytes of a body as they stream in: a blob. rq->data. */
struct blob_writer *object_writer(struct request *rq);
int object_data(struct request *rq, struct str bytes, struct err *e);
void object_done(struct request *rq);

int object_put_run(struct request *rq, struct err *e);
int object_put_begin(struct request *rq, struct err *e);
int object_get(struct request *rq, struct err *e); /* HEAD too */
int object_delete(struct request *rq, struct err *e);
int object_delete_many(struct request *rq, struct err *e);
