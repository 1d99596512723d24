/* Forms of browsers, in one piece and in every other: fields, file, and what is no such form.
 * Policies of forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/strbuf.h"
#include "form.h"
#include "post_policy.h"

#define TYPE "multipart/form-data; boundary=--b"
#define PART(disposition) "----b\r\nContent-Disposition: form-data; " disposition "\r\n\r\n"

static const struct {
	const char *type;
	bool ok;
} types[] = {
	{ "multipart/form-data; boundary=x", true },
	{ "Multipart/Form-Data;BOUNDARY=\"a b\"", true },
	{ "multipart/form-data; charset=utf-8; boundary=x", true },
	{ "multipart/form-data", false },
	{ "multipart/form-data; boundary=", false },
	{ "multipart/form-data; boundary=\"x", false },
	{ "multipart/form-data; "
	  "boundary=0123456789012345678901234567890123456789012345678901234567890123456789",
	    true },
	{ "multipart/form-data; "
	  "boundary=01234567890123456789012345678901234567890123456789012345678901234567890",
	    false },
	{ "multipart/mixed; boundary=x", false },
	{ "application/x-www-form-urlencoded", false },
	{ "", false },
};

static void
test_types(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		_cleanup_(form_reader_freep) struct form_reader *f =
		    form_reader_new(str_of(types[i].type));

		if (!f == types[i].ok)
			fail_msg("%s", types[i].type);
	}
}

static const struct {
	const char *body;
	int code; /* FORM_END, FORM_MORE when it does not end, or a fault */
	const char *key, *filename, *file;
} forms[] = {
	{ PART("name=\"key\"") "a\r\n" PART(
	      "name=\"file\"; filename=\"x.txt\"") "bytes\r\n----b--\r\n",
	    FORM_END, "a", "x.txt", "bytes" },
	{ "\r\n" PART("name=key") "a\r\n" PART("name=file") "bytes\r\n----b", FORM_END, "a", "",
	    "bytes" },
	{ "preamble\r\n" PART("NAME=\"Key\"") "\r\n" PART("name=\"FILE\"") "\r\n----b--", FORM_END,
	    "", "", "" },
	{ PART("name=\"key\"") "\r\r\n\r\n--\r\n" PART(
	      "name=\"file\"; filename=\"C:\\dir\\y\"") "\r\n---\r\n----\r\r\n----b--",
	    FORM_END, "\r\r\n\r\n--", "y", "\r\n---\r\n----\r" },
	{ PART("name=\"file\"; filename=\"q\\\"q\"") "z\r\n" PART("name=\"key\"") "late\r\n----b--",
	    FORM_END, NULL, "q\"q", "z" },
	{ "----b\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; "
	  "name=\"file\"\r\n\r\nz\r\n----b--",
	    FORM_END, NULL, "", "z" },
	{ PART("name=\"key\"") "a\r\n----b--", FORM_END, "a", NULL, NULL },
	{ PART("name=\"file\"") "cut\r\n---", FORM_MORE, NULL, "", "cut" },
	{ PART("name=\"key\"") "cut", FORM_MORE, NULL, NULL, NULL },
	{ "----b \t\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nz\r\n----b", FORM_END,
	    NULL, "", "z" },
	{ "----bad\r\n", ERR_MALFORMED_POST_REQUEST, NULL, NULL, NULL },
	{ "----b\r\n\r\nno name\r\n----b--", ERR_MALFORMED_POST_REQUEST, NULL, NULL, NULL },
	{ "----b\r\nno colon\r\n\r\n", ERR_MALFORMED_POST_REQUEST, NULL, NULL, NULL },
	{ "----b\nContent-Disposition: form-data; name=\"file\"\n\nz\n----b--",
	    ERR_MALFORMED_POST_REQUEST, NULL, NULL, NULL },
	{ PART("name=\"\""), ERR_MALFORMED_POST_REQUEST, NULL, NULL, NULL },
	{ "----b\r\nContent-Disposition: attachment; name=\"file\"\r\n\r\n",
	    ERR_MALFORMED_POST_REQUEST, NULL, NULL, NULL },
};

struct outcome {
	int code;
	struct strbuf file;
	bool has_file;
};

