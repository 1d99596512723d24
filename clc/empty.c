/* What this cloud has none of: the one handler of all operations that `answers empty` declares
 * (clc/api/ec2/empty.api). What is asked is checked as anywhere: tokens, filters (by the front),
 * ids. */
#include "clc/ec2.api.h"

#include "page.h"
#include "request.h"
#include "tags.h"

struct question {
	struct request *rq;
	const void *in;
};

struct text_list {
	const char *const *items;
	size_t count;
};

/* An instance or image of the account is known, though this action has nothing to say of it. */
static int
check_id(struct store_tx *tx, const struct question *q, const struct field *f, const char *id,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const struct clc_taggable *kind = clc_taggable_find(id);
	int r = 0;

	if (kind && kind->query >= 0 && kind->fault == f->absent) {
		r = store_query(tx, (unsigned)kind->query, &rows, e, id, q->rq->account_id,
		    q->rq->clc->conf->region);
		if (r == 0)
			r = store_next(rows, e);
	}
	if (r != 0)
		return r < 0 ? r : 0;
	return err_set(e, f->absent, "The %s '%.100s' does not exist", f->query, id);
}

static int
check_ids(struct store_tx *tx, void *arg, struct err *e)
{
	const struct question *q = arg;
	const struct shape *shape = q->rq->operation->in;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];
		const void *at = (const char *)q->in + f->offset;
		struct text_list one, *ids = &one;

		if (!f->absent) /* only ids are known to be text */
			continue;
		if (f->flags & FIELD_LIST)
			ids = (void *)at;
		else
			one = (struct text_list){ at, *(const char *const *)at != NULL };
		for (size_t n = 0; r == 0 && n < ids->count; n++)
			r = check_id(tx, q, f, ids->items[n], e);
	}
	return r;
}

static const struct field *
find_field(const struct shape *shape, const char *name)
{
	for (unsigned i = 0; i < shape->field_count; i++)
		if (strcmp(shape->fields[i].name, name) == 0)
			return &shape->fields[i];
	return NULL;
}

/* There is one page, so that no token was ever given out. */
static int
check_token(const struct operation *operation, const void *in, struct err *e)
{
	const struct field *f = find_field(operation->in, "next_token");
	struct page page;

	return f ? page_begin(&page, *(const char *const *)((const char *)in + f->offset), 0, false,
		       NULL, e)
		 : 0;
}

int
ec2_answer_empty(void *arg, const void *in, void *out, struct err *e)
{
	struct request *rq = arg;
	const struct shape *shape = rq->operation->out;
	struct question q = { rq, in };
	int r = check_token(rq->operation, in, e);

	if (r == 0)
		r = store_read(rq->clc->store, check_ids, &q, e);
	if (r == 0 && rq->operation->fault)
		r = err_set(e, rq->operation->fault, "There is none in this account");
	for (unsigned i = 0; r == 0 && i < shape->field_count; i++) {
		const struct field *f = &shape->fields[i];

		if (f->type == FIELD_STRUCT && !(f->flags & FIELD_LIST))
			*(void **)((char *)out + f->offset) =
			    arena_alloc(rq->arena, f->shape->size);
	}
	return r;
}
