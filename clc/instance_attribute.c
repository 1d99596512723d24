/* DescribeInstanceAttribute, ModifyInstanceAttribute, ResetInstanceAttribute: one attribute a call.
 * A row of `attributes` says what each is and when it may be changed. What a guest is made of waits
 * for its next start, so it changes only while it is stopped; the rest reaches its node by a new
 * revision of its record. */
#include "clc/ec2.api.h"

#include "image.h"
#include "instance.h"
#include "instance_type.h"
#include "placement.h"
#include "vpc.h"
#include "zone.h"
#include "zone_name.h"

#define USER_DATA_MAX 16384
#define GROUPS_MAX 5

struct change {
	struct request *rq;
	const struct modify_instance_attribute_in *in;
	const struct attribute *attribute;
	const char *id, *value; /* as text, whichever way it was written */
	bool flag;              /* of booleans, the value read */
	struct str user_data;
	struct clc_instance instance;
};

struct view {
	struct request *rq;
	const struct attribute *attribute;
	const char *id;
	struct clc_instance instance;
	struct describe_instance_attribute_out *out;
};

struct attribute {
	const char *name;
	bool is_bool;
	bool must_stop; /* changes only while the instance is stopped */
	bool is_told;   /* a guest that runs is told of it */
	/* NULL: can't be changed */
	int (*set)(struct store_tx *tx, struct change *c, struct err *e);
	int (*show)(struct store_tx *tx, struct view *v, struct err *e);
};

static int
invalid_value(const struct change *c, struct err *e)
{
	return err_set(e, ERR_INVALID_PARAMETER_VALUE, "Value (%.100s) for parameter %s is invalid",
	    c->value, c->attribute->name);
}

static struct attribute_value *
text(struct view *v, const char *value)
{
	struct attribute_value *a = arena_alloc(v->rq->arena, sizeof(*a));

	a->value = value;
	return a;
}

static struct attribute_boolean_value *
flag(struct view *v, bool value)
{
	struct attribute_boolean_value *a = arena_alloc(v->rq->arena, sizeof(*a));

	a->has_value = true;
	a->value = value;
	return a;
}

/* -- the type -- */

/* Disks that exist stay as they are. Processors and memory are held, and counted against capacity
 * and quota, from the next start on; a disk that comes with the type is held from now on. */
static int
set_type(struct store_tx *tx, struct change *c, struct err *e)
{
	const struct clc_instance *i = &c->instance;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct clc_instance_type type;
	int64_t ephemeral_gib = i->ephemeral_gib, disk_gib;
	int r = clc_instance_type_get(tx, c->value, c->rq->arena, &type, e);

	if (r == ERR_INVALID_PARAMETER_VALUE)
		return err_set(e, ERR_INVALID_INSTANCE_ATTRIBUTE_VALUE,
		    "Invalid value '%.100s' for InstanceType.", c->value);
	if (r == 0)
		r = store_query_one(tx, Q_INSTANCE_DISK, &rows, "disk", e, c->id);
	if (r < 0)
		return r;
	disk_gib = store_int(rows, 0);
	if (!i->ephemeral_disks && !ephemeral_gib)
		ephemeral_gib = type.ephemeral_gib;
	disk_gib += ephemeral_gib - i->ephemeral_gib;
	if (ephemeral_gib > i->ephemeral_gib)
		r = clc_placement_grow(tx, c->rq, i, ephemeral_gib - i->ephemeral_gib, e);
	return r < 0 ? r
		     : store_exec(tx, Q_INSTANCE_SET_TYPE, NULL, e, c->id, type.name, type.vcpus,
			   type.memory_mib, ephemeral_gib, disk_gib);
}

static int
show_type(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->instance_type = text(v, v->instance.instance_type);
	return 0;
}

/* -- kernel and ramdisk -- */