static void
read_form(struct form_reader *f, struct str body, size_t piece, struct outcome *out)
{
	out->code = FORM_MORE;
	for (size_t at = 0; at < body.n && out->code >= 0 && out->code != FORM_END; at += piece) {
		struct str io = { body.p + at, body.n - at < piece ? body.n - at : piece }, data;
		struct err e = { 0 };

		do {
			out->code = form_reader_next(f, &io, &data, &e);
			out->has_file |= out->code == FORM_FILE;
			if (out->code == FORM_DATA)
				strbuf_addstr(&out->file, data);
		} while (out->code == FORM_DATA || out->code == FORM_FILE);
	}
}

static void
check_form(size_t i, size_t piece)
{
	_cleanup_(form_reader_freep) struct form_reader *f = form_reader_new(STR(TYPE));
	struct outcome out = { 0 };

	read_form(f, str_of(forms[i].body), piece, &out);
	if (out.code != forms[i].code)
		fail_msg("%s\nin pieces of %zu: %d", forms[i].body, piece, out.code);
	if (out.code >= 0) {
		assert_int_equal(out.has_file, forms[i].file != NULL);
		if (forms[i].file)
			assert_string_equal(strbuf_c(&out.file), forms[i].file);
		if (forms[i].filename)
			assert_string_equal(form_reader_filename(f), forms[i].filename);
		if (forms[i].key)
			assert_true(str_is(form_reader_find(f, "KEY"), forms[i].key));
		else
			assert_null(form_reader_find(f, "key").p);
	}
	strbuf_done(&out.file);
}

static void
test_forms(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		for (size_t piece = 1; piece < 200; piece++)
			check_form(i, piece);
}

static void
test_limits(void **state)
{
	for (size_t n = FORM_FIELDS_BYTES_MAX - 100; n <= FORM_FIELDS_BYTES_MAX; n += 100) {
		_cleanup_(form_reader_freep) struct form_reader *f = form_reader_new(STR(TYPE));
		_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
		struct outcome out = { 0 };

		strbuf_adds(&body, PART("name=\"key\""));
		for (size_t i = 0; i + 190 < n; i++)
			strbuf_addc(&body, 'k');
		strbuf_adds(&body, "\r\n" PART("name=\"file\"") "z");
		for (unsigned i = 0; n == FORM_FIELDS_BYTES_MAX && i < 100; i++)
			strbuf_addc(&body, 'z'); /* of the file: does not count */
		read_form(f, strbuf_str(&body), 1000, &out);
		assert_int_equal(out.code, FORM_MORE);
		assert_true(out.has_file);
		strbuf_done(&out.file);
	}
	_cleanup_(form_reader_freep) struct form_reader *f = form_reader_new(STR(TYPE));
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	struct outcome out = { 0 };

	strbuf_adds(&body, PART("name=\"key\""));
	for (size_t i = 0; i < FORM_FIELDS_BYTES_MAX; i++)
		strbuf_addc(&body, 'k');
	read_form(f, strbuf_str(&body), 1000, &out);
	assert_int_equal(out.code, ERR_POST_FIELDS_TOO_LONG);
}

/* -- policies -- */

#define UNTIL "\"expiration\": \"2030-01-01T00:00:00Z\", "
#define BOTH "{\"bucket\": \"b\"}, [\"eq\", \"$key\", \"user/a\"]"
#define NOW_US (INT64_C(1700000000) * 1000000)

static struct form_part fields[] = {
	{ (char *)"KEY", { "user/a", 6 } },
	{ (char *)"Content-Type", { "image/png, image/gif", 20 } },
	{ (char *)"policy", { "x", 1 } },
	{ (char *)"x-ignore-me", { "x", 1 } },
};

