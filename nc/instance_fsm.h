#pragma once
/* The life of an instance on its node, as a table. The state is what the store holds; what has to
 * be done in a state is nc/instance_steps.c. */
#include <stdbool.h>
#include "base/err.h"

enum instance_state {
	INSTANCE_PENDING, /* to be started: images, disks, network, guest */
	INSTANCE_RUNNING,
	INSTANCE_STOPPING, /* to be stopped and unplugged; disks stay */
	INSTANCE_STOPPED,
	INSTANCE_SHUTTING_DOWN, /* to be stopped and unplugged; disks go */
	INSTANCE_TERMINATED,
	INSTANCE_FAILED, /* could not be started; disks stay until it is terminated */
	INSTANCE_STATE_MAX
};
const char *instance_state_to_string(enum instance_state s); /* as instance_report has it */
bool instance_state_from_string(const char *s, enum instance_state *ret);

enum instance_event {
	EVENT_START,     /* ordered, with a higher generation */
	EVENT_STOP,      /* ordered */
	EVENT_TERMINATE, /* ordered */
	EVENT_STARTED,
	EVENT_START_FAILED,
	EVENT_OFF,           /* the guest shut down by itself, and that means stop */
	EVENT_OFF_TERMINATE, /* and that means terminate */
	EVENT_CRASHED,       /* the guest ended without being asked or asking */
	EVENT_LOST,          /* the host restarted under it */
	EVENT_RELEASED,      /* nothing of it runs or is plugged in any more */
	INSTANCE_EVENT_MAX
};
const char *instance_event_to_string(enum instance_event v);

/* ERR_INCORRECT_INSTANCE_STATE where the table has no answer. */
int instance_fsm_next(enum instance_state state, enum instance_event event,
    enum instance_state *ret_next, struct err *e);
