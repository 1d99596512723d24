/* RunInstances: everything is decided and written in one transaction — idempotency, quota,
 * capacity, addresses, rows — and answered after it is durable. What happens next is the zone
 * link's business. */
#include <stdio.h>

#include "auth/digest.h"
#include "base/clock.h"
#include "clc/ec2.api.h"

#include "block_device.h"
#include "image.h"
#include "instance.h"
#include "instance_describe.h"
#include "instance_type.h"
#include "placement.h"
#include "placement_group.h"
#include "launch_template.h"
#include "tags.h"
#include "vpc.h"
#include "zone.h"
#include "zone_name.h"

#define USER_DATA_MAX 16384
#define HOP_LIMIT_DEFAULT 1

struct launch {
	struct request *rq;
	const struct run_instances_in *in;
	struct str user_data; /* decoded */
	const char *token;    /* NULL: none */
	char parameters[65];  /* digest, for the client token */
	const struct interface_specification *nic;
	const char *private_ip;
	const struct tag *tags, *nic_tags;
	size_t tag_count, nic_tag_count;
	struct clc_template_used template;
	/* resolved within the transaction */
	struct clc_instance_type type;
	struct clc_metadata_defaults defaults;
	struct clc_image image;
	const char *kernel_id, *ramdisk_id, *public_key;
	struct clc_subnet subnet;
	const char *zone; /* of the subnet, as the account knows it */
	const struct clc_placement_group *placement_group;
	struct clc_seating seating;
	const char **group_ids;
	size_t group_count;
	uint32_t count;
	struct clc_devices devices;
	int64_t disk_gib;
	char reservation_id[ID_MAX];
	bool is_repeat;
	struct reservation *out;
};

/* -- checks that need no store -- */

static int
decode_user_data(struct launch *l, struct err *e)
{
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	if (!l->in->user_data)
		return 0;
	if (!base64_decode(str_of(l->in->user_data), &bytes, &n))
		return err_set(e, ERR_USER_DATA_MALFORMED, "Invalid BASE64 encoding of user data.");
	if (n > USER_DATA_MAX)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE, "User data is limited to %d bytes",
		    USER_DATA_MAX);
	l->user_data = (struct str){ arena_memdup(l->rq->arena, bytes, n), n };
	return 0;
}

/* The one address there may be, whichever way it was written. */
static int
check_addresses(struct launch *l, struct err *e)
{
	const struct interface_specification *nic = l->nic;

	l->private_ip = nic->private_ip_address;
	for (size_t n = 0; n < nic->private_ip_addresses.count; n++) {
		const struct private_address_specification *a = &nic->private_ip_addresses.items[n];

		if (!a->primary)
			return err_set(e, ERR_UNSUPPORTED_OPERATION,
			    "Secondary private IP addresses are not supported");
		if (l->private_ip)
			return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
			    "Only one primary private IP address can be specified.");
		if (!a->private_ip_address)
			return err_set(e, ERR_MISSING_PARAMETER,
			    "The request must contain the parameter PrivateIpAddress");
		l->private_ip = a->private_ip_address;
	}
	return 0;
}

static int
check_interface(struct launch *l, struct err *e)
{
	const struct run_instances_in *in = l->in;

	l->private_ip = in->private_ip_address;
	if (!in->network_interfaces.count)
		return 0;
	l->nic = &in->network_interfaces.items[0];
	if (l->nic->interface_id && !id_is_valid(l->nic->interface_id, "eni"))
		return err_set(
		    e, ERR_INTERFACE_MALFORMED, "Invalid id: \"%.100s\"", l->nic->interface_id);
	if (l->nic->has_delete_on_termination && !l->nic->delete_on_termination)
		return err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "A network interface ends with its instance: DeleteOnTermination can't be "
		    "false");
	if (l->nic->has_device_index && l->nic->device_index != 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Each instance needs a network interface of device index 0");
	if (in->subnet_id || in->private_ip_address || in->security_groups.count ||
	    in->security_group_ids.count)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "Network interfaces and an instance-level subnet ID, address or security "
		    "groups may "
		    "not be specified on the same request");
	return check_addresses(l, e);
}

