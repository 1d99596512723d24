/* ListParts and ListMultipartUploads. Uploads are walked in the order of their keys; behind a
 * common prefix the walk goes on by a seek. */
#include "multipart.h"

#include "bucket.h"
#include "checksum_value.h"
#include "list.h"
#include "schema.h"
#include "upload.h"

#define LIST_MAX 1000

/* -- parts -- */

struct part_list {
	struct request *rq;
	uint32_t after, max;
};

static void
write_part(struct request *rq, struct xml_writer *w, const struct part *p)
{
	xml_open(w, "Part");
	xml_elementf(w, "PartNumber", "%u", p->number);
	xml_time(w, "LastModified", p->modified_us);
	xml_elementf(w, "ETag", "\"%s\"", p->etag);
	checksum_write(rq, w, p->checksum, false);
	xml_elementf(w, "Size", "%llu", (unsigned long long)p->size_bytes);
	xml_close(w, "Part");
}

static int
read_parts(struct store_tx *tx, const struct part_list *l, const char *upload_id,
    struct part *parts, uint32_t *ret_count, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r =
	    store_query(tx, Q_PARTS, &rows, e, upload_id, (int64_t)l->after, (int64_t)l->max + 1);

	*ret_count = 0;
	while (r >= 0 && *ret_count <= l->max && (r = store_next(rows, e)) > 0)
		part_from_row(rows, l->rq->arena, &parts[(*ret_count)++]);
	return r < 0 ? r : 0;
}

