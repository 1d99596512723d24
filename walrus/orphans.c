/* The walk over the directories is slow and therefore rare. A file that is being written, or whose
 * row came before we looked, is no orphan: the order of the two looks makes it so (see blob.c).
 *
 * That a store was put back shows by its epoch: the one noted at the last walk is another. */
#include "orphans.h"

#include <stdio.h>

#include "base/clock.h"
#include "blob.h"
#include "run/health.h"
#include "run/metrics.h"
#include "schema.h"

#define DIRECTORIES 256

struct walk {
	struct walrus *walrus;
	bool is_known; /* there is a note of an earlier walk */
	bool is_empty; /* no bucket */
	bool is_held;  /* nothing is removed */
	int64_t held_since_us;
	uint64_t count, bytes; /* of orphans, removed or held */
	struct metric *removed;
};
struct candidate {
	const char *id;
	bool is_known;
};

static int
look_up(struct store_tx *tx, void *arg, struct err *e)
{
	struct candidate *c = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_BLOB_IS_KNOWN, &rows, "blob", e, c->id);

	if (r == 0)
		c->is_known = store_int(rows, 0);
	return r;
}

static int
visit(void *arg, const char *id, struct err *e)
{
	struct walk *walk = arg;
	struct walrus *w = walk->walrus;
	struct candidate c = { .id = id };
	uint64_t bytes = 0;
	int r = store_read(w->store, look_up, &c, e);

	if (r < 0 || c.is_known)
		return r;
	r = blobs_size(w->blobs, id, &bytes, e);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	walk->count++;
	walk->bytes += bytes;
	if (walk->is_held) {
		log_debug(w->log, "blob.orphan_held", "blob=%s", id);
		return 0;
	}
	log_info(w->log, "blob.orphan", "blob=%s", id);
	metric_add(walk->removed, 1);
	return blobs_remove(w->blobs, id, e);
}

static void
epoch_text(const struct walrus *w, char out[24])
{
	(void)snprintf(out, 24, "%llu", (unsigned long long)store_epoch(w->store));
}

static int
read_note(struct store_tx *tx, void *arg, struct err *e)
{
	struct walk *walk = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL, *buckets = NULL;
	char epoch[24];
	int r = store_query_one(tx, Q_HAS_BUCKETS, &buckets, "buckets", e);

	if (r == 0)
		r = store_query(tx, Q_UPKEEP, &rows, e);
	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	epoch_text(walk->walrus, epoch);
	walk->is_empty = !store_int(buckets, 0);
	walk->is_known = r > 0;
	walk->held_since_us = r > 0 ? store_int(rows, 1) : 0;
	walk->is_held = r > 0 ? walk->held_since_us || !strings_equal(store_text(rows, 0), epoch)
			      : walk->is_empty;
	return 0;
}

static int
write_note(struct store_tx *tx, void *arg, struct err *e)
{
	struct walk *walk = arg;
	char epoch[24];

	epoch_text(walk->walrus, epoch);
	if (!walk->is_held || walk->count == 0)
		walk->held_since_us = 0;
	else if (!walk->held_since_us)
		walk->held_since_us = store_now_us(tx);
	return store_exec(tx, Q_UPKEEP_SET, NULL, e, epoch, walk->held_since_us, store_now_us(tx),
	    (int64_t)walk->count, (int64_t)walk->bytes);
}

static void
tell(const struct walk *walk)
{
	bool is_held = walk->is_held && walk->count > 0;

	metric_set(metric_gauge("mallee_walrus_orphans_held", NULL,
		       "Files that nothing names, kept until an operator releases them"),
	    is_held ? (double)walk->count : 0);
	if (!is_held) {
		health_warn("orphans", NULL);
		return;
	}
	health_warn("orphans",
	    "%llu file(s) are named by nothing since the store was put back: mallee-admin orphan",
	    (unsigned long long)walk->count);
	log_warn(walk->walrus->log, "orphans.held", "files=%llu bytes=%llu",
	    (unsigned long long)walk->count, (unsigned long long)walk->bytes);
}

int
orphans_sweep(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct walk walk = { .walrus = arg };
	struct walrus *w = arg;
	int r = store_read(w->store, read_note, &walk, e);

	walk.removed = metric_counter("mallee_walrus_orphans_removed_total", NULL,
	    "Files removed that writers had left which died");
	for (unsigned d = 0; r == 0 && d < DIRECTORIES; d++)
		r = blobs_visit(w->blobs, d, visit, &walk, e);
	if (r == 0)
		r = store_write(w->store, write_note, &walk, e);
	if (r == 0)
		tell(&walk);
	return r;
}

int
orphans_release(struct store_tx *tx, void *arg, struct err *e)
{
	return store_exec(tx, Q_UPKEEP_RELEASE, NULL, e);
}

int
orphans_describe(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct strbuf *out = arg;
	char looked[TIME_TEXT_SIZE], since[TIME_TEXT_SIZE];
	int r = store_query(tx, Q_UPKEEP, &rows, e);

	strbuf_reset(out);
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	time_format_iso(store_int(rows, 2), looked);
	time_format_iso(store_int(rows, 1), since);
	strbuf_addf(out, "looked=%s state=%s files=%lld bytes=%lld", looked,
	    store_int(rows, 1) ? "held" : "removed", (long long)store_int(rows, 3),
	    (long long)store_int(rows, 4));
	if (store_int(rows, 1))
		strbuf_addf(out, " since=%s", since);
	strbuf_addc(out, '\n');
	return 0;
}
