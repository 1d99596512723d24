/* The life of a bundle task as a table: state by event. Its instance is held, stopped, until its
 * disk is in the object store; then it is put back where it was, whatever becomes of the rest.
 *
 *     pending --taken--> waiting-for-shutdown --stopped--> bundling
 *         --exported--> storing --stored--> complete
 *     any of the first four --failed--> failed; --cancel--> cancelling --undone--> failed
 *     pending, waiting-for-shutdown, bundling --lost--> failed
 */
#include "bundle_task.h"

#include "store/outbox.h"

#include "instance.h"
#include "vpc.h"

static const char *const names[BUNDLE_STATE_MAX] = {
	[BUNDLE_PENDING] = "pending",
	[BUNDLE_WAITING_FOR_SHUTDOWN] = "waiting-for-shutdown",
	[BUNDLE_BUNDLING] = "bundling",
	[BUNDLE_STORING] = "storing",
	[BUNDLE_CANCELLING] = "cancelling",
	[BUNDLE_COMPLETE] = "complete",
	[BUNDLE_FAILED] = "failed",
};

const char *
bundle_state_to_string(enum bundle_state s)
{
	return names[s];
}

bool
bundle_state_from_string(const char *text, enum bundle_state *ret)
{
	for (unsigned i = 0; i < BUNDLE_STATE_MAX; i++)
		if (strings_equal(text, names[i])) {
			*ret = i;
			return true;
		}
	return false;
}

bool
clc_bundle_is_image(const struct clc_bundle_task *t)
{
	return strings_equal(t->kind, "image");
}

/* -- the instance -- */

/* Its start takes an address again, if it was given back. */
static int
put_back(struct store_tx *tx, struct clc_bundle_task *t, struct clc_instance *i, struct err *e)
{
	int r;

	if (t->was_running)
		r = clc_instance_apply(tx, i, EV_START, NULL, e);
	else
		r = clc_interface_release_public(tx, i->instance_id, e);
	if (r == 0)
		t->is_held = false;
	return r;
}

int
clc_bundle_release(struct store_tx *tx, struct clc_bundle_task *t, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct clc_instance i;
	int r = clc_instance_load(tx, NULL, t->instance_id, arena, &i, e);

	if (r == ERR_INSTANCE_NOT_FOUND) {
		err_clear(e);
		t->is_held = false;
		return 0;
	}
	if (r == 0 && strings_equal(i.export_id, t->export_id)) {
		r = store_exec(tx, Q_INSTANCE_EXPORT_SET, NULL, e, i.instance_id, NULL);
		if (r == 0)
			r = clc_instance_load(tx, NULL, t->instance_id, arena, &i, e);
	}
	if (r < 0)
		return r;
	switch (i.state) {
	case INSTANCE_STOPPED:
		return put_back(tx, t, &i, e);
	case INSTANCE_STOPPING: /* it can't start from there: the next step sees it stopped */
		t->is_held = t->was_running;
		return 0;
	case INSTANCE_PENDING:
	case INSTANCE_RUNNING:
	case INSTANCE_SHUTTING_DOWN:
	case INSTANCE_TERMINATED:
	case INSTANCE_STATE_MAX:
		break;
	}
	t->is_held = false;
	return 0;
}

/* -- the table -- */

static int
keep(struct store_tx *tx, struct clc_bundle_task *t, struct err *e)
{
	return 0;
}

static int
complete(struct store_tx *tx, struct clc_bundle_task *t, struct err *e)
{
	t->progress = 100;
	return t->is_held ? clc_bundle_release(tx, t, e) : 0;
}

static int
release(struct store_tx *tx, struct clc_bundle_task *t, struct err *e)
{
	return t->is_held ? clc_bundle_release(tx, t, e) : 0;
}

static int
exported(struct store_tx *tx, struct clc_bundle_task *t, struct err *e)
{
	int r = release(tx, t, e);

	return r == 0 && clc_bundle_is_image(t) ? clc_bundle_image_exported(tx, t, e) : r;
}

