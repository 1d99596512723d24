/* Configurations of notifications, and the records that are queued for them. */
#include "notification.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "bucket.h"
#include "request.h"
#include "schema.h"
#include "store/outbox.h"

#define RULES_MAX 100
#define ARN_MAX 512
#define VALUE_MAX 1024
#define EVENTS_MAX 64

static const struct {
	const char *element, *destination, *service;
} kinds[NOTIFICATION_KIND_MAX] = {
	[NOTIFICATION_TOPIC] = { "TopicConfiguration", "Topic", "sns" },
	[NOTIFICATION_QUEUE] = { "QueueConfiguration", "Queue", "sqs" },
	[NOTIFICATION_FUNCTION] = { "CloudFunctionConfiguration", "CloudFunction", "lambda" },
};

/* "Supported event types". Those of storage that is not here can be asked for, and never happen. */
static const char *const known_events[] = { "s3:ObjectCreated:*", "s3:ObjectCreated:Put",
	"s3:ObjectCreated:Post", "s3:ObjectCreated:Copy",
	"s3:ObjectCreated:CompleteMultipartUpload", "s3:ObjectRemoved:*", "s3:ObjectRemoved:Delete",
	"s3:ObjectRemoved:DeleteMarkerCreated", "s3:ObjectTagging:*", "s3:ObjectTagging:Put",
	"s3:ObjectTagging:Delete", "s3:ObjectAcl:Put", "s3:LifecycleExpiration:*",
	"s3:LifecycleExpiration:Delete", "s3:LifecycleExpiration:DeleteMarkerCreated",
	"s3:LifecycleTransition", "s3:IntelligentTiering", "s3:ObjectRestore:*",
	"s3:ObjectRestore:Post", "s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete",
	"s3:ReducedRedundancyLostObject", "s3:Replication:*",
	"s3:Replication:OperationFailedReplication", "s3:Replication:OperationMissedThreshold",
	"s3:Replication:OperationReplicatedAfterThreshold", "s3:Replication:OperationNotTracked" };

/* -- reading -- */

static int
invalid(struct err *e, const char *why)
{
	return err_set(e, ERR_INVALID_ARGUMENT, "%s", why);
}

static int
read_event(xmlNode *node, struct arena *arena, const char **ret, struct err *e)
{
	char *text = xml_text_of(node, 128, arena);

	for (size_t i = 0; text && i < ARRAY_SIZE(known_events); i++)
		if (strcmp(text, known_events[i]) == 0) {
			*ret = known_events[i];
			return 0;
		}
	return invalid(e, "The event is not supported for notifications");
}

static int
read_filter_rule(xmlNode *node, struct arena *arena, struct notification_rule *rule, struct err *e)
{
	xmlNode *name = xml_find(node, "Name"), *value = xml_find(node, "Value");
	char *text = name ? xml_text_of(name, 16, arena) : NULL, *wanted;
	bool is_prefix = text && strcasecmp(text, "prefix") == 0;

	if (!name || !value)
		return setting_malformed(e);
	if (!text || (!is_prefix && strcasecmp(text, "suffix") != 0))
		return invalid(e, "filter rule name must be either prefix or suffix");
	if (is_prefix ? rule->prefix : rule->suffix)
		return invalid(e, is_prefix
				      ? "Cannot specify more than one prefix rule in a filter."
				      : "Cannot specify more than one suffix rule in a filter.");
	wanted = xml_text_of(value, VALUE_MAX, arena);
	if (!wanted)
		return invalid(e,
		    "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation");
	*(is_prefix ? &rule->prefix : &rule->suffix) = wanted;
	return 0;
}

static int
read_filter(xmlNode *filter, struct arena *arena, struct notification_rule *rule, struct err *e)
{
	xmlNode *key = filter ? xml_find(filter, "S3Key") : NULL;
	int r = 0;

	if (filter && !key && xml_first(filter))
		return setting_malformed(e);
	for (xmlNode *node = key ? xml_first(key) : NULL; r == 0 && node; node = xml_next(node))
		r = xml_is(node, NULL, "FilterRule") ? read_filter_rule(node, arena, rule, e)
						     : setting_malformed(e);
	return r;
}

