/* The policy language: what is refused and how, what each operator means, who is allowed what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "auth/policy.h"
#include "base/strbuf.h"

/* -- a small service -- */

enum { BOX = 1, THING = 2 };
static const struct policy_action actions[] = {
	{ "s3:ListBucket", BOX },
	{ "s3:PutBucketPolicy", BOX },
	{ "s3:GetObject", THING },
	{ "s3:PutObject", THING },
};
static const struct policy_key keys[] = {
	{ "s3:prefix", "s3:ListBucket*" },
	{ "s3:ExistingObjectTag/", "s3:GetObject" },
	{ "s3:authType", NULL },
};

static unsigned
resource_kinds(void *arg, struct str pattern)
{
	if (str_is(pattern, "arn:aws:s3:::box"))
		return BOX;
	return str_starts(pattern, "arn:aws:s3:::box/") ? THING : 0;
}

static bool
principal_exists(void *arg, const struct policy_principal *p)
{
	return !p->account_id || strings_equal(p->account_id, "111122223333");
}

static const struct policy_service service = { actions, ARRAY_SIZE(actions), keys, ARRAY_SIZE(keys),
	resource_kinds, principal_exists, NULL };

/* -- refusals -- */

#define ONE(statement) "{\"Statement\":[{" statement "}]}"
#define WHO "\"Effect\":\"Allow\",\"Principal\":\"*\","
#define GET WHO "\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::box/*\""
#define LIST WHO "\"Action\":\"s3:ListBucket\",\"Resource\":\"arn:aws:s3:::box\""
#define FROM(principal)                                                                            \
	ONE("\"Effect\":\"Allow\",\"Principal\":" principal                                        \
	    ",\"Action\":\"s3:*\",\"Resource\":\"arn:aws:s3:::box\"")

