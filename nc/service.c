/* What the zone may ask of its nodes: the handlers of common/rpc/nc.api. An order is made durable
 * and answered; the reconcilers do the rest. Worker threads. */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "nc.h"
#include "rpc/nc.api.h"

#define FORGET_TIMEOUT_MS 40000
#define SLEEP_TIMEOUT_MS 35000 /* what the helper gives the command, and a little more */

int
nc_handle_describe_node(
    struct rpc_request *rq, const struct empty *in, struct node_report *out, struct err *e)
{
	return nc_node_report(rq->state, rq->arena, out, e);
}

/* The zone has seen that nothing runs here; so do we, because only we know for sure. */
int
nc_handle_sleep(struct rpc_request *rq, const struct empty *in, struct empty *out, struct err *e)
{
	struct node_capacity used;
	struct nc *nc = rq->state;
	int r = instance_used(nc->store, &used, e);

	if (r < 0)
		return r;
	if (used.vcpus)
		return err_set(
		    e, ERR_CONFLICT, "instances with %u processors are here", used.vcpus);
	log_info(&rq->log, "node.sleep", "node=%s", nc->node_id);
	return helper_call(nc->helper, HELPER_SLEEP, NULL, 0, SLEEP_TIMEOUT_MS, NULL, e);
}

/* -- PutInstance -- */

static int
check_image(const struct image_file *image, const char *what, struct err *e)
{
	if (image && !image_digest_is_valid(image->digest))
		return err_set(
		    e, ERR_INVALID, "%s '%s' has an ill-formed digest", what, image->image_id);
	return 0;
}

static int
check_spec(struct nc *nc, const struct instance_spec *spec, struct err *e)
{
	int r;

	if (!id_is_valid(spec->instance_id, "i"))
		return err_set(e, ERR_INVALID, "ill-formed instance id");
	if (spec->node_id && spec->node_id[0] && strcmp(spec->node_id, nc->node_id) != 0)
		return err_set(e, ERR_INVALID, "'%s' is for node '%s', this is '%s'",
		    spec->instance_id, spec->node_id, nc->node_id);
	if (spec->generation == 0 || spec->generation > INT64_MAX)
		return err_set(e, ERR_INVALID, "generation out of range");
	if (spec->ramdisk && !spec->kernel)
		return err_set(e, ERR_INVALID, "ramdisk without a kernel");
	if ((r = check_image(spec->image, "image", e)) < 0 ||
	    (r = check_image(spec->kernel, "kernel", e)) < 0 ||
	    (r = check_image(spec->ramdisk, "ramdisk", e)) < 0)
		return r;
	return nc_network_check(spec, e);
}

/* An order by force must not wait for the patience of an earlier one: the helper lets a forced stop
 * take the place of one that waits for the guest. */
struct hurry {
	struct nc *nc;
	struct helper_guest_stop stop;
};

static void
hurry_work(void *arg)
{
	_cleanup_free_ struct hurry *h = arg;

	/* Refused when nobody waits; then the step under way gets there by itself. */
	(void)helper_call(h->nc->helper, HELPER_GUEST_STOP, &h->stop, sizeof(h->stop),
	    FORGET_TIMEOUT_MS, NULL, NULL);
}

static void
hurry(struct nc *nc, const struct instance_record *i)
{
	struct hurry *h;
	bool is_busy;

	{
		LOCK_SCOPE(&nc->lock);
		struct nc_live *live = map_find(nc->live, i->instance_id);

		is_busy = live && live->is_busy;
	}
	if (!is_busy || !i->spec->force ||
	    (i->state != INSTANCE_STOPPING && i->state != INSTANCE_SHUTTING_DOWN))
		return;
	h = xcalloc(1, sizeof(*h));
	h->nc = nc;
	h->stop.force = 1;
	snprintf(h->stop.instance_id, sizeof(h->stop.instance_id), "%s", i->instance_id);
	if (nc_run(nc, hurry_work, h, NULL) < 0)
		free(h);
}

int
nc_handle_put_instance(struct rpc_request *rq, const struct nc_put_instance_in *in,
    struct instance_report *out, struct err *e)
{
	struct nc *nc = rq->state;
	struct instance_record record;
	int r;

