/* The reader: hostile documents are refused quickly, ordinary ones are read right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/strbuf.h"
#include "xml/soap.h"
#include "xml/xml_read.h"

static int
parse(struct str text, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;

	return xml_parse(text, &xml_limits_soap, &doc, e);
}

static const struct {
	const char *name;
	struct str text;
	int code;
} hostile[] = {
	{ "empty", STR(""), ERR_MALFORMED_XML },
	{ "no element", STR("just text"), ERR_MALFORMED_XML },
	{ "only a declaration", STR("<?xml version=\"1.0\"?>"), ERR_MALFORMED_XML },
	{ "billion laughs",
	    STR("<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\">"
		"<!ENTITY c \"&b;&b;&b;\">]><l>&c;</l>"),
	    ERR_MALFORMED_XML },
	{ "external entity",
	    STR("<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r>&x;</r>"),
	    ERR_MALFORMED_XML },
	{ "external subset", STR("<!DOCTYPE r SYSTEM \"http://127.0.0.1:1/x.dtd\"><r/>"),
	    ERR_MALFORMED_XML },
	{ "empty document type", STR("<!DOCTYPE r><r/>"), ERR_MALFORMED_XML },
	{ "document type in lower case", STR("<!doctype r><r/>"), ERR_MALFORMED_XML },
	{ "document type behind a comment", STR("<!-- > --><!DOCTYPE r><r/>"), ERR_MALFORMED_XML },
	{ "undeclared entity", STR("<r>&nbsp;</r>"), ERR_MALFORMED_XML },
	{ "entity in an attribute", STR("<r a='&x;'/>"), ERR_MALFORMED_XML },
	{ "processing instruction", STR("<?php system('x') ?><r/>"), ERR_MALFORMED_XML },
	{ "instruction inside", STR("<r><?x y?></r>"), ERR_MALFORMED_XML },
	{ "stylesheet", STR("<?xml version='1.0'?><?xml-stylesheet href='x'?><r/>"),
	    ERR_MALFORMED_XML },
	{ "second declaration", STR("<?xml version='1.0'?><?xml version='1.0'?><r/>"),
	    ERR_MALFORMED_XML },
	{ "declaration not at the start", STR(" <?xml version='1.0'?><r/>"), ERR_MALFORMED_XML },
	{ "another encoding", STR("<?xml version='1.0' encoding='ISO-8859-1'?><r>x</r>"),
	    ERR_MALFORMED_XML },
	{ "UTF-7", STR("<?xml version='1.0' encoding='UTF-7'?><r>+ADw-</r>"), ERR_MALFORMED_XML },
	{ "UTF-16 declared", STR("<?xml version='1.0' encoding='UTF-16'?><r/>"),
	    ERR_MALFORMED_XML },
	{ "UTF-16", STR("\xFF\xFE<\0r\0/\0>\0"), ERR_MALFORMED_XML },
	{ "NUL in text", STR("<r>a\0b</r>"), ERR_MALFORMED_XML },
	{ "NUL behind the end", STR("<r/>\0"), ERR_MALFORMED_XML },
	{ "invalid UTF-8", STR("<r>\xC3(</r>"), ERR_MALFORMED_XML },
	{ "overlong UTF-8", STR("<r>\xC0\xAF</r>"), ERR_MALFORMED_XML },
	{ "surrogate", STR("<r>\xED\xA0\x80</r>"), ERR_MALFORMED_XML },
	{ "control character", STR("<r>\x01</r>"), ERR_MALFORMED_XML },
	{ "control reference", STR("<r>&#1;</r>"), ERR_MALFORMED_XML },
	{ "NUL reference", STR("<r>&#0;</r>"), ERR_MALFORMED_XML },
	{ "unclosed element", STR("<r><a></r>"), ERR_MALFORMED_XML },
	{ "crossing elements", STR("<r><a><b></a></b></r>"), ERR_MALFORMED_XML },
	{ "end before start", STR("</r><r>"), ERR_MALFORMED_XML },
	{ "two roots", STR("<r/><r/>"), ERR_MALFORMED_XML },
	{ "text behind the root", STR("<r/>x"), ERR_MALFORMED_XML },
	{ "unclosed tag", STR("<r"), ERR_MALFORMED_XML },
	{ "unclosed attribute", STR("<r a=\"x>"), ERR_MALFORMED_XML },
	{ "unclosed comment", STR("<r><!-- "), ERR_MALFORMED_XML },
	{ "unclosed CDATA", STR("<r><![CDATA[x</r>"), ERR_MALFORMED_XML },
	{ "markup in an attribute", STR("<r a='<b>'/>"), ERR_MALFORMED_XML },
	{ "repeated attribute", STR("<r a='1' a='2'/>"), ERR_MALFORMED_XML },
	{ "attribute repeated by namespace", STR("<r xmlns:p='u' xmlns:q='u' p:a='1' q:a='2'/>"),
	    ERR_MALFORMED_XML },
	{ "undeclared prefix", STR("<p:r/>"), ERR_MALFORMED_XML },
	{ "prefix xml redefined", STR("<r xmlns:xml='urn:x'/>"), ERR_MALFORMED_XML },
	{ "bad name", STR("<1r/>"), ERR_MALFORMED_XML },
	{ "double hyphen", STR("<r><!-- a -- b --></r>"), ERR_MALFORMED_XML },
	{ "open bracket", STR("<r>]]></r>"), ERR_MALFORMED_XML },
};

static void
test_hostile_documents(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		struct err e = { 0 };
		int r = parse(hostile[i].text, &e);

		if (r != hostile[i].code)
			fail_msg("%s: got %s", hostile[i].name, r ? fault_name(r) : "success");
		assert_int_equal(e.code, r);
		assert_true(e.text[0] != '\0');
	}
}

/* head, `count` times piece, tail */
static struct str
repeat(struct strbuf *out, const char *head, const char *piece, unsigned count, const char *tail)
{
	strbuf_adds(out, head);
	for (unsigned i = 0; i < count; i++)
		strbuf_addf(out, "%s", piece);
	strbuf_adds(out, tail);
	return strbuf_str(out);
}

