/* S3 as a service that policies speak of: "Actions, resources, and condition keys for Amazon S3" of
 * the service authorization reference. Actions of what this store does not do are here as well: a
 * policy that was written for Amazon must be taken. */
#include "bucket_policy.h"

#include "bucket.h"
#include "public_access.h"
#include "request.h"

#define ARN "arn:aws:s3:::"
enum { BUCKET = 1, OBJECT = 2, ELSEWHERE = 4 };

static const struct policy_action actions[] = {
	{ "s3:AbortMultipartUpload", OBJECT },
	{ "s3:BypassGovernanceRetention", OBJECT },
	{ "s3:CreateBucket", BUCKET },
	{ "s3:DeleteBucket", BUCKET },
	{ "s3:DeleteBucketOwnershipControls", BUCKET },
	{ "s3:DeleteBucketPolicy", BUCKET },
	{ "s3:DeleteBucketWebsite", BUCKET },
	{ "s3:DeleteObject", OBJECT },
	{ "s3:DeleteObjectTagging", OBJECT },
	{ "s3:DeleteObjectVersion", OBJECT },
	{ "s3:DeleteObjectVersionTagging", OBJECT },
	{ "s3:GetAccelerateConfiguration", BUCKET },
	{ "s3:GetAccountPublicAccessBlock", ELSEWHERE },
	{ "s3:GetAnalyticsConfiguration", BUCKET },
	{ "s3:GetBucketAcl", BUCKET },
	{ "s3:GetBucketCORS", BUCKET },
	{ "s3:GetBucketLocation", BUCKET },
	{ "s3:GetBucketLogging", BUCKET },
	{ "s3:GetBucketNotification", BUCKET },
	{ "s3:GetBucketObjectLockConfiguration", BUCKET },
	{ "s3:GetBucketOwnershipControls", BUCKET },
	{ "s3:GetBucketPolicy", BUCKET },
	{ "s3:GetBucketPolicyStatus", BUCKET },
	{ "s3:GetBucketPublicAccessBlock", BUCKET },
	{ "s3:GetBucketRequestPayment", BUCKET },
	{ "s3:GetBucketTagging", BUCKET },
	{ "s3:GetBucketVersioning", BUCKET },
	{ "s3:GetBucketWebsite", BUCKET },
	{ "s3:GetEncryptionConfiguration", BUCKET },
	{ "s3:GetIntelligentTieringConfiguration", BUCKET },
	{ "s3:GetInventoryConfiguration", BUCKET },
	{ "s3:GetLifecycleConfiguration", BUCKET },
	{ "s3:GetMetricsConfiguration", BUCKET },
	{ "s3:GetObject", OBJECT },
	{ "s3:GetObjectAcl", OBJECT },
	{ "s3:GetObjectAttributes", OBJECT },
	{ "s3:GetObjectLegalHold", OBJECT },
	{ "s3:GetObjectRetention", OBJECT },
	{ "s3:GetObjectTagging", OBJECT },
	{ "s3:GetObjectTorrent", OBJECT },
	{ "s3:GetObjectVersion", OBJECT },
	{ "s3:GetObjectVersionAcl", OBJECT },
	{ "s3:GetObjectVersionAttributes", OBJECT },
	{ "s3:GetObjectVersionForReplication", OBJECT },
	{ "s3:GetObjectVersionTagging", OBJECT },
	{ "s3:GetObjectVersionTorrent", OBJECT },
	{ "s3:GetReplicationConfiguration", BUCKET },
	{ "s3:InitiateReplication", OBJECT },
	{ "s3:ListAllMyBuckets", ELSEWHERE },
	{ "s3:ListBucket", BUCKET },
	{ "s3:ListBucketMultipartUploads", BUCKET },
	{ "s3:ListBucketVersions", BUCKET },
	{ "s3:ListMultipartUploadParts", OBJECT },
	{ "s3:ObjectOwnerOverrideToBucketOwner", OBJECT },
	{ "s3:PutAccelerateConfiguration", BUCKET },
	{ "s3:PutAnalyticsConfiguration", BUCKET },
	{ "s3:PutBucketAcl", BUCKET },
	{ "s3:PutBucketCORS", BUCKET },
	{ "s3:PutBucketLogging", BUCKET },
	{ "s3:PutBucketNotification", BUCKET },
	{ "s3:PutBucketObjectLockConfiguration", BUCKET },
	{ "s3:PutBucketOwnershipControls", BUCKET },
	{ "s3:PutBucketPolicy", BUCKET },
	{ "s3:PutBucketPublicAccessBlock", BUCKET },
	{ "s3:PutBucketRequestPayment", BUCKET },
	{ "s3:PutBucketTagging", BUCKET },
	{ "s3:PutBucketVersioning", BUCKET },
	{ "s3:PutBucketWebsite", BUCKET },
	{ "s3:PutEncryptionConfiguration", BUCKET },
	{ "s3:PutIntelligentTieringConfiguration", BUCKET },
	{ "s3:PutInventoryConfiguration", BUCKET },
	{ "s3:PutLifecycleConfiguration", BUCKET },
	{ "s3:PutMetricsConfiguration", BUCKET },
	{ "s3:PutObject", OBJECT },
	{ "s3:PutObjectAcl", OBJECT },
	{ "s3:PutObjectLegalHold", OBJECT },
	{ "s3:PutObjectRetention", OBJECT },
	{ "s3:PutObjectTagging", OBJECT },
	{ "s3:PutObjectVersionAcl", OBJECT },
	{ "s3:PutObjectVersionTagging", OBJECT },
	{ "s3:PutReplicationConfiguration", BUCKET },
	{ "s3:ReplicateDelete", OBJECT },
	{ "s3:ReplicateObject", OBJECT },
	{ "s3:ReplicateTags", OBJECT },
	{ "s3:RestoreObject", OBJECT },
};

