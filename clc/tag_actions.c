/* CreateTags, DeleteTags, DescribeTags. All resources named are found before any is changed, in one
 * transaction; what may be tagged is a table. */
#include "base/vec.h"

#include "filter.h"
#include "page.h"
#include "request.h"
#include "tags.h"
#include "zone.h"

static const struct clc_taggable kinds[] = {
	{ "i", "instance", Q_TAGGABLE_INSTANCE, ERR_INSTANCE_NOT_FOUND,
	    "The instance ID '%s' does not exist" },
	{ "ami", "image", Q_TAGGABLE_IMAGE, ERR_IMAGE_NOT_FOUND,
	    "The image id '[%s]' does not exist" },
	{ "aki", "image", Q_TAGGABLE_IMAGE, ERR_IMAGE_NOT_FOUND,
	    "The image id '[%s]' does not exist" },
	{ "ari", "image", Q_TAGGABLE_IMAGE, ERR_IMAGE_NOT_FOUND,
	    "The image id '[%s]' does not exist" },
	{ "key", "key-pair", Q_TAGGABLE_KEY_PAIR, ERR_KEY_PAIR_NOT_FOUND,
	    "The key pair ID '%s' does not exist" },
	{ "lt", "launch-template", Q_TAGGABLE_TEMPLATE, ERR_LAUNCH_TEMPLATE_ID_NOT_FOUND,
	    "The specified launch template, with template ID %s, does not exist." },
	{ "vpc", "vpc", Q_TAGGABLE_VPC, ERR_VPC_NOT_FOUND, "The vpc ID '%s' does not exist" },
	{ "dopt", "dhcp-options", Q_TAGGABLE_DHCP_OPTIONS, ERR_DHCP_OPTIONS_NOT_FOUND,
	    "The dhcpOption ID '%s' does not exist" },
	{ "subnet", "subnet", Q_TAGGABLE_SUBNET, ERR_SUBNET_NOT_FOUND,
	    "The subnet ID '%s' does not exist" },
	{ "sg", "security-group", Q_TAGGABLE_SECURITY_GROUP, ERR_SECURITY_GROUP_ID_NOT_FOUND,
	    "The securityGroup ID '%s' does not exist" },
	{ "eni", "network-interface", Q_TAGGABLE_INTERFACE, ERR_NETWORK_INTERFACE_NOT_FOUND,
	    "The networkInterface ID '%s' does not exist" },
	/* kinds that the cloud has none of */
	{ "vol", "volume", -1, ERR_VOLUME_NOT_FOUND, "The volume '%s' does not exist." },
	{ "snap", "snapshot", -1, ERR_SNAPSHOT_NOT_FOUND, "The snapshot '%s' does not exist." },
	{ "rtb", "route-table", -1, ERR_ROUTE_TABLE_NOT_FOUND,
	    "The routeTable ID '%s' does not exist" },
	{ "igw", "internet-gateway", -1, ERR_INTERNET_GATEWAY_NOT_FOUND,
	    "The internetGateway ID '%s' does not exist" },
	{ "acl", "network-acl", -1, ERR_NETWORK_ACL_NOT_FOUND,
	    "The networkAcl ID '%s' does not exist" },
	{ "vgw", "vpn-gateway", -1, ERR_VPN_GATEWAY_NOT_FOUND,
	    "The vpnGateway ID '%s' does not exist" },
	{ "cgw", "customer-gateway", -1, ERR_CUSTOMER_GATEWAY_NOT_FOUND,
	    "The customerGateway ID '%s' does not exist" },
	{ "vpn", "vpn-connection", -1, ERR_VPN_CONNECTION_NOT_FOUND,
	    "The vpnConnection ID '%s' does not exist" },
	{ "pcx", "vpc-peering-connection", -1, ERR_VPC_PEERING_NOT_FOUND,
	    "The vpcPeeringConnection ID '%s' does not exist" },
	{ "eipalloc", "elastic-ip", -1, ERR_ALLOCATION_NOT_FOUND,
	    "The allocation ID '%s' does not exist" },
	{ "nat", "natgateway", -1, ERR_NAT_GATEWAY_NOT_FOUND, "The Nat Gateway %s was not found" },
	{ "vpce", "vpc-endpoint", -1, ERR_VPC_ENDPOINT_NOT_FOUND,
	    "The Vpc Endpoint Id '%s' does not exist" },
};

const struct clc_taggable *
clc_taggable_find(const char *id)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (id_is_valid(id, kinds[i].prefix))
			return &kinds[i];
	return NULL;
}

static int
not_found(const struct clc_taggable *kind, const char *id, struct err *e)
{
	const char *hole = strstr(kind->message, "%s");

	return err_set(
	    e, kind->fault, "%.*s%s%s", (int)(hole - kind->message), kind->message, id, hole + 2);
}

/* The account's own, of the kind that its id says. */
static int
find(struct store_tx *tx, const struct request *rq, const char *id,
    const struct clc_taggable **ret_kind, bool *ret_is_shown, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const struct clc_taggable *kind = clc_taggable_find(id);
	int r;

	if (!kind)
		return err_set(e, ERR_TAGGED_ID, "The ID '%.100s' is not valid", id);
	if (kind->query < 0)
		return not_found(kind, id, e);
	r = store_query(
	    tx, (unsigned)kind->query, &rows, e, id, rq->account_id, rq->clc->conf->region);
	if (r == 0)
		r = store_next(rows, e);
	if (r == 0)
		return not_found(kind, id, e);
	if (r < 0)
		return r;
	*ret_kind = kind;
	*ret_is_shown =
	    kind->query == Q_TAGGABLE_INSTANCE && strings_equal(store_text(rows, 0), "enabled");
	return 0;
}

