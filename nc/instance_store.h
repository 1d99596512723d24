#pragma once
/* Instances as the store holds them: the wanted record and what is known of it. The only place that
 * writes an instance's state. Worker threads. */
#include "instance_fsm.h"
#include "rpc/common.api.h"
#include "store/store.h"

struct instance_record { /* all of it from one arena */
	const char *instance_id;
	uint64_t generation;
	const struct instance_spec *spec;
	uint64_t spec_hash; /* of the spec as it was read: changes with it */
	enum instance_state state;
	const char *reason_code, *reason_message, *step; /* may be NULL */
	int64_t since_us;
	uint32_t boot_count;   /* guests really started for this generation */
	uint32_t reboot_done;  /* of spec->reboot_serial */
	const char *host_boot; /* the host's boot id when the guest was started, or NULL */
	bool needs_sources;
	const struct export_report *export; /* of spec->export: NULL when it has none */
	int64_t step_us;               /* since when it has been at this step */
	const char *waits_for, *who;   /* of the step; may be NULL */
	const char *reachability;      /* of a guest that runs, else NULL */
};

struct node_capacity {
	uint32_t vcpus, memory_mib, disk_gib;
};

/* Takes the wanted record: makes or moves the instance. ERR_STALE for an older generation (or for
 * an order that a later one of this generation overtook). A launch that does not fit `capacity` is
 * recorded as failed. *ret is from the arena. */
int instance_put(struct store *s, const struct instance_spec *spec,
    const struct node_capacity *capacity, struct arena *arena, struct instance_record *ret,
    struct err *e);
/* ERR_NOT_FOUND. */
int instance_load(struct store *s, const char *instance_id, struct arena *arena,
    struct instance_record *ret, struct err *e);
int instance_list(struct store *s, struct arena *arena, struct instance_record **ret,
    size_t *ret_count, struct err *e);

/* News of a generation: the state moves by the table. ERR_STALE when the instance has moved on to
 * another generation meanwhile, ERR_INCORRECT_INSTANCE_STATE when the table has no answer. */
struct instance_news {
	const char *instance_id;
	uint64_t generation;
	enum instance_event event;
	const char *reason_code, *reason_message; /* NULL: the reasons stay */
	bool has_started;      /* EVENT_STARTED: a guest was really started just now */
	const char *host_boot; /* EVENT_STARTED */
};
int instance_event(struct store *s, const struct instance_news *news, struct err *e);
/* What it is doing, for people. Only a change is written. */
struct instance_step {
	const char *step;      /* NULL: nothing in particular */
	const char *waits_for; /* what must happen for it to go on */
	const char *who;       /* can make that happen: "cloud", "administrator", "user" */
	bool needs_sources;
};
int instance_set_step(struct store *s, const char *instance_id, uint64_t generation,
    const struct instance_step *step, struct err *e);
/* How far the export that its spec asks for is. ERR_STALE when another, or none, is asked for by now. */
int instance_set_export(struct store *s, const char *instance_id, const struct export_report *report,
    bool needs_sources, struct err *e);
/* "initializing", "passed", "failed": whether a guest that runs uses its network. Only a change is
 * written; 1 then, 0 when there was none. */
int instance_set_reachability(struct store *s, const char *instance_id, uint64_t generation,
    const char *reachability, struct err *e);
int instance_set_rebooted(struct store *s, const char *instance_id, uint64_t generation,
    uint32_t reboot_done, struct err *e);
/* Only one that has ended, or is unknown: ERR_CONFLICT otherwise. */
int instance_forget(struct store *s, const char *instance_id, struct err *e);
int instance_used(struct store *s, struct node_capacity *ret, struct err *e);

void instance_to_report(
    const struct instance_record *record, const char *node_id, struct instance_report *ret);
/* Everything after `revision`; *ret_complete when that is all there is (nothing known of the
 * reader's place). Instances that are forgotten are reported as "gone". */
int instance_reports_since(struct store *s, uint64_t epoch, uint64_t revision, const char *node_id,
    struct arena *arena, struct report_set *ret, bool *ret_node_changed, struct err *e);
/* Something about the node itself changed: its readers are told. */
int node_changed(struct store *s, const char *node_id, const char *what, struct err *e);
