/* ACLs: canned, headers and XML into grants and text, text into answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "acl.h"

#define ANN "111122223333"
#define BOB "444455556666"
#define EXEC "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"

static const char *
account(void *arg, struct str id)
{
	return str_is(id, "ann-id") ? ANN : str_is(id, "bob-id") ? BOB : NULL;
}

static const struct acl_resolver resolver = { account, NULL, NULL };

static const struct {
	const char *name;
	bool is_bucket;
	const char *bucket_owner, *text; /* NULL: private */
} canned[] = {
	{ "private", false, ANN, NULL },
	{ "private", true, ANN, NULL },
	{ "public-read", true, ANN, "F" ANN " Rall" },
	{ "public-read-write", false, ANN, "F" ANN " Rall Wall" },
	{ "authenticated-read", false, ANN, "F" ANN " Rauthenticated" },
	{ "aws-exec-read", false, ANN, "F" ANN " Rexec" },
	{ "ec2-bundle-read", false, ANN, "F" ANN " Rexec" },
	{ "bucket-owner-read", false, BOB, "F" ANN " R" BOB },
	{ "bucket-owner-full-control", false, BOB, "F" ANN " F" BOB },
	{ "bucket-owner-full-control", false, ANN, NULL },
	{ "bucket-owner-read", true, ANN, NULL },
	{ "log-delivery-write", true, ANN, "F" ANN " Wlogs rlogs" },
	{ "log-delivery-write", false, ANN, NULL },
};

static void
test_canned(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct acl_argument bad;
	struct acl acl;
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(canned); i++) {
		struct acl_subject subject = { ANN, canned[i].bucket_owner, canned[i].is_bucket };

		assert_int_equal(
		    acl_from_canned(str_of(canned[i].name), &subject, &acl, &bad, &e), 0);
		if (!strings_equal(acl_format(&acl, ANN, arena), canned[i].text))
			fail_msg("%s: %s", canned[i].name, acl_format(&acl, ANN, arena));
	}
	assert_int_equal(
	    acl_from_canned(STR("public"), &(struct acl_subject){ ANN, ANN, true }, &acl, &bad, &e),
	    ERR_INVALID_ARGUMENT);
	assert_string_equal(bad.name, "x-amz-acl");
	assert_true(str_is(bad.value, "public"));
}

#define GROUP "http://acs.amazonaws.com/groups/"
static const struct {
	unsigned header;
	const char *value;
	int code;
	const char *text; /* or what was wrong: name=value */
} headers[] = {
	{ 0, "id=\"bob-id\"", 0, "F" BOB },
	{ 1, "id=bob-id, id=\"ann-id\"", 0, "R" BOB " R" ANN },
	{ 2, "uri=\"" GROUP "global/AllUsers\"", 0, "Wall" },
	{ 3, "uri=\"" GROUP "global/AuthenticatedUsers\"", 0, "rauthenticated" },
	{ 4, "uri=" GROUP "s3/LogDelivery,id=" EXEC, 0, "wlogs wexec" },
	{ 1, "id=\"no-id\"", ERR_INVALID_ARGUMENT, "id=no-id" },
	{ 1, "uri=\"" GROUP "x\"", ERR_INVALID_ARGUMENT, "uri=" GROUP "x" },
	{ 1, "emailAddress=\"a@b\"", ERR_GRANT_BY_EMAIL, NULL },
	{ 1, "bob-id", ERR_INVALID_ARGUMENT, "x-amz-grant-read=bob-id" },
	{ 1, "", ERR_INVALID_ARGUMENT, "x-amz-grant-read=" },
	{ 1, "name=bob", ERR_INVALID_ARGUMENT, "x-amz-grant-read=name=bob" },
};

static void
test_headers(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		struct acl acl = { .count = 0 };
		struct acl_argument bad = { "", { "", 0 } };
		struct err e = { 0 };
		int r = acl_add_header(
		    &acl, headers[i].header, str_of(headers[i].value), &resolver, &bad, &e);

		assert_int_equal(r, headers[i].code);
		if (r == 0)
			assert_string_equal(acl_format(&acl, ANN, arena), headers[i].text);
		if (r == ERR_INVALID_ARGUMENT)
			assert_string_equal(
			    arena_printf(arena, "%s=%.*s", bad.name, (int)bad.value.n, bad.value.p),
			    headers[i].text);
	}
}

