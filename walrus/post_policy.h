#pragma once
/* The policy document of a form: which fields with which values, how large a file, and until when.
 * Pure. */
#include "form.h"

struct post_policy {
	uint64_t bytes_min, bytes_max; /* of the file */
};
/* `policy`: the document, base64. Fields as they will be used, `${filename}` replaced. Every one of
 * them must be named by a condition, but for the signature's own and those that begin with
 * x-ignore-; so must the bucket. ERR_INVALID_POLICY_DOCUMENT when it cannot be read;
 * ERR_ACCESS_DENIED when it has expired or does not allow this. */
int post_policy_check(struct str policy, const char *bucket, const struct form_part *fields,
    size_t count, int64_t now_us, struct post_policy *ret, struct err *e);
