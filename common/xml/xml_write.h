#pragma once
/* Writing XML into a strbuf, escaped, never by format string. With `canonical` set what comes out
 * is exclusive canonical XML by construction (no declaration, no self-closing tags, text and
 * attribute escapes as C14N has them), so that a digest can be taken of the bytes as written. */
#include "base/strbuf.h"

struct xml_writer {
	struct strbuf *out;
	bool canonical;
	bool tag_is_open; /* "<name" written, '>' not yet */
	unsigned depth;
};
void xml_writer_init(struct xml_writer *w, struct strbuf *out, bool canonical);
void xml_declaration(struct xml_writer *w);
void xml_open(struct xml_writer *w, const char *name);
void xml_attribute(struct xml_writer *w, const char *name, const char *value); /* after xml_open */
void xml_close(struct xml_writer *w, const char *name); /* asserts that it matches nesting depth */
void xml_text(struct xml_writer *w, struct str text); /* bytes that XML can't hold become U+FFFD */
void xml_element(struct xml_writer *w, const char *name, const char *text); /* NULL text: nothing at all */
void xml_elementf(struct xml_writer *w, const char *name, const char *format, ...) _printf_(3, 4);
void xml_empty(struct xml_writer *w, const char *name);
