/* Tags are rows keyed by resource, read with it. Lengths are in characters, as Amazon counts. */
#include "tags.h"

#include "base/vec.h"
#include "schema.h"

static size_t
characters(const char *utf8)
{
	size_t n = 0;

	for (; *utf8; utf8++)
		n += ((unsigned char)*utf8 & 0xc0) != 0x80;
	return n;
}

int
clc_tag_check_key(const char *key, struct err *e)
{
	size_t n = key ? characters(key) : 0;

	if (n == 0 || n > TAG_KEY_MAX)
		return err_set(
		    e, ERR_INVALID_PARAMETER_VALUE, "Tag keys are 1 to %d characters", TAG_KEY_MAX);
	if (strncasecmp(key, "aws:", 4) == 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Tag keys starting with 'aws:' are reserved for internal use");
	return 0;
}

int
clc_tags_check(const struct tag *tags, size_t count, struct err *e)
{
	int r = 0;

	if (count > TAGS_MAX)
		return err_set(e, ERR_TAG_LIMIT_EXCEEDED,
		    "More than %d tags on one resource are not allowed", TAGS_MAX);
	for (size_t i = 0; i < count; i++) {
		r = clc_tag_check_key(tags[i].key, e);
		if (r < 0)
			return r;
		if (tags[i].value && characters(tags[i].value) > TAG_VALUE_MAX)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Tag value exceeds the maximum length of %d characters", TAG_VALUE_MAX);
		for (size_t j = 0; j < i; j++)
			if (strcmp(tags[j].key, tags[i].key) == 0)
				return err_set(e, ERR_INVALID_PARAMETER_VALUE,
				    "Duplicate tag key '%s' specified.", tags[i].key);
	}
	return 0;
}

int
clc_tags_check_metadata(const struct tag *tags, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		const char *key = tags[i].key;
		size_t fine = strspn(key, "0123456789abcdefghijklmnopqrstuvwxyz"
					  "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_+=,.@:");

		if (key[fine] || strcmp(key, ".") == 0 || strcmp(key, "..") == 0 ||
		    strcmp(key, "_index") == 0)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "'%.300s' is not a valid tag key. Tag keys must match pattern "
			    "([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name "
			    "('.', '..', '_index')",
			    key);
	}
	return 0;
}

/* What a launch may tag beside the instance; an instance-store instance has no volume to tag. */
static bool
is_launched_too(const char *type)
{
	return strcmp(type, "volume") == 0 || strcmp(type, "network-interface") == 0;
}

int
clc_tags_of(const struct tag_specification *specifications, size_t count, const char *type,
    const struct tag **ret_tags, size_t *ret_count, struct err *e)
{
	bool is_launch = strcmp(type, "instance") == 0 || is_launched_too(type);
	int r = 0;

	*ret_tags = NULL;
	*ret_count = 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct tag_specification *s = &specifications[i];

		if (!s->resource_type || !s->resource_type[0])
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Tag specification resource type must have a value");
		if (strcmp(s->resource_type, type) != 0 &&
		    !(is_launch && (is_launched_too(s->resource_type) ||
				       strcmp(s->resource_type, "instance") == 0)))
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "'%.100s' is not a valid taggable resource type for this operation.",
			    s->resource_type);
		if (s->tags.count == 0)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Tag specification must have at least one tag");
		for (size_t j = 0; j < i; j++)
			if (strcmp(specifications[j].resource_type, s->resource_type) == 0)
				return err_set(e, ERR_INVALID_PARAMETER_VALUE,
				    "The same resource type may not be specified more than once in "
				    "tag specifications");
		r = clc_tags_check(s->tags.items, s->tags.count, e);
		if (r == 0 && strcmp(s->resource_type, type) == 0) {
			*ret_tags = s->tags.items;
			*ret_count = s->tags.count;
		}
	}
	return r;
}

int
clc_tags_insert(struct store_tx *tx, const char *account_id, const char *resource_id,
    const struct tag *tags, size_t count, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = store_exec(tx, Q_TAG_INSERT, NULL, e, account_id, resource_id, tags[i].key,
		    tags[i].value ? tags[i].value : "");
	return r;
}

int
clc_tags_read(struct store_tx *tx, const char *resource_id, struct arena *arena,
    struct tag_list *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct tag) tags = { 0 };
	int r = store_query(tx, Q_TAGS, &rows, e, resource_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct tag t = { arena_strdup(arena, store_text(rows, 0)),
			arena_strdup(arena, store_text(rows, 1)) };

		vec_add(&tags, t);
	}
	ret->count = tags.count;
	ret->items = arena_memdup(arena, tags.items, tags.count * sizeof(*tags.items));
	vec_done(&tags);
	return r;
}
