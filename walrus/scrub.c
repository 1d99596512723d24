/* The scrub. It walks objects in the order of their rows, a batch at a time, and for each the
 * extents; one step of the reconciler reads a fifth of a second's worth and asks to be called again
 * when the rate allows more. Rows may change at any time: what looks damaged is looked up again,
 * and counts only while a row still names it.
 *
 * The pages are dropped from memory before they are read: what the disk holds is the question. */
#include "scrub.h"

#include <stdatomic.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/vec.h"
#include "blob.h"
#include "content.h"
#include "net/url.h"
#include "run/health.h"
#include "run/metrics.h"
#include "schema.h"

#define BATCH 200
#define STEPS_PER_SECOND 5
#define ROW_COST 4096 /* bytes of the rate that an object costs, however small it is */
#define SAVE_EVERY_MS 5000
#define KEPT 10 /* reports */
#define SHOWN 1000

struct item { /* a version of an object, or a part */
	int64_t bucket_id, position;
	struct str key;
	char *version_id, *content_id, *upload_id;
	int64_t part_number;
	uint64_t size_bytes;
};
struct piece {
	struct blob blob;
};

struct scrub {
	struct walrus *walrus;
	atomic_bool is_ordered;
	bool is_running, is_known; /* that there is one, and its row was read */
	int64_t id, started_us, ended_us;
	int64_t objects, bytes, damaged;
	struct item at; /* the last one that is done; strings of its own */
	uint64_t saved_ms;
	int64_t damage_count; /* rows */

	struct arena *arena; /* of the batch */
	struct item items[BATCH];
	size_t count, next;

	struct arena *item_arena;
	VEC(struct piece) pieces; /* of items[next], while has_pieces */
	bool has_pieces;
	size_t piece;
	struct blob_reader *reader;
	uint64_t offset;

	struct metric *bytes_total, *objects_total, *damaged_now, *ended;
};

struct scrub *
scrub_new(struct walrus *w)
{
	struct scrub *s = xcalloc(1, sizeof(*s));

	s->walrus = w;
	s->at.key = (struct str){ xstrdup(""), 0 };
	s->bytes_total = metric_counter(
	    "mallee_walrus_scrub_bytes_total", NULL, "Bytes read and compared with their sums");
	s->objects_total = metric_counter("mallee_walrus_scrub_objects_total", NULL,
	    "Versions of objects, and parts, that were checked whole");
	s->damaged_now = metric_gauge("mallee_walrus_scrub_damaged", NULL,
	    "Versions of objects, and parts, that are known to be damaged");
	s->ended = metric_gauge("mallee_walrus_scrub_ended_seconds", NULL,
	    "When the last scrub ended, since 1970; 0: none did");
	return s;
}

static void
end_item(struct scrub *s)
{
	blob_reader_free(TAKE(s->reader));
	s->pieces.count = 0;
	s->piece = 0;
	s->offset = 0;
	s->has_pieces = false;
	arena_free(TAKE(s->item_arena));
}

void
scrub_free(struct scrub *s)
{
	if (!s)
		return;
	end_item(s);
	vec_done(&s->pieces);
	arena_free(s->arena);
	free((char *)s->at.key.p);
	free(s->at.upload_id);
	free(s);
}

void
scrub_order(struct scrub *s)
{
	atomic_store(&s->is_ordered, true);
}

/* -- its row -- */

static void
set_place(struct scrub *s, int64_t bucket_id, struct str key, int64_t position,
    const char *upload_id, int64_t part_number)
{
	char *key_copy = str_dup(key), *upload_copy = upload_id ? xstrdup(upload_id) : NULL;

	if (key.n)
		memcpy(key_copy, key.p, key.n);
	free((char *)s->at.key.p);
	free(s->at.upload_id);
	s->at = (struct item){ .bucket_id = bucket_id,
		.key = { key_copy, key.n },
		.position = position,
		.upload_id = upload_copy,
		.part_number = part_number };
}

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct scrub *s = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL, *count = NULL;
	int r = store_query_one(tx, Q_DAMAGE_COUNT, &count, "count", e);

	if (r == 0)
		r = store_query(tx, Q_SCRUBS, &rows, e, (int64_t)1);
	if (r == 0)
		s->damage_count = store_int(count, 0);
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	s->id = store_int(rows, 0);
	s->started_us = store_int(rows, 1);
	s->ended_us = store_int(rows, 2);
	s->is_running = store_is_null(rows, 2);
	s->objects = store_int(rows, 3);
	s->bytes = store_int(rows, 4);
	s->damaged = store_int(rows, 5);
	set_place(s, store_int(rows, 6), store_blob(rows, 7), store_int(rows, 8),
	    store_text(rows, 9), store_int(rows, 10));
	return 0;
}

