/* Start, stop, reboot, terminate: what is wanted changes in one transaction for all instances
 * named, all or none; the zone link does the rest. */
#include "clc/ec2.api.h"

#include "base/clock.h"
#include "base/vec.h"

#include "bundle_task.h"
#include "instance.h"
#include "placement.h"
#include "zone.h"
#include "zone_name.h"

struct order {
	struct request *rq;
	enum instance_event event;
	const char *const *ids;
	size_t count;
	bool is_forced;
	struct clc_reason reason;              /* of the state that follows */
	const char *transition;                /* "User initiated" */
	struct instance_state_change *changes; /* filled: one each that was changed */
	size_t changed;
	struct err refusal; /* of those that are protected, after the others have been ordered */
};

static struct instance_state *
state_of(struct arena *arena, enum clc_instance_state s)
{
	struct instance_state *out = arena_alloc(arena, sizeof(*out));

	out->has_code = true;
	out->code = instance_state_code(s);
	out->name = instance_state_to_string(s);
	return out;
}

static int
check_start(struct store_tx *tx, const struct order *o, struct clc_instance *i, struct err *e)
{
	uint32_t one = 1;
	int r;

	if (i->state == INSTANCE_STOPPED || i->state == INSTANCE_STOPPING) {
		r = clc_bundle_check_start(tx, i, e);
		if (r < 0)
			return r;
	}
	if (i->state != INSTANCE_STOPPED)
		return 0;
	r = clc_quota_check(tx, o->rq->clc->conf, i->account_id, i->vcpus, 1, &one, e);
	return r < 0 ? r : clc_placement_start(tx, o->rq, i, e);
}

/* Protection from being stopped is protection from being terminated as well. */
static bool
is_protected(const struct order *o, const struct clc_instance *i)
{
	if (i->state == INSTANCE_TERMINATED || i->state == INSTANCE_SHUTTING_DOWN)
		return false;
	if (o->event == EV_TERMINATE)
		return i->is_protected || i->is_stop_protected;
	return o->event == EV_STOP && i->is_stop_protected;
}

static int
refuse(const struct order *o, const struct clc_instance *i, struct err *e)
{
	bool by_end = o->event == EV_TERMINATE && i->is_protected;

	return err_set(e, ERR_OPERATION_NOT_PERMITTED,
	    "The instance '%s' may not be %s. Modify its '%s' instance attribute and try again.",
	    i->instance_id, o->event == EV_TERMINATE ? "terminated" : "stopped",
	    by_end ? "disableApiTermination" : "disableApiStop");
}

/* A protected instance keeps all of its zone's from being terminated; those of other zones are. */
static bool
is_spared(const struct order *o, const struct clc_instance *all, size_t n)
{
	for (size_t k = 0; k < o->count; k++)
		if (strcmp(all[k].zone, all[n].zone) == 0 && is_protected(o, &all[k]))
			return true;
	return false;
}

static int
order_one(struct store_tx *tx, struct order *o, struct clc_instance i, struct err *e)
{
	struct arena *arena = o->rq->arena;
	enum clc_instance_state before;
	char now[TIME_TEXT_SIZE];
	bool changes;
	int r = o->event == EV_START ? check_start(tx, o, &i, e) : 0;

	if (r == 0 && o->event == EV_STOP) /* it stays stopped, then, when its disk is copied */
		r = store_exec(tx, Q_BUNDLE_STAYS_STOPPED, NULL, e, i.instance_id);
	if (r < 0)
		return r;
	before = i.state;
	changes = o->transition && (before == INSTANCE_PENDING || before == INSTANCE_RUNNING ||
				       (before == INSTANCE_STOPPED && o->event == EV_TERMINATE));
	if (changes) {
		time_format_iso(store_now_us(tx), now);
		i.transition_reason =
		    arena_printf(arena, "%s (%.10s %.8s GMT)", o->transition, now, now + 11);
	}
	/* Asking again with force makes a stop or an end that hangs go through. */
	if (o->is_forced && !i.is_forced) {
		i.is_forced = true;
		i.to_put = PUT_SPEC;
		i.revision++;
	}
	r = clc_instance_apply(tx, &i, o->event, changes ? &o->reason : NULL, e);
	if (r == 0)
		r = request_record(tx, o->rq, "instance", i.instance_id, e);
	o->changes[o->changed++] = (struct instance_state_change){ .instance_id = i.instance_id,
		.previous_state = state_of(arena, before),
		.current_state = state_of(arena, i.state) };
	return r;
}

