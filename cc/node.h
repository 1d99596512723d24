#pragma once
/* The zone's nodes: which there are, what they have and hold, and the links to them. */
#include "cc.h"
#include "rpc/cc.api.h"
#include "rpc/nc.api.h"

struct cc_node { /* strings from the arena */
	const char *node_id, *url, *state, *reason, *hypervisor;
	int64_t vcpus, memory_mib, disk_gib, last_seen_us, report_epoch, report_revision;
	int64_t vcpus_held, memory_mib_held, disk_gib_held;
};
void cc_node_read(struct store_rows *rows, struct arena *arena, struct cc_node *ret);
void cc_node_to_report(const struct cc_node *n, struct node_report *ret);

struct cc_nodes;
int cc_nodes_new(struct cc *cc, struct cc_nodes **ret, struct err *e);
void cc_nodes_free(struct cc_nodes *n);
DEFINE_CLEANUP(struct cc_nodes *, cc_nodes_free)
void cc_nodes_poke(struct cc *cc, const char *node_id); /* NULL: all. Any thread. */
int cc_nodes_console(struct cc *cc, struct rpc_request *rq, const char *node_id,
    const char *instance_id, struct cc_get_console_output_out *out, struct err *e);
