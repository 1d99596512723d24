/* What settings of buckets decide, without a store: which rule of a lifecycle applies and when, who
 * may ask across origins, where a website leads, what a notification is for, and how a line of a
 * log looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "cors.h"
#include "lifecycle.h"
#include "logging.h"
#include "notification.h"
#include "website.h"

#define DAY INT64_C(86400000000)

typedef int (*parse_fn)(struct str body, struct arena *arena, const void **ret, struct err *e);

static const void *
parsed(parse_fn parse, const char *text, struct arena *arena)
{
	const void *value = NULL;
	struct err e = { 0 };

	if (parse(str_of(text), arena, &value, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return value;
}

/* -- lifecycle -- */

static void
test_days(void **state)
{
	/* the midnight after so many whole days */
	assert_int_equal(lifecycle_due(10 * DAY + 1, 3, DAY), 14 * DAY);
	assert_int_equal(lifecycle_due(10 * DAY, 3, DAY), 14 * DAY);
	assert_int_equal(lifecycle_due(11 * DAY - 1, 3, DAY), 14 * DAY);
	assert_int_equal(lifecycle_due(1500000, 1, 1000000), 3000000);
}

static void
test_lifecycle(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct lifecycle *l = parsed(lifecycle_parse,
	    "<LifecycleConfiguration>"
	    "<Rule><ID>slow</ID><Prefix>a</Prefix><Status>Enabled</Status>"
	    "<Expiration><Days>9</Days></Expiration></Rule>"
	    "<Rule><ID>fast</ID><Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v</Value></"
	    "Tag>"
	    "<ObjectSizeGreaterThan>10</ObjectSizeGreaterThan></And></Filter><Status>Enabled</"
	    "Status>"
	    "<Expiration><Days>1</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>2"
	    "</NoncurrentDays><NewerNoncurrentVersions>1</NewerNoncurrentVersions>"
	    "</NoncurrentVersionExpiration></Rule>"
	    "<Rule><ID>off</ID><Filter/><Status>Disabled</Status>"
	    "<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
	    arena);
	static const struct {
		const char *key, *tags;
		uint64_t size;
		const char *rule;
		int64_t at;
	} cases[] = {
		{ "b", NULL, 100, NULL, INT64_MAX },
		{ "a", NULL, 100, "slow", 10 * DAY },
		{ "a/b", "k=v", 11, "fast", 2 * DAY },
		{ "a/b", "x=y&k=v", 11, "fast", 2 * DAY },
		{ "a/b", "k=w", 11, "slow", 10 * DAY },
		{ "a/b", NULL, 11, "slow", 10 * DAY },
		{ "a/b", "k=v", 10, "slow", 10 * DAY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lifecycle_subject s = { str_of(cases[i].key), cases[i].tags, cases[i].size,
			1 };
		const struct lifecycle_rule *rule;
		int64_t at = lifecycle_expiry(l, &s, DAY, &rule);

		if (at != cases[i].at || !strings_equal(rule ? rule->id : NULL, cases[i].rule))
			fail_msg("case %zu: %s", i, rule ? rule->id : "none");
	}
	{
		struct lifecycle_subject s = { STR("a/b"), "k=v", 11, 1 };

		assert_false(lifecycle_noncurrent_is_due(l, &s, 0, DAY, 9 * DAY));
		assert_true(lifecycle_noncurrent_is_due(l, &s, 1, DAY, 3 * DAY));
		assert_false(lifecycle_noncurrent_is_due(l, &s, 1, DAY, 3 * DAY - 1));
		/* rules by tags and sizes know nothing of markers */
		assert_false(lifecycle_marker_is_due(l, &s, DAY, 9 * DAY));
		assert_true(lifecycle_marker_is_due(l, &s, DAY, 10 * DAY));
		assert_false(lifecycle_upload_is_due(l, &s, DAY, 99 * DAY));
	}
}

/* -- CORS -- */

static void
test_cors(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct cors *cors = parsed(cors_parse,
	    "<CORSConfiguration><CORSRule><ID>1</ID><AllowedOrigin>http://*.a.test</AllowedOrigin>"
	    "<AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-*-y</AllowedHeader></CORSRule>"
	    "<CORSRule><ID>2</ID><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
	    "</CORSRule></CORSConfiguration>",
	    arena);
	static const struct {
		const char *origin, *method, *headers, *id;
	} cases[] = {
		{ "http://x.a.test", "PUT", NULL, "1" },
		{ "http://.a.test", "PUT", NULL, "1" },
		{ "http://a.test", "PUT", NULL, NULL },
		{ "http://x.a.test.b", "PUT", NULL, NULL },
		{ "http://X.A.test", "PUT", NULL, NULL },
		{ "http://x.a.test", "GET", NULL, "2" },
		{ "null", "GET", "", "2" },
		{ "http://x.a.test", "PUT", "X-a-Y,x-b-y , ", "1" },
		{ "http://x.a.test", "PUT", "x-y", NULL },
		{ "http://x.a.test", "PUT", "x-a-y, z", NULL },
		{ "null", "GET", "z", NULL },
		{ "null", "DELETE", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str headers =
		    cases[i].headers ? str_of(cases[i].headers) : (struct str){ NULL, 0 };
		const char *pattern;
		const struct cors_rule *rule = cors_find(
		    cors, str_of(cases[i].origin), str_of(cases[i].method), headers, &pattern);

		if (!strings_equal(rule ? rule->id : NULL, cases[i].id))
			fail_msg("case %zu: %s", i, rule ? rule->id : "none");
	}
}

/* -- websites -- */

static void
test_website(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct website *w = parsed(website_parse,
	    "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument><RoutingRules>"
	    "<RoutingRule><Condition><KeyPrefixEquals>a/</KeyPrefixEquals></Condition><Redirect>"
	    "<ReplaceKeyPrefixWith>b c/</ReplaceKeyPrefixWith></Redirect></RoutingRule>"
	    "<RoutingRule><Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>"
	    "</Condition><Redirect><Protocol>https</Protocol><HostName>h.test</HostName></Redirect>"
	    "</RoutingRule></RoutingRules></WebsiteConfiguration>",
	    arena);
	static const struct {
		const char *key;
		int status;
		const char *location;
	} cases[] = {
		{ "a/x", 0, "http://host:1/b%20c/x" },
		{ "x", 0, NULL },
		{ "x y", 404, "https://h.test/x%20y" },
		{ "x", 403, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct str key = str_of(cases[i].key);
		const struct website_rule *rule = website_find(w, key, cases[i].status);

		if (rule)
			website_location(
			    &rule->redirect, rule->prefix, key, "http", STR("host:1"), &out);
		if (!strings_equal(rule ? strbuf_c(&out) : NULL, cases[i].location))
			fail_msg("case %zu: %s", i, strbuf_c(&out));
	}
}

/* -- notifications -- */

static void
test_notification(void **state)
{
	static const char *events[] = { "s3:ObjectCreated:*", "s3:ObjectRemoved:Delete", NULL };
	const struct notification_rule rule = { .events = events, .prefix = "ab", .suffix = "bc" };

	assert_true(notification_matches(&rule, "ObjectCreated:Copy", STR("abc")));
	assert_true(notification_matches(&rule, "ObjectRemoved:Delete", STR("ab-bc")));
	assert_false(notification_matches(&rule, "ObjectRemoved:DeleteMarkerCreated", STR("abc")));
	assert_false(notification_matches(&rule, "ObjectCreated:Put", STR("ab")));
	assert_false(notification_matches(&rule, "ObjectCreated:Put", STR("xbc")));
	assert_false(notification_matches(&rule, "", STR("abc")));
	assert_true(str_is(notification_url("a=http://x/?q=1 b=http://y", "a"), "http://x/?q=1"));
	assert_null(notification_url("a=http://x b=", "b").p);
	assert_null(notification_url("", "").p);
}

/* -- access logs -- */

static void
test_log_line(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct logging_record r = { .owner = "owner",
		.bucket = "b",
		.at_us = INT64_C(1549411238000000),
		.remote = STR("192.0.2.3"),
		.request_id = STR("id"),
		.operation = "REST.GET.OBJECT",
		.key = STR("a b/\xc3\xa9"),
		.method = STR("GET"),
		.uri = STR("/b/a%20b?x"),
		.status = 206,
		.sent = 2,
		.object_size = 4,
		.total_ms = 7,
		.turn_around_ms = 5,
		.agent = STR("a\"b c\n"),
		.host_id = STR("walrus-1"),
		.signature = "SigV4",
		.authentication = "AuthHeader",
		.host = STR("b.s3.test") };

	logging_format(&r, &out);
	assert_string_equal(strbuf_c(&out),
	    "owner b [06/Feb/2019:00:00:38 +0000] 192.0.2.3 - id REST.GET.OBJECT a%20b/%C3%A9"
	    " \"GET /b/a%20b?x HTTP/1.1\" 206 - 2 4 7 5 \"-\" \"a%22b c%0A\" - walrus-1 SigV4 -"
	    " AuthHeader b.s3.test - - -\n");
}

static void
test_log_keys(void **state)
{
	struct logging l = { .prefix = "p/" };
	const int64_t event = INT64_C(1549411238000000), now = event + DAY;
	_cleanup_free_ char *simple = logging_key(&l, "111122223333", "r-1", "b", event, now, "U");
	_cleanup_free_ char *delivered = NULL, *happened = NULL;

	assert_string_equal(simple, "p/2019-02-07-00-00-38-U");
	l.is_partitioned = true;
	delivered = logging_key(&l, "111122223333", "r-1", "b", event, now, "U");
	assert_string_equal(delivered, "p/111122223333/r-1/b/2019/02/07/2019-02-07-00-00-38-U");
	l.by_event_time = true;
	happened = logging_key(&l, "111122223333", "r-1", "b", event, now, "U");
	assert_string_equal(happened, "p/111122223333/r-1/b/2019/02/06/2019-02-06-00-00-00-U");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_days),
		cmocka_unit_test(test_lifecycle),
		cmocka_unit_test(test_cors),
		cmocka_unit_test(test_website),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_log_line),
		cmocka_unit_test(test_log_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
