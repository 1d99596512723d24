#pragma once
/* What the codec's parts share: one value of one field, as text and in memory. */
#include "rpc/codec.h"

#define CODEC_DEPTH_MAX 16           /* structs within structs */
#define CODEC_STRING_MAX 65536       /* bytes, unless the field says otherwise */
#define CODEC_BYTES_MAX (256 * 1024) /* decoded */
#define CODEC_QUERY_LIST_MAX 1000
#define CODEC_XML_LIST_MAX 10000

struct codec_list { /* every list field looks like this */
	void *items;
	size_t count;
};

/* Of a list's items; a single nested struct is a pointer in its parent. */
size_t codec_item_size(const struct field *f);
static inline void *
codec_at(const struct field *f, void *base)
{
	return (char *)base + f->offset;
}
static inline const void *
codec_at_const(const struct field *f, const void *base)
{
	return (const char *)base + f->offset;
}
void codec_mark_present(const struct field *f, void *base);
bool codec_is_present(const struct field *f, const void *base); /* not of lists */

bool codec_is_choice(const char *choices, struct str text);

struct codec_why {
	char text[200];
};
/* Parses and checks one scalar into slot. False: `why` has a sentence such as "Expecting a whole
 * number." */
bool codec_parse_value(
    const struct field *f, struct str text, struct arena *arena, void *slot, struct codec_why *why);
/* The wire's text; *scratch is used when it is not there already. NULL: absent. */
const char *codec_format_value(const struct field *f, const void *slot, struct strbuf *scratch);
