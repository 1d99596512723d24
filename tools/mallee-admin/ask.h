#pragma once
/* One request to a daemon's admin socket. */
#include "base/err.h"
#include "base/strbuf.h"

struct ask {
	const char *socket_path;
	const char *daemon; /* for messages: "clc" */
};
/* Appends the answer's text. `form` NULL: GET. ERR_UNAVAILABLE when nobody listens; on a refusal
 * the error's text is the daemon's own sentence. */
int ask_daemon(
    const struct ask *ask, const char *path, const char *form, struct strbuf *out, struct err *e);
