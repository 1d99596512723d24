/* Completion turns the chosen parts into the extents of an object, in one transaction, without
 * touching their bytes. What was not chosen becomes garbage. The object's content has the id of its
 * upload: so a client that did not hear the answer and asks again is told that it was done. */
#include "multipart.h"

#include <stdio.h>

#include "auth/digest.h"
#include "bucket.h"
#include "checksum_value.h"
#include "encryption_request.h"
#include "lifecycle.h"
#include "object.h"
#include "schema.h"
#include "upload.h"

struct chosen {
	uint32_t number;
	const char *etag;
	struct checksum_value checksum; /* as the client says it; CHECKSUM_MAX: it does not */
};

struct completion {
	struct request *rq;
	struct chosen *parts;
	size_t count;
	struct checksum_value named; /* of the object, by the client */
	bool has_size;
	uint64_t size_bytes; /* the same */
	char etag[64];
	struct object_put put;
	bool was_done; /* by an earlier request */
};

/* -- what the client chose -- */

static struct str
without_quotes(struct str s)
{
	s = str_trim(s);
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return (struct str){ s.p + 1, s.n - 2 };
	return s;
}

static int
read_checksum(xmlNode *node, struct arena *arena, struct checksum_value *ret, struct err *e)
{
	*ret = (struct checksum_value){ .algorithm = CHECKSUM_MAX };
	for (unsigned a = 0; a < CHECKSUM_MAX; a++) {
		xmlNode *found = xml_find(node, checksum_element(a));
		char *text = found ? xml_text_of(found, 64, arena) : NULL;

		if (!found)
			continue;
		if (!text || !checksum_value_read(a, str_trim(str_of(text)), ret))
			return setting_malformed(e);
	}
	return 0;
}

static int
read_part(xmlNode *node, struct arena *arena, struct chosen *ret, struct err *e)
{
	xmlNode *number = xml_find(node, "PartNumber"), *etag = xml_find(node, "ETag");
	char *number_text = number ? xml_text_of(number, 16, arena) : NULL;
	char *etag_text = etag ? xml_text_of(etag, 128, arena) : NULL;

	if (!xml_is(node, NULL, "Part") || !number_text || !etag_text ||
	    !str_to_u32(str_trim(str_of(number_text)), &ret->number))
		return setting_malformed(e);
	if (ret->number < 1 || ret->number > PARTS_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "PartNumber must be an integer between 1 and 10000, inclusive");
	ret->etag = arena_str(arena, without_quotes(str_of(etag_text)));
	return read_checksum(node, arena, &ret->checksum, e);
}

static int
read_parts(struct completion *c, xmlNode *root, struct err *e)
{
	struct arena *arena = c->rq->arena;
	int r = 0;

	c->parts = arena_alloc(arena, PARTS_MAX * sizeof(*c->parts));
	for (xmlNode *node = xml_first(root); node; node = xml_next(node)) {
		struct chosen *part = &c->parts[c->count];

		if (c->count == PARTS_MAX)
			return setting_malformed(e);
		r = read_part(node, arena, part, e);
		if (r < 0)
			return r;
		if (c->count > 0 && part->number <= part[-1].number)
			return err_set(e, ERR_INVALID_PART_ORDER,
			    "The list of parts was not in ascending order. Parts must be ordered "
			    "by part number.");
		c->count++;
	}
	return c->count ? 0 : setting_malformed(e);
}

static int
read_headers(struct completion *c, struct err *e)
{
	struct str size = request_header(c->rq, "x-amz-mp-object-size");

	c->has_size = size.p != NULL;
	if (c->has_size && !str_to_u64(size, &c->size_bytes))
		return err_set(
		    e, ERR_INVALID_REQUEST, "Value for x-amz-mp-object-size header is invalid.");
	return checksum_named(c->rq, &c->named, e);
}

/* Hash of the hashes, as the client has them. */
static void
make_etag(struct completion *c)
{
	EVP_MD_CTX *md5 = digest_begin(DIGEST_MD5);
	uint8_t hash[16];
	size_t n;

	for (size_t i = 0; i < c->count; i++)
		if (hex_decode(str_of(c->parts[i].etag), hash, sizeof(hash), &n))
			EVP_DigestUpdate(md5, hash, n);
	digest_end(md5, hash);
	hex_encode(hash, sizeof(hash), c->etag);
	(void)snprintf(c->etag + 32, sizeof(c->etag) - 32, "-%zu", c->count);
}

/* -- what there is -- */

static int
no_such_part(struct err *e)
{
	return err_set(e, ERR_INVALID_PART,
	    "One or more of the specified parts could not be found. The part may not have been "
	    "uploaded, or the specified entity tag may not match the part's entity tag.");
}

