/* What an image's owner may look at and change: launch permissions, description, deprecation; and
 * DeregisterImage. */
#include "base/clock.h"
#include "base/vec.h"

#include "clc/ec2.api.h"
#include "image.h"
#include "image_describe.h"

#define DEPRECATION_YEARS 10
#define YEAR_US (INT64_C(366) * 24 * 3600 * 1000000)
#define MINUTE_US (INT64_C(60) * 1000000)

static bool
is_account_id(const char *text)
{
	return strlen(text) == ACCOUNT_ID_SIZE - 1 && strspn(text, "0123456789") == strlen(text);
}

/* -- DescribeImageAttribute -- */

struct look {
	struct request *rq;
	const struct describe_image_attribute_in *in;
	struct describe_image_attribute_out *out;
};

static struct attribute_value *
value_of(struct arena *arena, const char *text)
{
	struct attribute_value *v = arena_alloc(arena, sizeof(*v));

	v->value = text;
	return v;
}

static int
read_permissions(struct store_tx *tx, struct look *l, const struct clc_image *image, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct launch_permission) found = { 0 };
	struct launch_permission everybody = { .group = "all" };
	int r = store_query(tx, Q_IMAGE_PERMISSIONS, &rows, e, image->image_id);

	if (image->is_public)
		vec_add(&found, everybody);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct launch_permission one = {
			.user_id = arena_strdup(l->rq->arena, store_text(rows, 0)),
		};

		vec_add(&found, one);
	}
	l->out->launch_permissions.items =
	    arena_memdup(l->rq->arena, found.items, found.count * sizeof(*found.items));
	l->out->launch_permissions.count = found.count;
	vec_done(&found);
	return r;
}

static int
read_last_launch(struct store_tx *tx, struct look *l, const struct clc_image *image, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	char text[TIME_TEXT_SIZE];
	int r = store_query_one(tx, Q_IMAGE_LAST_LAUNCH, &rows, "launch", e, image->image_id);

	if (r < 0)
		return r;
	l->out->last_launched_time = value_of(l->rq->arena, NULL);
	if (!store_is_null(rows, 0)) {
		time_format_iso(store_int(rows, 0), text);
		l->out->last_launched_time->value = arena_strdup(l->rq->arena, text);
	}
	return 0;
}

static int
read_attribute(struct store_tx *tx, void *arg, struct err *e)
{
	struct look *l = arg;
	struct describe_image_attribute_out *out = l->out;
	struct arena *arena = l->rq->arena;
	const char *name = l->in->attribute;
	struct clc_image i;
	int r = clc_image_own(tx, l->rq, l->in->image_id, &i, e);

	if (r < 0)
		return r;
	memset(out, 0, sizeof(*out));
	out->image_id = i.image_id;
	if (strcmp(name, "launchPermission") == 0)
		return read_permissions(tx, l, &i, e);
	if (strcmp(name, "lastLaunchedTime") == 0)
		return read_last_launch(tx, l, &i, e);
	if (strcmp(name, "description") == 0)
		out->description = value_of(arena, i.description);
	else if (strcmp(name, "kernel") == 0)
		out->kernel = value_of(arena, i.kernel_id);
	else if (strcmp(name, "ramdisk") == 0)
		out->ramdisk = value_of(arena, i.ramdisk_id);
	else if (strcmp(name, "sriovNetSupport") == 0)
		out->sriov_net_support = value_of(arena, i.sriov_net_support);
	else if (strcmp(name, "bootMode") == 0)
		out->boot_mode = value_of(arena, i.boot_mode);
	else if (strcmp(name, "tpmSupport") == 0)
		out->tpm_support = value_of(arena, i.tpm_support);
	else if (strcmp(name, "imdsSupport") == 0)
		out->imds_support = value_of(arena, i.imds_support);
	else if (strcmp(name, "uefiData") == 0)
		out->uefi_data = value_of(arena, NULL);
	else if (strcmp(name, "blockDeviceMapping") == 0)
		clc_image_block_devices(
		    i.block_devices, arena, &out->block_devices.items, &out->block_devices.count);
	return 0; /* productCodes: none has any */
}

int
ec2_handle_describe_image_attribute(struct request *rq,
    const struct describe_image_attribute_in *in, struct describe_image_attribute_out *out,
    struct err *e)
{
	struct look l = { rq, in, out };

	return store_read(rq->clc->store, read_attribute, &l, e);
}

/* -- ModifyImageAttribute, ResetImageAttribute -- */

struct modification {
	struct request *rq;
	const char *image_id;
	const char *description, *imds_support; /* NULL: as it is */
	VEC(const char *) added, removed;       /* account ids */
	bool is_made_public, is_made_private, is_reset;
	int64_t deprecation_us; /* -1: as it is */
};