static int
save(struct store_tx *tx, void *arg, struct err *e)
{
	struct scrub *s = arg;

	return store_exec(tx, Q_SCRUB_SAVE, NULL, e, s->id, s->objects, s->bytes, s->damaged,
	    s->at.bucket_id, s->at.key, s->at.position, s->at.upload_id, s->at.part_number);
}

static int
insert(struct store_tx *tx, void *arg, struct err *e)
{
	struct scrub *s = arg;
	int64_t now_us = store_now_us(tx);

	/* Rows lie in the order in which they began, also where the clock went back. */
	s->id = now_us > s->id ? now_us : s->id + 1;
	s->started_us = now_us;
	return store_exec(tx, Q_SCRUB_INSERT, NULL, e, s->id, s->started_us, (struct str){ "", 0 });
}

static int
count_damage(struct store_tx *tx, struct scrub *s, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_DAMAGE_COUNT, &rows, "count", e);

	if (r == 0)
		s->damage_count = store_int(rows, 0);
	return r;
}

/* What is not there any more is no longer damaged. */
static int
forget_gone(struct store_tx *tx, void *arg, struct err *e)
{
	int r = store_exec(tx, Q_DAMAGE_DELETE_GONE, NULL, e);

	return r == 0 ? count_damage(tx, arg, e) : r;
}

/* Nor what this scrub passed without finding it so. */
static int
finish(struct store_tx *tx, void *arg, struct err *e)
{
	struct scrub *s = arg;
	int r = save(tx, s, e);

	s->ended_us = store_now_us(tx);
	if (r == 0)
		r = store_exec(tx, Q_SCRUB_END, NULL, e, s->id, s->ended_us);
	if (r == 0)
		r = store_exec(tx, Q_SCRUB_TRIM, NULL, e, (int64_t)KEPT);
	if (r == 0)
		r = store_exec(tx, Q_DAMAGE_DELETE_UNSEEN, NULL, e, s->id);
	return r == 0 ? forget_gone(tx, s, e) : r;
}

/* -- what it finds -- */

static void
tell(struct scrub *s)
{
	metric_set(s->damaged_now, (double)s->damage_count);
	metric_set(s->ended, (double)s->ended_us / 1e6);
	if (s->damage_count)
		health_warn("scrub",
		    "%lld object(s) or part(s) are damaged: mallee-admin scrub names them",
		    (long long)s->damage_count);
	else
		health_warn("scrub", NULL);
}

struct finding {
	struct scrub *scrub;
	const struct item *item;
	const char *reason;
	bool is_named;
};

static int
is_named(struct store_tx *tx, const struct item *i, bool *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = i->upload_id ? store_query(tx, Q_SCRUB_PART, &rows, e, i->upload_id, i->part_number)
			     : store_query(tx, Q_SCRUB_OBJECT, &rows, e, i->bucket_id, i->key,
				   i->position, i->content_id);

	if (r == 0)
		r = store_next(rows, e);
	*ret = r > 0;
	/* A part that was sent again has other bytes. */
	if (r > 0 && i->upload_id)
		*ret = strings_equal(store_text(rows, 4), i->content_id);
	return r < 0 ? r : 0;
}

static int
note(struct store_tx *tx, void *arg, struct err *e)
{
	struct finding *f = arg;
	struct scrub *s = f->scrub;
	const struct item *i = f->item;
	int r = is_named(tx, i, &f->is_named, e);

	if (r < 0 || !f->is_named)
		return r;
	r = store_exec(tx, Q_DAMAGE_PUT, NULL, e, i->upload_id ? i->upload_id : i->content_id,
	    i->part_number, i->upload_id, i->bucket_id, i->key, i->version_id, f->reason,
	    store_now_us(tx), s->id);
	return r == 0 ? count_damage(tx, s, e) : r;
}

