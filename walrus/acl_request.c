/* An ACL comes as the name of a canned one, as grants in headers, or as a document in the body: one
 * of the three. Where the bucket's owner owns everything ACLs are off, and only those are taken
 * that mean nothing else. */
#include "acl_request.h"

#include "access.h"
#include "object.h"
#include "ownership.h"
#include "public_access.h"
#include "schema.h"

static int
denied(struct err *e)
{
	return err_set(e, ERR_ACCESS_DENIED, "Access Denied");
}

static int
not_supported(struct err *e)
{
	return err_set(e, ERR_ACL_NOT_SUPPORTED, "The bucket does not allow ACLs");
}

/* Which argument was wrong, for the error's body. */
static void
blame(struct request *rq, struct acl_argument argument)
{
	err_detail(&rq->details, "ArgumentName", str_of(argument.name));
	err_detail(&rq->details, "ArgumentValue", argument.value);
}

/* -- from headers -- */

static const char *
account_of(void *arg, struct str canonical_id)
{
	struct request *rq = arg;
	char id[ACCOUNT_ID_SIZE];

	return identity_account_of(rq->walrus->identity, canonical_id, id)
		   ? arena_strdup(rq->arena, id)
		   : NULL;
}

static bool
has_grant_headers(const struct request *rq)
{
	for (unsigned i = 0; i < ACL_HEADER_COUNT; i++)
		if (request_header(rq, acl_headers[i]).p)
			return true;
	return false;
}

static int
add_headers(struct request *rq, struct acl *acl, struct acl_argument *bad, struct err *e)
{
	const struct acl_resolver resolver = { account_of, NULL, rq };
	int r = 0;

	acl->count = 0;
	for (unsigned i = 0; r == 0 && i < ACL_HEADER_COUNT; i++) {
		struct str value = request_header(rq, acl_headers[i]);

		if (value.p)
			r = acl_add_header(acl, i, value, &resolver, bad, e);
	}
	return r;
}

/* 1: the headers say this ACL; 0: they say nothing. */
static int
read_headers(struct request *rq, const struct acl_subject *subject, struct acl *ret, struct err *e)
{
	struct str canned = request_header(rq, "x-amz-acl");
	bool has_grants = has_grant_headers(rq);
	struct acl_argument bad = { NULL, { NULL, 0 } };
	int r;

	if (canned.p && has_grants)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Specifying both Canned ACLs and Header Grants is not allowed");
	if (!canned.p && !has_grants)
		return 0;
	r = canned.p ? acl_from_canned(canned, subject, ret, &bad, e)
		     : add_headers(rq, ret, &bad, e);
	if (r == ERR_INVALID_ARGUMENT)
		blame(rq, bad);
	return r < 0 ? r : 1;
}

/* Without ACLs: the one that says what is so anyway. */
static int
check_enforced(const struct bucket *bucket, const struct acl *acl, struct err *e)
{
	for (unsigned i = 0; i < acl->count; i++)
		if (acl->grants[i].grantee != ACL_ACCOUNT ||
		    acl->grants[i].permission != PERMISSION_FULL_CONTROL ||
		    !strings_equal(acl->grants[i].account_id, bucket->account_id))
			return not_supported(e);
	return acl->count ? 0 : not_supported(e);
}

static int
check_acl(const struct bucket *bucket, const struct acl *acl, struct err *e)
{
	if (ownership_of(bucket) == OWNERSHIP_ENFORCED)
		return check_enforced(bucket, acl, e);
	if (public_access_of(bucket)->block_acls && acl_is_public(acl))
		return denied(e);
	return 0;
}

int
acl_of_object(struct request *rq, char **ret, struct err *e)
{
	const struct bucket *bucket = rq->bucket;
	const struct acl_subject subject = { access_owner(rq), bucket->account_id, false };
	struct acl *acl = arena_alloc(rq->arena, sizeof(*acl));
	int r = read_headers(rq, &subject, acl, e);

	*ret = NULL;
	if (r <= 0)
		return r;
	r = check_acl(bucket, acl, e);
	if (r == 0)
		r = access_action(
		    rq, "s3:PutObjectAcl", PERMISSION_WRITE, bucket, rq->target.key, NULL, e);
	if (r == 0)
		*ret = acl_format(acl, subject.owner_id, rq->arena);
	return r;
}

int
acl_of_new_bucket(struct request *rq, struct bucket *b, struct err *e)
{
	const struct acl_subject subject = { b->account_id, b->account_id, true };
	const struct walrus_conf *conf = rq->walrus->conf;
	struct str wanted = request_header(rq, "x-amz-object-ownership");
	struct acl *acl = arena_alloc(rq->arena, sizeof(*acl));
	enum ownership ownership = OWNERSHIP_WRITER;
	bool is_asked_for = wanted.p != NULL;
	int r = read_headers(rq, &subject, acl, e);

	if (r < 0)
		return r;
	if (!is_asked_for)
		wanted = str_of(conf->object_ownership);
	if (!ownership_from_name(wanted, &ownership)) {
		blame(rq, (struct acl_argument){ "x-amz-object-ownership", wanted });
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Invalid x-amz-object-ownership header: %.*s", (int)wanted.n, wanted.p);
	}
	if (r > 0)
		b->documents[SETTING_ACL] = acl_format(acl, b->account_id, rq->arena);
	if (ownership == OWNERSHIP_ENFORCED && b->documents[SETTING_ACL])
		return err_set(e, ERR_ACL_WITH_OWNERSHIP,
		    "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced "
		    "setting");
	if (conf->block_public_access && r > 0 && acl_is_public(acl))
		return denied(e);
	if (is_asked_for || ownership != OWNERSHIP_WRITER)
		b->documents[SETTING_OWNERSHIP] = ownership_document(ownership, rq->arena);
	if (conf->block_public_access)
		b->documents[SETTING_PUBLIC_ACCESS] = public_access_document(rq->arena);
	return 0;
}

/* -- of a PUT of the ACL itself -- */

static int
read_body(struct request *rq, const char *owner_id, struct acl *ret, struct err *e)
{
	const struct acl_resolver resolver = { account_of, NULL, rq };
	struct acl_argument bad = { NULL, { NULL, 0 } };
	const char *named;
	struct str owner;
	int r = acl_from_xml(strbuf_str(&rq->body), &resolver, rq->arena, ret, &owner, &bad, e);

	if (r == ERR_INVALID_ARGUMENT)
		blame(rq, bad);
	if (r < 0)
		return r;
	named = account_of(rq, owner);
	if (!named) {
		blame(rq, (struct acl_argument){ "CanonicalUser/ID", owner });
		return err_set(e, ERR_INVALID_ARGUMENT, "Invalid id");
	}
	/* An ACL does not change whose something is. */
	return strings_equal(named, owner_id) ? 0 : denied(e);
}

static int
read_acl(struct request *rq, const struct acl_subject *subject, char **ret, struct err *e)
{
	struct acl *acl = arena_alloc(rq->arena, sizeof(*acl));
	int r = read_headers(rq, subject, acl, e);

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
		r = check_acl(rq->bucket, acl, e);
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
