/* CopyObject. Where the bytes stay what they are the new object shares the content of its source,
 * at any size at once; where they are encrypted otherwise they go through a reader and a writer.
 * What is stored beside them comes from the source or from the request, as the directives say. */
#include <stdio.h>

#include "access.h"
#include "auth/digest.h"
#include "bucket.h"
#include "checksum_value.h"
#include "copy_source.h"
#include "encryption_request.h"
#include "metadata.h"
#include "object.h"
#include "schema.h"

#define TRIES_MAX 10

struct copy {
	struct request *rq;
	struct copy_source source;
	struct object_put put;
	bool replaces_metadata, replaces_tags;
	struct checksum_value wanted; /* CHECKSUM_MAX: as the source has it */
	bool is_shared;
	/* of bytes that are written anew, or of which a checksum is taken */
	struct cipher *cipher;
	struct blob_writer *writer;
	struct blob blob;
	struct checksum checksum;
	bool has_checksum;
	EVP_MD_CTX *md5;
	char content_id[CONTENT_ID_SIZE], etag[33];
};

/* -- what is asked for -- */

static int
read_directive(const struct request *rq, const char *name, bool *ret_replaces, struct err *e)
{
	struct str value = request_header(rq, name);

	*ret_replaces = str_is(value, "REPLACE");
	if (value.p && !*ret_replaces && !str_is(value, "COPY"))
		return err_set(e, ERR_INVALID_ARGUMENT, "Unknown %s directive.",
		    strstr(name, "tagging") ? "tagging" : "metadata");
	return 0;
}

static int
read_request(struct copy *c, struct err *e)
{
	struct request *rq = c->rq;
	int r = read_directive(rq, "x-amz-metadata-directive", &c->replaces_metadata, e);

	if (r == 0)
		r = read_directive(rq, "x-amz-tagging-directive", &c->replaces_tags, e);
	if (r == 0)
		r = write_condition_read(rq, &c->put.condition, e);
	if (r == 0)
		r = checksum_wanted(rq, &c->wanted, e);
	c->wanted.type = CHECKSUM_FULL_OBJECT;
	return r < 0 ? r : metadata_read(rq, &c->put.attributes, e);
}

/* An object becomes itself only to be something else. */
static int
check_change(const struct copy *c, struct err *e)
{
	static const char *const changes[] = { "x-amz-storage-class",
		"x-amz-website-redirect-location", "x-amz-server-side-encryption",
		"x-amz-server-side-encryption-customer-algorithm" };
	const struct request *rq = c->rq;

	if (c->source.bucket->id != rq->bucket->id || !str_eq(c->source.name.key, rq->target.key) ||
	    c->source.name.version_id || c->replaces_metadata)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		if (request_header(rq, changes[i]).p)
			return 0;
	return err_set(e, ERR_INVALID_REQUEST,
	    "This copy request is illegal because it is trying to copy an object to itself without "
	    "changing the object's metadata, storage class, website redirect location or "
	    "encryption "
	    "attributes.");
}

static int
check_source(const struct copy *c, struct err *e)
{
	if (c->source.object.size_bytes > COPY_BYTES_MAX)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The specified copy source is larger than the maximum allowable size for a "
		    "copy "
		    "source: %llu",
		    (unsigned long long)COPY_BYTES_MAX);
	return check_change(c, e);
}

/* The source's tags: to be read there, to be put here. */
static int
copy_tags(struct copy *c, struct err *e)
{
	struct request *rq = c->rq;
	const struct copy_source *s = &c->source;
	char *tags = s->object.attributes.tags;
	int r;

	c->put.attributes.tags = tags;
	if (!tags)
		return 0;
	rq->tags = tags;
	r = access_action(rq,
	    s->name.version_id ? "s3:GetObjectVersionTagging" : "s3:GetObjectTagging",
	    PERMISSION_NONE, s->bucket, s->name.key, &s->object, e);
	if (r == 0)
		r = access_action(rq, "s3:PutObjectTagging", PERMISSION_NONE, rq->bucket,
		    rq->target.key, NULL, e);
	return r;
}

/* -- bytes -- */

static int
take(void *arg, struct str bytes, struct err *e)
{
	struct copy *c = arg;

	if (c->has_checksum)
		checksum_add(&c->checksum, bytes);
	if (c->is_shared)
		return 0;
	EVP_DigestUpdate(c->md5, bytes.p, bytes.n);
	return cipher_write(c->cipher, c->writer, bytes, e);
}

/* Which checksum the copy has, and whether it must be computed. */
static void
choose_checksum(struct copy *c)
{
	struct checksum_value old;
	const char *text = c->source.object.attributes.checksum;

	checksum_value_parse(text, &old);
	c->put.attributes.checksum = (char *)text;
	if (c->is_shared &&
	    (c->wanted.algorithm == CHECKSUM_MAX || c->wanted.algorithm == old.algorithm))
		return;
	c->has_checksum = true;
	checksum_begin(&c->checksum, c->wanted.algorithm != CHECKSUM_MAX ? c->wanted.algorithm
				     : old.algorithm != CHECKSUM_MAX     ? old.algorithm
									 : CHECKSUM_DEFAULT);
}

