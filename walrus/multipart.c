/* Multipart uploads. Parts are blobs of their own; completion turns the chosen ones into the
 * extents of an object, in one transaction, without touching their bytes. What was not chosen
 * becomes garbage. */
#include "multipart.h"

#include <stdio.h>

#include "auth/digest.h"
#include "access.h"
#include "bucket.h"
#include "lock.h"
#include "metadata.h"
#include "object.h"
#include "schema.h"

#define PARTS_MAX 10000
#define PART_MIN (5 * 1024 * 1024) /* of all but the last */
#define LIST_MAX 1000

struct upload {
	struct object_attributes attributes;
	char *id, *account_id;
	struct str key;
	int64_t bucket_id, created_us;
};

static struct str
copy_bytes(struct arena *arena, struct str s)
{
	return (struct str){ s.n ? arena_memdup(arena, s.p, s.n) : "", s.n };
}

static void
upload_from_row(struct store_rows *rows, struct arena *arena, struct upload *ret)
{
	const unsigned at = ATTRIBUTE_COUNT;

	*ret = (struct upload){ .id = arena_strdup(arena, store_text(rows, at)),
		.bucket_id = store_int(rows, at + 1),
		.key = copy_bytes(arena, store_blob(rows, at + 2)),
		.account_id = arena_strdup(arena, store_text(rows, at + 3)),
		.created_us = store_int(rows, at + 4) };
	attributes_from_row(rows, arena, &ret->attributes);
}

/* The upload that the request names, for this bucket and key. */
static int
find_upload(struct store_tx *tx, struct request *rq, struct upload *ret, struct err *e)
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
		    "upload may "
		    "have been aborted or completed.");
	return 0;
}

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
			   rq->target.key, access_owner(rq), store_now_us(tx), ATTRIBUTE_VALUES(a));
}

int
multipart_create(struct request *rq, struct err *e)
{
	struct upload *u = arena_alloc(rq->arena, sizeof(*u));
	struct xml_writer *w;
	int r;

	u->id = arena_alloc(rq->arena, CONTENT_ID_SIZE);
	content_id_new(u->id);
	rq->data = u;
	r = metadata_read(rq, &u->attributes, e);
	if (r == 0)
		r = store_write(rq->walrus->store, insert_upload, rq, e);
	if (r < 0)
		return r;
	w = reply_xml(rq, "InitiateMultipartUploadResult");
	xml_element(w, "Bucket", rq->bucket->name);
	xml_key(w, "Key", rq->target.key, false);
	xml_element(w, "UploadId", u->id);
	reply_xml_end(rq, "InitiateMultipartUploadResult");
	return 0;
}

/* -- parts -- */

struct part_put {
	struct blob_writer *writer;
	struct blob blob;
	uint32_t number;
	char etag[33];
	struct upload upload;
};

static int
check_upload(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	struct part_put *p = rq->data;

	return find_upload(tx, rq, &p->upload, e);
}

