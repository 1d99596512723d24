/* DescribeVpcs, DescribeSubnets, DescribeSecurityGroups: the network as it is. */
#include "base/vec.h"
#include "clc/ec2.api.h"

#include "filter.h"
#include "named.h"
#include "page.h"
#include "request.h"
#include "tags.h"
#include "vpc.h"
#include "zone_name.h"

/* -- VPCs -- */

struct vpc_listing {
	struct request *rq;
	const struct describe_vpcs_in *in;
	VEC(struct vpc) found;
	struct named ids;
};

static int
describe_vpc(struct store_tx *tx, struct store_rows *rows, struct arena *arena, struct vpc *out,
    struct err *e)
{
	struct cidr_block_association *a = arena_alloc(arena, sizeof(*a));
	struct tag_list tags;
	int r;

	*out = (struct vpc){ .vpc_id = arena_strdup(arena, store_text(rows, 0)),
		.owner_id = arena_strdup(arena, store_text(rows, 1)),
		.cidr_block = arena_strdup(arena, store_text(rows, 3)),
		.has_is_default = true,
		.is_default = store_int(rows, 6),
		.dhcp_options_id = arena_strdup(arena, store_text(rows, 7)),
		.state = "available",
		.instance_tenancy = "default" };
	a->association_id = arena_strdup(arena, store_text(rows, 8));
	a->cidr_block = out->cidr_block;
	a->state = arena_alloc(arena, sizeof(*a->state));
	a->state->state = "associated";
	out->cidr_block_associations.items = a;
	out->cidr_block_associations.count = 1;
	r = clc_tags_read(tx, out->vpc_id, arena, &tags, e);
	out->tags.items = tags.items;
	out->tags.count = tags.count;
	return r;
}

static int
read_vpcs(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct vpc_listing *l = arg;
	int r = store_query(
	    tx, Q_VPCS_OF_ACCOUNT, &rows, e, l->rq->account_id, l->rq->clc->conf->region);

	l->found.count = 0;
	named_init(&l->ids, l->in->vpc_ids.items, l->in->vpc_ids.count, l->rq->arena);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct vpc v;

		r = describe_vpc(tx, rows, l->rq->arena, &v, e);
		if (r == 0 && named_sees(&l->ids, v.vpc_id) &&
		    filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &v))
			vec_add(&l->found, v);
	}
	return r;
}

int
ec2_handle_describe_vpcs(struct request *rq, const struct describe_vpcs_in *in,
    struct describe_vpcs_out *out, struct err *e)
{
	struct vpc_listing l = { .rq = rq, .in = in };
	struct page page;
	int r = page_begin(&page, in->next_token, in->has_max_results ? in->max_results : 0,
	    in->vpc_ids.count && in->has_max_results, "vpcSet", e);
	if (r == 0)
		r = store_read(rq->clc->store, read_vpcs, &l, e);
	if (r == 0 && named_missing(&l.ids))
		r = err_set(e, ERR_VPC_NOT_FOUND, "The vpc ID '%.100s' does not exist",
		    named_missing(&l.ids));
	if (r == 0) {
		page_cut(&page, l.found.count);
		out->vpcs.count = page.count;
		out->vpcs.items = arena_memdup(
		    rq->arena, l.found.items + page.first, page.count * sizeof(*l.found.items));
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&l.found);
	return r;
}

/* -- subnets -- */

struct subnet_listing {
	struct request *rq;
	const struct describe_subnets_in *in;
	VEC(struct subnet) found;
	struct named ids;
};

static int
describe_subnet(struct store_tx *tx, struct store_rows *rows, struct request *rq,
    struct subnet *out, struct err *e)
{
	struct arena *arena = rq->arena;
	struct private_dns_name_options *dns;
	struct tag_list tags;
	int64_t network;
	unsigned prefix;
	int r;

