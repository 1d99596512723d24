/* Headers of a PUT become attributes, and attributes headers of a reply. */
#include "metadata.h"

#include "access.h"
#include "acl_request.h"
#include "lock.h"
#include "tags.h"
#include "website.h"

#define USER_METADATA_MAX 2048
#define DEFAULT_TYPE "binary/octet-stream"

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

static int
read_headers(struct request *rq, char **ret, struct err *e)
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

static const char *const storage_classes[] = { "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA",
	"ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "OUTPOSTS", "GLACIER_IR",
	"SNOW", "EXPRESS_ONEZONE" };

static int
read_storage_class(struct request *rq, char **ret, struct err *e)
{
	struct str wanted = request_header(rq, "x-amz-storage-class");

	*ret = NULL;
	if (!wanted.p)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(storage_classes); i++)
		if (str_is(wanted, storage_classes[i])) {
			*ret = i ? arena_str(rq->arena, wanted) : NULL;
			return 0;
		}
	return err_set(
	    e, ERR_INVALID_STORAGE_CLASS, "The storage class you specified is not valid");
}

/* x-amz-tagging: whoever may write may not yet tag. */
static int
read_tags(struct request *rq, char **ret, struct err *e)
{
	struct str header = request_header(rq, "x-amz-tagging");
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct tags tags;
	int r;

	*ret = NULL;
	if (header.n == 0)
		return 0;
	r = tags_parse(header, TAGS_OF_OBJECT_MAX, rq->arena, &tags, e);
	if (r == 0)
		r = access_action(rq, "s3:PutObjectTagging", PERMISSION_NONE, rq->bucket,
		    rq->target.key, NULL, e);
	if (r < 0 || tags.count == 0)
		return r;
	tags_format(&tags, &text);
	*ret = arena_str(rq->arena, strbuf_str(&text));
	return 0;
}

int
metadata_read(struct request *rq, struct object_attributes *ret, struct err *e)
{
	int r;

	*ret = (struct object_attributes){ 0 };
	r = website_check_location(request_header(rq, "x-amz-website-redirect-location"), e);
	if (r == 0)
		r = read_headers(rq, &ret->headers, e);
	if (r == 0)
		r = acl_of_object(rq, &ret->acl, e);
	if (r == 0)
		r = read_storage_class(rq, &ret->storage_class, e);
	if (r == 0)
		r = lock_read(rq, ret, e);
	if (r == 0)
		r = read_tags(rq, &ret->tags, e);
	return r;
}

const char *
metadata_storage_class(const struct object_attributes *a)
{
	return a->storage_class ? a->storage_class : storage_classes[0];
}

#define REDIRECT "x-amz-website-redirect-location"

char *
metadata_copy(struct request *rq, const char *headers)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct str rest = str_of(headers), line, redirect = request_header(rq, REDIRECT);

	while (str_split(&rest, '\n', &line)) {
		if (line.n == 0 || str_starts(line, REDIRECT ":"))
			continue;
		strbuf_addstr(&text, line);
		strbuf_addc(&text, '\n');
	}
	if (redirect.n)
		strbuf_addf(&text, REDIRECT ": %.*s\n", (int)redirect.n, redirect.p);
	return text.n ? arena_str(rq->arena, strbuf_str(&text)) : NULL;
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

static unsigned
tags_count(const char *text)
{
	unsigned count = 1;

	for (; *text; text++)
		count += *text == '&';
	return count;
}

int
metadata_check_overrides(const struct request *rq, struct err *e)
{
	for (size_t i = 0; rq->is_anonymous && i < ARRAY_SIZE(overrides); i++)
		if (request_parameter(rq, overrides[i].parameter))
			return err_set(e, ERR_INVALID_REQUEST,
			    "Request specific response headers cannot be used for anonymous GET "
			    "requests.");
	return 0;
}

static bool
may_read_tags(struct request *rq, const struct object *o)
{
	bool has_version = request_parameter(rq, "versionId") != NULL;
	struct err why;

	return access_action(rq, has_version ? "s3:GetObjectVersionTagging" : "s3:GetObjectTagging",
		   PERMISSION_NONE, rq->bucket, o->key, o, &why) == 0;
}

void
metadata_reply(struct request *rq, const struct object *o)
{
	struct str rest = str_of(o->attributes.headers), line, name;
	bool has_type = false;

	for (size_t i = 0; rq->query.count && i < ARRAY_SIZE(overrides); i++) {
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
	if (o->attributes.storage_class)
		reply_header(rq, "x-amz-storage-class", o->attributes.storage_class);
	lock_reply(rq, o);
	if (o->attributes.tags && may_read_tags(rq, o))
		reply_headerf(rq, "x-amz-tagging-count", "%u", tags_count(o->attributes.tags));
}

void
metadata_reply_unchanged(struct request *rq, const struct object *o)
{
	struct str rest = str_of(o->attributes.headers), line, name;

	while (str_split(&rest, '\n', &line)) {
		struct str value = line;

		if (line.n && str_split(&value, ':', &name) &&
		    (str_is(name, "Cache-Control") || str_is(name, "Expires")))
			reply_header(
			    rq, arena_str(rq->arena, name), arena_str(rq->arena, str_trim(value)));
	}
}