/* arn:PARTITION:SERVICE:REGION:ACCOUNT:NAME, of a function ...:function:NAME. */
static int
read_arn(xmlNode *node, struct arena *arena, struct notification_rule *rule, struct err *e)
{
	char *text = node ? xml_text_of(node, ARN_MAX, arena) : NULL;
	struct str rest = str_of(text), parts[8];
	size_t n = 0, wanted = rule->kind == NOTIFICATION_FUNCTION ? 7 : 6;

	if (!node)
		return setting_malformed(e);
	while (n < ARRAY_SIZE(parts) && str_split(&rest, ':', &parts[n]))
		n++;
	if (n != wanted || !str_is(parts[0], "arn") || parts[n - 1].n == 0)
		return invalid(e, "The ARN is not well formed");
	if (!str_is(parts[2], kinds[rule->kind].service))
		return invalid(e, "The ARN is of another service than its configuration");
	rule->arn = text;
	rule->endpoint = arena_str(arena, parts[n - 1]);
	return 0;
}

static int
read_rule(xmlNode *node, struct arena *arena, struct notification_rule *rule, struct err *e)
{
	xmlNode *id = xml_find(node, "Id");
	size_t count = 0;
	int r = read_arn(xml_find(node, kinds[rule->kind].destination), arena, rule, e);

	if (r < 0)
		return r;
	if (id) {
		rule->id = xml_text_of(id, 255, arena);
		if (!rule->id)
			return invalid(e, "ID length should not exceed allowed limit of 255");
	}
	rule->events = arena_alloc(arena, (EVENTS_MAX + 1) * sizeof(*rule->events));
	for (xmlNode *child = xml_first(node); r == 0 && child; child = xml_next(child)) {
		if (!xml_is(child, NULL, "Event"))
			continue;
		if (count == EVENTS_MAX)
			return setting_malformed(e);
		r = read_event(child, arena, &rule->events[count++], e);
	}
	if (r == 0 && count == 0)
		return setting_malformed(e);
	return r < 0 ? r : read_filter(xml_find(node, "Filter"), arena, rule, e);
}

/* Whether one pattern of events holds another or the other way round. */
static bool
events_overlap(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	if (n && a[n - 1] == '*' && strncmp(a, b, n - 1) == 0)
		return true;
	if (m && b[m - 1] == '*' && strncmp(a, b, m - 1) == 0)
		return true;
	return strcmp(a, b) == 0;
}

static bool
keys_overlap(const struct notification_rule *a, const struct notification_rule *b)
{
	struct str p = str_of(a->prefix), q = str_of(b->prefix), s = str_of(a->suffix),
		   t = str_of(b->suffix);
	size_t prefix = p.n < q.n ? p.n : q.n, suffix = s.n < t.n ? s.n : t.n;

	return memcmp(p.p, q.p, prefix) == 0 &&
	       memcmp(s.p + s.n - suffix, t.p + t.n - suffix, suffix) == 0;
}

static int
check_pair(const struct notification_rule *a, const struct notification_rule *b, struct err *e)
{
	if (strcmp(a->id, b->id) == 0)
		return invalid(e, "Same ID used for multiple configurations. IDs must be unique");
	for (const char **p = a->events; *p; p++)
		for (const char **q = b->events; *q; q++)
			if (events_overlap(*p, *q) && keys_overlap(a, b))
				return invalid(e,
				    "Configuration is ambiguously defined. Cannot have overlapping "
				    "suffixes in two rules if the prefixes are overlapping for the "
				    "same "
				    "event type.");
	return 0;
}

static enum notification_kind
kind_of(xmlNode *node)
{
	unsigned kind = 0;

	while (kind < NOTIFICATION_KIND_MAX && !xml_is(node, NULL, kinds[kind].element))
		kind++;
	return kind;
}

