/* Values of fields: text to memory and back with the checks that tables state, log lines and deep
 * copies. The walks over Query parameters and XML are in codec_query.c and codec_xml.c; all of them
 * know a struct only by its shape. Nothing here trusts its input: text is length-checked before it
 * is copied, numbers are parsed whole. */
#include "rpc/codec.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include "base/clock.h"
#include "rpc/codec_value.h"

#define LOG_VALUE_MAX 64

size_t
codec_item_size(const struct field *f)
{
	switch (f->type) {
	case FIELD_STRING:
		return sizeof(char *);
	case FIELD_BOOL:
		return sizeof(bool);
	case FIELD_U32:
	case FIELD_I32:
		return sizeof(uint32_t);
	case FIELD_U64:
	case FIELD_I64:
	case FIELD_TIME:
		return sizeof(uint64_t);
	case FIELD_BYTES:
		return sizeof(struct str);
	case FIELD_STRUCT:
		return f->shape->size;
	}
	abort();
}

void
codec_mark_present(const struct field *f, void *base)
{
	if (f->has_offset != SIZE_MAX)
		*(bool *)((char *)base + f->has_offset) = true;
}

/* A number that is not 0 counts as present even when nobody set has_x: what a handler forgot to
 * mark must not vanish on the way. */
bool
codec_is_present(const struct field *f, const void *base)
{
	const void *slot = codec_at_const(f, base);

	if (f->flags & FIELD_REQUIRED && f->type != FIELD_STRING && f->type != FIELD_STRUCT)
		return true;
	if (f->has_offset != SIZE_MAX && *(const bool *)((const char *)base + f->has_offset))
		return true;
	switch (f->type) {
	case FIELD_STRING:
		return *(char *const *)slot != NULL;
	case FIELD_STRUCT:
		return *(void *const *)slot != NULL;
	case FIELD_BYTES:
		return ((const struct str *)slot)->p != NULL;
	case FIELD_BOOL:
		return *(const bool *)slot;
	case FIELD_U32:
	case FIELD_I32:
		return *(const uint32_t *)slot != 0;
	case FIELD_U64:
	case FIELD_I64:
	case FIELD_TIME:
		return *(const uint64_t *)slot != 0;
	}
	abort();
}

static _printf_(2, 3) bool refuse(struct codec_why *why, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, ap);
	va_end(ap);
	return false;
}

static bool
check_number(const struct field *f, int64_t value, bool is_huge, struct codec_why *why)
{
	if (value < f->min && !is_huge) {
		if (f->max)
			return refuse(why, "Expecting a value from %" PRId64 " to %" PRId64 ".",
			    f->min, f->max);
		return refuse(why, "Expecting a value of at least %" PRId64 ".", f->min);
	}
	if (f->max && (is_huge || value > f->max))
		return refuse(
		    why, "Expecting a value from %" PRId64 " to %" PRId64 ".", f->min, f->max);
	return true;
}

static bool
check_length(const struct field *f, size_t n, size_t limit, const char *unit, struct codec_why *why)
{
	if (f->max)
		limit = (size_t)f->max;
	if (n > limit)
		return refuse(
		    why, "Expecting at most %zu %s%s.", limit, unit, limit == 1 ? "" : "s");
	if (f->min > 0 && n < (size_t)f->min)
		return refuse(why, "Expecting at least %zu %s%s.", (size_t)f->min, unit,
		    f->min == 1 ? "" : "s");
	return true;
}

bool
codec_is_choice(const char *choices, struct str text)
{
	struct str rest = str_of(choices), one;

	while (str_split(&rest, '|', &one))
		if (str_eq(one, text))
			return true;
	return false;
}

/* What no XML document can carry (XML 1.0, 2.2), in valid UTF-8: most controls, U+FFFE, U+FFFF. */
static bool
is_xml_text(struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c < 0x20 && c != '\t' && c != '\n' && c != '\r')
			return false;
		if (c == 0xef && (memcmp(text.p + i, "\xef\xbf\xbe", 3) == 0 ||
				     memcmp(text.p + i, "\xef\xbf\xbf", 3) == 0))
			return false;
	}
	return true;
}

static bool
parse_string(const struct field *f, struct str text, struct arena *arena, const char **ret,
    struct codec_why *why)
{
	char *copy;

	if (!check_length(f, text.n, CODEC_STRING_MAX, "character", why))
		return false;
	if (!is_utf8(text))
		return refuse(why, "Expecting UTF-8 text.");
	if (!is_xml_text(text))
		return refuse(why, "Expecting text without control characters.");
	if (f->choices && !codec_is_choice(f->choices, text))
		return refuse(why, "Expecting one of: %s.", f->choices);
	copy = arena_try(arena, text.n + 1);
	if (!copy)
		return refuse(why, "The request is too large.");
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	*ret = copy;
	return true;
}

