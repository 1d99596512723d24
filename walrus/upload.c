/* Parts are blobs of their own until completion makes them the extents of an object. A part that
 * comes again replaces the one before. */
#include "upload.h"

#include "access.h"
#include "checksum_value.h"
#include "encryption_request.h"
#include "metadata.h"
#include "schema.h"
#include "usage.h"

static struct str
copy_bytes(struct arena *arena, struct str s)
{
	return (struct str){ s.n ? arena_memdup(arena, s.p, s.n) : "", s.n };
}

void
upload_of_list(struct store_rows *rows, struct arena *arena, struct upload *ret)
{
	const unsigned at = ATTRIBUTE_COUNT;

	*ret = (struct upload){ .id = arena_strdup(arena, store_text(rows, at)),
		.bucket_id = store_int(rows, at + 1),
		.key = copy_bytes(arena, store_blob(rows, at + 2)),
		.account_id = arena_strdup(arena, store_text(rows, at + 3)),
		.created_us = store_int(rows, at + 4),
		.initiator_id = arena_strdup(arena, store_text(rows, at + 5)) };
	attributes_of_list(rows, arena, &ret->attributes);
}

static void
upload_from_row(struct store_rows *rows, struct arena *arena, struct upload *ret)
{
	upload_of_list(rows, arena, ret);
	attributes_add_rest(rows, arena, &ret->attributes);
}

int
upload_find(struct store_tx *tx, struct request *rq, struct upload *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const char *id = request_parameter(rq, "uploadId");
	int r = store_query(tx, Q_UPLOAD_BY_ID, &rows, e, id);

	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	if (r > 0)
		upload_from_row(rows, rq->arena, ret);
	if (r == 0 || ret->bucket_id != rq->bucket->id || !str_eq(ret->key, rq->target.key))
		return err_set(e, ERR_UPLOAD_NOT_FOUND,
		    "The specified upload does not exist. The upload ID may be invalid, or the "
		    "upload may have been aborted or completed.");
	return 0;
}

/* That there is none is told to those who could do it to any. */
int
upload_open(struct store_tx *tx, struct request *rq, struct upload *ret, struct err *e)
{
	struct err refused;
	int r = upload_find(tx, rq, ret, e);

	if (r == 0)
		return access_upload(rq, ret->initiator_id, e);
	if (r == ERR_UPLOAD_NOT_FOUND && access_upload(rq, "", &refused) < 0) {
		*e = refused;
		return e->code;
	}
	return r;
}

int
upload_drop(struct store_tx *tx, int64_t bucket_id, const char *upload_id, struct err *e)
{
	int r = usage_drop_parts(tx, bucket_id, upload_id, e);

	if (r == 0)
		r = store_exec(tx, Q_GARBAGE_ADD_PARTS, NULL, e, upload_id, store_now_us(tx));
	if (r == 0)
		r = store_exec(tx, Q_PARTS_DELETE, NULL, e, upload_id);
	if (r == 0)
		r = store_exec(tx, Q_UPLOAD_DELETE, NULL, e, upload_id);
	return r;
}

void
upload_write(struct request *rq, struct xml_writer *w, const struct upload *u)
{
	xml_owner(rq, w, "Initiator", u->initiator_id[0] ? u->initiator_id : u->account_id);
	xml_owner(rq, w, "Owner", u->account_id);
	xml_element(w, "StorageClass", metadata_storage_class(&u->attributes));
}

/* -- parts -- */

void
part_from_row(struct store_rows *rows, struct arena *arena, struct part *ret)
{
	*ret = (struct part){ .number = (uint32_t)store_int(rows, 0),
		.size_bytes = (uint64_t)store_int(rows, 1),
		.etag = arena_strdup(arena, store_text(rows, 2)),
		.modified_us = store_int(rows, 3),
		.checksum = arena_strdup(arena, store_text(rows, 5)) };
}