int
multipart_part_begin(struct request *rq, struct err *e)
{
	struct part_put *p;
	const char *number = request_parameter(rq, "partNumber");
	int r;

	p = arena_alloc(rq->arena, sizeof(*p));
	if (!number || !str_to_u32(str_of(number), &p->number) || p->number < 1 ||
	    p->number > PARTS_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Part number must be an integer between 1 and 10000, inclusive");
	p->writer = blob_writer_new(rq->walrus->blobs);
	rq->data = p;
	r = store_read(rq->walrus->store, check_upload, rq, e);
	return r < 0 ? r : lock_check_digest(rq, &p->upload.attributes, "Put Part", e);
}

int
multipart_part_data(struct request *rq, struct str bytes, struct err *e)
{
	struct part_put *p = rq->data;

	return blob_writer_add(p->writer, bytes, e);
}

void
multipart_part_done(struct request *rq)
{
	struct part_put *p = rq->data;

	if (p)
		blob_writer_free(TAKE(p->writer));
}

static int
commit_part(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	struct part_put *p = rq->data;
	const struct blob *b = &p->blob;
	int r = find_upload(tx, rq, &p->upload, e);

	if (r == 0)
		r = store_exec(tx, Q_GARBAGE_ADD_PART, NULL, e, p->upload.id, (int64_t)p->number,
		    store_now_us(tx));
	if (r < 0)
		return r;
	return store_exec(tx, Q_PART_PUT, NULL, e, p->upload.id, (int64_t)p->number,
	    (int64_t)b->size_bytes, p->etag, store_now_us(tx), b->id[0] ? b->id : NULL,
	    (int64_t)b->crc32c, b->id[0] ? (struct str){ NULL, 0 } : b->data, NULL, NULL);
}

int
multipart_part_run(struct request *rq, struct err *e)
{
	struct part_put *p = rq->data;
	int r = blob_writer_finish(p->writer, &p->blob, e);

	if (r < 0)
		return r;
	hex_encode(rq->md5, sizeof(rq->md5), p->etag);
	r = store_write(rq->walrus->store, commit_part, rq, e);
	if (r < 0)
		return r;
	blob_writer_keep(p->writer);
	reconciler_poke(rq->walrus->garbage);
	reply_headerf(rq, "ETag", "\"%s\"", p->etag);
	return 0;
}

/* -- complete and abort -- */

struct chosen {
	uint32_t number;
	const char *etag;
};

struct completion {
	struct request *rq;
	struct chosen *parts;
	size_t count;
	char content_id[CONTENT_ID_SIZE], etag[64];
	struct object_put put;
};

static int
malformed(struct err *e)
{
	return err_set(e, ERR_MALFORMED_XML,
	    "The XML you provided was not well-formed or did not validate against our published "
	    "schema");
}

static struct str
without_quotes(struct str s)
{
	s = str_trim(s);
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return (struct str){ s.p + 1, s.n - 2 };
	return s;
}

static int
read_chosen(struct completion *c, xmlNode *root, struct err *e)
{
	struct arena *arena = c->rq->arena;

	c->parts = arena_alloc(arena, PARTS_MAX * sizeof(*c->parts));
	for (xmlNode *node = xml_first(root); node; node = xml_next(node)) {
		xmlNode *number = xml_find(node, "PartNumber"), *etag = xml_find(node, "ETag");
		char *number_text = number ? xml_text_of(number, 16, arena) : NULL;
		char *etag_text = etag ? xml_text_of(etag, 128, arena) : NULL;
		struct chosen *part = &c->parts[c->count];

		if (!xml_is(node, NULL, "Part") || !number_text || !etag_text ||
		    c->count == PARTS_MAX ||
		    !str_to_u32(str_trim(str_of(number_text)), &part->number))
			return malformed(e);
		if (part->number < 1 || part->number > PARTS_MAX)
			return err_set(e, ERR_INVALID_ARGUMENT,
			    "PartNumber must be an integer between 1 and 10000, inclusive");
		if (c->count > 0 && part->number <= part[-1].number)
			return err_set(e, ERR_INVALID_PART_ORDER,
			    "The list of parts was not in ascending order. Parts must be ordered "
			    "by part number.");
		part->etag = arena_str(arena, without_quotes(str_of(etag_text)));
		c->count++;
	}
	return c->count ? 0 : malformed(e);
}

/* Adds one chosen part to the object: *io_offset and the hash of hashes go on. */
static int
add_part(struct store_tx *tx, struct completion *c, size_t at, const struct upload *u,
    uint64_t *io_offset, EVP_MD_CTX *md5, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const struct chosen *part = &c->parts[at];
	uint8_t hash[16];
	uint64_t size;
	size_t n;
	int r = store_query(tx, Q_PART_BY_NUMBER, &rows, e, u->id, (int64_t)part->number);

	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	if (r == 0 || !strings_equal(store_text(rows, 2), part->etag))
		return err_set(e, ERR_INVALID_PART,
		    "One or more of the specified parts could not be found. The part may not have "
		    "been "
		    "uploaded, or the specified entity tag may not match the part's entity tag.");
	size = (uint64_t)store_int(rows, 1);
	if (size < PART_MIN && at + 1 < c->count)
		return err_set(e, ERR_ENTITY_TOO_SMALL,
		    "Your proposed upload is smaller than the minimum allowed size");
	if (!hex_decode(str_of(part->etag), hash, sizeof(hash), &n) || n != sizeof(hash))
		return err_set(e, ERR_CORRUPT, "the tag of a part is no hash");
	EVP_DigestUpdate(md5, hash, sizeof(hash));
	store_rows_free(TAKE(rows));
	if (size > 0)
		r = store_exec(tx, Q_EXTENT_FROM_PART, NULL, e, c->content_id,
		    (int64_t)(*io_offset + size), (int64_t)*io_offset, u->id,
		    (int64_t)part->number);
	else
		r = 0;
	if (r == 0 && size > 0) /* what is left of the parts afterwards was not chosen */
		r = store_exec(tx, Q_PART_DELETE, NULL, e, u->id, (int64_t)part->number);
	*io_offset += size;
	return r;
}

static int
drop_upload(struct store_tx *tx, const char *upload_id, struct err *e)
{
	int r = store_exec(tx, Q_GARBAGE_ADD_PARTS, NULL, e, upload_id, store_now_us(tx));

	if (r == 0)
		r = store_exec(tx, Q_PARTS_DELETE, NULL, e, upload_id);
	if (r == 0)
		r = store_exec(tx, Q_UPLOAD_DELETE, NULL, e, upload_id);
	return r;
}

static int
add_parts(struct store_tx *tx, struct completion *c, const struct upload *u, struct err *e)
{
	EVP_MD_CTX *md5 = digest_begin(DIGEST_MD5);
	uint64_t offset = 0;
	uint8_t hash[16];
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->count; i++)
		r = add_part(tx, c, i, u, &offset, md5, e);
	digest_end(md5, hash);
	hex_encode(hash, sizeof(hash), c->etag);
	(void)snprintf(c->etag + 32, sizeof(c->etag) - 32, "-%zu", c->count);
	c->put.size_bytes = offset;
	return r;
}