static int
set_kernel(struct store_tx *tx, struct change *c, struct err *e)
{
	struct clc_image part;
	int r;

	if (!c->value[0]) {
		if (c->instance.ramdisk_id)
			return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
			    "The instance '%s' has a RAM disk, which needs a kernel", c->id);
		return store_exec(tx, Q_INSTANCE_SET_KERNEL, NULL, e, c->id, NULL);
	}
	r = clc_image_get(tx, c->rq->account_id, c->value, "kernel", c->rq->arena, &part, e);
	return r < 0 ? r : store_exec(tx, Q_INSTANCE_SET_KERNEL, NULL, e, c->id, c->value);
}

static int
set_ramdisk(struct store_tx *tx, struct change *c, struct err *e)
{
	struct clc_image part;
	int r;

	if (!c->value[0])
		return store_exec(tx, Q_INSTANCE_SET_RAMDISK, NULL, e, c->id, NULL);
	if (!c->instance.kernel_id)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "The instance '%s' has no kernel: a RAM disk needs one", c->id);
	r = clc_image_get(tx, c->rq->account_id, c->value, "ramdisk", c->rq->arena, &part, e);
	return r < 0 ? r : store_exec(tx, Q_INSTANCE_SET_RAMDISK, NULL, e, c->id, c->value);
}

static int
show_kernel(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->kernel = text(v, v->instance.kernel_id);
	return 0;
}

static int
show_ramdisk(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->ramdisk = text(v, v->instance.ramdisk_id);
	return 0;
}

/* -- user data -- */

static int
set_user_data(struct store_tx *tx, struct change *c, struct err *e)
{
	return store_exec(tx, Q_INSTANCE_SET_USER_DATA, NULL, e, c->id, c->user_data);
}

static int
show_user_data(struct store_tx *tx, struct view *v, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_free_ char *coded = NULL;
	struct str blob;
	int r = store_query_one(tx, Q_INSTANCE_USER_DATA, &rows, "user data", e, v->id);

	if (r < 0)
		return r;
	blob = store_blob(rows, 0);
	v->out->user_data = arena_alloc(v->rq->arena, sizeof(*v->out->user_data));
	if (blob.n) {
		coded = base64_encode(blob.p, blob.n);
		v->out->user_data->value = arena_strdup(v->rq->arena, coded);
	}
	return 0;
}

/* -- protection, and what an end from inside means -- */

static int
set_protected(struct store_tx *tx, struct change *c, struct err *e)
{
	return store_exec(tx, Q_INSTANCE_SET_PROTECTED, NULL, e, c->id, (int64_t)c->flag);
}

static int
set_stop_protected(struct store_tx *tx, struct change *c, struct err *e)
{
	return store_exec(tx, Q_INSTANCE_SET_STOP_PROTECTED, NULL, e, c->id, (int64_t)c->flag);
}

static int
set_shutdown(struct store_tx *tx, struct change *c, struct err *e)
{
	if (strcmp(c->value, "stop") != 0 && strcmp(c->value, "terminate") != 0)
		return invalid_value(c, e);
	return store_exec(tx, Q_INSTANCE_SET_SHUTDOWN, NULL, e, c->id, c->value);
}

static int
show_protected(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->disable_api_termination = flag(v, v->instance.is_protected);
	return 0;
}

static int
show_stop_protected(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->disable_api_stop = flag(v, v->instance.is_stop_protected);
	return 0;
}

static int
show_shutdown(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->shutdown_behavior = text(v, v->instance.shutdown_behavior);
	return 0;
}

/* -- devices -- */

/* Only EBS volumes are mapped, and none is. */
static int
set_devices(struct store_tx *tx, struct change *c, struct err *e)
{
	const struct attribute_device *d = c->in->block_devices.items;

	return err_set(e, ERR_INVALID_INSTANCE_ATTRIBUTE_VALUE,
	    "No device is currently mapped at %.100s", d->device_name ? d->device_name : "");
}

static int
show_root(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->root_device_name = text(v, "/dev/vda");
	return 0;
}

