/* Query parameters to structs. The parameters are sorted by their dotted segments, numbers by
 * value, so that whatever belongs to one field, one list item or one nested struct is one
 * contiguous run; the walk then descends run by run, whatever order, gaps and spellings the client
 * used. Every client quirk that must be accepted is in add_items() and scalar_entry(). */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include "net/url.h"
#include "rpc/codec_value.h"

struct entry {
	const char *name; /* as the client wrote it */
	const char *at;   /* the segment that the walk has come to */
	struct str value;
	size_t order;
};
struct run { /* entries that share everything before `at` */
	struct entry *entries;
	size_t count;
};
struct query {
	struct arena *arena;
	unsigned depth;
};

static size_t
segment_length(const char *s)
{
	return strcspn(s, ".");
}

static bool
is_number(const char *s, size_t n)
{
	if (!n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)s[i]))
			return false;
	return true;
}

static int
segment_compare(const char *a, size_t a_n, const char *b, size_t b_n)
{
	bool a_is_number = is_number(a, a_n), b_is_number = is_number(b, b_n);
	int r;

	if (a_is_number != b_is_number)
		return a_is_number ? -1 : 1;
	if (a_is_number) {
		for (; a_n > 1 && *a == '0'; a_n--)
			a++;
		for (; b_n > 1 && *b == '0'; b_n--)
			b++;
		if (a_n != b_n)
			return a_n < b_n ? -1 : 1;
	}
	r = memcmp(a, b, a_n < b_n ? a_n : b_n);
	return r ? r : (a_n > b_n) - (a_n < b_n);
}

static int
entry_compare(const void *left, const void *right)
{
	const struct entry *x = left, *y = right;
	const char *a = x->name, *b = y->name;

	for (;;) {
		size_t a_n = segment_length(a), b_n = segment_length(b);
		int r = segment_compare(a, a_n, b, b_n);

		if (r)
			return r;
		a += a_n;
		b += b_n;
		if (!*a || !*b)
			break;
		a++;
		b++;
	}
	if (*a || *b)
		return *a ? 1 : -1;
	return (x->order > y->order) - (x->order < y->order);
}

static bool
is_leaf(const struct entry *x)
{
	return x->at[segment_length(x->at)] == '\0';
}

/* The run of the first entry's segment; *rest becomes what follows it. */
static struct run
take_run(struct run *rest)
{
	struct run one = { rest->entries, 1 };
	size_t n = segment_length(one.entries->at);

	while (one.count < rest->count) {
		const char *at = rest->entries[one.count].at;

		if (segment_compare(one.entries->at, n, at, segment_length(at)))
			break;
		one.count++;
	}
	rest->entries += one.count;
	rest->count -= one.count;
	return one;
}

/* Splits a run into those that end here (they sort first) and those that go on, and moves the
 * latter a segment on. */
static struct run
take_leaves(struct run *deeper)
{
	struct run leaves = { deeper->entries, 0 };

	while (leaves.count < deeper->count && is_leaf(&deeper->entries[leaves.count]))
		leaves.count++;
	deeper->entries += leaves.count;
	deeper->count -= leaves.count;
	for (size_t i = 0; i < deeper->count; i++)
		deeper->entries[i].at += segment_length(deeper->entries[i].at) + 1;
	return leaves;
}

static int
unknown(const struct entry *x, struct err *e)
{
	return err_set(e, ERR_UNKNOWN_PARAMETER, "The parameter %.200s is not recognized", x->name);
}

static int
invalid(const struct field *f, const struct entry *x, const char *why, struct err *e)
{
	int shown = x->value.n > 100 ? 100 : (int)x->value.n;

	if (f->flags & FIELD_SECRET || !is_utf8(x->value))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value for parameter %.100s is invalid. %s", x->name, why);
	while (shown > 0 && shown < (int)x->value.n && (x->value.p[shown] & 0xc0) == 0x80)
		shown--; /* not within a character */
	return err_set(e, ERR_INVALID_PARAMETER_VALUE,
	    "Value (%.*s) for parameter %.100s is invalid. %s", shown, x->value.p, x->name, why);
}

static int
missing(const char *prefix, int prefix_length, const struct field *f, struct err *e)
{
	return err_set(e, ERR_MISSING_PARAMETER, "The request must contain the parameter %.*s%s",
	    prefix_length, prefix, f->query);
}

static int
parse_value(
    struct query *q, const struct field *f, const struct entry *x, void *slot, struct err *e)
{
	struct codec_why why;