static bool
parse_bytes(const struct field *f, struct str text, struct arena *arena, struct str *ret,
    struct codec_why *why)
{
	_cleanup_free_ void *bytes = NULL;
	size_t n;
	char *copy;

	if (!base64_decode(text, &bytes, &n))
		return refuse(why, "Expecting base64.");
	if (!check_length(f, n, CODEC_BYTES_MAX, "byte", why))
		return false;
	copy = arena_try(arena, n + 1);
	if (!copy)
		return refuse(why, "The request is too large.");
	if (n)
		memcpy(copy, bytes, n);
	*ret = (struct str){ copy, n };
	return true;
}

static bool
parse_bool(struct str text, bool *ret, struct codec_why *why)
{
	if (str_is_nocase(text, "true") || str_is(text, "1"))
		*ret = true;
	else if (str_is_nocase(text, "false") || str_is(text, "0"))
		*ret = false;
	else
		return refuse(why, "Expecting true or false.");
	return true;
}

static bool
parse_number(const struct field *f, struct str text, void *slot, struct codec_why *why)
{
	int64_t value = 0;
	uint64_t huge = 0;
	bool is_huge = false;

	if (f->type == FIELD_U64 ? !str_to_u64(text, &huge) : !str_to_i64(text, &value))
		return refuse(why, "Expecting a whole number.");
	if (f->type == FIELD_U64) {
		is_huge = huge > INT64_MAX;
		value = is_huge ? INT64_MAX : (int64_t)huge;
	}
	if ((f->type == FIELD_U32 && (value < 0 || value > UINT32_MAX)) ||
	    (f->type == FIELD_I32 && (value < INT32_MIN || value > INT32_MAX)))
		return refuse(why, "Expecting a whole number%s of 32 bits.",
		    f->type == FIELD_U32 ? " from 0" : "");
	if (!check_number(f, value, is_huge, why))
		return false;
	if (f->type == FIELD_U32)
		*(uint32_t *)slot = (uint32_t)value;
	else if (f->type == FIELD_I32)
		*(int32_t *)slot = (int32_t)value;
	else if (f->type == FIELD_U64)
		*(uint64_t *)slot = huge;
	else
		*(int64_t *)slot = value;
	return true;
}

/* A list's min and max are of its count, not of each item. */
static struct field
without_limits(const struct field *f)
{
	struct field one = *f;

	one.flags &= ~(unsigned)FIELD_LIST;
	one.min = INT64_MIN;
	one.max = 0;
	return one;
}

bool
codec_parse_value(
    const struct field *f, struct str text, struct arena *arena, void *slot, struct codec_why *why)
{
	struct field item;

	if (f->flags & FIELD_LIST) {
		item = without_limits(f);
		f = &item;
	}
	switch (f->type) {
	case FIELD_STRING:
		return parse_string(f, text, arena, slot, why);
	case FIELD_BYTES:
		return parse_bytes(f, text, arena, slot, why);
	case FIELD_BOOL:
		return parse_bool(text, slot, why);
	case FIELD_TIME:
		return time_parse_iso(text, slot) ||
		       refuse(why, "Expecting a time such as 2010-01-01T00:00:00.000Z.");
	case FIELD_U32:
	case FIELD_I32:
	case FIELD_U64:
	case FIELD_I64:
		return parse_number(f, text, slot, why);
	case FIELD_STRUCT:
		break;
	}
	abort();
}

const char *
codec_format_value(const struct field *f, const void *slot, struct strbuf *scratch)
{
	char time[TIME_TEXT_SIZE];

	strbuf_reset(scratch);
	switch (f->type) {
	case FIELD_STRING:
		return *(const char *const *)slot;
	case FIELD_BYTES: {
		const struct str *s = slot;
		_cleanup_free_ char *text = s->p ? base64_encode(s->p, s->n) : NULL;

		if (!text)
			return NULL;
		strbuf_adds(scratch, text);
		break;
	}
	case FIELD_BOOL:
		return *(const bool *)slot ? "true" : "false";
	case FIELD_TIME:
		time_format_iso(*(const int64_t *)slot, time);
		strbuf_adds(scratch, time);
		break;
	case FIELD_U32:
		strbuf_addf(scratch, "%" PRIu32, *(const uint32_t *)slot);
		break;
	case FIELD_I32:
		strbuf_addf(scratch, "%" PRId32, *(const int32_t *)slot);
		break;
	case FIELD_U64:
		strbuf_addf(scratch, "%" PRIu64, *(const uint64_t *)slot);
		break;
	case FIELD_I64:
		strbuf_addf(scratch, "%" PRId64, *(const int64_t *)slot);
		break;
	case FIELD_STRUCT:
		abort();
	}
	return strbuf_c(scratch);
}

