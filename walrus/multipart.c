/* Multipart uploads: their beginning, their parts, giving them up. multipart_complete.c makes an
 * object of one, multipart_copy.c parts of objects, multipart_list.c lists. */
#include "multipart.h"

#include "access.h"
#include "bucket.h"
#include "lifecycle.h"
#include "lock.h"
#include "checksum_value.h"
#include "encryption_request.h"
#include "metadata.h"
#include "schema.h"
#include "upload.h"

/* -- create -- */

static int
insert_upload(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	const struct upload *u = rq->data;
	const struct object_attributes *a = &u->attributes;
	int r = bucket_check(tx, rq->bucket, e);

	return r < 0 ? r
		     : store_exec(tx, Q_UPLOAD_INSERT, NULL, e, u->id, rq->bucket->id,
			   rq->target.key, access_owner(rq), store_now_us(tx),
			   rq->is_anonymous ? "" : rq->caller.account_id, ATTRIBUTE_VALUES(a));
}

static void
write_created(struct request *rq, const struct upload *u, const struct checksum_value *checksum)
{
	struct xml_writer *w = reply_xml(rq, "InitiateMultipartUploadResult");

	xml_element(w, "Bucket", rq->bucket->name);
	xml_key(w, "Key", rq->target.key, false);
	xml_element(w, "UploadId", u->id);
	reply_xml_end(rq, "InitiateMultipartUploadResult");
	encryption_reply(rq, u->attributes.encryption);
	if (checksum->algorithm == CHECKSUM_MAX)
		return;
	reply_header(rq, "x-amz-checksum-algorithm", checksum_name(checksum->algorithm));
	reply_header(rq, "x-amz-checksum-type", checksum_type_name(checksum->type));
}

int
multipart_create(struct request *rq, struct err *e)
{
	struct upload *u = arena_alloc(rq->arena, sizeof(*u));
	struct checksum_value checksum;
	int r;

	u->id = arena_alloc(rq->arena, CONTENT_ID_SIZE);
	content_id_new(u->id);
	rq->data = u;
	r = metadata_read(rq, &u->attributes, e);
	if (r == 0)
		r = checksum_wanted(rq, &checksum, e);
	if (r == 0)
		r = encryption_begin(rq, &u->attributes.encryption, NULL, e);
	if (r < 0)
		return r;
	u->attributes.checksum = checksum_value_format(&checksum, rq->arena);
	r = store_write(rq->walrus->store, insert_upload, rq, e);
	if (r == 0)
		write_created(rq, u, &checksum);
	return r;
}

/* -- parts -- */

int
multipart_part_begin(struct request *rq, struct err *e)
{
	struct part_writer *p = arena_alloc(rq->arena, sizeof(*p));
	int r;

	rq->data = p;
	r = part_writer_begin(rq, p, true, e);
	return r < 0 ? r : lock_check_digest(rq, &p->upload.attributes, "Put Part", e);
}

int
multipart_part_data(struct request *rq, struct str bytes, struct err *e)
{
	return part_writer_add(rq->data, bytes, e);
}

void
multipart_part_done(struct request *rq)
{
	if (rq->data)
		part_writer_done(rq->data);
}

int
multipart_part_run(struct request *rq, struct err *e)
{
	struct part_writer *p = rq->data;
	struct checksum_value sent;
	int r = part_writer_finish(rq, p, rq->md5, e);

	if (r < 0)
		return r;
	reply_headerf(rq, "ETag", "\"%s\"", p->etag);
	encryption_reply(rq, p->upload.attributes.encryption);
	if (!rq->has_checksum)
		return 0;
	checksum_of_body(rq, &sent);
	reply_header(rq, checksum_header(sent.algorithm), checksum_value_text(&sent, rq->arena));
	return 0;
}

/* -- abort -- */

static int
may_abort(struct store_tx *tx, void *arg, struct err *e)
{
	struct upload u;

	return upload_open(tx, arg, &u, e);
}

static int
commit_abort(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	struct upload u;
	int r = upload_find(tx, rq, &u, e);

	return r < 0 ? r : upload_drop(tx, rq->bucket->id, u.id, e);
}

int
multipart_abort(struct request *rq, struct err *e)
{
	int r = store_read(rq->walrus->store, may_abort, rq, e);

	if (r == 0)
		r = store_write(rq->walrus->store, commit_abort, rq, e);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	rq->status = 204;
	return 0;
}
