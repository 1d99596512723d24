/* Objects: put, get, head, delete. A PUT streams into a blob, then one transaction gives the key
 * its new bytes and makes the old ones garbage: who reads sees the old object or the new one,
 * whole. */
#include "object.h"

#include <stdio.h>

#include "base/clock.h"
#include "bucket.h"
#include "net/http.h"
#include "schema.h"
#include "store/outbox.h"

#define USER_METADATA_MAX 2048
#define DELETE_MANY_MAX 1000
#define DEFAULT_TYPE "binary/octet-stream"

/* -- what is stored beside the bytes -- */

static const struct {
	const char *name, *written;
} system_headers[] = {
	{ "content-type", "Content-Type" },
	{ "content-encoding", "Content-Encoding" },
	{ "content-disposition", "Content-Disposition" },
	{ "content-language", "Content-Language" },
	{ "cache-control", "Cache-Control" },
	{ "expires", "Expires" },
	{ "x-amz-website-redirect-location", "x-amz-website-redirect-location" },
};

/* "aws-chunked" is how the body travelled, not what it is. */
static void
add_encoding(struct strbuf *out, struct str value)
{
	struct str part;
	bool is_first = true;
	_cleanup_strbuf_ struct strbuf kept = STRBUF_INIT;

	while (str_split(&value, ',', &part)) {
		part = str_trim(part);
		if (part.n == 0 || str_is_nocase(part, "aws-chunked"))
			continue;
		if (!is_first)
			strbuf_adds(&kept, ",");
		strbuf_addstr(&kept, part);
		is_first = false;
	}
	if (kept.n)
		strbuf_addf(out, "Content-Encoding: %s\n", strbuf_c(&kept));
}

static void
add_user_metadata(struct strbuf *out, const struct http_header *h, size_t *io_size)
{
	*io_size += h->name.n - strlen("x-amz-meta-") + h->value.n;
	for (size_t i = 0; i < h->name.n; i++)
		strbuf_addc(out, h->name.p[i] >= 'A' && h->name.p[i] <= 'Z'
				     ? (char)(h->name.p[i] | 0x20)
				     : h->name.p[i]);
	strbuf_adds(out, ": ");
	strbuf_addstr(out, h->value);
	strbuf_addc(out, '\n');
}

int
object_headers(struct request *rq, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	size_t user_size = 0;

	for (size_t i = 0; i < ARRAY_SIZE(system_headers); i++) {
		struct str value = request_header(rq, system_headers[i].name);

		if (value.n == 0)
			continue;
		if (strcmp(system_headers[i].name, "content-encoding") == 0) {
			add_encoding(&text, value);
			continue;
		}
		strbuf_addf(&text, "%s: ", system_headers[i].written);
		strbuf_addstr(&text, value);
		strbuf_addc(&text, '\n');
	}
	for (unsigned i = 0; i < rq->head->header_count; i++) {
		const struct http_header *h = &rq->head->headers[i];

		if (h->name.n > 11 && strncasecmp(h->name.p, "x-amz-meta-", 11) == 0)
			add_user_metadata(&text, h, &user_size);
	}
	if (user_size > USER_METADATA_MAX)
		return err_set(e, ERR_METADATA_TOO_LARGE,
		    "Your metadata headers exceed the maximum allowed metadata size");
	if (!is_utf8(strbuf_str(&text)) || strlen(strbuf_c(&text)) != text.n)
		return err_set(e, ERR_INVALID_ARGUMENT, "Header values must be UTF-8 text");
	*ret = text.n ? arena_str(rq->arena, strbuf_str(&text)) : NULL;
	return 0;
}

static const struct {
	const char *parameter, *header;
} overrides[] = {
	{ "response-content-type", "Content-Type" },
	{ "response-content-language", "Content-Language" },
	{ "response-expires", "Expires" },
	{ "response-cache-control", "Cache-Control" },
	{ "response-content-disposition", "Content-Disposition" },
	{ "response-content-encoding", "Content-Encoding" },
};

static const char *
override_of(struct request *rq, struct str name)
{
	for (size_t i = 0; i < ARRAY_SIZE(overrides); i++)
		if (str_is(name, overrides[i].header))
			return request_parameter(rq, overrides[i].parameter);
	return NULL;
}

