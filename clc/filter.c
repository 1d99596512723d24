/* Walks a reply struct by its own table, so that a new filter is one row: no code per filter. */
#include "filter.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"

#define TAG_PREFIX "tag:"

static const struct field *
find_field(const struct shape *shape, const char *name, size_t n)
{
	for (unsigned i = 0; i < shape->field_count; i++)
		if (strlen(shape->fields[i].name) == n &&
		    strncmp(shape->fields[i].name, name, n) == 0)
			return &shape->fields[i];
	return NULL;
}

static const struct filter_path tag_filters[] = {
	{ "tag-key", "tags.key" },
	{ "tag-value", "tags.value" },
	{ 0 },
};

static const struct filter_path *
find_filter(const struct operation *operation, const char *name)
{
	if (find_field(operation->filtered, "tags", 4))
		for (const struct filter_path *f = tag_filters; f->name; f++)
			if (strcmp(f->name, name) == 0)
				return f;
	for (const struct filter_path *f = operation->filters; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static bool
is_tag(const char *name, const struct shape *shape)
{
	return strncmp(name, TAG_PREFIX, strlen(TAG_PREFIX)) == 0 && find_field(shape, "tags", 4);
}

int
filters_check(
    const struct operation *operation, const struct filter *filters, size_t count, struct err *e)
{
	size_t values = 0;

	for (size_t i = 0; i < count; i++) {
		if (!is_tag(filters[i].name, operation->filtered) &&
		    !find_filter(operation, filters[i].name))
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "The filter '%.100s' is invalid", filters[i].name);
		values += filters[i].values.count;
	}
	if (values > FILTER_VALUES_MAX)
		return err_set(e, ERR_FILTER_LIMIT_EXCEEDED,
		    "The maximum number of filter values specified on a single call is %d",
		    FILTER_VALUES_MAX);
	return 0;
}

static bool
any_matches(const struct filter *f, const char *text)
{
	for (size_t i = 0; text && i < f->values.count; i++)
		if (glob_match(f->values.items[i], text))
			return true;
	return false;
}

/* A value that is no list and no struct, as text. NULL: absent. */
static const char *
scalar_text(
    const struct field *field, const char *at, const char *base, char buffer[TIME_TEXT_SIZE])
{
	if (field->has_offset != SIZE_MAX && !*(const bool *)(base + field->has_offset))
		return NULL;
	switch (field->type) {
	case FIELD_STRING:
		return *(const char *const *)at;
	case FIELD_BOOL:
		return *(const bool *)at ? "true" : "false";
	case FIELD_U32:
		snprintf(buffer, TIME_TEXT_SIZE, "%u", *(const uint32_t *)at);
		return buffer;
	case FIELD_I32:
		snprintf(buffer, TIME_TEXT_SIZE, "%d", *(const int32_t *)at);
		return buffer;
	case FIELD_U64:
		snprintf(buffer, TIME_TEXT_SIZE, "%llu", (unsigned long long)*(const uint64_t *)at);
		return buffer;
	case FIELD_I64:
		snprintf(buffer, TIME_TEXT_SIZE, "%lld", (long long)*(const int64_t *)at);
		return buffer;
	case FIELD_TIME:
		time_format_iso(*(const int64_t *)at, buffer);
		return buffer;
	case FIELD_BYTES:
	case FIELD_STRUCT:
		return NULL;
	}
	return NULL;
}

struct untyped_list {
	const char *items;
	size_t count;
};

static bool
path_matches(const struct filter *f, const struct shape *shape, const char *base, const char *path)
{
	const char *dot = strchrnul(path, '.');
	const struct field *field = find_field(shape, path, dot - path);
	const char *at, *rest = *dot ? dot + 1 : dot;
	char buffer[TIME_TEXT_SIZE];

	assert(field); /* a table's path names fields of its shape: a test walks all */
	at = base + field->offset;
	if (field->flags & FIELD_LIST) {
		const struct untyped_list *list = (const void *)at;
		size_t step = field->type == FIELD_STRUCT ? field->shape->size : sizeof(char *);

		for (size_t i = 0; i < list->count; i++) {
			const char *item = list->items + i * step;

			if (field->type == FIELD_STRUCT
				? path_matches(f, field->shape, item, rest)
				: any_matches(f, *(const char *const *)item))
				return true;
		}
		return false;
	}
	if (field->type == FIELD_STRUCT) {
		const char *inner = *(const char *const *)at;

		return inner && path_matches(f, field->shape, inner, rest);
	}
	return any_matches(f, scalar_text(field, at, base, buffer));
}

/* tag:KEY looks for one tag that has both the key and a value. */
static bool
tag_matches(const struct filter *f, const struct shape *shape, const char *base)
{
	const struct field *field = find_field(shape, "tags", 4);
	const struct untyped_list *list = (const void *)(base + field->offset);
	const struct tag *tags = (const void *)list->items;

	for (size_t i = 0; i < list->count; i++)
		if (strings_equal(tags[i].key, f->name + strlen(TAG_PREFIX)))
			return any_matches(f, tags[i].value ? tags[i].value : "");
	return false;
}

static bool
matches(const struct operation *operation, const struct filter *f, const void *item)
{
	const char *path;

	if (is_tag(f->name, operation->filtered))
		return tag_matches(f, operation->filtered, item);
	path = find_filter(operation, f->name)->path;
	return path && path_matches(f, operation->filtered, item, path);
}

bool
filters_match(
    const struct operation *operation, const struct filter *filters, size_t count, const void *item)
{
	for (size_t i = 0; i < count; i++)
		if (!matches(operation, &filters[i], item))
			return false;
	return true;
}