static int
found(struct scrub *s, const char *reason, struct err *e)
{
	const struct item *i = &s->items[s->next];
	struct finding f = { s, i, reason, false };
	int r = store_write(s->walrus->store, note, &f, e);

	if (r < 0 || !f.is_named)
		return r;
	s->damaged++;
	tell(s);
	if (i->upload_id)
		log_error(s->walrus->log, "part.damaged", "upload=%s part=%lld error=\"%s\"",
		    i->upload_id, (long long)i->part_number, reason);
	else
		log_error(s->walrus->log, "object.damaged",
		    "bucket_id=%lld key=\"%.*s\" version=%s content=%s error=\"%s\"",
		    (long long)i->bucket_id, (int)i->key.n, i->key.p, i->version_id, i->content_id,
		    reason);
	return 0;
}

/* -- walking -- */

static struct str
copy_bytes(struct arena *arena, struct str s)
{
	return (struct str){ s.n ? arena_memdup(arena, s.p, s.n) : "", s.n };
}

static void
take_object(struct scrub *s, struct store_rows *rows, struct item *i)
{
	*i = (struct item){ .bucket_id = store_int(rows, 0),
		.key = copy_bytes(s->arena, store_blob(rows, 1)),
		.position = store_int(rows, 2),
		.version_id = arena_strdup(s->arena, store_text(rows, 3)),
		.content_id = arena_strdup(s->arena, store_text(rows, 4)),
		.size_bytes = (uint64_t)store_int(rows, 5) };
}

/* A part's content is what is stored of it: the row's own fields tell one from the one that
 * replaces it. */
static void
take_part(struct scrub *s, struct store_rows *rows, struct item *i)
{
	*i = (struct item){ .upload_id = arena_strdup(s->arena, store_text(rows, 0)),
		.part_number = store_int(rows, 1),
		.bucket_id = store_int(rows, 2),
		.key = copy_bytes(s->arena, store_blob(rows, 3)),
		.version_id = "",
		.content_id = arena_strdup(s->arena, store_text(rows, 4)),
		.size_bytes = (uint64_t)store_int(rows, 5) };
}

static int
read_batch(struct store_tx *tx, void *arg, struct err *e)
{
	struct scrub *s = arg;
	const struct item *at = &s->at;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = at->upload_id ? store_query(tx, Q_SCRUB_PARTS, &rows, e, at->upload_id,
				    at->part_number, (int64_t)BATCH)
			      : store_query(tx, Q_SCRUB_OBJECTS, &rows, e, at->bucket_id, at->key,
				    at->position, (int64_t)BATCH);

	s->count = s->next = 0;
	while (r >= 0 && s->count < BATCH && (r = store_next(rows, e)) > 0) {
		struct item *i = &s->items[s->count++];

		if (at->upload_id)
			take_part(s, rows, i);
		else
			take_object(s, rows, i);
	}
	return r < 0 ? r : 0;
}

static int
add_piece(struct scrub *s, uint64_t size_bytes, const char *blob_id, int64_t crc32c,
    struct str data, struct err *e)
{
	struct piece p = { .blob = { .size_bytes = size_bytes, .crc32c = (uint32_t)crc32c } };

	if (blob_id && !blob_id_is_valid(blob_id))
		return err_set(e, ERR_CORRUPT, "its row names a file that can't be");
	if (blob_id)
		memcpy(p.blob.id, blob_id, BLOB_ID_SIZE);
	else
		p.blob.data = copy_bytes(s->item_arena, data);
	vec_add(&s->pieces, p);
	return 0;
}

static int
read_part(struct store_tx *tx, struct scrub *s, const struct item *i, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_SCRUB_PART, &rows, e, i->upload_id, i->part_number);

	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	return add_piece(s, (uint64_t)store_int(rows, 0), store_text(rows, 1), store_int(rows, 2),
	    store_blob(rows, 3), e);
}

