/* The internal service: what walrus must know of accounts and keys, and new certificates for all.
 */
#include "base/vec.h"
#include "rpc/clc.api.h"

#include "join.h"

#include "rpc/clc.handlers.h"

#define EVENTS_MAX 1000

const struct service *
clc_internal_service(void)
{
	return &clc_served;
}

struct news {
	struct clc *clc;
	struct arena *arena;
	const struct changes_since *since;
	struct clc_identity_changes_out *out;
	VEC(struct identity_key) keys;
	VEC(struct identity_account) accounts;
};

static void
add_key(struct news *n, struct store_rows *rows)
{
	struct identity_key key = { .access_key_id = arena_strdup(n->arena, store_text(rows, 0)),
		.secret = arena_strdup(n->arena, store_text(rows, 1)),
		.account_id = arena_strdup(n->arena, store_text(rows, 2)),
		.user_id = arena_strdup(n->arena, store_text(rows, 3)),
		.user_name = arena_strdup(n->arena, store_text(rows, 4)),
		.has_is_active = true,
		.is_active = store_int(rows, 5),
		.has_generation = true,
		.generation = (uint64_t)store_int(rows, 6),
		.has_is_service = true,
		.is_service = store_int(rows, 7) };

	vec_add(&n->keys, key);
}

static void
add_account(struct news *n, struct store_rows *rows)
{
	struct identity_account account = { .account_id =
						arena_strdup(n->arena, store_text(rows, 0)),
		.name = arena_strdup(n->arena, store_text(rows, 1)),
		.canonical_id = arena_strdup(n->arena, store_text(rows, 2)) };

	vec_add(&n->accounts, account);
}

static int
read_all(struct store_tx *tx, struct news *n, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *keys = NULL, *accounts = NULL;
	int r = store_query(tx, Q_ACCESS_KEYS, &keys, e);

	while (r >= 0 && (r = store_next(keys, e)) > 0)
		add_key(n, keys);
	if (r == 0)
		r = store_query(tx, Q_ACCOUNTS, &accounts, e);
	while (r >= 0 && (r = store_next(accounts, e)) > 0)
		add_account(n, accounts);
	n->out->has_complete = n->out->complete = true;
	return r;
}

static int
read_one(struct store_tx *tx, struct news *n, const struct outbox_event *event, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	bool is_key = strcmp(event->kind, "access_key") == 0;
	int r;

	if (!is_key && strcmp(event->kind, "account") != 0)
		return 0;
	r = store_query(tx, is_key ? Q_ACCESS_KEY_BY_ID : Q_ACCOUNT_BY_ID, &rows, e, event->id);
	if (r == 0)
		r = store_next(rows, e);
	if (r > 0 && is_key)
		add_key(n, rows);
	else if (r > 0)
		add_account(n, rows);
	if (r == 0 && is_key) {
		struct identity_key gone = { .access_key_id = event->id,
			.account_id = event->account_id ? event->account_id : "",
			.user_id = "",
			.user_name = "",
			.has_removed = true,
			.removed = true };

		vec_add(&n->keys, gone);
	}
	return r < 0 ? r : 0;
}

static int
read_news(struct store_tx *tx, void *arg, struct err *e)
{
	struct news *n = arg;
	struct outbox_event *events = NULL;
	uint64_t last = 0;
	size_t count = 0;
	bool gap = false;
	int r = outbox_last(tx, &last, e);

	n->keys.count = n->accounts.count = 0;
	if (r < 0)
		return r;
	n->out->epoch = store_epoch(n->clc->store);
	n->out->revision = last;
	if (n->since->epoch != n->out->epoch)
		return read_all(tx, n, e);
	r = outbox_read(tx, n->since->revision, EVENTS_MAX, n->arena, &events, &count, &gap, e);
	if (r == 0 && gap)
		return read_all(tx, n, e);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = read_one(tx, n, &events[i], e);
	if (count)
		n->out->revision = events[count - 1].revision;
	return r;
}

int
clc_handle_identity_changes(struct rpc_request *rq, const struct changes_since *in,
    struct clc_identity_changes_out *out, struct err *e)
{
	struct clc *clc = rq->state;
	struct news n = { .clc = clc, .arena = rq->arena, .since = in, .out = out };
	int r;

	if (in->epoch == store_epoch(clc->store) &&
	    changes_park(clc->changes, rq, in->epoch, in->revision))
		return 0;
	r = store_read(clc->store, read_news, &n, e);
	out->keys.count = n.keys.count;
	out->keys.items =
	    arena_memdup(rq->arena, n.keys.items, n.keys.count * sizeof(*n.keys.items));
	out->accounts.count = n.accounts.count;
	out->accounts.items =
	    arena_memdup(rq->arena, n.accounts.items, n.accounts.count * sizeof(*n.accounts.items));
	vec_done(&n.keys);
	vec_done(&n.accounts);
	return r;
}
