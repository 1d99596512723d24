#pragma once
/* Which messages were seen while they are still valid. Private to wsse. */
#include "base/err.h"
#include "base/str.h"

struct wsse_replay;
/* At most `max` messages remembered per signer, four times that of all. */
struct wsse_replay *wsse_replay_new(uint32_t max);
void wsse_replay_free(struct wsse_replay *t);
/* Remembers the message until it has expired. ERR_AUTH_FAILURE when it is known already, ERR_LIMIT
 * when there is no room: what cannot be remembered cannot be accepted. `id` is a hex digest. */
int wsse_replay_add(struct wsse_replay *t, const char *signer, const char *id, int64_t expires_us,
    int64_t now_us, struct err *e);
uint32_t wsse_replay_count(struct wsse_replay *t);