static const struct {
	const char *text, *message; /* NULL: taken */
} documents[] = {
	{ ONE(GET), NULL },
	{ ONE(LIST), NULL },
	{ "", "Policies must be valid JSON and the first byte must be '{'" },
	{ " {}", "Policies must be valid JSON and the first byte must be '{'" },
	{ "[]", "Policies must be valid JSON and the first byte must be '{'" },
	{ "{", "This policy contains invalid Json" },
	{ ONE(GET) "x", "This policy contains invalid Json" },
	{ "{\"Id\":\"a\",\"Id\":\"b\"}", "This policy contains invalid Json" },
	{ "{\"Id\":\"\xff\"}", "This policy contains invalid Json" },
	{ "{}", "Missing required field Statement" },
	{ "{\"Statement\":[]}", "Could not parse the policy: Statement is empty!" },
	{ "{\"Statement\":7}", "Invalid policy syntax." },
	{ "{\"Statement\":{" GET "}}", NULL },
	{ "{\"Version\":\"2012-10-17\",\"Id\":\"x\",\"Statement\":{" GET "}}", NULL },
	{ "{\"Version\":\"2012-10-18\",\"Statement\":{" GET "}}",
	    "The policy must contain a valid version string" },
	{ "{\"Id\":7,\"Statement\":{" GET "}}", "Invalid policy syntax." },
	{ "{\"statement\":{" GET "}}", "Unknown field statement" },
	{ ONE(GET ",\"Foo\":1"), "Unknown field Foo" },
	{ ONE("\"Principal\":\"*\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::box/"
	      "*\""),
	    "Missing required field Effect" },
	{ ONE("\"Effect\":\"allow\""), "Invalid effect: allow" },
	{ ONE("\"Effect\":\"Allow\""), "Missing required field Principal" },
	{ ONE(WHO "\"Resource\":\"arn:aws:s3:::box\""), "Missing required field Action" },
	{ ONE(WHO "\"Action\":\"s3:GetObject\""), "Missing required field Resource" },
	{ ONE(WHO "\"Action\":[],\"Resource\":\"arn:aws:s3:::box\""),
	    "Missing required field Action cannot be empty!" },
	{ ONE(WHO "\"Action\":[7],\"Resource\":\"arn:aws:s3:::box\""), "Invalid policy syntax." },
	{ ONE(GET ",\"NotAction\":\"s3:GetObject\""),
	    "Statement/policy already has instance of Action" },
	{ ONE(GET ",\"NotResource\":\"arn:aws:s3:::box\""),
	    "Statement/policy already has instance of Resource" },
	{ ONE(GET ",\"NotPrincipal\":\"*\""),
	    "Statement/policy already has instance of Principal" },
	{ ONE(WHO "\"Action\":\"s3:GetThing\",\"Resource\":\"arn:aws:s3:::box/*\""),
	    "Policy has invalid action" },
	{ ONE(WHO "\"Action\":\"S3:getO*\",\"Resource\":\"arn:aws:s3:::box/*\""), NULL },
	{ ONE(WHO "\"Action\":\"*\",\"Resource\":\"arn:aws:s3:::box\""), NULL },
	{ ONE(WHO "\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::other/*\""),
	    "Policy has invalid resource" },
	{ ONE(WHO "\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::box\""),
	    "Action does not apply to any resource(s) in statement" },
	{ ONE(WHO "\"Action\":[\"s3:GetObject\",\"s3:ListBucket\"],\"Resource\":\"arn:aws:s3:::"
		  "box/*\""),
	    "Action does not apply to any resource(s) in statement" },
	{ ONE(WHO "\"NotAction\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::box\""), NULL },
	{ FROM("\"me\""), "Invalid principal in policy" },
	{ FROM("7"), "Invalid principal in policy" },
	{ FROM("{}"), "Missing required field Principal cannot be empty!" },
	{ FROM("{\"AWS\":\"*\"}"), NULL },
	{ FROM("{\"AWS\":[\"111122223333\",\"arn:aws:iam::111122223333:root\"]}"), NULL },
	{ FROM("{\"AWS\":\"arn:aws:iam::111122223333:user/a/b/ann\"}"), NULL },
	{ FROM("{\"AWS\":\"arn:aws:iam::111122223333:role/r\"}"), NULL },
	{ FROM("{\"AWS\":\"arn:aws:sts::111122223333:assumed-role/r/s\"}"), NULL },
	{ FROM("{\"AWS\":\"arn:aws:iam::111122223333:user/\"}"), "Invalid principal in policy" },
	{ FROM("{\"AWS\":\"arn:aws:iam::111122223333:user/*\"}"), "Invalid principal in policy" },
	{ FROM("{\"AWS\":\"arn:aws:iam::111122223333:group/g\"}"), "Invalid principal in policy" },
	{ FROM("{\"AWS\":\"444455556666\"}"), "Invalid principal in policy" },
	{ FROM("{\"AWS\":\"11112222333\"}"), "Invalid principal in policy" },
	{ FROM("{\"AWS\":\"arn:aws:s3:::box\"}"), "Invalid principal in policy" },
	{ FROM("{\"CanonicalUser\":\"abc\",\"Service\":[\"x.y\"],\"Federated\":\"f\"}"), NULL },
	{ FROM("{\"Aws\":\"*\"}"), "Invalid principal in policy" },
	{ ONE("\"Effect\":\"Allow\",\"NotPrincipal\":{\"AWS\":\"111122223333\"},\"Action\":\"s3:*"
	      "\","
	      "\"Resource\":\"arn:aws:s3:::box\""),
	    "Allow with NotPrincipal is not allowed." },
	{ ONE("\"Effect\":\"Deny\",\"NotPrincipal\":{\"AWS\":\"111122223333\"},\"Action\":\"s3:*\","
	      "\"Resource\":\"arn:aws:s3:::box\""),
	    NULL },
	{ ONE(LIST ",\"Condition\":{\"StringEquals\":{\"s3:prefix\":\"a\"}}"), NULL },
	{ ONE(LIST ",\"Condition\":{\"StringEquals\":{\"S3:Prefix\":[\"a\",\"b\"]}}"), NULL },
	{ ONE(LIST ",\"Condition\":{\"StringIs\":{\"s3:prefix\":\"a\"}}"),
	    "Invalid Condition type : StringIs" },
	{ ONE(LIST ",\"Condition\":{\"NullIfExists\":{\"s3:prefix\":\"true\"}}"),
	    "Invalid Condition type : NullIfExists" },
	{ ONE(LIST ",\"Condition\":{\"StringEquals\":{\"s3:nothing\":\"a\"}}"),
	    "Policy has an invalid condition key" },
	{ ONE(LIST ",\"Condition\":{\"StringEquals\":{\"aws:whatever\":\"a\"}}"), NULL },
	{ ONE(LIST ",\"Condition\":{\"StringEquals\":{\"\":\"a\"}}"),
	    "Policy has an invalid condition key" },
	{ ONE(GET ",\"Condition\":{\"StringEquals\":{\"s3:prefix\":\"a\"}}"),
	    "Conditions do not apply to combination of actions and resources in statement" },
	{ ONE(GET ",\"Condition\":{\"StringEquals\":{\"s3:ExistingObjectTag/a\":\"a\"}}"), NULL },
	{ ONE(GET ",\"Condition\":{\"StringEquals\":{\"s3:ExistingObjectTag/\":\"a\"}}"),
	    "Policy has an invalid condition key" },
	{ ONE(GET ",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/33\"}}"),
	    "Invalid IP address in Conditions" },
	{ ONE(GET ",\"Condition\":{\"Bool\":{\"aws:SecureTransport\":false}}"), NULL },
	{ ONE(GET ",\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"maybe\"}}"),
	    "Invalid value in Conditions for Bool" },
	{ ONE(GET ",\"Condition\":{\"NumericEquals\":{\"aws:x\":\"ten\"}}"),
	    "Invalid value in Conditions for NumericEquals" },
	{ ONE(GET ",\"Condition\":{\"DateLessThan\":{\"aws:CurrentTime\":\"2020-13-01\"}}"),
	    "Invalid value in Conditions for DateLessThan" },
	{ ONE(GET ",\"Condition\":{\"StringEquals\":{\"aws:x\":[]}}"), "Invalid policy syntax." },
	{ ONE(GET ",\"Condition\":{\"StringEquals\":{\"aws:x\":{}}}"), "Invalid policy syntax." },
	{ ONE(GET ",\"Condition\":{\"StringEquals\":\"x\"}"), "Invalid policy syntax." },
	{ ONE(GET ",\"Condition\":[]"), "Invalid policy syntax." },
	{ "{\"Version\":\"2012-10-17\",\"Statement\":{" WHO
	  "\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::box/${aws:username\"}}",
	    "Policy has invalid resource" },
	{ "{\"Statement\":[{\"Sid\":\"a\"," GET "},{\"Sid\":\"a\"," GET "}]}",
	    "Statement IDs (SID) in a single policy must be unique." },
	{ "{\"Statement\":[{\"Sid\":\"\"," GET "},{\"Sid\":\"\"," GET "}]}", NULL },
};

