/* What the clc asks of instances: the handlers of common/rpc/cc.api that name one. An order is made
 * durable and answered, and the link of its node is poked. */
#include "instance.h"

#include "link.h"

#include "rpc/cc.handlers.h"

int
cc_handle_put_instance(struct rpc_request *rq, const struct cc_put_instance_in *in,
    struct instance_report *out, struct err *e)
{
	struct cc *cc = rq->state;
	struct cc_instance i;
	int r = cc_instance_accept(cc->store, in->spec, rq->arena, &i, e);

	if (r < 0)
		return r;
	cc_instance_to_report(&i, rq->arena, out);
	log_info(&rq->log, "instance.accepted",
	    "instance=%s wanted=%s generation=%llu node=%s state=%s", in->spec->instance_id,
	    in->spec->wanted, (unsigned long long)in->spec->generation, i.node_id ? i.node_id : "-",
	    i.state);
	cc_nodes_poke(cc, i.node_id);
	return 0;
}

int
cc_handle_forget_instance(struct rpc_request *rq, const struct cc_forget_instance_in *in,
    struct empty *out, struct err *e)
{
	struct cc *cc = rq->state;
	const char *node_id;
	int r = cc_instance_forget(cc->store, in->instance_id, rq->arena, &node_id, e);

	if (r == 0 && node_id)
		cc_nodes_poke(cc, node_id);
	return r;
}

/* -- what its console shows -- */

struct lookup {
	const char *id;
	struct arena *arena;
	struct cc_instance instance;
};

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;

	return cc_instance_load(tx, l->id, l->arena, &l->instance, e);
}

/* *ret: the node that has it, from the request's arena. */
static int
find_node(struct rpc_request *rq, const char *instance_id, const char **ret, struct err *e)
{
	struct lookup l = { .id = instance_id, .arena = rq->arena };
	struct cc *cc = rq->state;
	int r = store_read(cc->store, load, &l, e);

	if (r == 0 && !l.instance.node_id)
		return err_set(e, ERR_NOT_FOUND, "instance '%s' has no node", instance_id);
	*ret = l.instance.node_id;
	return r;
}

int
cc_handle_get_console_output(struct rpc_request *rq, const struct cc_get_console_output_in *in,
    struct cc_get_console_output_out *out, struct err *e)
{
	const char *node_id;
	int r = find_node(rq, in->instance_id, &node_id, e);

	return r < 0 ? r : cc_nodes_console(rq->state, rq, node_id, in->instance_id, out, e);
}

int
cc_handle_get_console_screenshot(struct rpc_request *rq,
    const struct cc_get_console_screenshot_in *in, struct cc_get_console_screenshot_out *out,
    struct err *e)
{
	const char *node_id;
	int r = find_node(rq, in->instance_id, &node_id, e);

	return r < 0 ? r : cc_nodes_screenshot(rq->state, rq, node_id, in, out, e);
}
