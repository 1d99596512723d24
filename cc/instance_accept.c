/* Accepting wanted records, placing them, and letting them go. Placement is decided inside the
 * transaction that accepts, against rows that say what every node holds: so a node is never given
 * more than it has, however many launches come at once. */
#include "instance.h"

#include "base/vec.h"
#include "rpc/placement.h"

#include "node.h"

/* -- placement -- */

typedef VEC(struct placement_node) placement_vec;

static struct placement_node
placement_of(const struct cc_node *n)
{
	return (struct placement_node){ .node_id = n->node_id,
		.state = n->is_removed ? PLACEMENT_SILENT : placement_state_from_string(n->state),
		.is_asleep = !strings_equal(n->power, "awake"),
		.is_maintained = n->is_maintained,
		.vcpus = n->vcpus,
		.memory_mib = n->memory_mib,
		.disk_gib = n->disk_gib,
		.vcpus_held = n->vcpus_held,
		.memory_mib_held = n->memory_mib_held,
		.disk_gib_held = n->disk_gib_held };
}

static int
read_members(
    struct store_tx *tx, const struct instance_spec *spec, placement_vec *nodes, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(
	    tx, Q_PLACEMENT_GROUP_MEMBERS, &rows, e, spec->placement->group_id, spec->instance_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0)
		VEC_FOREACH (nodes, n)
			if (strcmp(n->node_id, store_text(rows, 0)) == 0)
				placement_add_members(n, store_int(rows, 1), store_int(rows, 2));
	return r;
}

static int
read_nodes(struct store_tx *tx, const struct instance_spec *spec, struct arena *arena,
    placement_vec *ret, enum placement_policy *ret_policy, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL, *policy = NULL;
	int r = store_query(tx, Q_PLACEMENT_POLICY, &policy, e);

	if (r == 0 && (r = store_next(policy, e)) > 0)
		(void)placement_policy_from_string(store_text(policy, 0), ret_policy);
	if (r >= 0)
		r = store_query(tx, Q_NODES, &rows, e);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct cc_node n;

		cc_node_read(rows, arena, &n);
		vec_add(ret, placement_of(&n));
	}
	return r == 0 && spec->placement && spec->placement->group_id
		   ? read_members(tx, spec, ret, e)
		   : r;
}

/* A degraded node (its helper or libvirt was killed a moment ago) is taken when no other has room:
 * the clc has promised the launch, and the order waits there until the node is well. */
static struct placement_demand
demand_of(const struct instance_spec *spec, int64_t disk_gib)
{
	const struct placement_spec *p = spec->placement;
	struct placement_demand d = { .vcpus = spec->vcpus,
		.memory_mib = spec->memory_mib,
		.disk_gib = disk_gib,
		.count = 1,
		.takes_degraded = true };

	if (!p)
		return d;
	d.preferred = p->preferred_node_id;
	(void)placement_strategy_from_string(p->strategy, &d.strategy);
	d.partition = p->partition_number;
	return d;
}

/* The node that the clc reserved, if it can be had; else one by the same rules. *ret_why says why
 * there is none. */
static int
choose_node(struct store_tx *tx, const struct instance_spec *spec, int64_t disk_gib,
    struct arena *arena, const char **ret_id, const char **ret_why, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct placement_demand d = demand_of(spec, disk_gib);
	enum placement_policy policy = PLACEMENT_ROUND_ROBIN;
	struct placement_node *found;
	placement_vec nodes = { 0 };
	struct placement_why why;
	int r = read_nodes(tx, spec, arena, &nodes, &policy, e);

	*ret_id = *ret_why = NULL;
	found = placement_choose(nodes.items, nodes.count, &d, policy, &why);
	if (found) {
		*ret_id = found->node_id;
	} else {
		placement_why_format(&why, &text);
		*ret_why = arena_printf(
		    arena, "no node of this zone has room for it: %s", strbuf_c(&text));
	}
	vec_done(&nodes);
	return r < 0 ? r : 0;
}

