#pragma once
/* How much of what an account may have: rows that the operator writes, else a default. */
#include "clc.h"

#define QUOTA_VALUE_MAX 1000000000

/* `name` is one of the table's in quota.c; `fallback` counts when the account has no row. */
int clc_quota_get(struct store_tx *tx, const char *account_id, const char *name, int64_t fallback,
    int64_t *ret_value, struct err *e);
/* The default that the table or the configuration has. */
int64_t clc_quota_default(const struct clc_conf *conf, const char *name);
/* Value NULL: the default again. ERR_INVALID for a name that is none. */
int clc_quota_set(struct store_tx *tx, const char *account_id, const char *name, const int64_t *value,
    struct err *e);
/* A line for each name: "instances 100 default". */
int clc_quota_list(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    struct strbuf *out, struct err *e);
