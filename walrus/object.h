#pragma once
/* Operations on objects, and the changes of their rows that other modules make as well. Files by
 * aspect: object_put.c, object_get.c, object_copy.c, object_attributes.c, object_tags.c, object_delete.c. */
#include "condition.h"
#include "content.h"
#include "request.h"

/* The object that a request means: bucket, key and versionId. */
struct object_name object_name_of(const struct request *rq);
/* That object as the caller may read it, and its bytes. ERR_KEY_NOT_FOUND, ERR_VERSION_NOT_FOUND,
 * ERR_ACCESS_DENIED; a delete marker: ERR_METHOD_NOT_ALLOWED when named by its id, else
 * ERR_KEY_NOT_FOUND, with the headers that say so. */
int object_open(
    struct request *rq, struct object *ret, struct content_reader **ret_reader, struct err *e);
/* In a closure, of an operation that changes the row that the request names: that row, which is no delete
 * marker. As object_open, and ERR_METHOD_NOT_ALLOWED. */
int object_find_named(struct store_tx *tx, struct request *rq, struct object *ret, struct err *e);
/* As how many parts it was uploaded; 0: it was put whole. */
uint32_t object_part_count(const struct object *o);
/* x-amz-version-id, where the bucket has versions at all. */
void object_reply_version(struct request *rq, const char *version_id);

/* On whose behalf an object changes, for those who are told of it. All NULL: by walrus itself. */
struct change_origin {
	const struct request *rq;
	const char
	    *event; /* S3's name of a creation: "ObjectCreated:Copy"; NULL: ObjectCreated:Put */
	const char
	    *removal; /* S3's family of a removal: "LifecycleExpiration"; NULL: ObjectRemoved */
};

/* In a closure: the key now has this object (content_id's extents are there) or this delete marker.
 * What it had before stays behind it as an older version, or goes, as the bucket's versioning says
 * at that moment. ERR_BUCKET_NOT_FOUND, ERR_PRECONDITION_FAILED. */
struct object_put {
	struct str key;
	const char *content_id, *etag, *sha256 /* NULL: not known */, *account_id;
	struct object_attributes attributes;
	uint64_t size_bytes;
	bool is_marker; /* without content */
	struct write_condition condition;
	struct change_origin origin;
	/* out */
	int64_t modified_us;
	char version_id[VERSION_ID_SIZE];
	bool leaves_garbage; /* what it replaced may have had files: poke their sweep */
};
int object_replace(
    struct store_tx *tx, const struct bucket *bucket, struct object_put *put, struct err *e);

/* In a closure: removes a version, or the current object: by a delete marker where the bucket is
 * versioned. Nothing there is fine. ERR_BUCKET_NOT_FOUND, ERR_PRECONDITION_FAILED, ERR_KEY_NOT_FOUND where
 * a condition wants one, ERR_ACCESS_DENIED of a locked version. After these nothing has changed. */
struct object_removal {
	struct str key;
	const char *of_version; /* NULL: whichever is current */
	bool bypasses_governance; /* and may: lock.h */
	struct write_condition condition;
	struct change_origin origin;
	/* out */
	bool made_marker, was_marker;
	char version_id[VERSION_ID_SIZE]; /* of the version removed by id, or of the marker made; or
					     "" */
};
int object_remove(struct store_tx *tx, const struct bucket *bucket, struct object_removal *removal,
    struct err *e);
/* In the closure of a change: news for whoever follows. `bucket` with its settings. */
struct object_change {
	const char *what; /* as the outbox has it: "created", "deleted", "changed" */
	char event[48];   /* as S3 names it: "ObjectCreated:Put", "ObjectTagging:Delete" */
	struct str key;
	const char *version_id; /* NULL: none is named */
	const char *etag;       /* NULL: none, as of what is gone */
	uint64_t size_bytes;
	const struct change_origin *origin;
};
int object_event(struct store_tx *tx, const struct bucket *bucket,
    const struct object_change *change, struct err *e);

int object_put_begin(struct request *rq, struct err *e);
int object_put_data(struct request *rq, struct str bytes, struct err *e);
int object_put_run(struct request *rq, struct err *e);
int object_put_commit(struct store_tx *tx, void *arg, struct err *e);
void object_put_answer(struct request *rq);
void object_put_done(struct request *rq);
int object_get(struct request *rq, struct err *e); /* HEAD too */
int object_copy(struct request *rq, struct err *e);
int object_attributes(struct request *rq, struct err *e);
int object_get_tags(struct request *rq, struct err *e);
int object_put_tags(struct request *rq, struct err *e);
int object_delete_tags(struct request *rq, struct err *e);
int object_delete(struct request *rq, struct err *e);
int object_delete_many(struct request *rq, struct err *e);
