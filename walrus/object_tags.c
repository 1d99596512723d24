/* Tags of an object are a column of its row: they change without a new version. */
#include <stdio.h>

#include "bucket.h"
#include "object.h"
#include "schema.h"
#include "tags.h"

struct change {
	struct request *rq;
	const char *text; /* NULL: none */
	struct object object;
};

static int
read_row(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;

	return object_find_named(tx, c->rq, &c->object, e);
}

int
object_get_tags(struct request *rq, struct err *e)
{
	struct change c = { .rq = rq };
	struct tags tags;
	struct xml_writer *w;
	int r = store_read(rq->walrus->store, read_row, &c, e);

	if (r == 0)
		r = tags_parse(
		    str_of(c.object.attributes.tags), TAGS_OF_OBJECT_MAX, rq->arena, &tags, e);
	if (r < 0)
		return r;
	object_reply_version(rq, c.object.version_id);
	w = reply_xml(rq, "Tagging");
	tags_write_xml(&tags, w);
	reply_xml_end(rq, "Tagging");
	return 0;
}

static int
commit(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	const struct bucket *bucket = c->rq->bucket;
	const struct object *o = &c->object;
	struct change_origin origin = { c->rq, NULL, NULL };
	struct object_change change = { .what = "changed", .origin = &origin };
	int r = object_find_named(tx, c->rq, &c->object, e);

	if (r == 0)
		r = store_exec(
		    tx, Q_OBJECT_TAGS_SET, NULL, e, bucket->id, o->key, o->position, c->text);
	if (r < 0)
		return r;
	(void)snprintf(
	    change.event, sizeof(change.event), "ObjectTagging:%s", c->text ? "Put" : "Delete");
	change.key = o->key;
	change.version_id = o->version_id;
	change.etag = o->etag;
	change.size_bytes = o->size_bytes;
	return object_event(tx, bucket, &change, e);
}

static int
store_tags(struct request *rq, const char *text, struct err *e)
{
	struct change c = { .rq = rq, .text = text };
	int r = store_write(rq->walrus->store, commit, &c, e);

	if (r == 0)
		object_reply_version(rq, c.object.version_id);
	return r;
}

int
object_put_tags(struct request *rq, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct tags tags;
	int r = request_parse_xml(rq, "Tagging", &doc, e);

	if (r == 0)
		r = tags_read_xml(xml_find(xmlDocGetRootElement(doc), "TagSet"), TAGS_OF_OBJECT_MAX,
		    rq->arena, &tags, e);
	if (r < 0)
		return r;
	tags_format(&tags, &text);
	rq->tags = arena_str(rq->arena, strbuf_str(&text));
	return store_tags(rq, tags.count ? rq->tags : NULL, e);
}

int
object_delete_tags(struct request *rq, struct err *e)
{
	int r = store_tags(rq, NULL, e);

	if (r == 0)
		rq->status = 204;
	return r;
}
