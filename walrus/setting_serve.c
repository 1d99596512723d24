/* GET, PUT and DELETE of all settings. A PUT is parsed before it is stored, so that what is stored
 * can be read; it is stored as it came, so that a later version can read more in it. */
#include <string.h>

#include "bucket.h"
#include "bucket_policy.h"
#include "logging.h"
#include "ownership.h"
#include "request.h"
#include "setting.h"

/* May be NULL. What a PUT (or a DELETE: value NULL) must fulfil besides. */
static int (*const checks[SETTING_MAX + 1])(struct request *, const void *, struct err *) = {
#define SETTING(name, sub_resource, root, missing, missing_text, parse, write, check) check,
#include "settings.def"
#undef SETTING
};

struct change {
	struct request *rq;
	enum setting setting;
	const char *body;
};

static enum setting
setting_of(const struct request *rq)
{
	unsigned s = 0;

	while (s < SETTING_MAX && strcmp(setting_names[s], rq->operation->parameter) != 0)
		s++;
	return s;
}

int
setting_get(struct request *rq, struct err *e)
{
	enum setting s = setting_of(rq);
	const struct setting_kind *kind = &setting_kinds[s];
	const void *value = rq->bucket->settings[s];
	struct xml_writer *w;

	if (!value && kind->missing)
		return err_set(e, kind->missing, "%s", kind->missing_text);
	if (!kind->root) {
		strbuf_adds(&rq->reply, rq->bucket->documents[s]);
		reply_header(rq, "Content-Type", "application/json");
		return 0;
	}
	w = reply_xml(rq, kind->root);
	kind->write(rq, w, value);
	reply_xml_end(rq, kind->root);
	return 0;
}

int
setting_put(struct request *rq, struct err *e)
{
	enum setting s = setting_of(rq);
	const struct setting_kind *kind = &setting_kinds[s];
	struct str body = strbuf_str(&rq->body);
	const void *value = NULL;
	int r;

	if (body.n == 0)
		return err_set(e, ERR_MISSING_REQUEST_BODY, "Request Body is empty");
	if (memchr(body.p, 0, body.n) || !is_utf8(body))
		return kind->root ? setting_malformed(e)
				  : err_set(e, ERR_INVALID_ARGUMENT, "The body is not UTF-8 text");
	r = kind->parse(body, rq->arena, &value, e);
	if (r == 0 && checks[s])
		r = checks[s](rq, value, e);
	if (r == 0)
		r = setting_store(rq, s, strbuf_c(&rq->body), e);
	if (r == 0 && !kind->root)
		rq->status = 204;
	return r;
}

int
setting_delete(struct request *rq, struct err *e)
{
	enum setting s = setting_of(rq);
	int r = checks[s] ? checks[s](rq, NULL, e) : 0;

	if (r == 0)
		r = setting_store(rq, s, NULL, e);
	rq->status = 204;
	return r;
}

static int
commit_change(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	const struct bucket *bucket = c->rq->bucket;
	int r = bucket_check(tx, bucket, e);

	if (r == 0)
		r = setting_set(tx, bucket->id, c->setting, c->body, e);
	return r < 0 ? r : request_record(tx, c->rq, "bucket", bucket->name, e);
}

int
setting_store(struct request *rq, enum setting s, const char *body, struct err *e)
{
	struct change c = { rq, s, body };
	int r = store_write(rq->walrus->store, commit_change, &c, e);

	bucket_forget(rq->walrus, rq->bucket->name);
	return r;
}
