/* Buckets come, are looked at, and go. */
#include "acl_request.h"
#include "bucket.h"
#include "lock.h"
#include "request.h"
#include "schema.h"
#include "upload.h"

static int
read_location(struct request *rq, struct bucket *b, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	xmlNode *node;
	int r;

	b->location = arena_strdup(rq->arena, "");
	if (rq->body.n == 0)
		return 0;
	r = request_parse_xml(rq, "CreateBucketConfiguration", &doc, e);
	if (r < 0)
		return r;
	node = xml_find(xmlDocGetRootElement(doc), "LocationConstraint");
	if (node)
		b->location = xml_text_of(node, 63, rq->arena);
	if (!b->location)
		return err_set(
		    e, ERR_INVALID_ARGUMENT, "The specified location-constraint is not valid");
	return 0;
}

static int
insert(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	const struct bucket *b = rq->data;
	_cleanup_(store_rows_freep) struct store_rows *count = NULL;
	struct bucket other;
	int64_t changed = 0;
	int r = store_query_one(tx, Q_BUCKET_COUNT, &count, "buckets", e, b->account_id);

	if (r < 0)
		return r;
	r = bucket_find(tx, b->name, rq->arena, &other, e);
	if (r == 0 && strings_equal(other.account_id, b->account_id))
		return err_set(e, ERR_BUCKET_OWNED_BY_YOU,
		    "Your previous request to create the named bucket succeeded and you already "
		    "own it.");
	if (r == 0)
		return err_set(e, ERR_BUCKET_EXISTS,
		    "The requested bucket name is not available. The bucket namespace is shared by "
		    "all users "
		    "of the system. Please select a different name and try again.");
	if (r != ERR_BUCKET_NOT_FOUND)
		return r;
	if (store_int(count, 0) >= rq->walrus->conf->bucket_limit)
		return err_set(e, ERR_TOO_MANY_BUCKETS,
		    "You have attempted to create more buckets than allowed");
	r = store_exec(tx, Q_BUCKET_INSERT, &changed, e, b->id, b->name, b->account_id, b->location,
	    store_now_us(tx));
	if (r < 0)
		return r;
	if (changed == 0)
		return err_set(e, ERR_CONFLICT, "the id of a bucket is taken");
	for (unsigned s = 0; s < SETTING_MAX; s++) {
		r = b->documents[s] ? setting_set(tx, b->id, s, b->documents[s], e) : 0;
		if (r < 0)
			return r;
	}
	if (str_is_nocase(request_header(rq, "x-amz-bucket-object-lock-enabled"), "true"))
		r = lock_enable(tx, b->id, e);
	if (r < 0)
		return r;
	return request_record(tx, rq, "bucket", b->name, e);
}

int
bucket_create(struct request *rq, struct err *e)
{
	struct bucket *b = arena_alloc(rq->arena, sizeof(*b));
	int r;

	if (!bucket_name_is_valid(rq->target.bucket))
		return err_set(e, ERR_BUCKET_NAME, "The specified bucket is not valid.");
	r = read_location(rq, b, e);
	if (r < 0)
		return r;
	b->id = bucket_new_id();
	b->name = rq->target.bucket;
	b->account_id = rq->caller.account_id;
	rq->data = b;
	r = acl_of_new_bucket(rq, b, e);
	if (r < 0)
		return r;
	r = store_write(rq->walrus->store, insert, rq, e);
	if (r < 0)
		return r;
	bucket_forget(rq->walrus, b->name);
	log_info(&rq->log, "bucket.created", "bucket=%s", b->name);
	reply_headerf(rq, "Location", "/%s", b->name);
	return 0;
}

int
bucket_head(struct request *rq, struct err *e)
{
	const char *location = rq->bucket->location;

	/* where LocationConstraint is empty clients read it so */
	reply_header(rq, "x-amz-bucket-region", location[0] ? location : "us-east-1");
	return 0;
}

int
bucket_location(struct request *rq, struct err *e)
{
	struct xml_writer *w = reply_xml(rq, "LocationConstraint");

	xml_text(w, str_of(rq->bucket->location));
	reply_xml_end(rq, "LocationConstraint");
	return 0;
}

/* -- delete -- */

static int
drop_uploads(struct store_tx *tx, int64_t bucket_id, struct err *e)
{
	for (;;) {
		_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
		_cleanup_free_ char *id = NULL;
		int r = store_query(tx, Q_UPLOADS_OF_BUCKET, &rows, e, bucket_id, (int64_t)1);

		if (r == 0)
			r = store_next(rows, e);
		if (r <= 0)
			return r;
		id = xstrdup(store_text(rows, 0));
		store_rows_free(TAKE(rows));
		r = upload_drop(tx, bucket_id, id, e);
		if (r < 0)
			return r;
	}
}

static int
drop(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int64_t changed = 0;
	int r = store_query_one(tx, Q_BUCKET_HAS_OBJECTS, &rows, "objects", e, rq->bucket->id);

	if (r < 0)
		return r;
	if (store_int(rows, 0))
		return err_set(e, ERR_BUCKET_NOT_EMPTY, "%s",
		    rq->bucket->versioning == VERSIONING_NEVER
			? "The bucket you tried to delete is not empty"
			: "The bucket you tried to delete is not empty. You must delete all "
			  "versions in the bucket.");
	store_rows_free(TAKE(rows));
	r = drop_uploads(tx, rq->bucket->id, e);
	if (r == 0)
		r = store_exec(tx, Q_BUCKET_SETTINGS_DELETE, NULL, e, rq->bucket->id);
	if (r == 0)
		r = store_exec(tx, Q_BUCKET_DELETE, &changed, e, rq->bucket->id);
	if (r == 0)
		r = store_exec(tx, Q_USAGE_DELETE, NULL, e, rq->bucket->id);
	if (r == 0 && changed == 0)
		return err_set(e, ERR_BUCKET_NOT_FOUND, "The specified bucket does not exist");
	if (r == 0)
		r = request_record(tx, rq, "bucket", rq->bucket->name, e);
	return r;
}

int
bucket_delete(struct request *rq, struct err *e)
{
	int r = store_write(rq->walrus->store, drop, rq, e);

	bucket_forget(rq->walrus, rq->bucket->name);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	log_info(&rq->log, "bucket.deleted", "bucket=%s", rq->bucket->name);
	rq->status = 204;
	return 0;
}
