/* IAM instance profiles: there are none in this cloud. Every name is one that does not exist, every
 * association too, and is answered so. */
#include "base/id.h"
#include "clc/ec2.api.h"

#include "instance.h"
#include "page.h"

int
clc_profile_refuse(const struct instance_profile *profile, struct err *e)
{
	if (profile->arn && profile->name)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "The parameter 'iamInstanceProfile.name' may not be used in combination with "
		    "'iamInstanceProfile.arn'");
	if (profile->arn)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.200s) for parameter iamInstanceProfile.arn is invalid. Invalid IAM "
		    "Instance Profile ARN",
		    profile->arn);
	if (profile->name)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.200s) for parameter iamInstanceProfile.name is invalid. Invalid IAM "
		    "Instance Profile name",
		    profile->name);
	return err_set(e, ERR_MISSING_PARAMETER,
	    "The request must contain the parameter iamInstanceProfile.name or "
	    "iamInstanceProfile.arn");
}

static int
refuse_association(const char *id, struct err *e)
{
	if (!id_is_valid(id, "iip-assoc"))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE, "Invalid value for associationId.");
	return err_set(
	    e, ERR_ASSOCIATION_NOT_FOUND, "An invalid association-id of '%s' was given", id);
}

struct target {
	struct request *rq;
	const char *id;
	struct clc_instance instance;
};

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct target *t = arg;

	return clc_instance_load(tx, t->rq->account_id, t->id, t->rq->arena, &t->instance, e);
}

int
ec2_handle_associate_iam_instance_profile(struct request *rq,
    const struct associate_iam_instance_profile_in *in,
    struct associate_iam_instance_profile_out *out, struct err *e)
{
	struct target t = { .rq = rq, .id = in->instance_id };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0)
		r = store_read(rq->clc->store, load, &t, e);
	return r < 0 ? r : clc_profile_refuse(in->profile, e);
}

int
ec2_handle_describe_iam_instance_profile_associations(struct request *rq,
    const struct describe_iam_instance_profile_associations_in *in,
    struct describe_iam_instance_profile_associations_out *out, struct err *e)
{
	struct page page;
	int r = page_begin(&page, in->next_token, in->has_max_results ? in->max_results : 0,
	    in->association_ids.count && in->has_max_results, "associationIdSet", e);

	if (r == 0 && in->association_ids.count)
		r = refuse_association(in->association_ids.items[0], e);
	return r;
}

int
ec2_handle_disassociate_iam_instance_profile(struct request *rq,
    const struct disassociate_iam_instance_profile_in *in,
    struct disassociate_iam_instance_profile_out *out, struct err *e)
{
	return refuse_association(in->association_id, e);
}

int
ec2_handle_replace_iam_instance_profile_association(struct request *rq,
    const struct replace_iam_instance_profile_association_in *in,
    struct replace_iam_instance_profile_association_out *out, struct err *e)
{
	return refuse_association(in->association_id, e);
}
