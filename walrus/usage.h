#pragma once
/* What buckets hold, counted in the transactions that change it, and the quotas on that. All versions count, with
 * their whole size each, and so do parts of uploads; a bucket's account answers for all in it. Buckets of the
 * cloud's own (images and exports, with a dot before their name) are counted, but no quota holds for them. */
#include "base/id.h"
#include "bucket.h"

struct usage_change {
	int64_t objects;  /* that a listing shows */
	int64_t versions; /* all, delete markers as well */
	int64_t bytes;    /* of versions */
	int64_t parts, part_bytes;
};
/* In the closure of the change. ERR_QUOTA_EXCEEDED where it adds bytes or versions for which a quota has no room;
 * what adds nothing is never refused. */
int usage_add(struct store_tx *tx, const struct bucket *bucket, const struct usage_change *change,
    struct err *e);
/* The same for what must not fail, such as a delete marker. */
int usage_note(struct store_tx *tx, int64_t bucket_id, const struct usage_change *change, struct err *e);
/* An upload's parts are about to be removed all. */
int usage_drop_parts(
    struct store_tx *tx, int64_t bucket_id, const char *upload_id, struct err *e);

/* By name or id. ERR_NOT_FOUND. */
int usage_find_account(
    struct store_tx *tx, const char *account, char ret[ACCOUNT_ID_SIZE], struct err *e);
int usage_describe_bucket(struct store_tx *tx, int64_t bucket_id, struct strbuf *out, struct err *e);
