/* ModifyInstancePlacement: the placement group of a stopped instance, and its partition. */
#include "clc/ec2.api.h"

#include "instance.h"
#include "placement.h"
#include "placement_group.h"

struct change {
	struct request *rq;
	const struct modify_instance_placement_in *in;
};

static int
change_placement(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	const struct modify_instance_placement_in *in = c->in;
	const struct clc_placement_group_ref ref = { .name = in->group_name,
		.group_id = in->group_id,
		.partition_number = in->has_partition_number ? &in->partition_number : NULL };
	const struct clc_placement_group *group;
	struct clc_instance i;
	int64_t partition = in->has_partition_number ? in->partition_number : 0;
	int r = clc_instance_load(tx, c->rq->account_id, in->instance_id, c->rq->arena, &i, e);

	if (r == 0 && !ref.name && !ref.group_id && ref.partition_number && i.placement_group_id) {
		/* Another partition of the group that it is in. */
		struct clc_placement_group_ref same = ref;

		same.group_id = i.placement_group_id;
		r = clc_placement_group_find(tx, c->rq, &same, &group, e);
	} else if (r == 0) {
		r = clc_placement_group_find(tx, c->rq, &ref, &group, e);
	}
	if (r < 0)
		return r;
	if (!ref.name && !ref.group_id && !ref.partition_number)
		return 0; /* tenancy or affinity alone, and what it asks for is so already */
	if (i.state != INSTANCE_STOPPED)
		return err_set(e, ERR_INCORRECT_INSTANCE_STATE,
		    "The instance '%s' is not in the 'stopped' state: its placement can be "
		    "changed only then.",
		    i.instance_id);
	if (group)
		r = clc_placement_join(tx, &i, group, &partition, c->rq->arena, e);
	if (r == 0)
		r = store_exec(tx, Q_INSTANCE_SET_PLACEMENT, NULL, e, i.instance_id,
		    group ? group->group_id : NULL, partition);
	return r == 0 ? request_record(tx, c->rq, "instance", i.instance_id, e) : r;
}

int
ec2_handle_modify_instance_placement(struct request *rq,
    const struct modify_instance_placement_in *in, struct modify_instance_placement_out *out,
    struct err *e)
{
	struct change c = { .rq = rq, .in = in };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0 && in->tenancy && strcmp(in->tenancy, "default") != 0)
		r = err_set(
		    e, ERR_UNSUPPORTED_OPERATION, "The tenancy '%s' is not supported", in->tenancy);
	if (r == 0 && in->affinity && strcmp(in->affinity, "default") != 0)
		r = err_set(e, ERR_UNSUPPORTED_OPERATION, "The affinity '%s' is not supported",
		    in->affinity);
	if (r == 0 && !in->group_name && !in->group_id && !in->has_partition_number &&
	    !in->tenancy && !in->affinity)
		r = err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain at least one of the parameters affinity, hostId, "
		    "tenancy, groupName or groupId");
	if (r == 0)
		r = store_write(rq->clc->store, change_placement, &c, e);
	out->has_result = out->result = r == 0;
	return r;
}
