/* From rows to EC2's instance shape, and DescribeInstances with its filters and pages (which count
 * instances, not reservations). */
#include "instance_describe.h"

#include "base/vec.h"

#include "filter.h"
#include "page.h"
#include "placement_group.h"
#include "tags.h"
#include "vpc.h"
#include "peers.h"
#include "zone_name.h"
#include "why.h"

/* -- one instance -- */

static void
put_state(struct arena *arena, enum clc_instance_state state, struct instance_state **ret)
{
	*ret = arena_alloc(arena, sizeof(**ret));
	(*ret)->has_code = true;
	(*ret)->code = instance_state_code(state);
	(*ret)->name = instance_state_to_string(state);
}

static char *
private_dns(const char *address, const char *region, struct arena *arena)
{
	char *name = arena_printf(arena, "ip-%s", address);

	for (char *c = name; *c; c++)
		if (*c == '.')
			*c = '-';
	return arena_printf(arena, "%s.%s.compute.internal", name, region);
}

static int
read_groups(struct store_tx *tx, const char *interface_id, struct arena *arena,
    struct group_identifier **ret_items, size_t *ret_count, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct group_identifier) groups = { 0 };
	int r = store_query(tx, Q_INTERFACE_GROUPS, &rows, e, interface_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct group_identifier g = { .group_id = arena_strdup(arena, store_text(rows, 0)),
			.group_name = arena_strdup(arena, store_text(rows, 1)) };

		vec_add(&groups, g);
	}
	*ret_count = groups.count;
	*ret_items = arena_memdup(arena, groups.items, groups.count * sizeof(*groups.items));
	vec_done(&groups);
	return r;
}

static struct interface_association *
association(const char *public_ip, struct arena *arena)
{
	struct interface_association *a;

	if (!public_ip)
		return NULL;
	a = arena_alloc(arena, sizeof(*a));
	a->ip_owner_id = "amazon";
	a->public_ip = public_ip;
	a->public_dns_name = "";
	return a;
}

static int
describe_interface(struct store_tx *tx, const struct clc_instance *i, struct arena *arena,
    struct instance *out, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *row = NULL;
	struct instance_interface *nic;
	struct interface_private_address *address;
	char text[INET_ADDRSTRLEN];
	int r;

	r = store_query(tx, Q_INTERFACE_OF_INSTANCE, &row, e, i->instance_id);
	if (r == 0)
		r = store_next(row, e);
	if (r <= 0)
		return r; /* terminated: it has none any more */
	nic = arena_alloc(arena, sizeof(*nic));
	address = arena_alloc(arena, sizeof(*address));
	address_format(store_int(row, 4), text);
	nic->interface_id = arena_strdup(arena, store_text(row, 0));
	nic->vpc_id = arena_strdup(arena, store_text(row, 1));
	nic->subnet_id = arena_strdup(arena, store_text(row, 2));
	nic->mac_address = arena_strdup(arena, store_text(row, 3));
	nic->private_ip_address = arena_strdup(arena, text);
	nic->private_dns_name = private_dns(text, i->region, arena);
	nic->association = association(arena_strdup(arena, store_text(row, 5)), arena);
	nic->owner_id = i->account_id;
	nic->has_source_dest_check = true;
	nic->source_dest_check = store_int(row, 9);
	nic->description = arena_strdup(arena, store_text(row, 10));
	nic->status = "in-use";
	nic->interface_type = "interface";
	nic->attachment = arena_alloc(arena, sizeof(*nic->attachment));
	*nic->attachment = (struct interface_attachment){ .has_attach_time = true,
		.attach_time = store_int(row, 8),
		.attachment_id = arena_strdup(arena, store_text(row, 7)),
		.has_delete_on_termination = true,
		.delete_on_termination = true,
		.has_device_index = true,
		.has_network_card_index = true,
		.status = "attached",
		.instance_id = i->instance_id,
		.instance_owner_id = i->account_id };
	nic->has_requester_managed = true;
	address->association = nic->association;
	address->has_primary = address->primary = true;
	address->private_dns_name = nic->private_dns_name;
	address->private_ip_address = nic->private_ip_address;
	nic->private_addresses.items = address;
	nic->private_addresses.count = 1;
	r = read_groups(tx, nic->interface_id, arena, &nic->groups.items, &nic->groups.count, e);
	if (r < 0)
		return r;
	out->network_interfaces.items = nic;
	out->network_interfaces.count = 1;
	out->groups.items = nic->groups.items;
	out->groups.count = nic->groups.count;
	out->vpc_id = nic->vpc_id;
	out->subnet_id = nic->subnet_id;
	out->private_ip_address = nic->private_ip_address;
	out->private_dns_name = nic->private_dns_name;
	out->public_ip_address = nic->association ? nic->association->public_ip : NULL;
	out->has_source_dest_check = true;
	out->source_dest_check = nic->source_dest_check;
	return 0;
}