static void
test_limits_at_their_edge(void **state)
{
	static const struct {
		const char *name, *head, *piece, *tail, *after;
		unsigned at;
	} cases[] = {
		{ "depth", "", "<a>", "x", "</a>", 64 },
		{ "elements", "<a>", "<b/>", "</a>", "", 9999 },
	};
	_cleanup_strbuf_ struct strbuf attributes = STRBUF_INIT;
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (unsigned more = 0; more < 2; more++) {
			_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
			unsigned n = cases[i].at + more;

			repeat(&text, cases[i].head, cases[i].piece, n, cases[i].tail);
			repeat(&text, "", cases[i].after, n, "");
			assert_int_equal(parse(strbuf_str(&text), &e), more ? ERR_LIMIT : 0);
		}
	for (unsigned n = 64; n <= 65; n++) {
		strbuf_reset(&attributes);
		strbuf_adds(&attributes, "<a");
		for (unsigned i = 0; i < n; i++)
			strbuf_addf(&attributes, " a%u='x=y'", i);
		strbuf_adds(&attributes, "/>");
		assert_int_equal(parse(strbuf_str(&attributes), &e), n > 64 ? ERR_LIMIT : 0);
	}
}

static void
test_bytes_at_their_edge(void **state)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct err e = { 0 };

	repeat(&text, "<a>", "x", (unsigned)xml_limits_soap.bytes - 7, "</a>");
	assert_int_equal(text.n, xml_limits_soap.bytes);
	assert_int_equal(parse(strbuf_str(&text), &e), 0);
	strbuf_addc(&text, '\n');
	assert_int_equal(parse(strbuf_str(&text), &e), ERR_LIMIT);
}

/* What costs a parser more than its size: the scan must refuse it before. */
static void
test_bombs_cost_nothing(void **state)
{
	_cleanup_strbuf_ struct strbuf attributes = STRBUF_INIT, depth = STRBUF_INIT;
	uint64_t before = clock_monotonic_ms();
	struct err e = { 0 };

	strbuf_adds(&attributes, "<a");
	for (unsigned i = 0; i < 20000; i++)
		strbuf_addf(&attributes, " a%u=''", i);
	strbuf_adds(&attributes, "/>");
	assert_int_equal(parse(strbuf_str(&attributes), &e), ERR_LIMIT);
	repeat(&depth, "", "<a>", 80000, "");
	assert_int_equal(parse(strbuf_str(&depth), &e), ERR_LIMIT);
	assert_true(clock_monotonic_ms() - before < 500); /* libxml2 alone: a second and more */
}

