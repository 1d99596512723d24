#pragma once
/* Transfer acceleration: there is none. "Suspended" is kept and told; "Enabled" is refused. */
#include "setting.h"

int accelerate_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void accelerate_write(struct request *rq, struct xml_writer *w, const void *value);
