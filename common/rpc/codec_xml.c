/* XML elements to structs and back. Reading is as strict as the shape: an unknown child, one given
 * twice, stray text or a missing required element is refused, so that nothing a signature covers is
 * silently left out. Writing leaves absent values out; what both sides call absent is the same, so
 * that a struct survives the way there and back. */
#include <assert.h>
#include "rpc/codec_value.h"

struct reader {
	struct arena *arena;
	unsigned depth;
};

static int
invalid(const struct shape *shape, const struct field *f, const char *why, struct err *e)
{
	return err_set(
	    e, ERR_INVALID, "element '%s' of '%s' is invalid. %s", f->xml, shape->name, why);
}

static int
too_large(struct err *e)
{
	return err_set(e, ERR_LIMIT, "the message is too large");
}

static bool
is_blank(const xmlNode *node)
{
	for (const xmlNode *child = node->children; child; child = child->next) {
		if (child->type != XML_TEXT_NODE && child->type != XML_CDATA_SECTION_NODE)
			continue;
		if (child->content &&
		    child->content[strspn((const char *)child->content, " \t\r\n")])
			return false;
	}
	return true;
}

static int decode(
    struct reader *rd, const struct shape *shape, xmlNode *node, void *out, struct err *e);

/* One scalar or struct, at slot itself: what lists hold. */
static int
decode_item(struct reader *rd, const struct shape *shape, const struct field *f, xmlNode *node,
    void *slot, struct err *e)
{
	struct codec_why why;
	const char *text;
	struct str value;
	int r;

	if (f->type == FIELD_STRUCT) {
		if (rd->depth == CODEC_DEPTH_MAX)
			return invalid(shape, f, "It is nested too deep.", e);
		rd->depth++;
		r = decode(rd, f->shape, node, slot, e);
		rd->depth--;
		return r;
	}
	text = xml_text_of(node, 2 * CODEC_BYTES_MAX, rd->arena);
	if (!text)
		return invalid(shape, f, "Expecting text.", e);
	value = str_of(text);
	if (f->type != FIELD_STRING)
		value = str_trim(value);
	if (!codec_parse_value(f, value, rd->arena, slot, &why))
		return invalid(shape, f, why.text, e);
	return 0;
}

static int
list_room(struct reader *rd, const struct shape *shape, const struct field *f, size_t count,
    struct codec_list *list, struct err *e)
{
	size_t max = f->max ? (size_t)f->max : CODEC_XML_LIST_MAX;

	if (count > max)
		return invalid(shape, f, "It has too many items.", e);
	if (f->min > 0 && count && count < (size_t)f->min)
		return invalid(shape, f, "It has too few items.", e);
	if (!count)
		return 0;
	list->items = arena_try(rd->arena, count * codec_item_size(f));
	return list->items ? 0 : too_large(e);
}

/* The items of `first` and what follows it: all of the parent's children, or those of f's name. */
static int
decode_items(struct reader *rd, const struct shape *shape, const struct field *f, xmlNode *first,
    const char *name, bool only_named, struct codec_list *list, struct err *e)
{
	size_t count = 0, size = codec_item_size(f);
	int r;

	for (xmlNode *node = first; node; node = xml_next(node)) {
		bool is_item = xml_is(node, NULL, name);

		if (!is_item && !only_named)
			return invalid(shape, f, "It holds something else than its items.", e);
		count += is_item;
	}
	r = list_room(rd, shape, f, count, list, e);
	for (xmlNode *node = first; node && r == 0; node = xml_next(node)) {
		if (!xml_is(node, NULL, name))
			continue;
		r = decode_item(rd, shape, f, node, (char *)list->items + list->count * size, e);
		list->count++;
	}
	return r;
}

static int
decode_field(struct reader *rd, const struct shape *shape, const struct field *f, xmlNode *node,
    void *out, struct err *e)
{
	void *slot = codec_at(f, out);
	int r;

	if (f->flags & FIELD_LIST && f->flags & FIELD_FLAT)
		return decode_items(rd, shape, f, node, f->xml, true, slot, e);
	if (f->flags & FIELD_LIST) {
		if (!is_blank(node))
			return invalid(shape, f, "Expecting items.", e);
		return decode_items(rd, shape, f, xml_first(node), f->item, false, slot, e);
	}
	if (f->type == FIELD_STRUCT) {
		void *nested = arena_try(rd->arena, f->shape->size);

		if (!nested)
			return too_large(e);
		*(void **)slot = nested;
		return decode_item(rd, shape, f, node, nested, e);
	}
	r = decode_item(rd, shape, f, node, slot, e);
	if (r == 0)
		codec_mark_present(f, out);
	return r;
}