static void
describe_devices(const struct clc_instance *i, struct arena *arena, struct instance *out)
{
	/* Instance-store devices are not block device mappings of EC2's answer: those list EBS
	 * volumes. */
	out->root_device_name = "/dev/vda";
	out->root_device_type = "instance-store";
	out->placement = arena_alloc(arena, sizeof(*out->placement));
	out->placement->availability_zone = i->zone;
	out->placement->tenancy = "default";
	out->monitoring = arena_alloc(arena, sizeof(*out->monitoring));
	out->monitoring->state = i->is_monitored ? "enabled" : "disabled";
}

struct metadata_options_state *
clc_describe_metadata_options(const struct clc_instance *i, struct arena *arena)
{
	struct metadata_options_state *s = arena_alloc(arena, sizeof(*s));

	*s = (struct metadata_options_state){
		/* Applied when its zone has been told; one that does not run has no one to tell. */
		.state = i->to_put == PUT_SPEC && strcmp(i->wanted, "running") == 0 ? "pending"
										    : "applied",
		.http_tokens = i->http_tokens,
		.has_http_put_response_hop_limit = true,
		.http_put_response_hop_limit = (uint32_t)i->http_hop_limit,
		.http_endpoint = i->http_endpoint,
		.http_protocol_ipv6 = "disabled",
		.instance_metadata_tags = i->metadata_tags
	};
	return s;
}

/* What Amazon tells of every instance, whether anybody asked for it at launch or not. */
static void
describe_options(const struct clc_instance *i, struct arena *arena, struct instance *out)
{
	out->metadata_options = clc_describe_metadata_options(i, arena);
	out->cpu_options = arena_alloc(arena, sizeof(*out->cpu_options));
	*out->cpu_options = (struct cpu_options){ .has_core_count = true,
		.core_count = (uint32_t)i->vcpus,
		.has_threads_per_core = true,
		.threads_per_core = 1 };
	out->capacity_reservation = arena_alloc(arena, sizeof(*out->capacity_reservation));
	out->capacity_reservation->preference = i->capacity_preference;
	out->hibernation_options = arena_alloc(arena, sizeof(*out->hibernation_options));
	out->hibernation_options->has_configured = true;
	out->enclave_options = arena_alloc(arena, sizeof(*out->enclave_options));
	out->enclave_options->has_enabled = true;
	out->maintenance_options = arena_alloc(arena, sizeof(*out->maintenance_options));
	out->maintenance_options->auto_recovery = i->auto_recovery;
	out->private_dns_name_options = arena_alloc(arena, sizeof(*out->private_dns_name_options));
	*out->private_dns_name_options = (struct name_options){
		.hostname_type = "ip-name", .has_a_record = true, .has_aaaa_record = true
	};
	out->platform_details = "Linux/UNIX";
	out->usage_operation = "RunInstances";
	out->has_usage_operation_update_time = true;
	out->usage_operation_update_time = i->created_us;
	out->has_ena_support = true;
}

/* What the zone said last; of one that waits for something, why.c knows more. */
static void
describe_reason(const struct clc_instance *i, struct arena *arena, struct instance *out)
{
	if (!i->reason_code)
		return;
	out->state_reason = arena_alloc(arena, sizeof(*out->state_reason));
	out->state_reason->code = i->reason_code;
	out->state_reason->message = i->reason_message ? i->reason_message : i->reason_code;
}

/* A group can be deleted when its members have ended: then there is none to name. */
static int
describe_group(struct store_tx *tx, const struct clc_instance *i, struct arena *arena,
    struct placement *out, struct err *e)
{
	struct clc_placement_group group;
	int r;