static int
take_user(struct modification *m, bool is_added, const char *user_id, struct err *e)
{
	if (!is_account_id(user_id))
		return err_set(e, ERR_IMAGE_ATTRIBUTE_ITEM_VALUE,
		    "Invalid attribute item value \"%.100s\" for userId item type.", user_id);
	if (is_added)
		vec_add(&m->added, user_id);
	else
		vec_add(&m->removed, user_id);
	return 0;
}

static int
take_group(struct modification *m, bool is_added, const char *group, struct err *e)
{
	if (strcmp(group, "all") != 0)
		return err_set(e, ERR_IMAGE_ATTRIBUTE_ITEM_VALUE,
		    "Invalid attribute item value \"%.100s\" for group item type.", group);
	if (is_added)
		m->is_made_public = true;
	else
		m->is_made_private = true;
	return 0;
}

static int
take_list(struct modification *m, bool is_added, const struct launch_permission_asked *items,
    size_t count, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		if (!items[i].user_id == !items[i].group)
			return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
			    "A launch permission names either a user or a group");
		r = items[i].user_id ? take_user(m, is_added, items[i].user_id, e)
				     : take_group(m, is_added, items[i].group, e);
	}
	return r;
}

/* The older form: OperationType with UserId.N and UserGroup.N. */
static int
take_flat(struct modification *m, const struct modify_image_attribute_in *in, struct err *e)
{
	bool is_added;
	int r = 0;

	if (!in->operation_type)
		return err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain the parameter OperationType");
	is_added = strcmp(in->operation_type, "add") == 0;
	for (size_t i = 0; r == 0 && i < in->user_ids.count; i++)
		r = take_user(m, is_added, in->user_ids.items[i], e);
	for (size_t i = 0; r == 0 && i < in->user_groups.count; i++)
		r = take_group(m, is_added, in->user_groups.items[i], e);
	return r;
}

static int
take_imds(struct modification *m, const char *value, struct err *e)
{
	if (strcmp(value, "v2.0") != 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.100s) for parameter imdsSupport is invalid. Valid values: v2.0",
		    value);
	m->imds_support = value;
	return 0;
}

static int
take_named(struct modification *m, const struct modify_image_attribute_in *in, struct err *e)
{
	if (strcmp(in->attribute, "launchPermission") == 0)
		return 0;
	if (!in->value && strcmp(in->attribute, "description") == 0 && in->description)
		return 0;
	if (strcmp(in->attribute, "imdsSupport") == 0 && in->imds_support)
		return 0;
	if (!in->value)
		return err_set(
		    e, ERR_MISSING_PARAMETER, "The request must contain the parameter Value");
	if (strcmp(in->attribute, "description") == 0) {
		m->description = in->value;
		return 0;
	}
	if (strcmp(in->attribute, "imdsSupport") == 0)
		return take_imds(m, in->value, e);
	return err_set(e, ERR_INVALID_PARAMETER_VALUE,
	    "Value (%.100s) for parameter attribute is invalid. It can't be modified",
	    in->attribute);
}

static int
gather(struct modification *m, const struct modify_image_attribute_in *in, struct err *e)
{
	bool is_flat = in->user_ids.count || in->user_groups.count;
	unsigned kinds;
	int r = in->attribute ? take_named(m, in, e) : 0;

	if (r == 0 && in->description)
		m->description = in->description->value ? in->description->value : "";
	if (r == 0 && in->imds_support && in->imds_support->value)
		r = take_imds(m, in->imds_support->value, e);
	if (r == 0 && in->launch_permission) {
		r = take_list(
		    m, true, in->launch_permission->add.items, in->launch_permission->add.count, e);
		if (r == 0)
			r = take_list(m, false, in->launch_permission->remove.items,
			    in->launch_permission->remove.count, e);
	}
	if (r == 0 && is_flat)
		r = take_flat(m, in, e);
	if (r < 0)
		return r;
	if (m->description && strlen(m->description) > 255)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Character sets beyond 255 characters are not supported for a description");
	kinds = (m->description != NULL) + (m->imds_support != NULL) +
		(m->added.count || m->removed.count || m->is_made_public || m->is_made_private);
	if (kinds == 0)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION, "No attributes specified.");
	if (kinds > 1)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "Fields for multiple attribute types specified");
	return 0;
}

static int
check_account(struct store_tx *tx, const char *account_id, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_ACCOUNT_BY_ID, &rows, e, account_id);

	if (r == 0)
		r = store_next(rows, e);
	if (r == 0)
		return err_set(e, ERR_IMAGE_ATTRIBUTE_ITEM_VALUE,
		    "Invalid attribute item value \"%s\" for userId item type.", account_id);
	return r < 0 ? r : 0;
}

