#pragma once
/* EC2 filters as data: an operation's row names its filters and the path of the reply's field that each
 * looks at (clc/api). AND between filters, OR between values, * and ? with backslash escapes,
 * case-sensitive. */
#include "clc/ec2.api.h"
#include "rpc/codec.h"

#define FILTER_VALUES_MAX 200

/* INVALID_PARAMETER_VALUE for a filter that the operation does not name (tag:KEY, tag-key and tag-value
 * are known wherever the reply has tags), FILTER_LIMIT_EXCEEDED past 200 values in all. Done for every
 * operation with filters before its handler runs. */
int filters_check(const struct operation *operation, const struct filter *filters, size_t count,
    struct err *e);
/* Whether one of the operation's reply structs passes all filters. */
bool filters_match(const struct operation *operation, const struct filter *filters, size_t count,
    const void *item);