	out->group_name = "";
	if (!i->placement_group_id)
		return 0;
	r = clc_placement_group_load(tx, i->placement_group_id, arena, &group, e);
	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	out->group_name = group.name;
	out->group_id = group.group_id;
	out->has_partition_number = group.strategy == PLACEMENT_PARTITION;
	out->partition_number = (uint32_t)i->partition_number;
	return 0;
}

static int
describe(struct store_tx *tx, const struct clc_instance *i, struct arena *arena,
    struct instance *out, struct err *e)
{
	struct tag_list tags;
	int r;

	memset(out, 0, sizeof(*out));
	out->instance_id = i->instance_id;
	out->owner_id = i->account_id;
	out->reservation_id = i->reservation_id;
	out->image_id = i->image_id;
	out->kernel_id = i->kernel_id;
	out->ramdisk_id = i->ramdisk_id;
	put_state(arena, i->state, &out->state);
	out->reason = i->transition_reason ? i->transition_reason : "";
	out->public_dns_name = out->private_dns_name = "";
	out->key_name = i->key_name;
	out->has_launch_index = out->has_launch_time = true;
	out->launch_index = (uint32_t)i->launch_index;
	out->launch_time = i->launch_us;
	out->instance_type = i->instance_type;
	out->architecture = "x86_64";
	out->virtualization_type = "hvm";
	out->hypervisor = "xen"; /* EC2 knows ovm and xen only; KVM says xen as well */
	out->client_token = i->client_token;
	out->has_ebs_optimized = true;
	out->ebs_optimized = i->is_ebs_optimized;
	describe_devices(i, arena, out);
	describe_options(i, arena, out);
	describe_reason(i, arena, out);
	r = describe_group(tx, i, arena, out->placement, e);
	if (r == 0)
		r = describe_interface(tx, i, arena, out, e);
	if (r == 0)
		r = clc_tags_read(tx, i->instance_id, arena, &tags, e);
	if (r == 0) {
		out->tags.items = tags.items;
		out->tags.count = tags.count;
	}
	return r;
}

/* -- reservations -- */

static int
show_zone(struct store_tx *tx, struct request *rq, struct instance *out, struct err *e)
{
	int r = clc_zone_name_show(
	    tx, rq, out->placement->availability_zone, &out->placement->availability_zone, e);

	for (size_t n = 0; n < out->network_interfaces.count; n++)
		out->network_interfaces.items[n].availability_zone =
		    out->placement->availability_zone;
	return r;
}

static void
begin_reservation(const struct clc_instance *i, struct reservation *out)
{
	memset(out, 0, sizeof(*out));
	out->reservation_id = i->reservation_id;
	out->owner_id = i->account_id;
}

int
clc_describe_reservation(struct store_tx *tx, struct request *rq, const char *reservation_id,
    struct reservation *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct instance) all = { 0 };
	struct clc_why_zone zone = { 0 };
	int r = store_query(tx, Q_INSTANCES_OF_RESERVATION, &rows, e, reservation_id);

	memset(ret, 0, sizeof(*ret));
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_instance i;
		struct instance out;

		clc_instance_read(rows, rq->arena, &i);
		if (!all.count)
			begin_reservation(&i, ret);
		r = describe(tx, &i, rq->arena, &out, e);
		if (r == 0)
			r = show_zone(tx, rq, &out, e);
		if (r == 0)
			r = clc_why_state_reason(tx, rq->clc, &zone, &i, rq->arena, &out, e);
		vec_add(&all, out);
	}
	ret->reservation_id = arena_strdup(rq->arena, reservation_id);
	ret->owner_id = rq->account_id;
	ret->instances.count = all.count;
	ret->instances.items = arena_memdup(rq->arena, all.items, all.count * sizeof(*all.items));
	vec_done(&all);
	return r < 0 ? r : 0;
}

struct found {
	struct instance instance;
	const char *reservation_id;
};

/* What an answer may take of its arena: a call without MaxResults ends there, with a token for the
 * rest. */
#define ANSWER_MAX (48 << 20)

struct listing {
	struct request *rq;
	const struct describe_instances_in *in;
	struct page page;
	size_t total;            /* how many passed so far, those of other pages too */
	VEC(struct found) found; /* of this page */
	struct clc_why_zone zone;
};

static bool
is_of_page(const struct listing *l)
{
	return l->total >= l->page.first && (!l->page.limit || l->found.count < l->page.limit) &&
	       arena_used(l->rq->arena) < ANSWER_MAX;
}