static const struct {
	const char *text;
	int code;
	const char *message;
	uint64_t min, max;
} policies[] = {
	{ "{" UNTIL "\"conditions\": [" BOTH ", [\"starts-with\", \"$content-type\", \"image/\"]]}",
	    0, NULL, 0, UINT64_MAX },
	{ "{" UNTIL "\"conditions\": [" BOTH ", [\"Starts-With\", \"$Content-Type\", \"\"],"
	  "[\"content-length-range\", 1, \"10\"], [\"content-length-range\", 0, 9]]}",
	    0, NULL, 1, 9 },
	{ "{" UNTIL
	  "\"conditions\": [{\"bucket\": \"b\"}, [\"starts-with\", \"\\$key\", \"user/\"],"
	  "[\"starts-with\", \"$content-type\", \"\"]]}",
	    0, NULL, 0, UINT64_MAX },
	{ "{" UNTIL "\"conditions\": [" BOTH
	  ", [\"starts-with\", \"$content-type\", \"image/p\"]]}",
	    ERR_ACCESS_DENIED,
	    "Invalid according to Policy: Policy Condition failed: [\"starts-with\", "
	    "\"$content-type\", "
	    "\"image/p\"]" },
	{ "{" UNTIL "\"conditions\": [" BOTH "]}", ERR_ACCESS_DENIED,
	    "Invalid according to Policy: Extra input fields: Content-Type" },
	{ "{" UNTIL
	  "\"conditions\": [{\"key\": \"user/a\"}, {\"content-type\": \"image/png, image/gif\"}]}",
	    ERR_ACCESS_DENIED, "Invalid according to Policy: Extra input fields: bucket" },
	{ "{" UNTIL "\"conditions\": [{\"bucket\": \"other\"}]}", ERR_ACCESS_DENIED,
	    "Invalid according to Policy: Policy Condition failed: [\"eq\", \"$bucket\", "
	    "\"other\"]" },
	{ "{" UNTIL "\"conditions\": [{\"acl\": \"private\"}]}", ERR_ACCESS_DENIED,
	    "Invalid according to Policy: Policy Condition failed: [\"eq\", \"$acl\", "
	    "\"private\"]" },
	{ "{\"expiration\": \"2020-01-01T00:00:00Z\", \"conditions\": [" BOTH "]}",
	    ERR_ACCESS_DENIED, "Invalid according to Policy: Policy expired." },
	{ "{\"expiration\": \"never\", \"conditions\": []}", ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{\"conditions\": [" BOTH "]}", ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{\"EXPIRATION\": \"2030-01-01T00:00:00Z\", \"conditions\": []}",
	    ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{" UNTIL "\"CONDITIONS\": []}", ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{" UNTIL "\"conditions\": {}}", ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{" UNTIL "\"conditions\": [7]}", ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{" UNTIL "\"conditions\": [{\"bucket\": \"b\", \"key\": \"user/a\"}]}",
	    ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{" UNTIL "\"conditions\": [{\"bucket\": []}]}", ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{" UNTIL "\"conditions\": [[\"eq\", \"key\", \"user/a\"]]}", ERR_INVALID_POLICY_DOCUMENT,
	    NULL },
	{ "{" UNTIL "\"conditions\": [[\"ends-with\", \"$key\", \"a\"]]}",
	    ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{" UNTIL "\"conditions\": [[\"content-length-range\", 1]]}", ERR_INVALID_POLICY_DOCUMENT,
	    NULL },
	{ "{" UNTIL "\"conditions\": [[\"content-length-range\", -1, 2]]}",
	    ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "{" UNTIL "\"conditions\": [" BOTH "]} trailing", ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "[]", ERR_INVALID_POLICY_DOCUMENT, NULL },
	{ "", ERR_INVALID_POLICY_DOCUMENT, NULL },
};

static void
test_policies(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		_cleanup_free_ char *coded =
		    base64_encode(policies[i].text, strlen(policies[i].text));
		struct post_policy policy;
		struct err e = { 0 };
		int r = post_policy_check(
		    str_of(coded), "b", fields, ARRAY_SIZE(fields), NOW_US, &policy, &e);

		if (r != policies[i].code)
			fail_msg("%s: %d %s", policies[i].text, r, e.text);
		if (policies[i].message)
			assert_string_equal(e.text, policies[i].message);
		if (r < 0)
			continue;
		assert_int_equal(policy.bytes_min, policies[i].min);
		assert_int_equal(policy.bytes_max, policies[i].max);
	}
}

static void
test_policy_is_base64(void **state)
{
	struct post_policy policy;
	struct err e = { 0 };

	assert_int_equal(post_policy_check(STR("{}"), "b", NULL, 0, NOW_US, &policy, &e),
	    ERR_INVALID_POLICY_DOCUMENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_policy_is_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
