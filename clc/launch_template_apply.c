/* Launching with a template: the version that a request names fills what the request leaves open,
 * and the instance says by tags what it was launched from. */
#include "launch_template.h"

#include <stdio.h>

#include "tags.h"

#define TAG_ID "aws:ec2launchtemplate:id"
#define TAG_VERSION "aws:ec2launchtemplate:version"

struct lookup {
	struct request *rq;
	const struct launch_template_specification *wanted;
	struct clc_template template;
	struct launch_template_version version;
};

static int
find_version(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;
	int64_t number;
	int r = clc_template_load(tx, l->rq, l->wanted->launch_template_id,
	    l->wanted->launch_template_name, &l->template, e);

	if (r == 0)
		r = clc_template_version_parse(&l->template, l->wanted->version, &number, e);
	if (r == 0)
		r = clc_template_version_load(
		    tx, &l->template, number, l->rq->arena, &l->version, e);
	return r;
}

int
clc_template_apply(struct request *rq, const struct run_instances_in *in,
    const struct run_instances_in **ret_in, struct clc_template_used *ret, struct err *e)
{
	struct lookup l = { .rq = rq, .wanted = in->launch_template };
	struct run_instances_in *lower, *merged;
	struct launch_template_data *data;
	int r;

	*ret = (struct clc_template_used){ 0 };
	*ret_in = in;
	if (!in->launch_template)
		return 0;
	r = store_read(rq->clc->store, find_version, &l, e);
	if (r < 0)
		return r;
	data = l.version.launch_template_data;
	/* Ids and names of groups are one parameter in two spellings. */
	if (in->security_groups.count || in->security_group_ids.count)
		data->security_groups.count = data->security_group_ids.count = 0;
	lower = arena_alloc(rq->arena, sizeof(*lower));
	merged = arena_alloc(rq->arena, sizeof(*merged));
	r = clc_template_data_request(data, rq->arena, lower, e);
	if (r == 0)
		r = codec_merge(&run_instances_in_shape, in, lower, rq->arena, merged, e);
	if (r < 0)
		return err_wrap(e, "launch template '%s', version %lld", l.template.template_id,
		    (long long)l.version.version_number);
	snprintf(ret->template_id, sizeof(ret->template_id), "%s", l.template.template_id);
	ret->version = l.version.version_number;
	*ret_in = merged;
	return 0;
}

int
clc_template_tag(struct store_tx *tx, const char *account_id, const char *instance_id,
    const struct clc_template_used *used, struct err *e)
{
	_cleanup_free_ char *version = NULL;

	if (!used->template_id[0])
		return 0;
	version = xasprintf("%lld", (long long)used->version);
	const struct tag tags[] = { { TAG_ID, used->template_id }, { TAG_VERSION, version } };

	return clc_tags_insert(tx, account_id, instance_id, tags, ARRAY_SIZE(tags), e);
}