/* Looked at in memory that goes at once: only what is answered stays. */
static int
add_if_wanted(struct store_tx *tx, struct listing *l, const struct clc_instance *i,
    struct arena *scratch, struct err *e)
{
	struct instance seen;
	struct found f;
	int r;

	if (l->page.has_more)
		return 0;
	if (!l->in->filters.count && l->total < l->page.first) {
		l->total++;
		return 0;
	}
	r = describe(tx, i, scratch, &seen, e);
	if (r == 0)
		r = show_zone(tx, l->rq, &seen, e);
	if (r == 0)
		r = clc_why_state_reason(tx, l->rq->clc, &l->zone, i, scratch, &seen, e);
	if (r < 0 ||
	    !filters_match(l->rq->operation, l->in->filters.items, l->in->filters.count, &seen))
		return r;
	if (is_of_page(l)) {
		codec_copy(&instance_shape, &seen, l->rq->arena, &f.instance);
		f.reservation_id = arena_strdup(l->rq->arena, i->reservation_id);
		vec_add(&l->found, f);
	} else if (l->total >= l->page.first) {
		l->page.has_more = true;
	}
	l->total++;
	return 0;
}

/* The same id twice is one instance. */
static bool
is_earlier(const char *const *ids, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (strcmp(ids[k], ids[n]) == 0)
			return true;
	return false;
}

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	struct request *rq = l->rq;
	struct clc_instance i;
	int r = 0;

	l->found.count = l->total = 0;
	l->page.has_more = false;
	l->zone = (struct clc_why_zone){ 0 };
	for (size_t n = 0; r == 0 && n < l->in->instance_ids.count; n++) {
		_cleanup_arena_ struct arena *scratch = arena_new(0);

		if (is_earlier(l->in->instance_ids.items, n))
			continue;
		r = clc_instance_load(
		    tx, rq->account_id, l->in->instance_ids.items[n], scratch, &i, e);
		if (r == 0)
			r = add_if_wanted(tx, l, &i, scratch, e);
	}
	if (l->in->instance_ids.count)
		return r;
	r = store_query(
	    tx, Q_INSTANCES_OF_ACCOUNT, &rows, e, rq->account_id, rq->clc->conf->region);
	while (r >= 0 && !l->page.has_more && (r = store_next(rows, e)) > 0) {
		_cleanup_arena_ struct arena *scratch = arena_new(0);

		clc_instance_read(rows, scratch, &i);
		r = add_if_wanted(tx, l, &i, scratch, e);
	}
	return r < 0 ? r : 0;
}

/* Neighbours of one reservation become one element, which borrows its part of one array of
 * instances. */
static void
group(struct listing *l, struct describe_instances_out *out)
{
	size_t count = l->found.count;
	struct reservation *all = arena_alloc(l->rq->arena, (count + 1) * sizeof(*all)), *r = NULL;
	struct instance *instances = arena_alloc(l->rq->arena, (count + 1) * sizeof(*instances));

	for (size_t n = 0; n < count; n++) {
		const struct found *f = &l->found.items[n];

		if (!r || strcmp(r->reservation_id, f->reservation_id) != 0) {
			r = &all[out->reservations.count++];
			r->reservation_id = f->reservation_id;
			r->owner_id = l->rq->account_id;
			r->instances.items = &instances[n];
		}
		instances[n] = f->instance;
		r->instances.count++;
	}
	out->reservations.items = all;
}

int
ec2_handle_describe_instances(struct request *rq, const struct describe_instances_in *in,
    struct describe_instances_out *out, struct err *e)
{
	struct listing l = { .rq = rq, .in = in };
	int r = 0;

	for (size_t n = 0; r == 0 && n < in->instance_ids.count; n++)
		r = clc_instance_check_id(in->instance_ids.items[n], e);
	if (r == 0)
		r = page_begin(&l.page, in->next_token, in->has_max_results ? in->max_results : 0,
		    in->instance_ids.count && in->has_max_results, "instancesSet", e);
	if (r == 0)
		r = store_read(rq->clc->store, read_listing, &l, e);
	if (r == 0) {
		l.page.count = l.found.count;
		group(&l, out);
		out->next_token = page_token(&l.page, rq->arena);
	}
	vec_done(&l.found);
	return r;
}