static void
test_documents(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		const struct policy *p = NULL;
		struct err e = { 0 };
		int r = policy_parse(
		    str_of(documents[i].text), POLICY_OF_RESOURCE, &service, arena, &p, &e);

		if (!documents[i].message && r < 0)
			fail_msg("%s: %s", documents[i].text, e.text);
		if (!documents[i].message)
			continue;
		if (r != ERR_MALFORMED_POLICY)
			fail_msg("%s: taken", documents[i].text);
		assert_string_equal(e.text, documents[i].message);
	}
}

static void
test_size(void **state)
{
	for (unsigned over = 0; over < 2; over++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		const struct policy *p = NULL;
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct err e = { 0 };
		size_t fixed = strlen("{\"Id\":\"\",\"Statement\":{" GET "}}");
		int r;

		strbuf_adds(&text, "{    \"Id\":\"");
		for (size_t i = 0; i < POLICY_SIZE_MAX - fixed + over; i++)
			strbuf_addc(&text, 'x');
		strbuf_adds(&text, "\",\"Statement\":{" GET "}}");
		r = policy_parse(strbuf_str(&text), POLICY_OF_RESOURCE, &service, arena, &p, &e);
		assert_int_equal(r, over ? ERR_MALFORMED_POLICY : 0);
	}
}

