/* The lock of a bucket is switched on, and its default for new versions changes. */
#include "lock.h"
#include "schema.h"

static int
store_setting(
    struct store_tx *tx, int64_t bucket_id, const struct lock_configuration *c, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct xml_writer w;

	xml_writer_init(&w, &text, false);
	xml_open(&w, "ObjectLockConfiguration");
	lock_write(NULL, &w, c);
	xml_close(&w, "ObjectLockConfiguration");
	return setting_set(tx, bucket_id, SETTING_OBJECT_LOCK, strbuf_c(&text), e);
}

int
lock_enable(struct store_tx *tx, int64_t bucket_id, struct err *e)
{
	int r = store_exec(
	    tx, Q_BUCKET_SET_VERSIONING, NULL, e, bucket_id, (int64_t)VERSIONING_ENABLED);

	return r < 0 ? r : store_setting(tx, bucket_id, &(struct lock_configuration){ 0 }, e);
}

struct configuration_change {
	struct request *rq;
	const struct lock_configuration *wanted;
};

/* Whoever suspends versioning looks for this setting in the same way: one of the two comes first.
 */
static int
commit_configuration(struct store_tx *tx, void *arg, struct err *e)
{
	const struct configuration_change *c = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct bucket now;
	int r = bucket_check(tx, c->rq->bucket, e);

	if (r == 0)
		r = bucket_find(tx, c->rq->bucket->name, arena, &now, e);
	if (r < 0)
		return r;
	if (now.versioning != VERSIONING_ENABLED)
		return err_set(e, ERR_INVALID_BUCKET_STATE,
		    "Versioning must be 'Enabled' on the bucket to apply a Object Lock "
		    "configuration");
	r = store_setting(tx, now.id, c->wanted, e);
	return r < 0 ? r : request_record(tx, c->rq, "bucket", now.name, e);
}

int
lock_put_configuration(struct request *rq, struct err *e)
{
	struct configuration_change c = { .rq = rq };
	const void *value;
	int r = lock_parse(strbuf_str(&rq->body), rq->arena, &value, e);

	if (r < 0)
		return r;
	c.wanted = value;
	r = store_write(rq->walrus->store, commit_configuration, &c, e);
	bucket_forget(rq->walrus, rq->bucket->name);
	return r;
}
