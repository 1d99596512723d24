#pragma once
/* The daemons that the clc can call now, by id, role and zone, and the calls made on behalf of a user. Who
 * is listed is decided by the zones' links (zone.h). Any thread. */
#include "clc.h"
#include "rpc/cc.api.h"
#include "rpc/walrus.api.h"

struct clc_peers;
struct clc_peers *clc_peers_new(void);
void clc_peers_free(struct clc_peers *p);
/* Borrows `rpc` until clc_peers_free: a call may be under way after clc_peers_remove. */
void clc_peers_add(struct clc_peers *p, const char *peer_id, const char *role, const char *zone,
    const char *url, struct rpc_peer *rpc);
void clc_peers_remove(struct clc_peers *p, const struct rpc_peer *rpc);
/* How the link to one is now. */
struct clc_peer_view {
	bool is_listed, is_known, is_up; /* known: called before */
	int64_t since_us;                /* of being up or down */
	char url[256], why[256];         /* why it is down */
};
void clc_peers_look(struct clc_peers *p, const char *peer_id, struct clc_peer_view *ret);
/* Whether it answers; *ret_why gets one sentence when not. */
bool clc_peers_is_up(struct clc_peers *p, const char *peer_id, struct strbuf *ret_why);

/* Where nodes read objects: configured, or the address that walrus joined with.
 * ERR_SERVICE_UNAVAILABLE without. */
int clc_peers_walrus_url(struct store_tx *tx, const struct clc_conf *conf, struct arena *arena,
    char **ret_url, struct err *e);
/* ERR_SERVICE_UNAVAILABLE while there is nobody to ask; else what the peer says. */
int clc_peers_describe_object(struct clc_peers *p, const struct rpc_context *context,
    const struct walrus_describe_object_in *in, struct walrus_describe_object_out *out,
    struct arena *arena, struct err *e);
/* An administrator's order to a zone about one of its nodes. */
int clc_peers_node_power(struct clc_peers *p, const char *zone, const struct cc_set_node_power_in *in,
    struct arena *arena, struct err *e);
/* Any operation of walrus.api, likewise. */
int clc_peers_walrus(struct clc_peers *p, const struct operation *operation,
    const struct rpc_context *context, const void *in, void *out, struct arena *arena, struct err *e);
int clc_peers_console(struct clc_peers *p, const char *zone, const struct rpc_context *context,
    const char *instance_id, struct arena *arena, struct str *ret_output, int64_t *ret_at_us,
    struct err *e);