static void
test_depth(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct policy *p = NULL;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct err e = { 0 };

	strbuf_adds(&text, "{\"Id\":");
	for (unsigned i = 0; i < 60000; i++)
		strbuf_addc(&text, '[');
	assert_int_equal(
	    policy_parse(strbuf_str(&text), POLICY_OF_RESOURCE, &service, arena, &p, &e),
	    ERR_MALFORMED_POLICY);
}

static void
test_identity_policies(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct policy *p = NULL;
	struct err e = { 0 };
	struct policy_caller ann = { .account_id = "1", .user_name = "ann" };
	struct policy_request rq = { &ann, "s3:GetObject", STR("arn:aws:s3:::any"), NULL, NULL };

	assert_int_equal(policy_parse(STR(ONE(GET)), POLICY_OF_IDENTITY, NULL, arena, &p, &e),
	    ERR_MALFORMED_POLICY);
	assert_int_equal(
	    policy_parse(STR(ONE("\"Effect\":\"Allow\",\"Action\":\"s3:Get*\",\"Resource\":\"*\"")),
		POLICY_OF_IDENTITY, NULL, arena, &p, &e),
	    0);
	assert_int_equal(policy_evaluate(p, &rq), POLICY_ALLOW);
	rq.action = "s3:PutObject";
	assert_int_equal(policy_evaluate(p, &rq), POLICY_NONE);
}

/* -- wildcards -- */

static const struct {
	const char *pattern, *text;
	bool fits;
} wildcards[] = {
	{ "", "", true },
	{ "", "a", false },
	{ "*", "", true },
	{ "*", "anything", true },
	{ "?", "", false },
	{ "?", "a", true },
	{ "?", "\xc3\xa4", true }, /* one character */
	{ "??", "\xc3\xa4", false },
	{ "*?", "x\xc3\xa4", true },
	{ "?*", "\xc3\xa4", true },
	{ "a*", "abc", true },
	{ "a*", "bc", false },
	{ "*c", "abc", true },
	{ "*c", "abd", false },
	{ "a*c", "ac", true },
	{ "a*c", "abcabc", true },
	{ "a*a", "a", false },
	{ "ab*ba", "aba", false },
	{ "a*b*c", "aXbXc", true },
	{ "a*b*c", "acb", false },
	{ "*ab*ab*", "abab", true },
	{ "*ab*ab*", "aab", false },
	{ "**a**", "a", true },
	{ "*?b*", "bb", true },
	{ "*?b*", "ab", true },
	{ "*?b*", "b", false },
	{ "a\\*", "a\\xyz", true },
};

static void
test_wildcards(void **state)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, pattern = STRBUF_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(wildcards); i++)
		if (policy_wildcard(str_of(wildcards[i].pattern), str_of(wildcards[i].text),
			false) != wildcards[i].fits)
			fail_msg("'%s' and '%s'", wildcards[i].pattern, wildcards[i].text);
	assert_true(policy_wildcard(STR("S3:get*"), STR("s3:GetObject"), true));
	assert_false(policy_wildcard(STR("S3:get*"), STR("s3:GetObject"), false));
	/* what takes time of another order when every star is tried anew */
	for (unsigned i = 0; i < 5000; i++)
		strbuf_adds(&pattern, "a*");
	strbuf_addc(&pattern, 'b');
	for (unsigned i = 0; i < 100000; i++)
		strbuf_addc(&text, 'a');
	assert_false(policy_wildcard(strbuf_str(&pattern), strbuf_str(&text), false));
}

/* -- conditions -- */

