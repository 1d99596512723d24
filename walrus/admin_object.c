/* What is written of encryption is whether there is any: what is needed to read the bytes stays in
 * the store. */
#include "admin_object.h"

#include "admin.h"
#include "auth/digest.h"
#include "base/clock.h"
#include "base/vec.h"
#include "blob.h"
#include "bucket.h"
#include "content.h"
#include "schema.h"

#define OBJECTS_SHOWN 1000

struct question {
	struct walrus *walrus;
	struct http_call *call;
	struct form form;
	struct bucket bucket;
	struct str key; /* or what listed keys begin with */
	VEC(struct object) versions;
};

static int
read_key(struct question *q, const char *name, struct err *e)
{
	const char *key;
	int r = admin_need(&q->form, name, &key, e);

	q->key = r == 0 ? str_of(key) : STR("");
	return r;
}

static int
find_bucket(struct store_tx *tx, struct question *q, struct err *e)
{
	const char *name;
	int r = admin_need(&q->form, "bucket", &name, e);

	if (r == 0)
		r = bucket_find(tx, name, q->call->arena, &q->bucket, e);
	if (r == ERR_BUCKET_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "there is no bucket '%.100s'", name);
	return r;
}

static void
add_version(struct strbuf *out, const struct object *o)
{
	const struct object_attributes *a = &o->attributes;
	char modified[TIME_TEXT_SIZE], until[TIME_TEXT_SIZE];

	time_format_iso(o->modified_us, modified);
	strbuf_addf(out, "version=%s state=%s modified=%s account=%s", o->version_id,
	    o->is_marker    ? "marker"
	    : o->is_current ? "current"
			    : "noncurrent",
	    modified, o->account_id);
	if (o->is_marker) {
		strbuf_addc(out, '\n');
		return;
	}
	strbuf_addf(out, " bytes=%llu etag=%s class=%s encrypted=%s",
	    (unsigned long long)o->size_bytes, o->etag,
	    a->storage_class ? a->storage_class : "STANDARD", a->encryption ? "yes" : "no");
	if (a->lock_mode) {
		time_format_iso(a->lock_until_us, until);
		strbuf_addf(out, " lock=%s until=%s", a->lock_mode, until);
	}
	if (a->hold == HOLD_ON)
		strbuf_adds(out, " hold=on");
	strbuf_addc(out, '\n');
}

/* -- list -- */

static int
print_objects(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct question *q = arg;
	struct strbuf *out = &q->call->reply;
	int r = find_bucket(tx, q, e);

	strbuf_reset(out);
	if (r == 0)
		r = store_query(
		    tx, Q_ADMIN_OBJECTS, &rows, e, q->bucket.id, q->key, (int64_t)OBJECTS_SHOWN);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct object o;

		object_of_list(rows, q->call->arena, &o);
		if (o.key.n < q->key.n || memcmp(o.key.p, q->key.p, q->key.n) != 0)
			return 0;
		url_encode(out, o.key, true);
		strbuf_addc(out, ' ');
		add_version(out, &o);
	}
	return r;
}

void
admin_object_list(struct http_call *call, void *arg)
{
	struct walrus *w = arg;
	struct question q = { .walrus = w, .call = call };
	struct err e = { 0 };
	const char *prefix;
	int r = admin_form(call, &q.form, &e);

	if (r == 0) {
		prefix = form_find(&q.form, "prefix");
		q.key = prefix ? str_of(prefix) : STR("");
		r = store_read(w->store, print_objects, &q, &e);
	}
	if (r < 0)
		admin_fail(call, &e);
}

/* -- show -- */

static int
read_versions(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct question *q = arg;
	int r = find_bucket(tx, q, e);

	q->versions.count = 0;
	if (r == 0)
		r = store_query(tx, Q_ADMIN_VERSIONS, &rows, e, q->bucket.id, q->key);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct object o;

		object_from_row(rows, q->call->arena, &o);
		vec_add(&q->versions, o);
	}
	if (r == 0 && q->versions.count == 0)
		return err_set(e, ERR_NOT_FOUND, "there is no such key in '%s'", q->bucket.name);
	return r;
}

static int
print_extents(struct store_tx *tx, const char *content_id, struct strbuf *out, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_ADMIN_EXTENTS, &rows, e, content_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		const char *blob = store_text(rows, 2), *checksum = store_text(rows, 5);

		strbuf_addf(out, "  extent %lld-%lld crc32c=%08llx", (long long)store_int(rows, 0),
		    (long long)store_int(rows, 1), (unsigned long long)store_int(rows, 3));
		if (blob)
			strbuf_addf(out, " file=blobs/%.2s/%.2s/%s", blob, blob + 2, blob);
		else
			strbuf_adds(out, " inline");
		if (store_int(rows, 4))
			strbuf_addf(out, " part=%lld", (long long)store_int(rows, 4));
		if (checksum)
			strbuf_addf(out, " checksum=\"%s\"", checksum);
		strbuf_addc(out, '\n');
	}
	return r;
}

