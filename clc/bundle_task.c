/* Bundle tasks as rows: new ones, and the export that each wants of its instance. */
#include "bundle_task.h"

#include "auth/sigv4.h"
#include "base/clock.h"
#include "net/url.h"

#include "account.h"
#include "instance.h"
#include "peers.h"

#define KEPT_US (24LL * 3600 * 1000000) /* how long an ended one is shown */
#define EXPORTED_PERCENT 70             /* of the progress shown, once the export is there */

void
clc_bundle_read(struct store_rows *rows, struct arena *arena, struct clc_bundle_task *t)
{
	unsigned c = 0;

#define TEXT() arena_strdup(arena, store_text(rows, c++))
#define INT() store_int(rows, c++)
	*t = (struct clc_bundle_task){ 0 };
	t->task_id = TEXT();
	t->account_id = TEXT();
	t->region = TEXT();
	t->instance_id = TEXT();
	t->kind = TEXT();
	t->image_id = TEXT();
	if (!bundle_state_from_string(store_text(rows, c++), &t->state))
		t->state = BUNDLE_FAILED;
	t->progress = INT();
	t->error_code = TEXT();
	t->error_message = TEXT();
	t->start_us = INT();
	t->update_us = INT();
	t->is_held = INT();
	t->was_running = INT();
	t->to_clean = INT();
	t->export_id = TEXT();
	t->export_bucket = TEXT();
	t->export_key = TEXT();
	t->size_bytes = INT();
	t->archive_bytes = INT();
	t->writer_id = TEXT();
	t->bucket = TEXT();
	t->prefix = TEXT();
	t->access_key_id = TEXT();
	t->upload_policy = TEXT();
	t->upload_policy_signature = TEXT();
	t->cipher_key = TEXT();
	t->cipher_iv = TEXT();
#undef TEXT
#undef INT
}

int
clc_bundle_load(struct store_tx *tx, const char *account_id, const char *task_id,
    struct arena *arena, struct clc_bundle_task *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_BUNDLE_BY_ID, &rows, "bundle task", e, task_id);

	if (r == 0) {
		clc_bundle_read(rows, arena, ret);
		/* Those of CreateImage are nobody's to name. */
		if (account_id &&
		    (strcmp(ret->account_id, account_id) != 0 || clc_bundle_is_image(ret)))
			r = ERR_NOT_FOUND;
	}
	if (r == ERR_NOT_FOUND)
		return err_set(
		    e, ERR_BUNDLE_NOT_FOUND, "The bundle task ID '%.100s' does not exist", task_id);
	return r;
}

int
clc_bundles_expire(struct store_tx *tx, struct err *e)
{
	return store_exec(tx, Q_BUNDLES_EXPIRE, NULL, e, store_now_us(tx) - KEPT_US);
}

/* -- a new one -- */

static int
check_instance(struct store_tx *tx, const struct clc_instance *i, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_BUNDLE_OF_INSTANCE, &rows, e, i->instance_id);

	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	if (r > 0)
		return err_set(e, ERR_BUNDLING_IN_PROGRESS,
		    "The instance '%s' already has a bundling task in progress.", i->instance_id);
	if (i->state != INSTANCE_RUNNING && i->state != INSTANCE_STOPPED)
		return err_set(e, ERR_INCORRECT_INSTANCE_STATE,
		    "The instance '%s' is not in a state from which it can be bundled: it is %s.",
		    i->instance_id, instance_state_to_string(i->state));
	return 0;
}

static const char *
random_hex(struct arena *arena)
{
	uint8_t bytes[16];
	char *text = arena_alloc(arena, 2 * sizeof(bytes) + 1);

	random_bytes(bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), text);
	return text;
}

int
clc_bundle_insert(struct store_tx *tx, const struct request *rq, struct clc_bundle_task *t,
    struct clc_instance *ret_instance, struct err *e)
{
	struct clc_instance *i = ret_instance;
	char id[ID_MAX];
	int r = clc_instance_load(tx, rq->account_id, t->instance_id, rq->arena, i, e);

	if (r == 0)
		r = check_instance(tx, i, e);
	if (r < 0)
		return r;
	id_new(id, "bun");
	t->task_id = arena_strdup(rq->arena, id);
	id_new(id, "export");
	t->export_id = arena_strdup(rq->arena, id);
	t->account_id = rq->account_id;
	t->region = i->region;
	t->state = BUNDLE_PENDING;
	t->start_us = t->update_us = store_now_us(tx);
	t->was_running = i->state == INSTANCE_RUNNING;
	t->cipher_key = random_hex(rq->arena);
	t->cipher_iv = random_hex(rq->arena);
	if (!t->writer_id)
		t->writer_id = rq->account_id;
	return store_exec(tx, Q_BUNDLE_INSERT, NULL, e, t->task_id, t->account_id, t->region,
	    t->instance_id, t->kind, t->image_id, t->start_us, (int64_t)t->was_running,
	    t->export_id, t->writer_id, t->bucket, t->prefix, t->access_key_id, t->upload_policy,
	    t->upload_policy_signature, t->cipher_key, t->cipher_iv);
}