static struct str tags[] = { { "red", 3 }, { "blue", 4 } };
static const struct {
	const char *key, *value;
} context[] = {
	{ "aws:username", "ann" },
	{ "aws:star", "a*" },
	{ "x:text", "Hello" },
	{ "x:number", "10" },
	{ "x:date", "2024-02-03T04:05:06Z" },
	{ "x:true", "true" },
	{ "x:v4", "10.1.2.3" },
	{ "x:net", "10.0.0.0/7" },
	{ "x:bytes", "\xfe\xfe\xfe\xfe\xfe" },
	{ "x:v6", "2001:db8::1" },
	{ "x:mapped", "::ffff:10.1.2.3" },
	{ "x:arn", "arn:aws:iam::111122223333:user/a/b:c" },
};

static bool
lookup(void *arg, struct str key, struct policy_values *ret)
{
	static struct str one;

	if (str_is_nocase(key, "x:tags")) {
		*ret = (struct policy_values){ tags, 2 };
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(context); i++)
		if (str_is_nocase(key, context[i].key)) {
			one = str_of(context[i].value);
			*ret = (struct policy_values){ &one, 1 };
			return true;
		}
	return false;
}

static const struct {
	const char *operator, * key, *values;
	bool holds;
} conditions[] = {
	{ "StringEquals", "x:text", "\"Hello\"", true },
	{ "StringEquals", "X:Text", "\"Hello\"", true },
	{ "StringEquals", "x:text", "\"hello\"", false },
	{ "StringEquals", "x:text", "\"H*\"", false },
	{ "StringEquals", "x:text", "[\"a\",\"Hello\"]", true },
	{ "StringEquals", "x:none", "\"a\"", false },
	{ "StringEqualsIfExists", "x:none", "\"a\"", true },
	{ "StringEqualsIfExists", "x:text", "\"a\"", false },
	{ "StringNotEquals", "x:text", "\"a\"", true },
	{ "StringNotEquals", "x:text", "[\"a\",\"Hello\"]", false },
	{ "StringNotEquals", "x:none", "\"a\"", true },
	{ "StringEqualsIgnoreCase", "x:text", "\"hELLO\"", true },
	{ "StringNotEqualsIgnoreCase", "x:text", "\"hELLO\"", false },
	{ "StringLike", "x:text", "\"H?l*\"", true },
	{ "StringLike", "x:text", "\"h?l*\"", false },
	{ "StringNotLike", "x:text", "\"H*\"", false },
	{ "NumericEquals", "x:number", "10", true },
	{ "NumericEquals", "x:number", "\"10.0\"", true },
	{ "NumericNotEquals", "x:number", "10", false },
	{ "NumericLessThan", "x:number", "10", false },
	{ "NumericLessThan", "x:number", "10.5", true },
	{ "NumericLessThanEquals", "x:number", "10", true },
	{ "NumericGreaterThan", "x:number", "10", false },
	{ "NumericGreaterThanEquals", "x:number", "10", true },
	{ "NumericGreaterThan", "x:number", "\"-1\"", true },
	{ "NumericGreaterThan", "x:text", "1", false },
	{ "DateEquals", "x:date", "\"2024-02-03T04:05:06Z\"", true },
	{ "DateEquals", "x:date", "1706933106", true },
	{ "DateNotEquals", "x:date", "1706933106", false },
	{ "DateGreaterThan", "x:date", "\"2024-02-03\"", true },
	{ "DateGreaterThanEquals", "x:date", "\"2024-02-04\"", false },
	{ "DateLessThan", "x:date", "\"2024-02-03T05:05:06+01:00\"", false },
	{ "DateLessThanEquals", "x:date", "\"2024-02-03T05:05:06+01:00\"", true },
	{ "Bool", "x:true", "\"True\"", true },
	{ "Bool", "x:true", "false", false },
	{ "Bool", "x:none", "false", false },
	{ "BoolIfExists", "x:none", "false", true },
	{ "BinaryEquals", "x:text", "\"SGVsbG8=\"", true },
	{ "BinaryEquals", "x:text", "\"SGVsbG9v\"", false },
	{ "IpAddress", "x:v4", "\"10.0.0.0/8\"", true },
	{ "IpAddress", "x:v4", "\"10.1.2.4/31\"", false },
	{ "IpAddress", "x:v4", "\"10.1.2.2/31\"", true },
	{ "IpAddress", "x:v4", "\"10.1.2.3\"", true },
	{ "IpAddress", "x:v4", "\"::/0\"", false },
	{ "IpAddress", "x:v4", "\"0.0.0.0/0\"", true },
	{ "NotIpAddress", "x:v4", "[\"10.0.0.0/8\",\"1.2.3.4\"]", false },
	{ "IpAddress", "x:mapped", "\"10.1.0.0/16\"", true },
	{ "IpAddress", "x:net", "\"10.0.0.0/8\"", false },
	{ "IpAddress", "x:v6", "\"2001:db8::/32\"", true },
	{ "IpAddress", "x:v6", "\"2001:db9::/32\"", false },
	{ "IpAddress", "x:text", "\"0.0.0.0/0\"", false },
	{ "ArnLike", "x:arn", "\"arn:aws:iam::111122223333:user/*\"", true },
	{ "ArnEquals", "x:arn", "\"arn:aws:iam::*:user/a/b:?\"", true },
	{ "ArnLike", "x:arn", "\"arn:aws:*:user/a/b:c\"", false },
	{ "ArnNotLike", "x:arn", "\"arn:aws:iam::1111*:user/*\"", false },
	{ "ArnNotEquals", "x:arn", "\"arn:aws:iam::2*:user/*\"", true },
	{ "Null", "x:none", "\"true\"", true },
	{ "Null", "x:text", "\"true\"", false },
	{ "Null", "x:text", "false", true },
	{ "ForAnyValue:StringEquals", "x:tags", "[\"red\",\"green\"]", true },
	{ "ForAnyValue:StringEquals", "x:tags", "\"green\"", false },
	{ "ForAnyValue:StringEquals", "x:none", "\"green\"", false },
	{ "ForAnyValue:StringNotEquals", "x:tags", "\"red\"", true },
	{ "ForAnyValue:StringNotEquals", "x:tags", "[\"red\",\"blue\"]", false },
	{ "ForAllValues:StringEquals", "x:tags", "[\"red\",\"blue\",\"green\"]", true },
	{ "ForAllValues:StringEquals", "x:tags", "\"red\"", false },
	{ "ForAllValues:StringEquals", "x:none", "\"red\"", true },
	{ "ForAllValues:StringNotLike", "x:tags", "\"g*\"", true },
	{ "ForAllValues:StringNotLike", "x:tags", "\"r*\"", false },
	{ "ForAnyValue:StringLikeIfExists", "x:none", "\"r*\"", true },
	{ "StringEquals", "x:text", "\"${x:text}\"", true },
	{ "StringEquals", "x:text", "\"${x:none}\"", false },
	{ "StringEquals", "x:text", "\"${x:none, 'Hello'}\"", true },
	{ "StringEquals", "x:text", "\"${x:tags}\"", false }, /* two values */
	{ "StringLike", "x:text", "\"${aws:star}\"", false }, /* the star of a value is none */
	{ "StringLike", "x:text", "\"${x:bytes}\"", false },  /* nor any byte of it */
	{ "StringLike", "aws:star", "\"a${*}\"", true },
	{ "StringLike", "x:text", "\"Hell${*}\"", false },
	{ "StringLike", "x:text", "\"${$}{x\"", false },
};