static int
print_versions(struct store_tx *tx, void *arg, struct err *e)
{
	struct question *q = arg;
	struct strbuf *out = &q->call->reply;
	int r = read_versions(tx, q, e);

	strbuf_reset(out);
	for (size_t i = 0; r == 0 && i < q->versions.count; i++) {
		const struct object *o = &q->versions.items[i];

		add_version(out, o);
		if (!o->content_id)
			continue;
		strbuf_addf(
		    out, "  content=%s sha256=%s", o->content_id, o->sha256 ? o->sha256 : "-");
		if (o->attributes.checksum)
			strbuf_addf(out, " checksum=\"%s\"", o->attributes.checksum);
		strbuf_addc(out, '\n');
		r = print_extents(tx, o->content_id, out, e);
	}
	return r;
}

static void
ask_about_key(struct http_call *call, struct walrus *w, struct question *q, store_fn fn)
{
	struct err e = { 0 };
	int r;

	*q = (struct question){ .walrus = w, .call = call };
	r = admin_form(call, &q->form, &e);
	if (r == 0)
		r = read_key(q, "key", &e);
	if (r == 0)
		r = store_read(w->store, fn, q, &e);
	if (r < 0)
		admin_fail(call, &e);
}

void
admin_object_show(struct http_call *call, void *arg)
{
	struct question q;

	ask_about_key(call, arg, &q, print_versions);
	vec_done(&q.versions);
}

/* -- verify -- */

/* From the disk, block by block, into the hash. */
static int
read_blob(struct walrus *w, const struct blob *blob, EVP_MD_CTX *sha256, struct err *e)
{
	_cleanup_(blob_reader_freep) struct blob_reader *reader = NULL;
	int r = blob_reader_new(w->blobs, blob, &reader, e);

	if (r == 0)
		blob_reader_forget_cached(reader);
	for (uint64_t at = 0; r == 0 && at < blob->size_bytes;) {
		_cleanup_free_ char *buffer = NULL;
		struct str bytes = { NULL, 0 };

		r = blob_reader_read(reader, at, blob->size_bytes - at, &buffer, &bytes, e);
		if (r == 0)
			EVP_DigestUpdate(sha256, bytes.p, bytes.n);
		at += bytes.n;
	}
	return r;
}

static int
read_extents(
    struct walrus *w, const struct content_reader *content, char ret_hex[65], struct err *e)
{
	EVP_MD_CTX *sha256 = digest_begin(DIGEST_SHA256);
	size_t count;
	const struct extent *extents = content_reader_extents(content, &count);
	uint8_t hash[32];
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = read_blob(w, &extents[i].blob, sha256, e);
	digest_end(sha256, hash);
	hex_encode(hash, sizeof(hash), ret_hex);
	return r;
}

static int
verify(struct question *q, const struct object *o, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *content = NULL;
	const struct object_name name = { q->bucket.id, o->key, o->version_id, NULL };
	struct object now;
	char hex[65];
	int r = content_open(q->walrus, &name, q->call->arena, &now, &content, e);

	if (r == 0)
		r = read_extents(q->walrus, content, hex, e);
	if (r < 0 || !now.sha256 || now.attributes.encryption || strings_equal(hex, now.sha256))
		return r;
	return err_set(e, ERR_CORRUPT, "its SHA-256 is %s", hex);
}

void
admin_object_verify(struct http_call *call, void *arg)
{
	struct question q;

	ask_about_key(call, arg, &q, read_versions);
	for (size_t i = 0; i < q.versions.count; i++) {
		const struct object *o = &q.versions.items[i];
		struct err e = { 0 };
		int r;

		if (!o->content_id)
			continue;
		r = verify(&q, o, &e);
		if (r == ERR_KEY_NOT_FOUND || r == ERR_VERSION_NOT_FOUND)
			continue; /* gone meanwhile */
		if (r < 0)
			call->status = 500;
		strbuf_addf(&call->reply, "version=%s bytes=%llu %s%s%s\n", o->version_id,
		    (unsigned long long)o->size_bytes, r < 0 ? "damaged reason=\"" : "sound",
		    r < 0 ? e.text : "", r < 0 ? "\"" : "");
	}
	vec_done(&q.versions);
}
