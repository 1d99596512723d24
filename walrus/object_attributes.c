/* GetObjectAttributes: what is known of an object, without its bytes. */
#include "base/clock.h"

#include "access.h"
#include "bucket.h"
#include "checksum_value.h"
#include "encryption_request.h"
#include "metadata.h"
#include "object.h"

#define PARTS_SHOWN_MAX 1000

enum attribute {
	ATTRIBUTE_ETAG = 1,
	ATTRIBUTE_CHECKSUM = 2,
	ATTRIBUTE_PARTS = 4,
	ATTRIBUTE_CLASS = 8,
	ATTRIBUTE_SIZE = 16,
};
static const struct {
	const char *name;
	enum attribute bit;
} attributes[] = {
	{ "ETag", ATTRIBUTE_ETAG },
	{ "Checksum", ATTRIBUTE_CHECKSUM },
	{ "ObjectParts", ATTRIBUTE_PARTS },
	{ "StorageClass", ATTRIBUTE_CLASS },
	{ "ObjectSize", ATTRIBUTE_SIZE },
};

/* The header may come several times, and each may be a list. */
static int
read_wanted(const struct request *rq, unsigned *ret, struct err *e)
{
	*ret = 0;
	for (unsigned i = 0; i < rq->head->header_count; i++) {
		const struct http_header *h = &rq->head->headers[i];
		struct str rest = h->value, word;

		if (!str_is_nocase(h->name, "x-amz-object-attributes"))
			continue;
		while (str_split(&rest, ',', &word)) {
			size_t a = 0;

			word = str_trim(word);
			while (a < ARRAY_SIZE(attributes) && !str_is(word, attributes[a].name))
				a++;
			if (a == ARRAY_SIZE(attributes))
				return err_set(
				    e, ERR_INVALID_ARGUMENT, "Invalid attribute name specified.");
			*ret |= attributes[a].bit;
		}
	}
	if (*ret == 0)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The x-amz-object-attributes header specifying the attributes to be retrieved "
		    "is "
		    "either missing or empty");
	return 0;
}

struct page {
	uint32_t after, max;
};

static int
read_number(
    const struct request *rq, const char *name, uint32_t fallback, uint32_t *ret, struct err *e)
{
	struct str text = request_header(rq, name);
	uint64_t n = fallback;

	if (text.n && (!str_to_u64(text, &n) || n > INT32_MAX))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Provided %s not an integer or within integer range", name);
	*ret = (uint32_t)n;
	return 0;
}

static int
read_page(const struct request *rq, struct page *ret, struct err *e)
{
	int r = read_number(rq, "x-amz-part-number-marker", 0, &ret->after, e);

	if (r == 0)
		r = read_number(rq, "x-amz-max-parts", PARTS_SHOWN_MAX, &ret->max, e);
	if (r == 0 && ret->max > PARTS_SHOWN_MAX)
		ret->max = PARTS_SHOWN_MAX;
	return r;
}

static void
write_part(struct request *rq, struct xml_writer *w, const struct extent *x)
{
	xml_open(w, "Part");
	xml_elementf(w, "PartNumber", "%u", x->part_number);
	xml_elementf(w, "Size", "%llu", (unsigned long long)(x->end - x->start));
	checksum_write(rq, w, x->checksum, false);
	xml_close(w, "Part");
}

static void
write_parts(struct request *rq, struct xml_writer *w, const struct object *o,
    struct content_reader *reader, const struct page *page)
{
	size_t count, first = 0, end;
	const struct extent *extents = content_reader_extents(reader, &count);

	while (first < count && extents[first].part_number <= page->after)
		first++;
	end = count - first > page->max ? first + page->max : count;
	xml_open(w, "ObjectParts");
	xml_elementf(w, "PartsCount", "%u", object_part_count(o));
	xml_elementf(w, "PartNumberMarker", "%u", page->after);
	xml_elementf(
	    w, "NextPartNumberMarker", "%u", end > first ? extents[end - 1].part_number : 0);
	xml_elementf(w, "MaxParts", "%u", page->max);
	xml_element(w, "IsTruncated", end < count ? "true" : "false");
	for (size_t i = first; i < end; i++)
		write_part(rq, w, &extents[i]);
	xml_close(w, "ObjectParts");
}

static void
write_attributes(struct request *rq, const struct object *o, struct content_reader *reader,
    unsigned wanted, const struct page *page)
{
	struct xml_writer *w = reply_xml(rq, "GetObjectAttributesResponse");

	if (wanted & ATTRIBUTE_ETAG)
		xml_element(w, "ETag", o->etag);
	if (wanted & ATTRIBUTE_CHECKSUM && o->attributes.checksum) {
		xml_open(w, "Checksum");
		checksum_write(rq, w, o->attributes.checksum, true);
		xml_close(w, "Checksum");
	}
	if (wanted & ATTRIBUTE_PARTS && object_part_count(o))
		write_parts(rq, w, o, reader, page);
	if (wanted & ATTRIBUTE_CLASS)
		xml_element(w, "StorageClass", metadata_storage_class(&o->attributes));
	if (wanted & ATTRIBUTE_SIZE)
		xml_elementf(w, "ObjectSize", "%llu", (unsigned long long)o->size_bytes);
	reply_xml_end(rq, "GetObjectAttributesResponse");
}

int
object_attributes(struct request *rq, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	char *modified = arena_alloc(rq->arena, TIME_TEXT_SIZE);
	unsigned wanted;
	struct page page;
	struct object o;
	int r = read_wanted(rq, &wanted, e);

	if (r == 0)
		r = read_page(rq, &page, e);
	if (r == 0)
		r = object_open(rq, &o, &reader, e);
	if (r == 0) /* they tell of the bytes: who must not read those does not get these either */
		r = access_action(rq,
		    request_parameter(rq, "versionId") ? "s3:GetObjectVersion" : "s3:GetObject",
		    PERMISSION_READ, rq->bucket, rq->target.key, &o, e);
	if (r == 0)
		r = encryption_unlock(rq, &o, reader, e);
	if (r < 0)
		return r;
	time_format_http(o.modified_us, modified);
	reply_header(rq, "Last-Modified", modified);
	object_reply_version(rq, o.version_id);
	write_attributes(rq, &o, reader, wanted, &page);
	return 0;
}
