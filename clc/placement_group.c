/* Placement groups. A group is a name, a strategy and rules; its members are the instances that say
 * so. placement.c obeys the rules. */
#include "placement_group.h"

#include "base/vec.h"
#include "clc/ec2.api.h"

#include "filter.h"
#include "tags.h"

#define GROUPS_MAX                                                                                 \
	500 /* per account and region, as at Amazon, unless a quota row says otherwise             \
	     */
#define PARTITIONS_DEFAULT 2

static void
read_group(struct store_rows *rows, struct arena *arena, struct clc_placement_group *ret)
{
	*ret = (struct clc_placement_group){ .group_id = arena_strdup(arena, store_text(rows, 0)),
		.name = arena_strdup(arena, store_text(rows, 1)),
		.spread_level = arena_strdup(arena, store_text(rows, 3)),
		.partition_count = store_int(rows, 4) };
	(void)placement_strategy_from_string(store_text(rows, 2), &ret->strategy);
}

int
clc_placement_group_load(struct store_tx *tx, const char *group_id, struct arena *arena,
    struct clc_placement_group *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_PLACEMENT_GROUP_BY_ID, &rows, "placement group", e, group_id);

	if (r == 0)
		read_group(rows, arena, ret);
	return r;
}

static int
unknown(const char *name, struct err *e)
{
	return err_set(
	    e, ERR_PLACEMENT_GROUP_UNKNOWN, "The Placement Group '%.255s' is unknown.", name);
}

static int
check_group_id(const char *id, struct err *e)
{
	return id_is_valid(id, "pg") ? 0
				     : err_set(e, ERR_PLACEMENT_GROUP_ID_MALFORMED,
					   "Invalid placement group id: \"%.100s\"", id);
}

static int
load_named(struct store_tx *tx, struct request *rq, const char *name,
    struct clc_placement_group *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_PLACEMENT_GROUP_BY_NAME, &rows, "placement group", e,
	    rq->account_id, rq->clc->conf->region, name);

	if (r == 0)
		read_group(rows, rq->arena, ret);
	return r == ERR_NOT_FOUND ? unknown(name, e) : r;
}

static int
load_by_id(struct store_tx *tx, struct request *rq, const char *id, struct clc_placement_group *ret,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = check_group_id(id, e);

	if (r == 0)
		r = store_query_one(tx, Q_PLACEMENT_GROUP_BY_ID, &rows, "placement group", e, id);
	if (r == ERR_NOT_FOUND || (r == 0 && strcmp(store_text(rows, 5), rq->account_id) != 0))
		return unknown(id, e);
	if (r == 0)
		read_group(rows, rq->arena, ret);
	return r;
}

int
clc_placement_group_find(struct store_tx *tx, struct request *rq,
    const struct clc_placement_group_ref *ref, const struct clc_placement_group **ret,
    struct err *e)
{
	struct clc_placement_group *group = arena_alloc(rq->arena, sizeof(*group));
	bool is_named = ref->name && ref->name[0], has_id = ref->group_id && ref->group_id[0];
	int r;

	*ret = NULL;
	if (is_named && has_id)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "The parameters GroupName and GroupId cannot be used together");
	if (ref->partition_number && !is_named && !has_id)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "PartitionNumber needs a placement group of strategy 'partition'");
	if (!is_named && !has_id)
		return 0;
	r = is_named ? load_named(tx, rq, ref->name, group, e)
		     : load_by_id(tx, rq, ref->group_id, group, e);
	if (r < 0)
		return r;
	*ret = group;
	if (!ref->partition_number)
		return 0;
	if (group->strategy != PLACEMENT_PARTITION)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "PartitionNumber may be given only for a placement group of strategy "
		    "'partition'");
	if (*ref->partition_number < 1 || *ref->partition_number > group->partition_count)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%u) for parameter partitionNumber is invalid. The placement group '%s' "
		    "has partitions 1 to %lld",
		    *ref->partition_number, group->name, (long long)group->partition_count);
	return 0;
}

/* -- CreatePlacementGroup -- */

struct creation {
	struct request *rq;
	const struct create_placement_group_in *in;
	char id[ID_MAX];
	struct clc_placement_group group;
	const struct tag *tags;
	size_t tag_count;
};

static int
check_name(const char *name, struct err *e)
{
	bool is_good = true;

	for (const char *c = name; *c; c++)
		is_good = is_good && (unsigned char)*c >= 0x20 && (unsigned char)*c <= 0x7e;
	return is_good ? 0
		       : err_set(e, ERR_INVALID_PARAMETER_VALUE,
			     "Value (%.255s) for parameter groupName is invalid. It must be 1 to "
			     "255 ASCII characters",
			     name);
}

