/* Reads XML from strangers. Two gates: a scan over the raw bytes that refuses what must never reach
 * a parser (DTDs, processing instructions, NUL, other encodings than UTF-8, too many bytes,
 * attributes, levels, elements), then libxml2 without entities, network and huge mode. The scan is
 * there because libxml2 compares attributes pairwise before any callback can count them: 20,000 on
 * one element cost it a second. It need not decide well-formedness; where its idea of a tag could
 * differ from the parser's ('<' inside an attribute value), it refuses. */
#include "xml/xml_read.h"

#include <libxml/parser.h>
#include <pthread.h>
#include <string.h>

const struct xml_limits xml_limits_soap = { 256 * 1024, 64, 64, 10000 };
const struct xml_limits xml_limits_reply = { 16 * 1024 * 1024, 64, 64, 1000000 };
const struct xml_limits xml_limits_s3 = { 1024 * 1024, 64, 64, 50000 };

struct scan {
	const char *p, *end;
	const struct xml_limits *limits;
	const char *start;
	unsigned depth, elements;
};

static unsigned
line_of(const struct scan *s)
{
	unsigned line = 1;

	for (const char *q = s->start; q < s->p; q++)
		line += *q == '\n';
	return line;
}

static int
malformed(const struct scan *s, const char *what, struct err *e)
{
	return err_set(e, ERR_MALFORMED_XML, "line %u: %s", line_of(s), what);
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
looks_at(const struct scan *s, const char *text)
{
	size_t n = strlen(text);

	return (size_t)(s->end - s->p) >= n && memcmp(s->p, text, n) == 0;
}

/* Moves behind the next `text`; false when there is none. */
static bool
skip_past(struct scan *s, const char *text)
{
	size_t n = strlen(text);
	const char *found = memmem(s->p, (size_t)(s->end - s->p), text, n);

	if (found)
		s->p = found + n;
	return found != NULL;
}

/* "<?xml ... ?>" at the very start; only UTF-8 (and its subset) may be declared. */
static int
scan_declaration(struct scan *s, struct err *e)
{
	struct str all = { s->p, 0 }, value;
	const char *at, *end;

	if (!looks_at(s, "<?xml") || s->end - s->p < 6 || !is_space(s->p[5]))
		return 0;
	if (!skip_past(s, "?>"))
		return malformed(s, "the XML declaration does not end", e);
	all.n = (size_t)(s->p - all.p);
	at = memmem(all.p, all.n, "encoding", 8);
	if (!at)
		return 0;
	for (at += 8; at < s->p && (is_space(*at) || *at == '='); at++)
		;
	if (at == s->p || (*at != '"' && *at != '\''))
		return malformed(s, "bad XML declaration", e);
	end = memchr(at + 1, *at, (size_t)(s->p - at - 1));
	if (!end)
		return malformed(s, "bad XML declaration", e);
	value = (struct str){ at + 1, (size_t)(end - at - 1) };
	if (!str_is_nocase(value, "utf-8") && !str_is_nocase(value, "us-ascii"))
		return malformed(s, "the encoding must be UTF-8", e);
	return 0;
}

/* From behind '<' to behind '>': counts attributes, skips their values. */
static int
scan_start_tag(struct scan *s, struct err *e)
{
	unsigned attributes = 0;
	char quote = 0;

	if (++s->elements > s->limits->elements)
		return err_set(e, ERR_LIMIT, "more than %u elements", s->limits->elements);
	if (++s->depth > s->limits->depth)
		return err_set(e, ERR_LIMIT, "line %u: elements nest deeper than %u", line_of(s),
		    s->limits->depth);
	for (; s->p < s->end; s->p++) {
		char c = *s->p;

		if (c == '<')
			return malformed(s, "'<' inside a tag", e);
		if (quote) {
			quote = c == quote ? 0 : quote;
			continue;
		}
		if (c == '"' || c == '\'')
			quote = c;
		if (c == '=' && ++attributes > s->limits->attributes)
			return err_set(e, ERR_LIMIT, "line %u: more than %u attributes", line_of(s),
			    s->limits->attributes);
		if (c == '>') {
			s->depth -= s->p[-1] == '/';
			s->p++;
			return 0;
		}
	}
	return malformed(s, "a tag does not end", e);
}

static int
scan_markup(struct scan *s, struct err *e)
{
	if (looks_at(s, "<!--")) {
		s->p += 4;
		return skip_past(s, "-->") ? 0 : malformed(s, "a comment does not end", e);
	}
	if (looks_at(s, "<![CDATA[")) {
		s->p += 9;
		return skip_past(s, "]]>") ? 0 : malformed(s, "a CDATA section does not end", e);
	}
	if (looks_at(s, "<!"))
		return malformed(s, "document type declarations are not accepted", e);
	if (looks_at(s, "<?"))
		return malformed(s, "processing instructions are not accepted", e);
	if (looks_at(s, "</")) {
		if (s->depth == 0)
			return malformed(s, "an end tag without its start", e);
		s->depth--;
		return skip_past(s, ">") ? 0 : malformed(s, "a tag does not end", e);
	}
	s->p++;
	return scan_start_tag(s, e);
}

static int
scan_text(struct str text, const struct xml_limits *limits, struct err *e)
{
	struct scan s = { .p = text.p, .end = text.p + text.n, .start = text.p, .limits = limits };
	int r;

	if (text.n > limits->bytes)
		return err_set(e, ERR_LIMIT, "XML of %zu bytes, at most %zu are accepted", text.n,
		    limits->bytes);
	if (memchr(text.p, '\0', text.n))
		return err_set(e, ERR_MALFORMED_XML, "XML with a NUL byte");
	if (!is_utf8(text))
		return err_set(e, ERR_MALFORMED_XML, "XML that is not UTF-8");
	if (looks_at(&s, "\xEF\xBB\xBF"))
		s.p += 3;
	r = scan_declaration(&s, e);
	if (r < 0)
		return r;
	while (s.p < s.end) {
		const char *markup = memchr(s.p, '<', (size_t)(s.end - s.p));

		if (!markup)
			break;
		s.p = markup;
		r = scan_markup(&s, e);
		if (r < 0)
			return r;
	}
	if (s.elements == 0)
		return err_set(e, ERR_MALFORMED_XML, "no XML element");
	return 0;
}

/* Second gate: should the scan ever be fooled, the parser still stops at a DTD or a PI. */
static void
stop_at_subset(void *context, const xmlChar *name _unused_, const xmlChar *public_id _unused_,
    const xmlChar *system_id _unused_)
{
	xmlStopParser(context);
}

static void
stop_at_instruction(void *context, const xmlChar *target _unused_, const xmlChar *data _unused_)
{
	xmlStopParser(context);
}

static pthread_once_t parser_once = PTHREAD_ONCE_INIT;

static void
free_context(xmlParserCtxt **ctxt)
{
	if (*ctxt)
		xmlFreeParserCtxt(*ctxt);
}

static int
parser_error(xmlParserCtxt *ctxt, struct err *e)
{
	const xmlError *cause = xmlCtxtGetLastError(ctxt);
	struct str message = str_of(cause && cause->message ? cause->message : "not well-formed");

	while (message.n > 0 && (unsigned char)message.p[message.n - 1] <= ' ')
		message.n--;
	return err_set(e, ERR_MALFORMED_XML, "line %d: %.*s", cause ? cause->line : 0,
	    (int)(message.n > 200 ? 200 : message.n), message.p);
}

int
xml_parse(struct str text, const struct xml_limits *limits, xmlDoc **ret_doc, struct err *e)
{
	_cleanup_(free_context) xmlParserCtxt *ctxt = NULL;
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	int r;

	r = scan_text(text, limits, e);
	if (r < 0)
		return r;
	pthread_once(&parser_once, xmlInitParser);
	ctxt = xmlNewParserCtxt();
	if (!ctxt)
		return err_set(e, ERR_INTERNAL, "no memory for an XML parser");
	ctxt->sax->comment = NULL; /* text around a comment becomes one node */
	ctxt->sax->internalSubset = stop_at_subset;
	ctxt->sax->externalSubset = stop_at_subset;
	ctxt->sax->processingInstruction = stop_at_instruction;
	doc = xmlCtxtReadMemory(ctxt, text.p, (int)text.n, NULL, "UTF-8",
	    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA);
	if (!doc || !ctxt->wellFormed || !ctxt->nsWellFormed || ctxt->disableSAX)
		return parser_error(ctxt, e);
	*ret_doc = TAKE(doc);
	return 0;
}

void
xml_doc_freep(xmlDoc **doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
	*doc = NULL;
}

bool
xml_is(const xmlNode *node, const char *namespace, const char *name)
{
	if (!node || node->type != XML_ELEMENT_NODE || strcmp((const char *)node->name, name) != 0)
		return false;
	if (!namespace)
		return true;
	return node->ns && strcmp((const char *)node->ns->href, namespace) == 0;
}

static xmlNode *
element_from(xmlNode *node)
{
	while (node && node->type != XML_ELEMENT_NODE)
		node = node->next;
	return node;
}

xmlNode *
xml_first(xmlNode *parent)
{
	return element_from(parent->children);
}

xmlNode *
xml_next(xmlNode *node)
{
	return element_from(node->next);
}

xmlNode *
xml_find(xmlNode *parent, const char *name)
{
	xmlNode *child = xml_first(parent);

	while (child && !xml_is(child, NULL, name))
		child = xml_next(child);
	return child;
}

char *
xml_text_of(const xmlNode *node, size_t limit, struct arena *arena)
{
	size_t length = 0, at = 0;
	char *text;

	for (const xmlNode *child = node->children; child; child = child->next) {
		if (child->type != XML_TEXT_NODE && child->type != XML_CDATA_SECTION_NODE)
			return NULL;
		length += strlen((const char *)child->content);
		if (length > limit)
			return NULL;
	}
	text = arena_try(arena, length + 1);
	if (!text)
		return NULL;
	for (const xmlNode *child = node->children; child; child = child->next) {
		size_t n = strlen((const char *)child->content);

		memcpy(text + at, child->content, n);
		at += n;
	}
	return text;
}
