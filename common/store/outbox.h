#pragma once
/* Every mutation writes, in its own transaction, an audit record and an event. The outbox is what
 * Changes, notifications, metrics and billing read: revisions rise, never repeat, never go back
 * unseen (a restored store has another epoch). */
#include "base/arena.h"
#include "store/store.h"

/* `kind` "instance", "node", "image" ...; `id` the resource; `detail` free text or NULL. */
int outbox_add(struct store_tx *tx, const char *kind, const char *id, const char *account_id,
    const char *detail, struct err *e);
struct outbox_event {
	uint64_t revision;
	int64_t at_us;
	char *kind, *id, *account_id, *detail; /* from the arena */
};
/* Events after `revision`, oldest first, at most `limit`. When the log no longer reaches back that far
 * *ret_gap is set: the reader must take everything anew. */
int outbox_read(struct store_tx *tx, uint64_t revision, unsigned limit, struct arena *arena,
    struct outbox_event **ret_events, size_t *ret_count, bool *ret_gap, struct err *e);
int outbox_last(struct store_tx *tx, uint64_t *ret_revision, struct err *e);
int outbox_trim(struct store_tx *tx, uint64_t keep, struct err *e); /* keeps the newest `keep` */
/* Called after each commit that added events, on the writer thread, with the last revision. */
void store_on_events(struct store *s, void (*fn)(void *arg, uint64_t revision), void *arg);

struct audit_record {
	const char *request_id, *account_id, *user_name, *source_address, *user_agent;
	const char *service, *action, *resource, *parameters /* text, secrets removed */, *error_code;
};
/* Nothing but the fields given; NULL is an empty text. */
int audit_add(struct store_tx *tx, const struct audit_record *record, struct err *e);
struct audit_entry {
	int64_t at_us;
	struct audit_record record; /* texts from the arena */
};
/* Newest first, at most `limit`. */
int audit_read(struct store_tx *tx, const char *account_id, unsigned limit, struct arena *arena,
    struct audit_entry **ret_entries, size_t *ret_count, struct err *e);
int audit_trim(struct store_tx *tx, int64_t before_us, struct err *e); /* forgets what is older */