static int
check_creation(struct creation *c, struct err *e)
{
	const struct create_placement_group_in *in = c->in;
	int r = check_name(in->group_name, e);

	if (r < 0)
		return r;
	c->group.name = in->group_name;
	c->group.strategy = PLACEMENT_CLUSTER;
	(void)placement_strategy_from_string(in->strategy, &c->group.strategy);
	if (in->has_partition_count && c->group.strategy != PLACEMENT_PARTITION)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "PartitionCount may be given only for the strategy 'partition'");
	if (in->has_partition_count &&
	    (in->partition_count < 1 || in->partition_count > PLACEMENT_PARTITIONS_MAX))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%u) for parameter partitionCount is invalid. It must be 1 to %d",
		    in->partition_count, PLACEMENT_PARTITIONS_MAX);
	if (in->spread_level && c->group.strategy != PLACEMENT_SPREAD)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "SpreadLevel may be given only for the strategy 'spread'");
	if (c->group.strategy == PLACEMENT_PARTITION)
		c->group.partition_count =
		    in->has_partition_count ? in->partition_count : PARTITIONS_DEFAULT;
	if (c->group.strategy == PLACEMENT_SPREAD)
		c->group.spread_level = in->spread_level ? in->spread_level : "rack";
	return clc_tags_of(in->tag_specifications.items, in->tag_specifications.count,
	    "placement-group", &c->tags, &c->tag_count, e);
}

static int
check_limit(struct store_tx *tx, const struct request *rq, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *quota = NULL, *count = NULL;
	int64_t limit = GROUPS_MAX;
	int r = store_query(tx, Q_QUOTA, &quota, e, rq->account_id, "placement-groups");

	if (r == 0 && (r = store_next(quota, e)) > 0)
		limit = store_int(quota, 0);
	if (r >= 0)
		r = store_query_one(tx, Q_PLACEMENT_GROUP_COUNT, &count,
		    "count of placement groups", e, rq->account_id, rq->clc->conf->region);
	if (r == 0 && store_int(count, 0) >= limit)
		return err_set(e, ERR_PLACEMENT_GROUP_LIMIT_EXCEEDED,
		    "The account has %lld placement groups already", (long long)limit);
	return r;
}

static int
insert_group(struct store_tx *tx, void *arg, struct err *e)
{
	struct creation *c = arg;
	struct request *rq = c->rq;
	int64_t changed = 0;
	int r = check_limit(tx, rq, e);

	if (r == 0)
		r = store_exec(tx, Q_PLACEMENT_GROUP_INSERT, &changed, e, c->id, rq->account_id,
		    rq->clc->conf->region, c->group.name,
		    placement_strategy_to_string(c->group.strategy), c->group.spread_level,
		    c->group.partition_count, store_now_us(tx));
	if (r == 0 && !changed)
		return err_set(e, ERR_PLACEMENT_GROUP_DUPLICATE,
		    "The Placement Group '%s' already exists.", c->group.name);
	if (r == 0)
		r = clc_tags_insert(tx, rq->account_id, c->id, c->tags, c->tag_count, e);
	return r == 0 ? request_record(tx, rq, "placement_group", c->id, e) : r;
}

static void
describe(const struct clc_placement_group *g, struct request *rq, struct placement_group *out)
{
	*out = (struct placement_group){ .group_name = g->name,
		.group_id = g->group_id,
		.group_arn = arena_printf(rq->arena, "arn:aws:ec2:%s:%s:placement-group/%s",
		    rq->clc->conf->region, rq->account_id, g->name),
		.state = "available",
		.strategy = placement_strategy_to_string(g->strategy),
		.spread_level = g->spread_level,
		.has_partition_count = g->strategy == PLACEMENT_PARTITION,
		.partition_count = (uint32_t)g->partition_count };
}

int
ec2_handle_create_placement_group(struct request *rq, const struct create_placement_group_in *in,
    struct create_placement_group_out *out, struct err *e)
{
	struct creation c = { .rq = rq, .in = in };
	int r = check_creation(&c, e);

