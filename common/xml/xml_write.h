#pragma once
/* Writing XML into a strbuf, escaped, never by format string. With `canonical` set what comes out
 * is exclusive canonical XML by construction (no declaration, no self-closing tags, text and
 * attribute escapes as C14N has them), so that a digest can be taken of the bytes as written.
 *
 * What construction cannot decide stays the caller's part, checked by assert in canonical mode:
 * attributes come in canonical order (xmlns, then xmlns:p by prefix, then plain names, then
 * prefixed ones by namespace, each by name). A namespace is declared on the element that first uses
 * it. */
#include "base/strbuf.h"

struct xml_writer {
	struct strbuf *out;
	bool canonical;
	bool tag_is_open; /* "<name" written, '>' not yet */
	unsigned depth;
	const char *last_attribute; /* of the open tag, for the order check; borrowed */
};
void xml_writer_init(struct xml_writer *w, struct strbuf *out, bool canonical);
void xml_declaration(struct xml_writer *w); /* first of all; never in canonical mode */
void xml_open(struct xml_writer *w, const char *name);
/* After xml_open. `name` must stay valid until the tag is closed by text or a child (a literal). */
void xml_attribute(struct xml_writer *w, const char *name, const char *value);
void xml_close(struct xml_writer *w, const char *name); /* asserts that something is open */
void xml_text(struct xml_writer *w, struct str text); /* bytes that XML can't hold become U+FFFD */
void xml_raw(struct xml_writer *w, struct str xml);   /* as another writer wrote it: not escaped */
void xml_element(
    struct xml_writer *w, const char *name, const char *text); /* NULL text: nothing at all */
void xml_number(struct xml_writer *w, const char *name, uint64_t number); /* an element; for lists: no printf */
void xml_elementf(struct xml_writer *w, const char *name, const char *format, ...) _printf_(3, 4);
void xml_empty(struct xml_writer *w, const char *name);
