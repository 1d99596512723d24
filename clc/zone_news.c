/* What zones report. A report of the generation wanted moves its instance; one of a later
 * generation says that this store is an older copy, which then catches up; one of an instance that
 * has ended says that the zone has not forgotten it yet. That a zone does not name an instance
 * means nothing: its store may be new. It is told again, with the node that had it, and only that
 * node can say that it is gone. */
#include "zone_news.h"

#include "base/clock.h"

#include "instance.h"

uint64_t
clc_zone_kept_epoch(uint64_t own_epoch, uint64_t zone_epoch)
{
	return zone_epoch ? own_epoch ^ zone_epoch : 0;
}

static int
write_node(struct store_tx *tx, const char *zone, const struct node_report *n, struct err *e)
{
	int r = store_exec(tx, Q_STATE_SINCE_PUT, NULL, e, n->node_id, n->state, store_now_us(tx));

	if (r == 0)
		r = store_exec(tx, Q_NODE_PUT, NULL, e, n->node_id, zone, n->state, n->reason,
		    n->hypervisor, (int64_t)n->vcpus, (int64_t)n->memory_mib, (int64_t)n->disk_gib,
		    (int64_t)n->vcpus_used, (int64_t)n->memory_mib_used, (int64_t)n->disk_gib_used,
		    n->last_seen);
	/* The last that its zone says of a node which was removed. */
	if (r == 0 && strings_equal(n->state, "silent"))
		r = store_exec(tx, Q_NODE_DELETE_STRANGER, NULL, e, n->node_id);
	return r < 0 ? r
		     : store_exec(tx, Q_NODE_SET_POWER, NULL, e, n->node_id,
			   n->power ? n->power : "awake", n->mac);
}

/* -- catching up with a later generation -- */

/* A start was forgotten here; it is what was wanted last. */
static int
start_again(struct store_tx *tx, struct clc_instance *i, const struct instance_report *report,
    struct err *e)
{
	int r = i->state == INSTANCE_STOPPING ? clc_instance_apply(tx, i, EV_STOPPED, NULL, e) : 0;

	i->generation = (int64_t)report->generation - 1;
	return r < 0 ? r : clc_instance_apply(tx, i, EV_START, NULL, e);
}

static int
catch_up(struct store_tx *tx, struct clc_instance *i, const struct instance_report *report,
    struct err *e)
{
	if (i->state == INSTANCE_STOPPED || i->state == INSTANCE_STOPPING)
		return start_again(tx, i, report, e);
	i->generation = (int64_t)report->generation;
	i->revision++;
	i->to_put = PUT_SPEC;
	return clc_instance_apply(
	    tx, i, i->state == INSTANCE_PENDING ? EV_PENDING : EV_RUNNING, NULL, e);
}

static int
write_instance(struct store_tx *tx, const struct instance_report *report, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct clc_instance i;
	int r = clc_instance_load(tx, NULL, report->instance_id, arena, &i, e);

	if (r == ERR_INSTANCE_NOT_FOUND) {
		err_clear(e);
		return 0; /* made after this copy of the store was: it runs on, and is nobody's */
	}
	if (r < 0)
		return r;
	if (i.state == INSTANCE_TERMINATED)
		return strings_equal(report->state, "gone")
			   ? 0
			   : store_exec(tx, Q_INSTANCE_FORGET_AGAIN, NULL, e, i.instance_id);
	if ((int64_t)report->generation > i.generation)
		r = catch_up(tx, &i, report, e);
	return r < 0 ? r : clc_instance_report(tx, report, e);
}

/* -- -- */

static int
tell_again(struct store_tx *tx, const char *zone, struct err *e)
{
	int64_t revision = store_now_us(tx) / 1000000;
	int r = store_exec(tx, Q_ZONE_NODES_AGAIN, NULL, e, zone, revision);

	if (r == 0)
		r = store_exec(tx, Q_VPCS_AGAIN, NULL, e, revision);
	if (r == 0)
		r = store_exec(tx, Q_INSTANCES_PUT_AGAIN, NULL, e, zone);
	return r == 0
		   ? store_exec(tx, Q_NODES_DOUBT, NULL, e, zone, "its zone has not named it yet")
		   : r;
}

int
clc_zone_news(struct store_tx *tx, const char *zone, uint64_t own_epoch,
    const struct report_set *set, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int64_t kept = (int64_t)clc_zone_kept_epoch(own_epoch, set->epoch);
	int r = store_query_one(tx, Q_ZONE_REPORT_EPOCH, &rows, "zone", e, zone);

	if (r == 0 && (set->complete || store_int(rows, 0) != kept))
		r = tell_again(tx, zone, e);
	for (size_t n = 0; r == 0 && n < set->nodes.count; n++)
		r = write_node(tx, zone, &set->nodes.items[n], e);
	for (size_t n = 0; r == 0 && n < set->instances.count; n++)
		r = write_instance(tx, &set->instances.items[n], e);
	return r == 0
		   ? store_exec(tx, Q_ZONE_REPORT_SET, NULL, e, zone, kept, (int64_t)set->revision)
		   : r;
}