/* Its disk holds room already. */
static bool
has_room_again(const struct cc_node *n, const struct instance_spec *spec)
{
	struct placement_node node = placement_of(n);
	struct placement_demand d = { .vcpus = spec->vcpus, .memory_mib = spec->memory_mib };

	return placement_check(&node, &d) == PLACEMENT_FITS;
}

/* A stopped instance starts where its disk is, if there is room again. *ret_why NULL: there is. */
static int
fits_again(struct store_tx *tx, const struct cc_instance *i, const struct instance_spec *spec,
    struct arena *arena, const char **ret_why, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct cc_node n;
	int r = store_query_one(tx, Q_NODE_BY_ID, &rows, "node", e, i->node_id);

	*ret_why = "the node that has its disk is no longer part of this zone";
	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	cc_node_read(rows, arena, &n);
	if (i->holds == HOLDS_ALL) { /* what it holds itself is not in its way */
		n.vcpus_held -= i->vcpus;
		n.memory_mib_held -= i->memory_mib;
	}
	if (n.is_removed)
		return 0;
	if (strcmp(n.state, "up") != 0)
		*ret_why = arena_printf(arena, "the node that has its disk is %s: %s", n.state,
		    n.reason ? n.reason : "no reason given");
	else if (n.is_maintained)
		*ret_why = "the node that has its disk is in maintenance";
	else
		*ret_why = has_room_again(&n, spec)
			       ? NULL
			       : "the node that has its disk has no room for it now";
	return 0;
}

/* -- accepting -- */

static const char *const wanted_order[] = { "running", "stopped", "terminated" };

static unsigned
rank_of(const char *wanted)
{
	for (unsigned i = 0; i < ARRAY_SIZE(wanted_order); i++)
		if (strcmp(wanted_order[i], wanted) == 0)
			return i;
	return 0;
}

struct acceptance {
	const struct instance_spec *spec;
	struct arena *arena;
	struct cc_instance *result;
};

/* Within a generation things only go forward: running, stopped, terminated. */
static bool
is_stale(const struct cc_instance *known, const struct instance_spec *spec)
{
	if ((int64_t)spec->generation != known->generation)
		return (int64_t)spec->generation < known->generation;
	return rank_of(spec->wanted) < rank_of(known->wanted) ||
	       (spec->has_reboot_serial && spec->reboot_serial < known->reboot_serial);
}

static int64_t
disk_of(const struct instance_spec *spec)
{
	int64_t gib = (int64_t)((spec->image->size_bytes + (1 << 30) - 1) >> 30);

	if (spec->has_root_disk_gib && spec->root_disk_gib > gib)
		gib = spec->root_disk_gib;
	if (!spec->ephemeral_disks.count)
		return gib + (spec->has_ephemeral_gib ? spec->ephemeral_gib : 0);
	for (size_t n = 0; n < spec->ephemeral_disks.count; n++)
		gib += spec->ephemeral_disks.items[n].size_gib;
	return gib;
}

static void
refuse(struct cc_instance *i, struct arena *arena, const char *where)
{
	i->state = "failed";
	i->reason_code = "Server.InsufficientInstanceCapacity";
	i->reason_message = arena_printf(arena, "Server.InsufficientInstanceCapacity: %s", where);
}

static int
place(struct store_tx *tx, struct acceptance *a, struct cc_instance *i, struct err *e)
{
	const struct instance_spec *spec = a->spec;
	const char *why = NULL;
	int r;

	if (i->node_id) {
		r = fits_again(tx, i, spec, a->arena, &why, e);
	} else {
		r = choose_node(tx, spec, i->disk_gib, a->arena, &i->node_id, &why, e);
	}
	if (r < 0)
		return r;
	i->state = "pending";
	i->reason_code = i->reason_message = i->step = NULL;
	i->boot_count = 0;
	i->holds = HOLDS_ALL;
	i->to_put = PUT_SPEC;
	if (why) {
		refuse(i, a->arena, why);
		i->holds = i->node_id ? HOLDS_DISK : HOLDS_NOTHING;
		i->to_put = PUT_NOTHING;
	}
	return 0;
}

