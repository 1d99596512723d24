/* A walk reads rows in the order of their keys, of a key the newest version first. When it meets a
 * key that belongs to a common prefix it writes the prefix down and seeks behind everything that
 * shares it; of a key whose old versions are not wanted it sees a few and then seeks behind them
 * all. So the cost follows what is answered, not what the bucket holds. */
#include "list_walk.h"

#include "schema.h"

#define ROWS_MAX 1024 /* of one statement */
#define SKIPS_MAX 8   /* old versions of one key that are cheaper to read than to seek behind */

struct str
list_successor(struct str prefix, struct arena *arena)
{
	char *copy = arena_memdup(arena, prefix.p, prefix.n);
	size_t n = prefix.n;

	while (n > 0 && (unsigned char)copy[n - 1] == 0xff)
		n--;
	if (n == 0)
		return (struct str){ NULL, 0 };
	copy[n - 1]++;
	return (struct str){ copy, n };
}

struct str
list_just_after(struct str key, struct arena *arena)
{
	char *copy = arena_alloc(arena, key.n + 1); /* zeroed */

	memcpy(copy, key.p, key.n);
	return (struct str){ copy, key.n + 1 };
}

static bool
has_prefix(struct str key, struct str prefix)
{
	return key.n >= prefix.n && memcmp(key.p, prefix.p, prefix.n) == 0;
}

struct str
list_common_prefix(const struct list_walk *w, struct str key)
{
	const char *found;

	if (w->delimiter.n == 0 || !has_prefix(key, w->prefix) || key.n == w->prefix.n)
		return (struct str){ NULL, 0 };
	found = memmem(key.p + w->prefix.n, key.n - w->prefix.n, w->delimiter.p, w->delimiter.n);
	return found ? (struct str){ key.p, (size_t)(found - key.p) + w->delimiter.n }
		     : (struct str){ NULL, 0 };
}

static int
compare(struct str a, struct str b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

bool
list_start_at(struct list_walk *w, struct str place)
{
	if (compare(place, w->prefix) < 0)
		return false;
	w->start = place;
	w->start_position = 0;
	return true;
}

bool
list_start_after(struct list_walk *w, struct str after)
{
	struct str common = list_common_prefix(w, after), start;

	if (common.n == 0 || common.n != after.n)
		return list_start_at(w, list_just_after(after, w->arena));
	start = list_successor(after, w->arena);
	if (start.p)
		(void)list_start_at(w, start);
	else
		w->max = 0; /* nothing can be behind it */
	return false;
}

/* -- rows -- */

/* What decides about a row, before it is copied. Columns as object_from_row has them. */
struct place {
	struct str key; /* borrowed */
	int64_t position;
	bool is_current, is_marker;
};

static struct place
place_of(struct store_rows *rows)
{
	const unsigned at = ATTRIBUTE_COUNT;

	return (struct place){ store_blob(rows, at), store_int(rows, at + 2),
		store_int(rows, at + 3), store_int(rows, at + 4) };
}

enum step { STEP_NEXT, STEP_SEEK, STEP_END };
struct cursor {
	struct str key; /* from here the next statement reads */
	int64_t position;
	unsigned skipped; /* old versions in a row */
};

static struct str
keep(struct list_walk *w, struct str s)
{
	return (struct str){ s.n ? arena_memdup(w->arena, s.p, s.n) : "", s.n };
}

static enum step
seek_behind_key(struct list_walk *w, struct cursor *c, struct str key)
{
	c->key = list_just_after(key, w->arena);
	c->position = 0;
	return STEP_SEEK;
}

static enum step
take_prefix(struct list_walk *w, struct cursor *c, struct str common)
{
	common = keep(w, common);
	vec_add(&w->prefixes, common);
	w->last = common;
	w->last_version_id = NULL;
	w->next = list_successor(common, w->arena);
	c->key = w->next;
	c->position = 0;
	return w->next.p ? STEP_SEEK : STEP_END;
}

static enum step
take_row(struct list_walk *w, struct cursor *c, struct store_rows *rows)
{
	struct place at = place_of(rows);
	struct str common;
	struct object o;

	if (!has_prefix(at.key, w->prefix))
		return STEP_END;
	if (!w->all_versions && !at.is_current)
		return ++c->skipped < SKIPS_MAX ? STEP_NEXT : seek_behind_key(w, c, at.key);
	c->skipped = 0;
	if (!w->all_versions && at.is_marker)
		return STEP_NEXT;
	if (w->count == w->max) {
		w->is_truncated = true;
		return STEP_END;
	}
	w->count++;
	common = list_common_prefix(w, at.key);
	if (common.n)
		return take_prefix(w, c, common);
	object_of_list(rows, w->arena, &o);
	vec_add(&w->objects, o);
	w->last = o.key;
	w->last_version_id = o.version_id;
	w->next = list_just_after(o.key, w->arena);
	return STEP_NEXT;
}

static int
walk_from(
    struct store_tx *tx, struct list_walk *w, struct cursor *c, enum step *ret_step, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(
	    tx, Q_OBJECT_LIST, &rows, e, w->bucket_id, c->key, c->position, (int64_t)ROWS_MAX);

	*ret_step = STEP_END;
	for (unsigned n = 1; r >= 0 && (r = store_next(rows, e)) > 0; n++) {
		*ret_step = take_row(w, c, rows);
		if (*ret_step != STEP_NEXT)
			return 0;
		if (n == ROWS_MAX) {
			struct place at = place_of(rows);

			c->key = keep(w, at.key);
			c->position = at.position + 1;
			*ret_step = STEP_SEEK;
			return 0;
		}
		*ret_step = STEP_END;
	}
	return r;
}

int
list_walk(struct store_tx *tx, void *arg, struct err *e)
{
	struct list_walk *w = arg;
	struct cursor c = { w->start, w->start_position, 0 };
	enum step step = w->max ? STEP_SEEK : STEP_END;
	int r = 0;

	w->objects.count = w->prefixes.count = w->count = 0;
	w->is_truncated = false;
	w->next = w->start;
	w->last = (struct str){ "", 0 };
	w->last_version_id = NULL;
	while (r == 0 && step == STEP_SEEK)
		r = walk_from(tx, w, &c, &step, e);
	return r;
}

void
list_walk_done(struct list_walk *w)
{
	vec_done(&w->objects);
	vec_done(&w->prefixes);
}