#define LISTS "s3:ListBucket s3:ListBucketVersions"
#define ACLS "s3:CreateBucket s3:PutBucketAcl s3:PutObject s3:PutObjectAcl s3:PutObjectVersionAcl"
#define PUTS "s3:PutObject"
#define TAGGED                                                                                     \
	"s3:GetObject s3:GetObjectVersion s3:GetObjectAcl s3:GetObjectVersionAcl"                  \
	" s3:GetObjectAttributes s3:GetObjectVersionAttributes s3:*ObjectTagging"                  \
	" s3:*ObjectVersionTagging s3:PutObjectAcl s3:PutObjectVersionAcl s3:DeleteObject*"        \
	" s3:RestoreObject"
#define TAGGING "s3:PutObject s3:PutObjectTagging s3:PutObjectVersionTagging"
#define LOCKS "s3:PutObject s3:PutObjectRetention s3:PutObjectLegalHold"

static const struct policy_key keys[] = {
	{ "s3:authType", NULL },
	{ "s3:ResourceAccount", NULL },
	{ "s3:signatureAge", NULL },
	{ "s3:signatureversion", NULL },
	{ "s3:TlsVersion", NULL },
	{ "s3:x-amz-content-sha256", NULL },
	{ "s3:delimiter", LISTS },
	{ "s3:max-keys", LISTS },
	{ "s3:prefix", LISTS },
	{ "s3:ExistingObjectTag/", TAGGED },
	{ "s3:RequestObjectTag/", TAGGING },
	{ "s3:RequestObjectTagKeys", TAGGING },
	{ "s3:LocationConstraint", "s3:CreateBucket" },
	{ "s3:VersionId", "s3:*Version s3:*VersionAcl s3:*VersionTagging s3:*VersionAttributes" },
	{ "s3:if-match", "s3:PutObject s3:DeleteObject" },
	{ "s3:if-none-match", PUTS },
	{ "s3:object-lock-legal-hold", LOCKS },
	{ "s3:object-lock-mode", LOCKS },
	{ "s3:object-lock-remaining-retention-days", LOCKS },
	{ "s3:object-lock-retain-until-date", LOCKS },
	{ "s3:x-amz-acl", ACLS },
	{ "s3:x-amz-copy-source", PUTS },
	{ "s3:x-amz-grant-full-control", ACLS },
	{ "s3:x-amz-grant-read", ACLS },
	{ "s3:x-amz-grant-read-acp", ACLS },
	{ "s3:x-amz-grant-write", ACLS },
	{ "s3:x-amz-grant-write-acp", ACLS },
	{ "s3:x-amz-metadata-directive", PUTS },
	{ "s3:x-amz-object-ownership", "s3:CreateBucket s3:PutBucketOwnershipControls" },
	{ "s3:x-amz-server-side-encryption", PUTS },
	{ "s3:x-amz-server-side-encryption-aws-kms-key-id", PUTS },
	{ "s3:x-amz-server-side-encryption-customer-algorithm", PUTS },
	{ "s3:x-amz-storage-class", PUTS },
	{ "s3:x-amz-website-redirect-location", PUTS },
};

