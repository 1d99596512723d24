/* {"expiration": TIME, "conditions": [CONDITION...]}; a condition is {NAME: VALUE},
 * ["eq"|"starts-with", "$NAME", VALUE] or ["content-length-range", MIN, MAX]. S3 API reference,
 * "Creating a POST policy". Names of fields are compared without regard to case. */
#include "post_policy.h"

#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#include "base/clock.h"
#include "base/strbuf.h"

#define POLICY_BYTES_MAX FORM_FIELDS_BYTES_MAX
#define CONDITIONS_MAX 500

struct checking {
	const char *bucket;
	const struct form_part *fields;
	size_t count;
	bool covered[FORM_FIELDS_MAX];
	bool is_bucket_covered;
	struct post_policy *policy;
	struct err *e;
};

static int
invalid(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID_POLICY_DOCUMENT, "Invalid Policy: %s", what);
}

static int
refused(struct err *e, const char *what)
{
	return err_set(e, ERR_ACCESS_DENIED, "Invalid according to Policy: %s", what);
}

/* -- reading -- */

/* The documentation lets a dollar be written as \$, which JSON does not know. */
static void
undo_dollars(struct strbuf *out, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\\' && i + 1 < text.n) {
			if (text.p[i + 1] != '$')
				strbuf_addc(out, '\\');
			i++;
		}
		strbuf_addc(out, text.p[i]);
	}
}

static int
parse(struct str policy, json_t **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ void *bytes = NULL;
	json_error_t why;
	size_t n;

	if (policy.n > POLICY_BYTES_MAX || !base64_decode(policy, &bytes, &n))
		return invalid(e, "Invalid Base64 encoding.");
	undo_dollars(&text, (struct str){ bytes, n });
	*ret = json_loadb(strbuf_c(&text), text.n, JSON_REJECT_DUPLICATES, &why);
	if (!*ret)
		return err_set(e, ERR_INVALID_POLICY_DOCUMENT,
		    "Invalid Policy: Invalid JSON: %s near line %d.", why.text, why.line);
	return json_is_object(*ret) ? 0 : invalid(e, "Invalid JSON.");
}

/* -- conditions -- */

static struct str
value_of(struct checking *c, const char *name)
{
	struct str value = { NULL, 0 };

	if (strcasecmp(name, "bucket") == 0) {
		c->is_bucket_covered = true;
		value = str_of(c->bucket);
	}
	for (size_t i = 0; i < c->count; i++)
		if (strcasecmp(c->fields[i].name, name) == 0) {
			c->covered[i] = true;
			if (!value.p)
				value = c->fields[i].value;
		}
	return value;
}

/* Of a Content-Type with commas each value must begin so. */
static bool
starts_with(const char *name, struct str value, struct str prefix)
{
	struct str part;

	if (strcasecmp(name, "content-type") != 0)
		return value.n >= prefix.n && memcmp(value.p, prefix.p, prefix.n) == 0;
	do {
		if (!str_split(&value, ',', &part))
			part = STR("");
		part = str_trim(part);
		if (part.n < prefix.n || (prefix.n && memcmp(part.p, prefix.p, prefix.n) != 0))
			return false;
	} while (value.p);
	return true;
}

static int
check_value(struct checking *c, bool is_prefix, const char *name, const char *wanted)
{
	struct str value = value_of(c, name), text = str_of(wanted);
	char what[400];

	if (!value.p)
		value = STR("");
	if (is_prefix ? starts_with(name, value, text) : str_eq(value, text))
		return 0;
	(void)snprintf(what, sizeof(what),
	    "Policy Condition failed: [\"%s\", \"$%.80s\", \"%.250s\"]",
	    is_prefix ? "starts-with" : "eq", name, wanted);
	return refused(c->e, what);
}

/* A string, or a whole number as it is written. */
static const char *
scalar(const json_t *value, char number[24])
{
	if (!json_is_integer(value))
		return json_string_value(value);
	(void)snprintf(number, 24, "%lld", (long long)json_integer_value(value));
	return number;
}

static int
check_object(struct checking *c, json_t *condition)
{
	void *member = json_object_iter(condition);
	const char *value;
	char number[24];

	if (json_object_size(condition) != 1)
		return invalid(c->e,
		    "Invalid Simple-Condition: Simple-Conditions must have exactly one property "
		    "specified.");
	value = scalar(json_object_iter_value(member), number);
	if (!value)
		return invalid(c->e, "Invalid Simple-Condition: value must be a string.");
	return check_value(c, false, json_object_iter_key(member), value);
}

