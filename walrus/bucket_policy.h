#pragma once
/* Policies of buckets: what S3 demands of them, and what its actions and condition keys are called. */
#include "auth/policy.h"
#include "setting.h"

/* As setting.h has it; the value is a struct policy. check: ERR_MALFORMED_POLICY when it speaks of anything but
 * the request's bucket, of nobody who is known, or of what does not exist; ERR_ACCESS_DENIED when it is public
 * and that is blocked. */
int bucket_policy_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
int bucket_policy_check(struct request *rq, const void *value, struct err *e);
int bucket_policy_status(struct request *rq, struct err *e);