static int
commit_completion(struct store_tx *tx, void *arg, struct err *e)
{
	struct completion *c = arg;
	struct request *rq = c->rq;
	struct upload u;
	int r = find_upload(tx, rq, &u, e);

	if (r == 0)
		r = add_parts(tx, c, &u, e);
	if (r == 0)
		r = drop_upload(tx, u.id, e);
	if (r < 0)
		return r;
	c->put.key = rq->target.key;
	c->put.content_id = c->content_id;
	c->put.etag = c->etag;
	c->put.account_id = u.account_id;
	c->put.attributes = u.attributes;
	c->put.origin = (struct change_origin){ rq, "ObjectCreated:CompleteMultipartUpload", NULL };
	r = write_condition_read(rq, &c->put.condition, e);
	if (r == 0)
		r = object_replace(tx, rq->bucket, &c->put, e);
	return r < 0 ? r
		     : store_exec(tx, Q_DIGEST_DUE_ADD, NULL, e, c->content_id, rq->bucket->id,
			   rq->target.key, store_now_us(tx));
}

int
multipart_complete(struct request *rq, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct completion *c = arena_alloc(rq->arena, sizeof(*c));
	struct xml_writer *w;
	int r = request_parse_xml(rq, "CompleteMultipartUpload", &doc, e);

	c->rq = rq;
	if (r == 0)
		r = read_chosen(c, xmlDocGetRootElement(doc), e);
	if (r < 0)
		return r;
	content_id_new(c->content_id);
	r = store_write(rq->walrus->store, commit_completion, c, e);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->digests);
	reconciler_poke(rq->walrus->garbage);
	object_reply_version(rq, c->put.version_id);
	w = reply_xml(rq, "CompleteMultipartUploadResult");
	xml_open(w, "Location");
	xml_text(w, STR("http://"));
	xml_text(w, rq->head->host);
	xml_text(w, rq->head->path);
	xml_close(w, "Location");
	xml_element(w, "Bucket", rq->bucket->name);
	xml_key(w, "Key", rq->target.key, false);
	xml_elementf(w, "ETag", "\"%s\"", c->etag);
	reply_xml_end(rq, "CompleteMultipartUploadResult");
	return 0;
}

static int
commit_abort(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	struct upload u;
	int r = find_upload(tx, rq, &u, e);

	return r < 0 ? r : drop_upload(tx, u.id, e);
}

int
multipart_abort(struct request *rq, struct err *e)
{
	int r = store_write(rq->walrus->store, commit_abort, rq, e);

	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	rq->status = 204;
	return 0;
}

/* -- lists -- */

struct part_list {
	struct request *rq;
	uint32_t after, max;
};

static void
write_owners(struct request *rq, struct xml_writer *w, const char *account_id)
{
	xml_owner(rq, w, "Initiator", account_id);
	xml_owner(rq, w, "Owner", account_id);
	xml_element(w, "StorageClass", "STANDARD");
}

static void
write_part(struct xml_writer *w, struct store_rows *rows)
{
	xml_open(w, "Part");
	xml_elementf(w, "PartNumber", "%lld", (long long)store_int(rows, 0));
	xml_time(w, "LastModified", store_int(rows, 3));
	xml_elementf(w, "ETag", "\"%s\"", store_text(rows, 2));
	xml_elementf(w, "Size", "%lld", (long long)store_int(rows, 1));
	xml_close(w, "Part");
}

