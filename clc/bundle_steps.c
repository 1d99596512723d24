/* Taking bundle tasks a step further. A step looks at the row, asks whom it has to ask without any
 * transaction, and writes what came of it in one; each can be repeated, so dying anywhere costs a
 * repetition. What nodes do comes as reports (clc_bundle_report): here is only looked whether their
 * instance is still there. */
#include "bundle_task.h"

#include "base/strbuf.h"
#include "base/vec.h"
#include "rpc/walrus.api.h"
#include "run/fs.h"

#include "image.h"
#include "instance.h"
#include "manifest.h"
#include "peers.h"
#include "zone.h"

#define LOOK_MS 1000
#define STORED_FROM 70 /* percent shown when the export is there */
#define SUFFIX ".manifest.xml"

struct step {
	struct clc *clc;
	struct arena *arena;
	struct clc_bundle_task task; /* as it was read */
	struct clc_instance instance;
	bool has_instance;
	bool is_moved; /* zones are to be told */
};

static int
call(struct step *s, const struct operation *operation, const void *in, void *out, struct err *e)
{
	struct rpc_context context = { .account_id = s->task.account_id };

	return clc_peers_walrus(s->clc->peers, operation, &context, in, out, s->arena, e);
}

/* -- one event -- */

struct change {
	struct step *s;
	enum bundle_event event;
	const char *code, *message;
	const char *export_bucket, *export_key; /* of BUNDLE_EV_TAKEN */
};

static bool
has_ended(const struct step *s)
{
	return !s->has_instance || s->instance.state == INSTANCE_SHUTTING_DOWN ||
	       s->instance.state == INSTANCE_TERMINATED;
}

/* Stops it, and says where its disk is to go: the zone is told both at once. */
static int
take_instance(struct store_tx *tx, struct step *s, struct err *e)
{
	static const struct clc_reason reason = { "Client.UserInitiatedShutdown",
		"Client.UserInitiatedShutdown: Shut down to copy its root disk" };
	struct clc_instance *i = &s->instance;
	int r = store_exec(tx, Q_INSTANCE_EXPORT_SET, NULL, e, i->instance_id, s->task.export_id);

	if (r == 0)
		r = clc_instance_load(tx, NULL, i->instance_id, s->arena, i, e);
	if (r == 0 && i->state != INSTANCE_STOPPED)
		r = clc_instance_apply(tx, i, EV_STOP, &reason, e);
	s->is_moved = true;
	return r;
}

static int
write_change(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	struct step *s = c->s;
	enum bundle_event event = c->event;
	int r = clc_bundle_load(tx, NULL, s->task.task_id, s->arena, &s->task, e);

	if (r == 0)
		r = clc_instance_load(tx, NULL, s->task.instance_id, s->arena, &s->instance, e);
	s->has_instance = r == 0;
	if (r == ERR_INSTANCE_NOT_FOUND) {
		err_clear(e);
		r = 0;
	}
	if (r < 0)
		return r;
	s->is_moved = true;
	if (has_ended(s) && s->task.is_held &&
	    clc_bundle_accepts(s->task.state, BUNDLE_EV_LOST, NULL))
		return clc_bundle_apply(tx, &s->task, BUNDLE_EV_LOST, "Client.InstanceTerminated",
		    "The instance was terminated before its disk was copied", e);
	if (event == BUNDLE_EV_TAKEN && s->task.state == BUNDLE_PENDING) {
		s->task.export_bucket = c->export_bucket;
		s->task.export_key = c->export_key;
		r = take_instance(tx, s, e);
	}
	return r < 0 ? r : clc_bundle_apply(tx, &s->task, event, c->code, c->message, e);
}

static int
tell(struct step *s, enum bundle_event event, const char *code, const char *message, struct err *e)
{
	struct change c = { .s = s, .event = event, .code = code, .message = message };

	return store_write(s->clc->store, write_change, &c, e);
}

/* -- pending -- */

static int
step_pending(struct step *s, struct err *e)
{
	struct walrus_open_export_in in = { s->task.account_id, s->task.export_id };
	struct walrus_open_export_out out = { 0 };
	struct change c = { .s = s, .event = BUNDLE_EV_TAKEN };
	int r = call(s, &walrus_open_export, &in, &out, e);

	if (r < 0)
		return r;
	c.export_bucket = out.bucket;
	c.export_key = out.key;
	return store_write(s->clc->store, write_change, &c, e);
}