	if (!codec_parse_value(f, x->value, q->arena, slot, &why))
		return invalid(f, x, why.text, e);
	return 0;
}

/* Clients also send a scalar as X.1. Said twice, it must say the same. */
static int
scalar_entry(const struct field *f, struct run run, const struct entry **ret, struct err *e)
{
	struct run deeper = run, leaves = take_leaves(&deeper);

	if (!leaves.count) {
		if (deeper.count != 1 || !is_leaf(deeper.entries) ||
		    !is_number(deeper.entries->at, strlen(deeper.entries->at)))
			return unknown(deeper.entries, e);
		*ret = deeper.entries;
		return 0;
	}
	if (deeper.count)
		return unknown(deeper.entries, e);
	for (size_t i = 1; i < leaves.count; i++)
		if (!str_eq(leaves.entries[i].value, leaves.entries->value))
			return invalid(
			    f, &leaves.entries[i], "The parameter is given more than once.", e);
	*ret = leaves.entries;
	return 0;
}

static int decode(struct query *q, const struct shape *shape, struct run run, const char *prefix,
    int prefix_length, void *out, struct err *e);

static int
decode_nested(struct query *q, const struct field *f, struct run run, void *out, struct err *e)
{
	const struct entry *first = run.entries;
	int r;

	if (q->depth == CODEC_DEPTH_MAX)
		return unknown(first, e);
	q->depth++;
	r = decode(q, f->shape, run, first->name, (int)(first->at - first->name), out, e);
	q->depth--;
	return r;
}

struct items {
	const struct field *field;
	struct codec_list *list;
	size_t room, max;
};

static int
item_new(struct query *q, struct items *items, const struct entry *x, void **ret, struct err *e)
{
	size_t size = codec_item_size(items->field);

	if (items->list->count == items->max) {
		char why[80];

		(void)snprintf(why, sizeof(why), "Expecting at most %zu values.", items->max);
		return invalid(items->field, x, why, e);
	}
	if (!items->list->items) {
		items->list->items = arena_try(q->arena, items->room * size);
		if (!items->list->items)
			return err_set(e, ERR_LIMIT, "the request is too large");
	}
	assert(items->list->count < items->room);
	*ret = (char *)items->list->items + items->list->count++ * size;
	return 0;
}

static int
add_value(struct query *q, struct items *items, const struct entry *x, struct err *e)
{
	void *slot;
	int r;

	if (items->field->type == FIELD_STRUCT)
		return invalid(items->field, x, "Expecting its members.", e);
	r = item_new(q, items, x, &slot, e);
	return r < 0 ? r : parse_value(q, items->field, x, slot, e);
}

/* X.1 and X.0, with gaps and in any order; bare X, also repeated; X.member.1 of other services. A
 * bare X without value is an empty list. */