int
part_number_of(const struct request *rq, uint32_t *ret, struct err *e)
{
	const char *text = request_parameter(rq, "partNumber");

	if (!text || !str_to_u32(str_of(text), ret) || *ret < 1 || *ret > PARTS_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Part number must be an integer between 1 and 10000, inclusive");
	return 0;
}

struct search {
	struct request *rq;
	struct upload *ret;
};

static int
look_up(struct store_tx *tx, void *arg, struct err *e)
{
	const struct search *s = arg;

	return upload_find(tx, s->rq, s->ret, e);
}

/* The client's checksum is of the kind that the upload was begun with; where that named none, any.
 * Of an upload whose checksum is one of its parts' checksums the client sends each. */
static int
choose_checksum(struct request *rq, struct part_writer *p, bool of_body, struct err *e)
{
	struct checksum_value wanted;
	bool is_sent = of_body && rq->has_checksum;

	checksum_value_parse(p->upload.attributes.checksum, &wanted);
	if (wanted.algorithm == CHECKSUM_MAX) {
		wanted.algorithm = CHECKSUM_DEFAULT;
	} else if (of_body && (!is_sent || rq->checksum.algorithm != wanted.algorithm)) {
		if (is_sent || wanted.type == CHECKSUM_COMPOSITE)
			return err_set(e, ERR_INVALID_REQUEST,
			    "Checksum Type mismatch occurred, expected checksum Type: %s, actual "
			    "checksum Type: %s",
			    checksum_header(wanted.algorithm) + strlen("x-amz-checksum-"),
			    is_sent ? checksum_header(rq->checksum.algorithm) +
					  strlen("x-amz-checksum-")
				    : "null");
	}
	p->has_checksum = !is_sent || rq->checksum.algorithm != wanted.algorithm;
	if (p->has_checksum)
		checksum_begin(&p->checksum, wanted.algorithm);
	return 0;
}

int
part_writer_begin(struct request *rq, struct part_writer *p, bool of_body, struct err *e)
{
	struct search s = { rq, &p->upload };
	int r = part_number_of(rq, &p->number, e);

	if (r == 0)
		r = store_read(rq->walrus->store, look_up, &s, e);
	if (r == 0)
		r = encryption_go_on(rq, p->upload.attributes.encryption, &p->cipher, e);
	if (r == 0)
		r = choose_checksum(rq, p, of_body, e);
	if (r == 0)
		p->writer = blob_writer_new(rq->walrus->blobs);
	return r;
}

int
part_writer_add(struct part_writer *p, struct str bytes, struct err *e)
{
	if (p->has_checksum)
		checksum_add(&p->checksum, bytes);
	return cipher_write(p->cipher, p->writer, bytes, e);
}

void
part_writer_done(struct part_writer *p)
{
	blob_writer_free(TAKE(p->writer));
	cipher_free(TAKE(p->cipher));
	if (p->has_checksum)
		checksum_done(&p->checksum);
}

struct commit {
	struct request *rq;
	struct part_writer *part;
};

/* The part, less what it takes the place of. */
static int
count_part(struct store_tx *tx, struct request *rq, const struct part_writer *p, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct usage_change change = { .parts = 1, .part_bytes = (int64_t)p->blob.size_bytes };
	int r =
	    store_query(tx, Q_PARTS, &rows, e, p->upload.id, (int64_t)p->number - 1, (int64_t)1);

	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	if (r > 0 && store_int(rows, 0) == p->number) {
		change.parts--;
		change.part_bytes -= store_int(rows, 1);
	}
	store_rows_free(TAKE(rows));
	return usage_add(tx, rq->bucket, &change, e);
}

static int
commit_part(struct store_tx *tx, void *arg, struct err *e)
{
	const struct commit *c = arg;
	struct part_writer *p = c->part;
	const struct blob *b = &p->blob;
	int r = upload_find(tx, c->rq, &p->upload, e);

	if (r == 0)
		r = store_exec(tx, Q_GARBAGE_ADD_PART, NULL, e, p->upload.id, (int64_t)p->number,
		    store_now_us(tx));
	if (r == 0)
		r = count_part(tx, c->rq, p, e);
	if (r < 0)
		return r;
	p->modified_us = store_now_us(tx) / 1000 * 1000;
	return store_exec(tx, Q_PART_PUT, NULL, e, p->upload.id, (int64_t)p->number,
	    (int64_t)b->size_bytes, p->etag, p->modified_us, b->id[0] ? b->id : NULL,
	    (int64_t)b->crc32c, b->id[0] ? (struct str){ NULL, 0 } : b->data, p->checksum_text,
	    cipher_iv(p->cipher));
}

int
part_writer_finish(struct request *rq, struct part_writer *p, const uint8_t md5[16], struct err *e)
{
	struct commit c = { rq, p };
	struct checksum_value v;
	int r = blob_writer_finish(p->writer, &p->blob, e);

	if (r < 0)
		return r;
	if (encryption_kind(p->upload.attributes.encryption) == ENCRYPTION_CUSTOMER)
		content_id_new(p->etag); /* says nothing of what only the client may read */
	else
		hex_encode(md5, 16, p->etag);
	if (p->has_checksum)
		checksum_value_end(&p->checksum, &v);
	else
		checksum_of_body(rq, &v);
	p->checksum_text = checksum_value_format(&v, rq->arena);
	r = store_write(rq->walrus->store, commit_part, &c, e);
	if (r < 0)
		return r;
	blob_writer_keep(p->writer);
	reconciler_poke(rq->walrus->garbage);
	return 0;
}
