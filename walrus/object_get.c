/* GET and HEAD of an object: which version, whether its reader may and wants it, which bytes. */
#include "base/clock.h"

#include "access.h"
#include "checksum_value.h"
#include "condition.h"
#include "encryption_request.h"
#include "lifecycle.h"
#include "metadata.h"
#include "object.h"

static void
reply_validators(struct request *rq, const struct object *o)
{
	char *modified = arena_alloc(rq->arena, TIME_TEXT_SIZE);
	size_t n = strlen(o->etag);
	char *etag = arena_alloc(rq->arena, n + 3);

	time_format_http(o->modified_us, modified);
	reply_header(rq, "Last-Modified", modified);
	etag[0] = etag[n + 1] = '"';
	memcpy(etag + 1, o->etag, n);
	reply_header(rq, "ETag", etag);
}

static int
choose_range(struct request *rq, const struct object *o, struct err *e)
{
	struct str header = request_header(rq, "range");
	struct http_range range;
	int r = 0;

	rq->content_offset = 0;
	rq->content_left = o->size_bytes;
	if (header.p && condition_wants_range(rq, o))
		r = http_range_parse(header, o->size_bytes, &range, e);
	if (r < 0) {
		err_detailf(
		    &rq->details, "ActualObjectSize", "%llu", (unsigned long long)o->size_bytes);
		return err_set(e, ERR_INVALID_RANGE, "The requested range is not satisfiable");
	}
	if (r == 0)
		return 0;
	rq->status = 206;
	rq->content_offset = range.first;
	rq->content_left = range.last - range.first + 1;
	reply_headerf(rq, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)range.first,
	    (unsigned long long)range.last, (unsigned long long)o->size_bytes);
	return 0;
}

/* -- one part -- */

uint32_t
object_part_count(const struct object *o)
{
	const char *dash = strchr(o->etag, '-');
	uint32_t count = 0;

	if (dash)
		(void)str_to_u32(str_of(dash + 1), &count);
	return count;
}

static int
no_such_part(struct err *e)
{
	return err_set(e, ERR_INVALID_PART_NUMBER, "The requested partnumber is not satisfiable");
}

/* ?partNumber: that part as a range. What was put whole is its part 1. */
static int
choose_part(struct request *rq, const struct object *o, struct content_reader *reader,
    const char **ret_checksum, struct err *e)
{
	const char *text = request_parameter(rq, "partNumber");
	size_t count, i = 0;
	const struct extent *extents = content_reader_extents(reader, &count);
	uint32_t number, parts = object_part_count(o);
	uint64_t start = 0, end = o->size_bytes;

	if (!str_to_u32(str_of(text), &number) || number < 1 || number > 10000)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Part number must be an integer between 1 and 10000, inclusive");
	if (request_header(rq, "range").p)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Cannot specify both Range header and partNumber query parameter");
	if (parts == 0 && number != 1)
		return no_such_part(e);
	if (parts > 0) {
		while (i < count && extents[i].part_number != number)
			i++;
		if (i == count)
			return no_such_part(e);
		start = extents[i].start;
		end = extents[i].end;
		*ret_checksum = extents[i].checksum;
		reply_headerf(rq, "x-amz-mp-parts-count", "%u", parts);
	}
	rq->content_offset = start;
	rq->content_left = end - start;
	if (end == start)
		return 0;
	rq->status = 206;
	reply_headerf(rq, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)start,
	    (unsigned long long)end - 1, (unsigned long long)o->size_bytes);
	return 0;
}

/* Which bytes, and the checksum of exactly those, if it is known. */
static int
choose_bytes(
    struct request *rq, const struct object *o, struct content_reader *reader, struct err *e)
{
	const char *checksum = o->attributes.checksum;
	struct str mode = request_header(rq, "x-amz-checksum-mode");
	bool is_part = request_parameter(rq, "partNumber") != NULL;
	int r = is_part ? choose_part(rq, o, reader, &checksum, e) : choose_range(rq, o, e);

	if (r == 0 && str_is_nocase(mode, "ENABLED") && (is_part || rq->status != 206))
		checksum_reply(rq, checksum);
	return r;
}

/* -- which object -- */