static int
show_devices(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->block_devices = arena_alloc(v->rq->arena, sizeof(*v->out->block_devices));
	return 0;
}

static int
show_product_codes(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->product_codes = arena_alloc(v->rq->arena, sizeof(*v->out->product_codes));
	return 0;
}

/* -- the network -- */

static int
set_check(struct store_tx *tx, struct change *c, struct err *e)
{
	int r = store_exec(tx, Q_INTERFACE_SET_CHECK, NULL, e, c->id, (int64_t)c->flag);

	return r < 0 ? r : store_exec(tx, Q_VPC_TOUCH_BY_INSTANCE, NULL, e, c->id);
}

/* Members of groups are part of a VPC's record, the groups of a NIC part of its instance's. */
static int
set_groups(struct store_tx *tx, struct change *c, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *nic = NULL;
	const char **ids = NULL, *interface_id;
	size_t count = 0;
	int r = store_query_one(tx, Q_INTERFACE_OF_INSTANCE, &nic, "interface", e, c->id);

	if (r == 0)
		r = clc_groups_resolve(tx, c->rq->account_id, store_text(nic, 1),
		    c->in->groups.items, c->in->groups.count, NULL, 0, c->rq->arena, &ids, &count,
		    e);
	if (r < 0)
		return r;
	interface_id = arena_strdup(c->rq->arena, store_text(nic, 0));
	r = store_exec(tx, Q_INTERFACE_GROUPS_DELETE, NULL, e, c->id);
	for (size_t n = 0; r == 0 && n < count; n++)
		r = store_exec(
		    tx, Q_INTERFACE_GROUP_INSERT, NULL, e, interface_id, (int64_t)n, ids[n]);
	return r < 0 ? r : store_exec(tx, Q_VPC_TOUCH_BY_INSTANCE, NULL, e, c->id);
}

static int
show_check(struct store_tx *tx, struct view *v, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *nic = NULL;
	int r = store_query(tx, Q_INTERFACE_OF_INSTANCE, &nic, e, v->id);

	if (r == 0)
		r = store_next(nic, e);
	if (r > 0)
		v->out->source_dest_check = flag(v, store_int(nic, 9));
	return r < 0 ? r : 0;
}

static int
show_groups(struct store_tx *tx, struct view *v, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *nic = NULL, *rows = NULL;
	struct group_identifier *groups = arena_alloc(v->rq->arena, GROUPS_MAX * sizeof(*groups));
	struct attribute_group_set *set = arena_alloc(v->rq->arena, sizeof(*set));
	int r = store_query(tx, Q_INTERFACE_OF_INSTANCE, &nic, e, v->id);

	if (r == 0)
		r = store_next(nic, e);
	if (r > 0)
		r = store_query(tx, Q_INTERFACE_GROUPS, &rows, e, store_text(nic, 0));
	v->out->groups = set;
	while (rows && set->items.count < GROUPS_MAX && (r = store_next(rows, e)) > 0)
		groups[set->items.count++] =
		    (struct group_identifier){ .group_id =
						   arena_strdup(v->rq->arena, store_text(rows, 0)),
			    .group_name = arena_strdup(v->rq->arena, store_text(rows, 1)) };
	set->items.items = groups;
	return r < 0 ? r : 0;
}

/* -- what hardware could do -- */

static int
set_ebs_optimized(struct store_tx *tx, struct change *c, struct err *e)
{
	return store_exec(tx, Q_INSTANCE_SET_EBS_OPTIMIZED, NULL, e, c->id, (int64_t)c->flag);
}

static int
set_ena(struct store_tx *tx, struct change *c, struct err *e)
{
	if (!c->flag)
		return 0; /* as it is */
	return err_set(e, ERR_UNSUPPORTED_OPERATION,
	    "Enhanced networking with the Elastic Network Adapter (ENA) is not supported for the "
	    "'%s' instance type.",
	    c->instance.instance_type);
}

