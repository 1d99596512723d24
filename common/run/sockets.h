#pragma once
/* Listening sockets: those systemd handed over and those of configured addresses. */
#include <stddef.h>
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"

struct inherited { /* from systemd */
	char *name;
	int fd;
};
struct inherited_list {
	VEC(struct inherited) sockets;
};

/* Takes LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES out of the environment. */
int sockets_inherit(struct inherited_list *list, struct err *e);
void sockets_inherit_done(struct inherited_list *list); /* closes what nobody took */

/* Listens on "ADDRESS:PORT", "[ADDRESS]:PORT" or "unix:PATH". ERR_EXISTS: in use; ERR_INVALID. */
int socket_listen(struct str address, int *ret_fd, struct err *e);
