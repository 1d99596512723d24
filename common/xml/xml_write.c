/* Writes XML by appending to a strbuf. Every byte of text and of attribute values goes through one
 * escaping loop, so that nothing a user sends can become markup, and what XML 1.0 cannot hold at
 * all (control bytes, broken UTF-8, U+FFFE) becomes U+FFFD instead of a document no client can
 * read. A start tag stays open until the next call decides between '>' and "/>". */
#include "xml/xml_write.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define REPLACEMENT "\xEF\xBF\xBD"

void
xml_writer_init(struct xml_writer *w, struct strbuf *out, bool canonical)
{
	*w = (struct xml_writer){ .out = out, .canonical = canonical };
}

void
xml_declaration(struct xml_writer *w)
{
	assert(!w->canonical && w->depth == 0);
	strbuf_adds(w->out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
}

static void
finish_tag(struct xml_writer *w)
{
	if (w->tag_is_open)
		strbuf_addc(w->out, '>');
	w->tag_is_open = false;
	w->last_attribute = NULL;
}

/* Bytes of the well-formed XML character at p (2 to 4 for non-ASCII), 0 when there is none. */
static size_t
character_length(const unsigned char *p, size_t n)
{
	unsigned long c;
	size_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
	static const unsigned long least[] = { 0, 0, 0x80, 0x800, 0x10000 };

	if (p[0] < 0xC2 || p[0] > 0xF4 || length > n)
		return 0;
	c = p[0] & (0xFFU >> (length + 1));
	for (size_t i = 1; i < length; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3FU);
	}
	if (c < least[length] || (c >= 0xD800 && c <= 0xDFFF) || c == 0xFFFE || c == 0xFFFF ||
	    c > 0x10FFFF)
		return 0;
	return length;
}

/* What stands for an ASCII byte, NULL for the byte itself. The sets are Canonical XML's (section
 * 2.3), used in both modes: they also survive a parser's newline normalisation. */
static const char *
escape_of(unsigned char c, bool in_attribute)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return in_attribute ? NULL : "&gt;";
	case '"':
		return in_attribute ? "&quot;" : NULL;
	case '\t':
		return in_attribute ? "&#x9;" : NULL;
	case '\n':
		return in_attribute ? "&#xA;" : NULL;
	case '\r':
		return "&#xD;";
	default:
		return c < 0x20 ? REPLACEMENT : NULL;
	}
}

/* Bytes that stand for themselves everywhere: what nearly all text is made of. */
static size_t
plain_length(const unsigned char *p, size_t n)
{
	static const bool is_plain[256] = { [' ' ... '!'] = true,
		['#' ... '%'] = true,
		['\'' ... ';'] = true,
		['='] = true,
		['?' ... '~'] = true };
	size_t i = 0;

	while (i < n && is_plain[p[i]])
		i++;
	return i;
}

static void
add_escaped(struct strbuf *out, struct str s, bool in_attribute)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t run = 0; /* start of what is copied as it is */

	for (size_t i = plain_length(p, s.n); i < s.n; i += plain_length(p + i, s.n - i)) {
		const char *escape;
		size_t step = 1;

		if (p[i] < 0x80) {
			escape = escape_of(p[i], in_attribute);
		} else {
			step = character_length(p + i, s.n - i);
			escape = step ? NULL : REPLACEMENT;
			step = step ? step : 1;
		}
		if (escape) {
			strbuf_add(out, s.p + run, i - run);
			strbuf_adds(out, escape);
			run = i + step;
		}
		i += step;
	}
	if (s.n > run)
		strbuf_add(out, s.p + run, s.n - run);
}

void
xml_open(struct xml_writer *w, const char *name)
{
	finish_tag(w);
	strbuf_addc(w->out, '<');
	strbuf_adds(w->out, name);
	w->tag_is_open = true;
	w->depth++;
}

/* Canonical order: the default namespace, other namespaces, unprefixed, prefixed attributes. */
static int
attribute_class(const char *name)
{
	if (strcmp(name, "xmlns") == 0)
		return 0;
	if (strncmp(name, "xmlns:", 6) == 0)
		return 1;
	return strchr(name, ':') ? 3 : 2;
}

/* Prefixed attributes sort by namespace, which the writer does not know: only their class is
 * checked. */
static bool
attributes_are_ordered(const char *before, const char *name)
{
	int a = attribute_class(before), b = attribute_class(name);

	return a < b || (a == b && (a == 3 || strcmp(before, name) < 0));
}

void
xml_attribute(struct xml_writer *w, const char *name, const char *value)
{
	assert(w->tag_is_open);
	if (w->canonical && w->last_attribute)
		assert(attributes_are_ordered(w->last_attribute, name));
	w->last_attribute = name;
	strbuf_addc(w->out, ' ');
	strbuf_adds(w->out, name);
	strbuf_adds(w->out, "=\"");
	add_escaped(w->out, str_of(value), true);
	strbuf_addc(w->out, '"');
}

void
xml_close(struct xml_writer *w, const char *name)
{
	assert(w->depth > 0);
	w->depth--;
	if (w->tag_is_open && !w->canonical) {
		strbuf_adds(w->out, "/>");
		w->tag_is_open = false;
		w->last_attribute = NULL;
		return;
	}
	finish_tag(w);
	strbuf_adds(w->out, "</");
	strbuf_adds(w->out, name);
	strbuf_addc(w->out, '>');
}

void
xml_text(struct xml_writer *w, struct str text)
{
	if (text.n == 0)
		return; /* keeps an empty element self-closing */
	finish_tag(w);
	add_escaped(w->out, text, false);
}

void
xml_raw(struct xml_writer *w, struct str xml)
{
	if (xml.n == 0)
		return;
	finish_tag(w);
	strbuf_addstr(w->out, xml);
}

void
xml_element(struct xml_writer *w, const char *name, const char *text)
{
	if (!text)
		return;
	xml_open(w, name);
	xml_text(w, str_of(text));
	xml_close(w, name);
}

void
xml_number(struct xml_writer *w, const char *name, uint64_t number)
{
	char room[STR_U64_ROOM];

	xml_open(w, name);
	xml_text(w, str_of_u64(number, room));
	xml_close(w, name);
}

void
xml_elementf(struct xml_writer *w, const char *name, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vasprintf(&text, format, ap);
	va_end(ap);
	if (n < 0)
		abort(); /* out of memory, as xmalloc does */
	xml_element(w, name, text);
}

void
xml_empty(struct xml_writer *w, const char *name)
{
	xml_open(w, name);
	xml_close(w, name);
}