static int
read_range(struct checking *c, const json_t *condition)
{
	uint64_t limits[2];

	for (size_t i = 0; i < 2; i++) {
		char number[24];
		const char *text = scalar(json_array_get(condition, i + 1), number);

		if (!text || !str_to_u64(str_of(text), &limits[i]))
			return invalid(
			    c->e, "Invalid content-length-range: two numbers are needed.");
	}
	if (limits[0] > c->policy->bytes_min)
		c->policy->bytes_min = limits[0];
	if (limits[1] < c->policy->bytes_max)
		c->policy->bytes_max = limits[1];
	return 0;
}

static int
check_array(struct checking *c, const json_t *condition)
{
	const char *operator= json_string_value(json_array_get(condition, 0));
	const char *name, *value;
	char number[24];

	if (!operator)
		return invalid(c->e, "Invalid Condition: it names no operation.");
	if (json_array_size(condition) != 3)
		return invalid(c->e, "Invalid Condition: wrong number of arguments.");
	if (strcasecmp(operator, "content-length-range") == 0)
		return read_range(c, condition);
	if (strcasecmp(operator, "eq") != 0 && strcasecmp(operator, "starts-with") != 0)
		return invalid(c->e, "Invalid Condition: unknown operation.");
	name = json_string_value(json_array_get(condition, 1));
	value = scalar(json_array_get(condition, 2), number);
	if (!name || name[0] != '$' || !value)
		return invalid(c->e, "Invalid Condition: a field's name begins with '$'.");
	return check_value(c, strcasecmp(operator, "starts-with") == 0, name + 1, value);
}

/* -- the whole -- */

static int
check_expiration(const json_t *document, int64_t now_us, struct err *e)
{
	const char *text = json_string_value(json_object_get(document, "expiration"));
	int64_t until_us;

	if (!text)
		return invalid(e, "Policy missing expiration.");
	if (!time_parse_iso(str_of(text), &until_us))
		return err_set(e, ERR_INVALID_POLICY_DOCUMENT,
		    "Invalid Policy: Invalid 'expiration' value: '%.64s'", text);
	return until_us <= now_us ? refused(e, "Policy expired.") : 0;
}

static bool
needs_no_condition(const char *name)
{
	static const char *const names[] = { "policy", "signature", "AWSAccessKeyId",
		"x-amz-signature" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return strncasecmp(name, "x-ignore-", 9) == 0;
}

static int
check_covered(const struct checking *c)
{
	_cleanup_strbuf_ struct strbuf what = STRBUF_INIT;
	const char *separator = "Extra input fields: ";

	for (size_t i = 0; i < c->count; i++) {
		if (c->covered[i] || needs_no_condition(c->fields[i].name))
			continue;
		strbuf_addf(&what, "%s%.64s", separator, c->fields[i].name);
		separator = ", ";
	}
	if (!c->is_bucket_covered)
		strbuf_addf(&what, "%s%s", separator, "bucket");
	return what.n ? refused(c->e, strbuf_c(&what)) : 0;
}

static int
check_conditions(struct checking *c, const json_t *conditions)
{
	int r = 0;

	if (!json_is_array(conditions) || json_array_size(conditions) > CONDITIONS_MAX)
		return invalid(c->e, "Policy missing conditions.");
	for (size_t i = 0; r == 0 && i < json_array_size(conditions); i++) {
		json_t *condition = json_array_get(conditions, i);

		r = json_is_object(condition) ? check_object(c, condition)
		    : json_is_array(condition)
			? check_array(c, condition)
			: invalid(c->e, "Invalid Condition: neither an object nor an array.");
	}
	return r < 0 ? r : check_covered(c);
}

int
post_policy_check(struct str policy, const char *bucket, const struct form_part *fields,
    size_t count, int64_t now_us, struct post_policy *ret, struct err *e)
{
	struct checking c = { .bucket = bucket,
		.fields = fields,
		.count = count < FORM_FIELDS_MAX ? count : FORM_FIELDS_MAX,
		.policy = ret,
		.e = e };
	json_t *document = NULL;
	int r = parse(policy, &document, e);

	*ret = (struct post_policy){ 0, UINT64_MAX };
	if (r == 0)
		r = check_expiration(document, now_us, e);
	if (r == 0)
		r = check_conditions(&c, json_object_get(document, "conditions"));
	json_decref(document);
	return r;
}