static int
check(struct launch *l, struct err *e)
{
	const struct run_instances_in *in = l->in;
	int r;

	if (!in->image_id || !in->image_id[0])
		return err_set(
		    e, ERR_MISSING_PARAMETER, "The request must contain the parameter ImageId");
	if (in->max_count < in->min_count)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%u) for parameter maxCount is invalid. It must be at least minCount "
		    "(%u)",
		    in->max_count, in->min_count);
	if (in->placement && in->placement->tenancy &&
	    strcmp(in->placement->tenancy, "default") != 0)
		return err_set(e, ERR_UNSUPPORTED_OPERATION, "The tenancy '%s' is not supported",
		    in->placement->tenancy);
	if (in->credit_specification &&
	    strcmp(in->credit_specification->cpu_credits, "standard") != 0 &&
	    strcmp(in->credit_specification->cpu_credits, "unlimited") != 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.100s) for parameter cpuCredits is invalid. Valid values are standard "
		    "and unlimited",
		    in->credit_specification->cpu_credits);
	if (in->profile)
		return clc_profile_refuse(in->profile, e);
	r = decode_user_data(l, e);
	if (r == 0)
		r = check_interface(l, e);
	if (r == 0)
		r = clc_devices_check(in->block_devices.items, in->block_devices.count, e);
	if (r == 0)
		r = clc_tags_of(in->tag_specifications.items, in->tag_specifications.count,
		    "instance", &l->tags, &l->tag_count, e);
	if (r == 0)
		r = clc_tags_of(in->tag_specifications.items, in->tag_specifications.count,
		    "network-interface", &l->nic_tags, &l->nic_tag_count, e);
	return r;
}

/* Same token and same parameters: the same reservation. */
static void
digest_parameters(struct launch *l)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct xml_writer w;

	xml_writer_init(&w, &text, true);
	codec_to_xml(&run_instances_in_shape, l->in, &w);
	digest_hex(DIGEST_SHA256, strbuf_str(&text), l->parameters);
}

/* -- within the transaction -- */

static int
find_repeat(struct store_tx *tx, struct launch *l, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	if (!l->token)
		return 0;
	r = store_query(tx, Q_RESERVATION_BY_TOKEN, &rows, e, l->rq->account_id,
	    l->rq->clc->conf->region, l->token);
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	if (!strings_equal(store_text(rows, 1), l->parameters))
		return err_set(e, ERR_IDEMPOTENT_PARAMETER_MISMATCH,
		    "Arguments on this idempotent request are inconsistent with arguments used in "
		    "previous "
		    "request(s).");
	snprintf(l->reservation_id, sizeof(l->reservation_id), "%s", store_text(rows, 0));
	l->is_repeat = true;
	return 0;
}

/* Who may launch an image may launch it with the kernel that its owner registered it with. */
static int
check_part(struct store_tx *tx, const struct launch *l, const char *asked, const char *id,
    const char *type, struct err *e)
{
	struct clc_image part;

	return id ? clc_image_get(
			tx, asked ? l->rq->account_id : NULL, id, type, l->rq->arena, &part, e)
		  : 0;
}

static int
resolve_image(struct store_tx *tx, struct launch *l, struct err *e)
{
	struct request *rq = l->rq;
	int r;

	r = clc_image_get(tx, rq->account_id, l->in->image_id, "machine", rq->arena, &l->image, e);
	if (r < 0)
		return r;
	l->kernel_id =
	    l->in->kernel_id ? clc_image_id(l->in->kernel_id, rq->arena) : l->image.kernel_id;
	l->ramdisk_id =
	    l->in->ramdisk_id ? clc_image_id(l->in->ramdisk_id, rq->arena) : l->image.ramdisk_id;
	if (l->ramdisk_id && !l->kernel_id)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION, "RamdiskId needs a KernelId");
	r = check_part(tx, l, l->in->kernel_id, l->kernel_id, "kernel", e);
	return r < 0 ? r : check_part(tx, l, l->in->ramdisk_id, l->ramdisk_id, "ramdisk", e);
}

/* What is asked for must be what the type has. */
static int
check_type(struct launch *l, struct err *e)
{
	const struct cpu_options *cpu = l->in->cpu_options;

	if (l->in->credit_specification && !clc_type_is_burstable(l->type.name))
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "The CreditSpecification parameter is not supported for the instance type "
		    "'%s'.",
		    l->type.name);
	if (cpu && ((cpu->has_core_count && cpu->core_count != l->type.vcpus) ||
		       (cpu->has_threads_per_core && cpu->threads_per_core != 1)))
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "The CpuOptions are not valid for the instance type '%s': it has %lld cores of "
		    "one thread.",
		    l->type.name, (long long)l->type.vcpus);
	return 0;
}

