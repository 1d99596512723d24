/* DescribeAccountAttributes: a table of what is asked and who knows it. */
#include "base/vec.h"
#include "clc/ec2.api.h"

#include "quota.h"
#include "request.h"
#include "vpc.h"

static int
read_nothing(struct store_tx *tx, struct request *rq, const char **ret, struct err *e)
{
	*ret = "0";
	return 0;
}

static int
read_platforms(struct store_tx *tx, struct request *rq, const char **ret, struct err *e)
{
	*ret = "VPC";
	return 0;
}

static int
read_default_vpc(struct store_tx *tx, struct request *rq, const char **ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_VPCS_OF_ACCOUNT, &rows, e, rq->account_id, rq->clc->conf->region);

	*ret = "none";
	while (r >= 0 && (r = store_next(rows, e)) > 0)
		if (store_int(rows, 6))
			*ret = arena_strdup(rq->arena, store_text(rows, 0));
	return r;
}

static int
read_max_instances(struct store_tx *tx, struct request *rq, const char **ret, struct err *e)
{
	int64_t value;
	int r = clc_quota_get(tx, rq->account_id, "instances",
	    clc_quota_default(rq->clc->conf, "instances"), &value, e);

	if (r == 0)
		*ret = arena_printf(rq->arena, "%lld", (long long)value);
	return r;
}

static int
read_groups_per_interface(struct store_tx *tx, struct request *rq, const char **ret, struct err *e)
{
	*ret = arena_printf(rq->arena, "%d", GROUPS_PER_INTERFACE_MAX);
	return 0;
}

static const struct {
	const char *name;
	int (*read)(struct store_tx *tx, struct request *rq, const char **ret, struct err *e);
} attributes[] = {
	{ "supported-platforms", read_platforms },
	{ "vpc-max-security-groups-per-interface", read_groups_per_interface },
	{ "max-elastic-ips", read_nothing },
	{ "max-instances", read_max_instances },
	{ "vpc-max-elastic-ips", read_nothing },
	{ "default-vpc", read_default_vpc },
};

struct listing {
	struct request *rq;
	const struct describe_account_attributes_in *in;
	struct describe_account_attributes_out *out;
};

static bool
is_asked_for(const struct describe_account_attributes_in *in, const char *name)
{
	for (size_t i = 0; i < in->attribute_names.count; i++)
		if (strcmp(in->attribute_names.items[i], name) == 0)
			return true;
	return in->attribute_names.count == 0;
}

static int
read_attributes(struct store_tx *tx, void *arg, struct err *e)
{
	struct listing *l = arg;
	struct account_attribute *all =
	    arena_alloc(l->rq->arena, ARRAY_SIZE(attributes) * sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		struct account_attribute_value *value = arena_alloc(l->rq->arena, sizeof(*value));
		int r;

		if (!is_asked_for(l->in, attributes[i].name))
			continue;
		r = attributes[i].read(tx, l->rq, &value->attribute_value, e);
		if (r < 0)
			return r;
		all[n].attribute_name = attributes[i].name;
		all[n].attribute_values.items = value;
		all[n++].attribute_values.count = 1;
	}
	l->out->attributes.items = all;
	l->out->attributes.count = n;
	return 0;
}

int
ec2_handle_describe_account_attributes(struct request *rq,
    const struct describe_account_attributes_in *in, struct describe_account_attributes_out *out,
    struct err *e)
{
	struct listing l = { rq, in, out };

	return store_read(rq->clc->store, read_attributes, &l, e);
}