static int
add_items(struct query *q, struct items *items, struct run run, struct err *e)
{
	const char *member = items->field->item;
	struct run deeper = run, leaves = take_leaves(&deeper);
	int r;

	for (size_t i = 0; i < leaves.count; i++) {
		if (!leaves.entries[i].value.n)
			continue;
		r = add_value(q, items, &leaves.entries[i], e);
		if (r < 0)
			return r;
	}
	while (deeper.count) {
		struct run one = take_run(&deeper), inner;
		const char *at = one.entries->at;
		size_t n = segment_length(at);
		void *slot;

		if (strlen(member) == n && !memcmp(at, member, n) && !is_leaf(one.entries) &&
		    q->depth < CODEC_DEPTH_MAX) {
			q->depth++;
			r = add_items(q, items, one, e);
			q->depth--;
			if (r < 0)
				return r;
			continue;
		}
		if (!is_number(at, n))
			return unknown(one.entries, e);
		if (items->field->type != FIELD_STRUCT) {
			for (size_t i = 0; i < one.count; i++) {
				if (!is_leaf(&one.entries[i]))
					return unknown(&one.entries[i], e);
				r = add_value(q, items, &one.entries[i], e);
				if (r < 0)
					return r;
			}
			continue;
		}
		inner = one;
		leaves = take_leaves(&inner);
		if (leaves.count)
			return add_value(q, items, leaves.entries, e);
		r = item_new(q, items, one.entries, &slot, e);
		if (r == 0)
			r = decode_nested(q, items->field, inner, slot, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
decode_list(struct query *q, const struct field *f, struct run run, void *out, struct err *e)
{
	struct items items = { f, codec_at(f, out), run.count,
		f->max ? (size_t)f->max : CODEC_QUERY_LIST_MAX };
	const struct entry *first = run.entries;
	int r;

	r = add_items(q, &items, run, e);
	if (r < 0)
		return r;
	if (items.list->count && f->min > 0 && items.list->count < (size_t)f->min) {
		char why[80];

		(void)snprintf(why, sizeof(why), "Expecting at least %zu values.", (size_t)f->min);
		return invalid(f, first, why, e);
	}
	return 0;
}

/* A parameter that is known and not offered: only values that ask for nothing pass. */
static int
skip_unstored(const struct field *f, struct run run, struct err *e)
{
	for (size_t i = 0; i < run.count && f->flags & FIELD_REFUSED; i++) {
		const struct entry *x = &run.entries[i];

		if (x->value.n && !(f->choices && codec_is_choice(f->choices, x->value)))
			return err_set(e, ERR_UNSUPPORTED_OPERATION,
			    "The parameter %.200s is not supported", x->name);
	}
	return 0;
}

static int
decode_field(struct query *q, const struct field *f, struct run run, void *out, bool *ret_given,
    struct err *e)
{
	const struct entry *x;
	int r;

	if (f->flags & FIELD_UNSTORED)
		return skip_unstored(f, run, e);
	if (f->flags & FIELD_LIST) {
		r = decode_list(q, f, run, out, e);
		*ret_given = ((struct codec_list *)codec_at(f, out))->count > 0;
		return r;
	}
	if (f->type == FIELD_STRUCT) {
		struct run deeper = run, leaves = take_leaves(&deeper);
		void **slot = codec_at(f, out);

		if (leaves.count)
			return invalid(f, leaves.entries, "Expecting its members.", e);
		*slot = arena_try(q->arena, f->shape->size);
		if (!*slot)
			return err_set(e, ERR_LIMIT, "the request is too large");
		*ret_given = true;
		return decode_nested(q, f, deeper, *slot, e);
	}
	r = scalar_entry(f, run, &x, e);
	if (r < 0)
		return r;
	*ret_given = x->value.n > 0;
	if (!x->value.n && f->flags & FIELD_REQUIRED)
		return 0; /* reads as missing */
	r = parse_value(q, f, x, codec_at(f, out), e);
	if (r == 0)
		codec_mark_present(f, out);
	return r;
}

static const struct field *
find_field(const struct shape *shape, const char *at)
{
	size_t n = segment_length(at);

	for (unsigned i = 0; i < shape->field_count; i++)
		if (!(shape->fields[i].flags & FIELD_HIDDEN) &&
		    strlen(shape->fields[i].query) == n && !memcmp(shape->fields[i].query, at, n))
			return &shape->fields[i];
	return NULL;
}

static int
decode(struct query *q, const struct shape *shape, struct run run, const char *prefix,
    int prefix_length, void *out, struct err *e)
{
	bool *given = arena_try(q->arena, shape->field_count + 1);
	int r;

	if (!given)
		return err_set(e, ERR_LIMIT, "the request is too large");
	while (run.count) {
		struct run one = take_run(&run);
		const struct field *f = find_field(shape, one.entries->at);

		if (!f)
			return unknown(one.entries, e);
		r = decode_field(q, f, one, out, &given[f - shape->fields], e);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < shape->field_count; i++)
		if (shape->fields[i].flags & FIELD_REQUIRED && !given[i])
			return missing(prefix, prefix_length, &shape->fields[i], e);
	return 0;
}

static bool
is_ignored(const char *const *ignore, const char *name)
{
	for (; ignore && *ignore; ignore++)
		if (strings_equal(*ignore, name))
			return true;
	return false;
}

int
codec_from_query(const struct shape *shape, const struct form *form, const char *const *ignore,
    struct arena *arena, void *out, struct err *e)
{
	struct query q = { .arena = arena };
	struct run all = { arena_try(arena, (form->count + 1) * sizeof(struct entry)), 0 };

	if (!all.entries)
		return err_set(e, ERR_LIMIT, "the request is too large");
	memset(out, 0, shape->size);
	for (size_t i = 0; i < form->count; i++) {
		const struct form_field *f = &form->fields[i];

		if (is_ignored(ignore, f->name))
			continue;
		all.entries[all.count] = (struct entry){ f->name, f->name, f->value, all.count };
		all.count++;
	}
	qsort(all.entries, all.count, sizeof(*all.entries), entry_compare);
	return decode(&q, shape, all, "", 0, out, e);
}