	if (r < 0)
		return r;
	id_new(c.id, "pg");
	r = store_write(rq->clc->store, insert_group, &c, e);
	if (r < 0)
		return r;
	c.group.group_id = arena_strdup(rq->arena, c.id);
	out->placement_group = arena_alloc(rq->arena, sizeof(*out->placement_group));
	describe(&c.group, rq, out->placement_group);
	out->placement_group->tags.items =
	    arena_memdup(rq->arena, c.tags, c.tag_count * sizeof(*c.tags));
	out->placement_group->tags.count = c.tag_count;
	return 0;
}

/* -- DeletePlacementGroup -- */

struct deletion {
	struct request *rq;
	const char *name;
};

static int
delete_group(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct deletion *d = arg;
	struct clc_placement_group group;
	int r = load_named(tx, d->rq, d->name, &group, e);

	if (r == 0)
		r = store_query(tx, Q_PLACEMENT_GROUP_IN_USE, &rows, e, group.group_id);
	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		return err_set(e, ERR_PLACEMENT_GROUP_IN_USE,
		    "The placement group '%s' is in use and may not be deleted.", group.name);
	if (r == 0)
		r = store_exec(tx, Q_PLACEMENT_GROUP_DELETE, NULL, e, group.group_id);
	if (r == 0)
		r = store_exec(tx, Q_TAGS_DELETE, NULL, e, group.group_id);
	return r == 0 ? request_record(tx, d->rq, "placement_group", group.group_id, e) : r;
}

int
ec2_handle_delete_placement_group(struct request *rq, const struct delete_placement_group_in *in,
    struct delete_placement_group_out *out, struct err *e)
{
	struct deletion d = { .rq = rq, .name = in->group_name };
	int r = store_write(rq->clc->store, delete_group, &d, e);

	out->has_result = out->result = r == 0;
	return r;
}

/* -- DescribePlacementGroups -- */

struct listing {
	struct request *rq;
	const struct describe_placement_groups_in *in;
	VEC(struct placement_group) groups;
	bool *has_name, *has_id; /* of those asked for */
};

/* Marks it where it is named; whether it is, or nothing is named. */
static bool
mark(const char *const *items, size_t count, bool *marks, const char *text)
{
	bool found = count == 0;

	for (size_t i = 0; i < count; i++)
		if (strcmp(items[i], text) == 0)
			found = marks[i] = true;
	return found;
}

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	struct request *rq = l->rq;
	int r =
	    store_query(tx, Q_PLACEMENT_GROUPS, &rows, e, rq->account_id, rq->clc->conf->region);

	l->groups.count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_placement_group group;
		struct placement_group out;
		struct tag_list tags;

		read_group(rows, rq->arena, &group);
		describe(&group, rq, &out);
		if (!mark(l->in->group_names.items, l->in->group_names.count, l->has_name,
			group.name) ||
		    !mark(
			l->in->group_ids.items, l->in->group_ids.count, l->has_id, group.group_id))
			continue;
		r = clc_tags_read(tx, group.group_id, rq->arena, &tags, e);
		if (r < 0)
			return r;
		out.tags.items = tags.items;
		out.tags.count = tags.count;
		if (filters_match(rq->operation, l->in->filters.items, l->in->filters.count, &out))
			vec_add(&l->groups, out);
	}
	return r;
}

static int
check_found(const struct listing *l, struct err *e)
{
	for (size_t i = 0; i < l->in->group_names.count; i++)
		if (!l->has_name[i])
			return unknown(l->in->group_names.items[i], e);
	for (size_t i = 0; i < l->in->group_ids.count; i++)
		if (!l->has_id[i])
			return unknown(l->in->group_ids.items[i], e);
	return 0;
}

int
ec2_handle_describe_placement_groups(struct request *rq,
    const struct describe_placement_groups_in *in, struct describe_placement_groups_out *out,
    struct err *e)
{
	struct listing l = { .rq = rq,
		.in = in,
		.has_name = arena_alloc(rq->arena, in->group_names.count + 1),
		.has_id = arena_alloc(rq->arena, in->group_ids.count + 1) };
	int r = 0;

	for (size_t i = 0; r == 0 && i < in->group_ids.count; i++)
		r = check_group_id(in->group_ids.items[i], e);
	if (r == 0)
		r = store_read(rq->clc->store, read_listing, &l, e);
	if (r == 0)
		r = check_found(&l, e);
	if (r == 0) {
		out->placement_groups.count = l.groups.count;
		out->placement_groups.items = arena_memdup(
		    rq->arena, l.groups.items, l.groups.count * sizeof(*l.groups.items));
	}
	vec_done(&l.groups);
	return r;
}
