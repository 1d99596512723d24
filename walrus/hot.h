#pragma once
/* Small objects that are asked for again, as they are now, in memory. Entries are immutable and counted.
 * A bounded number of bytes; who was not asked for longest goes first. */
#include "content.h"

struct hot;
struct hot_object {
	struct object object;
	struct extent extent; /* all its bytes, in extent.blob.data; an empty object has no extent: end 0 */
};

/* Follows what the store writes from here on. */
struct hot *hot_new(struct store *store, uint64_t bytes_max);
void hot_free(struct hot *h); /* after the store is closed */

/* In all of these h may be NULL: nothing is kept.
 * The current version of a key, one count; NULL: not here, or just being written. Never blocks. */
struct hot_object *hot_find(struct hot *h, int64_t bucket_id, struct str key);
void hot_unref(struct hot_object *o);
DEFINE_CLEANUP(struct hot_object *, hot_unref)
size_t hot_count(struct hot *h); /* not NULL */

/* Putting one in: the ticket is taken before the snapshot is read, so that what was true before a commit
 * is never offered as what is true after it. Takes copies; refuses what is too large or encrypted. */
struct hot_ticket {
	uint64_t one, all;
};
struct hot_ticket hot_ticket(struct hot *h, int64_t bucket_id, struct str key);
void hot_offer(struct hot *h, struct hot_ticket ticket, int64_t bucket_id, const struct object *o,
    const struct extent *extents, size_t count);