static int
choose_encryption(struct copy *c, struct err *e)
{
	const char *text = c->source.object.attributes.encryption;
	int r = encryption_begin(c->rq, &c->put.attributes.encryption, &c->cipher, e);

	if (r < 0)
		return r;
	c->is_shared = encryption_is_same(c->rq, text);
	if (!c->is_shared)
		return 0;
	cipher_free(TAKE(c->cipher));
	c->put.attributes.encryption = (char *)text;
	return 0;
}

static int
finish_bytes(struct copy *c, struct err *e)
{
	struct checksum_value v;
	uint8_t md5[16];
	int r;

	if (c->has_checksum) {
		checksum_value_end(&c->checksum, &v);
		c->has_checksum = false;
		c->put.attributes.checksum = checksum_value_format(&v, c->rq->arena);
	}
	if (c->is_shared)
		return 0;
	r = blob_writer_finish(c->writer, &c->blob, e);
	digest_end(TAKE(c->md5), md5);
	if (encryption_kind(c->put.attributes.encryption) == ENCRYPTION_CUSTOMER)
		content_id_new(c->etag);
	else
		hex_encode(md5, sizeof(md5), c->etag);
	content_id_new(c->content_id);
	c->put.content_id = c->content_id;
	c->put.etag = c->etag;
	return r;
}

static int
prepare(struct copy *c, struct err *e)
{
	const struct object *o = &c->source.object;
	int r = choose_encryption(c, e);

	if (r < 0)
		return r;
	choose_checksum(c);
	c->put.content_id = o->content_id;
	c->put.etag = o->etag;
	c->put.sha256 = o->sha256;
	c->put.size_bytes = o->size_bytes;
	if (!c->is_shared) {
		c->writer = blob_writer_new(c->rq->walrus->blobs);
		c->md5 = digest_begin(DIGEST_MD5);
	}
	if (!c->is_shared || c->has_checksum)
		r = content_reader_each(c->source.reader, 0, o->size_bytes, take, c, e);
	return r < 0 ? r : finish_bytes(c, e);
}

/* -- the end -- */

/* The source may have been replaced since it was looked at: ERR_STALE. */
static int
share(struct store_tx *tx, struct copy *c, struct err *e)
{
	const struct copy_source *s = &c->source;
	struct object_name name = { s->bucket->id, s->name.key, NULL, s->object.content_id };
	struct object now;
	int r = object_find(tx, &name, c->rq->arena, &now, e);

	if (r == ERR_KEY_NOT_FOUND)
		return err_set(e, ERR_STALE, "the source of the copy was replaced");
	return r < 0 ? r : content_share(tx, s->object.content_id, e);
}

static int
commit(struct store_tx *tx, void *arg, struct err *e)
{
	struct copy *c = arg;
	int r = c->is_shared ? share(tx, c, e)
			     : content_add(tx, c->content_id, 0, &c->blob, cipher_iv(c->cipher), e);

	return r < 0 ? r : object_replace(tx, c->rq->bucket, &c->put, e);
}

static void
release(struct copy *c)
{
	if (c->has_checksum)
		checksum_done(&c->checksum);
	c->has_checksum = false;
	EVP_MD_CTX_free(TAKE(c->md5));
	blob_writer_free(TAKE(c->writer));
	cipher_free(TAKE(c->cipher));
	copy_source_done(&c->source);
}

static int
try_copy(struct copy *c, struct err *e)
{
	struct request *rq = c->rq;
	struct object_attributes *a = &c->put.attributes;
	int r;

	rq->tags = NULL;
	r = read_request(c, e);

	if (r == 0)
		r = copy_source_open(rq, &c->source, e);
	if (r == 0)
		r = check_source(c, e);
	if (r < 0)
		return r;
	if (!c->replaces_metadata)
		a->headers = metadata_copy(rq, c->source.object.attributes.headers);
	if (!c->replaces_tags)
		r = copy_tags(c, e);
	if (r == 0)
		r = prepare(c, e);
	if (r < 0)
		return r;
	c->put.key = rq->target.key;
	c->put.account_id = access_owner(rq);
	c->put.origin = (struct change_origin){ rq, "ObjectCreated:Copy", NULL };
	r = store_write(rq->walrus->store, commit, c, e);
	if (r == 0 && c->writer)
		blob_writer_keep(c->writer);
	return r;
}

static void
write_reply(struct copy *c)
{
	struct request *rq = c->rq;
	struct xml_writer *w;

	copy_source_reply(rq, &c->source);
	object_reply_version(rq, c->put.version_id);
	encryption_reply(rq, c->put.attributes.encryption);
	w = reply_xml(rq, "CopyObjectResult");
	xml_time(w, "LastModified", c->put.modified_us);
	xml_elementf(w, "ETag", "\"%s\"", c->put.etag);
	checksum_write(rq, w, c->put.attributes.checksum, true);
	reply_xml_end(rq, "CopyObjectResult");
}

int
object_copy(struct request *rq, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < TRIES_MAX; i++) {
		struct copy c = { .rq = rq };

		r = try_copy(&c, e);
		if (r == 0)
			write_reply(&c);
		release(&c);
		if (r != ERR_STALE)
			break;
	}
	reconciler_poke(rq->walrus->garbage);
	return r;
}
