/* The source is found, allowed and held against its conditions as a GET of it would be. */
#include "copy_source.h"

#include "access.h"
#include "bucket.h"
#include "condition.h"
#include "encryption_request.h"
#include "net/url.h"
#include "version.h"

#define VERSION_PARAMETER "?versionId="

static int
invalid_source(struct err *e)
{
	return err_set(e, ERR_INVALID_ARGUMENT,
	    "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
}

static int
decode(struct str raw, struct arena *arena, struct str *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct err why;

	if (url_decode(&text, raw, false, &why) < 0 || !is_utf8(strbuf_str(&text)) ||
	    strlen(strbuf_c(&text)) != text.n)
		return invalid_source(e);
	*ret = (struct str){ arena_str(arena, strbuf_str(&text)), text.n };
	return 0;
}

int
copy_source_parse(
    struct str header, struct arena *arena, struct copy_source_name *ret, struct err *e)
{
	const char *version =
	    header.n ? memmem(header.p, header.n, VERSION_PARAMETER, strlen(VERSION_PARAMETER))
		     : NULL;
	struct str path = header, id = { NULL, 0 }, whole, bucket;
	int r = 0;

	if (version) {
		path.n = (size_t)(version - header.p);
		id.p = version + strlen(VERSION_PARAMETER);
		id.n = header.n - path.n - strlen(VERSION_PARAMETER);
		r = decode(id, arena, &id, e);
	}
	if (r == 0)
		r = decode(path, arena, &whole, e);
	if (r < 0)
		return r;
	if (whole.n && whole.p[0] == '/')
		whole = (struct str){ whole.p + 1, whole.n - 1 };
	if (!str_split(&whole, '/', &bucket) || bucket.n == 0 || whole.n == 0)
		return invalid_source(e);
	if (whole.n > S3_KEY_MAX)
		return err_set(e, ERR_KEY_TOO_LONG, "Your key is too long");
	if (id.n && !version_id_is_valid(id))
		return err_set(e, ERR_INVALID_ARGUMENT, VERSION_ID_INVALID);
	*ret = (struct copy_source_name){ .bucket = arena_str(arena, bucket),
		.key = whole,
		.version_id = id.n ? arena_str(arena, id) : NULL };
	return 0;
}

int
copy_range_parse(
    struct str header, uint64_t size_bytes, uint64_t *ret_first, uint64_t *ret_count, struct err *e)
{
	struct str rest = header, unit, first_text;
	uint64_t first, last;

	if (!str_split(&rest, '=', &unit) || !str_is(unit, "bytes") ||
	    !str_split(&rest, '-', &first_text) || !str_to_u64(first_text, &first) ||
	    !str_to_u64(rest, &last) || last < first)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "The x-amz-copy-source-range value must be of the form bytes=first-last where "
		    "first and last are the zero-based offsets of the first and last bytes to "
		    "copy");
	if (last >= size_bytes)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Range specified is not valid for source object of size: %llu",
		    (unsigned long long)size_bytes);
	*ret_first = first;
	*ret_count = last - first + 1;
	return 0;
}

/* Who may not list the bucket does not learn what is not in it. */
static int
missing(struct request *rq, const struct copy_source *s, struct err *e)
{
	struct err denied;

	if (access_action(rq, "s3:ListBucket", PERMISSION_READ, s->bucket, (struct str){ NULL, 0 },
		NULL, &denied) < 0) {
		*e = denied;
		return denied.code;
	}
	return e->code;
}

static int
check(struct request *rq, const struct copy_source *s, struct err *e)
{
	const struct object *o = &s->object;
	int r = access_action(rq, s->name.version_id ? "s3:GetObjectVersion" : "s3:GetObject",
	    PERMISSION_READ, s->bucket, s->name.key, o, e);

	if (r < 0)
		return r;
	if (o->is_marker && s->name.version_id)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The source of a copy request may not specifically refer to a delete marker by "
		    "version id.");
	if (o->is_marker)
		return err_set(e, ERR_KEY_NOT_FOUND, "The specified key does not exist.");
	if (!condition_of_source(rq, o))
		return err_set(e, ERR_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	return encryption_unlock_source(rq, o, s->reader, e);
}

int
copy_source_open(struct request *rq, struct copy_source *ret, struct err *e)
{
	struct object_name name = { 0 };
	int r =
	    copy_source_parse(request_header(rq, "x-amz-copy-source"), rq->arena, &ret->name, e);

	ret->bucket = NULL;
	ret->reader = NULL;
	if (r == 0)
		r = bucket_get(rq->walrus, ret->name.bucket, &ret->bucket, e);
	if (r < 0)
		return r;
	name = (struct object_name){ ret->bucket->id, ret->name.key, ret->name.version_id, NULL };
	r = content_open(rq->walrus, &name, rq->arena, &ret->object, &ret->reader, e);
	if (r == ERR_KEY_NOT_FOUND || r == ERR_VERSION_NOT_FOUND)
		return missing(rq, ret, e);
	return r < 0 ? r : check(rq, ret, e);
}

void
copy_source_done(struct copy_source *s)
{
	content_reader_free(TAKE(s->reader));
	bucket_unref(TAKE(s->bucket));
}

void
copy_source_reply(struct request *rq, const struct copy_source *s)
{
	if (s->bucket->versioning != VERSIONING_NEVER)
		reply_header(rq, "x-amz-copy-source-version-id", s->object.version_id);
}