int
clc_bundle_check_start(struct store_tx *tx, const struct clc_instance *i, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_BUNDLE_OF_INSTANCE, &rows, e, i->instance_id);

	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	return err_set(e, ERR_INCORRECT_INSTANCE_STATE,
	    "The instance '%s' is not in a state from which it can be started: %s is in progress.",
	    i->instance_id,
	    strings_equal(store_text(rows, 1), "image") ? "the creation of an image of it"
							: "a bundle task of it");
}

/* -- the export -- */

static int
load_by_export(struct store_tx *tx, const char *export_id, struct arena *arena,
    struct clc_bundle_task *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_BUNDLE_BY_EXPORT, &rows, "export", e, export_id);

	if (r == 0)
		clc_bundle_read(rows, arena, ret);
	return r;
}

int
clc_bundle_export_spec(struct store_tx *tx, struct clc *clc, const struct clc_instance *i,
    struct arena *arena, struct export_spec **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf url = STRBUF_INIT, signed_url = STRBUF_INIT;
	struct sigv4_signer signer = { .region = clc->conf->region, .service = "s3" };
	struct clc_bundle_task t;
	struct auth_key key;
	char *base;
	int r = load_by_export(tx, i->export_id, arena, &t, e);

	if (r == 0)
		r = clc_account_service_key(tx, t.account_id, &key, e);
	if (r == 0)
		r = clc_peers_walrus_url(tx, clc->conf, arena, &base, e);
	if (r < 0)
		return r;
	strbuf_adds(&url, base);
	while (url.n && url.p[url.n - 1] == '/')
		url.p[--url.n] = '\0';
	strbuf_addc(&url, '/');
	url_encode(&url, str_of(t.export_bucket), false);
	strbuf_addc(&url, '/');
	url_encode(&url, str_of(t.export_key), true);
	signer.access_key_id = key.access_key_id;
	signer.secret = key.secret;
	signer.now_us = clock_now_us();
	r = sigv4_presign(&signer, "PUT", strbuf_c(&url), clc->conf->url_life_s, &signed_url, e);
	if (r < 0)
		return r;
	*ret = arena_alloc(arena, sizeof(**ret));
	(*ret)->export_id = i->export_id;
	(*ret)->url = arena_strdup(arena, strbuf_c(&signed_url));
	return 0;
}

/* What the node says while it works; a percent that is known already costs nothing. */
static int
note_progress(struct store_tx *tx, struct clc_bundle_task *t, const struct export_report *report,
    struct err *e)
{
	int64_t progress = (int64_t)report->progress * EXPORTED_PERCENT / 100;

	if (progress <= t->progress || progress > EXPORTED_PERCENT)
		return 0;
	t->progress = progress;
	return clc_bundle_write(tx, t, e);
}

int
clc_bundle_report(struct store_tx *tx, const struct clc_instance *i,
    const struct export_report *report, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct clc_bundle_task t;
	int r;

	if (!strings_equal(i->export_id, report->export_id) || i->state != INSTANCE_STOPPED)
		return 0; /* of one that is wanted no more */
	r = load_by_export(tx, report->export_id, arena, &t, e);
	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r == 0 && t.state == BUNDLE_WAITING_FOR_SHUTDOWN)
		r = clc_bundle_apply(tx, &t, BUNDLE_EV_STOPPED, NULL, NULL, e);
	if (r < 0 || t.state != BUNDLE_BUNDLING)
		return r;
	if (strings_equal(report->state, "failed"))
		return clc_bundle_apply(tx, &t, BUNDLE_EV_FAILED, "Server.InternalError",
		    report->reason ? report->reason : "the root disk could not be exported", e);
	if (!strings_equal(report->state, "done"))
		return note_progress(tx, &t, report, e);
	t.size_bytes = (int64_t)report->size_bytes;
	t.archive_bytes = (int64_t)report->archive_bytes;
	t.progress = EXPORTED_PERCENT;
	return clc_bundle_apply(tx, &t, BUNDLE_EV_EXPORTED, NULL, NULL, e);
}
