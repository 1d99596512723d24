#pragma once
/* The walk through a bucket's rows that all lists of objects are. */
#include "base/arena.h"
#include "base/vec.h"
#include "content.h"

struct list_walk {
	int64_t bucket_id;
	struct arena *arena;
	struct str prefix, delimiter;
	bool all_versions; /* else current objects only, and no delete markers */
	uint32_t max;      /* of objects and common prefixes together */
	/* Where it begins: versions of this key from this position on, and all later keys. */
	struct str start;
	int64_t start_position;

	/* out, strings in the arena */
	VEC(struct object) objects;
	VEC(struct str) prefixes;
	uint32_t count;
	bool is_truncated; /* then, where it would go on; */
	struct str next;
	struct str last; /* and the key or common prefix that came last */
	const char *last_version_id; /* NULL: it was a common prefix */
};
/* A closure; arg: a struct list_walk. */
int list_walk(struct store_tx *tx, void *arg, struct err *e);
void list_walk_done(struct list_walk *w);

/* Up to and including the first delimiter behind the prefix; n 0 when there is none. */
struct str list_common_prefix(const struct list_walk *w, struct str key);
/* The smallest string of bytes that is larger than all that begin with `prefix`; p NULL: there is none. */
struct str list_successor(struct str prefix, struct arena *arena);
/* The next string in the order of bytes. */
struct str list_just_after(struct str key, struct arena *arena);
/* Begins at this place, but not before the prefix. false: the prefix comes later. */
bool list_start_at(struct list_walk *w, struct str place);
/* Begins behind `after`, be it a key or a common prefix. true: right behind all versions of a key. */
bool list_start_after(struct list_walk *w, struct str after);
