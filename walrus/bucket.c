/* Buckets. A name is one bucket's in the whole cloud; a bucket belongs to an account. */
#include "bucket.h"

#include <stdio.h>

#include "base/id.h"
#include "schema.h"

static void
from_row(struct store_rows *rows, struct arena *arena, struct bucket *ret)
{
	*ret = (struct bucket){ .id = store_int(rows, 0),
		.name = arena_strdup(arena, store_text(rows, 1)),
		.account_id = arena_strdup(arena, store_text(rows, 2)),
		.location = arena_strdup(arena, store_text(rows, 3)),
		.created_us = store_int(rows, 4),
		.versioning = (enum versioning)store_int(rows, 5) };
}

int
bucket_find(
    struct store_tx *tx, const char *name, struct arena *arena, struct bucket *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_BUCKET_BY_NAME, &rows, e, name);

	if (r == 0)
		r = store_next(rows, e);
	if (r == 0)
		return err_set(e, ERR_BUCKET_NOT_FOUND, "The specified bucket does not exist");
	if (r < 0)
		return r;
	from_row(rows, arena, ret);
	return 0;
}

int
bucket_check(struct store_tx *tx, const struct bucket *bucket, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct bucket now;
	int r = bucket_find(tx, bucket->name, arena, &now, e);

	if (r == 0 && now.id != bucket->id)
		r = err_set(e, ERR_BUCKET_NOT_FOUND, "The specified bucket does not exist");
	return r;
}

int64_t
bucket_new_id(void)
{
	uint64_t id;

	random_bytes(&id, sizeof(id));
	return (int64_t)(id >> 1);
}

/* -- buckets of images -- */

void
bucket_of_images_name(const char *account_id, char ret[BUCKET_OF_IMAGES_SIZE])
{
	(void)snprintf(ret, BUCKET_OF_IMAGES_SIZE, ".images-%.16s", account_id);
}

int
bucket_of_images(struct store_tx *tx, const char *account_id, struct arena *arena,
    struct bucket *ret, struct err *e)
{
	char name[BUCKET_OF_IMAGES_SIZE];
	int r;

	bucket_of_images_name(account_id, name);
	r = store_exec(
	    tx, Q_BUCKET_INSERT, NULL, e, bucket_new_id(), name, account_id, "", store_now_us(tx));
	return r < 0 ? r : bucket_find(tx, name, arena, ret, e);
}