/* Of parts that are checked one by one the client says each checksum; else it may. */
static int
check_part(const struct completion *c, size_t at, const struct part *part,
    const struct checksum_value *wanted, struct err *e)
{
	const struct chosen *chosen = &c->parts[at];
	struct checksum_value stored;

	if (part->number != chosen->number || !strings_equal(part->etag, chosen->etag))
		return no_such_part(e);
	checksum_value_parse(part->checksum, &stored);
	if (chosen->checksum.algorithm == CHECKSUM_MAX && wanted->algorithm != CHECKSUM_MAX &&
	    wanted->type == CHECKSUM_COMPOSITE)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The upload was created using a %s checksum. The complete request must include "
		    "the checksum for each part. It was missing for part %u in the request.",
		    checksum_header(wanted->algorithm) + strlen("x-amz-checksum-"), chosen->number);
	/* Where no algorithm was named the client may have sent another than what is stored. */
	if (chosen->checksum.algorithm != CHECKSUM_MAX &&
	    (wanted->algorithm != CHECKSUM_MAX || chosen->checksum.algorithm == stored.algorithm) &&
	    !checksum_is_same(&chosen->checksum, &stored))
		return no_such_part(e);
	if (part->size_bytes < PART_MIN && at + 1 < c->count)
		return err_set(e, ERR_ENTITY_TOO_SMALL,
		    "Your proposed upload is smaller than the minimum allowed size");
	return 0;
}

static int
add_extent(struct store_tx *tx, struct completion *c, const struct upload *u,
    const struct part *part, struct err *e)
{
	uint64_t start = c->put.size_bytes;

	if (part->size_bytes > PARTS_BYTES_MAX - start)
		return err_set(e, ERR_ENTITY_TOO_LARGE,
		    "Your proposed upload exceeds the maximum allowed size");
	c->put.size_bytes += part->size_bytes;
	return part->size_bytes == 0
		   ? 0
		   : store_exec(tx, Q_EXTENT_FROM_PART, NULL, e, u->id, (int64_t)c->put.size_bytes,
			 (int64_t)start, u->id, (int64_t)part->number);
}

/* The next row of parts that was chosen as number `at`. */
static int
next_chosen(struct store_rows *rows, const struct completion *c, size_t at, struct arena *arena,
    struct part *ret, struct err *e)
{
	int r;

	while ((r = store_next(rows, e)) > 0) {
		part_from_row(rows, arena, ret);
		if (ret->number >= c->parts[at].number)
			return 0;
	}
	return r < 0 ? r : no_such_part(e);
}

static int
add_parts(struct store_tx *tx, struct completion *c, const struct upload *u,
    const struct checksum_value *wanted, struct checksum_sum *sum, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct part *parts = arena_alloc(arena, c->count * sizeof(*parts));
	struct checksum_value stored;
	int r = store_query(tx, Q_PARTS, &rows, e, u->id, (int64_t)0, (int64_t)PARTS_MAX);

	for (size_t i = 0; r == 0 && i < c->count; i++) {
		r = next_chosen(rows, c, i, arena, &parts[i], e);
		if (r == 0)
			r = check_part(c, i, &parts[i], wanted, e);
	}
	store_rows_free(TAKE(rows));
	for (size_t i = 0; r == 0 && i < c->count; i++) {
		checksum_value_parse(parts[i].checksum, &stored);
		checksum_sum_add(sum, &stored, parts[i].size_bytes);
		r = add_extent(tx, c, u, &parts[i], e);
	}
	return r;
}

static int
check_type(struct request *rq, const struct checksum_value *wanted, struct err *e)
{
	struct str type = request_header(rq, "x-amz-checksum-type");

	if (!type.p || str_is(type, checksum_type_name(wanted->type)))
		return 0;
	return err_set(e, ERR_INVALID_REQUEST,
	    "The upload was created using the %s checksum mode. The complete request must use the "
	    "same checksum mode.",
	    checksum_type_name(wanted->type));
}

/* The size and checksum that the client expects. */
static int
check_whole(const struct completion *c, const struct checksum_value *made, struct err *e)
{
	struct checksum_value named = c->named;

	if (c->has_size && c->size_bytes != c->put.size_bytes)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The provided 'x-amz-mp-object-size' header does not match what was computed.");
	if (named.algorithm == CHECKSUM_MAX)
		return 0;
	if (named.part_count == 0)
		named.part_count = made->part_count; /* "-N" may be left out */
	if (named.algorithm != made->algorithm || !checksum_is_same(&named, made))
		return err_set(e, ERR_BAD_DIGEST,
		    "The %s you specified did not match the calculated checksum.",
		    checksum_header(named.algorithm) + strlen("x-amz-"));
	return 0;
}

