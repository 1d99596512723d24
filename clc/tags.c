/* Tags are rows keyed by resource, read with it. */
#include "tags.h"

#include "base/vec.h"
#include "schema.h"

#define KEY_MAX 127
#define VALUE_MAX 255

static int
check_tags(const struct tag *tags, size_t count, struct err *e)
{
	if (count > TAGS_MAX)
		return err_set(e, ERR_TAG_LIMIT_EXCEEDED,
		    "More than %d tags on one resource are not allowed", TAGS_MAX);
	for (size_t i = 0; i < count; i++) {
		const char *key = tags[i].key;

		if (!key || !key[0] || strlen(key) > KEY_MAX)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Tag keys are 1 to %d characters", KEY_MAX);
		if (strncasecmp(key, "aws:", 4) == 0)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Tag keys starting with 'aws:' are reserved for internal use");
		if (tags[i].value && strlen(tags[i].value) > VALUE_MAX)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "Tag value exceeds the maximum length of %d characters", VALUE_MAX);
		for (size_t j = 0; j < i; j++)
			if (strcmp(tags[j].key, key) == 0)
				return err_set(e, ERR_INVALID_PARAMETER_VALUE,
				    "Duplicate tag key '%s' specified.", key);
	}
	return 0;
}

int
clc_tags_of(const struct tag_specification *specifications, size_t count, const char *type,
    const struct tag **ret_tags, size_t *ret_count, struct err *e)
{
	*ret_tags = NULL;
	*ret_count = 0;
	for (size_t i = 0; i < count; i++) {
		if (!strings_equal(specifications[i].resource_type, type)) {
			if (specifications[i].resource_type && strcmp(type, "instance") == 0 &&
			    (strcmp(specifications[i].resource_type, "volume") == 0 ||
				strcmp(specifications[i].resource_type, "network-interface") == 0))
				continue; /* an instance-store instance has none to tag at launch */
			return err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "'%s' is not a valid taggable resource type for this operation.",
			    specifications[i].resource_type ? specifications[i].resource_type : "");
		}
		*ret_tags = specifications[i].tags.items;
		*ret_count = specifications[i].tags.count;
	}
	return check_tags(*ret_tags, *ret_count, e);
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
