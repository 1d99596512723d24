/* Rules of a lifecycle: read, written, and asked. Nothing here looks at the store. */
#include "lifecycle.h"

#include "base/clock.h"
#include "bucket.h"
#include "request.h"

#define RULE_ID_MAX 255
#define PREFIX_MAX 1024
#define NEWER_MAX 100
#define DAY_US INT64_C(86400000000)
#define FILTER_TAGS_MAX TAGS_OF_BUCKET_MAX

/* -- reading -- */

/* A number of an element: -1 when it is not there. ERR_MALFORMED_XML. */
static int
read_number(xmlNode *parent, const char *name, struct arena *arena, int64_t *ret, struct err *e)
{
	xmlNode *node = xml_find(parent, name);
	char *text;

	*ret = -1;
	if (!node)
		return 0;
	text = xml_text_of(node, 32, arena);
	if (!text || !str_to_i64(str_trim(str_of(text)), ret))
		return setting_malformed(e);
	if (*ret < 0)
		*ret = -2; /* said, and wrong */
	return 0;
}

static int
read_positive(xmlNode *parent, const char *name, const char *action, struct arena *arena,
    int64_t *ret, struct err *e)
{
	int r = read_number(parent, name, arena, ret, e);

	if (r == 0 && *ret != -1 && (*ret < 1 || *ret > INT32_MAX))
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "'%s' for %s action must be a positive integer", name, action);
	return r;
}

static int
read_date(xmlNode *parent, struct arena *arena, int64_t *ret, struct err *e)
{
	xmlNode *node = xml_find(parent, "Date");
	char *text = node ? xml_text_of(node, 64, arena) : NULL;

	*ret = -1;
	if (!node)
		return 0;
	if (!text || !time_parse_iso(str_trim(str_of(text)), ret))
		return setting_malformed(e);
	if (*ret < 0 || *ret % DAY_US != 0)
		return err_set(e, ERR_INVALID_ARGUMENT, "'Date' must be at midnight GMT");
	return 0;
}

static int
read_prefix(xmlNode *node, struct arena *arena, const char **ret, struct err *e)
{
	*ret = xml_text_of(node, PREFIX_MAX, arena);
	return *ret ? 0
		    : err_set(e, ERR_INVALID_REQUEST, "The maximum size of a prefix is %d.",
			  PREFIX_MAX);
}

/* One condition, or one of those that And joins. */
static int
read_condition(xmlNode *node, struct arena *arena, struct lifecycle_filter *f, struct err *e)
{
	struct tag tag;
	int r;

	if (xml_is(node, NULL, "Prefix"))
		return f->prefix ? setting_malformed(e) : read_prefix(node, arena, &f->prefix, e);
	if (xml_is(node, NULL, "ObjectSizeGreaterThan") && f->larger_than == -1)
		r = read_number(node->parent, "ObjectSizeGreaterThan", arena, &f->larger_than, e);
	else if (xml_is(node, NULL, "ObjectSizeLessThan") && f->smaller_than == -1)
		r = read_number(node->parent, "ObjectSizeLessThan", arena, &f->smaller_than, e);
	else if (xml_is(node, NULL, "Tag") && f->tags.count < FILTER_TAGS_MAX) {
		r = tag_read_xml(node, arena, &tag, e);
		if (r == 0 && tags_find(&f->tags, tag.key))
			return err_set(
			    e, ERR_INVALID_REQUEST, "Duplicate Tag Keys are not allowed.");
		if (r == 0)
			f->tags.items[f->tags.count++] = tag;
	} else
		return setting_malformed(e);
	if (r == 0 && (f->larger_than == -2 || f->smaller_than == -2))
		return setting_malformed(e);
	return r;
}

static int
read_conditions(xmlNode *node, struct arena *arena, struct lifecycle_filter *f, size_t *ret_count,
    struct err *e)
{
	int r = 0;

	*ret_count = 0;
	for (xmlNode *child = xml_first(node); r == 0 && child; child = xml_next(child)) {
		++*ret_count;
		r = read_condition(child, arena, f, e);
	}
	return r;
}

