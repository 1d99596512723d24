#pragma once
/* What a zone reports, as one transaction. */
#include "clc.h"
#include "rpc/common.api.h"

/* Applies one answer of a zone's Changes. `own_epoch` is of this store. When the zone's store is
 * another than before, or this one is, all that is wanted is told to the zone again: nothing ends
 * because a store does not know it. */
int clc_zone_news(struct store_tx *tx, const char *zone, uint64_t own_epoch,
    const struct report_set *set, struct err *e);
/* Where to go on asking. What is kept belongs to this store as well: a copy of it that is put back
 * later has another epoch, and hears everything. 0: from the beginning. */
uint64_t clc_zone_kept_epoch(uint64_t own_epoch, uint64_t zone_epoch);
