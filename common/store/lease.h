#pragma once
/* The right to act, with an epoch that rises at each change of hands. A reconciler takes its lease
 * first and passes the epoch to lease_check in each transaction, so that a paused old holder can
 * never write. */
#include "store/store.h"

/* Takes or renews `name` for `holder`. ERR_CONFLICT when somebody else holds it and it has not run
 * out. *ret_epoch stays the same on renewal. */
int lease_take(struct store *s, const char *name, const char *holder, uint32_t ttl_ms,
    uint64_t *ret_epoch, struct err *e);
int lease_check(struct store_tx *tx, const char *name, uint64_t epoch, struct err *e); /* ERR_STALE */
int lease_release(struct store *s, const char *name, const char *holder, struct err *e);
