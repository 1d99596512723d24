/* The rows of nodes: which there are, what they have and hold, and what they report. Each function
 * is one step of a transaction and writes an event for all that it changes. A node that is silent
 * or no longer of this zone keeps its instances: they are unreachable, with a reason, and never
 * placed again elsewhere. */
#include "node.h"

#include "base/vec.h"

#include "instance.h"

void
cc_node_read(struct store_rows *rows, struct arena *arena, struct cc_node *n)
{
	unsigned c = 0;

#define TEXT() arena_strdup(arena, store_text(rows, c++))
#define INT() store_int(rows, c++)
	n->node_id = TEXT();
	n->url = TEXT();
	n->state = TEXT();
	n->reason = TEXT();
	n->hypervisor = TEXT();
	n->vcpus = INT();
	n->memory_mib = INT();
	n->disk_gib = INT();
	n->last_seen_us = INT();
	n->report_epoch = INT();
	n->report_revision = INT();
	n->is_removed = INT();
	n->is_maintained = INT();
	n->mac = TEXT();
	n->power = TEXT();
	n->power_us = INT();
	n->power_order = TEXT();
	n->power_reason = TEXT();
	n->vcpus_held = INT();
	n->memory_mib_held = INT();
	n->disk_gib_held = INT();
#undef TEXT
#undef INT
}

void
cc_node_to_report(const struct cc_node *n, struct node_report *ret)
{
	*ret = (struct node_report){ .node_id = n->node_id,
		.state = n->state,
		.reason = n->reason ? n->reason : n->power_reason,
		.hypervisor = n->hypervisor,
		.has_vcpus = true,
		.vcpus = (uint32_t)n->vcpus,
		.has_memory_mib = true,
		.memory_mib = (uint32_t)n->memory_mib,
		.has_disk_gib = true,
		.disk_gib = (uint32_t)n->disk_gib,
		.has_vcpus_used = true,
		.vcpus_used = (uint32_t)n->vcpus_held,
		.has_memory_mib_used = true,
		.memory_mib_used = (uint32_t)n->memory_mib_held,
		.has_disk_gib_used = true,
		.disk_gib_used = (uint32_t)n->disk_gib_held,
		.has_last_seen = true,
		.last_seen = n->last_seen_us,
		.mac = n->mac,
		.power = n->power,
		.has_is_maintained = true,
		.is_maintained = n->is_maintained };
}

int
cc_node_report(struct store_tx *tx, const char *node_id, const struct node_report *n, struct err *e)
{
	int64_t changed = 0;
	int r = store_exec(tx, Q_NODE_REPORT, &changed, e, node_id, n->state, n->reason,
	    n->hypervisor, (int64_t)n->vcpus, (int64_t)n->memory_mib, (int64_t)n->disk_gib,
	    store_now_us(tx), n->mac);

	return r < 0 || !changed ? r : outbox_add(tx, "node", node_id, NULL, n->state, e);
}

typedef VEC(struct cc_instance) instance_vec;

static int
read_instances(
    struct store_tx *tx, const char *node_id, struct arena *arena, instance_vec *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_INSTANCES_OF_NODE, &rows, e, node_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct cc_instance i;

		cc_instance_read(rows, arena, &i);
		vec_add(ret, i);
	}
	return r;
}

int
cc_node_set_silent(struct store_tx *tx, const char *node_id, const char *why, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	instance_vec all = { 0 };
	int64_t changed = 0;
	int r = 0;

	if (why)
		r = store_exec(tx, Q_NODE_STATE, &changed, e, node_id, "silent", why);
	if (r == 0 && changed)
		r = outbox_add(tx, "node", node_id, NULL, "silent", e);
	if (r == 0)
		r = read_instances(tx, node_id, arena, &all, e);
	VEC_FOREACH (&all, i) {
		if (r < 0)
			break;
		r = store_exec(tx, Q_INSTANCE_UNREACHABLE, &changed, e, i->instance_id,
		    (int64_t)(why != NULL));
		if (r == 0 && changed)
			r = outbox_add(tx, "instance", i->instance_id, i->account_id,
			    why ? "unreachable" : "reachable", e);
	}
	vec_done(&all);
	return r;
}

