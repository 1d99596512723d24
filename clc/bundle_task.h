#pragma once
/* Bundle tasks: what brings the root disk of an instance out of its node and into object storage, for
 * BundleInstance (a bundle in a user's bucket) and for CreateImage (the content of an image). */
#include "request.h"
#include "rpc/common.api.h"

struct clc_instance;

enum bundle_state { /* EC2's */
	BUNDLE_PENDING,
	BUNDLE_WAITING_FOR_SHUTDOWN,
	BUNDLE_BUNDLING,
	BUNDLE_STORING,
	BUNDLE_CANCELLING,
	BUNDLE_COMPLETE,
	BUNDLE_FAILED,
	BUNDLE_STATE_MAX
};
const char *bundle_state_to_string(enum bundle_state s);
bool bundle_state_from_string(const char *text, enum bundle_state *ret);

enum bundle_event {
	BUNDLE_EV_TAKEN,    /* there is a place for the export, and the instance was told to stop */
	BUNDLE_EV_STOPPED,  /* the instance has stopped */
	BUNDLE_EV_EXPORTED, /* the export is in the object store */
	BUNDLE_EV_STORED,   /* bundle and manifest are written; the image is available */
	BUNDLE_EV_FAILED,
	BUNDLE_EV_LOST,     /* the instance was terminated */
	BUNDLE_EV_CANCEL,   /* a user's */
	BUNDLE_EV_UNDONE,   /* of a cancelled one nothing is left */
	BUNDLE_EVENT_MAX
};

struct clc_bundle_task { /* strings from the arena it was read into */
	const char *task_id, *account_id, *region, *instance_id, *kind, *image_id;
	enum bundle_state state;
	int64_t progress; /* percent */
	const char *error_code, *error_message;
	int64_t start_us, update_us;
	bool is_held;     /* its instance is to be put back where it was */
	bool was_running; /* there: running */
	bool to_clean;    /* walrus is to forget the export */
	const char *export_id, *export_bucket, *export_key;
	int64_t size_bytes, archive_bytes;
	const char *writer_id, *bucket, *prefix, *access_key_id, *upload_policy, *upload_policy_signature;
	const char *cipher_key, *cipher_iv; /* hex */
};
bool clc_bundle_is_image(const struct clc_bundle_task *t);

/* -- bundle_fsm.c -- */
/* Whether the table has an answer, and which. */
bool clc_bundle_accepts(enum bundle_state state, enum bundle_event event, enum bundle_state *ret_next);
/* The one function that changes a state: writes the row, releases the instance where the new state holds it no
 * more, adds an event to the outbox. INCORRECT_STATE when a user's event is refused; any other that is not in
 * the table changes nothing. `code` and `message` of the failure, or NULL. */
int clc_bundle_apply(struct store_tx *tx, struct clc_bundle_task *t, enum bundle_event event,
    const char *code, const char *message, struct err *e);
/* Puts the instance back where it was, as far as it can be now: *t says whether it is held still. */
int clc_bundle_release(struct store_tx *tx, struct clc_bundle_task *t, struct err *e);
int clc_bundle_write(struct store_tx *tx, const struct clc_bundle_task *t, struct err *e);

/* -- bundle_image.c -- */
/* Of a task of kind "image". The export is there: walrus makes the image of it. */
int clc_bundle_image_exported(struct store_tx *tx, const struct clc_bundle_task *t, struct err *e);
int clc_bundle_image_failed(struct store_tx *tx, const struct clc_bundle_task *t, struct err *e);
/* What became of the image: *ret_event is what the task is to be told, BUNDLE_EVENT_MAX: nothing yet. The reason
 * comes from the arena. */
int clc_bundle_image_look(struct store_tx *tx, const struct clc_bundle_task *t, struct arena *arena,
    enum bundle_event *ret_event, const char **ret_code, const char **ret_message, struct err *e);

/* -- bundle_task.c -- */
void clc_bundle_read(struct store_rows *rows, struct arena *arena, struct clc_bundle_task *ret);
/* BUNDLE_NOT_FOUND; NULL account: any. */
int clc_bundle_load(struct store_tx *tx, const char *account_id, const char *task_id, struct arena *arena,
    struct clc_bundle_task *ret, struct err *e);
/* What is new of `t`: account, instance, kind, target; fills the rest and writes it. Refuses an instance that
 * is in no state for it (INCORRECT_INSTANCE_STATE), and one that has a task (BUNDLING_IN_PROGRESS). */
int clc_bundle_insert(struct store_tx *tx, const struct request *rq, struct clc_bundle_task *t,
    struct clc_instance *ret_instance, struct err *e);
/* INCORRECT_INSTANCE_STATE while the disk of the instance is on its way out: it must not start. */
int clc_bundle_check_start(struct store_tx *tx, const struct clc_instance *i, struct err *e);
/* Where the node puts the export that is wanted of the instance: a presigned address. */
int clc_bundle_export_spec(struct store_tx *tx, struct clc *clc, const struct clc_instance *i,
    struct arena *arena, struct export_spec **ret, struct err *e);
/* What the node says of it. */
int clc_bundle_report(struct store_tx *tx, const struct clc_instance *i, const struct export_report *report,
    struct err *e);
int clc_bundles_expire(struct store_tx *tx, struct err *e);

/* -- bundle_steps.c -- */
/* A reconciler's body: takes each task a step further. */
int clc_bundles_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e);
