/* The rules of locks, what new versions get, and the bucket's setting. Retention is written into
 * the row of a version when it is made: a default that changes later means later versions. */
#include "lock.h"

#include <stdatomic.h>
#include <time.h>

#include "access.h"
#include "base/clock.h"
#include "error.h"
#include "schema.h"

#define DAYS_MAX 36500
#define YEARS_MAX 100
#define DAYS_OF_A_YEAR 365
#define US_OF_A_DAY (INT64_C(86400) * 1000000)

/* -- rules -- */

int64_t (*lock_clock_us)(void) = clock_now_us;

/* Sleep of the machine counts, other than with clock_monotonic_us. */
static int64_t
uptime_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t); /* never fails on Linux */
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The clock's reading minus the uptime's, when first asked. */
static int64_t
first_difference(void)
{
	static _Atomic int64_t difference; /* 0: not asked yet */
	int64_t known = atomic_load(&difference), now = lock_clock_us() - uptime_us();

	if (known == 0 && atomic_compare_exchange_strong(&difference, &known, now))
		known = now;
	return known;
}

int64_t
lock_now_us(void)
{
	int64_t passed = first_difference() + uptime_us(), clock = lock_clock_us();

	return clock < passed ? clock : passed;
}

/* For the beginning of a retention: a clock that was set back must not shorten it. */
static int64_t
latest_now_us(void)
{
	int64_t passed = first_difference() + uptime_us(), clock = lock_clock_us();

	return clock > passed ? clock : passed;
}

static bool
is_retained(const struct object_attributes *a, int64_t now_us)
{
	return a->lock_mode && a->lock_until_us > now_us;
}

bool
lock_allows_removal(const struct object *o, int64_t now_us)
{
	return o->attributes.hold != HOLD_ON && !is_retained(&o->attributes, now_us);
}

static bool
is_governed(const struct object_attributes *a)
{
	return strings_equal(a->lock_mode, LOCK_GOVERNANCE);
}

bool
lock_allows_bypass(const struct object *o, int64_t now_us)
{
	return lock_allows_removal(o, now_us) ||
	       (o->attributes.hold != HOLD_ON && is_governed(&o->attributes));
}

bool
lock_allows_change(const struct object_attributes *a, const char *mode, int64_t until_us,
    bool bypasses, int64_t now_us)
{
	if (!is_retained(a, now_us) || (bypasses && is_governed(a)))
		return true;
	return strings_equal(mode, a->lock_mode) && until_us >= a->lock_until_us;
}

int
lock_denied(struct err *e)
{
	return err_set(
	    e, ERR_ACCESS_DENIED, "Access Denied because object protected by object lock.");
}

/* -- the setting -- */

static int
read_period(xmlNode *node, uint32_t max, uint32_t *ret, struct arena *arena, struct err *e)
{
	char *text = xml_text_of(node, 32, arena);
	int64_t n;

	if (!text || !str_to_i64(str_trim(str_of(text)), &n))
		return setting_malformed(e);
	if (n <= 0)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Default retention period must be a positive integer value.");
	if (n > max)
		return err_set(e, ERR_INVALID_ARGUMENT, "Default retention period too large.");
	*ret = (uint32_t)n;
	return 0;
}

static const char *
known_mode(struct str text)
{
	return str_is(text, LOCK_GOVERNANCE)   ? LOCK_GOVERNANCE
	       : str_is(text, LOCK_COMPLIANCE) ? LOCK_COMPLIANCE
					       : NULL;
}

static int
read_default(xmlNode *rule, struct lock_configuration *c, struct arena *arena, struct err *e)
{
	xmlNode *retention = xml_find(rule, "DefaultRetention");
	xmlNode *mode = retention ? xml_find(retention, "Mode") : NULL;
	xmlNode *days = retention ? xml_find(retention, "Days") : NULL;
	xmlNode *years = retention ? xml_find(retention, "Years") : NULL;

	c->mode = mode ? known_mode(str_of(xml_text_of(mode, 32, arena))) : NULL;
	if (!c->mode || !days == !years)
		return setting_malformed(e);
	return days ? read_period(days, DAYS_MAX, &c->days, arena, e)
		    : read_period(years, YEARS_MAX, &c->years, arena, e);
}