static int
read_filter(xmlNode *rule, struct arena *arena, struct lifecycle_filter *f, struct err *e)
{
	xmlNode *filter = xml_find(rule, "Filter"), *prefix = xml_find(rule, "Prefix"), *and;
	size_t count;
	int r;

	f->larger_than = f->smaller_than = -1;
	if (!filter == !prefix)
		return setting_malformed(e);
	if (prefix) {
		f->is_legacy = true;
		return read_prefix(prefix, arena, &f->prefix, e);
	}
	f->tags.items = arena_alloc(arena, FILTER_TAGS_MAX * sizeof(*f->tags.items));
	and = xml_find(filter, "And");
	f->is_and = and != NULL;
	r = read_conditions(and? and : filter, arena, f, &count, e);
	if (r < 0)
		return r;
	if (and? count < 2 || xml_next(xml_first(filter)) : count > 1)
		return setting_malformed(e);
	if (f->larger_than >= 0 && f->smaller_than >= 0 && f->smaller_than <= f->larger_than + 1)
		return err_set(e, ERR_INVALID_REQUEST,
		    "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.");
	return 0;
}

static const char *const transition_classes[] = { "STANDARD_IA", "ONEZONE_IA",
	"INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR" };

static int
read_transition(xmlNode *node, struct arena *arena, struct lifecycle_transition *t, struct err *e)
{
	xmlNode *class = xml_find(node, "StorageClass");
	char *text = class ? xml_text_of(class, 32, arena) : NULL;
	int r = read_number(node, t->is_noncurrent ? "NoncurrentDays" : "Days", arena, &t->days, e);

	if (r == 0)
		r = read_date(node, arena, &t->date_us, e);
	if (r == 0)
		r = read_positive(node, "NewerNoncurrentVersions", "NoncurrentVersionTransition",
		    arena, &t->newer_versions, e);
	if (r < 0)
		return r;
	if (t->days == -2)
		return err_set(e, ERR_INVALID_ARGUMENT, "'%s' for %s action must be nonnegative",
		    t->is_noncurrent ? "NoncurrentDays" : "Days", (const char *)node->name);
	if ((t->days == -1) == (t->date_us == -1) || (t->is_noncurrent && t->days == -1))
		return setting_malformed(e);
	for (size_t i = 0; text && i < ARRAY_SIZE(transition_classes); i++)
		if (strcmp(text, transition_classes[i]) == 0) {
			t->storage_class = transition_classes[i];
			return 0;
		}
	return setting_malformed(e);
}

static int
read_transitions(xmlNode *node, struct arena *arena, struct lifecycle_rule *rule, struct err *e)
{
	size_t count = 0;
	int r = 0;

	for (xmlNode *child = xml_first(node); child; child = xml_next(child))
		count += xml_is(child, NULL, "Transition") ||
			 xml_is(child, NULL, "NoncurrentVersionTransition");
	rule->transitions = arena_alloc(arena, (count + 1) * sizeof(*rule->transitions));
	for (xmlNode *child = xml_first(node); r == 0 && child; child = xml_next(child)) {
		bool is_noncurrent = xml_is(child, NULL, "NoncurrentVersionTransition");
		struct lifecycle_transition *t = &rule->transitions[rule->transition_count];

		if (!is_noncurrent && !xml_is(child, NULL, "Transition"))
			continue;
		t->is_noncurrent = is_noncurrent;
		rule->transition_count++;
		r = read_transition(child, arena, t, e);
	}
	return r;
}

static int
read_expiration(xmlNode *node, struct arena *arena, struct lifecycle_rule *rule, struct err *e)
{
	xmlNode *expiration = xml_find(node, "Expiration"), *marker;
	int r;

	rule->days = rule->date_us = -1;
	if (!expiration)
		return 0;
	rule->has_expiration = true;
	r = read_positive(expiration, "Days", "Expiration", arena, &rule->days, e);
	if (r == 0)
		r = read_date(expiration, arena, &rule->date_us, e);
	if (r < 0)
		return r;
	marker = xml_find(expiration, "ExpiredObjectDeleteMarker");
	if (marker && !str_to_bool(str_of(xml_text_of(marker, 8, arena)), &rule->removes_markers))
		return setting_malformed(e);
	return (rule->days > 0) + (rule->date_us >= 0) + (marker != NULL) == 1
		   ? 0
		   : setting_malformed(e);
}

