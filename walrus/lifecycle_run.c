/* The lifecycle at work. Of each bucket that has rules all rows are read in batches, in the order
 * of the keys; what is due is removed in a transaction of its own, which looks again: what changed
 * meanwhile stays. What is locked or held stays as well. Nothing is remembered: a run that breaks
 * off begins anew. */
#include "base/clock.h"
#include "bucket.h"
#include "lifecycle.h"
#include "lock.h"
#include "object.h"
#include "run/metrics.h"
#include "schema.h"
#include "store/outbox.h"
#include "upload.h"

#define BATCH 200

enum step_kind { STEP_CURRENT, STEP_NONCURRENT, STEP_MARKER, STEP_UPLOAD, STEP_MAX };
static const char *const step_labels[STEP_MAX] = {
	[STEP_CURRENT] = "action=\"expire\"",
	[STEP_NONCURRENT] = "action=\"expire_noncurrent\"",
	[STEP_MARKER] = "action=\"remove_marker\"",
	[STEP_UPLOAD] = "action=\"abort_upload\"",
};
struct step {
	enum step_kind kind;
	struct str key;
	const char *id; /* of the version, or of the upload */
	int64_t position;
	bool is_done;
};

/* What was seen of the key at hand, whose rows may go on in the next batch. */
struct group {
	unsigned versions, noncurrent;
	int64_t newer_us; /* when the version before the next one was made */
	bool has_marker;  /* as its current version */
	char marker_id[VERSION_ID_SIZE];
	int64_t marker_position;
};

struct walk {
	struct walrus *walrus;
	struct bucket *bucket;
	const struct lifecycle *rules;
	int64_t now_us, day_us;
	struct strbuf key; /* behind which to go on */
	int64_t position;
	char *upload_id;
	struct group group;
	/* of a batch */
	struct arena *arena;
	struct step steps[BATCH + 1];
	size_t count;
	bool is_end;
};

static void
add_step(struct walk *w, enum step_kind kind, struct str key, const char *id, int64_t position)
{
	struct step *s = &w->steps[w->count++];

	*s = (struct step){ .kind = kind,
		.key = { arena_memdup(w->arena, key.p, key.n), key.n },
		.id = arena_strdup(w->arena, id),
		.position = position };
}

/* -- objects -- */

static void
end_group(struct walk *w)
{
	struct lifecycle_subject s = { .key = strbuf_str(&w->key), .since_us = w->group.newer_us };

	if (w->group.has_marker && w->group.versions == 1 &&
	    lifecycle_marker_is_due(w->rules, &s, w->day_us, w->now_us))
		add_step(w, STEP_MARKER, s.key, w->group.marker_id, w->group.marker_position);
	w->group = (struct group){ 0 };
}

static void
consider(struct walk *w, const struct object *o)
{
	struct group *g = &w->group;
	struct lifecycle_subject s = { o->key, o->attributes.tags, o->size_bytes, o->modified_us };
	const struct lifecycle_rule *rule;

	if (o->is_current && o->is_marker) {
		g->has_marker = true;
		g->marker_position = o->position;
		(void)snprintf(g->marker_id, sizeof(g->marker_id), "%s", o->version_id);
	} else if (o->is_current) {
		if (lifecycle_expiry(w->rules, &s, w->day_us, &rule) <= w->now_us)
			add_step(w, STEP_CURRENT, o->key, o->version_id, o->position);
	} else {
		s.since_us = g->newer_us;
		if (lock_allows_removal(o, lock_now_us()) &&
		    lifecycle_noncurrent_is_due(w->rules, &s, g->noncurrent, w->day_us, w->now_us))
			add_step(w, STEP_NONCURRENT, o->key, o->version_id, o->position);
		g->noncurrent++;
	}
	g->versions++;
	g->newer_us = o->modified_us;
}

static int
read_objects(struct store_tx *tx, void *arg, struct err *e)
{
	struct walk *w = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	size_t seen = 0;
	int r = store_query(tx, Q_OBJECT_LIST, &rows, e, w->bucket->id, strbuf_str(&w->key),
	    w->position + 1, (int64_t)BATCH);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct object o;

		object_from_row(rows, w->arena, &o);
		if (!str_eq(o.key, strbuf_str(&w->key))) {
			end_group(w);
			strbuf_reset(&w->key);
			strbuf_addstr(&w->key, o.key);
		}
		w->position = o.position;
		consider(w, &o);
		seen++;
	}
	if (r < 0)
		return r;
	w->is_end = seen < BATCH;
	if (w->is_end)
		end_group(w);
	return 0;
}

/* Whether it is still what was looked at. */
static int
is_same(struct store_tx *tx, struct walk *w, const struct step *s, bool *ret, struct err *e)
{
	struct object_name name = { w->bucket->id, s->key, s->id, NULL };
	struct object o;
	int r = object_find(tx, &name, w->arena, &o, e);

	*ret = false;
	if (r == ERR_KEY_NOT_FOUND || r == ERR_VERSION_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r == 0)
		*ret = o.position == s->position && o.is_current == (s->kind != STEP_NONCURRENT);
	return r;
}