#define XML(owner, list)                                                                           \
	"<AccessControlPolicy xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">" owner list \
	"</AccessControlPolicy>"
#define OWNER "<Owner><ID>ann-id</ID></Owner>"
#define LIST(grants) "<AccessControlList>" grants "</AccessControlList>"
#define GRANT(type, who, permission)                                                               \
	"<Grant><Grantee xsi:type=\"" type "\">" who "</Grantee><Permission>" permission           \
	"</Permission></Grant>"
static const struct {
	const char *xml;
	int code;
	const char *text;
} documents[] = {
	{ XML(OWNER, LIST("")), 0, "" },
	{ XML(OWNER, LIST(GRANT("CanonicalUser", "<ID>ann-id</ID>", "FULL_CONTROL"))), 0, NULL },
	{ XML(OWNER, LIST(GRANT("CanonicalUser", "<ID>bob-id</ID>", "FULL_CONTROL")
			     GRANT("Group", "<URI>" GROUP "global/AllUsers</URI>", "READ"))),
	    0, "F" BOB " Rall" },
	{ XML(OWNER, LIST(GRANT("CanonicalUser", "<ID>" EXEC "</ID>", "READ"))), 0, "Rexec" },
	{ XML(OWNER, LIST(GRANT("CanonicalUser", "<ID>no-id</ID>", "READ"))), ERR_INVALID_ARGUMENT,
	    "CanonicalUser/ID=no-id" },
	{ XML(OWNER, LIST(GRANT("Group", "<URI>x</URI>", "READ"))), ERR_INVALID_ARGUMENT,
	    "Group/URI=x" },
	{ XML(OWNER,
	      LIST(GRANT("AmazonCustomerByEmail", "<EmailAddress>a@b</EmailAddress>", "READ"))),
	    ERR_GRANT_BY_EMAIL, NULL },
	{ XML(OWNER, LIST(GRANT("Group", "<ID>bob-id</ID>", "READ"))), ERR_MALFORMED_ACL, NULL },
	{ XML(OWNER, LIST(GRANT("CanonicalUser", "<ID>bob-id</ID>", "read"))), ERR_MALFORMED_ACL,
	    NULL },
	{ XML(OWNER, LIST("<Grant/>")), ERR_MALFORMED_ACL, NULL },
	{ XML(OWNER, LIST("<Other/>")), ERR_MALFORMED_ACL, NULL },
	{ XML(OWNER, ""), ERR_MALFORMED_ACL, NULL },
	{ XML("", LIST("")), ERR_MALFORMED_ACL, NULL },
	{ "<Other/>", ERR_MALFORMED_ACL, NULL },
	{ "not XML", ERR_MALFORMED_ACL, NULL },
	{ "", ERR_MALFORMED_ACL, NULL },
};

static void
test_documents(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		struct acl acl;
		struct acl_argument bad = { "", { "", 0 } };
		struct str owner;
		struct err e = { 0 };
		int r = acl_from_xml(
		    str_of(documents[i].xml), &resolver, arena, &acl, &owner, &bad, &e);

		if (r != documents[i].code)
			fail_msg("%s: %d", documents[i].xml, r);
		if (r == 0) {
			const char *text = acl_format(&acl, ANN, arena);

			assert_true(str_is(owner, "ann-id"));
			if (!strings_equal(text, documents[i].text))
				fail_msg("%s: %s", documents[i].xml, text);
		}
		if (r == ERR_INVALID_ARGUMENT)
			assert_string_equal(
			    arena_printf(arena, "%s=%.*s", bad.name, (int)bad.value.n, bad.value.p),
			    documents[i].text);
	}
}

static void
test_limit(void **state)
{
	struct acl acl = { .count = 0 };
	struct acl_argument bad;
	struct err e = { 0 };

	for (unsigned i = 0; i < ACL_GRANTS_MAX; i++)
		assert_int_equal(acl_add_header(&acl, 1, STR("id=bob-id"), &resolver, &bad, &e), 0);
	assert_int_equal(
	    acl_add_header(&acl, 1, STR("id=bob-id"), &resolver, &bad, &e), ERR_MALFORMED_ACL);
}

