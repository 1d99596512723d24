/* One table serves all settings. A PUT is parsed before it is stored, so that what is stored can be
 * read; it is stored as it came, so that a later version can read more in it. */
#include "setting.h"

#include <string.h>

#include "accelerate.h"
#include "acl.h"
#include "auth/digest.h"
#include "bucket.h"
#include "bucket_policy.h"
#include "cors.h"
#include "encryption_request.h"
#include "lifecycle.h"
#include "logging.h"
#include "notification.h"
#include "ownership.h"
#include "lock.h"
#include "payment.h"
#include "public_access.h"
#include "request.h"
#include "schema.h"
#include "tags.h"
#include "website.h"

const struct setting_kind setting_kinds[SETTING_MAX + 1] = {
#define SETTING(name, sub_resource, root, missing, missing_text, parse, write, check)              \
	{ sub_resource, root, missing, missing_text, parse, write, check },
#include "settings.def"
#undef SETTING
	{ 0 },
};

static const struct xml_limits limits = { S3_XML_BODY_MAX, 64, 64, 50000 };

int
setting_malformed(struct err *e)
{
	return err_set(e, ERR_MALFORMED_XML,
	    "The XML you provided was not well-formed or did not validate against our published "
	    "schema");
}

int
setting_parse_xml(struct str body, const char *root, xmlDoc **ret, struct err *e)
{
	xmlDoc *doc;
	struct err why;

	if (xml_parse(body, &limits, &doc, &why) < 0)
		return setting_malformed(e);
	if (!xml_is(xmlDocGetRootElement(doc), NULL, root)) {
		xml_doc_freep(&doc);
		return setting_malformed(e);
	}
	*ret = doc;
	return 0;
}

const char *
setting_make_id(struct str body, size_t index, struct arena *arena)
{
	EVP_MD_CTX *sha = digest_begin(DIGEST_SHA256);
	uint8_t hash[32];
	char *id = arena_alloc(arena, 49);

	EVP_DigestUpdate(sha, body.p, body.n);
	EVP_DigestUpdate(sha, &index, sizeof(index));
	digest_end(sha, hash);
	hex_encode(hash, 24, id);
	return id;
}

int
setting_set(struct store_tx *tx, int64_t bucket_id, enum setting s, const char *body, struct err *e)
{
	const char *kind = setting_kinds[s].name;

	return body ? store_exec(tx, Q_BUCKET_SETTING_PUT, NULL, e, bucket_id, kind, body,
			  store_now_us(tx))
		    : store_exec(tx, Q_BUCKET_SETTING_DELETE, NULL, e, bucket_id, kind);
}

struct next_bucket {
	const char *kind, *after;
	char *name; /* NULL: there is none */
};

static int
read_next_bucket(struct store_tx *tx, void *arg, struct err *e)
{
	struct next_bucket *n = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_BUCKET_WITH_SETTING, &rows, e, n->kind, n->after);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		n->name = xstrdup(store_text(rows, 0));
	return r < 0 ? r : 0;
}

int
setting_next_bucket(
    struct store *store, enum setting s, const char *after, char **ret_name, struct err *e)
{
	struct next_bucket n = { setting_kinds[s].name, after, NULL };
	int r = store_read(store, read_next_bucket, &n, e);

	if (r < 0)
		return r;
	*ret_name = n.name;
	return n.name != NULL;
}

struct change {
	struct request *rq;
	enum setting setting;
	const char *body;
};

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

static enum setting
setting_of(const struct request *rq)
{
	unsigned s = 0;

	while (s < SETTING_MAX && strcmp(setting_kinds[s].name, rq->operation->parameter) != 0)
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
	if (r == 0 && kind->check)
		r = kind->check(rq, value, e);
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
	const struct setting_kind *kind = &setting_kinds[s];
	int r = kind->check ? kind->check(rq, NULL, e) : 0;

	if (r == 0)
		r = setting_store(rq, s, NULL, e);
	rq->status = 204;
	return r;
}