static int
look(struct store_tx *tx, void *arg, struct err *e)
{
	struct step *s = arg;
	struct clc_bundle_task *t = &s->task;
	int r = clc_bundle_load(tx, NULL, t->task_id, s->arena, t, e);

	if (r == 0)
		r = clc_instance_load(tx, NULL, t->instance_id, s->arena, &s->instance, e);
	s->has_instance = r == 0;
	if (r == ERR_INSTANCE_NOT_FOUND) {
		err_clear(e);
		r = 0;
	}
	return r;
}

/* -- storing a bundle -- */

static int
add_certificate(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct change *c = arg; /* message: the certificate */
	int r = store_query(tx, Q_CERTIFICATES_OF_ACCOUNT, &rows, e, c->s->task.writer_id);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		c->message = arena_strdup(c->s->arena, store_text(rows, 0));
	return r < 0 ? r : 0;
}

/* An account without a certificate has its bundles wrapped for the cloud alone. */
static int
certificates(struct step *s, const char **ret_cloud, const char **ret_user, struct err *e)
{
	_cleanup_free_ char *path = clc_bundle_certificate_path(s->clc);
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	struct change c = { .s = s };
	int r = fs_read(path, 65536, &pem, e);

	if (r == 0)
		r = store_read(s->clc->store, add_certificate, &c, e);
	if (r < 0)
		return r;
	*ret_cloud = arena_strdup(s->arena, strbuf_c(&pem));
	*ret_user = c.message ? c.message : *ret_cloud;
	return 0;
}

static const char *
base_name(const char *key)
{
	const char *slash = strrchr(key, '/');

	return slash ? slash + 1 : key;
}

