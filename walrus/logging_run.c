/* Lines on their way. Each source bucket has a buffer; the reconciler takes all of them at once and
 * makes an object of each. Who may be written to is decided at that moment. */
#include <stdio.h>

#include "access.h"
#include "auth/digest.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/map.h"
#include "bucket.h"
#include "logging.h"
#include "object.h"
#include "request.h"
#include "run/lock.h"
#include "run/metrics.h"

#define HELD_MAX (32 * 1024 * 1024) /* bytes of lines */
#define HELD_MANY (4 * 1024 * 1024) /* they are not kept until it is time */
#define DAY_US INT64_C(86400000000)

struct lines { /* of one source bucket, and of one day */
	char *bucket;
	struct strbuf text;
	int64_t first_us;
	uint64_t count;
};

struct logs {
	struct walrus *walrus;
	struct lock lock;
	struct map *by_bucket; /* under lock, like what follows: struct lines */
	size_t held;
};

static void
free_lines(void *p)
{
	struct lines *l = p;

	strbuf_done(&l->text);
	free(l->bucket);
	free(l);
}

struct logs *
logs_new(struct walrus *w)
{
	struct logs *l = xcalloc(1, sizeof(*l));

	l->walrus = w;
	lock_init(&l->lock, LOCK_CACHE);
	l->by_bucket = map_new(free_lines);
	return l;
}

static void
count(const char *labels, uint64_t n)
{
	metric_add(metric_counter("mallee_walrus_access_log_lines_total", labels,
		       "lines of access logs, by what became of them"),
	    (double)n);
}

/* -- gathering -- */

static const struct {
	const char *parameter, *bucket, *object; /* what S3 calls it */
} resources[] = {
	{ "accelerate", "ACCELERATE", NULL },
	{ "acl", "ACL", "ACL" },
	{ "attributes", NULL, "OBJECT_ATTRIBUTES" },
	{ "cors", "CORS", NULL },
	{ "delete", "MULTI_OBJECT_DELETE", NULL },
	{ "encryption", "ENCRYPTION", NULL },
	{ "legal-hold", NULL, "OBJECT_LOCK_LEGALHOLD" },
	{ "lifecycle", "LIFECYCLE", NULL },
	{ "location", "LOCATION", NULL },
	{ "logging", "LOGGING_STATUS", NULL },
	{ "notification", "NOTIFICATION", NULL },
	{ "object-lock", "OBJECT_LOCK_CONFIGURATION", NULL },
	{ "ownershipControls", "OWNERSHIP_CONTROLS", NULL },
	{ "policy", "BUCKETPOLICY", NULL },
	{ "policyStatus", "BUCKETPOLICYSTATUS", NULL },
	{ "publicAccessBlock", "PUBLIC_ACCESS_BLOCK", NULL },
	{ "requestPayment", "REQUEST_PAYMENT", NULL },
	{ "retention", NULL, "OBJECT_LOCK_RETENTION" },
	{ "tagging", "TAGGING", "OBJECT_TAGGING" },
	{ "uploads", "UPLOADS", "UPLOADS" },
	{ "versioning", "VERSIONING", NULL },
	{ "versions", "BUCKETVERSIONS", NULL },
	{ "website", "WEBSITE", NULL },
};

static const char *
operation_name(const struct request *rq)
{
	bool is_object = rq->target.level == TARGET_OBJECT;
	bool is_copy = request_header(rq, "x-amz-copy-source").p != NULL;
	const char *what = is_object ? "OBJECT" : "BUCKET";
	struct str method = rq->head->method;

	if (rq->is_website)
		return arena_printf(rq->arena, "WEBSITE.%.*s.OBJECT", (int)method.n, method.p);
	if (str_is(method, "OPTIONS"))
		what = "PREFLIGHT";
	else if (is_object && request_parameter(rq, "uploadId"))
		what = str_is(method, "PUT") ? "PART" : "UPLOAD";
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		const char *name = is_object ? resources[i].object : resources[i].bucket;

		if (name && request_parameter(rq, resources[i].parameter))
			what = name;
	}
	if (is_copy && str_is(method, "PUT"))
		method = STR("COPY");
	return arena_printf(rq->arena, "REST.%.*s.%s", (int)method.n, method.p, what);
}

