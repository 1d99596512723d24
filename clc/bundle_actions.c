/* What users may ask of bundle tasks: BundleInstance, DescribeBundleTasks, CancelBundleTask. */
#include "clc/ec2.api.h"

#include "base/clock.h"
#include "base/vec.h"
#include "rpc/walrus.api.h"

#include "account.h"
#include "bundle_task.h"
#include "filter.h"
#include "instance.h"
#include "peers.h"
#include "upload_policy.h"
#include "zone.h"

#define BUCKET_NAME_MIN 3
#define BUCKET_NAME_MAX 63
#define BUNDLE_ACL "ec2-bundle-read"

/* -- as users see it -- */

static struct bundle_task
describe(const struct clc_bundle_task *t, struct arena *arena)
{
	struct bundle_task out = { .instance_id = t->instance_id,
		.bundle_id = t->task_id,
		.state = bundle_state_to_string(t->state),
		.has_start_time = true,
		.start_time = t->start_us,
		.has_update_time = true,
		.update_time = t->update_us,
		.progress = arena_printf(arena, "%lld%%", (long long)t->progress) };

	out.storage = arena_alloc(arena, sizeof(*out.storage));
	out.storage->s3 = arena_alloc(arena, sizeof(*out.storage->s3));
	*out.storage->s3 = (struct s3_storage){ .access_key_id = t->access_key_id,
		.bucket = t->bucket,
		.prefix = t->prefix,
		.upload_policy = t->upload_policy,
		.upload_policy_signature = t->upload_policy_signature };
	if (t->error_code) {
		out.error = arena_alloc(arena, sizeof(*out.error));
		out.error->code = t->error_code;
		out.error->message = t->error_message;
	}
	return out;
}

static struct bundle_task *
described(const struct clc_bundle_task *t, struct arena *arena)
{
	struct bundle_task out = describe(t, arena);

	return arena_memdup(arena, &out, sizeof(out));
}

/* -- BundleInstance -- */

static int
missing(const char *name, struct err *e)
{
	return err_set(e, ERR_MISSING_PARAMETER, "The request must contain the parameter %s", name);
}

static int
check_storage(const struct s3_storage *s, struct err *e)
{
	size_t n;

	if (!s)
		return missing("Storage.S3", e);
	if (!s->bucket || !s->bucket[0])
		return missing("Storage.S3.Bucket", e);
	if (!s->prefix || !s->prefix[0])
		return missing("Storage.S3.Prefix", e);
	n = strlen(s->bucket);
	if (n < BUCKET_NAME_MIN || n > BUCKET_NAME_MAX ||
	    strspn(s->bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") != n ||
	    strchr(".-", s->bucket[0]))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "The specified bucket is not valid: %.100s", s->bucket);
	if (!s->upload_policy != !s->upload_policy_signature)
		return missing(s->upload_policy ? "Storage.S3.UploadPolicySignature"
						: "Storage.S3.UploadPolicy",
		    e);
	if (s->upload_policy && !s->access_key_id)
		return missing("Storage.S3.AWSAccessKeyId", e);
	return 0;
}

/* By whose rights the bundle is written: by those of whoever signed the policy, else by the
 * caller's. */
static int
find_writer(
    struct request *rq, const struct s3_storage *s, const char **ret_account_id, struct err *e)
{
	const struct upload upload = { s->bucket, s->prefix, BUNDLE_ACL, clock_now_us() };
	struct auth_key key;
	int r;

	*ret_account_id = rq->account_id;
	if (!s->access_key_id)
		return 0;
	if (!clc_account_key(rq->clc, s->access_key_id, &key) || !key.is_active)
		return err_set(e, ERR_AUTH_FAILURE,
		    "The AWS Access Key Id you provided does not exist in our records.");
	if (!s->upload_policy)
		return strcmp(key.account_id, rq->account_id) == 0
			   ? 0
			   : err_set(e, ERR_UNAUTHORIZED_OPERATION,
				 "Access Denied: the owner of Storage.S3.AWSAccessKeyId has to "
				 "sign an "
				 "upload policy");
	r = upload_policy_check_signature(
	    s->upload_policy, s->upload_policy_signature, key.secret, e);
	if (r == 0)
		r = upload_policy_check(s->upload_policy, &upload, e);
	*ret_account_id = arena_strdup(rq->arena, key.account_id);
	return r;
}

/* A bucket that is not there is made later; one of somebody else is refused now, or ends the task
 * when walrus can't be asked now. */
static int
check_bucket(struct request *rq, const struct s3_storage *s, const char *writer_id, struct err *e)
{
	struct walrus_describe_object_in in = { .account_id = writer_id,
		.bucket = s->bucket,
		.key = arena_printf(rq->arena, "%s.manifest.xml", s->prefix) };
	struct walrus_describe_object_out out = { 0 };
	struct rpc_context context = { .request_id = rq->id, .account_id = rq->account_id };
	int r = clc_peers_describe_object(rq->clc->peers, &context, &in, &out, rq->arena, e);

	if (r == ERR_BUCKET_NOT_FOUND || r == ERR_KEY_NOT_FOUND || r == ERR_SERVICE_UNAVAILABLE ||
	    r == ERR_UNAVAILABLE || r == ERR_TIMEOUT) {
		err_clear(e);
		return 0;
	}
	return r == ERR_ACCESS_DENIED
		   ? err_set(e, ERR_UNAUTHORIZED_OPERATION,
			 "Access Denied: the bucket '%s' belongs to somebody else", s->bucket)
		   : r;
}