static int
read_noncurrent(xmlNode *node, struct arena *arena, struct lifecycle_rule *rule, struct err *e)
{
	static const char action[] = "NoncurrentVersionExpiration";
	xmlNode *noncurrent = xml_find(node, action);
	int r;

	rule->noncurrent_days = rule->newer_noncurrent = -1;
	if (!noncurrent)
		return 0;
	r = read_positive(noncurrent, "NoncurrentDays", action, arena, &rule->noncurrent_days, e);
	if (r == 0)
		r = read_positive(noncurrent, "NewerNoncurrentVersions", action, arena,
		    &rule->newer_noncurrent, e);
	if (r < 0)
		return r;
	if (rule->newer_noncurrent > NEWER_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "'NewerNoncurrentVersions' for %s action must be at most %d", action,
		    NEWER_MAX);
	return rule->noncurrent_days == -1 ? setting_malformed(e) : 0;
}

static int
read_abort(xmlNode *node, struct arena *arena, struct lifecycle_rule *rule, struct err *e)
{
	static const char action[] = "AbortIncompleteMultipartUpload";
	xmlNode *abortion = xml_find(node, action);
	int r;

	rule->abort_days = -1;
	if (!abortion)
		return 0;
	r = read_positive(abortion, "DaysAfterInitiation", action, arena, &rule->abort_days, e);
	return r == 0 && rule->abort_days == -1 ? setting_malformed(e) : r;
}

/* What an action may not be joined with. */
static int
check_rule(const struct lifecycle_rule *rule, struct err *e)
{
	const struct lifecycle_filter *f = &rule->filter;
	bool by_size = f->larger_than >= 0 || f->smaller_than >= 0;

	if (!rule->has_expiration && rule->noncurrent_days < 0 && rule->abort_days < 0 &&
	    rule->transition_count == 0)
		return err_set(
		    e, ERR_INVALID_REQUEST, "At least one action needs to be specified in a rule");
	if (rule->abort_days > 0 && (f->tags.count || by_size))
		return err_set(e, ERR_INVALID_REQUEST,
		    "AbortIncompleteMultipartUpload cannot be specified with %s.",
		    f->tags.count ? "Tags" : "Object Size");
	if (rule->removes_markers && (f->tags.count || by_size))
		return err_set(e, ERR_INVALID_REQUEST,
		    "ExpiredObjectDeleteMarker cannot be specified with %s.",
		    f->tags.count ? "Tags" : "Object Size");
	return 0;
}

static int
read_rule(xmlNode *node, struct arena *arena, struct lifecycle_rule *rule, struct err *e)
{
	xmlNode *id = xml_find(node, "ID"), *status = xml_find(node, "Status");
	char *text = status ? xml_text_of(status, 16, arena) : NULL;
	int r;

	if (!text || (strcmp(text, "Enabled") != 0 && strcmp(text, "Disabled") != 0))
		return setting_malformed(e);
	rule->is_enabled = *text == 'E';
	if (id) {
		rule->id = xml_text_of(id, RULE_ID_MAX, arena);
		if (!rule->id)
			return err_set(e, ERR_INVALID_ARGUMENT,
			    "ID length should not exceed allowed limit of 255");
	}
	r = read_filter(node, arena, &rule->filter, e);
	if (r == 0)
		r = read_transitions(node, arena, rule, e);
	if (r == 0)
		r = read_expiration(node, arena, rule, e);
	if (r == 0)
		r = read_noncurrent(node, arena, rule, e);
	if (r == 0)
		r = read_abort(node, arena, rule, e);
	return r < 0 ? r : check_rule(rule, e);
}

static int
name_rules(struct lifecycle *l, struct str body, struct arena *arena, struct err *e)
{
	for (size_t i = 0; i < l->count; i++) {
		struct lifecycle_rule *rule = &l->rules[i];

		if (!rule->id || !*rule->id)
			rule->id = setting_make_id(body, i, arena);
		for (size_t j = 0; j < i; j++)
			if (strcmp(l->rules[j].id, rule->id) == 0)
				return err_set(e, ERR_INVALID_ARGUMENT,
				    "Rule ID must be unique. Found same ID for more than one rule");
	}
	return 0;
}