static void
describe_signature(const struct request *rq, struct logging_record *r)
{
	struct str authorization = request_header(rq, "authorization");

	if (rq->is_anonymous || !rq->caller.access_key_id[0])
		return;
	if (authorization.p) {
		r->signature = str_starts(authorization, "AWS4") ? "SigV4" : "SigV2";
		r->authentication = "AuthHeader";
	} else if (request_parameter(rq, "X-Amz-Algorithm")) {
		r->signature = "SigV4";
		r->authentication = "QueryString";
	} else if (request_parameter(rq, "Signature")) {
		r->signature = "SigV2";
		r->authentication = "QueryString";
	}
}

static const char *
replied_version(const struct request *rq)
{
	VEC_FOREACH (&rq->headers, header)
		if (strcasecmp(header->name, "x-amz-version-id") == 0)
			return header->value;
	return request_parameter(rq, "versionId");
}

static void
describe(struct request *rq, struct logging_record *r)
{
	const struct request_facts *f = &rq->facts;
	struct identity_owner owner, caller;
	uint64_t now_ms = clock_monotonic_ms(), replied_ms = f->replied_ms ? f->replied_ms : now_ms;

	identity_owner(rq->walrus->identity, rq->bucket->account_id, &owner);
	*r = (struct logging_record){ .owner = arena_strdup(rq->arena, owner.canonical_id),
		.bucket = rq->bucket->name,
		.at_us = f->began_us,
		.remote = str_of(rq->peer.address),
		.request_id = str_of(rq->id),
		.operation = operation_name(rq),
		.key = rq->target.key,
		.method = rq->head->method,
		.uri = rq->head->target,
		.status = rq->status,
		.error_code = f->error_code,
		.sent = (int64_t)f->sent,
		.object_size = f->object_size,
		.total_ms = (int64_t)(now_ms - f->began_ms),
		.turn_around_ms = f->asked_ms ? (int64_t)(replied_ms - f->asked_ms) : -1,
		.referer = request_header(rq, "referer"),
		.agent = request_header(rq, "user-agent"),
		.version_id = replied_version(rq),
		.host_id = str_of(rpc_self(rq->walrus->rpc)),
		.cipher = rq->peer.tls_cipher,
		.tls_version = rq->peer.tls_version,
		.host = rq->head->host };
	describe_signature(rq, r);
	if (rq->is_anonymous || !rq->caller.account_id[0])
		return;
	identity_owner(rq->walrus->identity, rq->caller.account_id, &caller);
	r->requester =
	    str_of(rq->caller.user_name[0] ? arena_printf(rq->arena, "arn:aws:iam::%s:user/%s",
						 rq->caller.account_id, rq->caller.user_name)
					   : arena_strdup(rq->arena, caller.canonical_id));
}

/* Lines of different days are apart: their objects may be named by the day. */
static void
keep(struct logs *l, const char *bucket, int64_t at_us, const struct strbuf *line)
{
	_cleanup_free_ char *name = xasprintf("%s %lld", bucket, (long long)(at_us / DAY_US));
	bool is_much;

	lock_take(&l->lock);
	is_much = l->held + line->n > HELD_MANY;
	if (l->held + line->n <= HELD_MAX) {
		struct lines *lines = map_find(l->by_bucket, name);

		if (!lines) {
			lines = xcalloc(1, sizeof(*lines));
			lines->bucket = xstrdup(bucket);
			lines->first_us = at_us;
			map_set(l->by_bucket, name, lines);
		}
		strbuf_addstr(&lines->text, strbuf_str(line));
		lines->count++;
		l->held += line->n;
		lock_release(&l->lock);
	} else {
		lock_release(&l->lock);
		count("result=\"overflow\"", 1);
	}
	if (is_much)
		reconciler_poke(l->walrus->access_logs);
}

void
logging_find_bucket(struct request *rq)
{
	struct err e;

	if (!rq->bucket && rq->target.bucket)
		(void)bucket_get(rq->walrus, rq->target.bucket, &rq->bucket, &e);
}

void
logging_note(struct request *rq)
{
	const struct logging *setting = rq->bucket ? rq->bucket->settings[SETTING_LOGGING] : NULL;
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	struct logging_record r;

	if (!setting || !setting->bucket)
		return;
	describe(rq, &r);
	logging_format(&r, &line);
	keep(rq->walrus->logs, rq->bucket->name, r.at_us, &line);
}

/* -- delivering -- */

struct delivery {
	const struct bucket *bucket;
	struct object_put put;
	struct blob blob;
};

static int
commit(struct store_tx *tx, void *arg, struct err *e)
{
	struct delivery *d = arg;
	int r = content_add(tx, d->put.content_id, 0, &d->blob, NULL, e);

	return r < 0 ? r : object_replace(tx, d->bucket, &d->put, e);
}

