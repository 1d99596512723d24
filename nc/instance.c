/* Deciding what to do for which instance, and when: the body of the reconciler "instances".
 *
 * The store says where each instance has to go, the helper which guests there are. Whoever is not
 * where it should be gets a step (instance_steps.c) on a worker of its own, at most one at a time;
 * the step reads everything anew, so a decision on old news does no harm. News (orders, lifecycle
 * events, fetched images, networks) only poke; a pass every 10 s is the net below that. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "export.h"
#include "nc.h"

#define STRANGER_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 500
#define STEPS_AT_ONCE_MAX 64 /* of one instance, without a wait: more is a loop */

/* -- jobs -- */

struct nc_job {
	struct nc *nc;
	void (*fn)(void *arg);
	void *arg;
};

static void
job_over(struct nc *nc)
{
	LOCK_SCOPE(&nc->lock);

	if (--nc->jobs == 0)
		pthread_cond_broadcast(&nc->no_jobs);
}

static void
run_job(void *arg)
{
	_cleanup_free_ struct nc_job *job = arg;

	job->fn(job->arg);
	job_over(job->nc);
}

int
nc_run(struct nc *nc, void (*fn)(void *arg), void *arg, struct err *e)
{
	struct nc_job *job;
	int r;

	{
		LOCK_SCOPE(&nc->lock);
		if (nc->is_ending)
			return err_set(e, ERR_CANCELLED, "the node controller stops");
		nc->jobs++;
	}
	job = xcalloc(1, sizeof(*job));
	*job = (struct nc_job){ nc, fn, arg };
	r = workers_run(nc->workers, run_job, job, e);
	if (r < 0) {
		free(job);
		job_over(nc);
	}
	return r;
}

static struct nc_live *
live_locked(struct nc *nc, const char *id)
{
	struct nc_live *live = map_find(nc->live, id);

	if (!live) {
		live = xcalloc(1, sizeof(*live));
		map_set(nc->live, id, live);
	}
	return live;
}

/* -- one instance, on a worker -- */

struct job {
	struct nc *nc;
	char id[ID_MAX];
};

/* Errors that say "not now": everything else is told as well, and tried again more slowly. */
static uint32_t
retry_after(int r)
{
	switch (r) {
	case ERR_STALE:
	case ERR_INCORRECT_INSTANCE_STATE:
		return 0; /* it has moved on: look again */
	case ERR_CONFLICT:
	case ERR_CANCELLED:
		return RETRY_FIRST_MS;
	default:
		return 2000;
	}
}

static void
say_error(struct nc *nc, const struct instance_record *i, const struct err *error)
{
	_cleanup_free_ char *step = xasprintf("trying again: %s", error->text);
	bool is_away = error->code == ERR_UNAVAILABLE || error->code == ERR_TIMEOUT;
	const struct instance_step said = { .step = step,
		.waits_for = is_away ? "the node's helper and libvirt to answer"
				     : "the node to manage what it could not",
		.who = "administrator",
		.needs_sources = i->needs_sources };
	struct err e = { 0 };

	log_warn(nc->log, "instance.step", "instance=%s state=%s error=\"%s\"", i->instance_id,
	    instance_state_to_string(i->state), error->text);
	if (i->state == INSTANCE_RUNNING && error->code == ERR_UNAVAILABLE)
		return; /* the guest runs on: that is the node's news, not the instance's */
	(void)instance_set_step(nc->store, i->instance_id, i->generation, &said, &e);
}

