#pragma once
/* What every daemon that joined the cloud does alike: its join command, and its certificate's renewal. */
#include "rpc/rpc.h"
#include "run/reconciler.h"

/* Row of daemon_spec.commands: `join URL TOKEN [SECONDS]`. `advertise` NULL or "": made of the first
 * address in conf->listen, or of this host's name when that is a wildcard. */
int member_join(const char *role, const struct daemon_conf *conf, const char *advertise, int argc,
    char **argv);
#define MEMBER_JOIN_COMMAND(run)                                                                   \
	{ "join", "join URL TOKEN [SECONDS]",                                                      \
	    "makes this daemon part of the cloud of the clc at URL; waits until it is in service", run }

/* Renews when two thirds of the certificate's life are over, then reloads `rpc` (and with it its
 * servers) and calls `renewed` (may be NULL) on a worker. */
struct reconciler *member_renewal_new(struct daemon *d, struct rpc *rpc, const char *daemon_name,
    const char *state_dir, void (*renewed)(void *arg), void *arg);
