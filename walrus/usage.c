/* One row per bucket. The writer of the store is one thread, so the row is no point of contention:
 * groups of changes commit together, and each adds to what the one before left. */
#include "usage.h"

#include <stdio.h>

#include "schema.h"

struct room { /* INT64_MAX: no quota */
	int64_t bytes, versions, quota_bytes, quota_versions;
};

static int64_t
quota_of(struct store_rows *rows, unsigned column)
{
	return store_is_null(rows, column) ? INT64_MAX : store_int(rows, column);
}

static int
check(const struct room *room, const struct usage_change *c, const char *whose, struct err *e)
{
	if (c->bytes + c->part_bytes > 0 && room->bytes > room->quota_bytes)
		return err_set(e, ERR_QUOTA_EXCEEDED,
		    "The %s quota of %lld bytes has no room for this.", whose,
		    (long long)room->quota_bytes);
	if (c->versions > 0 && room->versions > room->quota_versions)
		return err_set(e, ERR_QUOTA_EXCEEDED,
		    "The %s quota of %lld objects has no room for this.", whose,
		    (long long)room->quota_versions);
	return 0;
}

int
usage_note(struct store_tx *tx, int64_t bucket_id, const struct usage_change *c, struct err *e)
{
	return store_exec(tx, Q_USAGE_ADD, NULL, e, bucket_id, c->objects, c->versions, c->bytes,
	    c->parts, c->part_bytes);
}

static int
check_bucket(struct store_tx *tx, int64_t bucket_id, const struct usage_change *c, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct room room;
	int r = store_query_one(tx, Q_USAGE_ROOM, &rows, "usage", e, bucket_id);

	if (r < 0)
		return r;
	room = (struct room){ store_int(rows, 0), store_int(rows, 1), quota_of(rows, 2),
		quota_of(rows, 3) };
	return check(&room, c, "bucket's", e);
}

/* Of an account with a quota what its buckets hold is added up; the others cost one look. */
static int
check_account(
    struct store_tx *tx, const char *account_id, const struct usage_change *c, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *quota = NULL, *rows = NULL;
	struct room room;
	int r = store_query(tx, Q_ACCOUNT_QUOTA, &quota, e, account_id);

	if (r == 0)
		r = store_next(quota, e);
	if (r <= 0)
		return r;
	r = store_query_one(tx, Q_ACCOUNT_USAGE, &rows, "usage", e, account_id);
	if (r < 0)
		return r;
	room = (struct room){ store_int(rows, 0), store_int(rows, 1), quota_of(quota, 0),
		quota_of(quota, 1) };
	return check(&room, c, "account's", e);
}

int
usage_add(struct store_tx *tx, const struct bucket *bucket, const struct usage_change *change,
    struct err *e)
{
	int r = usage_note(tx, bucket->id, change, e);

	if (r < 0 || bucket->name[0] == '.' ||
	    (change->bytes + change->part_bytes <= 0 && change->versions <= 0))
		return r;
	r = check_bucket(tx, bucket->id, change, e);
	return r < 0 ? r : check_account(tx, bucket->account_id, change, e);
}

int
usage_drop_parts(struct store_tx *tx, int64_t bucket_id, const char *upload_id, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct usage_change change = { 0 };
	int r = store_query_one(tx, Q_PARTS_SUM, &rows, "parts", e, upload_id);

	if (r < 0)
		return r;
	change.parts = -store_int(rows, 0);
	change.part_bytes = -store_int(rows, 1);
	return change.parts ? usage_note(tx, bucket_id, &change, e) : 0;
}

/* -- for operators -- */

int
usage_find_account(
    struct store_tx *tx, const char *account, char ret[ACCOUNT_ID_SIZE], struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_IDENTITY_ACCOUNT_FIND, &rows, "account", e, account);

	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "there is no account '%.100s'", account);
	if (r == 0)
		(void)snprintf(ret, ACCOUNT_ID_SIZE, "%s", store_text(rows, 0));
	return r;
}

int
usage_describe_bucket(struct store_tx *tx, int64_t bucket_id, struct strbuf *out, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_BUCKET_USAGE, &rows, e, bucket_id);

	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	if (r == 0) {
		strbuf_adds(out, "usage objects=0 versions=0 bytes=0 parts=0 part_bytes=0\n");
		return 0;
	}
	strbuf_addf(out, "usage objects=%lld versions=%lld bytes=%lld parts=%lld part_bytes=%lld",
	    (long long)store_int(rows, 0), (long long)store_int(rows, 1),
	    (long long)store_int(rows, 2), (long long)store_int(rows, 3),
	    (long long)store_int(rows, 4));
	if (!store_is_null(rows, 5))
		strbuf_addf(out, " quota_bytes=%lld", (long long)store_int(rows, 5));
	if (!store_is_null(rows, 6))
		strbuf_addf(out, " quota_objects=%lld", (long long)store_int(rows, 6));
	strbuf_addc(out, '\n');
	return 0;
}
