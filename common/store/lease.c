/* Leases: a row per name with holder, end and epoch. The row is never deleted, because the epoch
 * must rise at each change of hands for ever. Clocks decide only who may try; what keeps two
 * holders from acting is the epoch that each of their transactions checks. */
#include "store/lease.h"

#include "store/schema.h"

struct lease_args {
	const char *name, *holder;
	int64_t ttl_us;
	uint64_t epoch;
};

static int
take(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_(store_rows_freep) struct store_rows *other = NULL;
	struct lease_args *a = arg;
	int64_t now_us = store_now_us(tx), changed;
	int r;

	r = store_exec(tx, BASE_LEASE_CREATE, &changed, e, a->name, a->holder, now_us + a->ttl_us);
	if (r < 0)
		return r;
	if (changed) {
		a->epoch = 1;
		return 0;
	}
	r = store_query(
	    tx, BASE_LEASE_RENEW, &rows, e, a->name, a->holder, now_us + a->ttl_us, now_us);
	if (r < 0)
		return r;
	r = store_next(rows, e);
	if (r < 0)
		return r;
	if (r > 0) {
		a->epoch = (uint64_t)store_int(rows, 0);
		return 0;
	}
	r = store_query_one(tx, BASE_LEASE_HOLDER, &other, a->name, e, a->name);
	if (r < 0)
		return r;
	return err_set(
	    e, ERR_CONFLICT, "lease '%s' is held by '%s'", a->name, store_text(other, 0));
}

int
lease_take(struct store *s, const char *name, const char *holder, uint32_t ttl_ms,
    uint64_t *ret_epoch, struct err *e)
{
	struct lease_args a = { name, holder, (int64_t)ttl_ms * 1000, 0 };
	int r = store_write(s, take, &a, e);

	if (r >= 0)
		*ret_epoch = a.epoch;
	return r;
}

int
lease_check(struct store_tx *tx, const char *name, uint64_t epoch, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	r = store_query(tx, BASE_LEASE_CHECK, &rows, e, name, (int64_t)epoch);
	if (r < 0)
		return r;
	r = store_next(rows, e);
	if (r == 0)
		return err_set(e, ERR_STALE, "lease '%s' has changed hands", name);
	return r < 0 ? r : 0;
}

static int
release(struct store_tx *tx, void *arg, struct err *e)
{
	struct lease_args *a = arg;

	return store_exec(tx, BASE_LEASE_RELEASE, NULL, e, a->name, a->holder);
}

int
lease_release(struct store *s, const char *name, const char *holder, struct err *e)
{
	struct lease_args a = { name, holder, 0, 0 };

	return store_write(s, release, &a, e);
}
