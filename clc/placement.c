/* Room for instances, node by node. The nodes of a zone are read with what is held on each, the one
 * function of rpc/placement.h chooses, and what it chose is held before it is asked again: so a
 * launch is accepted if, and only if, each of its instances has a node with room for all of it. */
#include "placement.h"

#include "base/vec.h"

#include "instance_type.h"
#include "placement_group.h"
#include "zone_name.h"

struct seats {
	VEC(struct placement_node) nodes;
	enum placement_policy policy;
	int64_t running; /* members of the group in this zone */
	const char *other_zone;
};

static void
seats_done(struct seats *s)
{
	vec_done(&s->nodes);
}

static struct placement_node *
find_node(struct seats *s, const char *node_id)
{
	VEC_FOREACH (&s->nodes, n)
		if (strings_equal(n->node_id, node_id))
			return n;
	return NULL;
}

static int
read_nodes(
    struct store_tx *tx, const char *zone, struct arena *arena, struct seats *s, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_ZONE_NODES, &rows, e, zone);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct placement_node n = { .node_id = arena_strdup(arena, store_text(rows, 0)),
			.state = placement_state_from_string(store_text(rows, 1)),
			.is_asleep = !strings_equal(store_text(rows, 2), "awake"),
			.is_maintained = store_int(rows, 3),
			.vcpus = store_int(rows, 4),
			.memory_mib = store_int(rows, 5),
			.disk_gib = store_int(rows, 6) };

		vec_add(&s->nodes, n);
	}
	return r;
}

static int
read_held(struct store_tx *tx, const char *zone, struct seats *s, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_ZONE_HELD, &rows, e, zone);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct placement_node *n = find_node(s, store_text(rows, 0));

		if (!n)
			continue;
		n->vcpus_held = store_int(rows, 1);
		n->memory_mib_held = store_int(rows, 2);
		n->disk_gib_held = store_int(rows, 3);
	}
	return r;
}

static int
read_members(struct store_tx *tx, const char *zone, const char *group_id, const char *but,
    struct arena *arena, struct seats *s, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_PLACEMENT_GROUP_MEMBERS, &rows, e, group_id, but ? but : "");

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct placement_node *n = find_node(s, store_text(rows, 1));
		int64_t partition = store_int(rows, 2), count = store_int(rows, 3);

		if (strcmp(store_text(rows, 0), zone) != 0) {
			s->other_zone = arena_strdup(arena, store_text(rows, 0));
			continue;
		}
		s->running += store_int(rows, 4);
		if (n)
			placement_add_members(n, partition, count);
	}
	return r;
}

static int
read_seats(struct store_tx *tx, const struct clc_seating *wanted, struct arena *arena,
    struct seats *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_ZONE_POLICY, &rows, "zone", e, wanted->zone);

	if (r == 0)
		(void)placement_policy_from_string(store_text(rows, 0), &ret->policy);
	if (r == 0)
		r = read_nodes(tx, wanted->zone, arena, ret, e);
	if (r == 0)
		r = read_held(tx, wanted->zone, ret, e);
	if (r == 0 && wanted->group)
		r = read_members(
		    tx, wanted->zone, wanted->group->group_id, wanted->instance_id, arena, ret, e);
	return r;
}

/* -- refusing -- */

static int
refuse(const struct clc_seating *s, uint32_t found, const char *why, struct err *e)
{
	_cleanup_free_ char *some = found ? xasprintf("there is room for %u, then ", found) : NULL;

	return err_set(e, ERR_INSUFFICIENT_INSTANCE_CAPACITY,
	    "We currently do not have sufficient %s capacity in the Availability Zone you "
	    "requested (%s): %s%s. You can retry later, or choose another zone or type.",
	    s->instance_type, s->shown_zone ? s->shown_zone : s->zone, some ? some : "", why);
}

static int
refuse_nodes(
    const struct clc_seating *s, uint32_t found, const struct placement_why *why, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	placement_why_format(why, &text);
	return refuse(s, found, strbuf_c(&text), e);
}