int
cc_node_answers(
    struct store_tx *tx, const char *node_id, const struct node_report *report, struct err *e)
{
	int r = cc_node_report(tx, node_id, report, e);

	return r < 0 ? r : cc_node_set_silent(tx, node_id, NULL, e);
}

int
cc_node_news(struct store_tx *tx, const char *node_id, const struct report_set *set, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	int64_t is_ours = 0;
	int r = store_exec(tx, Q_NODE_REVISION, &is_ours, e, node_id, (int64_t)set->epoch,
	    (int64_t)set->revision, store_now_us(tx));

	if (r < 0 || !is_ours)
		return r;
	for (size_t n = 0; r == 0 && n < set->nodes.count; n++)
		r = cc_node_report(tx, node_id, &set->nodes.items[n], e);
	for (size_t n = 0; r == 0 && n < set->instances.count; n++)
		r = cc_instance_report(tx, node_id, &set->instances.items[n], arena, e);
	/* A store made anew knows none of the networks it was told of. */
	return r == 0 && set->complete ? store_exec(tx, Q_VPC_PUTS_FORGET, NULL, e, node_id) : r;
}

static bool
is_named(const struct report_set *set, const char *id)
{
	for (size_t i = 0; i < set->instances.count; i++)
		if (strcmp(set->instances.items[i].instance_id, id) == 0)
			return true;
	return false;
}

int
cc_node_compare(struct store_tx *tx, const char *node_id, const struct report_set *set,
    size_t *ret_lost, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	instance_vec all = { 0 };
	int r = read_instances(tx, node_id, arena, &all, e);

	*ret_lost = 0;
	VEC_FOREACH (&all, i) {
		if (r < 0)
			break;
		if (i->to_put != PUT_NOTHING || i->holds == HOLDS_NOTHING ||
		    is_named(set, i->instance_id))
			continue;
		r = cc_instance_lost(tx, i, e);
		++*ret_lost;
	}
	vec_done(&all);
	return r;
}

/* -- the set of nodes -- */

int
cc_nodes_read(struct store_tx *tx, struct arena *arena, struct cc_node_vec *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_NODES, &rows, e);

	ret->count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct cc_node n;

		cc_node_read(rows, arena, &n);
		vec_add(ret, n);
	}
	return r;
}

static bool
is_in(const struct cc_put_nodes_in *in, const char *node_id)
{
	for (size_t i = 0; i < in->nodes.count; i++)
		if (!in->nodes.items[i].removed && strcmp(in->nodes.items[i].peer_id, node_id) == 0)
			return true;
	return false;
}

static int
remove_node(struct store_tx *tx, const char *node_id, struct err *e)
{
	int r = cc_node_set_silent(tx, node_id, "it is no longer part of this zone", e);

	return r < 0 ? r : store_exec(tx, Q_NODE_REMOVE, NULL, e, node_id);
}

/* Told back when it changes: so the clc shows what the zone knows. */
static int
put_node(struct store_tx *tx, const struct peer_record *record, struct err *e)
{
	int64_t changed = 0;
	int r = store_exec(tx, Q_NODE_PUT, NULL, e, record->peer_id, record->url);

	if (r == 0)
		r = store_exec(tx, Q_NODE_MAINTAIN, &changed, e, record->peer_id,
		    (int64_t)record->is_maintained);
	return r < 0 || !changed ? r
				 : outbox_add(tx, "node", record->peer_id, NULL, "maintained", e);
}

int
cc_nodes_set(struct store_tx *tx, const struct cc_put_nodes_in *in, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct cc_node_vec known = { 0 };
	int64_t is_newer = 0;
	int r = store_exec(tx, Q_NODE_SET_REVISION, &is_newer, e, (int64_t)in->revision,
	    in->placement_policy ? in->placement_policy : "round-robin");

	if (r < 0 || !is_newer)
		return r;
	r = cc_nodes_read(tx, arena, &known, e);
	VEC_FOREACH (&known, n)
		if (r == 0 && !is_in(in, n->node_id))
			r = remove_node(tx, n->node_id, e);
	vec_done(&known);
	for (size_t i = 0; r == 0 && i < in->nodes.count; i++)
		if (!in->nodes.items[i].removed)
			r = put_node(tx, &in->nodes.items[i], e);
	return r;
}
