/* PUT of an object. It streams into a blob, then one transaction gives the key its new bytes: who
 * reads sees the old object or the new one, whole. Where the bucket is versioned the old one stays
 * behind it. */
#include <stdio.h>

#include "base/clock.h"

#include "access.h"
#include "bucket.h"
#include "checksum_value.h"
#include "encryption_request.h"
#include "lifecycle.h"
#include "lock.h"
#include "metadata.h"
#include "notification.h"
#include "object.h"
#include "schema.h"
#include "store/outbox.h"
#include "usage.h"
#include "version.h"

struct put {
	struct blob_writer *writer;
	struct cipher *cipher; /* NULL: stored as it comes */
	struct blob blob;
	bool has_checksum; /* of ours, as the client sends none */
	struct checksum checksum;
	char content_id[CONTENT_ID_SIZE], etag[33];
	struct object_put row;
};

int
object_put_begin(struct request *rq, struct err *e)
{
	struct put *p = arena_alloc(rq->arena, sizeof(*p));
	int r;

	rq->data = p;
	p->writer = blob_writer_new(rq->walrus->blobs);
	r = write_condition_read(rq, &p->row.condition, e);
	if (r == 0)
		r = metadata_read(rq, &p->row.attributes, e);
	if (r == 0)
		r = lock_check_digest(rq, &p->row.attributes, "Put Object", e);
	if (r == 0)
		r = encryption_begin(rq, &p->row.attributes.encryption, &p->cipher, e);
	p->has_checksum = !rq->has_checksum;
	if (p->has_checksum)
		checksum_begin(&p->checksum, CHECKSUM_DEFAULT);
	return r;
}

int
object_put_data(struct request *rq, struct str bytes, struct err *e)
{
	struct put *p = rq->data;

	if (p->has_checksum)
		checksum_add(&p->checksum, bytes);
	return cipher_write(p->cipher, p->writer, bytes, e);
}

void
object_put_done(struct request *rq)
{
	struct put *p = rq->data;

	if (!p)
		return;
	blob_writer_free(TAKE(p->writer));
	cipher_free(TAKE(p->cipher));
}

int
object_event(struct store_tx *tx, const struct bucket *bucket, const struct object_change *change,
    struct err *e)
{
	_cleanup_free_ char *id =
	    xasprintf("%s/%.*s", bucket->name, (int)change->key.n, change->key.p);
	int r = outbox_add(tx, "object", id, bucket->account_id, change->what, e);

	return r < 0 ? r : notification_add(tx, bucket, change, e);
}

static int
tell(struct store_tx *tx, const struct bucket *bucket, const struct object_put *put, struct err *e)
{
	const struct change_origin *origin = &put->origin;
	struct object_change change = { .what = put->is_marker ? "deleted" : "created",
		.key = put->key,
		.version_id = put->version_id,
		.etag = put->etag,
		.size_bytes = put->size_bytes,
		.origin = origin };

	if (put->is_marker)
		(void)snprintf(change.event, sizeof(change.event), "%s:DeleteMarkerCreated",
		    origin->removal ? origin->removal : "ObjectRemoved");
	else
		(void)snprintf(change.event, sizeof(change.event), "%s",
		    origin->event ? origin->event : "ObjectCreated:Put");
	return object_event(tx, bucket, &change, e);
}

/* -- the key's new version -- */

static int
find_newest(struct store_tx *tx, int64_t bucket_id, struct str key, struct arena *arena,
    struct object *ret, bool *ret_is_there, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_OBJECT_NEWEST, &rows, e, bucket_id, key);

	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	*ret_is_there = r > 0;
	if (r > 0)
		object_from_row(rows, arena, ret);
	return 0;
}

/* The version that has no id of its own, if there is one, makes room. */
static int
drop_null_version(struct store_tx *tx, const struct bucket *bucket, struct object_put *put,
    struct arena *arena, struct usage_change *io_change, struct err *e)
{
	struct str key = put->key;
	struct object_name name = { bucket->id, key, VERSION_NULL, NULL };
	struct object o;
	int r = object_find(tx, &name, arena, &o, e);

	if (r == ERR_VERSION_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r == 0 && !lock_allows_removal(&o, lock_now_us()))
		return lock_denied(e);
	if (r == 0)
		r = store_exec(tx, Q_OBJECT_DELETE_VERSION, NULL, e, bucket->id, key, o.position);
	if (r < 0)
		return r;
	io_change->versions--;
	io_change->bytes -= (int64_t)o.size_bytes;
	put->leaves_garbage = o.size_bytes > BLOB_INLINE_MAX;
	return content_discard(tx, o.content_id, e);
}

static int
make_room(struct store_tx *tx, const struct bucket *bucket, struct object_put *put,
    struct arena *arena, int64_t *ret_position, struct usage_change *io_change, struct err *e)
{
	struct object newest;
	bool is_there;
	int r = find_newest(tx, bucket->id, put->key, arena, &newest, &is_there, e);