static void
reply_stored_headers(struct request *rq, const struct object *o)
{
	struct str rest = str_of(o->headers), line, name;
	bool has_type = false;

	for (size_t i = 0; i < ARRAY_SIZE(overrides); i++) {
		const char *value = request_parameter(rq, overrides[i].parameter);

		if (!value)
			continue;
		reply_header(rq, overrides[i].header, value);
		has_type |= i == 0;
	}
	while (str_split(&rest, '\n', &line)) {
		struct str value = line;

		if (line.n == 0 || !str_split(&value, ':', &name) || override_of(rq, name))
			continue;
		reply_header(rq, arena_str(rq->arena, name), arena_str(rq->arena, str_trim(value)));
		has_type |= str_is(name, "Content-Type");
	}
	if (!has_type)
		reply_header(rq, "Content-Type", DEFAULT_TYPE);
}

/* -- put -- */

struct put {
	struct blob_writer *writer;
	struct blob blob;
	char *headers;
	char content_id[CONTENT_ID_SIZE], etag[33], sha256[65];
	struct object_put row;
};

struct blob_writer *
object_writer(struct request *rq)
{
	struct put *p = rq->data;

	return p->writer;
}

int
object_put_begin(struct request *rq, struct err *e)
{
	struct put *p;

	if (request_header(rq, "x-amz-copy-source").p)
		return err_set(e, ERR_NOT_IMPLEMENTED,
		    "A header you provided implies functionality that is not implemented");
	p = arena_alloc(rq->arena, sizeof(*p));
	rq->data = p;
	p->writer = blob_writer_new(rq->walrus->blobs);
	return object_headers(rq, &p->headers, e);
}

int
object_data(struct request *rq, struct str bytes, struct err *e)
{
	return blob_writer_add(object_writer(rq), bytes, e);
}

void
object_done(struct request *rq)
{
	struct put *p = rq->data;

	if (p)
		blob_writer_free(TAKE(p->writer));
}

static int
add_event(struct store_tx *tx, const struct bucket *bucket, struct str key, const char *what,
    struct err *e)
{
	_cleanup_free_ char *id = xasprintf("%s/%.*s", bucket->name, (int)key.n, key.p);

	return outbox_add(tx, "object", id, bucket->account_id, what, e);
}

int
object_replace(
    struct store_tx *tx, const struct bucket *bucket, struct object_put *put, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct bucket now;
	char *old = NULL;
	int r = bucket_find(tx, bucket->name, arena, &now, e);

	if (r == 0 && now.id != bucket->id)
		r = err_set(e, ERR_BUCKET_NOT_FOUND, "The specified bucket does not exist");
	if (r == 0)
		r = store_query(tx, Q_OBJECT_DELETE_CURRENT, &rows, e, bucket->id, put->key);
	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		old = arena_strdup(arena, store_text(rows, 0));
	store_rows_free(TAKE(rows));
	if (r >= 0)
		r = content_discard(tx, old, e);
	if (r < 0)
		return r;
	put->modified_us = store_now_us(tx) / 1000 * 1000;
	r = store_exec(tx, Q_OBJECT_INSERT, NULL, e, bucket->id, put->key,
	    INT64_MAX - store_now_us(tx), "null", put->content_id, (int64_t)put->size_bytes,
	    put->etag, put->modified_us, put->account_id, put->headers, put->sha256);
	return r < 0 ? r : add_event(tx, bucket, put->key, "created", e);
}

static int
commit_put(struct store_tx *tx, void *arg, struct err *e)
{
	struct request *rq = arg;
	struct put *p = rq->data;
	const struct blob *b = &p->blob;
	int r = 0;

	if (b->size_bytes > 0)
		r = store_exec(tx, Q_EXTENT_INSERT, NULL, e, p->content_id, (int64_t)b->size_bytes,
		    (int64_t)0, b->id[0] ? b->id : NULL, (int64_t)b->crc32c,
		    b->id[0] ? (struct str){ NULL, 0 } : b->data);
	return r < 0 ? r : object_replace(tx, &rq->bucket, &p->row, e);
}

int
object_put_run(struct request *rq, struct err *e)
{
	struct put *p = rq->data;
	int r = blob_writer_finish(p->writer, &p->blob, e);

	if (r < 0)
		return r;
	content_id_new(p->content_id);
	hex_encode(rq->md5, sizeof(rq->md5), p->etag);
	hex_encode(rq->sha256, sizeof(rq->sha256), p->sha256);
	p->row = (struct object_put){ .key = rq->target.key,
		.content_id = p->content_id,
		.etag = p->etag,
		.sha256 = p->sha256,
		.account_id = rq->bucket.account_id,
		.headers = p->headers,
		.size_bytes = p->blob.size_bytes };
	r = store_write(rq->walrus->store, commit_put, rq, e);
	if (r < 0)
		return r;
	blob_writer_keep(p->writer);
	reconciler_poke(rq->walrus->garbage);
	reply_headerf(rq, "ETag", "\"%s\"", p->etag);
	return 0;
}

