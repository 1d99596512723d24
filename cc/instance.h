#pragma once
/* Instances of this zone: the wanted record, the node chosen for it, and what that node reports. */
#include "cc.h"
#include "rpc/cc.api.h"

enum cc_put { PUT_NOTHING, PUT_SPEC, PUT_FORGET };
enum cc_holds { HOLDS_NOTHING, HOLDS_DISK, HOLDS_ALL };
struct cc_instance { /* strings from the arena */
	const char *placement_group_id;
	int64_t partition_number, step_us;
	const char *waits_for, *who, *reachability;
	const char *instance_id, *account_id, *wanted, *spec, *vpc_id, *node_id;
	int64_t generation, reboot_serial, vcpus, memory_mib, disk_gib, holds, to_put, serial;
	const char *state, *reason_code, *reason_message, *step;
	int64_t since_us, boot_count;
	bool needs_sources, is_unreachable;
	const char *export; /* as its node reported it: text of an export_report, or NULL */
};
void cc_instance_read(struct store_rows *rows, struct arena *arena, struct cc_instance *ret);
/* ERR_NOT_FOUND */
int cc_instance_load(struct store_tx *tx, const char *id, struct arena *arena,
    struct cc_instance *ret, struct err *e);
void cc_instance_to_report(const struct cc_instance *i, struct arena *arena, struct instance_report *ret);
/* What its node says. Reports of other generations than the wanted one are ignored, and of other
 * nodes. */
int cc_instance_report(struct store_tx *tx, const char *node_id,
    const struct instance_report *report, struct arena *arena, struct err *e);
/* Its node knows nothing of it any more: it is gone. */
int cc_instance_lost(struct store_tx *tx, const struct cc_instance *i, struct err *e);
/* The record as it goes to the node. */
int cc_instance_spec(
    const struct cc_instance *i, struct arena *arena, struct instance_spec *ret, struct err *e);

/* Structs kept as text in rows: their fields as XML. */
void cc_text_of(const struct shape *shape, const void *in, struct strbuf *out);
int cc_from_text(
    const struct shape *shape, const char *text, struct arena *arena, void *out, struct err *e);

/* -- instance_accept.c -- */
/* Accepts a wanted record and chooses a node where one is needed. The same again changes nothing;
 * ERR_STALE when a later generation, or what comes later in the same one, is wanted already. */
int cc_instance_accept(struct store *s, const struct instance_spec *spec, struct arena *arena,
    struct cc_instance *ret, struct err *e);
/* Its end is recorded: tells its node to forget it (*ret_node_id, NULL: there is none) and forgets
 * it then. ERR_CONFLICT while it is wanted and not over. */
int cc_instance_forget(struct store *s, const char *instance_id, struct arena *arena,
    const char **ret_node_id, struct err *e);
/* Its node can't be had, and was never told of it: another one is chosen, or it fails with a reason. One that
 * has its disk there fails. */
int cc_instance_move(struct store_tx *tx, const struct cc_instance *i, const char *why, struct arena *arena,
    struct err *e);