static int
read_extents(struct store_tx *tx, struct scrub *s, const struct item *i, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int64_t end = 0;
	int r = store_query(tx, Q_EXTENTS, &rows, e, i->content_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		int64_t from = store_int(rows, 0), to = store_int(rows, 1);

		if (from != end || to <= from)
			return err_set(e, ERR_CORRUPT, "its extents do not fit together");
		end = to;
		r = add_piece(s, (uint64_t)(to - from), store_text(rows, 2), store_int(rows, 3),
		    store_blob(rows, 4), e);
	}
	if (r == 0 && (uint64_t)end != i->size_bytes)
		return err_set(e, ERR_CORRUPT, "it has another size than its extents");
	return r;
}

static int
read_pieces(struct store_tx *tx, void *arg, struct err *e)
{
	struct scrub *s = arg;
	const struct item *i = &s->items[s->next];

	end_item(s);
	s->item_arena = arena_new(0);
	return i->upload_id ? read_part(tx, s, i, e) : read_extents(tx, s, i, e);
}

/* -- reading -- */

/* One block, or nothing when the item is done. */
static int
read_block(struct scrub *s, uint64_t *ret_bytes, bool *ret_is_done, struct err *e)
{
	_cleanup_free_ char *buffer = NULL;
	struct str bytes = { NULL, 0 };
	const struct blob *blob;
	int r = 0;

	*ret_bytes = 0;
	*ret_is_done = s->piece == s->pieces.count;
	if (*ret_is_done)
		return 0;
	blob = &s->pieces.items[s->piece].blob;
	if (!s->reader) {
		r = blob_reader_new(s->walrus->blobs, blob, &s->reader, e);
		if (r == 0)
			blob_reader_forget_cached(s->reader);
	}
	if (r == 0 && s->offset < blob->size_bytes)
		r = blob_reader_read(
		    s->reader, s->offset, blob->size_bytes - s->offset, &buffer, &bytes, e);
	if (r < 0)
		return r;
	*ret_bytes = bytes.n;
	s->offset += bytes.n;
	if (s->offset < blob->size_bytes)
		return 0;
	blob_reader_forget_cached(s->reader);
	blob_reader_free(TAKE(s->reader));
	s->offset = 0;
	s->piece++;
	return 0;
}

static bool
is_damage(int code)
{
	return code == ERR_CORRUPT || code == ERR_NOT_FOUND || code == ERR_IO;
}

/* A little of the item at hand. */
static int
check_some(struct scrub *s, uint64_t *ret_bytes, struct err *e)
{
	const struct item *i = &s->items[s->next];
	struct err why = { 0 };
	bool is_done = false;
	int r = 0;

	*ret_bytes = 0;
	if (!s->has_pieces) {
		r = store_read(s->walrus->store, read_pieces, s, &why);
		s->has_pieces = true;
	}
	if (r == 0)
		r = read_block(s, ret_bytes, &is_done, &why);
	s->bytes += (int64_t)*ret_bytes;
	metric_add(s->bytes_total, (double)*ret_bytes);
	if (r < 0 && !is_damage(r)) {
		*e = why;
		end_item(s); /* from its beginning, next time */
		return r;
	}
	if (r < 0)
		r = found(s, why.text, e);
	else if (!is_done)
		return 0;
	if (r < 0)
		return r;
	*ret_bytes += ROW_COST;
	s->objects++;
	metric_add(s->objects_total, 1);
	set_place(s, i->bucket_id, i->key, i->position, i->upload_id, i->part_number);
	end_item(s);
	s->next++;
	return 0;
}

/* The next batch; when objects are done, of parts. */
static int
fill(struct scrub *s, bool *ret_is_over, struct err *e)
{
	*ret_is_over = false;
	for (;;) {
		int r;

		arena_free(s->arena);
		s->arena = arena_new(0);
		r = store_read(s->walrus->store, read_batch, s, e);
		if (r < 0 || s->count > 0)
			return r;
		if (s->at.upload_id) {
			*ret_is_over = true;
			return 0;
		}
		set_place(s, 0, (struct str){ "", 0 }, 0, "", 0);
	}
}