/* -- get -- */

/* "*", or a list of quoted tags; quotes are forgotten by some. */
static bool
names_etag(struct str list, const char *etag)
{
	struct str part;

	while (str_split(&list, ',', &part)) {
		part = str_trim(part);
		if (str_starts(part, "W/"))
			part = (struct str){ part.p + 2, part.n - 2 };
		if (part.n >= 2 && part.p[0] == '"' && part.p[part.n - 1] == '"')
			part = (struct str){ part.p + 1, part.n - 2 };
		if (str_is(part, "*") || str_is(part, etag))
			return true;
	}
	return false;
}

/* RFC 9110 13.2.2: 0 go on, 304 or 412 otherwise. */
static int
precondition(const struct request *rq, const struct object *o)
{
	struct str match = request_header(rq, "if-match");
	struct str none_match = request_header(rq, "if-none-match");
	struct str unmodified = request_header(rq, "if-unmodified-since");
	struct str modified = request_header(rq, "if-modified-since");
	int64_t since, at = o->modified_us / 1000000 * 1000000;

	if (match.p) {
		if (!names_etag(match, o->etag))
			return 412;
	} else if (unmodified.p && time_parse_http(unmodified, &since) && at > since) {
		return 412;
	}
	if (none_match.p)
		return names_etag(none_match, o->etag) ? 304 : 0;
	return modified.p && time_parse_http(modified, &since) && at <= since ? 304 : 0;
}

/* RFC 9110 13.1.5: a range is only meant for the object that the client knows. */
static bool
range_is_wanted(const struct request *rq, const struct object *o)
{
	struct str condition = request_header(rq, "if-range");
	int64_t since;

	if (!condition.p)
		return true;
	if (time_parse_http(condition, &since))
		return o->modified_us / 1000000 * 1000000 <= since;
	return names_etag(condition, o->etag);
}

static void
reply_validators(struct request *rq, const struct object *o)
{
	char *modified = arena_alloc(rq->arena, TIME_TEXT_SIZE);

	time_format_http(o->modified_us, modified);
	reply_header(rq, "Last-Modified", modified);
	reply_headerf(rq, "ETag", "\"%s\"", o->etag);
}

static int
choose_range(struct request *rq, const struct object *o, struct err *e)
{
	struct str header = request_header(rq, "range");
	struct http_range range;
	int r = 0;

	rq->content_offset = 0;
	rq->content_left = o->size_bytes;
	if (header.p && range_is_wanted(rq, o))
		r = http_range_parse(header, o->size_bytes, &range, e);
	if (r < 0)
		return err_set(e, ERR_INVALID_RANGE, "The requested range is not satisfiable");
	if (r == 0)
		return 0;
	rq->status = 206;
	rq->content_offset = range.first;
	rq->content_left = range.last - range.first + 1;
	reply_headerf(rq, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)range.first,
	    (unsigned long long)range.last, (unsigned long long)o->size_bytes);
	return 0;
}

static int
check_version(const struct request *rq, struct err *e)
{
	const char *version = request_parameter(rq, "versionId");

	if (version && *version && strcmp(version, "null") != 0)
		return err_set(e, ERR_VERSION_NOT_FOUND, "The specified version does not exist.");
	return 0;
}

