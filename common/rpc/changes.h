#pragma once
/* News by long poll: "what changed since (epoch, revision)?" waits until there is something. Server
 * side it holds no thread; client side it is one request always under way per peer. */
#include "rpc/rpc.h"
#include "store/outbox.h"

/* -- server: one per daemon, fed by its store's outbox -- */
struct changes;
struct changes *changes_new(struct store *store, struct loop *loop);
void changes_free(struct changes *c);
DEFINE_CLEANUP(struct changes *, changes_free)
/* changes_new takes store_on_events(); a daemon that wants to be told as well calls that again with a
 * function of its own, which calls this. Any thread. */
void changes_notify(struct changes *c, uint64_t revision);
#define CHANGES_WAIT_MS 25000
/* For an operation declared `waits`: true when there is nothing after (epoch, revision) yet; the request
 * was then parked and its handler is run again on a worker when something came or CHANGES_WAIT_MS
 * passed, or the operation's wait_ms, or most of the caller's deadline (after which this returns false,
 * and the answer is empty). The handler returns 0 at once. Epoch 0 never waits. */
bool changes_park(struct changes *c, struct rpc_request *rq, uint64_t epoch, uint64_t revision);

/* -- client -- */
struct changes_reader;
struct changes_reader_options {
	const struct operation *operation; /* its `in` has fields epoch and revision */
	/* On a worker, in order: make it durable, then return the revision reached. A negative return
	 * makes the reader ask again from the same place after a pause. Must not wait for the loop. */
	int (*apply)(void *arg, const void *out, uint64_t *ret_epoch, uint64_t *ret_revision,
	    struct err *e);
	/* The peer could not be asked (up false) or answers again. On a worker. May be NULL. */
	void (*link)(void *arg, bool up, const struct err *why);
	void *arg;
	uint64_t epoch, revision; /* where to start */
	uint32_t wait_ms; /* an answer comes at least that often; 0: CHANGES_WAIT_MS */
};
struct changes_reader *changes_reader_new(struct rpc_peer *peer, struct workers *workers,
    const struct changes_reader_options *options);
/* Waits for an apply under way; there is none after it. Any thread but the loop's. */
void changes_reader_stop(struct changes_reader *r);
/* Waits for an apply under way. On the loop, before the peer is freed. */
void changes_reader_free(struct changes_reader *r);
DEFINE_CLEANUP(struct changes_reader *, changes_reader_free)