/* This store does not know it, but the clc does, and on which node it was: so this store is older
 * than it, or new. Nothing is chosen or refused; its node is told again, and says how it is. */
static void
learn(struct cc_instance *i, const struct instance_spec *spec)
{
	i->node_id = spec->node_id;
	i->state = "pending";
	i->holds = strcmp(spec->wanted, "running") == 0 ? HOLDS_ALL : HOLDS_DISK;
	i->to_put = PUT_SPEC;
}

static int
write_instance(
    struct store_tx *tx, const struct cc_instance *i, const char *spec_text, struct err *e)
{
	int r = store_exec(tx, Q_INSTANCE_PUT, NULL, e, i->instance_id, i->account_id,
	    i->generation, i->wanted, i->reboot_serial, spec_text, i->vpc_id, i->node_id, i->vcpus,
	    i->memory_mib, i->disk_gib, i->holds, i->to_put, i->state, i->reason_code,
	    i->reason_message, i->since_us, i->placement_group_id, i->partition_number);

	return r < 0 ? r : outbox_add(tx, "instance", i->instance_id, i->account_id, i->state, e);
}

static void
take_spec(struct cc_instance *i, const struct instance_spec *spec)
{
	i->instance_id = spec->instance_id;
	i->account_id = spec->account_id;
	i->generation = (int64_t)spec->generation;
	i->vcpus = spec->vcpus;
	i->memory_mib = spec->memory_mib;
	if (spec->interfaces.count)
		i->vpc_id = spec->interfaces.items[0].vpc_id;
	if (strcmp(spec->wanted, "terminated") != 0) {
		i->placement_group_id = spec->placement ? spec->placement->group_id : NULL;
		i->partition_number = spec->placement ? spec->placement->partition_number : 0;
	}
	i->wanted = spec->wanted;
	i->reboot_serial = spec->has_reboot_serial ? spec->reboot_serial : 0;
	if (strcmp(spec->wanted, "terminated") != 0)
		i->disk_gib = disk_of(spec);
}

/* Whether nobody could carry out an order: it has no node, or one that is no longer of this zone.
 */
static int
is_without_node(struct store_tx *tx, const struct cc_instance *i, bool *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct cc_node n = { .is_removed = 1 };
	int r = i->node_id ? store_query(tx, Q_NODE_BY_ID, &rows, e, i->node_id) : 0;

	if (r == 0 && rows)
		r = store_next(rows, e);
	if (r > 0)
		cc_node_read(rows, arena, &n);
	*ret = n.is_removed;
	return r < 0 ? r : 0;
}

/* What has no node ends, or stops, by being said to. What is on a node that left ends; it only
 * can't stop, because it may run there still. */
static int
settle_without_node(struct store_tx *tx, struct cc_instance *i, struct err *e)
{
	bool is_alone;
	int r = is_without_node(tx, i, &is_alone, e);

	if (r < 0 || !is_alone || (i->node_id && strcmp(i->wanted, "terminated") != 0))
		return r;
	if (strcmp(i->wanted, "running") != 0)
		i->state = i->wanted;
	i->step = NULL;
	i->holds = HOLDS_NOTHING;
	i->to_put = PUT_NOTHING;
	i->since_us = store_now_us(tx);
	return 0;
}