int
lock_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct lock_configuration *c = arena_alloc(arena, sizeof(*c));
	xmlNode *root, *enabled, *rule;
	int r = setting_parse_xml(body, "ObjectLockConfiguration", &doc, e);

	if (r < 0)
		return r;
	root = xmlDocGetRootElement(doc);
	enabled = xml_find(root, "ObjectLockEnabled");
	rule = xml_find(root, "Rule");
	if (!enabled || !strings_equal(xml_text_of(enabled, 32, arena), "Enabled"))
		return setting_malformed(e);
	*c = (struct lock_configuration){ 0 };
	r = rule ? read_default(rule, c, arena, e) : 0;
	if (r == 0)
		*ret = c;
	return r;
}

void
lock_write(struct request *rq, struct xml_writer *w, const void *value)
{
	const struct lock_configuration *c = value;

	xml_element(w, "ObjectLockEnabled", "Enabled");
	if (!c->mode)
		return;
	xml_open(w, "Rule");
	xml_open(w, "DefaultRetention");
	xml_element(w, "Mode", c->mode);
	if (c->days)
		xml_elementf(w, "Days", "%u", c->days);
	else
		xml_elementf(w, "Years", "%u", c->years);
	xml_close(w, "DefaultRetention");
	xml_close(w, "Rule");
}

bool
lock_is_enabled(const struct bucket *bucket)
{
	return bucket->settings[SETTING_OBJECT_LOCK] != NULL;
}

/* As it is now; *ret NULL: there is none. */
static int
read_setting(struct store_tx *tx, int64_t bucket_id, struct arena *arena,
    const struct lock_configuration **ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const void *value = NULL;
	int r = store_query(
	    tx, Q_BUCKET_SETTING, &rows, e, bucket_id, setting_names[SETTING_OBJECT_LOCK]);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		r = lock_parse(str_of(arena_strdup(arena, store_text(rows, 0))), arena, &value, e);
	*ret = value;
	return r;
}

int
lock_is_enabled_now(struct store_tx *tx, int64_t bucket_id, bool *ret, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct lock_configuration *c;
	int r = read_setting(tx, bucket_id, arena, &c, e);

	*ret = r == 0 && c;
	return r;
}

/* -- new versions -- */

#define MODE "x-amz-object-lock-mode"
#define UNTIL "x-amz-object-lock-retain-until-date"
#define HOLD "x-amz-object-lock-legal-hold"
#define BYPASS "x-amz-bypass-governance-retention"

static int
read_retention(struct request *rq, struct object_attributes *ret, struct err *e)
{
	struct str mode = request_header(rq, MODE), until = request_header(rq, UNTIL);
	struct str none = { "", 0 };

	if (!mode.p && !until.p)
		return 0;
	if (!mode.p || !until.p)
		return error_argument(rq, mode.p ? UNTIL : MODE, none, e,
		    UNTIL " and " MODE " must both be supplied");
	if (!known_mode(mode))
		return error_argument(rq, MODE, mode, e, "Unknown wormMode directive.");
	if (!time_parse_iso(until, &ret->lock_until_us))
		return error_argument(rq, UNTIL, until, e,
		    "The retain until date must be provided in ISO 8601 format");
	if (ret->lock_until_us <= clock_now_us())
		return error_argument(
		    rq, UNTIL, until, e, "The retain until date must be in the future!");
	ret->lock_mode = (char *)known_mode(mode);
	return 0;
}

static int
read_hold(struct request *rq, struct object_attributes *ret, struct err *e)
{
	struct str hold = request_header(rq, HOLD);

	if (!hold.p)
		return 0;
	if (!str_is(hold, "ON") && !str_is(hold, "OFF"))
		return error_argument(
		    rq, HOLD, hold, e, "Legal Hold must be either of 'ON' or 'OFF'");
	ret->hold = str_is(hold, "ON") ? HOLD_ON : HOLD_OFF;
	return 0;
}

