#pragma once
/* Network namespaces kept alive by a bind mount, and short visits of this thread to them. */
#include <stdbool.h>
#include "base/err.h"

/* Makes a namespace and pins it at `path`; what is there already is opened. The descriptor is the
 * caller's. A file that pins nothing (left by a reboot) is replaced. */
int netns_make(const char *path, int *ret_fd, struct err *e);
/* ERR_NOT_FOUND when nothing is pinned there. */
int netns_open(const char *path, int *ret_fd, struct err *e);
int netns_unpin(const char *path, struct err *e); /* absent is fine */
int netns_own(int *ret_fd, struct err *e);        /* this thread's */

/* Puts this thread into `to`; netns_scope_end brings it back to where it was, and aborts if it
 * can't: a helper in the wrong namespace would do harm. */
struct netns_scope {
	int back;
};
int netns_enter(struct netns_scope *s, int to, struct err *e);
void netns_leave(struct netns_scope *s);
#define _cleanup_netns_ _cleanup_(netns_leave)
#define NETNS_SCOPE_INIT                                                                           \
	{                                                                                          \
		-1                                                                                 \
	}

/* Writes /proc/sys/net/<name> of the namespace this thread is in; dots in device names are safe, as
 * name is a path. An absent file is fine when is_optional. */
int netns_sysctl(const char *name, const char *value, bool is_optional, struct err *e);