static int
remove_object(struct store_tx *tx, struct walk *w, struct step *s, struct err *e)
{
	struct object_removal removal = { .key = s->key,
		.of_version = s->kind == STEP_CURRENT ? NULL : s->id,
		.origin = { .removal = "LifecycleExpiration" } };
	int r = is_same(tx, w, s, &s->is_done, e);

	if (r < 0 || !s->is_done)
		return r;
	r = object_remove(tx, w->bucket, &removal, e);
	if (r == ERR_ACCESS_DENIED) { /* it was locked meanwhile */
		err_clear(e);
		s->is_done = false;
		return 0;
	}
	return r;
}

/* -- uploads -- */

static int
read_uploads(struct store_tx *tx, void *arg, struct err *e)
{
	struct walk *w = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	size_t seen = 0;
	int r = store_query(tx, Q_UPLOAD_WALK, &rows, e, w->bucket->id, strbuf_str(&w->key),
	    w->upload_id, (int64_t)BATCH);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct lifecycle_subject s = { .key = store_blob(rows, 1),
			.since_us = store_int(rows, 2) };

		if (lifecycle_upload_is_due(w->rules, &s, w->day_us, w->now_us))
			add_step(w, STEP_UPLOAD, s.key, store_text(rows, 0), 0);
		strbuf_reset(&w->key);
		strbuf_addstr(&w->key, s.key);
		free(w->upload_id);
		w->upload_id = xstrdup(store_text(rows, 0));
		seen++;
	}
	w->is_end = seen < BATCH;
	return r;
}

/* -- both -- */

static int
take_steps(struct store_tx *tx, void *arg, struct err *e)
{
	struct walk *w = arg;
	char parameters[64];
	struct audit_record record = { .service = "s3",
		.account_id = w->bucket->account_id,
		.action = "LifecycleExpiration",
		.resource = w->bucket->name,
		.parameters = parameters };
	size_t done = 0;
	int r = bucket_check(tx, w->bucket, e);

	for (size_t i = 0; r == 0 && i < w->count; i++) {
		struct step *s = &w->steps[i];

		if (s->kind == STEP_UPLOAD) {
			s->is_done = true;
			r = upload_drop(tx, w->bucket->id, s->id, e);
		} else {
			r = remove_object(tx, w, s, e);
		}
		done += s->is_done;
	}
	(void)snprintf(parameters, sizeof(parameters), "%zu", done);
	return r < 0 || done == 0 ? r : audit_add(tx, &record, e);
}

static void
count_steps(const struct walk *w)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->steps[i].is_done)
			metric_add(
			    metric_counter("mallee_walrus_lifecycle_total",
				step_labels[w->steps[i].kind], "what rules of lifecycles ended"),
			    1);
}

static int
walk(struct walk *w, store_fn read_batch, struct err *e)
{
	int r = 0;

	strbuf_reset(&w->key);
	w->position = 0;
	free(w->upload_id);
	w->upload_id = xstrdup("");
	w->group = (struct group){ 0 };
	for (w->is_end = false; r == 0 && !w->is_end;) {
		_cleanup_arena_ struct arena *arena = arena_new(0);

		w->arena = arena;
		w->count = 0;
		r = store_read(w->walrus->store, read_batch, w, e);
		if (r == 0 && w->count > 0)
			r = store_write(w->walrus->store, take_steps, w, e);
		if (r == 0)
			count_steps(w);
	}
	return r;
}

static int
walk_bucket(struct walrus *walrus, const char *name, int64_t now_us, struct err *e)
{
	_cleanup_(bucket_unrefp) struct bucket *bucket = NULL;
	struct walk *w;
	int r = bucket_get(walrus, name, &bucket, e);

	if (r == 0 && bucket->settings[SETTING_LIFECYCLE]) {
		w = xcalloc(1, sizeof(*w));
		w->walrus = walrus;
		w->bucket = bucket;
		w->rules = bucket->settings[SETTING_LIFECYCLE];
		w->now_us = now_us;
		w->day_us = (int64_t)walrus->conf->lifecycle_day_ms * 1000;
		r = walk(w, read_objects, e);
		if (r == 0)
			r = walk(w, read_uploads, e);
		strbuf_done(&w->key);
		free(w->upload_id);
		free(w);
	}
	if (r == ERR_BUCKET_NOT_FOUND) {
		err_clear(e);
		r = 0;
	}
	return r;
}

int
lifecycle_run(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct walrus *walrus = arg;
	int64_t now_us = clock_now_us(), day_us = (int64_t)walrus->conf->lifecycle_day_ms * 1000;
	int64_t wait_ms = (lifecycle_due(now_us, 0, day_us) - now_us) / 1000 + 1;
	_cleanup_free_ char *after = xstrdup("");
	int r;

	if (wait_ms < *ret_again_ms)
		*ret_again_ms = (uint32_t)wait_ms;
	for (;;) {
		char *name = NULL;

		r = setting_next_bucket(walrus->store, SETTING_LIFECYCLE, after, &name, e);
		if (r <= 0)
			break;
		free(after);
		after = name;
		r = walk_bucket(walrus, name, now_us, e);
		if (r < 0)
			break;
	}
	reconciler_poke(walrus->garbage);
	return r;
}

/* -- PUT of the setting -- */

int
lifecycle_put(struct request *rq, struct err *e)
{
	int r = setting_put(rq, e);

	if (r == 0)
		reconciler_poke(rq->walrus->lifecycle);
	return r;
}
