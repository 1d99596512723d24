/* What walrus can do for its users: one row per operation of the S3 API. Names, actions and
 * permissions: "Actions, resources, and condition keys for Amazon S3" and "ACL overview" of the S3
 * user guide. */
#include "acl_request.h"
#include "bucket.h"
#include "bucket_policy.h"
#include "cors.h"
#include "lifecycle.h"
#include "list.h"
#include "lock.h"
#include "multipart.h"
#include "notification.h"
#include "object.h"
#include "post.h"
#include "request.h"
#include "setting.h"

#define XML_MAX S3_XML_BODY_MAX
#define SETTING_BYTES (256 * 1024) /* kept as they came, with the bucket, in memory too */
#define BYTES_MAX S3_OBJECT_MAX
#define FORM_MAX                                                                                   \
	(S3_OBJECT_MAX + 65536) /* with its fields and what browsers put behind the file           \
				 */
#define S TARGET_SERVICE
#define B TARGET_BUCKET
#define O TARGET_OBJECT
#define NONE PERMISSION_NONE
#define READ PERMISSION_READ
#define WRITE PERMISSION_WRITE

const struct s3_operation s3_operations[] = {
	{ "ListBuckets", "GET", S, NULL, "s3:ListAllMyBuckets", NULL, NONE, 0, 0, bucket_list_all },

	/* buckets */
	{ "CreateBucket", "PUT", B, NULL, "s3:CreateBucket", NULL, NONE, S3_ANY_BUCKET, XML_MAX,
	    bucket_create },
	{ "HeadBucket", "HEAD", B, NULL, "s3:ListBucket", NULL, READ, 0, 0, bucket_head },
	{ "DeleteBucket", "DELETE", B, NULL, "s3:DeleteBucket", NULL, NONE, 0, 0, bucket_delete },
	{ "GetBucketLocation", "GET", B, "location", "s3:GetBucketLocation", NULL, NONE, 0, 0,
	    bucket_location },

	/* their settings */
	{ "GetBucketAcl", "GET", B, "acl", "s3:GetBucketAcl", NULL, PERMISSION_READ_ACP, 0, 0,
	    acl_get_bucket },
	{ "PutBucketAcl", "PUT", B, "acl", "s3:PutBucketAcl", NULL, PERMISSION_WRITE_ACP, 0,
	    XML_MAX, acl_put_bucket },

	{ "GetBucketOwnershipControls", "GET", B, "ownershipControls",
	    "s3:GetBucketOwnershipControls", NULL, NONE, 0, 0, setting_get },
	{ "PutBucketOwnershipControls", "PUT", B, "ownershipControls",
	    "s3:PutBucketOwnershipControls", NULL, NONE, 0, SETTING_BYTES, setting_put },
	{ "DeleteBucketOwnershipControls", "DELETE", B, "ownershipControls",
	    "s3:PutBucketOwnershipControls", NULL, NONE, 0, 0, setting_delete },

	{ "GetBucketPolicy", "GET", B, "policy", "s3:GetBucketPolicy", NULL, NONE, 0, 0,
	    setting_get },
	{ "PutBucketPolicy", "PUT", B, "policy", "s3:PutBucketPolicy", NULL, NONE, 0, XML_MAX,
	    setting_put },
	{ "DeleteBucketPolicy", "DELETE", B, "policy", "s3:DeleteBucketPolicy", NULL, NONE, 0, 0,
	    setting_delete },
	{ "GetBucketPolicyStatus", "GET", B, "policyStatus", "s3:GetBucketPolicyStatus", NULL, NONE,
	    0, 0, bucket_policy_status },

	{ "GetPublicAccessBlock", "GET", B, "publicAccessBlock", "s3:GetBucketPublicAccessBlock",
	    NULL, NONE, 0, 0, setting_get },
	{ "PutPublicAccessBlock", "PUT", B, "publicAccessBlock", "s3:PutBucketPublicAccessBlock",
	    NULL, NONE, 0, SETTING_BYTES, setting_put },
	{ "DeletePublicAccessBlock", "DELETE", B, "publicAccessBlock",
	    "s3:PutBucketPublicAccessBlock", NULL, NONE, 0, 0, setting_delete },

	{ "GetBucketVersioning", "GET", B, "versioning", "s3:GetBucketVersioning", NULL, NONE, 0, 0,
	    bucket_get_versioning },
	{ "PutBucketVersioning", "PUT", B, "versioning", "s3:PutBucketVersioning", NULL, NONE, 0,
	    XML_MAX, bucket_put_versioning },

	{ "GetObjectLockConfiguration", "GET", B, "object-lock",
	    "s3:GetBucketObjectLockConfiguration", NULL, NONE, 0, 0, setting_get },
	{ "PutObjectLockConfiguration", "PUT", B, "object-lock",
	    "s3:PutBucketObjectLockConfiguration", NULL, NONE, 0, XML_MAX, lock_put_configuration },
	{ "GetBucketEncryption", "GET", B, "encryption", "s3:GetEncryptionConfiguration", NULL,
	    NONE, 0, 0, setting_get },
	{ "PutBucketEncryption", "PUT", B, "encryption", "s3:PutEncryptionConfiguration", NULL,
	    NONE, 0, SETTING_BYTES, setting_put },
	{ "DeleteBucketEncryption", "DELETE", B, "encryption", "s3:PutEncryptionConfiguration",
	    NULL, NONE, 0, 0, setting_delete },

	{ "GetBucketAccelerateConfiguration", "GET", B, "accelerate",
	    "s3:GetAccelerateConfiguration", NULL, NONE, 0, 0, setting_get },
	{ "PutBucketAccelerateConfiguration", "PUT", B, "accelerate",
	    "s3:PutAccelerateConfiguration", NULL, NONE, 0, SETTING_BYTES, setting_put },
	{ "GetBucketCors", "GET", B, "cors", "s3:GetBucketCORS", NULL, NONE, 0, 0, setting_get },
	{ "PutBucketCors", "PUT", B, "cors", "s3:PutBucketCORS", NULL, NONE, 0, SETTING_BYTES,
	    setting_put },
	{ "DeleteBucketCors", "DELETE", B, "cors", "s3:PutBucketCORS", NULL, NONE, 0, 0,
	    setting_delete },

	{ "GetBucketLifecycleConfiguration", "GET", B, "lifecycle", "s3:GetLifecycleConfiguration",
	    NULL, NONE, 0, 0, setting_get },
	{ "PutBucketLifecycleConfiguration", "PUT", B, "lifecycle", "s3:PutLifecycleConfiguration",
	    NULL, NONE, 0, XML_MAX, lifecycle_put },
	{ "DeleteBucketLifecycle", "DELETE", B, "lifecycle", "s3:PutLifecycleConfiguration", NULL,
	    NONE, 0, 0, setting_delete },
	{ "GetBucketLogging", "GET", B, "logging", "s3:GetBucketLogging", NULL, NONE, 0, 0,
	    setting_get },
	{ "PutBucketLogging", "PUT", B, "logging", "s3:PutBucketLogging", NULL, NONE, 0,
	    SETTING_BYTES, setting_put },
	{ "GetBucketNotificationConfiguration", "GET", B, "notification",
	    "s3:GetBucketNotification", NULL, NONE, 0, 0, setting_get },
	{ "PutBucketNotificationConfiguration", "PUT", B, "notification",
	    "s3:PutBucketNotification", NULL, NONE, 0, SETTING_BYTES, notification_put },
	{ "GetBucketRequestPayment", "GET", B, "requestPayment", "s3:GetBucketRequestPayment", NULL,
	    NONE, 0, 0, setting_get },
	{ "PutBucketRequestPayment", "PUT", B, "requestPayment", "s3:PutBucketRequestPayment", NULL,
	    NONE, 0, SETTING_BYTES, setting_put },
	{ "GetBucketTagging", "GET", B, "tagging", "s3:GetBucketTagging", NULL, NONE, 0, 0,
	    setting_get },
	{ "PutBucketTagging", "PUT", B, "tagging", "s3:PutBucketTagging", NULL, NONE, 0,
	    SETTING_BYTES, setting_put },
	{ "DeleteBucketTagging", "DELETE", B, "tagging", "s3:PutBucketTagging", NULL, NONE, 0, 0,
	    setting_delete },
	{ "GetBucketWebsite", "GET", B, "website", "s3:GetBucketWebsite", NULL, NONE, 0, 0,
	    setting_get },
	{ "PutBucketWebsite", "PUT", B, "website", "s3:PutBucketWebsite", NULL, NONE, 0,
	    SETTING_BYTES, setting_put },
	{ "DeleteBucketWebsite", "DELETE", B, "website", "s3:DeleteBucketWebsite", NULL, NONE, 0, 0,
	    setting_delete },

	/* lists */
	{ "ListObjects", "GET", B, NULL, "s3:ListBucket", NULL, READ, 0, 0, list_objects },
	{ "ListObjectVersions", "GET", B, "versions", "s3:ListBucketVersions", NULL, READ, 0, 0,
	    list_versions },
	{ "ListMultipartUploads", "GET", B, "uploads", "s3:ListBucketMultipartUploads", NULL, READ,
	    0, 0, multipart_list_uploads },

	/* objects */
	{ "PutObject", "PUT", O, NULL, "s3:PutObject", NULL, WRITE, S3_NEEDS_LENGTH, BYTES_MAX,
	    object_put_run, object_put_begin, object_put_data, object_put_done, object_put_commit,
	    object_put_answer },
	{ "PostObject", "POST", B, NULL, "s3:PutObject", NULL, WRITE, S3_FORM, FORM_MAX, post_run,
	    post_begin, object_put_data, post_done, object_put_commit, post_answer },
	{ "GetObject", "GET", O, NULL, "s3:GetObject", "s3:GetObjectVersion", READ, S3_OBJECT_ACL,
	    0, object_get },
	{ "HeadObject", "HEAD", O, NULL, "s3:GetObject", "s3:GetObjectVersion", READ, S3_OBJECT_ACL,
	    0, object_get },
	{ "GetObjectAttributes", "GET", O, "attributes", "s3:GetObjectAttributes",
	    "s3:GetObjectVersionAttributes", READ, S3_OBJECT_ACL, 0, object_attributes },
	{ "CopyObject", "PUT", O, NULL, "s3:PutObject", NULL, WRITE, S3_COPY | S3_OBJECT_CHECKSUM,
	    0, object_copy },
	{ "OptionsObject", "OPTIONS", O, NULL, NULL, NULL, NONE, S3_ANY_BUCKET, 0, cors_preflight },
	{ "DeleteObject", "DELETE", O, NULL, "s3:DeleteObject", "s3:DeleteObjectVersion", WRITE, 0,
	    0, object_delete },
	{ "DeleteObjects", "POST", B, "delete", "s3:DeleteObject", NULL, WRITE, S3_EACH_KEY,
	    XML_MAX, object_delete_many },

	{ "GetObjectAcl", "GET", O, "acl", "s3:GetObjectAcl", "s3:GetObjectVersionAcl",
	    PERMISSION_READ_ACP, S3_OBJECT_ACL, 0, acl_get_object },
	{ "PutObjectAcl", "PUT", O, "acl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl",
	    PERMISSION_WRITE_ACP, S3_OBJECT_ACL, XML_MAX, acl_put_object },

	/* locks of objects */
	{ "GetObjectRetention", "GET", O, "retention", "s3:GetObjectRetention", NULL, NONE, 0, 0,
	    lock_get_retention },
	{ "PutObjectRetention", "PUT", O, "retention", "s3:PutObjectRetention", NULL, NONE, 0,
	    XML_MAX, lock_put_retention },
	{ "GetObjectLegalHold", "GET", O, "legal-hold", "s3:GetObjectLegalHold", NULL, NONE, 0, 0,
	    lock_get_legal_hold },
	{ "PutObjectLegalHold", "PUT", O, "legal-hold", "s3:PutObjectLegalHold", NULL, NONE, 0,
	    XML_MAX, lock_put_legal_hold },

	/* their tags */
	{ "GetObjectTagging", "GET", O, "tagging", "s3:GetObjectTagging",
	    "s3:GetObjectVersionTagging", NONE, S3_OBJECT_ACL, 0, object_get_tags },
	{ "PutObjectTagging", "PUT", O, "tagging", "s3:PutObjectTagging",
	    "s3:PutObjectVersionTagging", NONE, S3_OBJECT_ACL, XML_MAX, object_put_tags },
	{ "DeleteObjectTagging", "DELETE", O, "tagging", "s3:DeleteObjectTagging",
	    "s3:DeleteObjectVersionTagging", NONE, S3_OBJECT_ACL, 0, object_delete_tags },

	/* uploads */
	{ "CreateMultipartUpload", "POST", O, "uploads", "s3:PutObject", NULL, WRITE, 0, 0,
	    multipart_create },
	{ "UploadPart", "PUT", O, "uploadId", "s3:PutObject", NULL, WRITE, S3_NEEDS_LENGTH,
	    BYTES_MAX, multipart_part_run, multipart_part_begin, multipart_part_data,
	    multipart_part_done },
	{ "UploadPartCopy", "PUT", O, "uploadId", "s3:PutObject", NULL, WRITE,
	    S3_COPY | S3_OBJECT_CHECKSUM, 0, multipart_part_copy },
	{ "CompleteMultipartUpload", "POST", O, "uploadId", "s3:PutObject", NULL, WRITE,
	    S3_OBJECT_CHECKSUM, XML_MAX, multipart_complete },
	{ "AbortMultipartUpload", "DELETE", O, "uploadId", "s3:AbortMultipartUpload", NULL, NONE,
	    S3_UPLOAD, 0, multipart_abort },
	{ "ListParts", "GET", O, "uploadId", "s3:ListMultipartUploadParts", NULL, NONE, S3_UPLOAD,
	    0, multipart_list_parts },
};
const unsigned s3_operation_count = ARRAY_SIZE(s3_operations);
