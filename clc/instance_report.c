/* What zones report of instances, applied to their rows. */
#include "instance.h"

#include "bundle_task.h"

static const struct {
	const char *state;
	enum instance_event event;
} reported[] = {
	{ "pending", EV_PENDING },
	{ "running", EV_RUNNING },
	{ "stopping", EV_RUNNING },
	{ "shutting-down", EV_RUNNING },
	{ "stopped", EV_STOPPED },
	{ "failed", EV_FAILED },
	{ "terminated", EV_ENDED },
	{ "gone", EV_ENDED },
};

static bool
event_of(const struct instance_report *report, enum instance_event *ret)
{
	for (size_t k = 0; k < ARRAY_SIZE(reported); k++)
		if (strings_equal(reported[k].state, report->state)) {
			*ret = reported[k].event;
			return true;
		}
	return false;
}

int
clc_instance_report(struct store_tx *tx, const struct instance_report *report, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct clc_reason reason = { report->reason_code, report->reason_message };
	struct clc_instance i;
	enum instance_event event;
	int r;

	r = clc_instance_load(tx, NULL, report->instance_id, arena, &i, e);
	if (r == ERR_INSTANCE_NOT_FOUND)
		return 0; /* its row has gone: the zone is told to forget it by the next put */
	if (r < 0)
		return r;
	if ((int64_t)report->generation != i.generation || !event_of(report, &event))
		return 0;
	r = store_exec(tx, Q_INSTANCE_UPDATE_REPORT, NULL, e, i.instance_id, report->node_id,
	    report->step, (int64_t)report->unreachable, (int64_t)report->boot_count,
	    report->step_since, report->waits_for, report->who, store_now_us(tx),
	    report->reachability);
	if (r < 0)
		return r;
	if (report->needs_sources) {
		r = store_exec(tx, Q_INSTANCE_PUT_AGAIN, NULL, e, i.instance_id);
		if (r < 0)
			return r;
	}
	/* A user's stop leaves its own reason; a zone's has more to say only when it says
	 * something. */
	r = clc_instance_apply(tx, &i, event, reason.code ? &reason : NULL, e);
	return r == 0 && report->export ? clc_bundle_report(tx, &i, report->export, e) : r;
}