int
notification_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct notification *n = arena_alloc(arena, sizeof(*n));
	int r = setting_parse_xml(body, "NotificationConfiguration", &doc, e);

	if (r < 0)
		return r;
	n->rules = arena_alloc(arena, RULES_MAX * sizeof(*n->rules));
	for (xmlNode *node = xml_first(xmlDocGetRootElement(doc)); node; node = xml_next(node)) {
		struct notification_rule *rule = &n->rules[n->count];

		if (xml_is(node, NULL, "EventBridgeConfiguration"))
			return invalid(e, "Unable to validate the following destination "
					  "configurations: there is no "
					  "EventBridge here");
		if (kind_of(node) == NOTIFICATION_KIND_MAX)
			return setting_malformed(e);
		if (n->count == RULES_MAX)
			return invalid(e, "The number of configurations must not exceed 100");
		rule->kind = kind_of(node);
		r = read_rule(node, arena, rule, e);
		if (r < 0)
			return r;
		if (!rule->id || !*rule->id)
			rule->id = setting_make_id(body, n->count, arena);
		for (size_t i = 0; r == 0 && i < n->count; i++)
			r = check_pair(&n->rules[i], rule, e);
		if (r < 0)
			return r;
		n->count++;
	}
	*ret = n;
	return 0;
}

/* -- writing -- */

static void
write_filter_rule(struct xml_writer *w, const char *name, const char *value)
{
	if (!value)
		return;
	xml_open(w, "FilterRule");
	xml_element(w, "Name", name);
	xml_element(w, "Value", value);
	xml_close(w, "FilterRule");
}

void
notification_write(struct request *rq, struct xml_writer *w, const void *value)
{
	const struct notification *n = value;

	for (size_t i = 0; n && i < n->count; i++) {
		const struct notification_rule *rule = &n->rules[i];

		xml_open(w, kinds[rule->kind].element);
		xml_element(w, "Id", rule->id);
		xml_element(w, kinds[rule->kind].destination, rule->arn);
		for (const char **event = rule->events; *event; event++)
			xml_element(w, "Event", *event);
		if (rule->prefix || rule->suffix) {
			xml_open(w, "Filter");
			xml_open(w, "S3Key");
			write_filter_rule(w, "Prefix", rule->prefix);
			write_filter_rule(w, "Suffix", rule->suffix);
			xml_close(w, "S3Key");
			xml_close(w, "Filter");
		}
		xml_close(w, kinds[rule->kind].element);
	}
}

/* -- records -- */

bool
notification_matches(const struct notification_rule *rule, const char *event, struct str key)
{
	struct str prefix = str_of(rule->prefix), suffix = str_of(rule->suffix);

	if (key.n < prefix.n || key.n < suffix.n || memcmp(key.p, prefix.p, prefix.n) != 0 ||
	    memcmp(key.p + key.n - suffix.n, suffix.p, suffix.n) != 0)
		return false;
	for (const char **p = rule->events; *p; p++) {
		const char *wanted = *p + strlen("s3:");
		size_t n = strlen(wanted);

		if (wanted[n - 1] == '*' ? strncmp(wanted, event, n - 1) == 0
					 : strcmp(wanted, event) == 0)
			return true;
	}
	return false;
}

/* As forms have it: a space is a plus. */
static char *
encoded_key(struct str key)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct str rest = key, part;
	bool is_first = true;

	while (str_split(&rest, ' ', &part)) {
		if (!is_first)
			strbuf_addc(&out, '+');
		url_encode(&out, part, true);
		is_first = false;
	}
	return strbuf_take(&out);
}

/* By whom: a user, nobody, or walrus itself. */
static json_t *
identity_json(const struct request *rq)
{
	_cleanup_free_ char *who = NULL;

	if (rq && !rq->is_anonymous)
		who = xasprintf("AWS:%s", rq->caller.user_id);
	return json_pack("{s:s}", "principalId", who ? who : rq ? "Anonymous" : "s3.amazonaws.com");
}