/* Steps until it has to wait. Returns after how long to look again, 0: now. */
static uint32_t
steps(struct nc *nc, const char *id, struct nc_live *io)
{
	for (unsigned n = 0; n < STEPS_AT_ONCE_MAX; n++) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct instance_record i;
		struct nc_step step = { .nc = nc, .i = &i, .arena = arena, .retry_ms = NC_SETTLED };
		struct err e = { 0 };
		int r;

		r = instance_load(nc->store, id, arena, &i, &e);
		if (r == ERR_NOT_FOUND)
			return NC_SETTLED;
		step.is_adopted = io->is_adopted;
		step.is_released = r == 0 && io->released == i.generation;
		step.is_clear = io->is_clear;
		step.cpus_version = io->cpus_version;
		step.spec_hash = io->spec_hash;
		if (r == 0)
			r = nc_instance_step(&step, &e);
		io->is_adopted = step.is_adopted;
		io->is_clear = step.is_clear;
		io->released = step.is_released ? i.generation : 0;
		io->cpus_version = step.cpus_version;
		io->spec_hash = step.spec_hash;
		if (r > 0)
			return step.retry_ms;
		if (r < 0 && retry_after(r) > 0) {
			say_error(nc, &i, &e);
			return retry_after(r);
		}
	}
	return RETRY_FIRST_MS;
}

static void
work(void *arg)
{
	_cleanup_free_ struct job *job = arg;
	struct nc *nc = job->nc;
	struct nc_live now;
	uint32_t retry_ms;
	uint64_t news;

	{
		LOCK_SCOPE(&nc->lock);
		news = nc->news;
		now = *live_locked(nc, job->id);
	}
	retry_ms = steps(nc, job->id, &now);
	{
		LOCK_SCOPE(&nc->lock);
		struct nc_live *live = live_locked(nc, job->id);

		live->is_busy = false;
		live->is_adopted = now.is_adopted;
		live->is_clear = now.is_clear;
		live->released = now.released;
		live->cpus_version = now.cpus_version;
		live->spec_hash = now.spec_hash;
		/* News that came during the step may be what it waits for. */
		live->retry_ms = retry_ms == NC_SETTLED || news != nc->news
				     ? 0
				     : clock_monotonic_ms() + retry_ms;
	}
	nc_instances_poke(nc); /* for news that came meanwhile, and for the next retry's time */
}

/* -- the pass -- */

static bool
is_at_rest(const struct instance_record *i, const struct nc_live *live, uint64_t cpus_version,
    const struct helper_reply *guests)
{
	struct helper_guest guest;

	switch (i->state) {
	case INSTANCE_STOPPED:
		return live->is_clear && !nc_export_is_due(i);
	case INSTANCE_TERMINATED:
		return true;
	case INSTANCE_FAILED:
		return live->released == i->generation;
	case INSTANCE_RUNNING:
		if (!live->is_adopted || live->spec_hash != i->spec_hash ||
		    live->cpus_version != cpus_version || i->spec->reboot_serial > i->reboot_done)
			return false;
		if (!guests->payload)
			return true; /* nothing is known that speaks against it */
		guest = nc_guest_find(guests, i->instance_id);
		return guest.state == GUEST_RUNNING && guest.generation == i->generation;
	case INSTANCE_PENDING:
	case INSTANCE_STOPPING:
	case INSTANCE_SHUTTING_DOWN:
	case INSTANCE_STATE_MAX:
		break;
	}
	return false;
}

/* Begins a step where one is due; lowers *io_again_ms to when the next one is. */
static void
consider(struct nc *nc, const struct instance_record *i, const struct helper_reply *guests,
    uint32_t *io_again_ms)
{
	uint64_t now = clock_monotonic_ms();
	struct job *job;

	{
		LOCK_SCOPE(&nc->lock);
		struct nc_live *live = live_locked(nc, i->instance_id);

		if (live->is_busy || is_at_rest(i, live, nc->cpus_version, guests))
			return;
		if (live->retry_ms > now) {
			if (live->retry_ms - now < *io_again_ms)
				*io_again_ms = (uint32_t)(live->retry_ms - now);
			return;
		}
		live->is_busy = true;
	}
	job = xcalloc(1, sizeof(*job));
	job->nc = nc;
	snprintf(job->id, sizeof(job->id), "%s", i->instance_id);
	if (nc_run(nc, work, job, NULL) < 0) { /* full: the next pass tries again */
		LOCK_SCOPE(&nc->lock);

		live_locked(nc, i->instance_id)->is_busy = false;
		*io_again_ms = RETRY_FIRST_MS;
		free(job);
	}
}