static int
accept(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct acceptance *a = arg;
	const struct instance_spec *spec = a->spec;
	struct cc_instance *i = a->result, known = { 0 };
	bool is_new, is_later;
	int r = cc_instance_load(tx, spec->instance_id, a->arena, &known, e);

	if (r < 0 && r != ERR_NOT_FOUND)
		return r;
	is_new = r == ERR_NOT_FOUND;
	if (is_new)
		err_clear(e);
	else if (is_stale(&known, spec))
		return err_set(e, ERR_STALE, "instance '%s' is at generation %lld, wanted %s",
		    spec->instance_id, (long long)known.generation, known.wanted);
	is_later = is_new || (int64_t)spec->generation > known.generation;
	*i = known;
	if (known.to_put == PUT_FORGET &&
	    !is_later) /* said before its end was recorded, heard after it */
		return 0;
	if (is_later)
		i->since_us = store_now_us(tx);
	i->to_put = PUT_SPEC;
	if (is_new && spec->node_id && spec->node_id[0]) {
		take_spec(i, spec);
		learn(i, spec);
		r = settle_without_node(tx, i, e);
	} else if (is_new && strcmp(spec->wanted, "terminated") != 0) {
		take_spec(
		    i, spec); /* also when it is to be stopped already: it is kept somewhere */
		r = place(tx, a, i, e);
	} else if (is_later && strcmp(spec->wanted, "running") == 0) {
		r = place(tx, a, i, e);
		take_spec(i, spec);
	} else {
		take_spec(i, spec);
		r = settle_without_node(tx, i, e);
	}
	if (r < 0)
		return r;
	cc_text_of(&instance_spec_shape, spec, &text);
	return write_instance(tx, i, strbuf_c(&text), e);
}

int
cc_instance_move(struct store_tx *tx, const struct cc_instance *known, const char *why,
    struct arena *arena, struct err *e)
{
	struct cc_instance i = *known;
	struct instance_spec spec;
	struct acceptance a = { .spec = &spec, .arena = arena, .result = &i };
	int r = cc_instance_spec(&i, arena, &spec, e);

	if (r < 0)
		return r;
	i.since_us = store_now_us(tx);
	if (i.generation > 1 || spec.has_run) {
		refuse(&i, arena, arena_printf(arena, "%s, and has its disk", why));
		i.holds = HOLDS_DISK;
		i.to_put = PUT_NOTHING;
	} else {
		i.node_id = NULL;
		r = place(tx, &a, &i, e);
	}
	return r < 0 ? r : write_instance(tx, &i, i.spec, e);
}

int
cc_instance_accept(struct store *s, const struct instance_spec *spec, struct arena *arena,
    struct cc_instance *ret, struct err *e)
{
	struct acceptance a = { .spec = spec, .arena = arena, .result = ret };

	return store_write(s, accept, &a, e);
}

/* -- letting go -- */

struct forgetting {
	const char *id;
	struct arena *arena;
	const char *node_id;
};

static int
forget(struct store_tx *tx, void *arg, struct err *e)
{
	struct forgetting *f = arg;
	struct cc_instance i;
	bool is_over, is_alone;
	int r = cc_instance_load(tx, f->id, f->arena, &i, e);

	f->node_id = NULL;
	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	is_over = i.holds == HOLDS_NOTHING || strcmp(i.state, "failed") == 0;
	if (!is_over && strcmp(i.wanted, "terminated") != 0)
		return err_set(
		    e, ERR_CONFLICT, "instance '%s' is %s, wanted %s", f->id, i.state, i.wanted);
	r = is_without_node(tx, &i, &is_alone, e);
	if (r < 0)
		return r;
	if (is_alone)
		return store_exec(tx, Q_INSTANCE_DELETE, NULL, e, f->id);
	f->node_id = i.node_id;
	return store_exec(tx, Q_INSTANCE_FORGET, NULL, e, f->id);
}

int
cc_instance_forget(struct store *s, const char *instance_id, struct arena *arena,
    const char **ret_node_id, struct err *e)
{
	struct forgetting f = { .id = instance_id, .arena = arena };
	int r = store_write(s, forget, &f, e);

	*ret_node_id = f.node_id;
	return r;
}