static json_t *
object_json(const struct bucket *bucket, const struct object_change *c, uint64_t revision)
{
	_cleanup_free_ char *key = encoded_key(c->key);
	char sequencer[17];
	json_t *o;

	(void)snprintf(sequencer, sizeof(sequencer), "%016llX", (unsigned long long)revision);
	o = json_pack("{s:s}", "key", key ? key : "");
	if (c->etag && *c->etag) {
		json_object_set_new(o, "size", json_integer((json_int_t)c->size_bytes));
		json_object_set_new(o, "eTag", json_string(c->etag));
	}
	if (c->version_id && bucket->versioning != VERSIONING_NEVER)
		json_object_set_new(o, "versionId", json_string(c->version_id));
	json_object_set_new(o, "sequencer", json_string(sequencer));
	return o;
}

/* One record; a delivery puts some of them between the brackets of "Records". */
static char *
record_json(const struct bucket *bucket, const struct object_change *c,
    const struct notification_rule *rule, uint64_t revision, int64_t now_us)
{
	const struct request *rq = c->origin->rq;
	_cleanup_free_ char *arn = xasprintf("arn:aws:s3:::%s", bucket->name);
	const char *region = bucket->location[0] ? bucket->location : "us-east-1";
	char time[TIME_TEXT_SIZE], *text;
	json_t *record;

	time_format_iso(now_us, time);
	record = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:{s:s}, s:{s:s, s:s},"
			   " s:{s:s, s:s, s:{s:s, s:{s:s}, s:s}, s:o}}",
	    "eventVersion", "2.1", "eventSource", "aws:s3", "awsRegion", region, "eventTime", time,
	    "eventName", c->event, "userIdentity", identity_json(rq), "requestParameters",
	    "sourceIPAddress", rq ? rq->peer.address : "s3.amazonaws.com", "responseElements",
	    "x-amz-request-id", rq ? rq->id : "", "x-amz-id-2", rq ? rpc_self(rq->walrus->rpc) : "",
	    "s3", "s3SchemaVersion", "1.0", "configurationId", rule->id, "bucket", "name",
	    bucket->name, "ownerIdentity", "principalId", bucket->account_id, "arn", arn, "object",
	    object_json(bucket, c, revision));
	text = record ? json_dumps(record, JSON_COMPACT) : NULL;
	json_decref(record);
	return text;
}

/* Whether a commit is to wake the reconciler: closures know no walrus when walrus itself acts. */
static atomic_bool is_due;

void
notification_committed(void *arg, uint64_t revision)
{
	struct walrus *w = arg;

	if (atomic_exchange(&is_due, false))
		reconciler_poke(w->notifications);
}

int
notification_queue(struct store_tx *tx, uint64_t revision, size_t index, const char *endpoint,
    bool is_test, const char *body, struct err *e)
{
	atomic_store(&is_due, true);
	return store_exec(tx, Q_NOTIFICATION_INSERT, NULL, e, (int64_t)revision, (int64_t)index,
	    endpoint, (int64_t)is_test, body, store_now_us(tx));
}

int
notification_add(struct store_tx *tx, const struct bucket *bucket,
    const struct object_change *change, struct err *e)
{
	const struct notification *n = bucket->settings[SETTING_NOTIFICATION];
	uint64_t revision = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && n && i < n->count; i++) {
		const struct notification_rule *rule = &n->rules[i];
		_cleanup_free_ char *body = NULL;

		if (!notification_matches(rule, change->event, change->key))
			continue;
		/* of the event that was just added: it rises, and no other change has it */
		r = outbox_last(tx, &revision, e);
		if (r < 0)
			return r;
		body = record_json(bucket, change, rule, revision, store_now_us(tx));
		if (!body) /* a key that is not UTF-8 would be the only reason, and there is none */
			return err_set(e, ERR_INTERNAL, "a notification can't be written");
		r = notification_queue(tx, revision, i, rule->endpoint, false, body, e);
	}
	return r;
}

/* -- endpoints -- */

struct str
notification_url(const char *endpoints, const char *name)
{
	struct str rest = str_of(endpoints), word, left;

	while (str_split(&rest, ' ', &word)) {
		struct str url = word;

		if (str_split(&url, '=', &left) && str_is(left, name) && url.n)
			return url;
	}
	return (struct str){ NULL, 0 };
}