static int
check_interface_id(struct store_tx *tx, struct launch *l, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	if (!l->nic || !l->nic->interface_id)
		return 0;
	r = store_query(tx, Q_INTERFACE_BY_ID, &rows, e, l->nic->interface_id, l->rq->account_id);
	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	/* Each was made with its instance and stays with it. */
	return r > 0 ? err_set(e, ERR_INTERFACE_IN_USE,
			   "Network interface '%s' is currently in use.", l->nic->interface_id)
		     : err_set(e, ERR_NETWORK_INTERFACE_NOT_FOUND,
			   "The networkInterface ID '%s' does not exist", l->nic->interface_id);
}

/* Asked for, else the account's default, else ours. */
static const char *
option(const char *asked, const char *of_account, const char *otherwise)
{
	return asked ? asked : of_account ? of_account : otherwise;
}

static const char *
metadata_tags(const struct launch *l)
{
	const struct metadata_options *asked = l->in->metadata_options;

	return option(
	    asked ? asked->instance_metadata_tags : NULL, l->defaults.metadata_tags, "disabled");
}

static int64_t
hop_limit(const struct launch *l)
{
	const struct metadata_options *asked = l->in->metadata_options;

	if (asked && asked->has_http_put_response_hop_limit)
		return asked->http_put_response_hop_limit;
	if (l->defaults.http_hop_limit)
		return l->defaults.http_hop_limit;
	/* Amazon gives instances of such images one hop more, for containers. */
	return l->image.imds_support ? HOP_LIMIT_DEFAULT + 1 : HOP_LIMIT_DEFAULT;
}

/* What most launches say nothing of. */
static int
set_options(
    struct store_tx *tx, struct launch *l, const char *id, const char *interface_id, struct err *e)
{
	const struct run_instances_in *in = l->in;
	int r = 0;

	if (in->credit_specification)
		r = store_exec(
		    tx, Q_INSTANCE_SET_CREDITS, NULL, e, id, in->credit_specification->cpu_credits);
	if (r == 0 && in->capacity_reservation && in->capacity_reservation->preference)
		r = store_exec(tx, Q_INSTANCE_SET_CAPACITY_PREFERENCE, NULL, e, id,
		    in->capacity_reservation->preference);
	if (r == 0 && l->nic && l->nic->description)
		r = store_exec(
		    tx, Q_INTERFACE_SET_DESCRIPTION, NULL, e, interface_id, l->nic->description);
	return r;
}

static int
resolve_key(struct store_tx *tx, struct launch *l, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	if (!l->in->key_name)
		return 0;
	r = store_query_one(tx, Q_KEY_PAIR_BY_NAME, &rows, "key pair", e, l->rq->account_id,
	    l->rq->clc->conf->region, l->in->key_name);
	if (r == ERR_NOT_FOUND)
		return err_set(
		    e, ERR_KEY_PAIR_NOT_FOUND, "The key pair '%s' does not exist", l->in->key_name);
	if (r == 0)
		l->public_key = arena_strdup(l->rq->arena, store_text(rows, 1));
	return r;
}

/* What an instance may come to hold on a node's disk, in whole GiB. */
static int
resolve_devices(struct launch *l, struct err *e)
{
	int64_t bytes =
	    l->image.disk_bytes > l->image.size_bytes ? l->image.disk_bytes : l->image.size_bytes;
	int64_t image_gib = (bytes + (1 << 30) - 1) >> 30;
	int r;

	r = clc_devices_resolve(l->in->block_devices.items, l->in->block_devices.count,
	    l->image.block_devices, l->image.root_device_name, image_gib, &l->type, l->rq->arena,
	    &l->devices, e);
	if (r == 0)
		l->disk_gib = l->devices.root_disk_gib + l->devices.ephemeral_gib;
	return r;
}

static int
resolve_placement(struct store_tx *tx, struct launch *l, struct err *e)
{
	const struct launch_placement *p = l->in->placement;
	struct clc_placement_group_ref ref = { 0 };
	int r;

	if (p) {
		ref.name = p->group_name;
		ref.group_id = p->group_id;
		ref.partition_number = p->has_partition_number ? &p->partition_number : NULL;
	}
	r = clc_placement_group_find(tx, l->rq, &ref, &l->placement_group, e);
	l->seating = (struct clc_seating){ .instance_type = l->type.name,
		.vcpus = l->type.vcpus,
		.memory_mib = l->type.memory_mib,
		.disk_gib = l->disk_gib,
		.group = l->placement_group,
		.partition_number = ref.partition_number ? *ref.partition_number : 0 };
	return r;
}

