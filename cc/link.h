#pragma once
/* Links to the zone's nodes: orders go down, news come up, silence is noticed. */
#include "cc.h"
#include "rpc/cc.api.h"

int cc_nodes_new(struct cc *cc, struct cc_nodes **ret, struct err *e);
void cc_nodes_free(struct cc_nodes *n);
DEFINE_CLEANUP(struct cc_nodes *, cc_nodes_free)
void cc_nodes_poke(struct cc *cc, const char *node_id); /* NULL: all. Any thread. */
int cc_nodes_screenshot(struct cc *cc, struct rpc_request *rq, const char *node_id,
    const struct cc_get_console_screenshot_in *in, struct cc_get_console_screenshot_out *out,
    struct err *e);
int cc_nodes_console(struct cc *cc, struct rpc_request *rq, const char *node_id,
    const char *instance_id, struct cc_get_console_output_out *out, struct err *e);