int
lifecycle_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct lifecycle *l = arena_alloc(arena, sizeof(*l));
	size_t count = 0;
	xmlNode *root;
	int r = setting_parse_xml(body, "LifecycleConfiguration", &doc, e);

	if (r < 0)
		return r;
	root = xmlDocGetRootElement(doc);
	for (xmlNode *node = xml_first(root); node; node = xml_next(node)) {
		if (!xml_is(node, NULL, "Rule"))
			return setting_malformed(e);
		count++;
	}
	if (count == 0)
		return setting_malformed(e);
	if (count > LIFECYCLE_RULES_MAX)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The number of lifecycle rules must not exceed the allowed limit of 1000 "
		    "rules");
	l->rules = arena_alloc(arena, count * sizeof(*l->rules));
	for (xmlNode *node = xml_first(root); r == 0 && node; node = xml_next(node))
		r = read_rule(node, arena, &l->rules[l->count++], e);
	*ret = l;
	return r < 0 ? r : name_rules(l, body, arena, e);
}

/* -- writing -- */

static void
write_number(struct xml_writer *w, const char *name, int64_t n)
{
	if (n >= 0)
		xml_elementf(w, name, "%lld", (long long)n);
}

static void
write_date(struct xml_writer *w, int64_t us)
{
	if (us >= 0)
		xml_time(w, "Date", us);
}

static void
write_filter(struct xml_writer *w, const struct lifecycle_filter *f)
{
	if (f->is_legacy) {
		xml_element(w, "Prefix", f->prefix);
		return;
	}
	xml_open(w, "Filter");
	if (f->is_and)
		xml_open(w, "And");
	xml_element(w, "Prefix", f->prefix);
	for (size_t i = 0; i < f->tags.count; i++) {
		xml_open(w, "Tag");
		xml_element(w, "Key", f->tags.items[i].key);
		xml_element(w, "Value", f->tags.items[i].value);
		xml_close(w, "Tag");
	}
	write_number(w, "ObjectSizeGreaterThan", f->larger_than);
	write_number(w, "ObjectSizeLessThan", f->smaller_than);
	if (f->is_and)
		xml_close(w, "And");
	xml_close(w, "Filter");
}

static void
write_transitions(struct xml_writer *w, const struct lifecycle_rule *rule)
{
	for (size_t i = 0; i < rule->transition_count; i++) {
		const struct lifecycle_transition *t = &rule->transitions[i];
		const char *name = t->is_noncurrent ? "NoncurrentVersionTransition" : "Transition";

		xml_open(w, name);
		write_number(w, t->is_noncurrent ? "NoncurrentDays" : "Days", t->days);
		write_date(w, t->date_us);
		write_number(w, "NewerNoncurrentVersions", t->newer_versions);
		xml_element(w, "StorageClass", t->storage_class);
		xml_close(w, name);
	}
}

static void
write_actions(struct xml_writer *w, const struct lifecycle_rule *rule)
{
	if (rule->has_expiration) {
		xml_open(w, "Expiration");
		write_number(w, "Days", rule->days);
		write_date(w, rule->date_us);
		if (rule->days < 0 && rule->date_us < 0)
			xml_element(w, "ExpiredObjectDeleteMarker",
			    rule->removes_markers ? "true" : "false");
		xml_close(w, "Expiration");
	}
	if (rule->noncurrent_days > 0) {
		xml_open(w, "NoncurrentVersionExpiration");
		write_number(w, "NoncurrentDays", rule->noncurrent_days);
		write_number(w, "NewerNoncurrentVersions", rule->newer_noncurrent);
		xml_close(w, "NoncurrentVersionExpiration");
	}
	if (rule->abort_days > 0) {
		xml_open(w, "AbortIncompleteMultipartUpload");
		write_number(w, "DaysAfterInitiation", rule->abort_days);
		xml_close(w, "AbortIncompleteMultipartUpload");
	}
}

void
lifecycle_write(struct request *rq, struct xml_writer *w, const void *value)
{
	const struct lifecycle *l = value;

	for (size_t i = 0; i < l->count; i++) {
		const struct lifecycle_rule *rule = &l->rules[i];

		xml_open(w, "Rule");
		xml_element(w, "ID", rule->id);
		write_filter(w, &rule->filter);
		xml_element(w, "Status", rule->is_enabled ? "Enabled" : "Disabled");
		write_transitions(w, rule);
		write_actions(w, rule);
		xml_close(w, "Rule");
	}
}

/* -- asking -- */

