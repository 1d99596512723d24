#pragma once
/* Power of nodes: which may sleep, waking them, and what becomes of instances that wait for one. A node that
 * is asleep is well: its state stays up and its capacity counts. Each function but the last two is one step
 * of a transaction. */
#include "cc.h"
#include "node.h"

struct cc_power { /* strings from the arena */
	struct cc_node node;
	bool saves;     /* the zone's policy is to save power */
	bool is_needed; /* instances run there or are on their way, or it has something to be told */
};
int cc_power_read(struct store_tx *tx, const char *node_id, struct arena *arena, struct cc_power *ret,
    struct err *e);
/* It counts as asleep from here on: whatever is placed on it later knows that it must be woken. *ret_done
 * false when it is needed after all. */
int cc_power_fall(struct store_tx *tx, const char *node_id, bool *ret_done, struct err *e);
/* It is awake: it answers, or could not be put to sleep (`why`). */
int cc_power_rise(struct store_tx *tx, const char *node_id, const char *why, struct err *e);
int cc_power_begin_waking(struct store_tx *tx, const char *node_id, struct err *e);
/* What waits for it says so, with since when. */
int cc_power_note_waiting(struct store_tx *tx, const char *node_id, struct err *e);
/* It did not wake: it is silent, and what was never told to it goes to another node, or fails with a reason;
 * what has its disk there fails. *ret_moved: some did. */
int cc_power_give_up(struct store_tx *tx, const char *node_id, const char *why, bool *ret_moved,
    struct err *e);
/* An administrator's order. */
int cc_power_order(struct cc *cc, const char *node_id, const char *power, struct err *e);

/* Whether there is a way to wake it; ERR_UNSUPPORTED says why not. */
int cc_power_can_wake(const struct cc_conf *conf, const struct cc_node *n, struct err *e);
/* Runs wake_command, or sends a magic packet. A worker. */
int cc_power_wake(const struct cc_conf *conf, const struct cc_node *n, struct err *e);