struct object_name
object_name_of(const struct request *rq)
{
	const char *version = request_parameter(rq, "versionId");

	return (struct object_name){ rq->bucket->id, rq->target.key,
		version && *version ? version : NULL, NULL };
}

void
object_reply_version(struct request *rq, const char *version_id)
{
	if (rq->bucket->versioning != VERSIONING_NEVER || strcmp(version_id, VERSION_NULL) != 0)
		reply_header(rq, "x-amz-version-id", arena_strdup(rq->arena, version_id));
}

/* A delete marker has no bytes: asked for by its id it may only be deleted, else the key is not
 * there. */
static int
refuse_marker(struct request *rq, const struct object *o, bool by_id, struct err *e)
{
	char *modified = arena_alloc(rq->arena, TIME_TEXT_SIZE);
	int r;

	reply_header(rq, "x-amz-delete-marker", "true");
	object_reply_version(rq, o->version_id);
	if (!by_id) {
		(void)err_set(e, ERR_KEY_NOT_FOUND, "The specified key does not exist.");
		r = access_missing(rq, e);
		rq->keeps_headers = r == ERR_KEY_NOT_FOUND;
		return r;
	}
	rq->keeps_headers = true;
	time_format_http(o->modified_us, modified);
	reply_header(rq, "Last-Modified", modified);
	reply_header(rq, "Allow", "DELETE");
	return err_set(e, ERR_METHOD_NOT_ALLOWED,
	    "The specified method is not allowed against this resource.");
}

int
object_find_named(struct store_tx *tx, struct request *rq, struct object *ret, struct err *e)
{
	struct object_name name = object_name_of(rq);
	int r = object_find(tx, &name, rq->arena, ret, e);

	if (r == ERR_KEY_NOT_FOUND || r == ERR_VERSION_NOT_FOUND)
		return access_missing(rq, e);
	if (r == 0)
		r = access_object(rq, ret, e);
	return r == 0 && ret->is_marker ? refuse_marker(rq, ret, true, e) : r;
}

int
object_open(
    struct request *rq, struct object *ret, struct content_reader **ret_reader, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	struct object_name name = object_name_of(rq);
	int r = rq->hot ? content_open_hot(rq->walrus, TAKE(rq->hot), rq->arena, ret, &reader, e)
			: content_open(rq->walrus, &name, rq->arena, ret, &reader, e);

	if (r == ERR_KEY_NOT_FOUND || r == ERR_VERSION_NOT_FOUND)
		return access_missing(rq, e);
	if (r == 0)
		r = access_object(rq, ret, e);
	if (r == 0 && ret->is_marker)
		r = refuse_marker(rq, ret, name.version_id != NULL, e);
	if (r < 0)
		return r;
	*ret_reader = TAKE(reader);
	return 0;
}

static void
reply_expiration(struct request *rq, const struct object *o)
{
	struct lifecycle_subject subject = { o->key, o->attributes.tags, o->size_bytes,
		o->modified_us };

	if (o->is_current)
		lifecycle_reply(rq, &subject);
}

int
object_get(struct request *rq, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	struct object o;
	int r = metadata_check_overrides(rq, e), refused;

	if (r == 0)
		r = object_open(rq, &o, &reader, e);
	if (r == 0)
		r = encryption_unlock(rq, &o, reader, e);
	if (r < 0)
		return r;
	rq->facts.object_size = (int64_t)o.size_bytes;
	refused = condition_of_read(rq, &o);
	if (refused == 412) {
		err_detail(&rq->details, "Condition",
		    request_header(rq, "if-match").p ? STR("If-Match")
						     : STR("If-Unmodified-Since"));
		return err_set(e, ERR_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	}
	reply_validators(rq, &o);
	object_reply_version(rq, o.version_id);
	reply_expiration(rq, &o);
	if (refused) {
		rq->status = refused;
		metadata_reply_unchanged(rq, &o);
		return 0;
	}
	r = choose_bytes(rq, &o, reader, e);
	if (r < 0)
		return r;
	reply_header(rq, "Accept-Ranges", "bytes");
	metadata_reply(rq, &o);
	if (request_is_head(rq) || rq->content_left == 0) {
		rq->has_length = true;
		rq->length = rq->content_left;
		return 0;
	}
	rq->content = TAKE(reader);
	return 0;
}