int
lock_read(struct request *rq, struct object_attributes *ret, struct err *e)
{
	int r = read_retention(rq, ret, e);

	if (r == 0)
		r = read_hold(rq, ret, e);
	if (r < 0 || (!ret->lock_mode && ret->hold == HOLD_NEVER))
		return r;
	if (!lock_is_enabled(rq->bucket))
		return err_set(
		    e, ERR_INVALID_REQUEST, "Bucket is missing Object Lock Configuration");
	if (rq->is_anonymous)
		return error_argument(rq, "Authorization", (struct str){ "", 0 }, e,
		    "Put Object requests with Object Lock parameters require AWS Signature Version "
		    "4");
	if (ret->lock_mode)
		r = access_action(rq, "s3:PutObjectRetention", PERMISSION_NONE, rq->bucket,
		    rq->target.key, NULL, e);
	if (r == 0 && ret->hold != HOLD_NEVER)
		r = access_action(rq, "s3:PutObjectLegalHold", PERMISSION_NONE, rq->bucket,
		    rq->target.key, NULL, e);
	return r;
}

int
lock_check_digest(
    struct request *rq, const struct object_attributes *a, const char *what, struct err *e)
{
	const struct lock_configuration *c = rq->bucket->settings[SETTING_OBJECT_LOCK];
	bool will_lock = c && (c->mode || a->lock_mode || a->hold != HOLD_NEVER);

	if (!will_lock || rq->has_checksum || rq->wanted_md5)
		return 0;
	return err_set(e, ERR_INVALID_REQUEST,
	    "Content-MD5 OR x-amz-checksum- HTTP header is required for %s requests with Object "
	    "Lock "
	    "parameters",
	    what);
}

int
lock_apply_default(
    struct store_tx *tx, int64_t bucket_id, struct object_attributes *a, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct lock_configuration *c;
	int r = a->lock_mode ? 0 : read_setting(tx, bucket_id, arena, &c, e);

	if (r < 0 || a->lock_mode || !c || !c->mode)
		return r;
	a->lock_mode = (char *)c->mode;
	a->lock_until_us =
	    (latest_now_us() + US_OF_A_DAY * (c->days + (int64_t)c->years * DAYS_OF_A_YEAR)) /
	    1000 * 1000;
	return 0;
}

static bool
may(struct request *rq, const char *action, const struct object *o)
{
	struct err why;

	return access_action(rq, action, PERMISSION_NONE, rq->bucket, o->key, o, &why) == 0;
}

void
lock_reply(struct request *rq, const struct object *o)
{
	const struct object_attributes *a = &o->attributes;

	if (a->lock_mode && may(rq, "s3:GetObjectRetention", o)) {
		char *until = arena_alloc(rq->arena, TIME_TEXT_SIZE);

		time_format_iso(a->lock_until_us, until);
		reply_header(rq, MODE, a->lock_mode);
		reply_header(rq, UNTIL, until);
	}
	if (a->hold != HOLD_NEVER && may(rq, "s3:GetObjectLegalHold", o))
		reply_header(rq, HOLD, a->hold == HOLD_ON ? "ON" : "OFF");
}

int
lock_read_bypass(struct request *rq, struct str key, bool *ret, struct err *e)
{
	struct str header = request_header(rq, BYPASS);

	*ret = false;
	if (!header.p)
		return 0;
	if (!lock_is_enabled(rq->bucket))
		return error_argument(rq, BYPASS, header, e,
		    BYPASS " is only applicable to Object Lock enabled buckets.");
	if (!str_is_nocase(header, "true"))
		return 0;
	*ret = true;
	return access_action(
	    rq, "s3:BypassGovernanceRetention", PERMISSION_NONE, rq->bucket, key, NULL, e);
}