static int
resolve_network(struct store_tx *tx, struct launch *l, struct err *e)
{
	const struct run_instances_in *in = l->in;
	const char *subnet_id = l->nic && l->nic->subnet_id ? l->nic->subnet_id : in->subnet_id;
	const char *shown = in->placement ? in->placement->availability_zone : NULL, *zone = NULL;
	const char *chosen = NULL;
	int r = 0;

	if (shown)
		r = clc_zone_name_find(tx, l->rq, shown, &zone, e);
	if (r < 0)
		return r;
	if (subnet_id) {
		r = clc_subnet_get(tx, l->rq->account_id, subnet_id, &l->subnet, e);
		if (r == 0 && zone && strcmp(zone, l->subnet.zone) != 0)
			r = err_set(e, ERR_INVALID_PARAMETER_VALUE,
			    "The subnet '%s' is not in the availability zone '%s'", subnet_id,
			    shown);
	} else {
		if (!zone)
			r = clc_placement_choose_zone(
			    tx, &l->seating, in->max_count, l->rq->arena, &chosen, e);
		if (r == 0)
			r = clc_subnet_default(tx, l->rq->account_id, l->rq->clc->conf->region,
			    zone ? zone : chosen, &l->subnet, e);
	}
	if (r == 0)
		r = clc_zone_name_show(tx, l->rq, l->subnet.zone, &l->zone, e);
	if (r < 0)
		return r;
	if (l->nic)
		return clc_groups_resolve(tx, l->rq->account_id, l->subnet.vpc_id,
		    l->nic->groups.items, l->nic->groups.count, NULL, 0, l->rq->arena,
		    &l->group_ids, &l->group_count, e);
	return clc_groups_resolve(tx, l->rq->account_id, l->subnet.vpc_id,
	    in->security_group_ids.items, in->security_group_ids.count, in->security_groups.items,
	    in->security_groups.count, l->rq->arena, &l->group_ids, &l->group_count, e);
}

static int
check_quota(struct store_tx *tx, struct launch *l, struct err *e)
{
	l->count = l->in->max_count;
	return clc_quota_check(
	    tx, l->rq->clc->conf, l->rq->account_id, l->type.vcpus, l->in->min_count, &l->count, e);
}

static int
reserve_capacity(struct store_tx *tx, struct launch *l, struct err *e)
{
	int r;

	l->seating.zone = l->subnet.zone;
	l->seating.shown_zone = l->zone;
	r = clc_placement_seat(tx, &l->seating, l->in->min_count, l->count, l->rq->arena, e);
	if (r == 0 && l->seating.count < l->count)
		l->count = l->seating.count;
	return r;
}

static int
insert_instance(struct store_tx *tx, struct launch *l, uint32_t index, struct err *e)
{
	const struct run_instances_in *in = l->in;
	struct request *rq = l->rq;
	const struct metadata_options none = { 0 }, *metadata = in->metadata_options
								    ? in->metadata_options
								    : &none;
	bool asked = l->nic && l->nic->has_associate_public_ip_address;
	struct clc_interface_new nic = { .account_id = rq->account_id,
		.region = rq->clc->conf->region,
		.subnet = &l->subnet,
		.private_ip = l->private_ip,
		.wants_public_ip =
		    asked ? l->nic->associate_public_ip_address : l->subnet.maps_public_ip,
		.must_have_public_ip = asked && l->nic->associate_public_ip_address,
		.group_ids = l->group_ids,
		.group_count = l->group_count };
	char id[ID_MAX], interface_id[ID_MAX];
	int r;

	id_new(id, "i");
	nic.instance_id = id;
	r = store_exec(tx, Q_INSTANCE_INSERT, NULL, e, id, rq->account_id, rq->clc->conf->region,
	    l->reservation_id, (int64_t)index, l->subnet.zone, l->image.image_id, l->kernel_id,
	    l->ramdisk_id, l->type.name, l->type.vcpus, l->type.memory_mib,
	    l->devices.root_disk_gib, l->devices.ephemeral_gib, l->disk_gib, in->key_name,
	    l->public_key, l->user_data, in->shutdown_behavior ? in->shutdown_behavior : "stop",
	    (int64_t)in->disable_api_termination,
	    (int64_t)(in->monitoring && in->monitoring->enabled), l->token,
	    option(metadata->http_tokens, l->defaults.http_tokens,
		l->image.imds_support ? "required" : "optional"),
	    hop_limit(l), store_now_us(tx),
	    option(metadata->http_endpoint, l->defaults.http_endpoint, "enabled"), metadata_tags(l),
	    l->placement_group ? l->placement_group->group_id : NULL,
	    l->seating.seats[index].partition_number, l->seating.seats[index].node_id,
	    l->type.cpu_shares, (int64_t)l->type.is_pinned, l->devices.ephemeral_disks,
	    (int64_t)in->ebs_optimized, (int64_t)in->disable_api_stop,
	    in->maintenance_options && in->maintenance_options->auto_recovery
		? in->maintenance_options->auto_recovery
		: "default");
	if (r == 0)
		r = clc_interface_create(tx, &nic, interface_id, e);
	if (r == 0)
		r = set_options(tx, l, id, interface_id, e);
	if (r == 0)
		r = clc_tags_insert(tx, rq->account_id, id, l->tags, l->tag_count, e);
	if (r == 0)
		r = clc_tags_insert(
		    tx, rq->account_id, interface_id, l->nic_tags, l->nic_tag_count, e);
	if (r == 0)
		r = clc_template_tag(tx, rq->account_id, id, &l->template, e);
	return r == 0 ? request_record(tx, rq, "instance", id, e) : r;
}

