/* Whether a bucket keeps old versions. */
#include "bucket.h"
#include "lock.h"
#include "request.h"
#include "schema.h"
#include "version.h"

static const char *const versioning_names[] = {
	[VERSIONING_ENABLED] = "Enabled", [VERSIONING_SUSPENDED] = "Suspended"
};

int
bucket_get_versioning(struct request *rq, struct err *e)
{
	struct xml_writer *w = reply_xml(rq, "VersioningConfiguration");

	xml_element(w, "Status", versioning_names[rq->bucket->versioning]);
	reply_xml_end(rq, "VersioningConfiguration");
	return 0;
}

struct versioning_change {
	struct request *rq;
	enum versioning wanted;
};

static int
set_versioning(struct store_tx *tx, void *arg, struct err *e)
{
	struct versioning_change *c = arg;
	const struct bucket *b = c->rq->bucket;
	bool is_locked;
	int r = bucket_check(tx, b, e);

	if (r == 0)
		r = lock_is_enabled_now(tx, b->id, &is_locked, e);
	if (r == 0 && is_locked && c->wanted != VERSIONING_ENABLED)
		return err_set(e, ERR_INVALID_BUCKET_STATE,
		    "An Object Lock configuration is present on this bucket, so the versioning "
		    "state cannot be changed.");
	if (r == 0)
		r = store_exec(tx, Q_BUCKET_SET_VERSIONING, NULL, e, b->id, (int64_t)c->wanted);
	return r < 0 ? r : request_record(tx, c->rq, "bucket", b->name, e);
}

/* There are no devices that could show a code, so none is the right one. */
static int
check_mfa(struct request *rq, xmlNode *mfa, struct err *e)
{
	const char *text = mfa ? xml_text_of(mfa, 16, rq->arena) : "Disabled";

	if (!strings_equal(text, "Enabled") && !strings_equal(text, "Disabled"))
		return setting_malformed(e);
	if (request_header(rq, "x-amz-mfa").p)
		return version_refuse_mfa(e);
	return strings_equal(text, "Disabled")
		   ? 0
		   : err_set(
			 e, ERR_ACCESS_DENIED, "Mfa Authentication must be used for this request");
}

static int
read_versioning(struct request *rq, enum versioning *ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	xmlNode *status;
	char *text;
	int r = request_parse_xml(rq, "VersioningConfiguration", &doc, e);

	if (r == 0)
		r = check_mfa(rq, xml_find(xmlDocGetRootElement(doc), "MfaDelete"), e);
	if (r < 0)
		return r;
	status = xml_find(xmlDocGetRootElement(doc), "Status");
	if (!status)
		return err_set(
		    e, ERR_ILLEGAL_VERSIONING, "The Versioning element must be specified");
	text = xml_text_of(status, 16, rq->arena);
	for (enum versioning v = VERSIONING_ENABLED; v <= VERSIONING_SUSPENDED; v++)
		if (strings_equal(text, versioning_names[v])) {
			*ret = v;
			return 0;
		}
	return setting_malformed(e);
}

int
bucket_put_versioning(struct request *rq, struct err *e)
{
	struct versioning_change c = { .rq = rq };
	int r = read_versioning(rq, &c.wanted, e);

	if (r < 0)
		return r;
	r = store_write(rq->walrus->store, set_versioning, &c, e);
	bucket_forget(rq->walrus, rq->bucket->name);
	return r;
}
