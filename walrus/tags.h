#pragma once
/* Tags of buckets and objects: pairs of texts, told apart by their keys. Rules: "Categorizing your storage
 * using tags" of the S3 user guide. */
#include "base/arena.h"
#include "base/err.h"
#include "base/strbuf.h"
#include "setting.h"
#include "xml/xml_read.h"
#include "xml/xml_write.h"

#define TAGS_OF_OBJECT_MAX 10
#define TAGS_OF_BUCKET_MAX 50

struct tag {
	const char *key, *value; /* UTF-8 */
};
struct tags { /* in the order in which they came */
	struct tag *items;
	size_t count;
};
/* Each takes at most `max` tags. ERR_INVALID_TAG: a key that comes twice, is AWS' own, too long or of
 * characters that a tag may not have; ERR_BAD_REQUEST: too many. */
/* The element TagSet (NULL: it is missing). ERR_MALFORMED_XML. */
int tags_read_xml(xmlNode *tag_set, unsigned max, struct arena *arena, struct tags *ret, struct err *e);
/* "key=value&key=value", percent-encoded, as x-amz-tagging and the store have them. ERR_INVALID_ARGUMENT.
 * Empty text: no tags. */
int tags_parse(struct str text, unsigned max, struct arena *arena, struct tags *ret, struct err *e);
void tags_format(const struct tags *tags, struct strbuf *out); /* inverse of tags_parse */
void tags_write_xml(const struct tags *tags, struct xml_writer *w); /* TagSet */
const char *tags_find(const struct tags *tags, const char *key); /* value or NULL */
/* One Tag element, as filters have them as well. ERR_MALFORMED_XML, ERR_INVALID_TAG. */
int tag_read_xml(xmlNode *node, struct arena *arena, struct tag *ret, struct err *e);

/* The setting of a bucket (value: struct tags). */
int bucket_tags_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void bucket_tags_write(struct request *rq, struct xml_writer *w, const void *value);
