/* Removing objects. Without a version id a versioned key gets a delete marker in front of what it
 * has; with one that version goes for good, and the one before it is the current again. */
#include "object.h"

#include <stdio.h>

#include "access.h"
#include "condition.h"
#include "schema.h"

#define DELETE_MANY_MAX 1000

/* The newest of what is left becomes the current one. */
static int
promote(struct store_tx *tx, const struct object_name *name, struct arena *arena, struct err *e)
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
	return newest.is_current ? 0
				 : store_exec(tx, Q_OBJECT_SET_CURRENT, NULL, e, name->bucket_id,
				       name->key, newest.position);
}

static int
remove_version(struct store_tx *tx, const struct bucket *bucket, const struct object *o,
    struct arena *arena, struct err *e)
{
	struct object_name name = { bucket->id, o->key, o->version_id, NULL };
	int r = store_exec(tx, Q_OBJECT_DELETE_VERSION, NULL, e, bucket->id, o->key, o->version_id);

	if (r == 0)
		r = content_discard(tx, o->content_id, e);
	if (r == 0 && o->is_current)
		r = promote(tx, &name, arena, e);
	return r;
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
	if (found < 0)
		return 0; /* gone is what was asked for */
	removal->was_marker = o.is_marker;
	if (removal->of_version)
		(void)snprintf(
		    removal->version_id, sizeof(removal->version_id), "%s", o.version_id);
	r = remove_version(tx, &now, &o, arena, e);
	return r < 0 ? r : tell(tx, bucket, removal, e);
}

struct deletion {
	const struct bucket *bucket;
	struct object_removal *removals;
	size_t count;
};

static int
remove_all(struct store_tx *tx, void *arg, struct err *e)
{
	const struct deletion *d = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->count; i++)
		r = object_remove(tx, d->bucket, &d->removals[i], e);
	return r;
}

int
object_delete(struct request *rq, struct err *e)
{
	struct object_removal removal = {
		.key = rq->target.key, .of_version = object_name_of(rq).version_id, .origin = { rq }
	};
	struct deletion d = { rq->bucket, &removal, 1 };
	int r = write_condition_read(rq, &removal.condition, e);

	if (r == 0)
		r = store_write(rq->walrus->store, remove_all, &d, e);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	if (removal.made_marker || removal.was_marker)
		reply_header(rq, "x-amz-delete-marker", "true");
	if (removal.version_id[0])
		object_reply_version(rq, arena_strdup(rq->arena, removal.version_id));
	rq->status = 204;
	return 0;
}

/* -- many -- */

static int
malformed_xml(struct err *e)
{
	return err_set(e, ERR_MALFORMED_XML,
	    "The XML you provided was not well-formed or did not validate against our published "
	    "schema");
}

/* An Object element: its key, and perhaps a version. */
static int
read_removal(struct request *rq, xmlNode *node, struct object_removal *ret, struct err *e)
{
	xmlNode *key = xml_find(node, "Key"), *version = xml_find(node, "VersionId");
	char *text = key ? xml_text_of(key, S3_KEY_MAX, rq->arena) : NULL;

	if (!text || !*text)
		return malformed_xml(e);
	*ret = (struct object_removal){ .key = str_of(text), .origin = { rq } };
	if (!version)
		return 0;
	text = xml_text_of(version, 1024, rq->arena);
	if (!text)
		return malformed_xml(e);
	ret->of_version = *text ? text : NULL;
	return 0;
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
			return malformed_xml(e);
		r = read_removal(rq, node, &d->removals[d->count++], e);
	}
	return r < 0 ? r : d->count ? 0 : malformed_xml(e);
}

static void
write_deleted(struct xml_writer *w, const struct deletion *d)
{
	for (size_t i = 0; i < d->count; i++) {
		const struct object_removal *removal = &d->removals[i];

		xml_open(w, "Deleted");
		xml_key(w, "Key", removal->key, false);
		xml_element(w, "VersionId", removal->of_version);
		if (removal->made_marker || removal->was_marker) {
			xml_element(w, "DeleteMarker", "true");
			xml_element(w, "DeleteMarkerVersionId", removal->version_id);
		}
		xml_close(w, "Deleted");
	}
}

int
object_delete_many(struct request *rq, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct deletion d = { .bucket = rq->bucket };
	bool is_quiet = false;
	struct xml_writer *w;
	int r = request_parse_xml(rq, "Delete", &doc, e);

	if (r == 0)
		r = read_removals(rq, xmlDocGetRootElement(doc), &d, &is_quiet, e);
	if (r == 0)
		r = store_write(rq->walrus->store, remove_all, &d, e);
	if (r < 0)
		return r;
	reconciler_poke(rq->walrus->garbage);
	w = reply_xml(rq, "DeleteResult");
	if (!is_quiet)
		write_deleted(w, &d);
	reply_xml_end(rq, "DeleteResult");
	return 0;
}
