/* The life of an instance as a table: state by event. Users' events change what is wanted and raise
 * the revision, so that the zone is told; reported events only move what is observed. Every action
 * is safe to repeat. A pair that is not in the table is refused when a user asks, and ignored when
 * a zone reports what is no longer wanted. */
#include "instance.h"

#include "vpc.h"

enum capacity { HOLDS_NOTHING, HOLDS_DISK, HOLDS_ALL };

static const struct {
	const char *name;
	unsigned code;
	enum capacity holds;
} states[INSTANCE_STATE_MAX] = {
	[INSTANCE_PENDING] = { "pending", 0, HOLDS_ALL },
	[INSTANCE_RUNNING] = { "running", 16, HOLDS_ALL },
	[INSTANCE_SHUTTING_DOWN] = { "shutting-down", 32, HOLDS_ALL },
	[INSTANCE_TERMINATED] = { "terminated", 48, HOLDS_NOTHING },
	[INSTANCE_STOPPING] = { "stopping", 64, HOLDS_ALL },
	[INSTANCE_STOPPED] = { "stopped", 80, HOLDS_DISK },
};

const char *
instance_state_to_string(enum clc_instance_state s)
{
	return states[s].name;
}

bool
instance_state_from_string(const char *text, enum clc_instance_state *ret)
{
	for (unsigned i = 0; i < INSTANCE_STATE_MAX; i++)
		if (strings_equal(text, states[i].name)) {
			*ret = i;
			return true;
		}
	return false;
}

unsigned
instance_state_code(enum clc_instance_state s)
{
	return states[s].code;
}

/* -- actions: what else changes with the state -- */

static int
want_start(struct store_tx *tx, struct clc_instance *i, struct err *e)
{
	i->wanted = "running";
	i->generation++;
	i->is_forced = false;
	i->launch_us = store_now_us(tx);
	i->transition_reason = NULL;
	return clc_interface_allocate_public(tx, i->instance_id, e);
}

static int
want_stop(struct store_tx *tx, struct clc_instance *i, struct err *e)
{
	i->wanted = "stopped";
	return 0;
}

static int
want_reboot(struct store_tx *tx, struct clc_instance *i, struct err *e)
{
	i->reboot_serial++;
	return 0;
}

static int
want_terminate(struct store_tx *tx, struct clc_instance *i, struct err *e)
{
	i->wanted = "terminated";
	return 0;
}

static int
note(struct store_tx *tx, struct clc_instance *i, struct err *e)
{
	return 0;
}

/* Stopped for whatever reason: it is what is wanted now, and the public address goes back. */
static int
settle_stopped(struct store_tx *tx, struct clc_instance *i, struct err *e)
{
	i->wanted = "stopped";
	/* One whose disk is being copied is started again soon: it keeps its address. */
	return i->export_id ? 0 : clc_interface_release_public(tx, i->instance_id, e);
}

static int
settle_terminated(struct store_tx *tx, struct clc_instance *i, struct err *e)
{
	i->wanted = "terminated";
	i->ended_us = store_now_us(tx);
	return clc_interface_delete(tx, i->instance_id, e);
}

struct transition {
	bool is_legal;
	enum clc_instance_state next;
	int (*action)(struct store_tx *tx, struct clc_instance *i, struct err *e);
};
#define TO(state, fn)                                                                              \
	{                                                                                          \
		true, INSTANCE_##state, fn                                                         \
	}

