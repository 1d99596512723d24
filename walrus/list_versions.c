/* ListObjectVersions. It goes on behind a version: our ids say where that was, though it may be
 * gone; only the place of a null version has to be looked up. */
#include "error.h"
#include "list.h"
#include "version.h"

struct listing {
	struct request *rq;
	struct list_options options;
	struct list_walk walk;
	const char *key_marker, *version_marker;
	bool within_key; /* that of the marker, which has more versions perhaps */
};

static int
read_markers(struct listing *l, struct err *e)
{
	int64_t position;

	l->key_marker = request_parameter(l->rq, "key-marker");
	l->version_marker = request_parameter(l->rq, "version-id-marker");
	if (l->version_marker && !*l->version_marker)
		l->version_marker = NULL;
	if (l->version_marker && !(l->key_marker && *l->key_marker))
		return error_argument(l->rq, "version-id-marker", str_of(l->version_marker), e,
		    "A version-id marker cannot be specified without a key marker.");
	if (l->version_marker && !version_id_is_valid(str_of(l->version_marker)))
		return error_argument(
		    l->rq, "version-id-marker", str_of(l->version_marker), e, VERSION_ID_INVALID);
	if (!l->key_marker || !*l->key_marker)
		return 0;
	l->within_key = list_start_after(&l->walk, str_of(l->key_marker)) && l->version_marker;
	if (l->within_key && version_id_position(l->version_marker, &position)) {
		l->walk.start = str_of(l->key_marker);
		l->walk.start_position = position + 1;
	}
	return 0;
}

/* A null version that is gone meanwhile: better its key again than parts of it never. */
static int
start_after_null(struct store_tx *tx, struct listing *l, struct err *e)
{
	struct str key = str_of(l->key_marker);
	struct object_name name = { l->walk.bucket_id, key, VERSION_NULL, NULL };
	struct object o = { 0 };
	int r = object_find(tx, &name, l->rq->arena, &o, e);

	if (r < 0 && r != ERR_VERSION_NOT_FOUND)
		return r;
	err_clear(e);
	l->walk.start = key;
	l->walk.start_position = r == 0 ? o.position + 1 : 0;
	return 0;
}

static int
read_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct listing *l = arg;
	int r = 0;

	if (l->within_key && strings_equal(l->version_marker, VERSION_NULL))
		r = start_after_null(tx, l, e);
	return r < 0 ? r : list_walk(tx, &l->walk, e);
}

static void
write_version(struct listing *l, struct xml_writer *w, const struct object *o)
{
	const char *element = o->is_marker ? "DeleteMarker" : "Version";

	xml_open(w, element);
	xml_key(w, "Key", o->key, l->options.is_encoded);
	xml_element(w, "VersionId", o->version_id);
	xml_element(w, "IsLatest", o->is_current ? "true" : "false");
	xml_time(w, "LastModified", o->modified_us);
	if (!o->is_marker)
		list_write_content(w, o);
	xml_owner(l->rq, w, "Owner", o->account_id);
	xml_close(w, element);
}

static void
write_page(struct listing *l)
{
	struct xml_writer *w = reply_xml(l->rq, "ListVersionsResult");
	const struct list_walk *walk = &l->walk;
	bool is_encoded = l->options.is_encoded;

	xml_element(w, "Name", l->rq->bucket->name);
	xml_key(w, "Prefix", l->options.prefix, is_encoded);
	xml_key(w, "KeyMarker", str_of(l->key_marker), is_encoded);
	xml_element(w, "VersionIdMarker", l->version_marker ? l->version_marker : "");
	if (walk->is_truncated) {
		xml_key(w, "NextKeyMarker", walk->last, is_encoded);
		xml_element(w, "NextVersionIdMarker", walk->last_version_id);
	}
	list_write_options(&l->options, walk, w);
	VEC_FOREACH (&walk->objects, o)
		write_version(l, w, o);
	list_write_prefixes(&l->options, walk, w);
	reply_xml_end(l->rq, "ListVersionsResult");
}

int
list_versions(struct request *rq, struct err *e)
{
	struct listing l = { .rq = rq };
	int r = list_options_read(rq, &l.options, &l.walk, e);

	l.walk.all_versions = true;
	if (r == 0)
		r = read_markers(&l, e);
	if (r == 0)
		r = store_read(rq->walrus->store, read_page, &l, e);
	if (r == 0)
		write_page(&l);
	list_walk_done(&l.walk);
	return r;
}