static bool
has_tags(const struct lifecycle_filter *f, const char *text)
{
	_cleanup_arena_ struct arena *arena = NULL;
	struct tags tags;
	struct err e;

	if (f->tags.count == 0)
		return true;
	if (!text)
		return false;
	arena = arena_new(0);
	if (tags_parse(str_of(text), TAGS_OF_OBJECT_MAX, arena, &tags, &e) < 0)
		return false;
	for (size_t i = 0; i < f->tags.count; i++)
		if (!strings_equal(tags_find(&tags, f->tags.items[i].key), f->tags.items[i].value))
			return false;
	return true;
}

static bool
applies(const struct lifecycle_rule *rule, const struct lifecycle_subject *s)
{
	const struct lifecycle_filter *f = &rule->filter;
	size_t n = f->prefix ? strlen(f->prefix) : 0;

	if (!rule->is_enabled || s->key.n < n || (n && memcmp(s->key.p, f->prefix, n) != 0))
		return false;
	if (f->larger_than >= 0 && s->size_bytes <= (uint64_t)f->larger_than)
		return false;
	if (f->smaller_than >= 0 && s->size_bytes >= (uint64_t)f->smaller_than)
		return false;
	return has_tags(f, s->tags);
}

int64_t
lifecycle_due(int64_t since_us, int64_t days, int64_t day_us)
{
	return (since_us / day_us + days + 1) * day_us;
}

static int64_t
expiry_by(const struct lifecycle_rule *rule, int64_t since_us, int64_t day_us)
{
	return rule->days > 0       ? lifecycle_due(since_us, rule->days, day_us)
	       : rule->date_us >= 0 ? rule->date_us
				    : INT64_MAX;
}

int64_t
lifecycle_expiry(const struct lifecycle *l, const struct lifecycle_subject *s, int64_t day_us,
    const struct lifecycle_rule **ret_rule)
{
	int64_t earliest = INT64_MAX;

	*ret_rule = NULL;
	for (size_t i = 0; i < l->count; i++) {
		int64_t at = expiry_by(&l->rules[i], s->since_us, day_us);

		if (at >= earliest || !applies(&l->rules[i], s))
			continue;
		earliest = at;
		*ret_rule = &l->rules[i];
	}
	return earliest;
}

bool
lifecycle_noncurrent_is_due(const struct lifecycle *l, const struct lifecycle_subject *s,
    size_t newer, int64_t day_us, int64_t now_us)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct lifecycle_rule *rule = &l->rules[i];

		if (rule->noncurrent_days > 0 &&
		    lifecycle_due(s->since_us, rule->noncurrent_days, day_us) <= now_us &&
		    (rule->newer_noncurrent < 0 || newer >= (size_t)rule->newer_noncurrent) &&
		    applies(rule, s))
			return true;
	}
	return false;
}

/* Rules by age take markers that old as well; those by tags or size know nothing of markers. */
bool
lifecycle_marker_is_due(
    const struct lifecycle *l, const struct lifecycle_subject *s, int64_t day_us, int64_t now_us)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct lifecycle_rule *rule = &l->rules[i];
		const struct lifecycle_filter *f = &rule->filter;

		if (f->tags.count || f->larger_than >= 0 || f->smaller_than >= 0)
			continue;
		if ((rule->removes_markers || expiry_by(rule, s->since_us, day_us) <= now_us) &&
		    applies(rule, s))
			return true;
	}
	return false;
}

bool
lifecycle_upload_is_due(
    const struct lifecycle *l, const struct lifecycle_subject *s, int64_t day_us, int64_t now_us)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->rules[i].abort_days > 0 &&
		    lifecycle_due(s->since_us, l->rules[i].abort_days, day_us) <= now_us &&
		    applies(&l->rules[i], s))
			return true;
	return false;
}

/* -- requests -- */

void
lifecycle_reply(struct request *rq, const struct lifecycle_subject *s)
{
	const struct lifecycle *l = rq->bucket->settings[SETTING_LIFECYCLE];
	const struct lifecycle_rule *rule;
	_cleanup_strbuf_ struct strbuf id = STRBUF_INIT;
	char date[TIME_TEXT_SIZE];
	int64_t at;

	if (!l)
		return;
	at = lifecycle_expiry(l, s, (int64_t)rq->walrus->conf->lifecycle_day_ms * 1000, &rule);
	if (!rule)
		return;
	time_format_http(at, date);
	url_encode(&id, str_of(rule->id), false);
	reply_headerf(
	    rq, "x-amz-expiration", "expiry-date=\"%s\", rule-id=\"%s\"", date, strbuf_c(&id));
}
