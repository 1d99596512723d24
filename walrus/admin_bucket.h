#pragma once
/* What an operator sees of buckets and of uploads under way. */
#include "net/http_worker.h"

/* arg: struct walrus */
void admin_bucket_list(struct http_call *call, void *arg);
void admin_bucket_show(struct http_call *call, void *arg);
void admin_upload_list(struct http_call *call, void *arg);