static int
change_permissions(
    struct store_tx *tx, const struct modification *m, const char *image_id, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->added.count; i++) {
		r = check_account(tx, m->added.items[i], e);
		if (r == 0)
			r = store_exec(
			    tx, Q_IMAGE_PERMISSION_ADD, NULL, e, image_id, m->added.items[i]);
	}
	for (size_t i = 0; r == 0 && i < m->removed.count; i++)
		r = store_exec(
		    tx, Q_IMAGE_PERMISSION_REMOVE, NULL, e, image_id, m->removed.items[i]);
	if (r == 0 && m->is_reset)
		r = store_exec(tx, Q_IMAGE_PERMISSIONS_REMOVE, NULL, e, image_id);
	if (r == 0 && m->is_made_public)
		r = store_exec(tx, Q_IMAGE_PUBLIC_SET, NULL, e, image_id, (int64_t)1);
	if (r == 0 && (m->is_made_private || m->is_reset))
		r = store_exec(tx, Q_IMAGE_PUBLIC_SET, NULL, e, image_id, (int64_t)0);
	return r;
}

static int
modify(struct store_tx *tx, void *arg, struct err *e)
{
	const struct modification *m = arg;
	struct clc_image i;
	int r = clc_image_own(tx, m->rq, m->image_id, &i, e);

	if (r == 0)
		r = change_permissions(tx, m, i.image_id, e);
	if (r == 0 && m->description)
		r = store_exec(tx, Q_IMAGE_DESCRIPTION_SET, NULL, e, i.image_id, m->description);
	if (r == 0 && m->imds_support)
		r = store_exec(tx, Q_IMAGE_IMDS_SET, NULL, e, i.image_id, m->imds_support);
	if (r == 0 && m->deprecation_us >= 0)
		r = store_exec(tx, Q_IMAGE_DEPRECATION_SET, NULL, e, i.image_id, m->deprecation_us);
	return r < 0 ? r : request_record(tx, m->rq, "image", i.image_id, e);
}

static int
run(struct modification *m, bool *ret_has_result, bool *ret_result, struct err *e)
{
	int r = store_write(m->rq->clc->store, modify, m, e);

	if (r == 0)
		*ret_has_result = *ret_result = true;
	return r;
}

int
ec2_handle_modify_image_attribute(struct request *rq, const struct modify_image_attribute_in *in,
    struct modify_image_attribute_out *out, struct err *e)
{
	struct modification m = { .rq = rq, .image_id = in->image_id, .deprecation_us = -1 };
	int r = gather(&m, in, e);

	if (r == 0)
		r = run(&m, &out->has_result, &out->result, e);
	vec_done(&m.added);
	vec_done(&m.removed);
	return r;
}

int
ec2_handle_reset_image_attribute(struct request *rq, const struct reset_image_attribute_in *in,
    struct reset_image_attribute_out *out, struct err *e)
{
	struct modification m = {
		.rq = rq, .image_id = in->image_id, .is_reset = true, .deprecation_us = -1
	};

	return run(&m, &out->has_result, &out->result, e);
}

/* -- EnableImageDeprecation, DisableImageDeprecation -- */

int
ec2_handle_enable_image_deprecation(struct request *rq,
    const struct enable_image_deprecation_in *in, struct enable_image_deprecation_out *out,
    struct err *e)
{
	int64_t now = clock_now_us(),
		at = (in->deprecate_at + MINUTE_US / 2) / MINUTE_US * MINUTE_US;
	struct modification m = { .rq = rq, .image_id = in->image_id, .deprecation_us = at };

	if (in->deprecate_at < now)
		return err_set(
		    e, ERR_INVALID_PARAMETER_VALUE, "The deprecation date must be in the future");
	if (at > now + DEPRECATION_YEARS * YEAR_US)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "The deprecation date must be within %d years", DEPRECATION_YEARS);
	return run(&m, &out->has_result, &out->result, e);
}

int
ec2_handle_disable_image_deprecation(struct request *rq,
    const struct disable_image_deprecation_in *in, struct disable_image_deprecation_out *out,
    struct err *e)
{
	struct modification m = { .rq = rq, .image_id = in->image_id, .deprecation_us = 0 };

	return run(&m, &out->has_result, &out->result, e);
}

/* -- DeregisterImage -- */

struct deregistration {
	struct request *rq;
	const char *image_id;
};

static int
deregister(struct store_tx *tx, void *arg, struct err *e)
{
	struct deregistration *d = arg;
	struct clc_image image;
	int r = clc_image_own(tx, d->rq, d->image_id, &image, e);

	if (r == 0)
		r = store_exec(tx, Q_IMAGE_DEREGISTER, NULL, e, image.image_id);
	if (r == 0)
		r = store_exec(tx, Q_IMAGE_SOURCE_DELETE, NULL, e, image.image_id);
	if (r == 0)
		r = store_exec(tx, Q_IMAGE_PERMISSIONS_REMOVE, NULL, e, image.image_id);
	return r < 0 ? r : request_record(tx, d->rq, "image", image.image_id, e);
}

int
ec2_handle_deregister_image(struct request *rq, const struct deregister_image_in *in,
    struct deregister_image_out *out, struct err *e)
{
	struct deregistration d = { rq, in->image_id };
	int r = store_write(rq->clc->store, deregister, &d, e);

	if (r == 0) {
		out->has_result = out->result = true;
		clc_images_poke(rq->clc);
	}
	return r;
}