/* Resources named twice are one; each is found before any is changed. */
struct change {
	struct request *rq;
	const char *const *ids;
	size_t count;
	const struct tag *tags;
	size_t tag_count;
	int (*apply)(struct store_tx *tx, const struct change *c, const char *id, struct err *e);
	bool is_creation, is_shown; /* whether a guest sees one of the changes */
};

static bool
is_repeated(const struct change *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(c->ids[i], c->ids[n]) == 0)
			return true;
	return false;
}

static int
change(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	const struct clc_taggable *kind;
	bool is_shown;
	int r = 0;

	c->is_shown = false;
	for (size_t i = 0; r == 0 && i < c->count; i++) {
		r = find(tx, c->rq, c->ids[i], &kind, &is_shown, e);
		if (r == 0 && is_shown && c->is_creation)
			r = clc_tags_check_metadata(c->tags, c->tag_count, e);
	}
	for (size_t i = 0; r == 0 && i < c->count; i++) {
		if (is_repeated(c, i))
			continue;
		r = find(tx, c->rq, c->ids[i], &kind, &is_shown, e);
		if (r == 0)
			r = c->apply(tx, c, c->ids[i], e);
		if (r == 0 && is_shown) {
			r = store_exec(tx, Q_INSTANCE_TAGS_CHANGED, NULL, e, c->ids[i]);
			c->is_shown = true;
		}
		if (r == 0)
			r = request_record(tx, c->rq, kind->type, c->ids[i], e);
	}
	return r;
}

static int
write_change(struct change *c, struct err *e)
{
	int r = store_write(c->rq->clc->store, change, c, e);

	if (r == 0 && c->is_shown)
		clc_zones_poke(c->rq->clc, NULL);
	return r;
}

/* -- CreateTags: a key that is there gets the new value -- */

static int
add_tags(struct store_tx *tx, const struct change *c, const char *id, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = clc_tags_insert(tx, c->rq->account_id, id, c->tags, c->tag_count, e);

	if (r == 0)
		r = store_query_one(tx, Q_TAG_COUNT, &rows, "count of tags", e, id);
	if (r == 0 && store_int(rows, 0) > TAGS_MAX)
		r = err_set(e, ERR_TAG_LIMIT_EXCEEDED,
		    "The maximum number of Tags has been reached: '%s' may have %d", id, TAGS_MAX);
	return r;
}

int
ec2_handle_create_tags(
    struct request *rq, const struct create_tags_in *in, struct create_tags_out *out, struct err *e)
{
	struct change c = { .rq = rq,
		.ids = in->resources.items,
		.count = in->resources.count,
		.tags = in->tags.items,
		.tag_count = in->tags.count,
		.apply = add_tags,
		.is_creation = true };
	int r = clc_tags_check(in->tags.items, in->tags.count, e);

	if (r == 0)
		r = write_change(&c, e);
	out->has_result = out->result = r == 0;
	return r;
}

/* -- DeleteTags: what is not there, or has another value, stays as it is -- */

static int
delete_tags(struct store_tx *tx, const struct change *c, const char *id, struct err *e)
{
	int r = 0;

	if (c->tag_count == 0)
		return store_exec(tx, Q_TAGS_DELETE, NULL, e, id);
	for (size_t i = 0; r == 0 && i < c->tag_count; i++)
		r = store_exec(tx, Q_TAG_DELETE, NULL, e, id, c->tags[i].key, c->tags[i].value);
	return r;
}

int
ec2_handle_delete_tags(
    struct request *rq, const struct delete_tags_in *in, struct delete_tags_out *out, struct err *e)
{
	struct change c = { .rq = rq,
		.ids = in->resources.items,
		.count = in->resources.count,
		.tags = in->tags.items,
		.tag_count = in->tags.count,
		.apply = delete_tags };
	int r = 0;

	for (size_t i = 0; r == 0 && i < in->tags.count; i++)
		r = clc_tag_check_key(in->tags.items[i].key, e);
	if (r == 0)
		r = write_change(&c, e);
	out->has_result = out->result = r == 0;
	return r;
}

/* -- DescribeTags -- */

struct listing {
	struct request *rq;
	const struct describe_tags_in *in;
	VEC(struct tag_description) found;
};

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	struct arena *arena = l->rq->arena;
	int r = store_query(tx, Q_TAGS_OF_ACCOUNT, &rows, e, l->rq->account_id);

	l->found.count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		const struct clc_taggable *kind = clc_taggable_find(store_text(rows, 0));
		struct tag *tag = arena_alloc(arena, sizeof(*tag));
		struct tag_description d = { .resource_id =
						 arena_strdup(arena, store_text(rows, 0)),
			.resource_type = kind ? kind->type : NULL,
			.key = arena_strdup(arena, store_text(rows, 1)),
			.value = arena_strdup(arena, store_text(rows, 2)) };

		*tag = (struct tag){ d.key, d.value };
		d.tags.items = tag;
		d.tags.count = 1;
		if (filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &d))
			vec_add(&l->found, d);
	}
	return r;
}

int
ec2_handle_describe_tags(struct request *rq, const struct describe_tags_in *in,
    struct describe_tags_out *out, struct err *e)
{
	struct listing l = { .rq = rq, .in = in };
	struct page page;
	int r = page_begin(
	    &page, in->next_token, in->has_max_results ? in->max_results : 0, false, NULL, e);

	if (r == 0)
		r = store_read(rq->clc->store, read_listing, &l, e);
	if (r == 0) {
		page_cut(&page, l.found.count);
		out->tags.count = page.count;
		out->tags.items = arena_memdup(
		    rq->arena, l.found.items + page.first, page.count * sizeof(*l.found.items));
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&l.found);
	return r;
}