int
object_get(struct request *rq, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	struct object o;
	int r = check_version(rq, e), refused;

	if (r == 0)
		r = content_open(
		    rq->walrus, rq->bucket.id, rq->target.key, rq->arena, &o, &reader, e);
	if (r < 0)
		return r;
	refused = precondition(rq, &o);
	if (refused == 412)
		return err_set(e, ERR_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	reply_validators(rq, &o);
	if (refused) {
		rq->status = refused;
		return 0;
	}
	r = choose_range(rq, &o, e);
	if (r < 0)
		return r;
	reply_header(rq, "Accept-Ranges", "bytes");
	reply_stored_headers(rq, &o);
	if (request_is_head(rq) || rq->content_left == 0) {
		rq->has_length = true;
		rq->length = rq->content_left;
		return 0;
	}
	rq->content = TAKE(reader);
	return 0;
}

/* -- delete -- */

struct deletion {
	struct request *rq;
	struct str *keys;
	size_t count;
};

int
object_remove(struct store_tx *tx, const struct bucket *bucket, struct str key, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_free_ char *content_id = NULL;
	int r = store_query(tx, Q_OBJECT_DELETE_CURRENT, &rows, e, bucket->id, key);

	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	content_id = store_is_null(rows, 0) ? NULL : xstrdup(store_text(rows, 0));
	store_rows_free(TAKE(rows));
	r = content_discard(tx, content_id, e);
	return r < 0 ? r : add_event(tx, bucket, key, "deleted", e);
}

static int
remove_keys(struct store_tx *tx, void *arg, struct err *e)
{
	const struct deletion *d = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->count; i++)
		r = object_remove(tx, &d->rq->bucket, d->keys[i], e);
	return r;
}

int
object_delete(struct request *rq, struct err *e)
{
	struct deletion d = { rq, &rq->target.key, 1 };
	int r = check_version(rq, e);

	if (r == 0)
		r = store_write(rq->walrus->store, remove_keys, &d, e);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	rq->status = 204;
	return 0;
}

static int
malformed_xml(struct err *e)
{
	return err_set(e, ERR_MALFORMED_XML,
	    "The XML you provided was not well-formed or did not validate against our published "
	    "schema");
}

struct wanted {
	struct str key;
	const char *version_id;
};

static int
read_wanted(struct request *rq, xmlNode *root, struct wanted *wanted, size_t *ret_count,
    bool *ret_quiet, struct err *e)
{
	size_t n = 0;

	for (xmlNode *node = xml_first(root); node; node = xml_next(node)) {
		xmlNode *version;
		char *key;

		if (xml_is(node, NULL, "Quiet")) {
			char *text = xml_text_of(node, 16, rq->arena);

			*ret_quiet = text && strcasecmp(text, "true") == 0;
			continue;
		}
		if (!xml_is(node, NULL, "Object") || n == DELETE_MANY_MAX || !xml_find(node, "Key"))
			return malformed_xml(e);
		key = xml_text_of(xml_find(node, "Key"), S3_KEY_MAX, rq->arena);
		if (!key || !*key)
			return malformed_xml(e);
		version = xml_find(node, "VersionId");
		wanted[n++] = (struct wanted){ str_of(key),
			version ? xml_text_of(version, 1024, rq->arena) : NULL };
	}
	*ret_count = n;
	return n ? 0 : malformed_xml(e);
}

static bool
has_version(const struct wanted *w)
{
	return w->version_id && *w->version_id && strcmp(w->version_id, "null") != 0;
}

static void
write_deleted(struct xml_writer *w, const struct wanted *wanted, size_t count, bool quiet)
{
	for (size_t i = 0; i < count; i++) {
		if (has_version(&wanted[i])) {
			xml_open(w, "Error");
			xml_key(w, "Key", wanted[i].key, false);
			xml_element(w, "VersionId", wanted[i].version_id);
			xml_element(w, "Code", fault_code(ERR_VERSION_NOT_FOUND));
			xml_element(w, "Message", "The specified version does not exist.");
			xml_close(w, "Error");
		} else if (!quiet) {
			xml_open(w, "Deleted");
			xml_key(w, "Key", wanted[i].key, false);
			xml_close(w, "Deleted");
		}
	}
}

int
object_delete_many(struct request *rq, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct wanted *wanted = arena_alloc(rq->arena, DELETE_MANY_MAX * sizeof(*wanted));
	struct str *keys = arena_alloc(rq->arena, DELETE_MANY_MAX * sizeof(*keys));
	struct deletion d = { rq, keys, 0 };
	bool quiet = false;
	size_t count = 0;
	int r = request_parse_xml(rq, "Delete", &doc, e);

	if (r == 0)
		r = read_wanted(rq, xmlDocGetRootElement(doc), wanted, &count, &quiet, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (!has_version(&wanted[i]))
			keys[d.count++] = wanted[i].key;
	r = store_write(rq->walrus->store, remove_keys, &d, e);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	write_deleted(reply_xml(rq, "DeleteResult"), wanted, count, quiet);
	reply_xml_end(rq, "DeleteResult");
	return 0;
}