static int
refuse_spread(const struct clc_seating *s, uint32_t found, struct err *e)
{
	_cleanup_free_ char *why = xasprintf(
	    "the spread placement group '%s' has %d running instances there, the most it may have",
	    s->group->name, SPREAD_MAX);

	return refuse(s, found, why, e);
}

static int
refuse_other_zone(const struct clc_placement_group *group, const char *zone, struct err *e)
{
	return err_set(e, ERR_PLACEMENT_GROUP_IN_USE,
	    "The placement group '%s' is in use in another availability zone: %s", group->name,
	    zone);
}

/* -- seating -- */

static struct placement_demand
demand_of(const struct clc_seating *s)
{
	return (struct placement_demand){ .vcpus = s->vcpus,
		.memory_mib = s->memory_mib,
		.disk_gib = s->disk_gib,
		.strategy = s->group ? s->group->strategy : PLACEMENT_ALONE,
		.partition = (uint32_t)s->partition_number };
}

/* One more; NULL and why not. Sets the partition of the demand. */
static struct placement_node *
seat_one(struct seats *seats, const struct clc_seating *s, struct placement_demand *d,
    struct placement_why *ret_why)
{
	struct placement_node *n;

	if (d->strategy == PLACEMENT_PARTITION && !s->partition_number)
		d->partition = placement_choose_partition(seats->nodes.items, seats->nodes.count, d,
		    (uint32_t)s->group->partition_count, seats->policy, &n, ret_why);
	else
		n = placement_choose(
		    seats->nodes.items, seats->nodes.count, d, seats->policy, ret_why);
	if (n)
		placement_hold(n, d);
	return n;
}

int
clc_placement_seat(struct store_tx *tx, struct clc_seating *s, uint32_t min, uint32_t max,
    struct arena *arena, struct err *e)
{
	_cleanup_(seats_done) struct seats seats = { 0 };
	struct placement_demand d = demand_of(s);
	struct placement_why why = { 0 };
	bool is_spread = d.strategy == PLACEMENT_SPREAD, is_too_many = false;
	int r = read_seats(tx, s, arena, &seats, e);

	s->count = 0;
	s->seats = arena_alloc(arena, (max + 1) * sizeof(*s->seats));
	if (r < 0)
		return r;
	if (d.strategy == PLACEMENT_CLUSTER && seats.other_zone)
		return refuse_other_zone(s->group, seats.other_zone, e);
	while (s->count < max) {
		struct placement_node *n;

		is_too_many = is_spread && seats.running + s->count >= SPREAD_MAX;
		if (is_too_many)
			break;
		d.count = max - s->count;
		n = seat_one(&seats, s, &d, &why);
		if (!n)
			break;
		s->seats[s->count++] = (struct clc_seat){ n->node_id, d.partition };
	}
	if (s->count >= min)
		return 0;
	return is_too_many ? refuse_spread(s, s->count, e) : refuse_nodes(s, s->count, &why, e);
}

int
clc_placement_choose_zone(struct store_tx *tx, struct clc_seating *s, uint32_t max,
    struct arena *arena, const char **ret_zone, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int64_t best_count = -1, best_room = -1;
	int r = store_query(tx, Q_ZONES, &rows, e);

	*ret_zone = NULL;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		_cleanup_(seats_done) struct seats seats = { 0 };
		struct placement_demand d = demand_of(s);
		struct err in_use = { 0 };
		int64_t room;

		s->zone = arena_strdup(arena, store_text(rows, 0));
		s->count = 0;
		r = s->group ? clc_placement_seat(tx, s, 0, max, arena, &in_use) : 0;
		if (r < 0 && r != ERR_PLACEMENT_GROUP_IN_USE) {
			*e = in_use;
			return r;
		}
		r = read_seats(tx, s, arena, &seats, e);
		if (r < 0)
			return r;
		d.strategy = PLACEMENT_ALONE;
		room = placement_room(seats.nodes.items, seats.nodes.count, &d);
		if (s->count > best_count || (s->count == best_count && room > best_room)) {
			best_count = s->count;
			best_room = room;
			*ret_zone = s->zone;
		}
	}
	if (r == 0 && !*ret_zone)
		return err_set(
		    e, ERR_INSUFFICIENT_INSTANCE_CAPACITY, "this cloud has no availability zone");
	return r;
}

