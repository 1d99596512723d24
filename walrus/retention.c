/* Retention and legal hold of versions that are there: read, and changed in one transaction with
 * the look at what they are. */
#include "access.h"
#include "base/clock.h"
#include "error.h"
#include "lock.h"
#include "object.h"
#include "schema.h"

/* Asked before anything else: without a lock none of these operations means anything. */
static int
check_bucket(const struct request *rq, struct err *e)
{
	return lock_is_enabled(rq->bucket)
		   ? 0
		   : err_set(e, ERR_INVALID_REQUEST, "Bucket is missing Object Lock Configuration");
}

/* A delete marker is never locked. */
static int
find(
    struct store_tx *tx, struct request *rq, struct arena *arena, struct object *ret, struct err *e)
{
	struct object_name name = object_name_of(rq);
	int r = object_find(tx, &name, arena, ret, e);

	if (r == ERR_KEY_NOT_FOUND || r == ERR_VERSION_NOT_FOUND)
		return access_missing(rq, e);
	if (r == 0 && ret->is_marker)
		return err_set(e, ERR_METHOD_NOT_ALLOWED,
		    "The specified method is not allowed against this resource.");
	return r;
}

struct lookup {
	struct request *rq;
	struct object object;
};

static int
look_up(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;

	return find(tx, l->rq, l->rq->arena, &l->object, e);
}

static int
get(struct request *rq, struct object *ret, struct err *e)
{
	struct lookup l = { .rq = rq };
	int r = check_bucket(rq, e);

	if (r == 0)
		r = store_read(rq->walrus->store, look_up, &l, e);
	if (r < 0)
		return r;
	*ret = l.object;
	object_reply_version(rq, ret->version_id);
	return 0;
}

static int
not_configured(struct err *e)
{
	return err_set(
	    e, ERR_LOCK_NOT_FOUND, "The specified object does not have a ObjectLock configuration");
}

int
lock_get_retention(struct request *rq, struct err *e)
{
	struct object o;
	struct xml_writer *w;
	int r = get(rq, &o, e);

	if (r < 0)
		return r;
	if (!o.attributes.lock_mode)
		return not_configured(e);
	w = reply_xml(rq, "Retention");
	xml_element(w, "Mode", o.attributes.lock_mode);
	xml_time(w, "RetainUntilDate", o.attributes.lock_until_us);
	reply_xml_end(rq, "Retention");
	return 0;
}

int
lock_get_legal_hold(struct request *rq, struct err *e)
{
	struct object o;
	struct xml_writer *w;
	int r = get(rq, &o, e);

	if (r < 0)
		return r;
	if (o.attributes.hold == HOLD_NEVER)
		return not_configured(e);
	w = reply_xml(rq, "LegalHold");
	xml_element(w, "Status", o.attributes.hold == HOLD_ON ? "ON" : "OFF");
	reply_xml_end(rq, "LegalHold");
	return 0;
}

/* -- changes -- */

struct change {
	struct request *rq;
	bool is_retention, bypasses;
	const char *mode; /* NULL: its retention ends now */
	int64_t until_us;
	enum legal_hold hold;
	char version_id[VERSION_ID_SIZE]; /* out */
};

static int
commit_change(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	struct request *rq = c->rq;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct change_origin origin = { .rq = rq };
	struct object_change change = { .what = "changed", .event = "", .origin = &origin };
	struct object_attributes *a;
	struct object o;
	int r = bucket_check(tx, rq->bucket, e);

	if (r == 0)
		r = find(tx, rq, arena, &o, e);
	if (r < 0)
		return r;
	a = &o.attributes;
	if (c->is_retention &&
	    !lock_allows_change(a, c->mode, c->until_us, c->bypasses, lock_now_us()))
		return lock_denied(e);
	if (c->is_retention) {
		a->lock_mode = (char *)c->mode;
		a->lock_until_us = c->until_us;
	} else {
		a->hold = c->hold;
	}
	memcpy(c->version_id, o.version_id, strlen(o.version_id) + 1);
	r = store_exec(tx, Q_OBJECT_SET_LOCK, NULL, e, rq->bucket->id, o.key, o.position,
	    a->lock_mode, a->lock_until_us, (int64_t)a->hold);
	change.key = o.key;
	change.version_id = o.version_id;
	return r < 0 ? r : object_event(tx, rq->bucket, &change, e);
}

static int
commit(struct request *rq, struct change *c, struct err *e)
{
	int r = check_bucket(rq, e);

	if (r == 0)
		r = store_write(rq->walrus->store, commit_change, c, e);
	if (r == 0)
		object_reply_version(rq, c->version_id);
	return r;
}

/* Without children it means that there is to be none. */
static int
read_retention(struct request *rq, struct change *c, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	int r = request_parse_xml(rq, "Retention", &doc, e);
	xmlNode *root = r == 0 ? xmlDocGetRootElement(doc) : NULL, *mode, *until;
	const char *date;

	if (r < 0 || !xml_first(root))
		return r;
	mode = xml_find(root, "Mode");
	until = xml_find(root, "RetainUntilDate");
	c->mode = mode ? xml_text_of(mode, 32, rq->arena) : NULL;
	if (!until ||
	    (!strings_equal(c->mode, LOCK_GOVERNANCE) && !strings_equal(c->mode, LOCK_COMPLIANCE)))
		return setting_malformed(e);
	date = xml_text_of(until, 64, rq->arena);
	if (!time_parse_iso(str_trim(str_of(date)), &c->until_us))
		return setting_malformed(e);
	if (c->until_us <= clock_now_us())
		return error_argument(rq, "RetainUntilDate", str_of(date), e,
		    "The retain until date must be in the future!");
	return 0;
}

int
lock_put_retention(struct request *rq, struct err *e)
{
	struct change c = { .rq = rq, .is_retention = true };
	int r = read_retention(rq, &c, e);

	if (r == 0)
		r = check_bucket(rq, e);
	if (r == 0)
		r = lock_read_bypass(rq, rq->target.key, &c.bypasses, e);
	return r < 0 ? r : commit(rq, &c, e);
}

int
lock_put_legal_hold(struct request *rq, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct change c = { .rq = rq };
	int r = request_parse_xml(rq, "LegalHold", &doc, e);
	xmlNode *status = r == 0 ? xml_find(xmlDocGetRootElement(doc), "Status") : NULL;
	const char *text = status ? xml_text_of(status, 16, rq->arena) : NULL;

	if (r < 0)
		return r;
	if (!strings_equal(text, "ON") && !strings_equal(text, "OFF"))
		return setting_malformed(e);
	c.hold = strings_equal(text, "ON") ? HOLD_ON : HOLD_OFF;
	return commit(rq, &c, e);
}
