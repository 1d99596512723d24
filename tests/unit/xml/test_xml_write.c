/* The writer: escapes, what XML cannot hold, and canonical output equal to libxml2's exclusive C14N
 * for random documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <libxml/c14n.h>
#include "xml/xml_read.h"
#include "xml/xml_write.h"

static void
test_text_is_escaped(void **state)
{
	static const struct {
		struct str in;
		const char *text, *attribute;
	} cases[] = {
		{ STR("plain"), "plain", "plain" },
		{ STR("a<b>&c"), "a&lt;b&gt;&amp;c", "a&lt;b>&amp;c" },
		{ STR("\"it's\""), "\"it's\"", "&quot;it's&quot;" },
		{ STR("a\tb\nc\rd"), "a\tb\nc&#xD;d", "a&#x9;b&#xA;c&#xD;d" },
		{ STR("]]>"), "]]&gt;", "]]>" },
		{ STR("\x01\x1f"), "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD" },
		{ STR("\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80"),
		    "\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80",
		    "\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80" },
		{ STR("\xC3("), "\xEF\xBF\xBD(", "\xEF\xBF\xBD(" }, /* cut short */
		{ STR("\xC0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD",
		    "\xEF\xBF\xBD\xEF\xBF\xBD" }, /* overlong */
		{ STR("\xE2\x82"), "\xEF\xBF\xBD\xEF\xBF\xBD", "\xEF\xBF\xBD\xEF\xBF\xBD" },
		{ STR("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD",
		    "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" }, /* a surrogate */
		{ STR("\xEF\xBF\xBE"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD",
		    "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" }, /* U+FFFE */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		_cleanup_free_ char *value = str_dup(cases[i].in);
		_cleanup_free_ char *expected =
		    xasprintf("<a b=\"%s\">%s</a>", cases[i].attribute, cases[i].text);
		struct xml_writer w;

		xml_writer_init(&w, &out, false);
		xml_open(&w, "a");
		xml_attribute(&w, "b", value);
		xml_text(&w, cases[i].in);
		xml_close(&w, "a");
		assert_string_equal(strbuf_c(&out), expected);
	}
}

static void
test_nul_becomes_replacement(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct xml_writer w;

	xml_writer_init(&w, &out, false);
	xml_open(&w, "a");
	xml_text(&w, STR("x\0y"));
	xml_close(&w, "a");
	assert_string_equal(strbuf_c(&out), "<a>x\xEF\xBF\xBDy</a>");
}

static void
write_sample(struct xml_writer *w)
{
	xml_open(w, "list");
	xml_attribute(w, "xmlns", "urn:x");
	xml_element(w, "name", "a&b");
	xml_element(w, "absent", NULL);
	xml_element(w, "blank", "");
	xml_elementf(w, "number", "%d<%s", 7, "eight");
	xml_empty(w, "none");
	xml_raw(w, STR("<raw>&amp;</raw>"));
	xml_close(w, "list");
}

static void
test_both_modes(void **state)
{
	_cleanup_strbuf_ struct strbuf plain = STRBUF_INIT, canonical = STRBUF_INIT;
	struct xml_writer w;

	xml_writer_init(&w, &plain, false);
	xml_declaration(&w);
	write_sample(&w);
	assert_int_equal(w.depth, 0);
	assert_string_equal(strbuf_c(&plain),
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<list xmlns=\"urn:x\"><name>a&amp;b</name>"
	    "<blank/><number>7&lt;eight</number><none/><raw>&amp;</raw></list>");
	xml_writer_init(&w, &canonical, true);
	write_sample(&w);
	assert_string_equal(strbuf_c(&canonical),
	    "<list xmlns=\"urn:x\"><name>a&amp;b</name><blank></blank><number>7&lt;eight</number>"
	    "<none></none><raw>&amp;</raw></list>");
}

/* -- random documents -- */

struct generator {
	uint64_t seed;
	unsigned elements;
};

static unsigned
next_random(struct generator *g, unsigned below)
{
	g->seed = g->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(g->seed >> 33) % below;
}

static void
random_text(struct generator *g, char out[64])
{
	static const char *const pieces[] = { "a", "Z", " ", "\n", "\t", "\r", "&", "<", ">", "\"",
		"'", "\xC3\xA9", "\xF0\x9F\x98\x80", "]]>", "&amp;", "%s", "\x02" };
	size_t n = 0;

	for (unsigned i = next_random(g, 12); i > 0; i--) {
		const char *piece = pieces[next_random(g, ARRAY_SIZE(pieces))];

		memcpy(out + n, piece, strlen(piece));
		n += strlen(piece);
	}
	out[n] = '\0';
}

static void
random_attributes(struct generator *g, struct xml_writer *w, const char *prefixed)
{
	static const char *const names[] = { "Alpha", "beta", "delta", "zeta" };
	char value[64];

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (next_random(g, 3) == 0) {
			random_text(g, value);
			xml_attribute(w, names[i], value);
		}
	if (prefixed) {
		random_text(g, value);
		xml_attribute(w, prefixed, value);
	}
}

/* `space`: the default namespace in scope; `has_p`: whether prefix p is. Each namespace is declared
 * where it is first used, as exclusive canonicalisation renders it. */
static void
random_element(
    struct generator *g, struct xml_writer *w, unsigned depth, const char *space, bool has_p)
{
	static const char *const spaces[] = { "urn:one", "urn:two" };
	const char *wanted = next_random(g, 4) ? space : spaces[next_random(g, 2)];
	bool is_p = next_random(g, 4) == 0, uses_p = is_p || next_random(g, 4) == 0;
	const char *name = is_p ? "p:item" : "item";
	char text[64];

	xml_open(w, name);
	if (is_p)
		wanted = space; /* unprefixed children decide for themselves */
	if (wanted && wanted != space)
		xml_attribute(w, "xmlns", wanted);
	if (uses_p && !has_p)
		xml_attribute(w, "xmlns:p", "urn:p");
	random_attributes(g, w, uses_p && !is_p ? "p:mark" : NULL);
	for (unsigned i = next_random(g, 4); i > 0 && depth > 0 && g->elements > 0; i--) {
		g->elements--;
		random_text(g, text);
		xml_text(w, str_of(text));
		random_element(g, w, depth - 1, wanted, has_p || uses_p);
	}
	random_text(g, text);
	xml_text(w, str_of(text));
	xml_close(w, name);
}

static int
all_visible(void *user, xmlNode *node, xmlNode *parent)
{
	return 1;
}

static void
assert_canonical(const struct strbuf *written, uint64_t seed)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct err e = { 0 };
	xmlBuffer *buffer = xmlBufferCreate();
	xmlOutputBuffer *out = xmlOutputBufferCreateBuffer(buffer, NULL);
	const char *theirs;
	size_t same = 0;

	if (xml_parse(strbuf_str(written), &xml_limits_soap, &doc, &e) < 0)
		fail_msg("seed %llu: %s: %s", (unsigned long long)seed, e.text, strbuf_c(written));
	assert_true(
	    xmlC14NExecute(doc, all_visible, NULL, XML_C14N_EXCLUSIVE_1_0, NULL, 0, out) >= 0);
	assert_true(xmlOutputBufferClose(out) >= 0);
	theirs = (const char *)xmlBufferContent(buffer);
	while (theirs[same] && theirs[same] == strbuf_c(written)[same])
		same++;
	if (strcmp(theirs, strbuf_c(written)) != 0)
		fail_msg("seed %llu, from byte %zu: written\n%.200s\ncanonical\n%.200s",
		    (unsigned long long)seed, same, strbuf_c(written) + same, theirs + same);
	xmlBufferFree(buffer);
}

static void
test_canonical_equals_libxml2(void **state)
{
	for (uint64_t seed = 1; seed <= 2000; seed++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct generator g = { seed * 7919, 60 };
		struct xml_writer w;

		xml_writer_init(&w, &out, true);
		random_element(&g, &w, 8, NULL, false);
		assert_canonical(&out, seed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_escaped),
		cmocka_unit_test(test_nul_becomes_replacement),
		cmocka_unit_test(test_both_modes),
		cmocka_unit_test(test_canonical_equals_libxml2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
