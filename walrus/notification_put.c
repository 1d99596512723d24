/* PUT of the setting: endpoints that are not there are refused, those that are are told of it. */
#include <jansson.h>

#include "base/clock.h"
#include "bucket.h"
#include "notification.h"
#include "request.h"
#include "store/outbox.h"

static int
check_endpoints(const struct request *rq, const struct notification *n, struct err *e)
{
	for (size_t i = 0; i < n->count; i++)
		if (!notification_url(
			rq->walrus->conf->notification_endpoints, n->rules[i].endpoint)
			 .p)
			return err_set(e, ERR_INVALID_ARGUMENT,
			    "Unable to validate the following destination configurations: %s",
			    n->rules[i].arn);
	return 0;
}

struct put {
	struct request *rq;
	const struct notification *value;
};

static int
commit_put(struct store_tx *tx, void *arg, struct err *e)
{
	const struct put *p = arg;
	const struct request *rq = p->rq;
	uint64_t revision = 0;
	char time[TIME_TEXT_SIZE];
	int r = bucket_check(tx, rq->bucket, e);

	time_format_iso(store_now_us(tx), time);
	if (r == 0)
		r = setting_set(tx, rq->bucket->id, SETTING_NOTIFICATION,
		    p->value->count ? strbuf_c(&rq->body) : NULL, e);
	if (r == 0)
		r = request_record(tx, rq, "bucket", rq->bucket->name, e);
	if (r == 0)
		r = outbox_last(tx, &revision, e);
	for (size_t i = 0; r == 0 && i < p->value->count; i++) {
		json_t *test = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "Service", "Amazon S3",
		    "Event", "s3:TestEvent", "Time", time, "Bucket", rq->bucket->name, "RequestId",
		    rq->id, "HostId", rpc_self(rq->walrus->rpc));
		_cleanup_free_ char *body = json_dumps(test, JSON_COMPACT);

		json_decref(test);
		r = notification_queue(tx, revision, i, p->value->rules[i].endpoint, true, body, e);
	}
	return r;
}

int
notification_put(struct request *rq, struct err *e)
{
	struct str body = strbuf_str(&rq->body);
	struct put p = { .rq = rq };
	const void *value = NULL;
	int r;

	if (body.n == 0)
		return err_set(e, ERR_MISSING_REQUEST_BODY, "Request Body is empty");
	if (memchr(body.p, 0, body.n) || !is_utf8(body))
		return setting_malformed(e);
	r = notification_parse(body, rq->arena, &value, e);
	p.value = value;
	if (r == 0)
		r = check_endpoints(rq, p.value, e);
	if (r == 0)
		r = store_write(rq->walrus->store, commit_put, &p, e);
	bucket_forget(rq->walrus, rq->bucket->name);
	return r;
}
