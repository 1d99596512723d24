#pragma once
/* How daemons become part of the cloud, and stay it: tokens, certificates, renewal. */
#include "clc.h"
#include "net/http_worker.h"
#include "rpc/trust.h"

#define TOKEN_MINUTES 15
/* POST /join and /join/status: docs/protocol.md, "Joining". */
void clc_join(struct clc *clc, struct str path, struct http_call *call);
/* A token for one daemon of that role; cc, sc and nc belong to a zone. ERR_INVALID names what is wrong. */
int clc_token_create(struct clc *clc, const char *role, const char *zone, struct trust_token *ret,
    struct err *e);
/* The service of common/rpc/clc.api with our handlers. */
const struct service *clc_internal_service(void);
