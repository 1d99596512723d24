#pragma once
/* What the parts of the sc share. */
#include "rpc/rpc.h"
#include "run/daemon.h"
#include "run/reconciler.h"
#include "store/store.h"

struct sc_conf {
	struct daemon_conf daemon;
	char *advertise; /* URL at which clc and nodes reach this daemon */
	uint32_t disk_low_percent;
};
struct sc {
	struct daemon *daemon;
	const struct sc_conf *conf;
	const struct log *log;
	struct store *store;
	struct rpc *rpc;
};
