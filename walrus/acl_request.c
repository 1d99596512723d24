/* ACLs that requests bring: as the name of a canned one, as grants in headers, or as a document in
 * the body (acl_serve.c); one of the three. Where the bucket's owner owns everything ACLs are off,
 * and only those are taken that mean nothing else. */
#include "acl_request.h"

#include "access.h"
#include "ownership.h"
#include "public_access.h"

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

void
acl_blame(struct request *rq, struct acl_argument argument)
{
	err_detail(&rq->details, "ArgumentName", str_of(argument.name));
	err_detail(&rq->details, "ArgumentValue", argument.value);
}

/* -- from headers -- */

const char *
acl_account_of(void *arg, struct str canonical_id)
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
	const struct acl_resolver resolver = { acl_account_of, NULL, rq };
	int r = 0;

	acl->count = 0;
	for (unsigned i = 0; r == 0 && i < ACL_HEADER_COUNT; i++) {
		struct str value = request_header(rq, acl_headers[i]);

		if (value.p)
			r = acl_add_header(acl, i, value, &resolver, bad, e);
	}
	return r;
}

int
acl_read_headers(
    struct request *rq, const struct acl_subject *subject, struct acl *ret, struct err *e)
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
		acl_blame(rq, bad);
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

int
acl_check(const struct bucket *bucket, const struct acl *acl, struct err *e)
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
	int r = acl_read_headers(rq, &subject, acl, e);

	*ret = NULL;
	if (r <= 0)
		return r;
	r = acl_check(bucket, acl, e);
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
	int r = acl_read_headers(rq, &subject, acl, e);

	if (r < 0)
		return r;
	if (!is_asked_for)
		wanted = str_of(conf->object_ownership);
	if (!ownership_from_name(wanted, &ownership)) {
		acl_blame(rq, (struct acl_argument){ "x-amz-object-ownership", wanted });
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
