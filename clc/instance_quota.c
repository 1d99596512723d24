/* What an account may hold: a number of instances (configured, or its own), and processors where
 * the administrator limits them. Checked before capacity, so that who has used up his share is told
 * so. */
#include "instance.h"
#include "quota.h"

static int
count(struct store_tx *tx, unsigned query, const char *account_id, int64_t *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, query, &rows, "count of instances", e, account_id);

	if (r == 0)
		*ret = store_int(rows, 0);
	return r;
}

static int
check_instances(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    uint32_t min, uint32_t *io_count, struct err *e)
{
	int64_t limit, active = 0;
	int r = clc_quota_get(
	    tx, account_id, "instances", clc_quota_default(conf, "instances"), &limit, e);

	if (r == 0)
		r = count(tx, Q_INSTANCES_ACTIVE, account_id, &active, e);
	if (r < 0)
		return r;
	if (active + min > limit)
		return err_set(e, ERR_INSTANCE_LIMIT_EXCEEDED,
		    "Your quota allows for %lld more running instance(s). You requested at least "
		    "%u.",
		    (long long)(limit > active ? limit - active : 0), min);
	if (active + *io_count > limit)
		*io_count = (uint32_t)(limit - active);
	return 0;
}

static int
check_vcpus(struct store_tx *tx, const char *account_id, int64_t each, uint32_t min,
    uint32_t *io_count, struct err *e)
{
	int64_t limit, active = 0;
	int r = clc_quota_get(tx, account_id, "vcpus", -1, &limit, e);

	if (r < 0 || limit < 0)
		return r;
	r = count(tx, Q_INSTANCES_ACTIVE_VCPUS, account_id, &active, e);
	if (r < 0)
		return r;
	if (active + min * each > limit)
		return err_set(e, ERR_VCPU_LIMIT_EXCEEDED,
		    "You have requested more vCPU capacity than your current vCPU limit of %lld "
		    "allows for the instance bucket that the specified instance type belongs to.",
		    (long long)limit);
	if (active + *io_count * each > limit)
		*io_count = (uint32_t)((limit - active) / each);
	return 0;
}

int
clc_quota_check(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    int64_t vcpus_each, uint32_t min, uint32_t *io_count, struct err *e)
{
	int r = check_instances(tx, conf, account_id, min, io_count, e);

	return r < 0 ? r : check_vcpus(tx, account_id, vcpus_each, min, io_count, e);
}
