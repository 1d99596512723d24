/* What this zone's storage is and whether it is well. */
#include "storage.h"

#include "run/fs.h"
#include "schema.h"

#include "rpc/sc.handlers.h"

const struct service *
sc_service_served(void)
{
	return &sc_served;
}

static int
count_volumes(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_VOLUME_COUNT, &rows, "count of volumes", e);

	if (r == 0)
		*(uint32_t *)arg = (uint32_t)store_int(rows, 0);
	return r;
}

int
sc_handle_describe_storage(struct rpc_request *rq, const struct empty *in,
    struct sc_describe_storage_out *out, struct err *e)
{
	struct sc *sc = rq->state;
	uint64_t low;
	int r = fs_free_bytes(sc->conf->daemon.state_dir, &out->free_bytes, &out->disk_bytes, e);

	if (r == 0)
		r = store_read(sc->store, count_volumes, &out->volumes, e);
	if (r < 0)
		return r;
	out->has_free_bytes = out->has_disk_bytes = out->has_volumes = true;
	low = out->disk_bytes / 100 * sc->conf->disk_low_percent;
	out->state = out->free_bytes < low ? "degraded" : "up";
	if (out->free_bytes < low)
		out->reason = arena_printf(rq->arena, "less than %u %% of '%s' is free",
		    sc->conf->disk_low_percent, sc->conf->daemon.state_dir);
	return 0;
}