static void
test_conditions(void **state)
{
	struct policy_caller ann = { .account_id = "111122223333", .user_name = "ann" };
	struct policy_request rq = { &ann, "s3:GetObject", STR("r"), lookup, NULL };

	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		const struct policy *p = NULL;
		_cleanup_free_ char *text =
		    xasprintf("{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\","
			      "\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\","
			      "\"Condition\":{\"%s\":{\"%s\":%s}}}}",
			conditions[i].operator, conditions[i].key, conditions[i].values);
		struct err e = { 0 };

		if (policy_parse(str_of(text), POLICY_OF_RESOURCE, NULL, arena, &p, &e) < 0)
			fail_msg("%s: %s", text, e.text);
		if ((policy_evaluate(p, &rq) == POLICY_ALLOW) != conditions[i].holds)
			fail_msg("%s", text);
	}
}

/* Variables are of Version 2012-10-17. */
static void
test_versions(void **state)
{
	static const struct {
		const char *version, *resource;
		enum policy_effect effect;
	} rows[] = {
		{ "2012-10-17", "of/ann", POLICY_ALLOW },
		{ "2012-10-17", "of/${aws:username}", POLICY_NONE },
		{ "2008-10-17", "of/ann", POLICY_NONE },
		{ "2008-10-17", "of/${aws:username}", POLICY_ALLOW },
	};
	struct policy_caller ann = { .account_id = "111122223333", .user_name = "ann" };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		const struct policy *p = NULL;
		const char *text = arena_printf(arena,
		    "{\"Version\":\"%s\",\"Statement\":{\"Effect\":\"Allow\","
		    "\"Principal\":\"*\",\"Action\":\"*\","
		    "\"Resource\":\"of/${aws:username}\"}}",
		    rows[i].version);
		struct policy_request rq = { &ann, "s3:GetObject", str_of(rows[i].resource), lookup,
			NULL };
		struct err e = { 0 };

		assert_int_equal(
		    policy_parse(str_of(text), POLICY_OF_RESOURCE, NULL, arena, &p, &e), 0);
		if (policy_evaluate(p, &rq) != rows[i].effect)
			fail_msg("row %zu", i);
	}
}

