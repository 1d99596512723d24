/* Two tables: what walrus does (s3.c), and what it refuses in the words that Amazon has for it. A
 * refusal is routed like an operation, so that who may not ask, or asks of a bucket that is not
 * there, hears that first. */
#include "route.h"

#include "request.h"

#define NOT_ALLOWED "The specified method is not allowed against this resource."

static int
not_implemented(struct err *e)
{
	return err_set(e, ERR_NOT_IMPLEMENTED,
	    "A parameter you provided implies functionality that is not implemented");
}

/* Sub-resources that name an operation: a request that has one of them means that and nothing else.
 */
static const char *const sub_resources[] = { "accelerate", "acl", "analytics", "attributes", "cors",
	"delete", "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle",
	"location", "logging", "metrics", "notification", "object-lock", "ownershipControls",
	"partNumber", "policy", "policyStatus", "publicAccessBlock", "replication",
	"requestPayment", "restore", "retention", "select", "tagging", "torrent", "uploadId",
	"uploads", "versioning", "versions", "website" };

static const char *
sub_resource(const struct request *rq)
{
	const char *found = NULL;

	if (rq->query.count == 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(sub_resources); i++)
		if (request_parameter(rq, sub_resources[i])) {
			found = sub_resources[i];
			/* a part is named by both, and its upload is what matters */
			if (strcmp(found, "partNumber") != 0)
				return found;
		}
	/* It makes no other operation of a read: it chooses bytes, as a range does. */
	return found && !str_is(rq->head->method, "PUT") ? NULL : found;
}

/* Operations that Amazon has and walrus has not. Elsewhere these words are parameters without a
 * meaning, such as those that pages put behind their links. */
static const struct {
	const char *name;
	enum target_level level;
} foreign[] = { { "abac", TARGET_BUCKET }, { "metadataConfiguration", TARGET_BUCKET },
	{ "metadataInventoryTable", TARGET_BUCKET }, { "metadataJournalTable", TARGET_BUCKET },
	{ "metadataTable", TARGET_BUCKET }, { "renameObject", TARGET_OBJECT },
	{ "session", TARGET_BUCKET } };

static bool
is_foreign(const struct request *rq)
{
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		if (foreign[i].level == rq->target.level && request_parameter(rq, foreign[i].name))
			return true;
	return false;
}

/* Operations that Amazon has, whose answer where they were never used is one that clients know. S3
 * Select and BitTorrent are withdrawn from new accounts in these words. */
static const struct refusal {
	struct s3_operation operation;
	int code;
	const char *message;
} refusals[];

static int
refuse(struct request *rq, struct err *e)
{
	const struct refusal *r = (const struct refusal *)rq->operation;

	/* without an id it is a list that is asked for */
	if (r->code == ERR_CONFIGURATION_NOT_FOUND && !request_parameter(rq, "id"))
		return not_implemented(e);
	return err_set(e, r->code, "%s", r->message);
}

#define REFUSED(name, method, level, parameter, action)                                            \
	{                                                                                          \
		name, method, level, parameter, action, NULL, PERMISSION_NONE, 0, 0, refuse        \
	}
#define NO_CONFIGURATION ERR_CONFIGURATION_NOT_FOUND, "The specified configuration does not exist."

static const struct refusal refusals[] = {
	{ REFUSED("GetBucketReplication", "GET", TARGET_BUCKET, "replication",
	      "s3:GetReplicationConfiguration"),
	    ERR_REPLICATION_NOT_FOUND, "The replication configuration was not found" },
	{ REFUSED("GetBucketAnalyticsConfiguration", "GET", TARGET_BUCKET, "analytics",
	      "s3:GetAnalyticsConfiguration"),
	    NO_CONFIGURATION },
	{ REFUSED("GetBucketIntelligentTieringConfiguration", "GET", TARGET_BUCKET,
	      "intelligent-tiering", "s3:GetIntelligentTieringConfiguration"),
	    NO_CONFIGURATION },
	{ REFUSED("GetBucketInventoryConfiguration", "GET", TARGET_BUCKET, "inventory",
	      "s3:GetInventoryConfiguration"),
	    NO_CONFIGURATION },
	{ REFUSED("GetBucketMetricsConfiguration", "GET", TARGET_BUCKET, "metrics",
	      "s3:GetMetricsConfiguration"),
	    NO_CONFIGURATION },
	{ REFUSED("SelectObjectContent", "POST", TARGET_OBJECT, "select", "s3:GetObject"),
	    ERR_METHOD_NOT_ALLOWED, NOT_ALLOWED },
	{ REFUSED("GetObjectTorrent", "GET", TARGET_OBJECT, "torrent", "s3:GetObjectTorrent"),
	    ERR_METHOD_NOT_ALLOWED, NOT_ALLOWED },
};

static bool
is_asked(const struct request *rq, const struct s3_operation *o, bool is_copy)
{
	return o->level == rq->target.level && str_is(rq->head->method, o->method) &&
	       !!(o->flags & S3_COPY) == is_copy && strings_equal(o->parameter, rq->sub_resource);
}

static const struct s3_operation *
find(const struct request *rq, bool is_copy)
{
	for (unsigned i = 0; i < s3_operation_count; i++)
		if (is_asked(rq, &s3_operations[i], is_copy))
			return &s3_operations[i];
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (is_asked(rq, &refusals[i].operation, is_copy))
			return &refusals[i].operation;
	return NULL;
}

/* Whether another method would be something. */
static bool
is_served(const struct request *rq)
{
	for (unsigned i = 0; i < s3_operation_count; i++)
		if (s3_operations[i].level == rq->target.level &&
		    strings_equal(s3_operations[i].parameter, rq->sub_resource))
			return true;
	return false;
}

int
route(struct request *rq, struct err *e)
{
	bool is_copy = str_is(rq->head->method, "PUT") && rq->target.level == TARGET_OBJECT &&
		       request_header(rq, "x-amz-copy-source").p;

	rq->sub_resource = sub_resource(rq);
	if (is_foreign(rq))
		return not_implemented(e);
	rq->operation = find(rq, is_copy);
	if (rq->operation)
		return 0;
	if (is_copy || (rq->sub_resource && !is_served(rq)))
		return not_implemented(e);
	return err_set(e, ERR_METHOD_NOT_ALLOWED, NOT_ALLOWED);
}

void
route_preflight(struct request *rq)
{
	for (unsigned i = 0; i < s3_operation_count; i++)
		if (strcmp(s3_operations[i].method, "OPTIONS") == 0)
			rq->operation = &s3_operations[i];
	rq->is_anonymous = true;
}
