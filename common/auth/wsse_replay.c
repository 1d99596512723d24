/* The replay table. A message's Expires is signed, so the same message always falls into the same
 * slot of time: a lookup touches one slot, and forgetting is dropping whole slots that have passed.
 * Room is counted per signer, so that one busy or hostile peer cannot lock the others out. */
#include "auth/wsse_replay.h"

#include <assert.h>
#include "base/map.h"
#include "run/lock.h"

#define SLOT_US (32 * INT64_C(1000000))
#define SLOTS 16                        /* 512 s, more than validity and twice the skew */
#define KEEP_US (20 * INT64_C(1000000)) /* a message is accepted this long after Expires */
#define SIGNERS_FACTOR 4

struct peer {
	uint32_t count;
};
struct slot {
	int64_t index;    /* expires_us / SLOT_US of its messages */
	struct map *seen; /* "signer id" -> struct peer, borrowed */
};
struct wsse_replay {
	struct lock lock; /* LEAF; guards all below */
	uint32_t max, count;
	struct slot slots[SLOTS];
	struct map *peers; /* peer id -> struct peer; as many as hold certificates */
};

struct wsse_replay *
wsse_replay_new(uint32_t max)
{
	struct wsse_replay *t = xcalloc(1, sizeof(*t));

	lock_init(&t->lock, LOCK_LEAF);
	t->max = max;
	t->peers = map_new(free);
	return t;
}

void
wsse_replay_free(struct wsse_replay *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < SLOTS; i++)
		map_free(t->slots[i].seen);
	map_free(t->peers);
	lock_done(&t->lock);
	free(t);
}

static void
drop_slot_locked(struct wsse_replay *t, struct slot *slot)
{
	size_t cursor = 0;
	const char *key;
	void *value;

	if (!slot->seen)
		return;
	while (map_next(slot->seen, &cursor, &key, &value)) {
		struct peer *peer = value;

		peer->count--;
		t->count--;
	}
	map_free(slot->seen);
	slot->seen = NULL;
}

static void
forget_locked(struct wsse_replay *t, int64_t now_us)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if ((t->slots[i].index + 1) * SLOT_US + KEEP_US < now_us)
			drop_slot_locked(t, &t->slots[i]);
}

static struct peer *
peer_locked(struct wsse_replay *t, const char *signer)
{
	struct peer *peer = map_find(t->peers, signer);

	if (!peer) {
		peer = xcalloc(1, sizeof(*peer));
		map_set(t->peers, signer, peer);
	}
	return peer;
}

int
wsse_replay_add(struct wsse_replay *t, const char *signer, const char *id, int64_t expires_us,
    int64_t now_us, struct err *e)
{
	_cleanup_free_ char *key = xasprintf("%s %s", signer, id);
	int64_t index = expires_us / SLOT_US;
	struct slot *slot = &t->slots[(uint64_t)index % SLOTS];
	struct peer *peer;

	LOCK_SCOPE(&t->lock);
	forget_locked(t, now_us);
	if (slot->seen && slot->index != index) /* only when the clock went far back */
		return err_set(e, ERR_LIMIT, "cannot tell replayed messages of that time");
	if (slot->seen && map_find(slot->seen, key))
		return err_set(e, ERR_AUTH_FAILURE, "the message of '%s' was seen before", signer);
	peer = peer_locked(t, signer);
	if (peer->count >= t->max || t->count / SIGNERS_FACTOR >= t->max)
		return err_set(e, ERR_LIMIT, "too many messages of '%s' to remember", signer);
	if (!slot->seen) {
		slot->seen = map_new(NULL);
		slot->index = index;
	}
	map_set(slot->seen, key, peer);
	peer->count++;
	t->count++;
	return 0;
}

uint32_t
wsse_replay_count(struct wsse_replay *t)
{
	LOCK_SCOPE(&t->lock);
	return t->count;
}