static int
set_sriov(struct store_tx *tx, struct change *c, struct err *e)
{
	if (strcmp(c->value, "simple") != 0)
		return invalid_value(c, e);
	return err_set(e, ERR_UNSUPPORTED_OPERATION,
	    "Enhanced networking is not supported for the '%s' instance type.",
	    c->instance.instance_type);
}

static int
show_ebs_optimized(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->ebs_optimized = flag(v, v->instance.is_ebs_optimized);
	return 0;
}

static int
show_ena(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->ena_support = flag(v, false);
	return 0;
}

static int
show_sriov(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->sriov_net_support = text(v, NULL);
	return 0;
}

static int
show_enclave(struct store_tx *tx, struct view *v, struct err *e)
{
	v->out->enclave_options = arena_alloc(v->rq->arena, sizeof(*v->out->enclave_options));
	v->out->enclave_options->has_enabled = true;
	return 0;
}

/* -- all of them -- */

#define BOOL true
#define TEXT false
#define STOPPED true
#define ANY_STATE false
#define TELL true
#define KEEP false

static const struct attribute attributes[] = {
	{ "instanceType", TEXT, STOPPED, KEEP, set_type, show_type },
	{ "kernel", TEXT, STOPPED, KEEP, set_kernel, show_kernel },
	{ "ramdisk", TEXT, STOPPED, KEEP, set_ramdisk, show_ramdisk },
	{ "userData", TEXT, STOPPED, KEEP, set_user_data, show_user_data },
	{ "disableApiTermination", BOOL, ANY_STATE, KEEP, set_protected, show_protected },
	{ "disableApiStop", BOOL, ANY_STATE, KEEP, set_stop_protected, show_stop_protected },
	{ "instanceInitiatedShutdownBehavior", TEXT, ANY_STATE, TELL, set_shutdown, show_shutdown },
	{ "rootDeviceName", TEXT, ANY_STATE, KEEP, NULL, show_root },
	{ "blockDeviceMapping", TEXT, ANY_STATE, KEEP, set_devices, show_devices },
	{ "productCodes", TEXT, ANY_STATE, KEEP, NULL, show_product_codes },
	{ "sourceDestCheck", BOOL, ANY_STATE, TELL, set_check, show_check },
	{ "groupSet", TEXT, ANY_STATE, TELL, set_groups, show_groups },
	{ "ebsOptimized", BOOL, STOPPED, KEEP, set_ebs_optimized, show_ebs_optimized },
	{ "sriovNetSupport", TEXT, STOPPED, KEEP, set_sriov, show_sriov },
	{ "enaSupport", BOOL, STOPPED, KEEP, set_ena, show_ena },
	{ "enclaveOptions", TEXT, ANY_STATE, KEEP, NULL, show_enclave },
};

static const struct attribute *
attribute_find(const char *name)
{
	for (size_t n = 0; n < ARRAY_SIZE(attributes); n++)
		if (strcmp(attributes[n].name, name) == 0)
			return &attributes[n];
	return NULL;
}

/* -- DescribeInstanceAttribute -- */

static int
show(struct store_tx *tx, void *arg, struct err *e)
{
	struct view *v = arg;
	int r = clc_instance_load(tx, v->rq->account_id, v->id, v->rq->arena, &v->instance, e);

	return r < 0 ? r : v->attribute->show(tx, v, e);
}

int
ec2_handle_describe_instance_attribute(struct request *rq,
    const struct describe_instance_attribute_in *in, struct describe_instance_attribute_out *out,
    struct err *e)
{
	struct view v = { .rq = rq,
		.id = in->instance_id,
		.attribute = attribute_find(in->attribute),
		.out = out };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0)
		r = store_read(rq->clc->store, show, &v, e);
	out->instance_id = in->instance_id;
	return r;
}

/* -- ModifyInstanceAttribute -- */

/* The forms "InstanceType.Value=x" that were used: names and, of the first, its value. */
struct form_value {
	const char *name, *value;
	bool is_given;
};