/* -- who, what -- */

#define OWN "arn:aws:s3:::box/home/${aws:username}/*"
static const char policy_text[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":["
    "{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111122223333\"},\"Action\":\"s3:Get*\","
    "\"Resource\":\"arn:aws:s3:::box/shared/*\"},"
    "{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:user/x/ann\"},"
    "\"Action\":[\"s3:PutObject\",\"s3:GetObject\"],\"Resource\":\"" OWN "\"},"
    "{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"s3:*\",\"Resource\":\"arn:aws:s3:::box/"
    "*/secret\"},"
    "{\"Effect\":\"Allow\",\"Principal\":{\"CanonicalUser\":\"c0ffee\"},\"Action\":\"s3:"
    "GetObject\","
    "\"NotResource\":\"arn:aws:s3:::box/shared/*\"},"
    "{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"logs\"},\"NotAction\":\"s3:Get*\","
    "\"Resource\":\"*\"},"
    "{\"Effect\":\"Deny\",\"NotPrincipal\":{\"AWS\":[\"111122223333\"],\"CanonicalUser\":"
    "\"c0ffee\","
    "\"Service\":\"logs\"},\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::box/shut\"}]}";

static const struct policy_caller ann = { "111122223333", "ann",
	"arn:aws:iam::111122223333:user/ann", "aaaa", NULL };
static const struct policy_caller bob = { "111122223333", "bob",
	"arn:aws:iam::111122223333:user/bob", "aaaa", NULL };
static const struct policy_caller root = { "111122223333", "", "arn:aws:iam::111122223333:root",
	"aaaa", NULL };
static const struct policy_caller other = { "444455556666", "ann",
	"arn:aws:iam::444455556666:user/ann", "c0ffee", NULL };
static const struct policy_caller nobody = { NULL, NULL, NULL, NULL, NULL };
static const struct policy_caller logs = { NULL, NULL, NULL, NULL, "logs" };

static const struct {
	const struct policy_caller *who;
	const char *action, *resource;
	enum policy_effect effect;
} requests[] = {
	{ &ann, "s3:GetObject", "arn:aws:s3:::box/shared/a", POLICY_ALLOW },
	{ &root, "s3:GetObject", "arn:aws:s3:::box/shared/a", POLICY_ALLOW },
	{ &other, "s3:GetObject", "arn:aws:s3:::box/shared/a", POLICY_NONE },
	{ &nobody, "s3:GetObject", "arn:aws:s3:::box/shared/a", POLICY_NONE },
	{ &ann, "s3:GetObject", "arn:aws:s3:::box/shared/secret", POLICY_DENY },
	{ &nobody, "s3:GetObject", "arn:aws:s3:::box/x/secret", POLICY_DENY },
	{ &ann, "s3:PutObject", "arn:aws:s3:::box/home/ann/a", POLICY_ALLOW },
	{ &bob, "s3:PutObject", "arn:aws:s3:::box/home/ann/a", POLICY_NONE },
	{ &ann, "s3:PutObject", "arn:aws:s3:::box/home/bob/a", POLICY_NONE },
	{ &root, "s3:PutObject", "arn:aws:s3:::box/home/ann/a", POLICY_NONE },
	{ &other, "s3:PutObject", "arn:aws:s3:::box/home/ann/a", POLICY_NONE },
	{ &other, "s3:GetObject", "arn:aws:s3:::box/else", POLICY_ALLOW },
	{ &logs, "s3:PutObject", "arn:aws:s3:::box/else", POLICY_ALLOW },
	{ &logs, "s3:GetObject", "arn:aws:s3:::box/else", POLICY_NONE },
	{ &nobody, "s3:GetObject", "arn:aws:s3:::box/shut", POLICY_DENY },
	{ &bob, "s3:GetObject", "arn:aws:s3:::box/shut", POLICY_NONE },
	{ &other, "s3:GetObject", "arn:aws:s3:::box/shut", POLICY_ALLOW },
};

static void
test_requests(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct policy *p = NULL;
	struct err e = { 0 };

	if (policy_parse(STR(policy_text), POLICY_OF_RESOURCE, NULL, arena, &p, &e) < 0)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct policy_request rq = { requests[i].who, requests[i].action,
			str_of(requests[i].resource), lookup, NULL };

		if (policy_evaluate(p, &rq) != requests[i].effect)
			fail_msg("row %zu: %s %s", i, rq.action, requests[i].resource);
	}
}

