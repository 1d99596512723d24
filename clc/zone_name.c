/* An account's order is made of its id and the ids of the zones that were there when it was made:
 * it needs no row and never changes. A zone that comes later is known to it by its own name. */
#include "zone_name.h"

#include <stdlib.h>

#include "auth/digest.h"
#include "base/strbuf.h"
#include "base/vec.h"

struct place {
	char key[65]; /* sorts the zones into the account's order */
	size_t zone;
};

static int
by_key(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->key, ((const struct place *)b)->key);
}

/* The first `count` zones, in the account's order, get the names of the first `count` in their own.
 */
static void
shuffle(struct clc_zone_names *names, size_t count, const char *account_id)
{
	struct place *places = xcalloc(count + 1, sizeof(*places));

	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *text = xasprintf("%s/%s", account_id, names->items[i].zone_id);

		digest_hex(DIGEST_SHA256, str_of(text), places[i].key);
		places[i].zone = i;
	}
	qsort(places, count, sizeof(*places), by_key);
	for (size_t i = 0; i < count; i++)
		names->items[places[i].zone].shown = names->items[i].zone;
	free(places);
}

static int
account_made_us(struct store_tx *tx, const char *account_id, int64_t *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_ACCOUNT_BY_ID, &rows, "account", e, account_id);

	if (r == 0)
		*ret = store_int(rows, 3);
	return r;
}

int
clc_zone_names_read(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    struct arena *arena, struct clc_zone_names *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct clc_zone_name) all = { 0 };
	size_t older = 0;
	int64_t made_us = 0;
	int r = 0;

	if (strings_equal(conf->zone_names, "shuffled"))
		r = account_made_us(tx, account_id, &made_us, e);
	if (r == 0)
		r = store_query(tx, Q_ZONES, &rows, e);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_zone_name z = { arena_strdup(arena, store_text(rows, 0)),
			arena_strdup(arena, store_text(rows, 1)), NULL };

		z.shown = z.zone;
		older += store_int(rows, 5) <= made_us;
		vec_add(&all, z);
	}
	if (r == 0) {
		ret->count = all.count;
		ret->items = arena_memdup(arena, all.items, all.count * sizeof(*all.items));
		shuffle(ret, older, account_id);
	}
	vec_done(&all);
	return r;
}

int
clc_zone_names(
    struct store_tx *tx, struct request *rq, const struct clc_zone_names **ret, struct err *e)
{
	struct clc_zone_names *names;
	int r;

	if (!rq->zone_names) {
		names = arena_alloc(rq->arena, sizeof(*names));
		r = clc_zone_names_read(tx, rq->clc->conf, rq->account_id, rq->arena, names, e);
		if (r < 0)
			return r;
		rq->zone_names = names;
	}
	*ret = rq->zone_names;
	return 0;
}

const char *
clc_zone_shown(const struct clc_zone_names *names, const char *zone)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i].zone, zone) == 0)
			return names->items[i].shown;
	return zone;
}

const struct clc_zone_name *
clc_zone_by_shown(const struct clc_zone_names *names, const char *shown)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i].shown, shown) == 0)
			return &names->items[i];
	return NULL;
}

int
clc_zone_name_find(struct store_tx *tx, struct request *rq, const char *shown,
    const char **ret_zone, struct err *e)
{
	const struct clc_zone_names *names;
	const struct clc_zone_name *found;
	int r = clc_zone_names(tx, rq, &names, e);

	if (r < 0)
		return r;
	found = clc_zone_by_shown(names, shown);
	if (!found)
		return err_set(e, ERR_ZONE_NOT_FOUND, "Invalid availability zone: [%.100s]", shown);
	*ret_zone = found->zone;
	return 0;
}

int
clc_zone_name_show(struct store_tx *tx, struct request *rq, const char *zone,
    const char **ret_shown, struct err *e)
{
	const struct clc_zone_names *names;
	int r = clc_zone_names(tx, rq, &names, e);

	if (r == 0)
		*ret_shown = clc_zone_shown(names, zone);
	return r;
}
