/* Who may do what. A bucket's policy denies whatever it names, whoever owns it; it allows what
 * belongs to the bucket's owner. Owners may do anything with what is theirs: the bucket, and what
 * is done by its right (writing, removing, listing, settings), or the object, when its bytes and
 * its ACL are meant. ACLs grant besides. Until users have policies of their own, each user of an
 * account is the account. */
#include "access.h"

#include <stdio.h>

#include "access_context.h"
#include "ownership.h"
#include "public_access.h"

struct question {
	struct walrus *walrus;
	const struct request *rq;
	const struct auth_key *who;  /* NULL: nobody */
	const struct bucket *logged; /* NULL, or log delivery asks: of this bucket's */
	const char *action;
	enum permission permission;
	const struct bucket *bucket;
	struct str key;
	const struct object *object;
	const char *initiator_id; /* of the upload; NULL or "": nobody */
};

static int
denied(struct err *e)
{
	return err_set(e, ERR_ACCESS_DENIED, "Access Denied");
}

static bool
is_account(const struct question *q, const char *account_id)
{
	return q->who && strings_equal(q->who->account_id, account_id);
}

/* -- the policy -- */

static struct policy_caller
caller_of(const struct question *q, struct arena *arena)
{
	const struct auth_key *who = q->who;
	struct identity_owner owner;

	if (q->logged)
		return (struct policy_caller){ .service = "logging.s3.amazonaws.com" };
	if (!who)
		return (struct policy_caller){ NULL, NULL, NULL, NULL, NULL };
	identity_owner(q->walrus->identity, who->account_id, &owner);
	return (struct policy_caller){ .account_id = who->account_id,
		.user_name = who->user_name,
		.arn = arena_printf(arena, "arn:aws:iam::%s:%s%s", who->account_id,
		    who->user_name[0] ? "user/" : "root", who->user_name),
		.canonical_id = arena_strdup(arena, owner.canonical_id) };
}

/* In memory of its own: a request may ask for each of a thousand keys. */
static enum policy_effect
policy_says(const struct question *q)
{
	const struct policy *policy = q->bucket->settings[SETTING_POLICY];
	_cleanup_arena_ struct arena *arena = NULL;
	struct policy_caller caller;
	struct access_context *context;
	struct policy_request request;

	if (!policy)
		return POLICY_NONE;
	arena = arena_new(0);
	caller = caller_of(q, arena);
	context = arena_alloc(arena, sizeof(*context));
	context->walrus = q->walrus;
	context->rq = q->rq;
	context->bucket = q->bucket;
	context->object = q->object;
	context->who = q->who;
	context->logged = q->logged;
	context->caller = &caller;
	context->arena = arena;
	context->tags = arena_alloc(arena, sizeof(*context->tags));
	request = (struct policy_request){ &caller, q->action,
		str_of(arena_printf(arena, "arn:aws:s3:::%s%s%.*s", q->bucket->name,
		    q->key.n ? "/" : "", (int)q->key.n, q->key.n ? q->key.p : "")),
		access_context_lookup, context };
	return policy_evaluate(policy, &request);
}

/* A public policy of a bucket that is restricted is for the owner's account alone. */
static bool
is_restricted(const struct question *q)
{
	return public_access_of(q->bucket)->restrict_buckets &&
	       policy_is_public(q->bucket->settings[SETTING_POLICY]) &&
	       !is_account(q, q->bucket->account_id);
}

/* By these the owner repairs a policy that shuts everybody out. */
static bool
repairs_policy(const char *action)
{
	return strings_equal(action, "s3:GetBucketPolicy") ||
	       strings_equal(action, "s3:PutBucketPolicy") ||
	       strings_equal(action, "s3:DeleteBucketPolicy");
}

/* -- ACLs -- */

/* By the object's own ACL, not by the bucket's. */
static bool
is_of_object(const struct question *q)
{
	return q->key.n &&
	       (q->permission == PERMISSION_READ || q->permission == PERMISSION_READ_ACP ||
		   q->permission == PERMISSION_WRITE_ACP);
}

static bool
acl_grants(const struct question *q)
{
	const struct acl *acl = q->bucket->settings[SETTING_ACL];
	const struct acl_caller who = { .account_id = q->who ? q->who->account_id : NULL,
		.is_log_delivery = q->logged != NULL,
		.is_exec = q->who && q->who->is_service };
	_cleanup_arena_ struct arena *arena = NULL;
	struct acl *own;

	if (q->permission == PERMISSION_NONE || ownership_of(q->bucket) == OWNERSHIP_ENFORCED)
		return false;
	if (is_of_object(q)) {
		if (!q->object || !q->object->attributes.acl)
			return false;
		arena = arena_new(0);
		acl = own = arena_alloc(arena, sizeof(*own));
		if (!acl_parse(str_of(q->object->attributes.acl), own, arena))
			return false;
	}
	return acl &&
	       acl_allows(acl, &who, q->permission, public_access_of(q->bucket)->ignore_acls);
}

/* -- the decision -- */

static const char *
owner_of(const struct question *q)
{
	if (is_of_object(q) && q->object && ownership_of(q->bucket) != OWNERSHIP_ENFORCED)
		return q->object->account_id;
	return q->bucket->account_id;
}