static const struct acl_caller ann = { .account_id = ANN }, bob = { .account_id = BOB },
			       nobody = { 0 }, logs = { .is_log_delivery = true },
			       image_reader = { .account_id = "0", .is_exec = true };
static const struct {
	const char *text;
	const struct acl_caller *who;
	enum permission wanted;
	bool ignores_public, allows;
} questions[] = {
	{ "F" ANN, &ann, PERMISSION_READ, false, true },
	{ "F" ANN, &ann, PERMISSION_WRITE_ACP, false, true },
	{ "F" ANN, &ann, PERMISSION_NONE, false, false },
	{ "F" ANN, &bob, PERMISSION_READ, false, false },
	{ "F" ANN, &nobody, PERMISSION_READ, false, false },
	{ "R" BOB, &bob, PERMISSION_READ, false, true },
	{ "R" BOB, &bob, PERMISSION_WRITE, false, false },
	{ "R" BOB, &bob, PERMISSION_READ_ACP, false, false },
	{ "Rall", &nobody, PERMISSION_READ, false, true },
	{ "Rall", &bob, PERMISSION_READ, false, true },
	{ "Rall", &bob, PERMISSION_READ, true, false },
	{ "Rauthenticated", &nobody, PERMISSION_READ, false, false },
	{ "Rauthenticated", &bob, PERMISSION_READ, false, true },
	{ "Rauthenticated", &bob, PERMISSION_READ, true, false },
	{ "Wlogs rlogs", &logs, PERMISSION_WRITE, true, true },
	{ "Wlogs rlogs", &bob, PERMISSION_WRITE, false, false },
	{ "Rexec", &image_reader, PERMISSION_READ, true, true },
	{ "Rexec", &bob, PERMISSION_READ, false, false },
	{ "", &ann, PERMISSION_READ, false, false },
};

static void
test_questions(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct acl acl;

	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		assert_true(acl_parse(str_of(questions[i].text), &acl, arena));
		if (acl_allows(&acl, questions[i].who, questions[i].wanted,
			questions[i].ignores_public) != questions[i].allows)
			fail_msg("row %zu", i);
	}
	assert_false(acl_parse(STR("X" ANN), &acl, arena));
	assert_false(acl_parse(STR("F"), &acl, arena));
	assert_false(acl_parse(STR("F" ANN "  Rall"), &acl, arena));
	assert_true(acl_parse(STR("F" ANN " Rlogs"), &acl, arena) && !acl_is_public(&acl));
	assert_true(acl_parse(STR("Wauthenticated"), &acl, arena) && acl_is_public(&acl));
}

static void
owner_of(void *arg, const char *account_id, struct acl_owner *ret)
{
	(void)snprintf(ret->canonical_id, sizeof(ret->canonical_id), "%s",
	    strings_equal(account_id, ANN) ? "ann-id" : "bob-id");
	(void)snprintf(ret->name, sizeof(ret->name), "%s", account_id);
}

/* What is written reads as it was. */
static void
test_round(void **state)
{
	static const char *const texts[] = { "", "F" ANN " Rall Wauthenticated",
		"R" BOB " W" BOB " r" BOB " w" BOB " F" BOB, "Wlogs rlogs Rexec" };
	_cleanup_arena_ struct arena *arena = arena_new(0);

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct xml_writer w;
		struct acl acl, again;
		struct acl_argument bad;
		struct str owner;
		struct err e = { 0 };

		assert_true(acl_parse(str_of(texts[i]), &acl, arena));
		xml_writer_init(&w, &out, false);
		xml_open(&w, "AccessControlPolicy");
		acl_write(&w, &acl, ANN, owner_of, NULL);
		xml_close(&w, "AccessControlPolicy");
		assert_int_equal(
		    acl_from_xml(strbuf_str(&out), &resolver, arena, &again, &owner, &bad, &e), 0);
		assert_string_equal(acl_format(&again, ANN, arena), texts[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_canned),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
