#pragma once
/* What the parts of the cc share. */
#include "rpc/changes.h"
#include "rpc/rpc.h"
#include "run/daemon.h"
#include "run/reconciler.h"
#include "store/outbox.h"
#include "store/store.h"

#include "schema.h"

struct cc_conf {
	struct daemon_conf daemon;
	char *advertise;          /* URL at which the clc reaches this daemon */
	uint32_t silent_after_ms; /* a node that does not answer for so long is silent */
	/* power of nodes */
	uint32_t power_idle_after_ms, wake_timeout_ms;
	char *wake_command, *wake_broadcast;
};
struct cc_nodes;
struct cc {
	struct daemon *daemon;
	const struct cc_conf *conf;
	const struct log *log;
	struct store *store;
	struct rpc *rpc;
	struct changes *changes;
	struct cc_nodes *nodes;
};