	*out = (struct subnet){ .subnet_id = arena_strdup(arena, store_text(rows, 0)),
		.vpc_id = arena_strdup(arena, store_text(rows, 1)),
		.availability_zone = arena_strdup(arena, store_text(rows, 2)),
		.cidr_block = arena_strdup(arena, store_text(rows, 3)),
		.has_map_public_ip_on_launch = true,
		.map_public_ip_on_launch = store_int(rows, 4),
		.owner_id = arena_strdup(arena, store_text(rows, 5)),
		.has_default_for_az = true,
		.default_for_az = store_int(rows, 6),
		.availability_zone_id = arena_strdup(arena, store_text(rows, 7)),
		.has_available_addresses = true,
		.has_assign_ipv6_address_on_creation = true,
		.state = "available" };
	out->has_map_customer_owned_ip_on_launch = out->has_ipv6_native = true;
	out->has_enable_dns64 = true;
	out->private_dns_name_options = dns = arena_alloc(arena, sizeof(*dns));
	*dns = (struct private_dns_name_options){ .hostname_type = "ip-name",
		.has_enable_resource_name_dns_a_record = true,
		.has_enable_resource_name_dns_aaaa_record = true };
	if (cidr_parse(out->cidr_block, &network, &prefix))
		out->available_addresses =
		    (uint32_t)((1LL << (32 - prefix)) - 5 - store_int(rows, 8));
	out->subnet_arn = arena_printf(arena, "arn:aws:ec2:%s:%s:subnet/%s", rq->clc->conf->region,
	    out->owner_id, out->subnet_id);
	r = clc_zone_name_show(tx, rq, out->availability_zone, &out->availability_zone, e);
	if (r < 0)
		return r;
	r = clc_tags_read(tx, out->subnet_id, arena, &tags, e);
	out->tags.items = tags.items;
	out->tags.count = tags.count;
	return r;
}

static int
read_subnets(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct subnet_listing *l = arg;
	int r = store_query(
	    tx, Q_SUBNETS_OF_ACCOUNT, &rows, e, l->rq->account_id, l->rq->clc->conf->region);

	l->found.count = 0;
	named_init(&l->ids, l->in->subnet_ids.items, l->in->subnet_ids.count, l->rq->arena);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct subnet s;

		r = describe_subnet(tx, rows, l->rq, &s, e);
		if (r == 0 && named_sees(&l->ids, s.subnet_id) &&
		    filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &s))
			vec_add(&l->found, s);
	}
	return r;
}

int
ec2_handle_describe_subnets(struct request *rq, const struct describe_subnets_in *in,
    struct describe_subnets_out *out, struct err *e)
{
	struct subnet_listing l = { .rq = rq, .in = in };
	struct page page;
	int r = page_begin(&page, in->next_token, in->has_max_results ? in->max_results : 0,
	    in->subnet_ids.count && in->has_max_results, "subnetSet", e);
	if (r == 0)
		r = store_read(rq->clc->store, read_subnets, &l, e);
	if (r == 0 && named_missing(&l.ids))
		r = err_set(e, ERR_SUBNET_NOT_FOUND, "The subnet ID '%.100s' does not exist",
		    named_missing(&l.ids));
	if (r == 0) {
		page_cut(&page, l.found.count);
		out->subnets.count = page.count;
		out->subnets.items = arena_memdup(
		    rq->arena, l.found.items + page.first, page.count * sizeof(*l.found.items));
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&l.found);
	return r;
}

/* -- security groups -- */

typedef VEC(struct ip_permission) permission_vec;

struct group_listing {
	struct request *rq;
	const struct describe_security_groups_in *in;
	VEC(struct security_group_info) found;
	struct named ids, names;
};

/* Rules of the same protocol and ports are one permission with several ranges and groups. */
static struct ip_permission *
permission_for(
    permission_vec *all, const char *protocol, int32_t from, int32_t to, struct arena *arena)
{
	struct ip_permission p = { .ip_protocol = arena_strdup(arena, protocol) };

	if (strcmp(protocol, "-1") != 0) { /* all protocols have no ports */
		p.has_from_port = p.has_to_port = true;
		p.from_port = from;
		p.to_port = to;
	}

	VEC_FOREACH (all, known)
		if (strcmp(known->ip_protocol, protocol) == 0 && known->from_port == p.from_port &&
		    known->to_port == p.to_port)
			return known;
	vec_add(all, p);
	return &all->items[all->count - 1];
}

