/* Listing walks the rows of a bucket in the order of their keys. When it meets a key that belongs
 * to a common prefix it writes the prefix down and seeks behind everything that shares it, so that
 * the cost follows what is answered and not what the bucket holds.
 *
 * A continuation token is the place to go on from, a string of bytes, as base64. */
#include "list.h"

#include "schema.h"

#define KEYS_MAX 1000

struct listing {
	struct request *rq;
	bool is_v2, is_encoded, with_owner;
	struct str prefix, delimiter;
	struct str start;  /* where the walk begins */
	const char *after; /* as the client gave it: marker or start-after */
	uint32_t max_keys;

	uint32_t count;
	bool is_truncated;
	struct str next; /* where it would go on */
	struct str last; /* key or prefix written last */
	VEC(struct object) objects;
	VEC(struct str) prefixes;
};

struct str
list_successor(struct str prefix, struct arena *arena)
{
	char *copy = arena_memdup(arena, prefix.p, prefix.n);
	size_t n = prefix.n;

	while (n > 0 && (unsigned char)copy[n - 1] == 0xff)
		n--;
	if (n == 0)
		return (struct str){ NULL, 0 };
	copy[n - 1]++;
	return (struct str){ copy, n };
}

/* The next string in byte order. */
static struct str
just_after(struct str key, struct arena *arena)
{
	char *copy = arena_alloc(arena, key.n + 1);

	memcpy(copy, key.p, key.n);
	return (struct str){ copy, key.n + 1 };
}

static bool
has_prefix(struct str key, struct str prefix)
{
	return key.n >= prefix.n && memcmp(key.p, prefix.p, prefix.n) == 0;
}

/* Up to and including the first delimiter behind the prefix; n 0 when there is none. */
static struct str
common_prefix(const struct listing *l, struct str key)
{
	const char *found;

	if (l->delimiter.n == 0 || !has_prefix(key, l->prefix) || key.n == l->prefix.n)
		return (struct str){ NULL, 0 };
	found = memmem(key.p + l->prefix.n, key.n - l->prefix.n, l->delimiter.p, l->delimiter.n);
	return found ? (struct str){ key.p, (size_t)(found - key.p) + l->delimiter.n }
		     : (struct str){ NULL, 0 };
}

static int
compare(struct str a, struct str b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* -- the walk -- */

/* One key: 1 go on with the next row, 0 seek to l->next, 2 the end. */
static int
take_key(struct listing *l, const struct object *o)
{
	struct str common = common_prefix(l, o->key);

	if (!has_prefix(o->key, l->prefix))
		return 2;
	if (l->count == l->max_keys) {
		l->is_truncated = true;
		return 2;
	}
	l->count++;
	if (common.n == 0) {
		vec_add(&l->objects, *o);
		l->last = o->key;
		l->next = just_after(o->key, l->rq->arena);
		return 1;
	}
	vec_add(&l->prefixes, common);
	l->last = common;
	l->next = list_successor(common, l->rq->arena);
	return l->next.p ? 0 : 2;
}

static int
walk_from(struct store_tx *tx, struct listing *l, int *ret_step, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int64_t limit = (int64_t)(l->max_keys - l->count) + 1;
	struct object o;
	int r = store_query(tx, Q_OBJECT_LIST, &rows, e, l->rq->bucket->id, l->next, limit);

	*ret_step = 2;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		object_from_row(rows, l->rq->arena, &o);
		*ret_step = take_key(l, &o);
		if (*ret_step != 1)
			return 0;
	}
	*ret_step = 2;
	return r;
}

static int
walk(struct store_tx *tx, void *arg, struct err *e)
{
	struct listing *l = arg;
	int step = 0, r = 0;

	l->objects.count = l->prefixes.count = l->count = 0;
	l->is_truncated = false;
	l->next = l->start;
	while (r == 0 && step == 0)
		r = walk_from(tx, l, &step, e);
	return r;
}

/* -- parameters -- */

/* What lies before `after` is not shown, and neither is a common prefix that it names. */
static struct str
start_after(const struct listing *l, struct str after)
{
	struct arena *arena = l->rq->arena;
	struct str common = common_prefix(l, after);

	if (common.n && common.n == after.n)
		return list_successor(after, arena);
	return just_after(after, arena);
}

