#pragma once
/* What every daemon shows about itself: /healthz (the loop turned within 2 s), /readyz (health.h),
 * /metrics, on loopback TCP; and the admin socket (unix, <runtime_dir>/admin.sock, mode 0600, only
 * root or the daemon's own uid) with the verbs that mallee-admin calls: GET /status, /reconcilers,
 * POST /reconcilers/NAME/run|pause|resume, plus a daemon's own. */
#include "net/http_worker.h"
#include "run/daemon.h"

struct status_server;
struct admin_verb {
	const char *method; /* "GET" or "POST" */
	const char *path;   /* "/token"; a trailing '/' matches what follows as well */
	const char *help;
	/* Arguments come as a form in query (GET) or body (POST); answer plain text into
	 * call->reply. */
	http_call_fn fn;
};
int status_server_new(struct daemon *d, const struct admin_verb *verbs, size_t verb_count,
    void *arg, struct status_server **ret, struct err *e);
void status_server_free(struct status_server *s);
DEFINE_CLEANUP(struct status_server *, status_server_free)