/* -- public -- */

#define OPEN                                                                                       \
	"\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"*\"},\"Action\":\"*\",\"Resource\":\"*\""
#define IF(condition) ONE(OPEN ",\"Condition\":{" condition "}")
static const struct {
	const char *text;
	bool is_public;
} publics[] = {
	{ ONE(OPEN), true },
	{ FROM("{\"AWS\":\"111122223333\"}"), false },
	{ ONE("\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\""),
	    false },
	{ IF("\"StringEquals\":{\"aws:PrincipalAccount\":\"1\"}"), false },
	{ IF("\"StringLike\":{\"aws:PrincipalAccount\":\"1*\"}"), true },
	{ IF("\"StringNotEquals\":{\"aws:PrincipalAccount\":\"1\"}"), true },
	{ IF("\"StringEqualsIfExists\":{\"aws:PrincipalAccount\":\"1\"}"), true },
	{ IF("\"StringEquals\":{\"aws:UserAgent\":\"1\"}"), true },
	{ IF("\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}"), false },
	{ IF("\"IpAddress\":{\"aws:SourceIp\":[\"10.0.0.0/8\",\"0.0.0.0/1\"]}"), true },
	{ IF("\"IpAddress\":{\"aws:SourceIp\":\"2001:db8::/32\"}"), false },
	{ IF("\"NotIpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}"), true },
	{ IF("\"Null\":{\"aws:userid\":\"true\"}"), true },
};

static void
test_public(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(publics); i++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		const struct policy *p = NULL;
		struct err e = { 0 };

		if (policy_parse(str_of(publics[i].text), POLICY_OF_RESOURCE, NULL, arena, &p, &e) <
		    0)
			fail_msg("%s: %s", publics[i].text, e.text);
		if (policy_is_public(p) != publics[i].is_public)
			fail_msg("%s", publics[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_identity_policies),
		cmocka_unit_test(test_wildcards),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_public),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