/* The bucket's ARN, what is below it, or what begins so and goes on with a star. */
static unsigned
resource_kinds(void *arg, struct str pattern)
{
	const struct request *rq = arg;
	size_t arn = strlen(ARN), n = strlen(rq->bucket->name);
	struct str rest;

	if (!str_starts(pattern, ARN))
		return 0;
	rest = (struct str){ pattern.p + arn, pattern.n - arn };
	if (!str_starts(rest, rq->bucket->name))
		return 0;
	rest = (struct str){ rest.p + n, rest.n - n };
	if (rest.n == 0)
		return BUCKET;
	return rest.p[0] == '/' ? OBJECT : rest.p[0] == '*' ? BUCKET | OBJECT : 0;
}

static bool
principal_exists(void *arg, const struct policy_principal *p)
{
	const struct request *rq = arg;
	char account_id[ACCOUNT_ID_SIZE];

	switch (p->type) {
	case POLICY_EVERYONE:
	case POLICY_SERVICE:
	case POLICY_FEDERATED:
		return true;
	case POLICY_ACCOUNT:
	case POLICY_USER: /* users are known by their keys only, and may have none yet */
	case POLICY_ROLE:
		return identity_knows(rq->walrus->identity, p->account_id);
	case POLICY_CANONICAL:
		return identity_account_of(rq->walrus->identity, str_of(p->name), account_id);
	}
	return false;
}

int
bucket_policy_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	const struct policy *policy;
	int r = policy_parse(body, POLICY_OF_RESOURCE, NULL, arena, &policy, e);

	if (r == 0)
		*ret = policy;
	return r;
}

int
bucket_policy_check(struct request *rq, const void *value, struct err *e)
{
	const struct policy_service service = { actions, ARRAY_SIZE(actions), keys,
		ARRAY_SIZE(keys), resource_kinds, principal_exists, rq };
	const struct policy *policy;
	int r;

	if (!value)
		return 0;
	r = policy_parse(
	    strbuf_str(&rq->body), POLICY_OF_RESOURCE, &service, rq->arena, &policy, e);
	if (r < 0)
		return r;
	if (public_access_of(rq->bucket)->block_policy && policy_is_public(policy))
		return err_set(e, ERR_ACCESS_DENIED, "Access Denied");
	return 0;
}

int
bucket_policy_status(struct request *rq, struct err *e)
{
	const struct policy *policy = rq->bucket->settings[SETTING_POLICY];
	struct xml_writer *w;

	if (!policy)
		return err_set(e, ERR_POLICY_NOT_FOUND, "The bucket policy does not exist");
	w = reply_xml(rq, "PolicyStatus");
	xml_element(w, "IsPublic", policy_is_public(policy) ? "true" : "false");
	reply_xml_end(rq, "PolicyStatus");
	return 0;
}