static int
write_parts(struct store_tx *tx, void *arg, struct err *e)
{
	struct part_list *l = arg;
	struct request *rq = l->rq;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int64_t last = l->after;
	uint32_t count = 0;
	struct xml_writer *w;
	struct upload u;
	bool more = false;
	int r = find_upload(tx, rq, &u, e);

	if (r == 0)
		r = store_query(
		    tx, Q_PARTS, &rows, e, u.id, (int64_t)l->after, (int64_t)l->max + 1);
	if (r < 0)
		return r;
	w = reply_xml(rq, "ListPartsResult");
	xml_element(w, "Bucket", rq->bucket->name);
	xml_key(w, "Key", rq->target.key, false);
	xml_element(w, "UploadId", u.id);
	write_owners(rq, w, u.account_id);
	xml_elementf(w, "PartNumberMarker", "%u", l->after);
	xml_elementf(w, "MaxParts", "%u", l->max);
	while ((r = store_next(rows, e)) > 0) {
		if (count == l->max) {
			more = true;
			break;
		}
		count++;
		last = store_int(rows, 0);
		write_part(w, rows);
	}
	if (more)
		xml_elementf(w, "NextPartNumberMarker", "%lld", (long long)last);
	xml_element(w, "IsTruncated", more ? "true" : "false");
	reply_xml_end(rq, "ListPartsResult");
	return r < 0 ? r : 0;
}

int
multipart_list_parts(struct request *rq, struct err *e)
{
	struct part_list l = { .rq = rq };
	int r = request_number(rq, "part-number-marker", 0, PARTS_MAX, &l.after, e);

	if (r == 0)
		r = request_number(rq, "max-parts", LIST_MAX, LIST_MAX, &l.max, e);
	return r < 0 ? r : store_read(rq->walrus->store, write_parts, &l, e);
}

struct upload_list {
	struct request *rq;
	struct str prefix, start_key;
	char *start_id;
	bool is_encoded;
	uint32_t max, count;
	bool is_truncated;
	struct upload last;
};

static void
write_upload(struct upload_list *l, struct xml_writer *w)
{
	xml_open(w, "Upload");
	xml_key(w, "Key", l->last.key, l->is_encoded);
	xml_element(w, "UploadId", l->last.id);
	write_owners(l->rq, w, l->last.account_id);
	xml_time(w, "Initiated", l->last.created_us);
	xml_close(w, "Upload");
}

static int
write_uploads(struct store_tx *tx, void *arg, struct err *e)
{
	struct upload_list *l = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct xml_writer *w = &l->rq->xml;
	struct upload u;
	int r = store_query(tx, Q_UPLOAD_LIST, &rows, e, l->rq->bucket->id, l->start_key,
	    l->start_id, (int64_t)l->max + 1);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		upload_from_row(rows, l->rq->arena, &u);
		if (u.key.n < l->prefix.n || memcmp(u.key.p, l->prefix.p, l->prefix.n) != 0)
			return 0;
		if (l->count == l->max) {
			l->is_truncated = true;
			return 0;
		}
		l->count++;
		l->last = u;
		write_upload(l, w);
	}
	return r;
}

/* Behind a key when only that was given, behind one of its uploads when both were. */
static void
choose_start(struct upload_list *l, struct str key, const char *id)
{
	struct arena *arena = l->rq->arena;

	l->start_key = l->prefix;
	l->start_id = arena_strdup(arena, "");
	if (key.n == 0)
		return;
	if (id && *id) {
		l->start_id = arena_printf(arena, "%s!", id);
		l->start_key = key;
	} else {
		char *next = arena_alloc(arena, key.n + 1);

		memcpy(next, key.p, key.n);
		l->start_key = (struct str){ next, key.n + 1 };
	}
}

int
multipart_list_uploads(struct request *rq, struct err *e)
{
	struct upload_list l = { .rq = rq, .prefix = str_of(request_parameter(rq, "prefix")) };
	struct str key_marker = str_of(request_parameter(rq, "key-marker"));
	const char *id_marker = request_parameter(rq, "upload-id-marker");
	struct xml_writer *w;
	int r = request_encoding(rq, &l.is_encoded, e);

	if (r == 0)
		r = request_number(rq, "max-uploads", LIST_MAX, LIST_MAX, &l.max, e);
	if (r < 0)
		return r;
	choose_start(&l, key_marker, id_marker);
	w = reply_xml(rq, "ListMultipartUploadsResult");
	xml_element(w, "Bucket", rq->bucket->name);
	xml_key(w, "KeyMarker", key_marker, l.is_encoded);
	xml_element(w, "UploadIdMarker", id_marker ? id_marker : "");
	xml_key(w, "Prefix", l.prefix, l.is_encoded);
	xml_elementf(w, "MaxUploads", "%u", l.max);
	r = store_read(rq->walrus->store, write_uploads, &l, e);
	if (r < 0)
		return r;
	if (l.is_truncated && l.count) {
		xml_key(w, "NextKeyMarker", l.last.key, l.is_encoded);
		xml_element(w, "NextUploadIdMarker", l.last.id);
	}
	xml_element(w, "IsTruncated", l.is_truncated ? "true" : "false");
	reply_xml_end(rq, "ListMultipartUploadsResult");
	return 0;
}
