#pragma once
/* Reading XML with libxml2, entities, DTDs, processing instructions and the network off. A raw scan
 * before the parser enforces the limits, because libxml2 is quadratic in attributes. */
#include <libxml/tree.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct xml_limits {
	size_t bytes;
	unsigned attributes; /* per element */
	unsigned depth;
	unsigned elements;
};
extern const struct xml_limits xml_limits_soap;  /* 256 KiB, 64, 64, 10000: what anybody may send us */
extern const struct xml_limits xml_limits_reply; /* 16 MiB, 64, 64, 1000000: what we asked a known daemon for */
extern const struct xml_limits xml_limits_s3;   /* 1 MiB, 64, 64, 50000 */

/* ERR_MALFORMED_XML with line and reason; ERR_LIMIT past a limit. Comments are dropped. */
int xml_parse(struct str text, const struct xml_limits *limits, xmlDoc **ret_doc, struct err *e);
void xml_doc_freep(xmlDoc **doc);                                          /* for _cleanup_ */
bool xml_is(const xmlNode *node, const char *namespace, const char *name); /* NULL namespace: any */
/* Element children only. */
xmlNode *xml_first(xmlNode *parent);
xmlNode *xml_next(xmlNode *node);
xmlNode *xml_find(xmlNode *parent, const char *name); /* first child of that local name, or NULL */
/* All text nodes below, joined; NULL past `limit` bytes or when there are child elements. */
char *xml_text_of(const xmlNode *node, size_t limit, struct arena *arena);