static void
test_ordinary_document(void **state)
{
	static const char text[] =
	    "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- > ' \" <x> -->\n"
	    "<r xmlns='urn:a' xmlns:b='urn:b' q=\"a>b='c'\">\n <b:one>1</b:one><two>a<!-- x -->b"
	    "<![CDATA[<&]]>&lt;&#x20AC;</two>\r\n<three><four/></three></r>\n";
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct err e = { 0 };
	xmlNode *root, *child;

	if (xml_parse(STR(text), &xml_limits_s3, &doc, &e) < 0)
		fail_msg("%s", e.text);
	root = xmlDocGetRootElement(doc);
	assert_true(xml_is(root, "urn:a", "r"));
	assert_false(xml_is(root, "urn:b", "r"));
	child = xml_first(root);
	assert_true(xml_is(child, "urn:b", "one"));
	assert_string_equal(xml_text_of(child, 1, arena), "1");
	child = xml_next(child);
	assert_true(xml_is(child, NULL, "two"));
	assert_string_equal(xml_text_of(child, 100, arena), "ab<&<\xE2\x82\xAC");
	assert_non_null(xml_text_of(child, 8, arena));
	assert_null(xml_text_of(child, 7, arena));
	child = xml_find(root, "three");
	assert_non_null(child);
	assert_null(xml_text_of(child, 100, arena)); /* it has a child element */
	assert_string_equal(xml_text_of(xml_first(child), 0, arena), "");
	assert_null(xml_next(child));
	assert_null(xml_find(root, "four"));
}

static void
test_faults_round_trip(void **state)
{
	static const struct {
		int code, number;
		const char *text;
	} cases[] = {
		{ ERR_INSTANCE_NOT_FOUND, 0, "the instance 'i-1' does not exist" },
		{ ERR_IO, 5, "cannot <read> & 'go'" },
		{ ERR_STALE, 0, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
		struct err e = { .code = cases[i].code, .number = cases[i].number }, got = { 0 };
		struct xml_writer w;

		strncpy(e.text, cases[i].text, sizeof(e.text) - 1);
		xml_writer_init(&w, &out, true);
		xml_open(&w, "soap:Body");
		xml_attribute(&w, "xmlns:soap", NS_SOAP);
		soap_fault_write(&w, &e);
		xml_close(&w, "soap:Body");
		assert_int_equal(xml_parse(strbuf_str(&out), &xml_limits_soap, &doc, &got), 0);
		assert_true(soap_fault_read(xmlDocGetRootElement(doc), &got));
		assert_int_equal(got.code, e.code);
		assert_int_equal(got.number, e.number);
		assert_string_equal(got.text, e.text);
		assert_true(soap_fault_read(xml_first(xmlDocGetRootElement(doc)), &got));
	}
}

static void
test_other_faults(void **state)
{
	static const struct {
		const char *body;
		bool is_fault;
		int code;
	} cases[] = {
		{ "<Result/>", false, 0 },
		{ "<Fault/>", false, 0 },
		{ "<s:Fault/>", true, ERR_INTERNAL },
		{ "<s:Fault><faultstring>no</faultstring></s:Fault>", true, ERR_INTERNAL },
		{ "<s:Fault/><s:Fault/>", false, 0 },
		{ "<s:Fault><detail><Error xmlns='" NS_MALLEE
		  "'><Code>NO_SUCH_CODE</Code><Number>-3"
		  "</Number></Error></detail></s:Fault>",
		    true, ERR_INTERNAL },
		{ "<s:Fault><detail><Error "
		  "xmlns='urn:other'><Code>DENIED</Code></Error></detail></s:Fault>",
		    true, ERR_INTERNAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text =
		    xasprintf("<s:Body xmlns:s='" NS_SOAP "'>%s</s:Body>", cases[i].body);
		_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
		struct err e = { 0 };

		assert_int_equal(xml_parse(str_of(text), &xml_limits_soap, &doc, &e), 0);
		assert_int_equal(soap_fault_read(xmlDocGetRootElement(doc), &e), cases[i].is_fault);
		assert_int_equal(e.code, cases[i].code);
		assert_int_equal(e.number, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_documents),
		cmocka_unit_test(test_limits_at_their_edge),
		cmocka_unit_test(test_bytes_at_their_edge),
		cmocka_unit_test(test_bombs_cost_nothing),
		cmocka_unit_test(test_ordinary_document),
		cmocka_unit_test(test_faults_round_trip),
		cmocka_unit_test(test_other_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