static int
load_image_of(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg; /* code, message: its kernel and ramdisk */
	int r =
	    clc_instance_load(tx, NULL, c->s->task.instance_id, c->s->arena, &c->s->instance, e);

	if (r == ERR_INSTANCE_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	c->code = c->s->instance.kernel_id;
	c->message = c->s->instance.ramdisk_id;
	return r;
}

static int
fill_manifest(
    struct step *s, const struct walrus_write_bundle_out *bundle, struct manifest *m, struct err *e)
{
	const struct clc_bundle_task *t = &s->task;
	const char *cloud = NULL, *user = NULL;
	struct change image = { .s = s };
	int r = store_read(s->clc->store, load_image_of, &image, e);

	if (r == 0)
		r = certificates(s, &cloud, &user, e);
	if (r == 0)
		r = manifest_wrap(cloud, t->cipher_key, s->arena, &m->cloud_key, e);
	if (r == 0)
		r = manifest_wrap(cloud, t->cipher_iv, s->arena, &m->cloud_iv, e);
	if (r == 0)
		r = manifest_wrap(user, t->cipher_key, s->arena, &m->user_key, e);
	if (r == 0)
		r = manifest_wrap(user, t->cipher_iv, s->arena, &m->user_iv, e);
	if (r < 0)
		return r;
	m->architecture = "x86_64";
	m->kernel_id = image.code;
	m->ramdisk_id = image.message;
	m->name = base_name(t->prefix);
	m->user = t->account_id;
	m->type = "machine";
	m->sha1 = bundle->archive_sha1;
	m->size_bytes = (uint64_t)t->size_bytes;
	m->parts = arena_alloc(s->arena, (bundle->parts.count + 1) * sizeof(*m->parts));
	m->part_count = bundle->parts.count;
	for (size_t i = 0; i < bundle->parts.count; i++) {
		m->parts[i].filename = base_name(bundle->parts.items[i].key);
		m->parts[i].sha1 = bundle->parts.items[i].sha1;
		m->bundled_bytes += bundle->parts.items[i].size_bytes;
	}
	return 0;
}

static int
write_manifest(struct step *s, const struct walrus_write_bundle_out *bundle, struct err *e)
{
	_cleanup_free_ char *key_path = clc_bundle_key_path(s->clc);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct walrus_write_object_in in = { .writer_id = s->task.writer_id,
		.bucket = s->task.bucket,
		.key = arena_printf(s->arena, "%s" SUFFIX, s->task.prefix),
		.content_type = "application/xml" };
	struct manifest m = { 0 };
	struct empty nothing;
	int r = fill_manifest(s, bundle, &m, e);

	if (r == 0)
		r = manifest_write(&m, key_path, &text, e);
	if (r < 0)
		return r;
	in.content = strbuf_str(&text);
	return call(s, &walrus_write_object, &in, &nothing, e);
}

static int
note_progress(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg; /* s->task.progress: what it is to be at least */
	int64_t progress = c->s->task.progress;
	int r = clc_bundle_load(tx, NULL, c->s->task.task_id, c->s->arena, &c->s->task, e);

	if (r < 0 || c->s->task.state != BUNDLE_STORING || progress <= c->s->task.progress)
		return r;
	c->s->task.progress = progress;
	return clc_bundle_write(tx, &c->s->task, e);
}

static int
show_progress(struct step *s, uint32_t percent, struct err *e)
{
	int64_t progress = STORED_FROM + (int64_t)percent * (99 - STORED_FROM) / 100;
	struct change c = { .s = s };

	if (progress <= s->task.progress)
		return 0;
	s->task.progress = progress;
	return store_write(s->clc->store, note_progress, &c, e);
}

static int
key_bytes(struct step *s, const char *hex, struct str *ret, struct err *e)
{
	char *bytes = arena_alloc(s->arena, 16);
	size_t n;

	if (!hex_decode(str_of(hex), bytes, 16, &n) || n != 16)
		return err_set(e, ERR_CORRUPT, "the task's key is not one");
	*ret = (struct str){ bytes, n };
	return 0;
}

static bool
is_refusal(int r)
{
	return r == ERR_ACCESS_DENIED || r == ERR_BUCKET_NOT_FOUND || r == ERR_KEY_TOO_LONG;
}

static int
step_store_bundle(struct step *s, struct err *e)
{
	const struct clc_bundle_task *t = &s->task;
	struct walrus_write_bundle_in in = { .account_id = t->account_id,
		.export_id = t->export_id,
		.writer_id = t->writer_id,
		.bucket = t->bucket,
		.prefix = t->prefix };
	struct walrus_write_bundle_out out = { 0 };
	int r = key_bytes(s, t->cipher_key, &in.cipher_key, e);

	if (r == 0)
		r = key_bytes(s, t->cipher_iv, &in.cipher_iv, e);
	if (r == 0)
		r = call(s, &walrus_write_bundle, &in, &out, e);
	if (r < 0)
		return r;
	if (strings_equal(out.state, "failed"))
		return tell(s, BUNDLE_EV_FAILED, out.reason_code, out.reason, e);
	if (strings_equal(out.state, "running"))
		return show_progress(s, out.progress, e);
	r = write_manifest(s, &out, e);
	if (is_refusal(r)) {
		const char *why = arena_strdup(s->arena, e->text);

		err_clear(e);
		return tell(s, BUNDLE_EV_FAILED, fault_code(r), why, e);
	}
	return r < 0 ? r : tell(s, BUNDLE_EV_STORED, NULL, NULL, e);
}

/* -- storing an image -- */

static int
look_at_image(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;

	return clc_bundle_image_look(
	    tx, &c->s->task, c->s->arena, &c->event, &c->code, &c->message, e);
}

static int
step_image(struct step *s, struct err *e)
{
	struct change c = { .s = s, .event = BUNDLE_EVENT_MAX };
	int r = store_read(s->clc->store, look_at_image, &c, e);

	if (r == 0 && c.event == BUNDLE_EVENT_MAX && s->task.state == BUNDLE_STORING)
		clc_images_poke(s->clc); /* whoever wrote the report could not */
	return r < 0 || c.event == BUNDLE_EVENT_MAX ? r : tell(s, c.event, c.code, c.message, e);
}

/* -- waiting for the instance -- */

static int
step_wait(struct step *s, struct err *e)
{
	if (has_ended(s))
		return tell(s, BUNDLE_EV_LOST, NULL, NULL, e);
	if (s->task.state == BUNDLE_WAITING_FOR_SHUTDOWN && s->instance.state == INSTANCE_STOPPED)
		return tell(s, BUNDLE_EV_STOPPED, NULL, NULL, e);
	return clc_bundle_is_image(&s->task) ? step_image(s, e) : 0; /* it may be wanted no more */
}

/* -- the end -- */

static int
put_back(struct store_tx *tx, void *arg, struct err *e)
{
	struct step *s = arg;
	int r = clc_bundle_load(tx, NULL, s->task.task_id, s->arena, &s->task, e);

	if (r == 0 && s->task.is_held) {
		r = clc_bundle_release(tx, &s->task, e);
		s->is_moved = true;
	}
	return r == 0 ? clc_bundle_write(tx, &s->task, e) : r;
}

static int
cleaned(struct store_tx *tx, void *arg, struct err *e)
{
	struct step *s = arg;
	int r = clc_bundle_load(tx, NULL, s->task.task_id, s->arena, &s->task, e);

	s->task.to_clean = false;
	return r == 0 ? clc_bundle_write(tx, &s->task, e) : r;
}

/* The export goes when nothing reads it any more. */
static int
clean(struct step *s, bool undo, struct err *e)
{
	struct walrus_delete_export_in in = { .account_id = s->task.account_id,
		.export_id = s->task.export_id,
		.has_undo = true,
		.undo = undo };
	struct empty nothing;
	int r = call(s, &walrus_delete_export, &in, &nothing, e);

	if (r == ERR_CONFLICT) { /* it is told to end; the next look sees it ended */
		err_clear(e);
		return 0;
	}
	return r < 0 ? r : store_write(s->clc->store, cleaned, s, e);
}

static int
step_end(struct step *s, struct err *e)
{
	bool undo = s->task.state != BUNDLE_COMPLETE && !clc_bundle_is_image(&s->task);
	int r = 0;

	if (s->task.is_held)
		r = store_write(s->clc->store, put_back, s, e);
	if (r == 0 && s->task.to_clean)
		r = clean(s, undo, e);
	if (r == 0 && s->task.state == BUNDLE_CANCELLING && !s->task.is_held && !s->task.to_clean)
		r = tell(
		    s, BUNDLE_EV_UNDONE, "Client.Cancelled", "The bundle task was cancelled", e);
	return r;
}

static int
take_step(struct step *s, struct err *e)
{
	int r;

	switch (s->task.state) {
	case BUNDLE_PENDING:
		return step_pending(s, e);
	case BUNDLE_WAITING_FOR_SHUTDOWN:
	case BUNDLE_BUNDLING:
		return step_wait(s, e);
	case BUNDLE_STORING:
		r = s->task.is_held ? store_write(s->clc->store, put_back, s, e) : 0;
		if (r < 0)
			return r;
		return clc_bundle_is_image(&s->task) ? step_image(s, e) : step_store_bundle(s, e);
	case BUNDLE_CANCELLING:
	case BUNDLE_COMPLETE:
	case BUNDLE_FAILED:
		return step_end(s, e);
	case BUNDLE_STATE_MAX:
		break;
	}
	return 0;
}

struct due {
	struct arena *arena;
	VEC(const char *) ids;
};

static int
read_due(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct due *d = arg;
	int r = store_query(tx, Q_BUNDLES_TO_STEP, &rows, e);

	d->ids.count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0)
		vec_add(&d->ids, arena_strdup(d->arena, store_text(rows, 0)));
	return r;
}

