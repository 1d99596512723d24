#pragma once
/* A reason for every state: what something is, what it should be, why, since when, what it waits for and who can
 * act. Gathered from rows and from the links to the zones; the sentences and who acts: reasons.def. */
#include "clc/ec2.api.h"
#include "run/reconciler.h"

#include "instance.h"
#include "peers.h"

struct clc_why { /* no field is NULL; strings from the arena given */
	const char *id, *state, *wanted, *code, *reason, *waits_for;
	const char *who; /* cloud, administrator, user; nobody when nothing is to be done */
	int64_t since_us;
	bool is_off; /* from its wanted state */
};

/* What is known of a zone beside its rows. */
struct clc_zone_view {
	const char *zone;
	char cc_id[ID_MAX]; /* "": none has joined */
	struct clc_peer_view cc;
	struct reconciler_view put; /* of what tells the zone */
	int64_t made_us;
};
struct clc_node_view { /* of an instance's node; no state: unknown */
	const char *state, *reason;
	int64_t since_us, seen_us, maintenance_us; /* 0: not in maintenance */
	const char *maintenance_reason;
};

/* The decision alone, from what is known. `node` NULL: none. */
void clc_why_instance(const struct clc_instance *i, const struct clc_zone_view *zone,
    const struct clc_node_view *node, struct arena *arena, struct clc_why *ret);
void clc_why_zone(const struct clc_zone_view *zone, int64_t nodes_up, struct arena *arena,
    struct clc_why *ret);

/* One thing of any kind that the clc knows. NOT_FOUND names the id. */
int clc_why_of(struct store_tx *tx, struct clc *clc, const char *id, struct arena *arena,
    struct clc_why *ret, struct err *e);
/* A block of lines. */
void clc_why_format(const struct clc_why *why, struct strbuf *out);
/* The blocks of all that is off its wanted state; one sentence when nothing is. */
int clc_why_all(
    struct store_tx *tx, struct clc *clc, struct arena *arena, struct strbuf *out, struct err *e);
/* The zone looked at last, so that a listing does not look at it once an instance. Begins as zeros, ends with the
 * transaction. */
struct clc_why_zone {
	char name[64];
	struct clc_zone_view view;
};
/* EC2's stateReason of an instance that is pending or unreachable; others keep theirs. */
int clc_why_state_reason(struct store_tx *tx, struct clc *clc, struct clc_why_zone *zone,
    const struct clc_instance *i, struct arena *arena, struct instance *out, struct err *e);