struct bundling {
	struct request *rq;
	struct clc_bundle_task task;
};

static int
insert(struct store_tx *tx, void *arg, struct err *e)
{
	struct bundling *b = arg;
	struct clc_instance i;
	int r = clc_bundle_insert(tx, b->rq, &b->task, &i, e);

	return r < 0 ? r : request_record(tx, b->rq, "bundle-task", b->task.task_id, e);
}

int
ec2_handle_bundle_instance(struct request *rq, const struct bundle_instance_in *in,
    struct bundle_instance_out *out, struct err *e)
{
	const struct s3_storage *s = in->storage ? in->storage->s3 : NULL;
	struct bundling b = { .rq = rq };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0)
		r = check_storage(s, e);
	if (r == 0)
		r = find_writer(rq, s, &b.task.writer_id, e);
	if (r == 0)
		r = check_bucket(rq, s, b.task.writer_id, e);
	if (r < 0)
		return r;
	b.task.instance_id = in->instance_id;
	b.task.kind = "bundle";
	b.task.bucket = s->bucket;
	b.task.prefix = s->prefix;
	b.task.access_key_id = s->access_key_id;
	b.task.upload_policy = s->upload_policy;
	b.task.upload_policy_signature = s->upload_policy_signature;
	r = store_write(rq->clc->store, insert, &b, e);
	if (r < 0)
		return r;
	if (rq->clc->bundles)
		reconciler_poke(rq->clc->bundles);
	out->task = described(&b.task, rq->arena);
	return 0;
}

/* -- DescribeBundleTasks -- */

struct listing {
	struct request *rq;
	const struct describe_bundle_tasks_in *in;
	VEC(struct bundle_task) tasks;
	size_t found; /* of those named */
};

static bool
is_named(const struct describe_bundle_tasks_in *in, const char *id)
{
	for (size_t i = 0; i < in->bundle_ids.count; i++)
		if (strcmp(in->bundle_ids.items[i], id) == 0)
			return true;
	return in->bundle_ids.count == 0;
}

/* One that is unknown fails the whole call. */
static int
check_named(struct store_tx *tx, struct listing *l, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->in->bundle_ids.count; i++) {
		struct clc_bundle_task t;

		r = clc_bundle_load(
		    tx, l->rq->account_id, l->in->bundle_ids.items[i], l->rq->arena, &t, e);
	}
	return r;
}

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	int r = check_named(tx, l, e);

	l->tasks.count = 0;
	if (r == 0)
		r = store_query(tx, Q_BUNDLES_OF_ACCOUNT, &rows, e, l->rq->account_id,
		    l->rq->clc->conf->region);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_bundle_task t;
		struct bundle_task out;

		clc_bundle_read(rows, l->rq->arena, &t);
		if (!is_named(l->in, t.task_id))
			continue;
		out = describe(&t, l->rq->arena);
		if (filters_match(
			l->rq->operation, l->in->filters.items, l->in->filters.count, &out))
			vec_add(&l->tasks, out);
	}
	return r;
}

int
ec2_handle_describe_bundle_tasks(struct request *rq, const struct describe_bundle_tasks_in *in,
    struct describe_bundle_tasks_out *out, struct err *e)
{
	struct listing l = { .rq = rq, .in = in };
	int r = store_read(rq->clc->store, read_listing, &l, e);

	if (r == 0) {
		out->tasks.count = l.tasks.count;
		out->tasks.items =
		    arena_memdup(rq->arena, l.tasks.items, l.tasks.count * sizeof(*l.tasks.items));
	}
	vec_done(&l.tasks);
	return r;
}

/* -- CancelBundleTask -- */

struct cancellation {
	struct request *rq;
	const char *task_id;
	struct clc_bundle_task task;
};

static int
cancel(struct store_tx *tx, void *arg, struct err *e)
{
	struct cancellation *c = arg;
	int r = clc_bundle_load(tx, c->rq->account_id, c->task_id, c->rq->arena, &c->task, e);

	if (r == 0)
		r = clc_bundle_apply(tx, &c->task, BUNDLE_EV_CANCEL, NULL, NULL, e);
	return r < 0 ? r : request_record(tx, c->rq, "bundle-task", c->task_id, e);
}

int
ec2_handle_cancel_bundle_task(struct request *rq, const struct cancel_bundle_task_in *in,
    struct cancel_bundle_task_out *out, struct err *e)
{
	struct cancellation c = { .rq = rq, .task_id = in->bundle_id };
	int r = store_write(rq->clc->store, cancel, &c, e);

	if (r < 0)
		return r;
	if (rq->clc->bundles)
		reconciler_poke(rq->clc->bundles);
	clc_zones_poke(rq->clc, NULL);
	out->task = described(&c.task, rq->arena);
	return 0;
}