static int
decide(const struct question *q, struct err *e)
{
	const char *bucket_owner = q->bucket->account_id, *owner = owner_of(q);
	enum policy_effect effect;

	if (q->bucket->name[0] == '.')
		return q->who && q->who->is_service && is_account(q, bucket_owner) ? 0 : denied(e);
	effect = policy_says(q);
	if (effect == POLICY_DENY && !(is_account(q, bucket_owner) && repairs_policy(q->action)))
		return denied(e);
	if (is_account(q, owner) || is_account(q, q->initiator_id))
		return 0;
	if (effect == POLICY_ALLOW && strings_equal(owner, bucket_owner) && !is_restricted(q))
		return 0;
	return acl_grants(q) ? 0 : denied(e);
}

/* -- requests -- */

static struct question
question_of(struct request *rq, const struct bucket *bucket, const struct object *o)
{
	const struct s3_operation *operation = rq->operation;
	bool has_version = operation->version_action && request_parameter(rq, "versionId");

	return (struct question){ .walrus = rq->walrus,
		.rq = rq,
		.who = rq->is_anonymous ? NULL : &rq->caller,
		.action = has_version ? operation->version_action : operation->action,
		.permission = operation->permission,
		.bucket = bucket,
		.key = rq->target.key,
		.object = o };
}

/* Whose bucket the client believes it to be. */
static int
check_expected_owner(
    const struct request *rq, const char *name, const struct bucket *bucket, struct err *e)
{
	struct str expected = request_header(rq, name);
	uint64_t number;

	if (!expected.p)
		return 0;
	if (expected.n != 12 || !str_to_u64(expected, &number))
		return err_set(e, ERR_BUCKET_OWNER_ID,
		    "The value of the expected bucket owner parameter must be an AWS account ID");
	return str_is(expected, bucket->account_id) ? 0 : denied(e);
}

int
access_request(struct request *rq, struct err *e)
{
	struct question q;
	int r;

	if (rq->operation->level == TARGET_SERVICE || rq->operation->flags & S3_ANY_BUCKET)
		return rq->is_anonymous ? denied(e) : 0;
	r = check_expected_owner(rq, "x-amz-expected-bucket-owner", rq->bucket, e);
	if (r < 0)
		return r;
	q = question_of(rq, rq->bucket, NULL);
	/* What depends on the row, or on each of many keys, is asked when they are known. */
	if (rq->bucket->name[0] != '.' &&
	    rq->operation->flags & (S3_OBJECT_ACL | S3_EACH_KEY | S3_UPLOAD))
		return 0;
	return decide(&q, e);
}

int
access_object(struct request *rq, const struct object *o, struct err *e)
{
	struct question q = question_of(rq, rq->bucket, o);

	return decide(&q, e);
}

/* "Multipart upload API and permissions" of the S3 user guide: who began it may list its parts and
 * give it up, the bucket's owner may, and whom a policy allows it to. */
int
access_upload(struct request *rq, const char *initiator_id, struct err *e)
{
	struct question q = question_of(rq, rq->bucket, NULL);

	q.initiator_id = initiator_id;
	return decide(&q, e);
}

/* That something is not there is told to those who could see it in a list. */
int
access_missing(struct request *rq, struct err *e)
{
	struct question q = question_of(rq, rq->bucket, NULL);
	struct err refused;
	int code = e->code;

	if (q.bucket->name[0] != '.' && policy_says(&q) == POLICY_DENY)
		return denied(e);
	q.action = code == ERR_VERSION_NOT_FOUND ? "s3:ListBucketVersions" : "s3:ListBucket";
	q.permission = PERMISSION_READ;
	q.key = (struct str){ NULL, 0 };
	return decide(&q, &refused) < 0 ? denied(e) : code;
}

int
access_action(struct request *rq, const char *action, enum permission permission,
    const struct bucket *bucket, struct str key, const struct object *o, struct err *e)
{
	struct question q = question_of(rq, bucket, o);
	int r = 0;

	if (rq->operation->flags & S3_COPY && permission == PERMISSION_READ)
		r = check_expected_owner(rq, "x-amz-source-expected-bucket-owner", bucket, e);
	if (r < 0)
		return r;
	q.action = action;
	q.permission = permission;
	q.key = key;
	return decide(&q, e);
}

const char *
access_owner(const struct request *rq)
{
	const char *bucket_owner = rq->bucket->account_id;

	if (rq->is_anonymous)
		return bucket_owner;
	switch (ownership_of(rq->bucket)) {
	case OWNERSHIP_WRITER:
		break;
	case OWNERSHIP_PREFERRED:
		if (str_is(request_header(rq, "x-amz-acl"), "bucket-owner-full-control"))
			return bucket_owner;
		break;
	case OWNERSHIP_ENFORCED:
	case OWNERSHIP_MAX:
		return bucket_owner;
	}
	return rq->caller.account_id;
}

/* -- walrus itself -- */

int
access_log_delivery(struct walrus *w, const struct bucket *source, const struct bucket *target,
    struct str key, struct err *e)
{
	struct question q = { .walrus = w,
		.logged = source,
		.action = "s3:PutObject",
		.permission = PERMISSION_WRITE,
		.bucket = target,
		.key = key };

	return decide(&q, e);
}

/* -- other daemons -- */

int
access_as(struct walrus *w, const char *account_id, bool is_service, const char *action,
    const struct bucket *bucket, struct str key, const struct object *o, struct err *e)
{
	struct auth_key who = { .is_service = is_service };
	struct question q = { .walrus = w,
		.who = &who,
		.action = action,
		.permission = o ? PERMISSION_READ : PERMISSION_WRITE,
		.bucket = bucket,
		.key = key,
		.object = o };

	(void)snprintf(who.account_id, sizeof(who.account_id), "%s", account_id);
	return decide(&q, e);
}
