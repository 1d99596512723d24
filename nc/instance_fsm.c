/* The table of an instance's states and events. Whoever wants a state changed names an event; only
 * nc/instance_store.c writes the state that comes out. Orders that are repeated lead to where the
 * instance is already on its way. A pair that is not in the table is refused. */
#include "instance_fsm.h"

#include <string.h>

static const char *const state_names[INSTANCE_STATE_MAX] = {
	[INSTANCE_PENDING] = "pending",
	[INSTANCE_RUNNING] = "running",
	[INSTANCE_STOPPING] = "stopping",
	[INSTANCE_STOPPED] = "stopped",
	[INSTANCE_SHUTTING_DOWN] = "shutting-down",
	[INSTANCE_TERMINATED] = "terminated",
	[INSTANCE_FAILED] = "failed",
};
static const char *const event_names[INSTANCE_EVENT_MAX] = {
	[EVENT_START] = "start",
	[EVENT_STOP] = "stop",
	[EVENT_TERMINATE] = "terminate",
	[EVENT_STARTED] = "started",
	[EVENT_START_FAILED] = "start-failed",
	[EVENT_OFF] = "off",
	[EVENT_OFF_TERMINATE] = "off-terminate",
	[EVENT_CRASHED] = "crashed",
	[EVENT_LOST] = "lost",
	[EVENT_RELEASED] = "released",
};

struct transition {
	bool is_allowed;
	enum instance_state next;
};
#define TO(state)                                                                                  \
	{                                                                                          \
		true, INSTANCE_##state                                                             \
	}

static const struct transition instance_fsm[INSTANCE_STATE_MAX][INSTANCE_EVENT_MAX] = {
	[INSTANCE_PENDING] = {
		[EVENT_START] = TO(PENDING),
		[EVENT_STOP] = TO(STOPPING),
		[EVENT_TERMINATE] = TO(SHUTTING_DOWN),
		[EVENT_STARTED] = TO(RUNNING),
		[EVENT_START_FAILED] = TO(FAILED),
		/* It ran and ended before its start was recorded. */
		[EVENT_OFF] = TO(STOPPING),
		[EVENT_OFF_TERMINATE] = TO(SHUTTING_DOWN),
		[EVENT_CRASHED] = TO(STOPPING),
	},
	[INSTANCE_RUNNING] = {
		[EVENT_START] = TO(PENDING),
		[EVENT_STOP] = TO(STOPPING),
		[EVENT_TERMINATE] = TO(SHUTTING_DOWN),
		[EVENT_STARTED] = TO(RUNNING),
		[EVENT_OFF] = TO(STOPPING),
		[EVENT_OFF_TERMINATE] = TO(SHUTTING_DOWN),
		[EVENT_CRASHED] = TO(STOPPING),
		[EVENT_LOST] = TO(PENDING),
	},
	[INSTANCE_STOPPING] = {
		[EVENT_START] = TO(PENDING),
		[EVENT_STOP] = TO(STOPPING),
		[EVENT_TERMINATE] = TO(SHUTTING_DOWN),
		[EVENT_RELEASED] = TO(STOPPED),
	},
	[INSTANCE_STOPPED] = {
		[EVENT_START] = TO(PENDING),
		[EVENT_STOP] = TO(STOPPED),
		[EVENT_TERMINATE] = TO(SHUTTING_DOWN),
	},
	[INSTANCE_SHUTTING_DOWN] = {
		[EVENT_STOP] = TO(SHUTTING_DOWN),
		[EVENT_TERMINATE] = TO(SHUTTING_DOWN),
		[EVENT_RELEASED] = TO(TERMINATED),
	},
	[INSTANCE_TERMINATED] = {
		[EVENT_STOP] = TO(TERMINATED),
		[EVENT_TERMINATE] = TO(TERMINATED),
	},
	[INSTANCE_FAILED] = {
		[EVENT_START] = TO(PENDING),
		[EVENT_STOP] = TO(STOPPING),
		[EVENT_TERMINATE] = TO(SHUTTING_DOWN),
	},
};

const char *
instance_state_to_string(enum instance_state s)
{
	return state_names[s];
}

bool
instance_state_from_string(const char *s, enum instance_state *ret)
{
	for (unsigned i = 0; s && i < INSTANCE_STATE_MAX; i++)
		if (strcmp(s, state_names[i]) == 0) {
			*ret = (enum instance_state)i;
			return true;
		}
	return false;
}

const char *
instance_event_to_string(enum instance_event v)
{
	return event_names[v];
}

int
instance_fsm_next(enum instance_state state, enum instance_event event,
    enum instance_state *ret_next, struct err *e)
{
	const struct transition *t = &instance_fsm[state][event];

	if (!t->is_allowed)
		return err_set(e, ERR_INCORRECT_INSTANCE_STATE, "no '%s' while '%s'",
		    event_names[event], state_names[state]);
	*ret_next = t->next;
	return 0;
}
