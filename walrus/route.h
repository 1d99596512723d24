#pragma once
/* Which operation a request asks for: by method, by what its target is, and by the sub-resource in
 * its query. */
#include "base/err.h"

struct request;

/* Sets rq->operation and rq->sub_resource. ERR_NOT_IMPLEMENTED for what Amazon has and walrus has
 * not, ERR_METHOD_NOT_ALLOWED. */
int route(struct request *rq, struct err *e);
/* The same for OPTIONS, which browsers ask before they send: answered without a signature, whatever the
 * query says. */
void route_preflight(struct request *rq);
