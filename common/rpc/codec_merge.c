/* Two structs of one shape as one, and a struct as the Query parameters that say it. With both,
 * parameters that were kept in one shape take part in a request of another as if the client had
 * sent them: they pass the request's own checks, and what the request gains later needs no code. */
#include <stdio.h>
#include "base/vec.h"
#include "net/url.h"
#include "rpc/codec_value.h"

/* -- to Query parameters -- */

struct writer {
	struct arena *arena;
	VEC(struct form_field) fields;
};

static void write_struct(
    struct writer *w, const struct shape *shape, const void *in, const char *prefix);

static void
write_value(struct writer *w, const struct field *f, const void *slot, const char *name)
{
	_cleanup_strbuf_ struct strbuf scratch = STRBUF_INIT;
	struct form_field field = { .name = name };
	const char *text = codec_format_value(f, slot, &scratch);

	if (!text)
		return;
	field.value = str_of(arena_strdup(w->arena, text));
	vec_add(&w->fields, field);
}

static void
write_list(
    struct writer *w, const struct field *f, const struct codec_list *list, const char *prefix)
{
	size_t size = codec_item_size(f);

	for (size_t i = 0; i < list->count; i++) {
		const void *item = (const char *)list->items + i * size;

		if (f->type == FIELD_STRUCT)
			write_struct(w, f->shape, item,
			    arena_printf(w->arena, "%s%s.%zu.", prefix, f->query, i + 1));
		else
			write_value(w, f, item,
			    arena_printf(w->arena, "%s%s.%zu", prefix, f->query, i + 1));
	}
}

static void
write_struct(struct writer *w, const struct shape *shape, const void *in, const char *prefix)
{
	for (unsigned i = 0; i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];
		const void *slot = codec_at_const(f, in);

		if (f->flags & (FIELD_HIDDEN | FIELD_UNSTORED))
			continue;
		if (f->flags & FIELD_LIST)
			write_list(w, f, slot, prefix);
		else if (!codec_is_present(f, in))
			continue;
		else if (f->type == FIELD_STRUCT)
			write_struct(w, f->shape, *(void *const *)slot,
			    arena_printf(w->arena, "%s%s.", prefix, f->query));
		else
			write_value(w, f, slot, arena_printf(w->arena, "%s%s", prefix, f->query));
	}
}

void
codec_to_query(const struct shape *shape, const void *in, struct arena *arena, struct form *form)
{
	struct writer w = { .arena = arena };

	for (size_t i = 0; i < form->count; i++)
		vec_add(&w.fields, form->fields[i]);
	write_struct(&w, shape, in, "");
	form->count = w.fields.count;
	form->fields =
	    arena_memdup(arena, w.fields.items, w.fields.count * sizeof(*w.fields.items));
	vec_done(&w.fields);
}

/* -- merging -- */

static const struct field *
key_of(const struct field *list)
{
	if (list->type != FIELD_STRUCT)
		return NULL;
	for (unsigned i = 0; i < list->shape->field_count; i++)
		if (list->shape->fields[i].flags & FIELD_KEY)
			return &list->shape->fields[i];
	return NULL;
}

/* A number that is absent is 0, text that is absent is like nothing. */
static bool
is_alike(const struct field *key, const void *a, const void *b)
{
	_cleanup_strbuf_ struct strbuf a_text = STRBUF_INIT, b_text = STRBUF_INIT;
	const char *x = codec_format_value(key, codec_at_const(key, a), &a_text);
	const char *y = codec_format_value(key, codec_at_const(key, b), &b_text);

	return x && y && strcmp(x, y) == 0;
}

static const void *
find_alike(
    const struct field *f, const struct field *key, const struct codec_list *list, const void *item)
{
	for (size_t i = 0; i < list->count; i++) {
		const char *other = (const char *)list->items + i * codec_item_size(f);

		if (is_alike(key, other, item))
			return other;
	}
	return NULL;
}

static int join(const struct field *f, const struct codec_list *upper,
    const struct codec_list *lower, struct arena *arena, struct codec_list *out, struct err *e);

/* The upper one; only lists of keyed items within the two are joined. */
static int
join_item(const struct field *list, const void *upper, const void *lower, struct arena *arena,
    void *out, struct err *e)
{
	int r = 0;

	memcpy(out, upper, list->shape->size);
	for (unsigned i = 0; r == 0 && i < list->shape->field_count; i++) {
		const struct field *f = &list->shape->fields[i];

		if (f->flags & FIELD_LIST && key_of(f))
			r = join(f, codec_at_const(f, upper), codec_at_const(f, lower), arena,
			    codec_at(f, out), e);
	}
	return r;
}

static int
join(const struct field *f, const struct codec_list *upper, const struct codec_list *lower,
    struct arena *arena, struct codec_list *out, struct err *e)
{
	const struct field *key = key_of(f);
	size_t size = codec_item_size(f), max = f->max ? (size_t)f->max : CODEC_QUERY_LIST_MAX;
	struct codec_list all = { arena_alloc(arena, (upper->count + lower->count + 1) * size), 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < lower->count; i++) {
		const char *item = (const char *)lower->items + i * size;
		const void *over = find_alike(f, key, upper, item);
		char *slot = (char *)all.items + all.count++ * size;

		if (over)
			r = join_item(f, over, item, arena, slot, e);
		else
			memcpy(slot, item, size);
	}
	for (size_t i = 0; r == 0 && i < upper->count; i++) {
		const char *item = (const char *)upper->items + i * size;

		if (!find_alike(f, key, lower, item))
			memcpy((char *)all.items + all.count++ * size, item, size);
	}
	if (r == 0 && all.count > max)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value for parameter %.100s is invalid. Expecting at most %zu values.",
		    f->query, max);
	*out = all;
	return r;
}

static int
merge_field(const struct field *f, const void *upper, const void *lower, struct arena *arena,
    void *out, struct err *e)
{
	const void *above = codec_at_const(f, upper), *below = codec_at_const(f, lower);
	const struct codec_list *upper_list = above, *lower_list = below;
	void *slot = codec_at(f, out);

	if (f->flags & FIELD_LIST) {
		if (upper_list->count && lower_list->count && key_of(f))
			return join(f, upper_list, lower_list, arena, slot, e);
		if (!upper_list->count)
			*(struct codec_list *)slot = *lower_list;
		return 0;
	}
	if (f->type == FIELD_STRUCT) {
		const void *a = *(void *const *)above, *b = *(void *const *)below;

		if (a && b) {
			*(void **)slot = arena_alloc(arena, f->shape->size);
			return codec_merge(f->shape, a, b, arena, *(void **)slot, e);
		}
		if (b)
			memcpy(slot, below, sizeof(void *));
		return 0;
	}
	if (!codec_is_present(f, upper) && codec_is_present(f, lower)) {
		memcpy(slot, below, codec_item_size(f));
		codec_mark_present(f, out);
	}
	return 0;
}

int
codec_merge(const struct shape *shape, const void *upper, const void *lower, struct arena *arena,
    void *out, struct err *e)
{
	int r = 0;

	memcpy(out, upper, shape->size);
	for (unsigned i = 0; r == 0 && i < shape->field_count; i++)
		if (!(shape->fields[i].flags & FIELD_UNSTORED))
			r = merge_field(&shape->fields[i], upper, lower, arena, out, e);
	return r;
}