/* -- log lines -- */

static void
log_quoted(struct strbuf *out, const char *text)
{
	size_t n = strlen(text), cut = n < LOG_VALUE_MAX ? n : LOG_VALUE_MAX;
	bool plain = cut > 0;

	for (size_t i = 0; i < cut; i++)
		plain = plain && (unsigned char)text[i] > ' ' && !strchr("\"\\=\x7f", text[i]);
	if (!plain)
		strbuf_addc(out, '"');
	for (size_t i = 0; i < cut; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c == 0x7f)
			strbuf_addf(out, "\\x%02x", c);
		else if (c == '"' || c == '\\')
			strbuf_addf(out, "\\%c", c);
		else
			strbuf_addc(out, (char)c);
	}
	if (cut < n)
		strbuf_adds(out, "...");
	if (!plain)
		strbuf_addc(out, '"');
}

static void
log_struct(const struct shape *shape, const void *in, struct strbuf *out, const char *prefix,
    unsigned depth)
{
	_cleanup_strbuf_ struct strbuf scratch = STRBUF_INIT;

	for (unsigned i = 0; i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];
		const void *slot = codec_at_const(f, in);
		const struct codec_list *list = slot;
		_cleanup_free_ char *name = xasprintf("%s%s", prefix, f->name);
		const char *text;

		if (f->flags & (FIELD_SECRET | FIELD_HIDDEN | FIELD_UNSTORED))
			continue;
		if (f->flags & FIELD_LIST) {
			if (list->count)
				strbuf_addf(
				    out, "%s%s=[%zu]", out->n ? " " : "", name, list->count);
			continue;
		}
		if (!codec_is_present(f, in))
			continue;
		if (f->type == FIELD_STRUCT) {
			_cleanup_free_ char *inner = xasprintf("%s.", name);

			if (depth < CODEC_DEPTH_MAX)
				log_struct(f->shape, *(void *const *)slot, out, inner, depth + 1);
			continue;
		}
		if (f->type == FIELD_BYTES) {
			strbuf_addf(out, "%s%s=[%zu bytes]", out->n ? " " : "", name,
			    ((const struct str *)slot)->n);
			continue;
		}
		text = codec_format_value(f, slot, &scratch);
		if (!text)
			continue;
		strbuf_addf(out, "%s%s=", out->n ? " " : "", name);
		log_quoted(out, text);
	}
}

void
codec_to_log(const struct shape *shape, const void *in, struct strbuf *out)
{
	log_struct(shape, in, out, "", 0);
}

/* -- deep copies -- */

static void
copy_value(const struct field *f, const void *from, struct arena *arena, void *to)
{
	if (f->type == FIELD_STRING) {
		*(char **)to = arena_strdup(arena, *(const char *const *)from);
	} else if (f->type == FIELD_BYTES) {
		const struct str *s = from;
		char *p = s->p ? arena_alloc(arena, s->n + 1) : NULL;

		if (s->n)
			memcpy(p, s->p, s->n);
		*(struct str *)to = (struct str){ p, s->n };
	} else if (f->type == FIELD_STRUCT) {
		codec_copy(f->shape, from, arena, to);
	}
}

void
codec_copy(const struct shape *shape, const void *in, struct arena *arena, void *out)
{
	memcpy(out, in, shape->size);
	for (unsigned i = 0; i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];
		const struct codec_list *list = codec_at_const(f, in);
		struct codec_list *copy = codec_at(f, out);
		size_t size = codec_item_size(f);
		void *const *nested = codec_at_const(f, in);

		if (f->flags & FIELD_UNSTORED)
			continue;
		if (f->flags & FIELD_LIST) {
			copy->items = list->count
					  ? arena_memdup(arena, list->items, list->count * size)
					  : NULL;
			for (size_t n = 0; n < list->count; n++)
				copy_value(f, (const char *)list->items + n * size, arena,
				    (char *)copy->items + n * size);
		} else if (f->type != FIELD_STRUCT) {
			copy_value(f, nested, arena, copy);
		} else if (*nested) {
			void *p = arena_alloc(arena, size);

			codec_copy(f->shape, *nested, arena, p);
			*(void **)codec_at(f, out) = p;
		}
	}
}

const struct operation *
service_find(const struct service *s, const char *name)
{
	for (unsigned i = 0; i < s->operation_count; i++)
		if (strings_equal(s->operations[i].name, name))
			return &s->operations[i];
	return NULL;
}
