/* Removing objects. Without a version id a versioned key gets a delete marker in front of what it
 * has; with one that version goes for good, and the one before it is the current again. */
#include "object.h"

#include <stdio.h>

#include "access.h"
#include "condition.h"
#include "error.h"
#include "lock.h"
#include "schema.h"
#include "usage.h"
#include "version.h"

#define DELETE_MANY_MAX 1000

/* The newest of what is left becomes the current one. */
static int
promote(struct store_tx *tx, const struct object_name *name, struct arena *arena,
    struct usage_change *io_change, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct object newest;
	int r = store_query(tx, Q_OBJECT_NEWEST, &rows, e, name->bucket_id, name->key);

	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	object_from_row(rows, arena, &newest);
	store_rows_free(TAKE(rows));
	if (newest.is_current)
		return 0;
	io_change->objects += !newest.is_marker;
	return store_exec(
	    tx, Q_OBJECT_SET_CURRENT, NULL, e, name->bucket_id, name->key, newest.position);
}

static int
remove_version(struct store_tx *tx, const struct bucket *bucket, const struct object *o,
    struct arena *arena, struct err *e)
{
	struct object_name name = { bucket->id, o->key, o->version_id, NULL };
	struct usage_change change = { .objects = -(o->is_current && !o->is_marker),
		.versions = -1,
		.bytes = -(int64_t)o->size_bytes };
	int r = store_exec(tx, Q_OBJECT_DELETE_VERSION, NULL, e, bucket->id, o->key, o->position);

	if (r == 0)
		r = content_discard(tx, o->content_id, e);
	if (r == 0 && o->is_current)
		r = promote(tx, &name, arena, &change, e);
	return r < 0 ? r : usage_note(tx, bucket->id, &change, e);
}

static int
add_marker(
    struct store_tx *tx, const struct bucket *bucket, struct object_removal *removal, struct err *e)
{
	struct object_put put = {
		.key = removal->key,
		.is_marker = true,
		.etag = "",
		.account_id = bucket->account_id,
		.origin = removal->origin,
	};
	int r = object_replace(tx, bucket, &put, e);

	if (r < 0)
		return r;
	removal->made_marker = true;
	memcpy(removal->version_id, put.version_id, sizeof(removal->version_id));
	return 0;
}

static int
tell(struct store_tx *tx, const struct bucket *bucket, const struct object_removal *removal,
    struct err *e)
{
	const struct change_origin *origin = &removal->origin;
	struct object_change change = { .what = "deleted",
		.key = removal->key,
		.version_id = removal->version_id[0] ? removal->version_id : NULL,
		.origin = origin };

	(void)snprintf(change.event, sizeof(change.event), "%s:Delete",
	    origin->removal ? origin->removal : "ObjectRemoved");
	return object_event(tx, bucket, &change, e);
}

static int
check_lock(const struct object_removal *removal, const struct object *o, struct err *e)
{
	bool is_free = removal->bypasses_governance ? lock_allows_bypass(o, lock_now_us())
						    : lock_allows_removal(o, lock_now_us());

	return is_free ? 0 : lock_denied(e);
}

int
object_remove(
    struct store_tx *tx, const struct bucket *bucket, struct object_removal *removal, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct object_name name = { bucket->id, removal->key, removal->of_version, NULL };
	struct bucket now;
	struct object o;
	int r = bucket_find(tx, bucket->name, arena, &now, e), found;

	removal->made_marker = removal->was_marker = false;
	removal->version_id[0] = 0;
	if (r == 0 && now.id != bucket->id)
		r = err_set(e, ERR_BUCKET_NOT_FOUND, "The specified bucket does not exist");
	if (r < 0)
		return r;
	found = object_find(tx, &name, arena, &o, e);
	if (found < 0 && found != ERR_KEY_NOT_FOUND && found != ERR_VERSION_NOT_FOUND)
		return found;
	r = write_condition_check(&removal->condition, found == 0 ? &o : NULL, e);
	if (r < 0)
		return r;
	if (!removal->of_version && now.versioning != VERSIONING_NEVER)
		return add_marker(tx, bucket, removal, e);
	if (removal->of_version)
		(void)snprintf(
		    removal->version_id, sizeof(removal->version_id), "%s", removal->of_version);
	if (found < 0) {
		err_clear(e);
		return 0; /* gone is what was asked for */
	}
	r = check_lock(removal, &o, e);
	if (r < 0)
		return r;
	removal->was_marker = o.is_marker;
	r = remove_version(tx, &now, &o, arena, e);
	return r < 0 ? r : tell(tx, bucket, removal, e);
}