static const char *
bool_text(const struct attribute_boolean_value *v)
{
	return !v || !v->has_value ? NULL : v->value ? "true" : "false";
}

#define FORM(attribute_name, field)                                                                \
	{                                                                                          \
		attribute_name, in->field ? in->field->value : NULL, in->field != NULL             \
	}
#define BOOL_FORM(attribute_name, field)                                                           \
	{                                                                                          \
		attribute_name, bool_text(in->field), in->field != NULL                            \
	}

/* Which attribute is meant: exactly one. */
static int
find_change(struct change *c, struct err *e)
{
	const struct modify_instance_attribute_in *in = c->in;
	const struct form_value forms[] = {
		FORM("instanceType", instance_type),
		FORM("kernel", kernel),
		FORM("ramdisk", ramdisk),
		FORM("userData", user_data),
		FORM("instanceInitiatedShutdownBehavior", shutdown_behavior),
		FORM("sriovNetSupport", sriov_net_support),
		BOOL_FORM("disableApiTermination", disable_api_termination),
		BOOL_FORM("disableApiStop", disable_api_stop),
		BOOL_FORM("sourceDestCheck", source_dest_check),
		BOOL_FORM("ebsOptimized", ebs_optimized),
		BOOL_FORM("enaSupport", ena_support),
		{ "groupSet", "", in->groups.count > 0 },
		{ "blockDeviceMapping", "", in->block_devices.count > 0 },
	};
	const char *name = in->attribute;

	c->value = in->value;
	for (size_t n = 0; n < ARRAY_SIZE(forms); n++) {
		if (!forms[n].is_given)
			continue;
		if (name && strcmp(name, forms[n].name) != 0)
			return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
			    "Fields for multiple attribute types specified: %s, %s", name,
			    forms[n].name);
		if (c->value)
			return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
			    "The value of the attribute %s is specified twice", forms[n].name);
		name = forms[n].name;
		c->value = forms[n].value;
	}
	if (!name)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION, "No attributes specified.");
	c->attribute = attribute_find(name);
	if (!c->attribute->set)
		return err_set(
		    e, ERR_INVALID_PARAMETER_VALUE, "The attribute %s can't be modified", name);
	if (c->value)
		return 0;
	if (strcmp(name, "groupSet") == 0)
		return err_set(
		    e, ERR_MISSING_PARAMETER, "The request must contain the parameter GroupId");
	return err_set(e, ERR_MISSING_PARAMETER, "The request must contain the parameter value");
}

static int
check_change(struct change *c, struct err *e)
{
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	if (c->attribute->is_bool) {
		c->flag = strcasecmp(c->value, "true") == 0 || strcmp(c->value, "1") == 0;
		if (!c->flag && strcasecmp(c->value, "false") != 0 && strcmp(c->value, "0") != 0)
			return invalid_value(c, e);
	}
	if (c->attribute->set == set_groups && c->in->groups.count == 0)
		return err_set(
		    e, ERR_MISSING_PARAMETER, "The request must contain the parameter GroupId");
	if (c->attribute->set == set_groups && c->in->groups.count > GROUPS_MAX)
		return err_set(e, ERR_SECURITY_GROUPS_PER_INTERFACE,
		    "The maximum number of security groups per interface is %d", GROUPS_MAX);
	if (c->attribute->set == set_devices && c->in->block_devices.count == 0)
		return err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain the parameter BlockDeviceMapping");
	if (c->attribute->set != set_user_data)
		return 0;
	if (!base64_decode(str_of(c->value), &bytes, &n))
		return err_set(e, ERR_USER_DATA_MALFORMED, "Invalid BASE64 encoding of user data.");
	if (n > USER_DATA_MAX)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE, "User data is limited to %d bytes",
		    USER_DATA_MAX);
	c->user_data = (struct str){ n ? arena_memdup(c->rq->arena, bytes, n) : NULL, n };
	return 0;
}