/* -- starting again -- */

static const char *
why_not_again(const struct placement_node *n, enum placement_refusal refusal, struct arena *arena)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct placement_why why = { 0 };

	if (!n)
		return "the node that has its disk is no longer part of this zone";
	why.counts[refusal] = 1;
	placement_why_format(&why, &text);
	return arena_printf(
	    arena, "the node that has its disk%s", strbuf_c(&text) + strlen("1 node"));
}

/* What its disk holds already is not asked for again. */
static int
check_its_node(struct store_tx *tx, const struct clc_instance *i, struct clc_seating *s,
    struct arena *arena, struct err *e)
{
	_cleanup_(seats_done) struct seats seats = { 0 };
	struct placement_demand d;
	enum placement_refusal refusal = PLACEMENT_IS_SILENT;
	struct placement_node *n;
	int r = read_seats(tx, s, arena, &seats, e);

	if (r < 0)
		return r;
	d = demand_of(s);
	n = find_node(&seats, i->node_id ? i->node_id : i->preferred_node_id);
	if (n)
		refusal = placement_check(n, &d);
	if (d.strategy == PLACEMENT_SPREAD && seats.running >= SPREAD_MAX)
		return refuse_spread(s, 0, e);
	return refusal == PLACEMENT_FITS ? 0 : refuse(s, 0, why_not_again(n, refusal, arena), e);
}

int
clc_placement_start(struct store_tx *tx, struct request *rq, struct clc_instance *i, struct err *e)
{
	struct arena *arena = rq->arena;
	struct clc_placement_group group;
	struct clc_seating s = { .zone = i->zone,
		.instance_type = i->instance_type,
		.vcpus = i->vcpus,
		.memory_mib = i->memory_mib,
		.partition_number = i->partition_number,
		.instance_id = i->instance_id };
	int r = clc_zone_name_show(tx, rq, i->zone, &s.shown_zone, e);

	if (r == 0 && i->placement_group_id) {
		r = clc_placement_group_load(tx, i->placement_group_id, arena, &group, e);
		s.group = &group;
	}
	if (r == 0 && i->node_id)
		return check_its_node(tx, i, &s, arena, e);
	/* It was stopped before it got a node; what its disk holds is on the node that was
	 * reserved. */
	if (r == 0)
		r = store_exec(tx, Q_INSTANCE_SET_PREFERRED_NODE, NULL, e, i->instance_id, NULL);
	s.disk_gib = i->root_disk_gib + i->ephemeral_gib;
	if (r == 0)
		r = clc_placement_seat(tx, &s, 1, 1, arena, e);
	if (r < 0)
		return r;
	i->preferred_node_id = s.seats[0].node_id;
	return store_exec(
	    tx, Q_INSTANCE_SET_PREFERRED_NODE, NULL, e, i->instance_id, i->preferred_node_id);
}

int
clc_placement_grow(struct store_tx *tx, struct request *rq, const struct clc_instance *i,
    int64_t more_gib, struct err *e)
{
	struct clc_seating s = { .zone = i->zone,
		.instance_type = i->instance_type,
		.disk_gib = more_gib,
		.instance_id = i->instance_id };
	int r = clc_zone_name_show(tx, rq, i->zone, &s.shown_zone, e);

	return r < 0 ? r : check_its_node(tx, i, &s, rq->arena, e);
}

/* -- joining a group -- */