/* -- one -- */

/* What the headers say of all that one request removes. */
static int
check_headers(struct request *rq, struct err *e)
{
	static const char *const of_directories[] = { "x-amz-if-match-last-modified-time",
		"x-amz-if-match-size" };

	for (size_t i = 0; i < ARRAY_SIZE(of_directories); i++)
		if (request_header(rq, of_directories[i]).p)
			return error_header(rq, of_directories[i], e);
	return request_header(rq, "x-amz-mfa").p ? version_refuse_mfa(e) : 0;
}

struct deletion {
	const struct bucket *bucket;
	struct object_removal *removals;
	size_t count;
	/* of many, one per removal: what is wrong beforehand, and what came out */
	struct err *errors, *refused;
};

static int
remove_one(struct store_tx *tx, void *arg, struct err *e)
{
	const struct deletion *d = arg;

	return object_remove(tx, d->bucket, d->removals, e);
}

int
object_delete(struct request *rq, struct err *e)
{
	struct object_removal removal = {
		.key = rq->target.key, .of_version = object_name_of(rq).version_id, .origin = { rq }
	};
	struct deletion d = { .bucket = rq->bucket, .removals = &removal, .count = 1 };
	int r = write_condition_read(rq, &removal.condition, e);

	if (r == 0)
		r = check_headers(rq, e);
	if (r == 0)
		r = lock_read_bypass(rq, removal.key, &removal.bypasses_governance, e);
	if (r == 0)
		r = store_write(rq->walrus->store, remove_one, &d, e);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	if (removal.made_marker || removal.was_marker)
		reply_header(rq, "x-amz-delete-marker", "true");
	if (removal.version_id[0])
		object_reply_version(rq, removal.version_id);
	rq->status = 204;
	return 0;
}

/* -- many -- */

/* Refusals that are one key's, and leave the others alone. */
static bool
is_of_one_key(int code)
{
	return code == ERR_ACCESS_DENIED || code == ERR_PRECONDITION_FAILED ||
	       code == ERR_KEY_NOT_FOUND || code == ERR_INVALID_ARGUMENT;
}

/* What is to go must have arrived as it was meant. */
static int
check_integrity(const struct request *rq, struct err *e)
{
	if (rq->wanted_md5 || rq->has_checksum || rq->wanted_sha256)
		return 0;
	return err_set(e, ERR_INVALID_REQUEST,
	    "Missing required header for this request: Content-MD5 OR x-amz-checksum-*");
}

static int
remove_many(struct store_tx *tx, void *arg, struct err *e)
{
	const struct deletion *d = arg;

	for (size_t i = 0; i < d->count; i++) {
		int r = d->errors[i].code ? 0 : object_remove(tx, d->bucket, &d->removals[i], e);

		if (r < 0 && !is_of_one_key(r))
			return r;
		d->refused[i] = d->errors[i];
		if (r < 0)
			d->refused[i] = *e;
	}
	return 0;
}

static char *
text_of(struct request *rq, xmlNode *parent, const char *name, size_t limit)
{
	xmlNode *node = xml_find(parent, name);

	return node ? xml_text_of(node, limit, rq->arena) : NULL;
}

/* An Object element: its key, and perhaps a version and the tag it must have. */
static int
read_removal(struct request *rq, xmlNode *node, struct object_removal *ret, struct err *e)
{
	char *key = text_of(rq, node, "Key", S3_KEY_MAX), *etag, *version;

	if (!key || !*key)
		return setting_malformed(e);
	if (xml_find(node, "LastModifiedTime") || xml_find(node, "Size"))
		return err_set(e, ERR_NOT_IMPLEMENTED,
		    "A condition you provided implies functionality that is not implemented");
	version = text_of(rq, node, "VersionId", 1024);
	etag = text_of(rq, node, "ETag", 1024);
	if ((!version && xml_find(node, "VersionId")) || (!etag && xml_find(node, "ETag")))
		return setting_malformed(e);
	*ret = (struct object_removal){ .key = str_of(key),
		.origin = { rq },
		.of_version = version && *version ? version : NULL };
	if (etag && *etag)
		ret->condition.if_match = str_of(etag);
	return 0;
}

