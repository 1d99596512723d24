/* Reconcilers. Garbage is what a transaction said is no longer named: unlinked unless somebody
 * still reads it, or a backup may name it. Digests are those that somebody asked for; one that
 * can't be computed now is put behind the others, which don't wait for it. */
#include "sweep.h"

#include "auth/digest.h"
#include "content.h"
#include "retry.h"
#include "schema.h"

#define BATCH 500

/* -- garbage -- */

struct batch {
	struct arena *arena;
	int64_t after_backup;
	const char *after;
	struct {
		int64_t backup_id;
		char *blob_id, *content_id;
		bool is_removed;
	} items[BATCH];
	size_t count;
};

static int
read_garbage(struct store_tx *tx, void *arg, struct err *e)
{
	struct batch *b = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_GARBAGE, &rows, e, b->after_backup, b->after, (int64_t)BATCH);

	b->count = 0;
	while (r >= 0 && b->count < BATCH && (r = store_next(rows, e)) > 0) {
		b->items[b->count].backup_id = store_int(rows, 0);
		b->items[b->count].blob_id = arena_strdup(b->arena, store_text(rows, 1));
		b->items[b->count].content_id = arena_strdup(b->arena, store_text(rows, 2));
		b->items[b->count++].is_removed = false;
	}
	return r < 0 ? r : 0;
}

static int
forget_garbage(struct store_tx *tx, void *arg, struct err *e)
{
	const struct batch *b = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->count; i++)
		if (b->items[i].is_removed)
			r = store_exec(tx, Q_GARBAGE_DELETE, NULL, e, b->items[i].blob_id);
	return r;
}

static int
remove_batch(struct walrus *w, struct batch *b, struct err *e)
{
	bool any = false;

	for (size_t i = 0; i < b->count; i++) {
		int r;

		if (content_is_read(w->contents, b->items[i].content_id))
			continue; /* its reader pokes us when it is done */
		r = blobs_remove(w->blobs, b->items[i].blob_id, e);
		if (r < 0)
			return r;
		any = b->items[i].is_removed = true;
	}
	return any ? store_write(w->store, forget_garbage, b, e) : 0;
}

int
sweep_garbage(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct walrus *w = arg;
	_cleanup_free_ char *after = xstrdup("");
	int64_t after_backup = 0;
	int r;

	for (;;) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct batch *b = arena_alloc(arena, sizeof(*b));

		b->arena = arena;
		b->after = after;
		b->after_backup = after_backup;
		r = store_read(w->store, read_garbage, b, e);
		if (r == 0)
			r = remove_batch(w, b, e);
		if (r < 0 || b->count < BATCH)
			return r;
		free(after);
		after = xstrdup(b->items[b->count - 1].blob_id);
		after_backup = b->items[b->count - 1].backup_id;
	}
}

/* -- digests -- */

struct due {
	struct arena *arena;
	char *content_id;
	int64_t bucket_id;
	struct str key;
	char sha256[65];
	int64_t attempts, due_us;
	bool is_any;
};

static int
read_due(struct store_tx *tx, void *arg, struct err *e)
{
	struct due *d = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_DIGEST_DUE, &rows, e, (int64_t)1);

	if (r == 0)
		r = store_next(rows, e);
	d->is_any = r > 0;
	if (r > 0) {
		struct str key = store_blob(rows, 2);

		d->content_id = arena_strdup(d->arena, store_text(rows, 0));
		d->bucket_id = store_int(rows, 1);
		d->key = (struct str){ arena_memdup(d->arena, key.p, key.n), key.n };
		d->attempts = store_int(rows, 3);
		d->due_us = store_int(rows, 4);
	}
	return r < 0 ? r : 0;
}

static int
write_digest(struct store_tx *tx, void *arg, struct err *e)
{
	struct due *d = arg;
	int r = store_exec(tx, Q_DIGEST_DUE_DELETE, NULL, e, d->content_id);

	if (r == 0 && d->sha256[0])
		r = store_exec(tx, Q_OBJECT_SHA256_SET, NULL, e, d->bucket_id, d->key,
		    d->content_id, d->sha256);
	return r;
}

static int
postpone_digest(struct store_tx *tx, void *arg, struct err *e)
{
	const struct due *d = arg;

	return store_exec(
	    tx, Q_DIGEST_DUE_POSTPONE, NULL, e, d->content_id, d->attempts, d->due_us);
}

static int
add_to_digest(void *arg, struct str bytes, struct err *e)
{
	EVP_DigestUpdate(arg, bytes.p, bytes.n);
	return 0;
}

static int
compute(struct content_reader *reader, uint64_t size, char out[65], struct err *e)
{
	EVP_MD_CTX *sha = digest_begin(DIGEST_SHA256);
	uint8_t hash[32];
	int r = content_reader_each(reader, 0, size, add_to_digest, sha, e);

	digest_end(sha, r < 0 ? NULL : hash);
	if (r == 0)
		hex_encode(hash, sizeof(hash), out);
	return r;
}

/* The disk may do better later: behind all that are due before then. */
static int
put_behind(struct walrus *w, struct due *d, const struct err *why, struct err *e)
{
	if (d->attempts++ == 0)
		log_error(w->log, "digest.postponed", "content=%s error=\"%s\"", d->content_id,
		    why->text);
	d->due_us = retry_due_us(d->attempts);
	return store_write(w->store, postpone_digest, d, e);
}

/* An object that is gone, damaged or for its owner's key alone gets none, and is not tried again:
 * reading it says why. Nothing removes a file under a reader, so one that is missing is damage. */
static int
digest_one(struct walrus *w, struct due *d, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	struct object_name name = { d->bucket_id, d->key, NULL, d->content_id };
	struct object o;
	struct err why = { 0 };
	int r = content_open(w, &name, d->arena, &o, &reader, &why);

	if (r == 0)
		r = compute(reader, o.size_bytes, d->sha256, &why);
	if (r == ERR_CORRUPT || r == ERR_NOT_FOUND)
		log_error(
		    w->log, "object.damaged", "content=%s error=\"%s\"", d->content_id, why.text);
	else if (r < 0 && r != ERR_KEY_NOT_FOUND && r != ERR_ENCRYPTED_BY_CUSTOMER)
		return put_behind(w, d, &why, e);
	return store_write(w->store, write_digest, d, e);
}

int
digest_due(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct walrus *w = arg;
	int r;

	for (;;) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct due d = { .arena = arena };
		int64_t left_us;

		r = store_read(w->store, read_due, &d, e);
		if (r < 0 || !d.is_any)
			return r;
		left_us = retry_left_us(d.due_us);
		if (left_us > 0) {
			uint32_t left_ms = (uint32_t)((left_us + 999) / 1000);

			if (left_ms < *ret_again_ms)
				*ret_again_ms = left_ms;
			return 0;
		}
		r = digest_one(w, &d, e);
		if (r < 0)
			return r;
	}
}
