#pragma once
/* The rows of the zone's nodes: which there are, what they have and hold, and what they report. */
#include "base/vec.h"
#include "cc.h"
#include "rpc/cc.api.h"
#include "rpc/nc.api.h"

struct cc_node { /* strings from the arena */
	const char *node_id, *url, *state, *reason, *hypervisor;
	int64_t vcpus, memory_mib, disk_gib, last_seen_us, report_epoch, report_revision,
	    is_removed;
	bool is_maintained;
	const char *mac, *power, *power_order, *power_reason; /* power: awake, asleep, waking */
	int64_t power_us;                                     /* since when */
	int64_t vcpus_held, memory_mib_held, disk_gib_held;
};
struct cc_node_vec {
	struct cc_node *items;
	size_t count, size;
};
void cc_node_read(struct store_rows *rows, struct arena *arena, struct cc_node *ret);
void cc_node_to_report(const struct cc_node *n, struct node_report *ret);
int cc_nodes_read(struct store_tx *tx, struct arena *arena, struct cc_node_vec *ret, struct err *e);

/* All nodes of the zone, whole; an older revision than the last changes nothing. A node that is not
 * among them is silent from now on, and so its instances are unreachable. */
int cc_nodes_set(struct store_tx *tx, const struct cc_put_nodes_in *in, struct err *e);
/* What a node says of itself. */
int cc_node_report(
    struct store_tx *tx, const char *node_id, const struct node_report *n, struct err *e);
/* Marks the node and its instances, with events where something changes. `why` NULL: it answers
 * again; then only the instances, because the node says itself what it is. */
int cc_node_set_silent(struct store_tx *tx, const char *node_id, const char *why, struct err *e);
int cc_node_answers(
    struct store_tx *tx, const char *node_id, const struct node_report *report, struct err *e);
/* One answer of its Changes. What a complete set does not name is not judged here: see compare. */
int cc_node_news(
    struct store_tx *tx, const char *node_id, const struct report_set *set, struct err *e);
/* `set` is everything the node has, asked when no order was on its way: what it was told of and
 * does not name is lost, and is reported as gone. */
int cc_node_compare(struct store_tx *tx, const char *node_id, const struct report_set *set,
    size_t *ret_lost, struct err *e);