/* Whether the caller may, and what else can be known of a key before it is looked up. */
static int
check_removal(struct request *rq, struct object_removal *removal, struct err *e)
{
	const char *action = removal->of_version ? "s3:DeleteObjectVersion" : "s3:DeleteObject";
	int r = 0;

	if (removal->of_version && !version_id_is_valid(str_of(removal->of_version)))
		r = err_set(e, ERR_INVALID_ARGUMENT, VERSION_ID_INVALID);
	if (r == 0)
		r = access_action(rq, action, PERMISSION_WRITE, rq->bucket, removal->key, NULL, e);
	return r < 0 ? r : lock_read_bypass(rq, removal->key, &removal->bypasses_governance, e);
}

static int
read_removals(struct request *rq, xmlNode *root, struct deletion *d, bool *ret_quiet, struct err *e)
{
	int r = 0;

	d->removals = arena_alloc(rq->arena, DELETE_MANY_MAX * sizeof(*d->removals));
	for (xmlNode *node = xml_first(root); r == 0 && node; node = xml_next(node)) {
		if (xml_is(node, NULL, "Quiet")) {
			char *text = xml_text_of(node, 16, rq->arena);

			*ret_quiet = text && strcasecmp(text, "true") == 0;
			continue;
		}
		if (!xml_is(node, NULL, "Object") || d->count == DELETE_MANY_MAX)
			return setting_malformed(e);
		r = read_removal(rq, node, &d->removals[d->count++], e);
	}
	return r < 0 ? r : d->count ? 0 : setting_malformed(e);
}

static void
write_deleted(struct xml_writer *w, const struct object_removal *removal)
{
	xml_open(w, "Deleted");
	xml_key(w, "Key", removal->key, false);
	xml_element(w, "VersionId", removal->of_version);
	if (removal->made_marker || removal->was_marker) {
		xml_element(w, "DeleteMarker", "true");
		xml_element(w, "DeleteMarkerVersionId", removal->version_id);
	}
	xml_close(w, "Deleted");
}

static void
write_refused(struct xml_writer *w, const struct object_removal *removal, const struct err *why)
{
	xml_open(w, "Error");
	xml_key(w, "Key", removal->key, false);
	xml_element(w, "VersionId", removal->of_version);
	xml_element(w, "Code", fault_code(why->code));
	xml_element(w, "Message", why->text);
	xml_close(w, "Error");
}

static void
write_result(struct request *rq, const struct deletion *d, bool is_quiet)
{
	struct xml_writer *w = reply_xml(rq, "DeleteResult");

	for (size_t i = 0; i < d->count; i++)
		if (d->refused[i].code)
			write_refused(w, &d->removals[i], &d->refused[i]);
		else if (!is_quiet)
			write_deleted(w, &d->removals[i]);
	reply_xml_end(rq, "DeleteResult");
}

int
object_delete_many(struct request *rq, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct deletion d = { .bucket = rq->bucket };
	bool is_quiet = false, bypasses;
	int r = check_integrity(rq, e);

	if (r == 0)
		r = request_parse_xml(rq, "Delete", &doc, e);
	if (r == 0)
		r = read_removals(rq, xmlDocGetRootElement(doc), &d, &is_quiet, e);
	if (r == 0)
		r = check_headers(rq, e);
	if (r == 0 && !lock_is_enabled(rq->bucket))
		r = lock_read_bypass(rq, rq->target.key, &bypasses, e);
	if (r < 0)
		return r;
	d.errors = arena_alloc(rq->arena, d.count * sizeof(*d.errors));
	d.refused = arena_alloc(rq->arena, d.count * sizeof(*d.refused));
	for (size_t i = 0; i < d.count; i++)
		(void)check_removal(rq, &d.removals[i], &d.errors[i]); /* said in the answer */
	r = store_write(rq->walrus->store, remove_many, &d, e);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	write_result(rq, &d, is_quiet);
	return 0;
}
