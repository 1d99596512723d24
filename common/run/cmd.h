#pragma once
/* Child processes: an argument vector, never a shell. Reaped on every path. */
#include <stdbool.h>
#include "base/err.h"
#include "base/strbuf.h"

struct cmd;
struct cmd *cmd_new(const char *program); /* found in PATH of "/usr/sbin:/usr/bin:/sbin:/bin" */
void cmd_free(struct cmd *c);             /* kills and reaps what still runs */
DEFINE_CLEANUP(struct cmd *, cmd_free)
void cmd_add(struct cmd *c, const char *argument);
void cmd_addf(struct cmd *c, const char *format, ...) _printf_(2, 3);
void cmd_stdin(struct cmd *c, struct str input);
/* Asked about twice a second while the child runs: true kills it, ERR_CANCELLED. */
void cmd_watch(struct cmd *c, bool (*must_end)(void *arg), void *arg);
/* Runs to its end; stdout goes to `out` (NULL: dropped, limit 1 MiB), the tail of stderr into the
 * error. ERR_TIMEOUT after timeout_ms (the child is killed); ERR_IO on non-zero exit. */
int cmd_run(struct cmd *c, unsigned timeout_ms, struct strbuf *out, struct err *e);
