#pragma once
/* A named loop that compares wanted with observed and takes one idempotent step. It runs on the
 * worker pool, never twice at once; when poked while running it runs again. Last run, last result,
 * next run are in /metrics and `mallee-admin reconcilers`, which can also run, pause and resume it. */
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"
#include "run/loop.h"
#include "run/workers.h"

struct reconciler;
/* Returns 0, or an error that is shown, and logged when it begins or changes; after an error it runs
 * again after 100 ms (doubling up to interval_ms, with jitter). *ret_again_ms (preset to interval_ms)
 * may be lowered to be called sooner. */
typedef int (*reconciler_fn)(void *arg, uint32_t *ret_again_ms, struct err *e);
struct reconciler *reconciler_new(struct loop *loop, struct workers *workers, const char *daemon,
    const char *name, uint32_t interval_ms, reconciler_fn fn, void *arg); /* any thread; runs at once */
/* Waits for a run under way; there is none after it. Any thread but the loop's, which a run may need. */
void reconciler_stop(struct reconciler *r);
void reconciler_free(struct reconciler *r); /* loop thread; waits for a run under way */
DEFINE_CLEANUP(struct reconciler *, reconciler_free)
void reconciler_poke(struct reconciler *r); /* any thread */
/* By name, for the admin socket; false when there is none of that name. */
bool reconciler_run_now(const char *name);
bool reconciler_pause(const char *name, bool paused);
/* What is shown of one; false when there is none of that name. */
struct reconciler_view {
	bool is_paused;
	int64_t since_us;      /* of failing; 0: the last run went well, or there was none */
	struct err last_error; /* of the last run; code 0: it went well */
};
bool reconciler_look(const char *name, struct reconciler_view *ret);
void reconcilers_describe(struct strbuf *out); /* a table, one row each */