static const struct field *
find_field(const struct shape *shape, const xmlNode *node)
{
	for (unsigned i = 0; i < shape->field_count; i++)
		if (!(shape->fields[i].flags & (FIELD_HIDDEN | FIELD_UNSTORED)) &&
		    xml_is(node, NULL, shape->fields[i].xml))
			return &shape->fields[i];
	return NULL;
}

static int
decode(struct reader *rd, const struct shape *shape, xmlNode *node, void *out, struct err *e)
{
	bool *given = arena_try(rd->arena, shape->field_count + 1);
	int r;

	if (!given)
		return too_large(e);
	if (!is_blank(node))
		return err_set(e, ERR_INVALID, "text between the elements of '%s'", shape->name);
	for (xmlNode *child = xml_first(node); child; child = xml_next(child)) {
		const struct field *f = find_field(shape, child);
		bool *is_given = f ? &given[f - shape->fields] : NULL;

		if (!f)
			return err_set(e, ERR_INVALID, "unknown element '%.64s' in '%s'",
			    (const char *)child->name, shape->name);
		if (*is_given && f->flags & FIELD_LIST && f->flags & FIELD_FLAT)
			continue; /* the first one took them all */
		if (*is_given)
			return invalid(shape, f, "It is given more than once.", e);
		*is_given = true;
		r = decode_field(rd, shape, f, child, out, e);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < shape->field_count; i++)
		if (shape->fields[i].flags & FIELD_REQUIRED && !given[i])
			return err_set(e, ERR_INVALID, "element '%s' of '%s' is missing",
			    shape->fields[i].xml, shape->name);
	return 0;
}

int
codec_from_xml(
    const struct shape *shape, xmlNode *node, struct arena *arena, void *out, struct err *e)
{
	struct reader rd = { .arena = arena };

	memset(out, 0, shape->size);
	return decode(&rd, shape, node, out, e);
}

/* -- writing -- */

static void encode(const struct shape *shape, const void *in, uint32_t version,
    struct xml_writer *w, struct strbuf *scratch);

static void
encode_item(const struct field *f, const char *name, const void *slot, uint32_t version,
    struct xml_writer *w, struct strbuf *scratch)
{
	if (f->type != FIELD_STRUCT) {
		xml_element(w, name, codec_format_value(f, slot, scratch));
		return;
	}
	xml_open(w, name);
	encode(f->shape, slot, version, w, scratch);
	xml_close(w, name);
}

static void
encode_list(const struct field *f, const struct codec_list *list, uint32_t version,
    struct xml_writer *w, struct strbuf *scratch)
{
	bool is_flat = f->flags & FIELD_FLAT;
	const char *name = is_flat ? f->xml : f->item;
	size_t size = codec_item_size(f);

	if (!list->count) {
		/* a required list says that it is empty */
		if (f->flags & FIELD_EMPTY || (f->flags & FIELD_REQUIRED && !is_flat))
			xml_empty(w, f->xml);
		return;
	}
	if (!is_flat)
		xml_open(w, f->xml);
	for (size_t i = 0; i < list->count; i++)
		encode_item(f, name, (const char *)list->items + i * size, version, w, scratch);
	if (!is_flat)
		xml_close(w, f->xml);
}

static void
encode(const struct shape *shape, const void *in, uint32_t version, struct xml_writer *w,
    struct strbuf *scratch)
{
	for (unsigned i = 0; i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];
		const void *slot = codec_at_const(f, in);

		if (f->since > version || f->flags & (FIELD_HIDDEN | FIELD_UNSTORED))
			continue;
		if (f->flags & FIELD_LIST)
			encode_list(f, slot, version, w, scratch);
		else if (codec_is_present(f, in))
			encode_item(f, f->xml,
			    f->type == FIELD_STRUCT ? *(void *const *)slot : slot, version, w,
			    scratch);
		else if (f->flags & FIELD_EMPTY)
			xml_empty(w, f->xml);
	}
}

void
codec_to_xml_version(
    const struct shape *shape, const void *in, uint32_t version, struct xml_writer *w)
{
	_cleanup_strbuf_ struct strbuf scratch = STRBUF_INIT;

	encode(shape, in, version, w, &scratch);
}

void
codec_to_xml(const struct shape *shape, const void *in, struct xml_writer *w)
{
	codec_to_xml_version(shape, in, UINT32_MAX, w);
}
