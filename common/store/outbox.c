/* Events and audit records. An event takes its revision from a counter row inside the transaction
 * that makes the change, so revisions are in the order of commits and a reader that has seen N has
 * seen everything before N. The row is read with the first event of a transaction and written at
 * its end, once for all its closures. Trimming remembers how far it went: who asks for something
 * older is told that there is a gap, and so is who has seen more than there is. */
#include "store/outbox.h"

#include "base/vec.h"
#include "store/sqlite.h"

static const char *
or_empty(const char *s)
{
	return s ? s : "";
}

static int
outbox_state(struct store_tx *tx, uint64_t *ret_last, uint64_t *ret_trimmed, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	r = store_query_one(tx, BASE_OUTBOX_STATE, &rows, "outbox counter", e);
	if (r < 0)
		return r;
	*ret_last = (uint64_t)store_int(rows, 0);
	if (tx->conn->outbox_revision) /* not written yet */
		*ret_last = tx->conn->outbox_revision;
	*ret_trimmed = (uint64_t)store_int(rows, 1);
	return 0;
}

int
outbox_add(struct store_tx *tx, const char *kind, const char *id, const char *account_id,
    const char *detail, struct err *e)
{
	uint64_t *last = &tx->conn->outbox_revision, trimmed;
	int r = 0;

	if (*last == 0)
		r = outbox_state(tx, last, &trimmed, e);
	if (r == 0)
		r = store_exec(tx, BASE_OUTBOX_ADD, NULL, e, (int64_t)(*last + 1), store_now_us(tx),
		    kind, id, or_empty(account_id), detail);
	if (r < 0)
		return r;
	tx->last_revision = ++*last;
	return 0;
}

int
outbox_settle(struct store_tx *tx, struct err *e)
{
	return store_exec(
	    tx, BASE_OUTBOX_SET_REVISION, NULL, e, (int64_t)tx->conn->outbox_revision);
}

int
outbox_read(struct store_tx *tx, uint64_t revision, unsigned limit, struct arena *arena,
    struct outbox_event **ret_events, size_t *ret_count, bool *ret_gap, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct outbox_event) events = { 0 };
	uint64_t last, trimmed;
	int r;

	r = outbox_state(tx, &last, &trimmed, e);
	if (r < 0)
		return r;
	*ret_gap = revision < trimmed || revision > last;
	*ret_events = NULL;
	*ret_count = 0;
	if (*ret_gap)
		return 0;
	r = store_query(tx, BASE_OUTBOX_AFTER, &rows, e, (int64_t)revision, (int64_t)limit);
	if (r < 0)
		return r;
	while ((r = store_next(rows, e)) > 0) {
		struct outbox_event event = {
			.revision = (uint64_t)store_int(rows, 0),
			.at_us = store_int(rows, 1),
			.kind = arena_strdup(arena, store_text(rows, 2)),
			.id = arena_strdup(arena, store_text(rows, 3)),
			.account_id = arena_strdup(arena, store_text(rows, 4)),
			.detail = arena_strdup(arena, store_text(rows, 5)),
		};

		vec_add(&events, event);
	}
	if (r == 0 && events.count) {
		*ret_events =
		    arena_memdup(arena, events.items, events.count * sizeof(*events.items));
		*ret_count = events.count;
	}
	vec_done(&events);
	return r;
}

int
outbox_last(struct store_tx *tx, uint64_t *ret_revision, struct err *e)
{
	uint64_t trimmed;

	return outbox_state(tx, ret_revision, &trimmed, e);
}

int
outbox_trim(struct store_tx *tx, uint64_t keep, struct err *e)
{
	uint64_t last, trimmed;
	int64_t up_to;
	int r;

	r = outbox_state(tx, &last, &trimmed, e);
	if (r < 0 || last <= keep || last - keep <= trimmed)
		return r;
	up_to = (int64_t)(last - keep);
	r = store_exec(tx, BASE_OUTBOX_TRIM, NULL, e, up_to);
	return r < 0 ? r : store_exec(tx, BASE_OUTBOX_SET_TRIMMED, NULL, e, up_to);
}

void
store_on_events(struct store *s, void (*fn)(void *arg, uint64_t revision), void *arg)
{
	LOCK_SCOPE(&s->writer_lock);

	s->on_events = fn;
	s->on_events_arg = arg;
}

int
audit_add(struct store_tx *tx, const struct audit_record *record, struct err *e)
{
	return store_exec(tx, BASE_AUDIT_ADD, NULL, e, store_now_us(tx),
	    or_empty(record->request_id), or_empty(record->account_id), or_empty(record->user_name),
	    or_empty(record->source_address), or_empty(record->user_agent),
	    or_empty(record->service), or_empty(record->action), or_empty(record->resource),
	    or_empty(record->parameters), or_empty(record->error_code));
}

int
audit_read(struct store_tx *tx, const char *account_id, unsigned limit, struct arena *arena,
    struct audit_entry **ret_entries, size_t *ret_count, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct audit_entry) entries = { 0 };
	int r;

	*ret_entries = NULL;
	*ret_count = 0;
	r = store_query(tx, BASE_AUDIT_RECENT, &rows, e, account_id, (int64_t)limit);
	if (r < 0)
		return r;
	while ((r = store_next(rows, e)) > 0) {
		struct audit_entry entry = { .at_us = store_int(rows, 0) };
		const char **texts[] = { &entry.record.request_id, &entry.record.account_id,
			&entry.record.user_name, &entry.record.source_address,
			&entry.record.user_agent, &entry.record.service, &entry.record.action,
			&entry.record.resource, &entry.record.parameters,
			&entry.record.error_code };

		for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
			*texts[i] = arena_strdup(arena, store_text(rows, i + 1));
		vec_add(&entries, entry);
	}
	if (r == 0 && entries.count) {
		*ret_entries =
		    arena_memdup(arena, entries.items, entries.count * sizeof(*entries.items));
		*ret_count = entries.count;
	}
	vec_done(&entries);
	return r;
}

int
audit_trim(struct store_tx *tx, int64_t before_us, struct err *e)
{
	return store_exec(tx, BASE_AUDIT_TRIM, NULL, e, before_us);
}