	r = check_spec(nc, in->spec, e);
	if (r == 0)
		r = instance_put(nc->store, in->spec, &nc->capacity, rq->arena, &record, e);
	if (r < 0)
		return r;
	log_info(&rq->log, "instance.ordered", "instance=%s generation=%llu wanted=%s state=%s",
	    record.instance_id, (unsigned long long)record.generation, record.spec->wanted,
	    instance_state_to_string(record.state));
	{
		/* Whatever it waited for, the order may have brought it. One that runs is plugged
		 * in and served anew: groups and metadata options change under it. */
		LOCK_SCOPE(&nc->lock);
		struct nc_live *live = map_find(nc->live, record.instance_id);

		if (live) {
			live->retry_ms = 0;
			live->is_adopted = false;
			live->orders++;
		}
	}
	hurry(nc, &record);
	nc_instances_poke(nc);
	instance_to_report(&record, nc->node_id, out);
	return 0;
}

int
nc_handle_forget_instance(struct rpc_request *rq, const struct nc_forget_instance_in *in,
    struct empty *out, struct err *e)
{
	struct nc *nc = rq->state;
	struct helper_guest_ref ref = { 0 };
	struct instance_record record;
	int r;

	if (!id_is_valid(in->instance_id, "i"))
		return err_set(e, ERR_INVALID, "ill-formed instance id");
	r = instance_load(nc->store, in->instance_id, rq->arena, &record, e);
	if (r == ERR_NOT_FOUND) { /* forgotten already */
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	if (record.state != INSTANCE_TERMINATED)
		return err_set(e, ERR_CONFLICT, "instance '%s' is %s: it cannot be forgotten",
		    in->instance_id, instance_state_to_string(record.state));
	snprintf(ref.instance_id, sizeof(ref.instance_id), "%s", in->instance_id);
	r = helper_call(
	    nc->helper, HELPER_GUEST_FORGET, &ref, sizeof(ref), FORGET_TIMEOUT_MS, NULL, e);
	if (r == 0)
		r = instance_forget(nc->store, in->instance_id, e);
	if (r < 0)
		return r;
	LOCK_SCOPE(&nc->lock);
	(void)map_remove(nc->live, in->instance_id); /* absent after a restart */
	return 0;
}

/* -- networks -- */

int
nc_handle_put_vpc(struct rpc_request *rq, const struct nc_put_vpc_in *in,
    struct nc_put_vpc_out *out, struct err *e)
{
	struct nc *nc = rq->state;
	bool has_changed;
	int r = vpc_store(nc->store, in->vpc, &has_changed, e);

	if (r < 0)
		return r;
	if (has_changed)
		reconciler_poke(nc->networks);
	out->applied_revision = nc_network_applied(nc, in->vpc->vpc_id);
	out->has_applied_revision = true;
	return 0;
}

/* -- reading -- */

int
nc_handle_get_console_output(struct rpc_request *rq, const struct nc_get_console_output_in *in,
    struct nc_get_console_output_out *out, struct err *e)
{
	struct nc *nc = rq->state;
	struct instance_record record;
	int r;

	if (!id_is_valid(in->instance_id, "i"))
		return err_set(e, ERR_INVALID, "ill-formed instance id");
	r = instance_load(nc->store, in->instance_id, rq->arena, &record, e);
	if (r == 0)
		r = nc_console_read(nc, in->instance_id, rq->arena, &out->output, e);
	if (r < 0)
		return r;
	out->at = clock_now_us();
	out->has_at = true;
	return 0;
}

int
nc_handle_changes(
    struct rpc_request *rq, const struct changes_since *in, struct report_set *out, struct err *e)
{
	struct nc *nc = rq->state;
	bool node_has_changed = false;
	int r;

	if (changes_park(nc->changes, rq, in->epoch, in->revision))
		return 0;
	r = instance_reports_since(
	    nc->store, in->epoch, in->revision, nc->node_id, rq->arena, out, &node_has_changed, e);
	if (r < 0 || !node_has_changed)
		return r;
	out->nodes.items = arena_alloc(rq->arena, sizeof(*out->nodes.items));
	out->nodes.count = 1;
	return nc_node_report(nc, rq->arena, out->nodes.items, e);
}
