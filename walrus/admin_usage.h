#pragma once
/* What an operator sees of usage, and sets of quotas. */
#include "net/http_worker.h"

/* arg: struct walrus */
void admin_usage_list(struct http_call *call, void *arg);
void admin_bucket_quota(struct http_call *call, void *arg);
void admin_account_quota(struct http_call *call, void *arg);