/* The partition that its node belongs to, else the one with the fewest members. */
static uint32_t
pick_partition(const struct seats *seats, const struct placement_node *node, int64_t count)
{
	uint32_t members[PLACEMENT_PARTITIONS_MAX + 1] = { 0 }, fewest = 1;

	for (uint32_t p = 1; node && p <= count; p++)
		if (node->partition_members[p])
			return p;
	VEC_FOREACH (&seats->nodes, n)
		for (uint32_t p = 1; p <= PLACEMENT_PARTITIONS_MAX; p++)
			members[p] += n->partition_members[p];
	for (uint32_t p = 1; p <= count; p++)
		if (members[p] < members[fewest])
			fewest = p;
	return fewest;
}

int
clc_placement_join(struct store_tx *tx, const struct clc_instance *i,
    const struct clc_placement_group *group, int64_t *partition_number, struct arena *arena,
    struct err *e)
{
	_cleanup_(seats_done) struct seats seats = { 0 };
	struct clc_seating s = { .zone = i->zone,
		.instance_type = i->instance_type,
		.group = group,
		.instance_id = i->instance_id };
	enum placement_refusal refusal;
	struct placement_demand d;
	struct placement_node *n, rules = { .state = PLACEMENT_UP };
	int r = read_seats(tx, &s, arena, &seats, e);

	if (r < 0)
		return r;
	if (group->strategy == PLACEMENT_CLUSTER && seats.other_zone)
		return refuse_other_zone(group, seats.other_zone, e);
	n = find_node(&seats, i->preferred_node_id);
	if (group->strategy == PLACEMENT_PARTITION && !*partition_number)
		*partition_number = pick_partition(&seats, n, group->partition_count);
	if (!n)
		return 0; /* it has no node yet, and gets one by the rules when it starts */
	/* Only the rules of the group: whether there is room is asked when it starts. */
	rules.members = n->members;
	memcpy(rules.partition_members, n->partition_members, sizeof(rules.partition_members));
	s.partition_number = *partition_number;
	d = demand_of(&s);
	refusal = placement_check(&rules, &d);
	return refusal == PLACEMENT_FITS ? 0 : refuse(&s, 0, why_not_again(n, refusal, arena), e);
}

/* -- the operator's question -- */

#define CAPACITY_MAX 1000000

int
clc_placement_capacity(struct store_tx *tx, const char *instance_type, const char *zone,
    struct arena *arena, int64_t *ret_count, struct err *ret_sentence, struct err *e)
{
	_cleanup_(seats_done) struct seats seats = { 0 };
	struct clc_instance_type type;
	struct clc_seating s = { .zone = zone, .instance_type = instance_type };
	struct placement_demand d;
	struct placement_why why;
	struct placement_node *n;
	int r = clc_instance_type_get(tx, instance_type, arena, &type, e);

	if (r < 0)
		return r;
	s.vcpus = type.vcpus;
	s.memory_mib = type.memory_mib;
	s.disk_gib = type.root_disk_gib + type.ephemeral_gib;
	r = read_seats(tx, &s, arena, &seats, e);
	if (r < 0)
		return r;
	d = demand_of(&s);
	for (*ret_count = 0; *ret_count < CAPACITY_MAX; ++*ret_count) {
		n = placement_choose(seats.nodes.items, seats.nodes.count, &d, seats.policy, &why);
		if (!n)
			break;
		placement_hold(n, &d);
	}
	refuse_nodes(&s, 0, &why, ret_sentence);
	return 0;
}

/* -- what the zone is told -- */

int
clc_placement_spec(struct store_tx *tx, const struct clc_instance *i, struct arena *arena,
    struct placement_spec **ret, struct err *e)
{
	struct placement_spec *p = arena_alloc(arena, sizeof(*p));
	struct clc_placement_group group;
	int r;

	*p = (struct placement_spec){ .preferred_node_id = i->preferred_node_id };
	*ret = p;
	if (!i->placement_group_id)
		return 0;
	r = clc_placement_group_load(tx, i->placement_group_id, arena, &group, e);
	if (r < 0)
		return r;
	p->group_id = group.group_id;
	p->group_name = group.name;
	p->strategy = placement_strategy_to_string(group.strategy);
	p->partition_number = (uint32_t)i->partition_number;
	p->partition_count = (uint32_t)group.partition_count;
	return 0;
}
