/* GetConsoleScreenshot: what an instance's screen shows, asked of its node while the caller waits.
 */
#include "clc/ec2.api.h"

#include "instance.h"
#include "peers.h"

struct lookup {
	struct request *rq;
	const char *id;
	struct clc_instance instance;
};

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;

	return clc_instance_load(tx, l->rq->account_id, l->id, l->rq->arena, &l->instance, e);
}

static int
not_running(const char *id, struct err *e)
{
	return err_set(e, ERR_INCORRECT_INSTANCE_STATE,
	    "The instance '%s' must be in the 'running' state for a screenshot", id);
}

int
ec2_handle_get_console_screenshot(struct request *rq, const struct get_console_screenshot_in *in,
    struct get_console_screenshot_out *out, struct err *e)
{
	struct rpc_context context = { .request_id = rq->id, .account_id = rq->account_id };
	struct lookup l = { .rq = rq, .id = in->instance_id };
	struct str image = { 0 };
	_cleanup_free_ char *text = NULL;
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0)
		r = store_read(rq->clc->store, load, &l, e);
	if (r == 0 && (l.instance.state != INSTANCE_RUNNING || !l.instance.node_id))
		r = not_running(in->instance_id, e);
	if (r == 0)
		r = clc_peers_screenshot(rq->clc->peers, l.instance.zone, &context, in->instance_id,
		    in->wake_up, rq->arena, &image, e);
	if (r == ERR_CONFLICT || r == ERR_NOT_FOUND) /* it has ended since the last report */
		return not_running(in->instance_id, e);
	if (r == ERR_UNSUPPORTED)
		return err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "The instance '%s' runs where no screenshots are taken: the zone or its node "
		    "has "
		    "an earlier version of this cloud",
		    in->instance_id);
	if (r < 0)
		return r;
	text = base64_encode(image.p, image.n);
	out->image_data = arena_strdup(rq->arena, text);
	out->instance_id = l.instance.instance_id;
	return 0;
}
