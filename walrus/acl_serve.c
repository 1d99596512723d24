/* ACLs that are asked for, and PUTs of them: operations on buckets and objects. */
#include "access.h"
#include "acl_request.h"
#include "object.h"
#include "ownership.h"
#include "schema.h"

static int
read_body(struct request *rq, const char *owner_id, struct acl *ret, struct err *e)
{
	const struct acl_resolver resolver = { acl_account_of, NULL, rq };
	struct acl_argument bad = { NULL, { NULL, 0 } };
	const char *named;
	struct str owner;
	int r = acl_from_xml(strbuf_str(&rq->body), &resolver, rq->arena, ret, &owner, &bad, e);

	if (r == ERR_INVALID_ARGUMENT)
		acl_blame(rq, bad);
	if (r < 0)
		return r;
	named = acl_account_of(rq, owner);
	if (!named) {
		acl_blame(rq, (struct acl_argument){ "CanonicalUser/ID", owner });
		return err_set(e, ERR_INVALID_ARGUMENT, "Invalid id");
	}
	/* An ACL does not change whose something is. */
	return strings_equal(named, owner_id) ? 0 : err_set(e, ERR_ACCESS_DENIED, "Access Denied");
}

static int
read_acl(struct request *rq, const struct acl_subject *subject, char **ret, struct err *e)
{
	struct acl *acl = arena_alloc(rq->arena, sizeof(*acl));
	int r = acl_read_headers(rq, subject, acl, e);

	if (r < 0)
		return r;
	if (r > 0 && rq->body.n)
		return err_set(e, ERR_UNEXPECTED_CONTENT, "This request does not support content");
	if (r == 0 && rq->body.n == 0) {
		err_detail(&rq->details, "MissingHeaderName", STR("x-amz-acl"));
		return err_set(
		    e, ERR_MISSING_SECURITY_HEADER, "Your request was missing a required header");
	}
	r = r > 0 ? 0 : read_body(rq, subject->owner_id, acl, e);
	if (r == 0)
		r = acl_check(rq->bucket, acl, e);
	if (r == 0)
		*ret = acl_format(acl, subject->owner_id, rq->arena);
	return r;
}

static void
name_owner(void *arg, const char *account_id, struct acl_owner *ret)
{
	struct request *rq = arg;
	struct identity_owner owner;

	identity_owner(rq->walrus->identity, account_id, &owner);
	memcpy(ret->canonical_id, owner.canonical_id, sizeof(ret->canonical_id));
	memcpy(ret->name, owner.name, sizeof(ret->name));
}

static void
reply_acl(struct request *rq, const struct acl *acl, const char *owner_id)
{
	struct xml_writer *w = reply_xml(rq, "AccessControlPolicy");

	acl_write(w, acl, owner_id, name_owner, rq);
	reply_xml_end(rq, "AccessControlPolicy");
}

int
acl_get_bucket(struct request *rq, struct err *e)
{
	reply_acl(rq, rq->bucket->settings[SETTING_ACL], rq->bucket->account_id);
	return 0;
}

int
acl_put_bucket(struct request *rq, struct err *e)
{
	const char *owner_id = rq->bucket->account_id;
	const struct acl_subject subject = { owner_id, owner_id, true };
	char *text = NULL;
	int r = read_acl(rq, &subject, &text, e);

	return r < 0 ? r : setting_store(rq, SETTING_ACL, text, e);
}

/* -- objects -- */

struct object_acl {
	struct request *rq;
	struct object object;
	const char *acl;
};

static int
find(struct store_tx *tx, void *arg, struct err *e)
{
	struct object_acl *a = arg;
	struct object_name name = object_name_of(a->rq);

	return object_find(tx, &name, a->rq->arena, &a->object, e);
}

/* The version that is meant, if the caller may. */
static int
open_object(struct object_acl *a, struct err *e)
{
	struct request *rq = a->rq;
	int r = store_read(rq->walrus->store, find, a, e);

	if (r == ERR_KEY_NOT_FOUND || r == ERR_VERSION_NOT_FOUND)
		return access_missing(rq, e);
	if (r == 0)
		r = access_object(rq, &a->object, e);
	if (r == 0 && a->object.is_marker && object_name_of(rq).version_id)
		return err_set(e, ERR_METHOD_NOT_ALLOWED,
		    "The specified method is not allowed against this resource.");
	if (r == 0 && a->object.is_marker)
		return err_set(e, ERR_KEY_NOT_FOUND, "The specified key does not exist.");
	return r;
}

static const char *
owner_of(const struct object_acl *a)
{
	const struct bucket *bucket = a->rq->bucket;

	return ownership_of(bucket) == OWNERSHIP_ENFORCED ? bucket->account_id
							  : a->object.account_id;
}

int
acl_get_object(struct request *rq, struct err *e)
{
	struct object_acl a = { .rq = rq };
	struct acl *acl = NULL;
	int r = open_object(&a, e);

	if (r < 0)
		return r;
	if (a.object.attributes.acl && ownership_of(rq->bucket) != OWNERSHIP_ENFORCED) {
		acl = arena_alloc(rq->arena, sizeof(*acl));
		if (!acl_parse(str_of(a.object.attributes.acl), acl, rq->arena))
			return err_set(e, ERR_CORRUPT, "the object's ACL can't be read");
	}
	object_reply_version(rq, a.object.version_id);
	reply_acl(rq, acl, owner_of(&a));
	return 0;
}

static int
set_acl(struct store_tx *tx, void *arg, struct err *e)
{
	const struct object_acl *a = arg;
	const struct bucket *bucket = a->rq->bucket;
	const struct change_origin origin = { .rq = a->rq };
	const struct object_change change = { .what = "changed",
		.event = "ObjectAcl:Put",
		.key = a->object.key,
		.version_id = a->object.version_id,
		.etag = a->object.etag,
		.size_bytes = a->object.size_bytes,
		.origin = &origin };
	int64_t changed = 0;
	int r = bucket_check(tx, bucket, e);

	if (r == 0)
		r = store_exec(tx, Q_OBJECT_SET_ACL, &changed, e, bucket->id, a->object.key,
		    a->object.position, a->acl);
	if (r == 0 && changed == 0)
		return err_set(e, ERR_CONFLICT, "the object was replaced meanwhile");
	return r < 0 ? r : object_event(tx, bucket, &change, e);
}

int
acl_put_object(struct request *rq, struct err *e)
{
	struct object_acl a = { .rq = rq };
	struct acl_subject subject = { .bucket_owner_id = rq->bucket->account_id };
	char *text = NULL;
	int r = open_object(&a, e);

	if (r < 0)
		return r;
	subject.owner_id = owner_of(&a);
	r = read_acl(rq, &subject, &text, e);
	if (r < 0)
		return r;
	object_reply_version(rq, a.object.version_id);
	a.acl = text;
	/* Where ACLs are off, what was granted before they were comes back when they are on again.
	 */
	if (ownership_of(rq->bucket) == OWNERSHIP_ENFORCED)
		return 0;
	return store_write(rq->walrus->store, set_acl, &a, e);
}
