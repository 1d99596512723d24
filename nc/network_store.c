/* What the node remembers of networks: VPCs as the zone sent them, and the short numbers that its
 * kernel's devices are named by. Each function is one transaction. */
#include "network_store.h"

#include "base/vec.h"
#include "schema.h"
#include "spec.h"

/* -- short numbers -- */

struct number {
	unsigned by_id, all, insert;
	const char *id, *instance_id;
	uint32_t ret;
};

static int
lowest_free(struct store_tx *tx, unsigned query, int64_t *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, query, &rows, e);

	*ret = 1;
	if (r < 0)
		return r;
	while ((r = store_next(rows, e)) > 0 && store_int(rows, 0) == *ret)
		++*ret;
	return r < 0 ? r : 0;
}

static int
take_number(struct store_tx *tx, void *arg, struct err *e)
{
	struct number *n = arg;
	int64_t idx;
	int r;

	{
		_cleanup_(store_rows_freep) struct store_rows *rows = NULL;

		r = store_query_one(tx, n->by_id, &rows, "number", e, n->id);
		if (r == 0) {
			n->ret = (uint32_t)store_int(rows, 0);
			return 0;
		}
	}
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(e);
	r = lowest_free(tx, n->all, &idx, e);
	if (r < 0)
		return r;
	n->ret = (uint32_t)idx;
	return n->instance_id ? store_exec(tx, n->insert, NULL, e, n->id, n->instance_id, idx)
			      : store_exec(tx, n->insert, NULL, e, n->id, idx);
}

int
nic_index(struct store *s, const char *interface_id, const char *instance_id, uint32_t *ret,
    struct err *e)
{
	struct number n = { NC_NIC_BY_ID, NC_NIC_INDICES, NC_NIC_INSERT, interface_id, instance_id,
		0 };
	int r = store_write(s, take_number, &n, e);

	if (r == 0)
		*ret = n.ret;
	return r;
}

int
group_index(struct store *s, const char *group_id, uint32_t *ret, struct err *e)
{
	struct number n = { NC_GROUP_BY_ID, NC_GROUP_INDICES, NC_GROUP_INSERT, group_id, NULL, 0 };
	int r = store_write(s, take_number, &n, e);

	if (r == 0)
		*ret = n.ret;
	return r;
}

static int
drop_nics(struct store_tx *tx, void *arg, struct err *e)
{
	return store_exec(tx, NC_NICS_DELETE, NULL, e, (const char *)arg);
}

int
nic_release(struct store *s, const char *instance_id, struct err *e)
{
	return store_write(s, drop_nics, (void *)instance_id, e);
}

/* -- VPCs -- */

struct vpc_job {
	const struct vpc_spec *in;
	const char *id;
	struct arena *arena;
	struct vpc_spec *ret;
	size_t count;
	bool has_changed;
};

static int
vpc_write(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_strbuf_ struct strbuf spec = STRBUF_INIT;
	struct vpc_job *j = arg;
	int r = store_query_one(tx, NC_VPC_BY_ID, &rows, "vpc", e, j->in->vpc_id);

	j->has_changed = false;
	if (r == 0 && (uint64_t)store_int(rows, 1) >= j->in->revision)
		return 0;
	if (r < 0 && r != ERR_NOT_FOUND)
		return r;
	err_clear(e);
	j->has_changed = true;
	spec_encode(&vpc_spec_shape, j->in, &spec);
	return store_exec(tx, NC_VPC_PUT, NULL, e, j->in->vpc_id, (int64_t)j->in->revision,
	    (int64_t)j->in->vni, strbuf_str(&spec));
}

int
vpc_store(struct store *s, const struct vpc_spec *vpc, bool *ret_changed, struct err *e)
{
	struct vpc_job j = { .in = vpc };
	int r = store_write(s, vpc_write, &j, e);

	if (r == 0)
		*ret_changed = j.has_changed;
	return r;
}

static int
vpc_read(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct vpc_job *j = arg;
	int r = store_query_one(tx, NC_VPC_BY_ID, &rows, "VPC", e, j->id);

	return r < 0 ? r : spec_decode(&vpc_spec_shape, store_blob(rows, 3), j->arena, j->ret, e);
}

int
vpc_load(
    struct store *s, const char *vpc_id, struct arena *arena, struct vpc_spec *ret, struct err *e)
{
	struct vpc_job j = { .id = vpc_id, .arena = arena, .ret = ret };

	return store_read(s, vpc_read, &j, e);
}

static int
vpc_read_all(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct vpc_spec) all = { 0 };
	struct vpc_job *j = arg;
	int r = store_query(tx, NC_VPCS, &rows, e);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct vpc_spec one = { 0 };

		r = spec_decode(&vpc_spec_shape, store_blob(rows, 3), j->arena, &one, e);
		if (r == 0)
			vec_add(&all, one);
	}
	j->count = all.count;
	j->ret = arena_memdup(j->arena, all.items, all.count * sizeof(*all.items));
	vec_done(&all);
	return r;
}

int
vpc_list(
    struct store *s, struct arena *arena, struct vpc_spec **ret, size_t *ret_count, struct err *e)
{
	struct vpc_job j = { .arena = arena };
	int r = store_read(s, vpc_read_all, &j, e);

	if (r < 0)
		return r;
	*ret = j.ret;
	*ret_count = j.count;
	return 0;
}
