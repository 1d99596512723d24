#pragma once
/* Availability zones and the daemons the clc calls: what is wanted goes down to each zone's cc, what is
 * observed comes up. One link per zone: a reconciler that puts what changed, and a reader of Changes. */
#include "clc.h"
#include "rpc/walrus.api.h"

struct clc_zones;
/* Loads zones and peers from the store and starts their links. */
int clc_zones_new(struct clc *clc, struct clc_zones **ret, struct err *e);
void clc_zones_free(struct clc_zones *z);
DEFINE_CLEANUP(struct clc_zones *, clc_zones_free)
/* Something wanted changed in that zone (NULL: in all). Any thread. */
void clc_zones_poke(struct clc *clc, const char *zone);
/* A daemon joined, left or has a new certificate: links are made anew where they differ. Any thread. */
void clc_zones_refresh(struct clc *clc);

/* Where objects are read: configured, or the address walrus joined with. SERVICE_UNAVAILABLE without. */
int clc_zones_walrus_url(struct store_tx *tx, struct clc *clc, struct arena *arena, char **ret_url, struct err *e);
int clc_zones_describe_object(struct clc *clc, const struct rpc_context *context,
    const struct walrus_describe_object_in *in, struct walrus_describe_object_out *out,
    struct arena *arena, struct err *e);
int clc_zones_console(struct clc *clc, const char *zone, const struct rpc_context *context,
    const char *instance_id, struct arena *arena, struct str *ret_output, int64_t *ret_at_us,
    struct err *e);
/* Whether the clc can talk to that peer now; *ret_why one sentence when not. */
bool clc_zones_peer_is_up(struct clc *clc, const char *peer_id, struct strbuf *ret_why);

/* Capacity of a zone: what its live nodes have, and what instances hold. */
struct clc_capacity {
	int64_t vcpus, memory_mib, disk_gib;
	int64_t vcpus_held, memory_mib_held, disk_gib_held;
};
int clc_zone_capacity(struct store_tx *tx, const char *zone, struct clc_capacity *ret, struct err *e);
