#pragma once
/* What /readyz and `mallee-admin status` say: named conditions, each ready or with one sentence why
 * not. Setting is cheap and any thread may do it. */
#include <stdbool.h>
#include "base/strbuf.h"

void health_set(const char *condition, bool ready, const char *reason_format, ...) _printf_(3, 4);
/* A condition that a person should know of, while the daemon serves: shown like the others, and ready all the
 * same. `reason_format` NULL: all is well. */
void health_warn(const char *condition, const char *reason_format, ...) _printf_(2, 3);
/* A condition that goes stale: not ready unless refreshed by health_set within max_age_ms. */
void health_expect(const char *condition, unsigned max_age_ms);
bool health_is_ready(struct strbuf *out); /* one line per condition: "store ok" / "store: why not" */
void health_reset(void);