	if (r == 0)
		r = write_condition_check(&put->condition, is_there ? &newest : NULL, e);
	if (r < 0)
		return r;
	*ret_position = INT64_MAX - store_now_us(tx);
	if (!is_there)
		return 0;
	if (!newest.is_marker)
		io_change->objects--;
	if (*ret_position >= newest.position)
		*ret_position = newest.position - 1;
	if (bucket->versioning != VERSIONING_ENABLED)
		r = drop_null_version(tx, bucket, put, arena, io_change, e);
	if (r == 0 && bucket->versioning != VERSIONING_NEVER)
		r = store_exec(tx, Q_OBJECT_RETIRE, NULL, e, bucket->id, put->key, newest.position);
	return r;
}

int
object_replace(
    struct store_tx *tx, const struct bucket *bucket, struct object_put *put, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct object_attributes a = put->attributes;
	struct usage_change change = {
		.objects = !put->is_marker, .versions = 1, .bytes = (int64_t)put->size_bytes
	};
	struct bucket now;
	int64_t position = 0;
	int r = bucket_find(tx, bucket->name, arena, &now, e);

	put->leaves_garbage = false;
	if (r == 0 && now.id != bucket->id)
		r = err_set(e, ERR_BUCKET_NOT_FOUND, "The specified bucket does not exist");
	if (r == 0)
		r = make_room(tx, &now, put, arena, &position, &change, e);
	if (r == 0 && now.versioning == VERSIONING_ENABLED && !put->is_marker)
		r = lock_apply_default(tx, now.id, &a, e);
	if (r == 0) /* a delete is never too much */
		r = put->is_marker ? usage_note(tx, now.id, &change, e)
				   : usage_add(tx, &now, &change, e);
	if (r < 0)
		return r;
	if (now.versioning == VERSIONING_ENABLED)
		version_id_new(position, put->version_id);
	else
		memcpy(put->version_id, VERSION_NULL, sizeof(VERSION_NULL));
	put->modified_us = store_now_us(tx) / 1000 * 1000;
	r = store_exec(tx, Q_OBJECT_INSERT, NULL, e, bucket->id, put->key, position,
	    put->version_id, (int64_t)put->is_marker, put->content_id, (int64_t)put->size_bytes,
	    put->etag, put->sha256, put->modified_us, put->account_id, ATTRIBUTE_VALUES(&a));
	return r < 0 ? r : tell(tx, bucket, put, e);
}

/* -- the end of a PUT -- */

int
object_put_commit(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	struct put *p = rq->data;
	int r = object_replace(tx, rq->bucket, &p->row, e);

	return r < 0 ? r : content_add(tx, p->content_id, 0, &p->blob, cipher_iv(p->cipher), e);
}

static char *
checksum_of(struct request *rq, struct put *p)
{
	struct checksum_value v;

	if (p->has_checksum)
		checksum_value_end(&p->checksum, &v);
	else
		checksum_of_body(rq, &v);
	return checksum_value_format(&v, rq->arena);
}

/* All that comes before the commit. */
int
object_put_run(struct request *rq, struct err *e)
{
	struct put *p = rq->data;
	int r = blob_writer_finish(p->writer, &p->blob, e);

	if (r < 0)
		return r;
	content_id_new(p->content_id);
	if (encryption_kind(p->row.attributes.encryption) == ENCRYPTION_CUSTOMER)
		content_id_new(p->etag); /* says nothing of what only the client may read */
	else
		hex_encode(rq->md5, sizeof(rq->md5), p->etag);
	p->row.key = rq->target.key;
	p->row.content_id = p->content_id;
	p->row.etag = p->etag;
	p->row.sha256 = rq->wanted_sha256;
	p->row.account_id = access_owner(rq);
	p->row.attributes.checksum = checksum_of(rq, p);
	p->row.origin.rq = rq;
	p->row.origin.event = rq->post ? "ObjectCreated:Post" : NULL;
	p->row.size_bytes = p->blob.size_bytes;
	rq->facts.object_size = (int64_t)p->blob.size_bytes;
	return 0;
}

void
object_put_answer(struct request *rq)
{
	struct put *p = rq->data;
	struct lifecycle_subject subject;

	blob_writer_keep(p->writer);
	if (p->row.leaves_garbage)
		reconciler_poke(rq->walrus->garbage);
	reply_headerf(rq, "ETag", "\"%s\"", p->etag);
	checksum_reply(rq, p->row.attributes.checksum);
	encryption_reply(rq, p->row.attributes.encryption);
	object_reply_version(rq, p->row.version_id);
	subject = (struct lifecycle_subject){ rq->target.key, p->row.attributes.tags,
		p->row.size_bytes, p->row.modified_us };
	lifecycle_reply(rq, &subject);
}
