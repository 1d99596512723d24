/* DescribeRegions, DescribeAvailabilityZones, GetCallerIdentity: what is there is data. */
#include "base/vec.h"
#include "clc/ec2.api.h"
#include "clc/sts.api.h"
#include "net/url.h"

#include "filter.h"
#include "named.h"
#include "request.h"
#include "zone_name.h"

int
ec2_handle_describe_regions(struct request *rq, const struct describe_regions_in *in,
    struct describe_regions_out *out, struct err *e)
{
	const struct clc_conf *conf = rq->clc->conf;
	struct region_info *region = arena_alloc(rq->arena, sizeof(*region));
	struct url url;
	int r = 0;

	for (size_t n = 0; r == 0 && n < in->region_names.count; n++)
		if (strcmp(in->region_names.items[n], conf->region) != 0)
			r = err_set(e, ERR_INVALID_PARAMETER_VALUE, "Invalid region name: '%.100s'",
			    in->region_names.items[n]);
	if (r == 0)
		r = url_parse(conf->ec2_url, &url, e);
	if (r < 0)
		return r;
	region->region_name = conf->region;
	region->region_endpoint = arena_printf(rq->arena, "%s:%u", url.host, url.port);
	region->opt_in_status = "opt-in-not-required";
	out->regions.items = region;
	out->regions.count =
	    filters_match(rq->operation, in->filters.items, in->filters.count, region);
	return 0;
}

struct listing {
	struct request *rq;
	const struct describe_availability_zones_in *in;
	VEC(struct availability_zone) zones;
	struct named names, ids;
};

/* A zone is available when one of its nodes is up; else it says why not. */
static int
describe_state(struct store_tx *tx, const char *zone, struct arena *arena,
    struct availability_zone *out, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_ZONE_NODES_UP, &rows, "nodes of the zone", e, zone);

	if (r < 0)
		return r;
	out->zone_state = store_int(rows, 0) > 0 ? "available" : "unavailable";
	if (store_int(rows, 0) == 0) {
		out->messages.items = arena_alloc(arena, sizeof(*out->messages.items));
		out->messages.items[0].message = "no node of this zone is up";
		out->messages.count = 1;
	}
	return 0;
}

static int
describe_zone(struct store_tx *tx, struct request *rq, const struct clc_zone_name *name,
    struct availability_zone *out, struct err *e)
{
	const char *region = rq->clc->conf->region;

	*out = (struct availability_zone){ .zone_name = name->shown,
		.zone_id = name->zone_id,
		.region_name = region,
		.group_name = region,
		.network_border_group = region,
		.opt_in_status = "opt-in-not-required",
		.zone_type = "availability-zone" };
	return describe_state(tx, name->zone, rq->arena, out, e);
}

/* In the order of the zones, whatever they are called. */
static int
read_zones(struct store_tx *tx, void *arg, struct err *e)
{
	struct listing *l = arg;
	const struct clc_zone_names *known;
	int r = clc_zone_names(tx, l->rq, &known, e);

	l->zones.count = 0;
	named_init(&l->names, l->in->zone_names.items, l->in->zone_names.count, l->rq->arena);
	named_init(&l->ids, l->in->zone_ids.items, l->in->zone_ids.count, l->rq->arena);
	for (size_t i = 0; r == 0 && i < known->count; i++) {
		const struct clc_zone_name *name = &known->items[i];
		bool is_named = named_sees(&l->names, name->shown);
		struct availability_zone z;

		is_named &= named_sees(&l->ids, name->zone_id);
		r = describe_zone(tx, l->rq, name, &z, e);
		if (r == 0 && is_named &&
		    filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &z))
			vec_add(&l->zones, z);
	}
	return r;
}

static int
check_named(const struct listing *l, struct err *e)
{
	const char *name = named_missing(&l->names), *id = named_missing(&l->ids);

	if (name)
		return err_set(e, ERR_ZONE_NOT_FOUND, "Invalid availability zone: [%.100s]", name);
	if (id)
		return err_set(e, ERR_ZONE_NOT_FOUND, "Invalid availability zone-id: [%.100s]", id);
	return 0;
}

int
ec2_handle_describe_availability_zones(struct request *rq,
    const struct describe_availability_zones_in *in, struct describe_availability_zones_out *out,
    struct err *e)
{
	struct listing l = { .rq = rq, .in = in };
	int r = store_read(rq->clc->store, read_zones, &l, e);

	if (r == 0)
		r = check_named(&l, e);
	if (r == 0) {
		out->zones.count = l.zones.count;
		out->zones.items =
		    arena_memdup(rq->arena, l.zones.items, l.zones.count * sizeof(*l.zones.items));
	}
	vec_done(&l.zones);
	return r;
}

int
sts_handle_get_caller_identity(struct request *rq, const struct get_caller_identity_in *in,
    struct get_caller_identity_out *out, struct err *e)
{
	out->account = rq->account_id;
	out->user_id = rq->user_id;
	out->arn =
	    arena_printf(rq->arena, "arn:aws:iam::%s:user/%s", rq->account_id, rq->user_name);
	return 0;
}
