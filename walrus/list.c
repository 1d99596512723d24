/* ListObjects and ListObjectsV2: parameters in, a walk, XML out. A continuation token is the place
 * to go on from, with a sum that says that we made it. */
#include "list.h"

#include "base/strbuf.h"
#include "checksum_value.h"
#include "crc.h"
#include "error.h"
#include "metadata.h"

#define KEYS_MAX 1000
#define TOKEN_MAX 2048 /* a key, four bytes of sum, as base64 */
#define SUM_SIZE 4

/* -- tokens -- */

static uint32_t
token_sum(struct str place)
{
	return crc32c(crc32c(0, "list", 4), place.p, place.n);
}

static char *
token_make(struct str place)
{
	_cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;
	uint32_t sum = token_sum(place);

	strbuf_addstr(&bytes, (struct str){ (const char *)&sum, SUM_SIZE });
	strbuf_addstr(&bytes, place);
	return base64_encode(strbuf_c(&bytes), bytes.n);
}

static bool
token_read(const char *token, struct arena *arena, struct str *ret)
{
	_cleanup_free_ void *bytes = NULL;
	size_t n;
	uint32_t sum;

	if (strlen(token) > TOKEN_MAX || !base64_decode(str_of(token), &bytes, &n) || n <= SUM_SIZE)
		return false;
	memcpy(&sum, bytes, SUM_SIZE);
	*ret = (struct str){ arena_memdup(arena, (char *)bytes + SUM_SIZE, n - SUM_SIZE),
		n - SUM_SIZE };
	return sum == token_sum(*ret);
}

/* -- what the lists share -- */

static int
read_max_keys(struct request *rq, uint32_t *ret, struct err *e)
{
	const char *text = request_parameter(rq, "max-keys");
	int64_t n;

	if (text && str_to_i64(str_of(text), &n) && n < 0)
		return error_argument(rq, "maxKeys", str_of(text), e,
		    "Argument maxKeys must be an integer between 0 and 2147483647");
	return request_number(rq, "max-keys", KEYS_MAX, KEYS_MAX, ret, e);
}

int
list_options_read(
    struct request *rq, struct list_options *ret, struct list_walk *ret_walk, struct err *e)
{
	int r = request_encoding(rq, &ret->is_encoded, e);

	if (r == 0)
		r = read_max_keys(rq, &ret->max_keys, e);
	if (r < 0)
		return r;
	ret->prefix = str_of(request_parameter(rq, "prefix"));
	ret->delimiter = str_of(request_parameter(rq, "delimiter"));
	*ret_walk = (struct list_walk){ .bucket_id = rq->bucket->id,
		.arena = rq->arena,
		.prefix = ret->prefix,
		.delimiter = ret->delimiter,
		.max = ret->max_keys,
		.start = ret->prefix };
	return 0;
}

void
list_write_options(const struct list_options *o, const struct list_walk *walk, struct xml_writer *w)
{
	xml_elementf(w, "MaxKeys", "%u", o->max_keys);
	if (o->delimiter.n)
		xml_key(w, "Delimiter", o->delimiter, o->is_encoded);
	if (o->is_encoded)
		xml_element(w, "EncodingType", "url");
	xml_element(w, "IsTruncated", walk->is_truncated ? "true" : "false");
}

void
list_write_prefixes(
    const struct list_options *o, const struct list_walk *walk, struct xml_writer *w)
{
	VEC_FOREACH (&walk->prefixes, p) {
		xml_open(w, "CommonPrefixes");
		xml_key(w, "Prefix", *p, o->is_encoded);
		xml_close(w, "CommonPrefixes");
	}
}

void
list_write_content(struct xml_writer *w, const struct object *o)
{
	xml_open(w, "ETag");
	xml_text(w, STR("\""));
	xml_text(w, str_of(o->etag));
	xml_text(w, STR("\""));
	xml_close(w, "ETag");
	checksum_write_kind(w, o->attributes.checksum);
	xml_number(w, "Size", o->size_bytes);
	xml_element(w, "StorageClass", metadata_storage_class(&o->attributes));
}

/* -- objects -- */