static int
store_object(
    struct walrus *w, const struct bucket *target, const char *key, struct str text, struct err *e)
{
	_cleanup_(blob_writer_freep) struct blob_writer *writer = blob_writer_new(w->blobs);
	char content_id[CONTENT_ID_SIZE], etag[33], sha256[65];
	struct delivery d = { .bucket = target,
		.put = { .key = str_of(key),
		    .content_id = content_id,
		    .etag = etag,
		    .sha256 = sha256,
		    .account_id = target->account_id,
		    .attributes.headers = (char *)"Content-Type: text/plain\n",
		    .size_bytes = text.n } };
	int r = blob_writer_add(writer, text, e);

	if (r == 0)
		r = blob_writer_finish(writer, &d.blob, e);
	if (r < 0)
		return r;
	content_id_new(content_id);
	digest_hex(DIGEST_MD5, text, etag);
	digest_hex(DIGEST_SHA256, text, sha256);
	r = store_write(w->store, commit, &d, e);
	if (r == 0)
		blob_writer_keep(writer);
	return r;
}

static int
deliver(struct walrus *w, struct lines *lines, struct err *e)
{
	_cleanup_(bucket_unrefp) struct bucket *source = NULL;
	_cleanup_(bucket_unrefp) struct bucket *target = NULL;
	_cleanup_free_ char *key = NULL;
	const struct logging *l;
	uint8_t bytes[8];
	char unique[17];
	int r = bucket_get(w, lines->bucket, &source, e);

	if (r < 0)
		return r;
	l = source->settings[SETTING_LOGGING];
	if (!l || !l->bucket)
		return err_set(e, ERR_NOT_FOUND, "logging was switched off");
	r = bucket_get(w, l->bucket, &target, e);
	if (r == 0 && !strings_equal(source->account_id, target->account_id))
		r = err_set(e, ERR_ACCESS_DENIED, "the target bucket is another account's");
	if (r < 0)
		return r;
	random_bytes(bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), unique);
	for (char *p = unique; *p; p++)
		if (*p >= 'a')
			*p = (char)(*p & ~0x20);
	key =
	    logging_key(l, source->account_id, source->location[0] ? source->location : "us-east-1",
		source->name, lines->first_us, clock_now_us(), unique);
	r = access_log_delivery(w, source, target, str_of(key), e);
	return r < 0 ? r : store_object(w, target, key, strbuf_str(&lines->text), e);
}

static void
deliver_all(struct logs *l)
{
	struct map *taken;
	size_t cursor = 0;
	const char *name;
	void *value;

	lock_take(&l->lock);
	taken = l->by_bucket;
	l->by_bucket = map_new(free_lines);
	l->held = 0;
	lock_release(&l->lock);
	while (map_next(taken, &cursor, &name, &value)) {
		struct lines *lines = value;
		struct err e = { 0 };

		if (deliver(l->walrus, lines, &e) == 0) {
			count("result=\"delivered\"", lines->count);
			continue;
		}
		count("result=\"dropped\"", lines->count);
		log_info(l->walrus->log, "access_log.dropped", "bucket=%s lines=%llu reason=\"%s\"",
		    lines->bucket, (unsigned long long)lines->count, e.text);
	}
	map_free(taken);
}

int
logging_run(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct walrus *w = arg;

	deliver_all(w->logs);
	return 0;
}

void
logs_free(struct logs *l)
{
	if (!l)
		return;
	deliver_all(l);
	map_free(l->by_bucket);
	lock_done(&l->lock);
	free(l);
}

/* -- PUT -- */

static int
bad_target(struct err *e, const char *why)
{
	return err_set(e, ERR_LOGGING_TARGET, "%s", why);
}

int
logging_check(struct request *rq, const void *value, struct err *e)
{
	_cleanup_(bucket_unrefp) struct bucket *target = NULL;
	const struct logging *l = value;
	struct err why = { 0 };
	int r;

	if (!l || !l->bucket)
		return 0;
	r = bucket_get(rq->walrus, l->bucket, &target, &why);
	if (r == ERR_BUCKET_NOT_FOUND)
		return bad_target(e, "The target bucket for logging does not exist");
	if (r < 0)
		return err_set(e, r, "%s", why.text);
	if (!strings_equal(target->account_id, rq->bucket->account_id))
		return bad_target(e, "The owner for the bucket to be logged and the target bucket "
				     "must be the same.");
	if (access_log_delivery(rq->walrus, rq->bucket, target, str_of(l->prefix), &why) < 0)
		return bad_target(e, "You must give the log-delivery group WRITE and READ_ACP "
				     "permissions to the target "
				     "bucket");
	return 0;
}