static int
step_one(struct clc *clc, const char *task_id, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct step s = { .clc = clc, .arena = arena, .task = { .task_id = task_id } };
	enum bundle_state before;
	int r = store_read(clc->store, look, &s, e);

	if (r < 0)
		return r == ERR_BUNDLE_NOT_FOUND ? 0 : r;
	before = s.task.state;
	r = take_step(&s, e);
	if (s.is_moved)
		clc_zones_poke(clc, NULL);
	if (r == 0 && s.task.state != before)
		log_info(clc->log, "bundle.state",
		    "task=%s instance=%s kind=%s state=%s reason=\"%s\"", task_id,
		    s.task.instance_id, s.task.kind, bundle_state_to_string(s.task.state),
		    s.task.error_message ? s.task.error_message : "");
	return r < 0 ? err_wrap(e, "bundle task '%s'", task_id) : 0;
}

int
clc_bundles_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct due due = { .arena = arena };
	struct clc *clc = arg;
	struct err first = { 0 };
	int r = store_read(clc->store, read_due, &due, e);

	VEC_FOREACH (&due.ids, id) {
		struct err one = { 0 };

		if (r == 0 && step_one(clc, *id, &one) < 0 && !first.code)
			first = one;
	}
	if (due.ids.count)
		*ret_again_ms = LOOK_MS;
	vec_done(&due.ids);
	if (r < 0 || !first.code)
		return r;
	*e = first;
	return first.code;
}