static int
read_token(struct listing *l, const char *token, struct err *e)
{
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	if (strlen(token) > 4096 || !base64_decode(str_of(token), &bytes, &n) || n == 0)
		return err_set(
		    e, ERR_INVALID_ARGUMENT, "The continuation token provided is incorrect");
	l->start = (struct str){ arena_memdup(l->rq->arena, bytes, n), n };
	return 0;
}

static int
read_parameters(struct listing *l, struct err *e)
{
	struct request *rq = l->rq;
	const char *type = request_parameter(rq, "list-type");
	const char *token, *owner;
	int r = request_encoding(rq, &l->is_encoded, e);

	if (r == 0)
		r = request_number(rq, "max-keys", KEYS_MAX, KEYS_MAX, &l->max_keys, e);
	if (r < 0)
		return r;
	if (type && strcmp(type, "1") != 0 && strcmp(type, "2") != 0)
		return err_set(e, ERR_INVALID_ARGUMENT, "Invalid List Type specified in Request");
	l->is_v2 = type && type[0] == '2';
	l->prefix = str_of(request_parameter(rq, "prefix"));
	l->delimiter = str_of(request_parameter(rq, "delimiter"));
	l->after = request_parameter(rq, l->is_v2 ? "start-after" : "marker");
	owner = request_parameter(rq, "fetch-owner");
	l->with_owner = !l->is_v2 || (owner && strcasecmp(owner, "true") == 0);
	l->start = l->prefix;
	if (l->after && *l->after) {
		struct str start = start_after(l, str_of(l->after));

		if (!start.p)
			l->max_keys = 0;
		else if (compare(start, l->start) > 0)
			l->start = start;
	}
	token = l->is_v2 ? request_parameter(rq, "continuation-token") : NULL;
	return token ? read_token(l, token, e) : 0;
}

/* -- the answer -- */

static void
write_object(struct listing *l, struct xml_writer *w, const struct object *o)
{
	xml_open(w, "Contents");
	xml_key(w, "Key", o->key, l->is_encoded);
	xml_time(w, "LastModified", o->modified_us);
	xml_elementf(w, "ETag", "\"%s\"", o->etag);
	xml_elementf(w, "Size", "%llu", (unsigned long long)o->size_bytes);
	if (l->with_owner)
		xml_owner(l->rq, w, "Owner", o->account_id);
	xml_element(w, "StorageClass", "STANDARD");
	xml_close(w, "Contents");
}

static void
write_place(struct listing *l, struct xml_writer *w)
{
	const char *token = request_parameter(l->rq, "continuation-token");

	if (!l->is_v2) {
		xml_key(w, "Marker", str_of(l->after), l->is_encoded);
		if (l->is_truncated && l->delimiter.n)
			xml_key(w, "NextMarker", l->last, l->is_encoded);
		return;
	}
	xml_elementf(w, "KeyCount", "%u", l->count);
	if (l->after)
		xml_key(w, "StartAfter", str_of(l->after), l->is_encoded);
	xml_element(w, "ContinuationToken", token);
	if (l->is_truncated) {
		_cleanup_free_ char *next = base64_encode(l->next.p, l->next.n);

		xml_element(w, "NextContinuationToken", next);
	}
}

static void
write_listing(struct listing *l)
{
	struct xml_writer *w = reply_xml(l->rq, "ListBucketResult");

	xml_element(w, "Name", l->rq->bucket->name);
	xml_key(w, "Prefix", l->prefix, l->is_encoded);
	write_place(l, w);
	xml_elementf(w, "MaxKeys", "%u", l->max_keys);
	if (l->delimiter.n)
		xml_key(w, "Delimiter", l->delimiter, l->is_encoded);
	if (l->is_encoded)
		xml_element(w, "EncodingType", "url");
	xml_element(w, "IsTruncated", l->is_truncated ? "true" : "false");
	VEC_FOREACH (&l->objects, o)
		write_object(l, w, o);
	VEC_FOREACH (&l->prefixes, p) {
		xml_open(w, "CommonPrefixes");
		xml_key(w, "Prefix", *p, l->is_encoded);
		xml_close(w, "CommonPrefixes");
	}
	reply_xml_end(l->rq, "ListBucketResult");
}

int
list_objects(struct request *rq, struct err *e)
{
	struct listing l = { .rq = rq };
	int r = read_parameters(&l, e);

	if (r == 0 && l.max_keys > 0)
		r = store_read(rq->walrus->store, walk, &l, e);
	if (r == 0)
		write_listing(&l);
	vec_done(&l.objects);
	vec_done(&l.prefixes);
	return r;
}