struct listing {
	struct request *rq;
	struct list_options options;
	struct list_walk walk;
	bool is_v2, with_owner;
	const char *after; /* as the client gave it: marker or start-after */
};

static int
read_attributes(struct request *rq, struct err *e)
{
	struct str names = request_header(rq, "x-amz-optional-object-attributes"), name;

	/* No object is being restored from an archive, so none has a RestoreStatus. */
	while (names.p && str_split(&names, ',', &name))
		if (!str_is(str_trim(name), "RestoreStatus"))
			return error_argument(rq, "x-amz-optional-object-attributes", name, e,
			    "Invalid attribute name specified.");
	return 0;
}

static int
read_parameters(struct listing *l, struct err *e)
{
	struct request *rq = l->rq;
	const char *type = request_parameter(rq, "list-type");
	const char *token, *owner;
	int r = list_options_read(rq, &l->options, &l->walk, e);

	if (r == 0)
		r = read_attributes(rq, e);
	if (r < 0)
		return r;
	if (type && strcmp(type, "1") != 0 && strcmp(type, "2") != 0)
		return error_argument(
		    rq, "list-type", str_of(type), e, "Invalid List Type specified in Request");
	l->is_v2 = type && type[0] == '2';
	l->after = request_parameter(rq, l->is_v2 ? "start-after" : "marker");
	owner = request_parameter(rq, "fetch-owner");
	l->with_owner = !l->is_v2 || (owner && strcasecmp(owner, "true") == 0);
	token = l->is_v2 ? request_parameter(rq, "continuation-token") : NULL;
	if (token) {
		struct str place;

		if (!token_read(token, rq->arena, &place))
			return error_argument(rq, "continuation-token", str_of(token), e,
			    "The continuation token provided is incorrect");
		(void)list_start_at(&l->walk, place);
	} else if (l->after && *l->after) {
		(void)list_start_after(&l->walk, str_of(l->after));
	}
	return r;
}

static void
write_object(struct listing *l, struct xml_writer *w, const struct object *o)
{
	xml_open(w, "Contents");
	xml_key(w, "Key", o->key, l->options.is_encoded);
	xml_time(w, "LastModified", o->modified_us);
	list_write_content(w, o);
	if (l->with_owner)
		xml_owner(l->rq, w, "Owner", o->account_id);
	xml_close(w, "Contents");
}

static void
write_place(struct listing *l, struct xml_writer *w)
{
	const struct list_walk *walk = &l->walk;
	bool is_encoded = l->options.is_encoded;

	if (!l->is_v2) {
		xml_key(w, "Marker", str_of(l->after), is_encoded);
		if (walk->is_truncated && walk->delimiter.n)
			xml_key(w, "NextMarker", walk->last, is_encoded);
		return;
	}
	xml_elementf(w, "KeyCount", "%u", walk->count);
	if (l->after)
		xml_key(w, "StartAfter", str_of(l->after), is_encoded);
	xml_element(w, "ContinuationToken", request_parameter(l->rq, "continuation-token"));
	if (walk->is_truncated) {
		_cleanup_free_ char *token = token_make(walk->next);

		xml_element(w, "NextContinuationToken", token);
	}
}

static void
write_listing(struct listing *l)
{
	struct xml_writer *w = reply_xml(l->rq, "ListBucketResult");

	xml_element(w, "Name", l->rq->bucket->name);
	xml_key(w, "Prefix", l->options.prefix, l->options.is_encoded);
	write_place(l, w);
	list_write_options(&l->options, &l->walk, w);
	VEC_FOREACH (&l->walk.objects, o)
		write_object(l, w, o);
	list_write_prefixes(&l->options, &l->walk, w);
	reply_xml_end(l->rq, "ListBucketResult");
}

int
list_objects(struct request *rq, struct err *e)
{
	struct listing l = { .rq = rq };
	int r = read_parameters(&l, e);

	if (r == 0)
		r = store_read(rq->walrus->store, list_walk, &l.walk, e);
	if (r == 0)
		write_listing(&l);
	list_walk_done(&l.walk);
	return r;
}
