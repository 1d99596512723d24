#pragma once
/* Notifications: what happens to objects is told to HTTP endpoints that the operator named
 * (notification_endpoints). A topic, queue or function whose ARN ends with such a name means that
 * endpoint. A record is queued in the transaction of the change, and delivered at least once and in
 * order by a reconciler. "Amazon S3 Event Notifications" and "Event message structure" of the S3
 * user guide. */
#include "object.h"
#include "setting.h"

enum notification_kind {
	NOTIFICATION_TOPIC,
	NOTIFICATION_QUEUE,
	NOTIFICATION_FUNCTION,
	NOTIFICATION_KIND_MAX
};
struct notification_rule {
	enum notification_kind kind;
	const char *id;              /* made up where the client gave none */
	const char *arn, *endpoint;  /* the endpoint's name, at the end of the ARN */
	const char **events;         /* "s3:ObjectCreated:*"; ends with NULL */
	const char *prefix, *suffix; /* NULL: not said */
};
struct notification { /* the setting's value */
	struct notification_rule *rules;
	size_t count;
};
int notification_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void notification_write(struct request *rq, struct xml_writer *w, const void *value);
bool notification_matches(const struct notification_rule *rule, const char *event, struct str key);

/* In the closure of a change: a record for each rule of the bucket that wants it. */
int notification_add(struct store_tx *tx, const struct bucket *bucket,
    const struct object_change *change, struct err *e);
/* The same of any body, the index-th of that revision. */
int notification_queue(struct store_tx *tx, uint64_t revision, size_t index, const char *endpoint,
    bool is_test, const char *body, struct err *e);
void notification_committed(
    void *arg, uint64_t revision); /* for store_on_events: wakes what delivers */
/* The URL of an endpoint in `endpoints` (words NAME=URL): a span of it, p NULL when there is none.
 */
struct str notification_url(const char *endpoints, const char *name);
/* PUT of the setting: its endpoints are there, and are sent an s3:TestEvent (notification_put.c). */
int notification_put(struct request *rq, struct err *e);
/* What is under way to endpoints. Closed on the loop before w->notifications is freed; freed after
 * rpc_http(), whose requests end with it. What was under way then is sent again after the next start. */
struct notifier *notifier_new(void);
void notifier_close(struct notifier *n);
void notifier_free(struct notifier *n);
/* The reconciler (notification_run.c). Does not wait for endpoints. */
int notification_run(void *arg, uint32_t *ret_again_ms, struct err *e);