/* Whether a guest without a record may go: one that never ran, such as libvirt defines for a helper
 * that was killed while it asked. Any other is left alone (the store may be an old copy), but never
 * silent. */
static bool
has_never_run(uint32_t state)
{
	return state == GUEST_DEFINED || state == GUEST_PREPARED || state == GUEST_FAILED;
}

static bool
remove_stranger(struct nc *nc, const struct helper_guest *guest, struct arena *arena)
{
	struct helper_guest_stop stop = { .force = 1 };
	struct instance_record now;
	struct err e = { 0 };
	int r;

	/* Its record may be younger than the rows that were read. */
	if (instance_load(nc->store, guest->instance_id, arena, &now, &e) != ERR_NOT_FOUND)
		return false;
	err_clear(&e);
	snprintf(stop.instance_id, sizeof(stop.instance_id), "%s", guest->instance_id);
	r = helper_call(
	    nc->helper, HELPER_GUEST_STOP, &stop, sizeof(stop), STRANGER_TIMEOUT_MS, NULL, &e);
	log_warn(nc->log, "guest.stranger", "instance=%s state=\"%s\" %s%s", guest->instance_id,
	    helper_state_name(guest->state), r < 0 ? "error=" : "removed", r < 0 ? e.text : "");
	return r == 0;
}

/* True when one was removed: its devices may be left, and a sweep is due. */
static bool
look_for_strangers(struct nc *nc, const struct instance_record *instances, size_t count,
    const struct helper_reply *guests, bool must_say, struct arena *arena)
{
	const struct helper_guest_list *list = guests->payload;
	bool has_removed = false;

	for (uint32_t g = 0; list && g < list->count; g++) {
		const struct helper_guest *guest = &list->guests[g];
		bool is_known = false;

		for (size_t i = 0; !is_known && i < count; i++)
			is_known = strcmp(instances[i].instance_id, guest->instance_id) == 0;
		if (is_known)
			continue;
		if (has_never_run(guest->state))
			has_removed |= remove_stranger(nc, guest, arena);
		else if (must_say)
			log_warn(nc->log, "guest.stranger", "instance=%s state=\"%s\"",
			    guest->instance_id, helper_state_name(guest->state));
	}
	return has_removed;
}

/* What processes that were killed halfway left behind. */
static void
clear_up(struct nc *nc, const struct instance_record *instances, size_t count,
    const struct helper_reply *guests, struct arena *arena)
{
	struct err e = { 0 };
	bool has_swept;
	int r;

	{
		LOCK_SCOPE(&nc->lock);
		has_swept = nc->has_swept;
		nc->has_swept = true; /* unless the helper is lost meanwhile */
	}
	if (!look_for_strangers(nc, instances, count, guests, !has_swept, arena) && has_swept)
		return;
	r = nc_network_sweep(nc, instances, count, arena, &e);
	if (r == 0)
		return;
	log_warn(nc->log, "network.sweep", "error=\"%s\"", e.text);
	LOCK_SCOPE(&nc->lock);
	nc->has_swept = false;
}

int
nc_instances_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_helper_reply_ struct helper_reply guests = { 0 };
	_cleanup_arena_ struct arena *arena = arena_new(1ull << 30);
	struct nc *nc = arg;
	struct instance_record *instances = NULL;
	struct err list_error = { 0 };
	size_t count = 0;
	int r;

	/* Rows first: a guest that is missing from a later list has really ended. */
	r = instance_list(nc->store, arena, &instances, &count, e);
	if (r < 0)
		return r;
	if (nc_guests_list(nc, &guests, &list_error) == 0)
		clear_up(nc, instances, count, &guests, arena);
	for (size_t i = 0; i < count; i++)
		consider(nc, &instances[i], &guests, ret_again_ms);
	return 0;
}
