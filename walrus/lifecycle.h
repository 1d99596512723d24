#pragma once
/* Lifecycle: rules by which objects, versions and uploads end by themselves. "Lifecycle
 * configuration elements" of the S3 user guide. There is one storage class, so transitions are kept
 * and have no effect. */
#include "content.h"
#include "setting.h"
#include "tags.h"

#define LIFECYCLE_RULES_MAX 1000

struct lifecycle_transition {
	bool is_noncurrent;
	int64_t days, date_us, newer_versions; /* -1: not said */
	const char *storage_class;
};
struct lifecycle_filter {
	bool is_legacy; /* Prefix stands in the rule itself */
	bool is_and;
	const char *prefix; /* NULL: not said */
	struct tags tags;
	int64_t larger_than, smaller_than; /* bytes; -1: not said */
};
struct lifecycle_rule {
	const char *id; /* made up, always the same, where the client gave none */
	bool is_enabled;
	struct lifecycle_filter filter;
	int64_t days, date_us; /* of current versions. All numbers: -1 when not said */
	bool has_expiration, removes_markers;
	int64_t noncurrent_days, newer_noncurrent;
	int64_t abort_days;
	struct lifecycle_transition *transitions;
	size_t transition_count;
};
struct lifecycle { /* the setting's value */
	struct lifecycle_rule *rules;
	size_t count;
};
int lifecycle_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void lifecycle_write(struct request *rq, struct xml_writer *w, const void *value);

/* What a rule looks at. */
struct lifecycle_subject {
	struct str key;
	const char *tags; /* as the store has them; NULL: none */
	uint64_t size_bytes;
	int64_t since_us; /* when it was made, or was no longer the current version */
};
/* A day is day_us long, so that tests need not wait for one. Whatever falls due does so at the
 * midnight (UTC) after so many whole days. */
int64_t lifecycle_due(int64_t since_us, int64_t days, int64_t day_us);
/* When the current version expires, and by which rule: INT64_MAX and NULL when by none. */
int64_t lifecycle_expiry(const struct lifecycle *l, const struct lifecycle_subject *s,
    int64_t day_us, const struct lifecycle_rule **ret_rule);
/* Whether an older version, which has `newer` other noncurrent ones before it, is due. */
bool lifecycle_noncurrent_is_due(const struct lifecycle *l, const struct lifecycle_subject *s,
    size_t newer, int64_t day_us, int64_t now_us);
/* The same for a delete marker that is all there is of its key. */
bool lifecycle_marker_is_due(
    const struct lifecycle *l, const struct lifecycle_subject *s, int64_t day_us, int64_t now_us);
bool lifecycle_upload_is_due(
    const struct lifecycle *l, const struct lifecycle_subject *s, int64_t day_us, int64_t now_us);

/* The header x-amz-expiration of a reply about this current version. */
void lifecycle_reply(struct request *rq, const struct lifecycle_subject *s);
/* -- lifecycle_run.c -- */
/* PUT of the setting: what is due is done soon. */
int lifecycle_put(struct request *rq, struct err *e);
/* The reconciler. */
int lifecycle_run(void *arg, uint32_t *ret_again_ms, struct err *e);
