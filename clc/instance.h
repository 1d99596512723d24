#pragma once
/* Instances: wanted state (what users asked for) and observed state (what zones report), in one row. */
#include "request.h"
#include "rpc/common.api.h"

#define ROOT_DEVICE "/dev/vda"

enum clc_instance_state { /* EC2's codes are in the table behind instance_state_code() */
	INSTANCE_PENDING,
	INSTANCE_RUNNING,
	INSTANCE_SHUTTING_DOWN,
	INSTANCE_TERMINATED,
	INSTANCE_STOPPING,
	INSTANCE_STOPPED,
	INSTANCE_STATE_MAX
};
const char *instance_state_to_string(enum clc_instance_state s);
bool instance_state_from_string(const char *text, enum clc_instance_state *ret);
unsigned instance_state_code(enum clc_instance_state s);

/* What happens to an instance: users' calls, and what its zone reports of the generation wanted. */
enum instance_event {
	EV_START,
	EV_STOP,
	EV_REBOOT,
	EV_TERMINATE,
	EV_PENDING,      /* reported: being prepared */
	EV_RUNNING,      /* reported: the guest runs */
	EV_STOPPED,      /* reported: stopped, disk kept */
	EV_FAILED,       /* reported: can't be started, or crashed */
	EV_ENDED,        /* reported: terminated, or its node knows nothing of it */
	INSTANCE_EVENT_MAX
};

enum instance_put { PUT_NOTHING, PUT_SPEC, PUT_FORGET }; /* what the zone is yet to be told */

struct clc_instance { /* strings from the arena it was read into */
	const char *instance_id, *account_id, *region, *reservation_id, *zone, *node_id;
	int64_t launch_index;
	const char *wanted;
	int64_t generation, reboot_serial, revision, to_put;
	bool is_forced;
	enum clc_instance_state state;
	const char *reason_code, *reason_message, *transition_reason, *step;
	bool is_unreachable;
	int64_t boot_count;
	const char *image_id, *kernel_id, *ramdisk_id, *instance_type;
	int64_t vcpus, memory_mib, root_disk_gib, ephemeral_gib;
	const char *key_name, *public_key;
	const char *shutdown_behavior;
	bool is_protected, is_monitored;
	const char *client_token, *http_tokens;
	int64_t http_hop_limit, launch_us, ended_us, holds;
	const char *http_endpoint, *metadata_tags; /* enabled, disabled */
	const char *placement_group_id;
	int64_t partition_number;
	const char *preferred_node_id; /* reserved when it was accepted */
	int64_t cpu_shares;
	bool is_pinned;
	const char *ephemeral_disks; /* "/dev/vdb=ephemeral0:4 ..." */
	bool is_ebs_optimized, is_stop_protected;
	const char *auto_recovery;
	const char *export_id; /* the export of its root disk that is wanted */
	int64_t step_us;
	const char *waits_for, *who, *reachability;
	int64_t reachability_us, state_us, created_us;
	const char *cpu_credits, *capacity_preference;
};

/* INSTANCE_MALFORMED for what is no instance id. */
int clc_instance_check_id(const char *id, struct err *e);
/* INSTANCE_NOT_FOUND when the account has none of that id. NULL account: any. */
int clc_instance_load(struct store_tx *tx, const char *account_id, const char *id, struct arena *arena,
    struct clc_instance *ret, struct err *e);
void clc_instance_read(struct store_rows *rows, struct arena *arena, struct clc_instance *ret);

/* The one function that changes a state: looks the event up, writes the row, takes or releases what the
 * new state holds, and adds the event to the outbox. INCORRECT_INSTANCE_STATE when refused. A reported
 * event that changes nothing is fine. `reason` NULL: none. */
struct clc_reason {
	const char *code, *message;
};
int clc_instance_apply(struct store_tx *tx, struct clc_instance *i, enum instance_event event,
    const struct clc_reason *reason, struct err *e);

/* A report from the zone, idempotent; reports of other generations are ignored. */
int clc_instance_report(struct store_tx *tx, const struct instance_report *report, struct err *e);
/* The wanted record, with fresh URLs for its image files. */
int clc_instance_spec(struct store_tx *tx, struct clc *clc, struct clc_instance *i, struct arena *arena,
    struct instance_spec *ret, struct err *e);
/* What an account may still start: *io_count is lowered to what its quota of instances leaves.
 * INSTANCE_LIMIT_EXCEEDED when that is fewer than `min`, VCPU_LIMIT_EXCEEDED likewise where "vcpus" is
 * limited. */
int clc_quota_check(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    int64_t vcpus_each, uint32_t min, uint32_t *io_count, struct err *e);
/* Whatever runs is told: a new revision of its record. */
int clc_instance_tell(struct store_tx *tx, const char *instance_id, struct err *e);
/* What is said of metadata where a launch says nothing; NULL and 0: nothing either. */
struct clc_metadata_defaults { /* strings from the arena */
	const char *http_tokens, *http_endpoint, *metadata_tags;
	int64_t http_hop_limit;
};
int clc_metadata_defaults(struct store_tx *tx, const char *account_id, const char *region,
    struct arena *arena, struct clc_metadata_defaults *ret, struct err *e);
/* Types whose processors Amazon meters by credits: t1 to t4g. */
bool clc_type_is_burstable(const char *type);
struct instance_profile;
/* There are no instance profiles: what Amazon answers to the name or ARN of one that does not exist. */
int clc_profile_refuse(const struct instance_profile *profile, struct err *e);
/* Terminated long enough ago: rows go. A reconciler body. */
int clc_instance_expire(struct clc *clc, struct err *e);
