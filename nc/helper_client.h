#pragma once
/* The unprivileged side of the helper socket: requests from any worker thread, replies and events
 * by the daemon's loop, connecting again for as long as it takes. The helper may be killed at any
 * time: calls under way fail with ERR_UNAVAILABLE and are repeated by whoever reconciles. */
#include "helper_protocol.h"
#include "run/log.h"
#include "run/loop.h"

struct helper_client;
struct helper_client_options {
	const char *path; /* of the helper's socket */
	/* All on the loop. */
	void (*lifecycle)(void *arg, const struct helper_guest *guest);
	void (*health)(void *arg, const struct helper_health *health);
	void (*link)(void *arg, bool up, const char *why);
	void *arg;
};
int helper_client_new(struct loop *loop, const struct log *log,
    const struct helper_client_options *options, struct helper_client **ret, struct err *e);
/* Any thread: calls under way and later ones end with ERR_CANCELLED. */
void helper_client_cancel(struct helper_client *c);
void helper_client_free(struct helper_client *c); /* loop thread; nobody calls any more */
DEFINE_CLEANUP(struct helper_client *, helper_client_free)

struct helper_reply {
	void *payload; /* heap; passed helper_payload_check */
	size_t length;
	int fds[HELPER_REPLY_FDS_MAX];
	size_t fd_count;
};
void helper_reply_done(struct helper_reply *r);
#define _cleanup_helper_reply_ _cleanup_(helper_reply_done)

/* Blocks a worker; ret may be NULL. Faults of the helper come back as its code and text;
 * ERR_UNAVAILABLE when it could not be asked or went away, ERR_TIMEOUT. */
int helper_call(struct helper_client *c, enum helper_verb verb, const void *payload, size_t n,
    uint32_t timeout_ms, struct helper_reply *ret, struct err *e);
bool helper_client_is_up(struct helper_client *c);