static int
insert_all(struct store_tx *tx, struct launch *l, struct err *e)
{
	int r;

	id_new(l->reservation_id, "r");
	r = store_exec(tx, Q_RESERVATION_INSERT, NULL, e, l->reservation_id, l->rq->account_id,
	    l->rq->clc->conf->region, l->token, l->parameters, store_now_us(tx));
	for (uint32_t i = 0; r == 0 && i < l->count; i++)
		r = insert_instance(tx, l, i, e);
	return r;
}

static int
launch(struct store_tx *tx, void *arg, struct err *e)
{
	struct launch *l = arg;
	const char *type = l->in->instance_type ? l->in->instance_type : DEFAULT_INSTANCE_TYPE;
	int r;

	l->is_repeat = false;
	r = find_repeat(tx, l, e);
	if (r < 0 || l->is_repeat)
		return r < 0 ? r
			     : clc_describe_reservation(tx, l->rq, l->reservation_id, l->out, e);
	r = clc_instance_type_get(tx, type, l->rq->arena, &l->type, e);
	if (r == 0)
		r = check_type(l, e);
	if (r == 0)
		r = check_interface_id(tx, l, e);
	if (r == 0)
		r = clc_metadata_defaults(
		    tx, l->rq->account_id, l->rq->clc->conf->region, l->rq->arena, &l->defaults, e);
	if (r == 0)
		r = resolve_image(tx, l, e);
	if (r < 0)
		return r;
	r = resolve_devices(l, e);
	if (r == 0 && strcmp(metadata_tags(l), "enabled") == 0)
		r = clc_tags_check_metadata(l->tags, l->tag_count, e);
	if (r == 0)
		r = resolve_key(tx, l, e);
	if (r == 0)
		r = resolve_placement(tx, l, e);
	if (r == 0)
		r = resolve_network(tx, l, e);
	if (r == 0)
		r = check_quota(tx, l, e);
	if (r == 0)
		r = reserve_capacity(tx, l, e);
	if (r == 0)
		r = insert_all(tx, l, e);
	return r == 0 ? clc_describe_reservation(tx, l->rq, l->reservation_id, l->out, e) : r;
}

static int
answer_repeat(struct store_tx *tx, void *arg, struct err *e)
{
	struct launch *l = arg;
	int r;

	l->is_repeat = false;
	r = find_repeat(tx, l, e);
	return r == 0 && l->is_repeat
		   ? clc_describe_reservation(tx, l->rq, l->reservation_id, l->out, e)
		   : r;
}

/* What the request leaves open is its launch template's. A launch that was answered before is
 * answered again, though the template has changed or gone since. */
static int
apply_template(struct launch *l, struct err *e)
{
	int r = 0;

	if (l->in->launch_template && l->token)
		r = store_read(l->rq->clc->store, answer_repeat, l, e);
	return r < 0 || l->is_repeat ? r
				     : clc_template_apply(l->rq, l->in, &l->in, &l->template, e);
}

int
ec2_handle_run_instances(
    struct request *rq, const struct run_instances_in *in, struct reservation *out, struct err *e)
{
	struct launch l = { .rq = rq, .in = in, .out = out };
	int r = request_token(in->client_token, &l.token, e);

	digest_parameters(&l);
	if (r == 0)
		r = apply_template(&l, e);
	if (r == 0 && !l.is_repeat)
		r = check(&l, e);
	if (r < 0 || l.is_repeat)
		return r;
	r = store_write(rq->clc->store, launch, &l, e);
	if (r == 0 && !l.is_repeat) {
		log_info(&rq->log, "instances.accepted", "reservation=%s count=%u type=%s zone=%s",
		    l.reservation_id, l.count, l.type.name, l.subnet.zone);
		clc_zones_poke(rq->clc, l.subnet.zone);
	}
	return r;
}
