/* Which processors of the host an instance may use. A pinned instance has as many as it has vcpus
 * for itself, written down until it stops; all others share the rest, and are moved when that
 * changes. One processor always stays with the others and the host. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include "nc.h"
#include "schema.h"

int
nc_cpus_init(struct nc *nc, struct err *e)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return err_set_errno(e, errno, "cannot tell the host's processors");
	for (uint32_t i = 0; i < HELPER_CPUS_MAX && i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			helper_cpus_add(&nc->cpus, i);
	nc->cpus_version = 1; /* so that guests that run are looked at once */
	return 0;
}

uint64_t
nc_cpus_version(struct nc *nc)
{
	LOCK_SCOPE(&nc->lock);

	return nc->cpus_version;
}

struct placing {
	const struct helper_cpus *host;
	const char *instance_id;
	uint32_t wanted;                /* for itself; 0: it is not pinned */
	struct helper_cpus own, others; /* out: of it, and of every other pinned instance */
	bool has_changed;
};

static int
read_pinned(struct store_tx *tx, struct placing *p, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, NC_PINNED_CPUS, &rows, e);

	memset(&p->own, 0, sizeof(p->own));
	memset(&p->others, 0, sizeof(p->others));
	p->has_changed = false;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		uint64_t cpu = (uint64_t)store_int(rows, 0);

		if (cpu < HELPER_CPUS_MAX)
			helper_cpus_add(strings_equal(store_text(rows, 1), p->instance_id)
					    ? &p->own
					    : &p->others,
			    (uint32_t)cpu);
	}
	return r;
}

/* The host's that are nobody's, but for the lowest, which is never given away. */
static uint32_t
find_free(const struct placing *p, struct helper_cpus *ret)
{
	bool is_first = true;

	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = 0; i < HELPER_CPUS_MAX; i++) {
		if (!helper_cpus_has(p->host, i))
			continue;
		if (!is_first && !helper_cpus_has(&p->others, i))
			helper_cpus_add(ret, i);
		is_first = false;
	}
	return helper_cpus_count(ret);
}

static int
place(struct store_tx *tx, void *arg, struct err *e)
{
	struct placing *p = arg;
	struct helper_cpus available;
	uint32_t count, left = p->wanted;
	int r = read_pinned(tx, p, e);

	if (r < 0 || helper_cpus_count(&p->own) == p->wanted)
		return r;
	count = find_free(p, &available);
	if (count < p->wanted)
		return err_set(e, ERR_NO_SPACE,
		    "the node has %u processors left that an instance can have for itself, and %u "
		    "are wanted",
		    count, p->wanted);
	r = store_exec(tx, NC_PINNED_CPUS_DELETE, NULL, e, p->instance_id);
	memset(&p->own, 0, sizeof(p->own));
	for (uint32_t i = HELPER_CPUS_MAX; r == 0 && left > 0 && i-- > 0;) {
		if (!helper_cpus_has(&available, i))
			continue;
		helper_cpus_add(&p->own, i);
		left--;
		r = store_exec(tx, NC_PINNED_CPU_INSERT, NULL, e, (int64_t)i, p->instance_id);
	}
	p->has_changed = true;
	return r;
}

static void
changed(struct nc *nc)
{
	{
		LOCK_SCOPE(&nc->lock);

		nc->cpus_version++;
	}
	nc_instances_news(nc);
}

int
nc_cpus_place(struct nc *nc, const struct instance_spec *spec, struct helper_cpus *ret,
    uint64_t *ret_version, struct err *e)
{
	struct placing p = { .host = &nc->cpus,
		.instance_id = spec->instance_id,
		.wanted = spec->is_pinned ? spec->vcpus : 0 };
	uint64_t version = nc_cpus_version(nc);
	int r = store_write(nc->store, place, &p, e);

	if (r < 0)
		return r;
	if (p.has_changed)
		changed(nc);
	*ret = p.own;
	*ret_version = version;
	if (spec->is_pinned || helper_cpus_count(&p.others) == 0)
		return 0;
	for (unsigned i = 0; i < sizeof(ret->bits); i++)
		ret->bits[i] = nc->cpus.bits[i] & (uint8_t)~p.others.bits[i];
	return 0;
}

static int
release(struct store_tx *tx, void *arg, struct err *e)
{
	struct placing *p = arg;
	int r = read_pinned(tx, p, e);

	if (r < 0 || helper_cpus_count(&p->own) == 0)
		return r;
	p->has_changed = true;
	return store_exec(tx, NC_PINNED_CPUS_DELETE, NULL, e, p->instance_id);
}

int
nc_cpus_release(struct nc *nc, const char *instance_id, struct err *e)
{
	struct placing p = { .host = &nc->cpus, .instance_id = instance_id };
	int r = store_write(nc->store, release, &p, e);

	if (r == 0 && p.has_changed)
		changed(nc);
	return r;
}