static const struct transition fsm[INSTANCE_STATE_MAX][INSTANCE_EVENT_MAX] = {
	[INSTANCE_PENDING] = {
		[EV_START]     = TO(PENDING,       note),
		[EV_STOP]      = TO(STOPPING,      want_stop),
		[EV_REBOOT]    = TO(PENDING,       note),
		[EV_TERMINATE] = TO(SHUTTING_DOWN, want_terminate),
		[EV_PENDING]   = TO(PENDING,       note),
		[EV_RUNNING]   = TO(RUNNING,       note),
		[EV_STOPPED]   = TO(STOPPED,       settle_stopped),
		[EV_FAILED]    = TO(TERMINATED,    settle_terminated), /* see fail_target */
		[EV_ENDED]     = TO(TERMINATED,    settle_terminated),
	},
	[INSTANCE_RUNNING] = {
		[EV_START]     = TO(RUNNING,       note),
		[EV_STOP]      = TO(STOPPING,      want_stop),
		[EV_REBOOT]    = TO(RUNNING,       want_reboot),
		[EV_TERMINATE] = TO(SHUTTING_DOWN, want_terminate),
		[EV_RUNNING]   = TO(RUNNING,       note),
		[EV_STOPPED]   = TO(STOPPED,       settle_stopped),
		[EV_FAILED]    = TO(STOPPED,       settle_stopped),
		[EV_ENDED]     = TO(TERMINATED,    settle_terminated),
	},
	[INSTANCE_STOPPING] = {
		[EV_STOP]      = TO(STOPPING,      want_stop),
		[EV_TERMINATE] = TO(SHUTTING_DOWN, want_terminate),
		[EV_PENDING]   = TO(STOPPING,      note),
		[EV_RUNNING]   = TO(STOPPING,      note),
		[EV_STOPPED]   = TO(STOPPED,       settle_stopped),
		[EV_FAILED]    = TO(STOPPED,       settle_stopped),
		[EV_ENDED]     = TO(TERMINATED,    settle_terminated),
	},
	[INSTANCE_STOPPED] = {
		[EV_START]     = TO(PENDING,       want_start),
		[EV_STOP]      = TO(STOPPED,       note),
		[EV_TERMINATE] = TO(SHUTTING_DOWN, want_terminate),
		[EV_STOPPED]   = TO(STOPPED,       note),
		[EV_ENDED]     = TO(TERMINATED,    settle_terminated),
	},
	[INSTANCE_SHUTTING_DOWN] = {
		[EV_TERMINATE] = TO(SHUTTING_DOWN, note),
		[EV_PENDING]   = TO(SHUTTING_DOWN, note),
		[EV_RUNNING]   = TO(SHUTTING_DOWN, note),
		[EV_STOPPED]   = TO(SHUTTING_DOWN, note),
		[EV_FAILED]    = TO(TERMINATED,    settle_terminated),
		[EV_ENDED]     = TO(TERMINATED,    settle_terminated),
	},
	[INSTANCE_TERMINATED] = {
		[EV_TERMINATE] = TO(TERMINATED,    note),
		[EV_FAILED]    = TO(TERMINATED,    note),
		[EV_ENDED]     = TO(TERMINATED,    note),
	},
};

/* A launch that fails ends; a start of an instance that once ran leaves it stopped, its disk kept.
 */
static const struct transition failed_start = TO(STOPPED, settle_stopped);

static const struct transition *
find_transition(const struct clc_instance *i, enum instance_event event)
{
	if (event == EV_FAILED && i->state == INSTANCE_PENDING && i->generation > 1)
		return &failed_start;
	return &fsm[i->state][event];
}

static bool
is_users(enum instance_event event)
{
	return event <= EV_TERMINATE;
}

int
clc_instance_apply(struct store_tx *tx, struct clc_instance *i, enum instance_event event,
    const struct clc_reason *reason, struct err *e)
{
	const struct transition *t = find_transition(i, event);
	const char *wanted_before = i->wanted;
	int64_t reboots_before = i->reboot_serial, generation_before = i->generation;
	enum clc_instance_state before = i->state;
	bool must_tell;
	int r;

	if (!t->is_legal)
		return is_users(event)
			   ? err_set(e, ERR_INCORRECT_INSTANCE_STATE,
				 "The instance '%s' is not in a state from which it can be %s.",
				 i->instance_id,
				 event == EV_START  ? "started"
				 : event == EV_STOP ? "stopped"
						    : "rebooted")
			   : 0;
	r = t->action(tx, i, e);
	if (r < 0)
		return r;
	i->state = t->next;
	/* What a user ordered has its reason already; only its failure would have another. */
	if (!is_users(event) && event != EV_FAILED &&
	    (before == INSTANCE_STOPPING || before == INSTANCE_SHUTTING_DOWN))
		reason = NULL;
	if (reason && (reason->code || before != i->state)) {
		i->reason_code = reason->code;
		i->reason_message = reason->message;
	} else if (before != i->state && i->state != INSTANCE_STOPPED &&
		   i->state != INSTANCE_TERMINATED) {
		i->reason_code = i->reason_message = NULL;
	}
	i->holds = states[i->state].holds;
	must_tell = i->generation != generation_before || i->reboot_serial != reboots_before ||
		    strcmp(i->wanted, wanted_before) != 0;
	if (must_tell) {
		i->revision++;
		i->to_put = PUT_SPEC;
	}
	if (i->state == INSTANCE_TERMINATED && before != INSTANCE_TERMINATED)
		i->to_put = PUT_FORGET;
	r = store_exec(tx, Q_INSTANCE_UPDATE_STATE, NULL, e, i->instance_id, i->wanted,
	    i->generation, i->reboot_serial, (int64_t)i->is_forced, i->revision, i->to_put,
	    states[i->state].name, i->reason_code, i->reason_message, i->transition_reason,
	    i->launch_us, i->ended_us, i->holds, store_now_us(tx));
	if (r < 0 || (before == i->state && !must_tell))
		return r;
	return outbox_add(tx, "instance", i->instance_id, i->account_id, states[i->state].name, e);
}