static int
make_content(struct store_tx *tx, struct completion *c, const struct upload *u, struct err *e)
{
	struct checksum_value wanted, made;
	struct checksum_sum sum;
	int r;

	checksum_value_parse(u->attributes.checksum, &wanted);
	r = check_type(c->rq, &wanted, e);
	if (r < 0)
		return r;
	checksum_sum_begin(&sum,
	    wanted.algorithm == CHECKSUM_MAX ? CHECKSUM_DEFAULT : wanted.algorithm, wanted.type);
	c->put.size_bytes = 0;
	r = add_parts(tx, c, u, &wanted, &sum, e);
	checksum_sum_end(&sum, &made);
	if (r == 0)
		r = check_whole(c, &made, e);
	c->put.attributes = u->attributes;
	c->put.attributes.checksum = checksum_value_format(&made, c->rq->arena);
	return r;
}

/* -- the end -- */

/* The upload is gone: it may have become this very object. */
static int
find_done(struct store_tx *tx, struct completion *c, struct err *e)
{
	struct request *rq = c->rq;
	struct object_name name = { rq->bucket->id, rq->target.key, NULL,
		request_parameter(rq, "uploadId") };
	struct err missing = *e;
	struct object o;
	int r = object_find(tx, &name, rq->arena, &o, e);

	if (r < 0 && r != ERR_KEY_NOT_FOUND)
		return r;
	if (r < 0 || !strings_equal(o.etag, c->etag)) {
		*e = missing;
		return missing.code;
	}
	err_clear(e);
	c->was_done = true;
	c->put.attributes = o.attributes;
	(void)snprintf(c->put.version_id, sizeof(c->put.version_id), "%s", o.version_id);
	return 0;
}

static int
commit(struct store_tx *tx, void *arg, struct err *e)
{
	struct completion *c = arg;
	struct request *rq = c->rq;
	struct upload u;
	int r = upload_find(tx, rq, &u, e);

	c->was_done = false; /* it may be run again */
	if (r == ERR_UPLOAD_NOT_FOUND)
		return find_done(tx, c, e);
	if (r == 0)
		r = make_content(tx, c, &u, e);
	if (r == 0)
		r = upload_drop(tx, rq->bucket->id, u.id, e);
	if (r < 0)
		return r;
	c->put.key = rq->target.key;
	c->put.content_id = u.id;
	c->put.etag = c->etag;
	c->put.account_id = u.account_id;
	c->put.origin = (struct change_origin){ rq, "ObjectCreated:CompleteMultipartUpload", NULL };
	r = write_condition_read(rq, &c->put.condition, e);
	return r < 0 ? r : object_replace(tx, rq->bucket, &c->put, e);
}

static void
write_completed(struct completion *c)
{
	struct request *rq = c->rq;
	struct lifecycle_subject subject = { rq->target.key, c->put.attributes.tags,
		c->put.size_bytes, c->put.modified_us };
	struct xml_writer *w;

	object_reply_version(rq, c->put.version_id);
	lifecycle_reply(rq, &subject);
	encryption_reply(rq, c->put.attributes.encryption);
	w = reply_xml(rq, "CompleteMultipartUploadResult");
	xml_open(w, "Location");
	xml_text(w, rq->peer.is_tls ? STR("https://") : STR("http://"));
	xml_text(w, rq->head->host);
	xml_text(w, rq->head->path);
	xml_close(w, "Location");
	xml_element(w, "Bucket", rq->bucket->name);
	xml_key(w, "Key", rq->target.key, false);
	xml_elementf(w, "ETag", "\"%s\"", c->etag);
	checksum_write(rq, w, c->put.attributes.checksum, true);
	reply_xml_end(rq, "CompleteMultipartUploadResult");
}

int
multipart_complete(struct request *rq, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct completion *c = arena_alloc(rq->arena, sizeof(*c));
	int r = request_parse_xml(rq, "CompleteMultipartUpload", &doc, e);

	c->rq = rq;
	if (r == 0)
		r = read_parts(c, xmlDocGetRootElement(doc), e);
	if (r == 0)
		r = read_headers(c, e);
	if (r < 0)
		return r;
	make_etag(c);
	r = store_write(rq->walrus->store, commit, c, e);
	if (r < 0)
		return r;
	if (!c->was_done)
		reconciler_poke(rq->walrus->garbage);
	write_completed(c);
	return 0;
}