struct transition {
	bool is_legal;
	enum bundle_state next;
	int (*action)(struct store_tx *tx, struct clc_bundle_task *t, struct err *e);
};
#define TO(state, fn)                                                                              \
	{                                                                                          \
		true, BUNDLE_##state, fn                                                           \
	}

static const struct transition fsm[BUNDLE_STATE_MAX][BUNDLE_EVENT_MAX] = {
	[BUNDLE_PENDING] = {
		[BUNDLE_EV_TAKEN]    = TO(WAITING_FOR_SHUTDOWN, keep),
		[BUNDLE_EV_FAILED]   = TO(FAILED,               release),
		[BUNDLE_EV_LOST]     = TO(FAILED,               release),
		[BUNDLE_EV_CANCEL]   = TO(CANCELLING,           release),
	},
	[BUNDLE_WAITING_FOR_SHUTDOWN] = {
		[BUNDLE_EV_STOPPED]  = TO(BUNDLING,             keep),
		[BUNDLE_EV_FAILED]   = TO(FAILED,               release),
		[BUNDLE_EV_LOST]     = TO(FAILED,               release),
		[BUNDLE_EV_CANCEL]   = TO(CANCELLING,           release),
	},
	[BUNDLE_BUNDLING] = {
		[BUNDLE_EV_EXPORTED] = TO(STORING,              exported),
		[BUNDLE_EV_FAILED]   = TO(FAILED,               release),
		[BUNDLE_EV_LOST]     = TO(FAILED,               release),
		[BUNDLE_EV_CANCEL]   = TO(CANCELLING,           release),
	},
	[BUNDLE_STORING] = { /* the instance may go: its disk is here */
		[BUNDLE_EV_STORED]   = TO(COMPLETE,             complete),
		[BUNDLE_EV_FAILED]   = TO(FAILED,               release),
		[BUNDLE_EV_CANCEL]   = TO(CANCELLING,           release),
	},
	[BUNDLE_CANCELLING] = {
		[BUNDLE_EV_UNDONE]   = TO(FAILED,               release),
	},
};

bool
clc_bundle_accepts(enum bundle_state state, enum bundle_event event, enum bundle_state *ret_next)
{
	const struct transition *t = &fsm[state][event];

	if (t->is_legal && ret_next)
		*ret_next = t->next;
	return t->is_legal;
}

int
clc_bundle_write(struct store_tx *tx, const struct clc_bundle_task *t, struct err *e)
{
	return store_exec(tx, Q_BUNDLE_UPDATE, NULL, e, t->task_id, names[t->state], t->progress,
	    t->error_code, t->error_message, store_now_us(tx), (int64_t)t->is_held,
	    (int64_t)t->to_clean, t->export_bucket, t->export_key, t->size_bytes, t->archive_bytes);
}

int
clc_bundle_apply(struct store_tx *tx, struct clc_bundle_task *t, enum bundle_event event,
    const char *code, const char *message, struct err *e)
{
	const struct transition *x = &fsm[t->state][event];
	int r;

	if (!x->is_legal)
		return event == BUNDLE_EV_CANCEL
			   ? err_set(e, ERR_INCORRECT_STATE,
				 "The bundle task '%s' is %s: it cannot be cancelled.", t->task_id,
				 names[t->state])
			   : 0;
	r = x->action(tx, t, e);
	if (r < 0)
		return r;
	t->state = x->next;
	if (code) {
		t->error_code = code;
		t->error_message = message;
	}
	r = clc_bundle_write(tx, t, e);
	if (r == 0 && t->state == BUNDLE_FAILED && clc_bundle_is_image(t))
		r = clc_bundle_image_failed(tx, t, e);
	return r < 0 ? r
		     : outbox_add(tx, "bundle-task", t->task_id, t->account_id, names[t->state], e);
}