static int
order_all(struct store_tx *tx, void *arg, struct err *e)
{
	struct order *o = arg;
	struct clc_instance *all = arena_alloc(o->rq->arena, o->count * sizeof(*all));
	int r = 0;

	o->changed = 0;
	err_clear(&o->refusal);
	for (size_t n = 0; r == 0 && n < o->count; n++)
		r = clc_instance_load(tx, o->rq->account_id, o->ids[n], o->rq->arena, &all[n], e);
	for (size_t n = 0; r == 0 && n < o->count && !o->refusal.code; n++)
		if (is_protected(o, &all[n]))
			(void)refuse(o, &all[n], &o->refusal); /* kept until the others are done */
	if (r == 0 && o->refusal.code && o->event != EV_TERMINATE) {
		*e = o->refusal;
		return e->code;
	}
	for (size_t n = 0; r == 0 && n < o->count; n++)
		if (!o->refusal.code || !is_spared(o, all, n))
			r = order_one(tx, o, all[n], e);
	return r;
}

/* The same id twice is one instance, and one line of the answer. */
static void
drop_repeated(struct order *o)
{
	const char **ids = arena_alloc(o->rq->arena, (o->count + 1) * sizeof(*ids));
	size_t kept = 0;

	for (size_t n = 0; n < o->count; n++) {
		size_t k = 0;

		while (k < kept && strcmp(ids[k], o->ids[n]) != 0)
			k++;
		if (k == kept)
			ids[kept++] = o->ids[n];
	}
	o->ids = ids;
	o->count = kept;
}

static int
give(struct order *o, struct err *e)
{
	int r = 0;

	for (size_t n = 0; r == 0 && n < o->count; n++)
		r = clc_instance_check_id(o->ids[n], e);
	if (r < 0)
		return r;
	drop_repeated(o);
	o->changes = arena_alloc(o->rq->arena, o->count * sizeof(*o->changes));
	r = store_write(o->rq->clc->store, order_all, o, e);
	if (r < 0)
		return r;
	clc_zones_poke(o->rq->clc, NULL);
	if (o->refusal.code)
		*e = o->refusal;
	return o->refusal.code;
}

int
ec2_handle_start_instances(struct request *rq, const struct start_instances_in *in,
    struct start_instances_out *out, struct err *e)
{
	struct order o = { .rq = rq,
		.event = EV_START,
		.ids = in->instance_ids.items,
		.count = in->instance_ids.count };
	int r = give(&o, e);

	out->instances.items = o.changes;
	out->instances.count = r == 0 ? o.changed : 0;
	return r;
}

int
ec2_handle_stop_instances(struct request *rq, const struct stop_instances_in *in,
    struct stop_instances_out *out, struct err *e)
{
	struct order o = { .rq = rq,
		.event = EV_STOP,
		.ids = in->instance_ids.items,
		.count = in->instance_ids.count,
		/* Either way nobody asks the guest. */
		.is_forced = in->force || in->skip_os_shutdown,
		.reason = { "Client.UserInitiatedShutdown",
		    "Client.UserInitiatedShutdown: User initiated shutdown" },
		.transition = "User initiated" };
	int r;

	/* Amazon refuses to stop instance-store instances; here their disk stays on its node. */
	if (!rq->clc->conf->stop_instance_store)
		return err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "The instance does not have an 'ebs' root device type and cannot be stopped.");
	r = give(&o, e);
	out->instances.items = o.changes;
	out->instances.count = r == 0 ? o.changed : 0;
	return r;
}

int
ec2_handle_reboot_instances(struct request *rq, const struct reboot_instances_in *in,
    struct reboot_instances_out *out, struct err *e)
{
	struct order o = { .rq = rq,
		.event = EV_REBOOT,
		.ids = in->instance_ids.items,
		.count = in->instance_ids.count };
	int r = give(&o, e);

	out->has_result = out->result = r == 0;
	return r;
}

int
ec2_handle_terminate_instances(struct request *rq, const struct terminate_instances_in *in,
    struct terminate_instances_out *out, struct err *e)
{
	struct order o = { .rq = rq,
		.event = EV_TERMINATE,
		.ids = in->instance_ids.items,
		.count = in->instance_ids.count,
		.is_forced = in->force || in->skip_os_shutdown,
		.reason = { "Client.UserInitiatedShutdown",
		    "Client.UserInitiatedShutdown: User initiated shutdown" },
		.transition = "User initiated" };
	int r = give(&o, e);

	out->instances.items = o.changes;
	out->instances.count = r == 0 ? o.changed : 0;
	return r;
}

/* -- the end -- */

static int
expire(struct store_tx *tx, void *arg, struct err *e)
{
	int64_t before = store_now_us(tx) - *(const int64_t *)arg;
	int r = store_exec(tx, Q_TAGS_EXPIRE, NULL, e, before);

	if (r == 0)
		r = store_exec(tx, Q_INSTANCE_STATUS_REPORTS_EXPIRE, NULL, e, before);
	if (r == 0)
		r = clc_bundles_expire(tx, e);
	if (r == 0)
		r = store_exec(tx, Q_INSTANCES_EXPIRE, NULL, e, before);
	return r == 0 ? store_exec(tx, Q_RESERVATIONS_EXPIRE, NULL, e, before) : r;
}

int
clc_instance_expire(struct clc *clc, struct err *e)
{
	int64_t keep_us = clc->conf->keep_terminated_ms * 1000LL;

	return store_write(clc->store, expire, &keep_us, e);
}
