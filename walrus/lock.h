#pragma once
/* Object lock: versions that nobody may remove until a time (retention) or until somebody says so
 * (legal hold). "Locking objects with Object Lock" of the S3 user guide. Rules and the setting are in
 * lock.c, the operations on buckets in lock_bucket.c, those on objects in retention.c. */
#include "content.h"
#include "request.h"

#define LOCK_GOVERNANCE "GOVERNANCE"
#define LOCK_COMPLIANCE "COMPLIANCE"

/* -- rules -- */

/* The time by which locks end: what the clock says, but never more than has passed since this process
 * first asked. So a clock that is set forward frees nothing, one that is set back only keeps longer. */
int64_t lock_now_us(void);
extern int64_t (*lock_clock_us)(void); /* clock_now_us; tests set another */
/* Whether the version may be removed, at lock_now_us(), by somebody without special rights. Of a delete
 * marker always. */
bool lock_allows_removal(const struct object *o, int64_t now_us);
/* The same for one who may bypass governance, and says so. */
bool lock_allows_bypass(const struct object *o, int64_t now_us);
/* Whether its retention may become this one; mode NULL: none. */
bool lock_allows_change(const struct object_attributes *a, const char *mode, int64_t until_us,
    bool bypasses, int64_t now_us);
int lock_denied(struct err *e); /* ERR_ACCESS_DENIED in S3's words */

/* -- the bucket's setting -- */

struct lock_configuration {
	const char *mode; /* of new versions; NULL: they are not locked */
	uint32_t days, years; /* one of them is 0 */
};
int lock_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void lock_write(struct request *rq, struct xml_writer *w, const void *value);
bool lock_is_enabled(const struct bucket *bucket);
/* In a closure. */
int lock_is_enabled_now(struct store_tx *tx, int64_t bucket_id, bool *ret, struct err *e);
int lock_enable(struct store_tx *tx, int64_t bucket_id, struct err *e); /* without a default */
int lock_put_configuration(struct request *rq, struct err *e);

/* -- of a new version -- */

/* What the headers x-amz-object-lock-* say; leaves the rest of *ret alone. ERR_INVALID_REQUEST: the
 * bucket has no lock; ERR_INVALID_ARGUMENT, ERR_ACCESS_DENIED. */
int lock_read(struct request *rq, struct object_attributes *ret, struct err *e);
/* Bytes that will be locked must come with a digest of them; `what`: "Put Object". ERR_INVALID_REQUEST. */
int lock_check_digest(struct request *rq, const struct object_attributes *a, const char *what,
    struct err *e);
/* In the closure that makes the version: the bucket's default, unless it has a lock of its own. */
int lock_apply_default(struct store_tx *tx, int64_t bucket_id, struct object_attributes *a,
    struct err *e);
/* The headers of a GET or HEAD, as far as the caller may know. */
void lock_reply(struct request *rq, const struct object *o);
/* x-amz-bypass-governance-retention, where the caller may: of this key. ERR_INVALID_ARGUMENT: the bucket
 * has no lock. */
int lock_read_bypass(struct request *rq, struct str key, bool *ret, struct err *e);

int lock_get_retention(struct request *rq, struct err *e);
int lock_put_retention(struct request *rq, struct err *e);
int lock_get_legal_hold(struct request *rq, struct err *e);
int lock_put_legal_hold(struct request *rq, struct err *e);
