#pragma once
/* Parameters of signed links, and fields of forms, that stand for headers. */
#include "request.h"

/* Once the signature is verified, of which they are part. ERR_INVALID_ARGUMENT. Does not block. */
int link_read_headers(struct request *rq, struct err *e);
/* Whether it could be one; the value alone, without tabs. */
bool link_is_header(const char *name, struct str value);
bool link_is_value(struct str value);