static int
write_parts(struct store_tx *tx, void *arg, struct err *e)
{
	struct part_list *l = arg;
	struct request *rq = l->rq;
	struct part *parts = arena_alloc(rq->arena, (LIST_MAX + 1) * sizeof(*parts));
	struct xml_writer *w;
	struct upload u;
	uint32_t count = 0, shown;
	int r = upload_open(tx, rq, &u, e);

	if (r == 0)
		r = read_parts(tx, l, u.id, parts, &count, e);
	if (r < 0)
		return r;
	shown = count > l->max ? l->max : count;
	w = reply_xml(rq, "ListPartsResult");
	xml_element(w, "Bucket", rq->bucket->name);
	xml_key(w, "Key", rq->target.key, false);
	xml_element(w, "UploadId", u.id);
	upload_write(rq, w, &u);
	xml_elementf(w, "PartNumberMarker", "%u", l->after);
	xml_elementf(w, "NextPartNumberMarker", "%u", shown ? parts[shown - 1].number : 0);
	xml_elementf(w, "MaxParts", "%u", l->max);
	xml_element(w, "IsTruncated", count > l->max ? "true" : "false");
	checksum_write_kind(w, u.attributes.checksum);
	for (uint32_t i = 0; i < shown; i++)
		write_part(rq, w, &parts[i]);
	reply_xml_end(rq, "ListPartsResult");
	return 0;
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

/* -- uploads -- */

struct upload_list {
	struct request *rq;
	struct str prefix, delimiter, start_key, next_key;
	const char *start_id, *next_id;
	bool is_encoded, is_truncated;
	uint32_t max;
	VEC(struct upload) uploads;
	VEC(struct str) prefixes;
	struct str last_key; /* of what was written last; a prefix has no id */
	const char *last_id;
};

static bool
has_prefix(struct str key, struct str prefix)
{
	return key.n >= prefix.n && memcmp(key.p, prefix.p, prefix.n) == 0;
}

static int
str_compare(struct str a, struct str b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static struct str
common_prefix(const struct upload_list *l, struct str key)
{
	const char *found =
	    l->delimiter.n == 0 || key.n <= l->prefix.n
		? NULL
		: memmem(key.p + l->prefix.n, key.n - l->prefix.n, l->delimiter.p, l->delimiter.n);

	return found ? (struct str){ key.p, (size_t)(found - key.p) + l->delimiter.n }
		     : (struct str){ NULL, 0 };
}

/* One upload: 1 go on with the next row, 0 seek to next_key, 2 the end. */
static int
take_upload(struct upload_list *l, const struct upload *u)
{
	struct str common = common_prefix(l, u->key);

	if (!has_prefix(u->key, l->prefix))
		return 2;
	if (l->uploads.count + l->prefixes.count == l->max) {
		l->is_truncated = l->max > 0;
		return 2;
	}
	if (common.n == 0) {
		vec_add(&l->uploads, *u);
		l->last_key = u->key;
		l->last_id = u->id;
		return 1;
	}
	vec_add(&l->prefixes, common);
	l->last_key = common;
	l->last_id = "";
	l->next_key = list_successor(common, l->rq->arena);
	l->next_id = "";
	return l->next_key.p ? 0 : 2;
}

static int
walk_from(struct store_tx *tx, struct upload_list *l, int *ret_step, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct upload u;
	int r = store_query(tx, Q_UPLOAD_LIST, &rows, e, l->rq->bucket->id, l->next_key, l->next_id,
	    (int64_t)l->max + 1);

	*ret_step = 2;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		upload_of_list(rows, l->rq->arena, &u);
		*ret_step = take_upload(l, &u);
		if (*ret_step != 1)
			return 0;
	}
	*ret_step = 2;
	return r;
}

static int
walk(struct store_tx *tx, void *arg, struct err *e)
{
	struct upload_list *l = arg;
	int step = 0, r = 0;

	l->uploads.count = l->prefixes.count = 0;
	l->is_truncated = false;
	l->next_key = l->start_key;
	l->next_id = l->start_id;
	while (r == 0 && step == 0)
		r = walk_from(tx, l, &step, e);
	return r;
}

/* Behind a key when only that was given, behind one of its uploads when both were; behind all of a
 * common prefix. */
static void
choose_start(struct upload_list *l, struct str key, const char *id)
{
	struct arena *arena = l->rq->arena;
	struct str common = has_prefix(key, l->prefix) ? common_prefix(l, key) : (struct str){ 0 };

	l->start_key = l->prefix;
	l->start_id = "";
	if (key.n == 0 || (!has_prefix(key, l->prefix) && str_compare(key, l->prefix) < 0))
		return;
	if (common.n && common.n == key.n) {
		l->start_key = list_successor(key, arena);
	} else if (id && *id) {
		l->start_id = arena_printf(arena, "%s!", id);
		l->start_key = key;
	} else {
		char *next = arena_alloc(arena, key.n + 1);

		memcpy(next, key.p, key.n);
		l->start_key = (struct str){ next, key.n + 1 };
	}
}

static void
write_upload(const struct upload_list *l, struct xml_writer *w, const struct upload *u)
{
	xml_open(w, "Upload");
	xml_key(w, "Key", u->key, l->is_encoded);
	xml_element(w, "UploadId", u->id);
	upload_write(l->rq, w, u);
	xml_time(w, "Initiated", u->created_us);
	checksum_write_kind(w, u->attributes.checksum);
	xml_close(w, "Upload");
}

static void
write_uploads(struct upload_list *l, struct str key_marker, const char *id_marker)
{
	struct request *rq = l->rq;
	struct xml_writer *w = reply_xml(rq, "ListMultipartUploadsResult");

	xml_element(w, "Bucket", rq->bucket->name);
	xml_key(w, "KeyMarker", key_marker, l->is_encoded);
	xml_element(w, "UploadIdMarker", id_marker ? id_marker : "");
	if (l->is_truncated) {
		xml_key(w, "NextKeyMarker", l->last_key, l->is_encoded);
		xml_element(w, "NextUploadIdMarker", l->last_id);
	}
	xml_key(w, "Prefix", l->prefix, l->is_encoded);
	if (l->delimiter.n)
		xml_key(w, "Delimiter", l->delimiter, l->is_encoded);
	if (l->is_encoded)
		xml_element(w, "EncodingType", "url");
	xml_elementf(w, "MaxUploads", "%u", l->max);
	xml_element(w, "IsTruncated", l->is_truncated ? "true" : "false");
	VEC_FOREACH (&l->uploads, u)
		write_upload(l, w, u);
	VEC_FOREACH (&l->prefixes, p) {
		xml_open(w, "CommonPrefixes");
		xml_key(w, "Prefix", *p, l->is_encoded);
		xml_close(w, "CommonPrefixes");
	}
	reply_xml_end(rq, "ListMultipartUploadsResult");
}

int
multipart_list_uploads(struct request *rq, struct err *e)
{
	struct upload_list l = { .rq = rq,
		.prefix = str_of(request_parameter(rq, "prefix")),
		.delimiter = str_of(request_parameter(rq, "delimiter")) };
	struct str key_marker = str_of(request_parameter(rq, "key-marker"));
	const char *id_marker = request_parameter(rq, "upload-id-marker");
	int r = request_encoding(rq, &l.is_encoded, e);

	if (r == 0)
		r = request_number(rq, "max-uploads", LIST_MAX, LIST_MAX, &l.max, e);
	if (r < 0)
		return r;
	choose_start(&l, key_marker, id_marker);
	if (l.start_key.p)
		r = store_read(rq->walrus->store, walk, &l, e);
	if (r == 0)
		write_uploads(&l, key_marker, id_marker);
	vec_done(&l.uploads);
	vec_done(&l.prefixes);
	return r;
}