static int
run(struct scrub *s, uint32_t *ret_again_ms, struct err *e)
{
	uint64_t rate = s->walrus->conf->scrub_bytes_per_second, budget = rate / STEPS_PER_SECOND;
	uint64_t begin_ms = clock_monotonic_ms(), spent = 0, took_ms, pause_ms;
	bool is_over = false;
	int r = 0;

	do {
		uint64_t bytes = 0;

		if (s->next == s->count)
			r = fill(s, &is_over, e);
		if (r == 0 && !is_over)
			r = check_some(s, &bytes, e);
		if (r < 0)
			return r;
		spent += bytes;
		took_ms = clock_monotonic_ms() - begin_ms;
	} while (!is_over && spent < budget && took_ms < 1000 / STEPS_PER_SECOND);
	if (is_over) {
		r = store_write(s->walrus->store, finish, s, e);
		if (r < 0)
			return r;
		s->is_running = false;
		log_info(s->walrus->log, "scrub.ended", "objects=%lld bytes=%lld damaged=%lld",
		    (long long)s->objects, (long long)s->bytes, (long long)s->damaged);
		tell(s);
		return 0;
	}
	pause_ms = spent * 1000 / rate;
	*ret_again_ms = pause_ms > took_ms ? (uint32_t)(pause_ms - took_ms) : 1;
	if (clock_monotonic_ms() - s->saved_ms < SAVE_EVERY_MS)
		return 0;
	s->saved_ms = clock_monotonic_ms();
	return store_write(s->walrus->store, save, s, e);
}

static int
begin(struct scrub *s, struct err *e)
{
	int r = store_write(s->walrus->store, insert, s, e);

	if (r < 0)
		return r;
	end_item(s);
	s->is_running = true;
	s->objects = s->bytes = s->damaged = 0;
	s->count = s->next = 0;
	s->saved_ms = clock_monotonic_ms();
	set_place(s, 0, (struct str){ "", 0 }, 0, NULL, 0);
	log_info(s->walrus->log, "scrub.began", "scrub=%lld", (long long)s->id);
	return 0;
}

static bool
is_due(struct scrub *s)
{
	int64_t interval_us = (int64_t)s->walrus->conf->scrub_interval_ms * 1000;
	int64_t now_us = clock_now_us();

	if (atomic_exchange(&s->is_ordered, false))
		return true;
	return interval_us > 0 && (now_us - s->ended_us >= interval_us || now_us < s->ended_us);
}

int
scrub_step(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct scrub *s = arg;
	int r = 0;

	if (!s->is_known) {
		r = store_read(s->walrus->store, load, s, e);
		if (r < 0)
			return r;
		s->is_known = true;
		tell(s);
	}
	if (!s->is_running && s->damage_count) {
		r = store_write(s->walrus->store, forget_gone, s, e);
		if (r < 0)
			return r;
		tell(s);
	}
	if (!s->is_running) {
		if (!is_due(s))
			return 0;
		r = begin(s, e);
	}
	return r < 0 ? r : run(s, ret_again_ms, e);
}

/* -- the report -- */

static void
add_time(struct strbuf *out, const char *name, int64_t us)
{
	char text[TIME_TEXT_SIZE] = "-";

	if (us)
		time_format_iso(us, text);
	strbuf_addf(out, " %s=%s", name, text);
}

static int
describe_damage(struct store_tx *tx, struct strbuf *out, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_DAMAGES, &rows, e, (int64_t)SHOWN);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		strbuf_addf(out, "damaged bucket=%s key=", store_text(rows, 0));
		url_encode(out, store_blob(rows, 1), true);
		if (store_text(rows, 3))
			strbuf_addf(out, " upload=%s part=%lld", store_text(rows, 3),
			    (long long)store_int(rows, 4));
		else
			strbuf_addf(out, " version=%s", store_text(rows, 2));
		add_time(out, "found", store_int(rows, 6));
		strbuf_addf(out, " reason=\"%s\"\n", store_text(rows, 5));
	}
	return r;
}

int
scrub_describe(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct strbuf *out = arg;
	int r = store_query(tx, Q_SCRUBS, &rows, e, (int64_t)KEPT);

	strbuf_reset(out);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		strbuf_addf(out, "scrub state=%s", store_is_null(rows, 2) ? "running" : "ended");
		add_time(out, "began", store_int(rows, 1));
		add_time(out, "ended", store_int(rows, 2));
		strbuf_addf(out, " objects=%lld bytes=%lld damaged=%lld\n",
		    (long long)store_int(rows, 3), (long long)store_int(rows, 4),
		    (long long)store_int(rows, 5));
	}
	return r < 0 ? r : describe_damage(tx, out, e);
}
