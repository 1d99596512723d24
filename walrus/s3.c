/* What walrus can do for its users: one row per operation of the S3 API. */
#include "bucket.h"
#include "list.h"
#include "multipart.h"
#include "object.h"
#include "request.h"

#define PUT_FLAGS (S3_NEEDS_LENGTH)

const struct s3_operation s3_operations[] = {
	{ "ListBuckets", "GET", TARGET_SERVICE, NULL, 0, 0, bucket_list_all },

	{ "CreateBucket", "PUT", TARGET_BUCKET, NULL, S3_ANY_BUCKET, S3_XML_BODY_MAX,
	    bucket_create },
	{ "HeadBucket", "HEAD", TARGET_BUCKET, NULL, 0, 0, bucket_head },
	{ "DeleteBucket", "DELETE", TARGET_BUCKET, NULL, 0, 0, bucket_delete },
	{ "GetBucketLocation", "GET", TARGET_BUCKET, "location", 0, 0, bucket_location },
	{ "GetBucketVersioning", "GET", TARGET_BUCKET, "versioning", 0, 0, bucket_versioning },
	{ "ListObjects", "GET", TARGET_BUCKET, NULL, 0, 0, list_objects },
	{ "ListMultipartUploads", "GET", TARGET_BUCKET, "uploads", 0, 0, multipart_list_uploads },
	{ "DeleteObjects", "POST", TARGET_BUCKET, "delete", 0, S3_XML_BODY_MAX,
	    object_delete_many },

	{ "PutObject", "PUT", TARGET_OBJECT, NULL, PUT_FLAGS | S3_WANTS_SHA256, S3_OBJECT_MAX,
	    object_put_run, object_put_begin, object_data, object_done },
	{ "GetObject", "GET", TARGET_OBJECT, NULL, 0, 0, object_get },
	{ "HeadObject", "HEAD", TARGET_OBJECT, NULL, 0, 0, object_get },
	{ "DeleteObject", "DELETE", TARGET_OBJECT, NULL, 0, 0, object_delete },

	{ "CreateMultipartUpload", "POST", TARGET_OBJECT, "uploads", 0, 0, multipart_create },
	{ "UploadPart", "PUT", TARGET_OBJECT, "uploadId", PUT_FLAGS, S3_OBJECT_MAX,
	    multipart_part_run, multipart_part_begin, multipart_part_data, multipart_part_done },
	{ "CompleteMultipartUpload", "POST", TARGET_OBJECT, "uploadId", 0, S3_XML_BODY_MAX,
	    multipart_complete },
	{ "AbortMultipartUpload", "DELETE", TARGET_OBJECT, "uploadId", 0, 0, multipart_abort },
	{ "ListParts", "GET", TARGET_OBJECT, "uploadId", 0, 0, multipart_list_parts },
};
const unsigned s3_operation_count = ARRAY_SIZE(s3_operations);
