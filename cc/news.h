#pragma once
/* What the cc tells the clc, and the service of common/rpc/cc.api with our handlers. */
#include "cc.h"
#include "rpc/cc.api.h"

const struct service *cc_service_served(void);
/* What happened after `since`, each record once and as it is now. Everything, when `since` is of
 * another store or older than the log: marked complete, or, when that is more than a message holds,
 * as events that follow the revision returned. */
int cc_news_read(struct store *store, const struct changes_since *since, struct arena *arena,
    struct report_set *out, struct err *e);
/* The network of one VPC; an older revision changes nothing. */
int cc_vpc_set(struct store_tx *tx, const struct vpc_spec *vpc, struct err *e);
