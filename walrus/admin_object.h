#pragma once
/* What an operator sees of objects: rows, extents, files, sums. */
#include "net/http_worker.h"

/* arg: struct walrus */
void admin_object_list(struct http_call *call, void *arg);
void admin_object_show(struct http_call *call, void *arg);
void admin_object_verify(struct http_call *call, void *arg);