static int
apply(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	struct clc_instance *i = &c->instance;
	int r = clc_instance_load(tx, c->rq->account_id, c->id, c->rq->arena, i, e);

	if (r < 0)
		return r;
	if (i->state == INSTANCE_SHUTTING_DOWN || i->state == INSTANCE_TERMINATED)
		return err_set(e, ERR_INCORRECT_INSTANCE_STATE,
		    "The instance '%s' is in the state '%s': its attributes can't be modified.",
		    c->id, instance_state_to_string(i->state));
	if (c->attribute->must_stop && i->state != INSTANCE_STOPPED)
		return err_set(e, ERR_INCORRECT_INSTANCE_STATE,
		    "The instance '%s' is not in the 'stopped' state.", c->id);
	r = c->attribute->set(tx, c, e);
	if (r == 0 && c->attribute->is_told)
		r = clc_instance_tell(tx, c->id, e);
	return r == 0 ? request_record(tx, c->rq, "instance", c->id, e) : r;
}

static int
change(struct change *c, struct err *e)
{
	int r = store_write(c->rq->clc->store, apply, c, e);

	if (r < 0)
		return r;
	log_info(&c->rq->log, "instance.modified", "instance=%s attribute=%s", c->id,
	    c->attribute->name);
	if (c->attribute->is_told)
		clc_zones_poke(c->rq->clc, c->instance.zone);
	return 0;
}

int
ec2_handle_modify_instance_attribute(struct request *rq,
    const struct modify_instance_attribute_in *in, struct modify_instance_attribute_out *out,
    struct err *e)
{
	struct change c = { .rq = rq, .in = in, .id = in->instance_id };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0)
		r = find_change(&c, e);
	if (r == 0)
		r = check_change(&c, e);
	if (r == 0)
		r = change(&c, e);
	out->has_result = out->result = r == 0;
	return r;
}

/* -- ResetInstanceAttribute -- */

/* Back to what the image says. */
static int
reset_kernel(struct store_tx *tx, struct change *c, struct err *e)
{
	struct clc_image image;
	int r = clc_image_load(tx, c->instance.image_id, c->rq->arena, &image, e);

	if (r == 0 && c->instance.ramdisk_id && !image.kernel_id)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "The instance '%s' has a RAM disk, which needs a kernel", c->id);
	return r < 0 ? r : store_exec(tx, Q_INSTANCE_SET_KERNEL, NULL, e, c->id, image.kernel_id);
}

static int
reset_ramdisk(struct store_tx *tx, struct change *c, struct err *e)
{
	struct clc_image image;
	int r = clc_image_load(tx, c->instance.image_id, c->rq->arena, &image, e);

	return r < 0 ? r : store_exec(tx, Q_INSTANCE_SET_RAMDISK, NULL, e, c->id, image.ramdisk_id);
}

static const struct attribute resets[] = {
	{ "kernel", TEXT, STOPPED, KEEP, reset_kernel, NULL },
	{ "ramdisk", TEXT, STOPPED, KEEP, reset_ramdisk, NULL },
	{ "sourceDestCheck", BOOL, ANY_STATE, TELL, set_check, NULL },
};

int
ec2_handle_reset_instance_attribute(struct request *rq,
    const struct reset_instance_attribute_in *in, struct reset_instance_attribute_out *out,
    struct err *e)
{
	struct change c = { .rq = rq, .id = in->instance_id, .flag = true };
	int r = clc_instance_check_id(in->instance_id, e);

	for (size_t n = 0; n < ARRAY_SIZE(resets); n++)
		if (strcmp(resets[n].name, in->attribute) == 0)
			c.attribute = &resets[n];
	if (r == 0 && !c.attribute)
		r = err_set(e, ERR_INVALID_PARAMETER_VALUE, "The attribute %s can't be reset",
		    in->attribute);
	if (r == 0)
		r = change(&c, e);
	out->has_result = out->result = r == 0;
	return r;
}
