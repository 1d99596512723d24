/* A quota is a name with a default: a new one is one row here, and one clc_quota_get where it
 * binds. */
#include "quota.h"

#include <assert.h>

static const struct {
	const char *name;
	int64_t fallback; /* -1: the configuration's instance_limit */
} quotas[] = {
	{ "instances", -1 },
	{ "vcpus", QUOTA_VALUE_MAX },
	{ "key-pairs", 5000 },
	{ "images", 50000 },
	{ "placement-groups", 500 },
	{ "launch-templates", 5000 },
	{ "launch-template-versions", 10000 },
};

static bool
is_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(quotas); i++)
		if (strcmp(quotas[i].name, name) == 0)
			return true;
	return false;
}

int64_t
clc_quota_default(const struct clc_conf *conf, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(quotas); i++)
		if (strcmp(quotas[i].name, name) == 0)
			return quotas[i].fallback < 0 ? conf->instance_limit : quotas[i].fallback;
	assert(!"a quota has a row");
	return 0;
}

/* 1: the account has a row. */
static int
read_row(struct store_tx *tx, const char *account_id, const char *name, int64_t *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_QUOTA, &rows, e, account_id, name);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		*ret = store_int(rows, 0);
	return r;
}

int
clc_quota_get(struct store_tx *tx, const char *account_id, const char *name, int64_t fallback,
    int64_t *ret_value, struct err *e)
{
	int64_t value = fallback;
	int r;

	assert(is_name(name));
	r = read_row(tx, account_id, name, &value, e);
	if (r < 0)
		return r;
	*ret_value = value;
	return 0;
}

int
clc_quota_set(struct store_tx *tx, const char *account_id, const char *name, const int64_t *value,
    struct err *e)
{
	if (!is_name(name))
		return err_set(e, ERR_INVALID, "there is no quota '%.100s'", name);
	return value ? store_exec(tx, Q_QUOTA_PUT, NULL, e, account_id, name, *value)
		     : store_exec(tx, Q_QUOTA_DELETE, NULL, e, account_id, name);
}

int
clc_quota_list(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    struct strbuf *out, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(quotas); i++) {
		int64_t value = clc_quota_default(conf, quotas[i].name);
		int r = read_row(tx, account_id, quotas[i].name, &value, e);

		if (r < 0)
			return r;
		strbuf_addf(
		    out, "%s %lld%s\n", quotas[i].name, (long long)value, r ? "" : " default");
	}
	return 0;
}