static void
add_source(struct ip_permission *p, const char *cidr, const char *group_id, const char *group_name,
    const char *account_id, struct arena *arena)
{
	if (cidr) {
		struct ip_range *more =
		    arena_alloc(arena, (p->ip_ranges.count + 1) * sizeof(*more));

		if (p->ip_ranges.count)
			memcpy(more, p->ip_ranges.items, p->ip_ranges.count * sizeof(*more));
		more[p->ip_ranges.count++].cidr_ip = arena_strdup(arena, cidr);
		p->ip_ranges.items = more;
	} else {
		struct user_group_pair *more =
		    arena_alloc(arena, (p->groups.count + 1) * sizeof(*more));

		if (p->groups.count)
			memcpy(more, p->groups.items, p->groups.count * sizeof(*more));
		more[p->groups.count++] = (struct user_group_pair){ account_id,
			arena_strdup(arena, group_id), arena_strdup(arena, group_name) };
		p->groups.items = more;
	}
}

static int
read_permissions(
    struct store_tx *tx, struct security_group_info *g, struct arena *arena, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	permission_vec in = { 0 }, out = { 0 };
	int r = store_query(tx, Q_GROUP_RULES, &rows, e, g->group_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0)
		add_source(permission_for(store_int(rows, 0) ? &out : &in, store_text(rows, 1),
			       (int32_t)store_int(rows, 2), (int32_t)store_int(rows, 3), arena),
		    store_text(rows, 4), store_text(rows, 5), store_text(rows, 6), g->owner_id,
		    arena);
	g->ip_permissions.count = in.count;
	g->ip_permissions.items = arena_memdup(arena, in.items, in.count * sizeof(*in.items));
	g->ip_permissions_egress.count = out.count;
	g->ip_permissions_egress.items =
	    arena_memdup(arena, out.items, out.count * sizeof(*out.items));
	vec_done(&in);
	vec_done(&out);
	return r;
}

static int
read_groups(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct group_listing *l = arg;
	struct arena *arena = l->rq->arena;
	int r = store_query(tx, Q_SECURITY_GROUPS_OF_ACCOUNT, &rows, e, l->rq->account_id,
	    l->rq->clc->conf->region);

	l->found.count = 0;
	named_init(&l->ids, l->in->group_ids.items, l->in->group_ids.count, arena);
	named_init(&l->names, l->in->group_names.items, l->in->group_names.count, arena);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct security_group_info g = { .group_id =
						     arena_strdup(arena, store_text(rows, 0)),
			.vpc_id = arena_strdup(arena, store_text(rows, 1)),
			.group_name = arena_strdup(arena, store_text(rows, 2)),
			.group_description = arena_strdup(arena, store_text(rows, 3)),
			.owner_id = l->rq->account_id };
		bool is_named = named_sees(&l->ids, g.group_id);
		struct tag_list tags;

		is_named &= named_sees(&l->names, g.group_name);
		r = read_permissions(tx, &g, arena, e);
		if (r == 0)
			r = clc_tags_read(tx, g.group_id, arena, &tags, e);
		if (r < 0)
			return r;
		g.tags.items = tags.items;
		g.tags.count = tags.count;
		if (is_named &&
		    filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &g))
			vec_add(&l->found, g);
	}
	return r;
}

static int
check_groups_found(const struct group_listing *l, struct err *e)
{
	const char *missing = named_missing(&l->ids);

	if (!missing)
		missing = named_missing(&l->names);
	return missing ? err_set(e, ERR_GROUP_NOT_FOUND,
			     "The security group '%.255s' does not exist", missing)
		       : 0;
}

int
ec2_handle_describe_security_groups(struct request *rq,
    const struct describe_security_groups_in *in, struct describe_security_groups_out *out,
    struct err *e)
{
	struct group_listing l = { .rq = rq, .in = in };
	struct page page;
	int r = page_begin(&page, in->next_token, in->has_max_results ? in->max_results : 0,
	    (in->group_ids.count || in->group_names.count) && in->has_max_results,
	    "group IDs or names", e);
	for (size_t n = 0; r == 0 && n < in->group_ids.count; n++)
		if (!id_is_valid(in->group_ids.items[n], "sg"))
			r = err_set(e, ERR_GROUP_ID_MALFORMED,
			    "Invalid id: \"%.100s\" (expecting \"sg-...\")",
			    in->group_ids.items[n]);
	if (r == 0)
		r = store_read(rq->clc->store, read_groups, &l, e);
	if (r == 0)
		r = check_groups_found(&l, e);
	if (r == 0) {
		page_cut(&page, l.found.count);
		out->groups.count = page.count;
		out->groups.items = arena_memdup(
		    rq->arena, l.found.items + page.first, page.count * sizeof(*l.found.items));
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&l.found);
	return r;
}
