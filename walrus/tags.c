/* Tags: read from XML, from headers and from the store by the same rules. */
#include "tags.h"

#include <ctype.h>

#include "net/url.h"

#define KEY_MAX 128 /* characters */
#define VALUE_MAX 256
#define BYTES_MAX (4 * VALUE_MAX)

static int
invalid(struct err *e, const char *why)
{
	return err_set(e, ERR_INVALID_TAG, "%s", why);
}

static int
too_many(struct err *e, unsigned max)
{
	return max == TAGS_OF_OBJECT_MAX
		   ? err_set(e, ERR_BAD_REQUEST, "Object tags cannot be greater than %u", max)
		   : err_set(e, ERR_BAD_REQUEST, "Bucket tag count cannot be greater than %u", max);
}

/* Letters, digits and spaces of any language, and these. */
static bool
is_fine(const char *text, size_t max)
{
	size_t characters = 0;

	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c < 0x80 && !isalnum(c) && !strchr(" +-=._:/@", c))
			return false;
		characters += (c & 0xc0) != 0x80;
	}
	return characters <= max && is_utf8(str_of(text));
}

static int
check(const struct tag *tag, struct err *e)
{
	if (!*tag->key || !is_fine(tag->key, KEY_MAX))
		return invalid(e, "The TagKey you have provided is invalid");
	if (!is_fine(tag->value, VALUE_MAX))
		return invalid(e, "The TagValue you have provided is invalid");
	if (strncasecmp(tag->key, "aws:", 4) == 0)
		return invalid(e, "System tags cannot be added/updated by requester");
	return 0;
}

const char *
tags_find(const struct tags *tags, const char *key)
{
	for (size_t i = 0; i < tags->count; i++)
		if (strcmp(tags->items[i].key, key) == 0)
			return tags->items[i].value;
	return NULL;
}

static int
add(struct tags *tags, const struct tag *tag, unsigned max, struct err *e)
{
	int r = check(tag, e);

	if (r < 0)
		return r;
	if (tags_find(tags, tag->key))
		return invalid(e, "Cannot provide multiple Tags with the same key");
	if (tags->count == max)
		return too_many(e, max);
	tags->items[tags->count++] = *tag;
	return 0;
}

static void
begin(struct tags *tags, unsigned max, struct arena *arena)
{
	tags->items = arena_alloc(arena, max * sizeof(*tags->items));
	tags->count = 0;
}

/* -- XML -- */

int
tag_read_xml(xmlNode *node, struct arena *arena, struct tag *ret, struct err *e)
{
	xmlNode *key = xml_find(node, "Key"), *value = xml_find(node, "Value");

	if (!key || !value)
		return setting_malformed(e);
	/* what is too long to be one is too long for the check as well */
	ret->key = xml_text_of(key, BYTES_MAX, arena);
	ret->value = xml_text_of(value, BYTES_MAX, arena);
	if (!ret->key)
		return invalid(e, "The TagKey you have provided is invalid");
	if (!ret->value)
		return invalid(e, "The TagValue you have provided is invalid");
	return check(ret, e);
}

int
tags_read_xml(xmlNode *tag_set, unsigned max, struct arena *arena, struct tags *ret, struct err *e)
{
	int r = 0;

	if (!tag_set)
		return setting_malformed(e);
	begin(ret, max, arena);
	for (xmlNode *node = xml_first(tag_set); r == 0 && node; node = xml_next(node)) {
		struct tag tag;

		if (!xml_is(node, NULL, "Tag"))
			return setting_malformed(e);
		r = tag_read_xml(node, arena, &tag, e);
		if (r == 0)
			r = add(ret, &tag, max, e);
	}
	return r;
}

void
tags_write_xml(const struct tags *tags, struct xml_writer *w)
{
	xml_open(w, "TagSet");
	for (size_t i = 0; i < tags->count; i++) {
		xml_open(w, "Tag");
		xml_element(w, "Key", tags->items[i].key);
		xml_element(w, "Value", tags->items[i].value);
		xml_close(w, "Tag");
	}
	xml_close(w, "TagSet");
}

/* -- text -- */

int
tags_parse(struct str text, unsigned max, struct arena *arena, struct tags *ret, struct err *e)
{
	struct form form = { 0 };
	int r = form_parse(text, max, arena, &form, e);

	if (r == ERR_LIMIT)
		return too_many(e, max);
	if (r < 0)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL "
		    "query "
		    "parameters without tag name duplicates.");
	begin(ret, max, arena);
	for (size_t i = 0; r == 0 && i < form.count; i++) {
		struct tag tag = { form.fields[i].name, arena_str(arena, form.fields[i].value) };

		r = add(ret, &tag, max, e);
	}
	return r;
}

void
tags_format(const struct tags *tags, struct strbuf *out)
{
	for (size_t i = 0; i < tags->count; i++) {
		if (i)
			strbuf_addc(out, '&');
		url_encode(out, str_of(tags->items[i].key), false);
		strbuf_addc(out, '=');
		url_encode(out, str_of(tags->items[i].value), false);
	}
}

/* -- of a bucket -- */

int
bucket_tags_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct tags *tags = arena_alloc(arena, sizeof(*tags));
	int r = setting_parse_xml(body, "Tagging", &doc, e);

	if (r == 0)
		r = tags_read_xml(xml_find(xmlDocGetRootElement(doc), "TagSet"), TAGS_OF_BUCKET_MAX,
		    arena, tags, e);
	*ret = tags;
	return r;
}

void
bucket_tags_write(struct request *rq, struct xml_writer *w, const void *value)
{
	tags_write_xml(value, w);
}
