/* The actions about the length of ids. All have been long for years, at Amazon as here: what is
 * asked is checked and answered, what is changed is recorded and changes nothing. */
#include "base/vec.h"
#include "clc/ec2.api.h"

#include "page.h"
#include "request.h"

static const char *const kinds[] = { "bundle", "conversion-task", "customer-gateway",
	"dhcp-options", "elastic-ip-allocation", "elastic-ip-association", "export-task",
	"flow-log", "image", "import-task", "instance", "internet-gateway", "network-acl",
	"network-acl-association", "network-interface", "network-interface-attachment",
	"prefix-list", "reservation", "route-table", "route-table-association", "security-group",
	"snapshot", "subnet", "subnet-cidr-block-association", "volume", "vpc",
	"vpc-cidr-block-association", "vpc-endpoint", "vpc-peering-connection", "vpn-connection",
	"vpn-gateway" };

struct statuses {
	struct id_format *items;
	size_t count;
};

static int
check_kind(const char *resource, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i], resource) == 0)
			return 0;
	return err_set(
	    e, ERR_RESOURCE_TYPE_UNKNOWN, "The resource type '%.100s' is not valid", resource);
}

/* Of those kinds; of all when none is named. */
static int
describe(struct arena *arena, const char *const *named, size_t count, struct statuses *ret,
    struct err *e)
{
	size_t n = count ? count : ARRAY_SIZE(kinds);

	ret->items = arena_alloc(arena, n * sizeof(*ret->items));
	for (size_t i = 0; i < n; i++) {
		int r = count ? check_kind(named[i], e) : 0;

		if (r < 0)
			return r;
		ret->items[i] = (struct id_format){ .resource = count ? named[i] : kinds[i],
			.has_use_long_ids = true,
			.use_long_ids = true };
	}
	ret->count = n;
	return 0;
}

#define PUT(list, statuses)                                                                        \
	do {                                                                                       \
		(list).items = (statuses).items;                                                   \
		(list).count = (statuses).count;                                                   \
	} while (0)

int
ec2_handle_describe_id_format(struct request *rq, const struct describe_id_format_in *in,
    struct describe_id_format_out *out, struct err *e)
{
	struct statuses s = { 0 };
	int r = describe(rq->arena, &in->resource, in->resource != NULL, &s, e);

	PUT(out->statuses, s);
	return r;
}

int
ec2_handle_describe_aggregate_id_format(struct request *rq,
    const struct describe_aggregate_id_format_in *in, struct describe_aggregate_id_format_out *out,
    struct err *e)
{
	struct statuses s = { 0 };
	int r = describe(rq->arena, NULL, 0, &s, e);

	out->has_use_long_ids_aggregated = out->use_long_ids_aggregated = true;
	PUT(out->statuses, s);
	return r;
}

/* -- of one principal -- */

struct identity {
	struct request *rq;
	const char *arn, *resource;
};

static char *
root_arn(const struct request *rq)
{
	return arena_printf(rq->arena, "arn:aws:iam::%s:root", rq->account_id);
}

/* The root or a user of the account. */
static int
check_principal(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct identity *i = arg;
	const char *prefix = arena_printf(i->rq->arena, "arn:aws:iam::%s:user/", i->rq->account_id);
	int r = 0;

	if (strcmp(i->arn, root_arn(i->rq)) == 0)
		return 0;
	if (str_starts(str_of(i->arn), prefix)) {
		r = store_query(
		    tx, Q_USER_BY_NAME, &rows, e, i->rq->account_id, i->arn + strlen(prefix));
		if (r == 0)
			r = store_next(rows, e);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return err_set(e, ERR_TARGET_ARN_UNKNOWN,
	    "The principal '%.200s' is not valid or does not exist", i->arn);
}

int
ec2_handle_describe_identity_id_format(struct request *rq,
    const struct describe_identity_id_format_in *in, struct describe_identity_id_format_out *out,
    struct err *e)
{
	struct identity i = { rq, in->principal_arn, in->resource };
	struct statuses s = { 0 };
	int r = describe(rq->arena, &in->resource, in->resource != NULL, &s, e);

	if (r == 0)
		r = store_read(rq->clc->store, check_principal, &i, e);
	PUT(out->statuses, s);
	return r;
}

/* Nobody has settings of his own: the root stands for all. */
int
ec2_handle_describe_principal_id_format(struct request *rq,
    const struct describe_principal_id_format_in *in, struct describe_principal_id_format_out *out,
    struct err *e)
{
	struct principal_id_format *root = arena_alloc(rq->arena, sizeof(*root));
	struct statuses s = { 0 };
	struct page page;
	int r = page_begin(
	    &page, in->next_token, in->has_max_results ? in->max_results : 0, false, NULL, e);

	if (r == 0)
		r = describe(rq->arena, in->resources.items, in->resources.count, &s, e);
	if (r < 0)
		return r;
	root->arn = root_arn(rq);
	PUT(root->statuses, s);
	page_cut(&page, 1);
	out->principals.items = root;
	out->principals.count = page.count;
	out->next_token = page_token(&page, rq->arena);
	return 0;
}

/* -- changes -- */

static int
record(struct store_tx *tx, void *arg, struct err *e)
{
	struct identity *i = arg;
	int r = i->arn && strcmp(i->arn, "all") != 0 ? check_principal(tx, i, e) : 0;

	return r == 0 ? request_audit(tx, i->rq, i->resource, e) : r;
}

static int
modify(struct request *rq, const char *arn, const char *resource, struct err *e)
{
	struct identity i = { rq, arn, resource };
	int r = strcmp(resource, "all-current") == 0 ? 0 : check_kind(resource, e);

	return r == 0 ? store_write(rq->clc->store, record, &i, e) : r;
}

int
ec2_handle_modify_id_format(struct request *rq, const struct modify_id_format_in *in,
    struct modify_id_format_out *out, struct err *e)
{
	int r = modify(rq, NULL, in->resource, e);

	out->has_result = out->result = r == 0;
	return r;
}

int
ec2_handle_modify_identity_id_format(struct request *rq,
    const struct modify_identity_id_format_in *in, struct modify_identity_id_format_out *out,
    struct err *e)
{
	int r = modify(rq, in->principal_arn, in->resource, e);

	out->has_result = out->result = r == 0;
	return r;
}
