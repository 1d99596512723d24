#pragma once
/* Who pays for requests: "Requester Pays" of the S3 user guide. Nobody is billed here; it is kept and told. */
#include "setting.h"

int payment_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void payment_write(struct request *rq, struct xml_writer *w, const void *value);
