/* Whether the guests that run use their network: "initializing" after a start; "passed" once a
 * guest was heard (it asked for its address, its metadata or a name) or answered a probe; "failed"
 * when it has been silent and has not answered for a while. The word is in the store, where a
 * report takes it from; what it is judged by is this process's and may be lost. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "nc.h"

#define PROBE_TIMEOUT_MS 5000
#define QUIET_MS 45000    /* who was heard in that time is not asked */
#define FAILED_MS 60000   /* silent for so long, in spite of probes */
#define BOOTING_MS 300000 /* how long a guest may take to its first sign of life */
#define AGAIN_MS 15000

/* On the loop. */
void
nc_heard(void *arg, const char *instance_id)
{
	struct nc *nc = arg;
	bool is_first = false;

	{
		LOCK_SCOPE(&nc->lock);
		struct nc_live *live = map_find(nc->live, instance_id);

		if (live) {
			is_first = !live->has_passed;
			live->heard_ms = clock_monotonic_ms();
		}
	}
	if (is_first)
		reconciler_poke(nc->reachability);
}

static struct nc_live
live_of(struct nc *nc, const char *instance_id)
{
	LOCK_SCOPE(&nc->lock);
	struct nc_live *live = map_find(nc->live, instance_id);

	return live ? *live : (struct nc_live){ 0 };
}

static void
keep(struct nc *nc, const char *instance_id, const struct nc_live *judged)
{
	LOCK_SCOPE(&nc->lock);
	struct nc_live *live = map_find(nc->live, instance_id);

	if (!live)
		return;
	if (judged->heard_ms > live->heard_ms)
		live->heard_ms = judged->heard_ms;
	live->has_passed = judged->has_passed;
	live->judged = judged->judged;
	live->since_ms = judged->since_ms;
}

/* One of its interfaces answering is enough. */
static bool
does_answer(struct nc *nc, const struct instance_record *i, struct arena *arena)
{
	struct helper_nic nics[HELPER_NICS_MAX];
	uint32_t count = 0;

	if (nc_network_nics(nc, i->spec, arena, nics, &count, NULL) < 0)
		return false;
	for (uint32_t n = 0; n < count; n++) {
		_cleanup_helper_reply_ struct helper_reply reply = { 0 };

		if (helper_call(nc->helper, HELPER_NIC_PROBE, &nics[n], sizeof(nics[n]),
			PROBE_TIMEOUT_MS, &reply, NULL) == 0 &&
		    ((const struct helper_nic_probed *)reply.payload)->has_answered)
			return true;
	}
	return false;
}

/* NULL: it stays as it is. */
static const char *
judge(struct nc *nc, const struct instance_record *i, struct nc_live *live, struct arena *arena)
{
	bool has_passed = strings_equal(i->reachability, "passed");
	uint64_t now = clock_monotonic_ms();

	if (live->judged != i->generation) { /* it was started anew, or we were */
		live->judged = i->generation;
		live->since_ms = now;
		if (strings_equal(i->reachability, "initializing") && live->heard_ms < now)
			live->heard_ms = 0; /* what was heard was the one before */
	}
	if (!live->heard_ms || now - live->heard_ms > QUIET_MS) {
		if (does_answer(nc, i, arena))
			live->heard_ms = clock_monotonic_ms();
	}
	now = clock_monotonic_ms();
	live->has_passed = live->heard_ms && now - live->heard_ms <= QUIET_MS;
	if (live->has_passed)
		return "passed";
	if (live->heard_ms)
		return now - live->heard_ms > FAILED_MS ? "failed" : NULL;
	return now - live->since_ms > (has_passed ? FAILED_MS : BOOTING_MS) ? "failed" : NULL;
}

int
nc_reachability_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(1ull << 30);
	struct nc *nc = arg;
	struct instance_record *instances = NULL;
	size_t count = 0;
	int r = instance_list(nc->store, arena, &instances, &count, e);

	/* Who cannot ask does not judge. */
	if (r < 0 || !helper_client_is_up(nc->helper))
		return r;
	for (size_t n = 0; n < count; n++) {
		const struct instance_record *i = &instances[n];
		struct nc_live live = live_of(nc, i->instance_id);
		const char *reachability;

		if (i->state != INSTANCE_RUNNING || !live.is_adopted || !i->spec->interfaces.count)
			continue;
		*ret_again_ms = AGAIN_MS;
		reachability = judge(nc, i, &live, arena);
		keep(nc, i->instance_id, &live);
		if (!reachability)
			continue;
		r = instance_set_reachability(
		    nc->store, i->instance_id, i->generation, reachability, e);
		if (r > 0)
			log_info(nc->log, "instance.reachability",
			    "instance=%s generation=%llu reachability=%s", i->instance_id,
			    (unsigned long long)i->generation, reachability);
		else if (r == ERR_STALE || r == ERR_NOT_FOUND)
			err_clear(e);
		else if (r < 0)
			return r;
	}
	return 0;
}
