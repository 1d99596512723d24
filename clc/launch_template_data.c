/* The parameters within a launch template. They are kept as the XML in which they are shown. To
 * launch with them they are turned into the Query parameters of a RunInstances and read as if a
 * client had sent them, so that all that a request may say, and all that is refused in one, is the
 * same here. */
#include "launch_template.h"

#include "base/vec.h"
#include "net/url.h"

#include "instance.h"
#include "instance_describe.h"

#define ROOT "launchTemplateData"

/* -- as text -- */

char *
clc_template_data_format(const struct launch_template_data *data, struct arena *arena)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct xml_writer w;

	xml_writer_init(&w, &text, false);
	xml_open(&w, ROOT);
	codec_to_xml(&launch_template_data_shape, data, &w);
	xml_close(&w, ROOT);
	return arena_str(arena, strbuf_str(&text));
}

static int
parse_data(const char *text, struct arena *arena, struct launch_template_data **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	int r = xml_parse(str_of(text), &xml_limits_reply, &doc, e);

	*ret = arena_alloc(arena, sizeof(**ret));
	if (r == 0)
		r = codec_from_xml(
		    &launch_template_data_shape, xmlDocGetRootElement(doc), arena, *ret, e);
	return r < 0 ? err_set(e, ERR_CORRUPT, "the parameters of a launch template can't be read")
		     : 0;
}

int
clc_template_version_read(struct store_rows *rows, const struct clc_template *t,
    struct arena *arena, struct launch_template_version *ret, struct err *e)
{
	int64_t version = store_int(rows, 0);

	*ret = (struct launch_template_version){ .launch_template_id = t->template_id,
		.launch_template_name = t->name,
		.has_version_number = true,
		.version_number = version,
		.version_description = arena_strdup(arena, store_text(rows, 1)),
		.has_create_time = true,
		.create_time = store_int(rows, 4),
		.created_by = arena_strdup(arena, store_text(rows, 3)),
		.has_default_version = true,
		.default_version = version == t->default_version };
	return parse_data(store_text(rows, 2), arena, &ret->launch_template_data, e);
}

/* -- as a request -- */

/* The one parameter that is written another way in RunInstances. */
static void
rename_parameters(struct form *form)
{
	for (size_t i = 0; i < form->count; i++)
		if (strcmp(form->fields[i].name, "RamDiskId") == 0)
			form->fields[i].name = "RamdiskId";
}

int
clc_template_data_request(const struct launch_template_data *data, struct arena *arena,
    struct run_instances_in *ret, struct err *e)
{
	/* What each request has to say itself; it is not taken from here. */
	struct form_field counts[] = { { .name = "MinCount", .value = STR("1") },
		{ .name = "MaxCount", .value = STR("1") } };
	struct form form = { counts, ARRAY_SIZE(counts) };
	struct err why = { 0 };
	int r;

	codec_to_query(&launch_template_data_shape, data, arena, &form);
	rename_parameters(&form);
	r = codec_from_query(&run_instances_in_shape, &form, NULL, arena, ret, &why);
	if (r == ERR_UNKNOWN_PARAMETER)
		return err_set(e, ERR_UNSUPPORTED_OPERATION, "%s", why.text);
	*e = why;
	return r;
}

struct validation_warning *
clc_template_warning(const struct launch_template_data *data, struct arena *arena)
{
	struct run_instances_in request;
	struct validation_warning *warning;
	struct err e = { 0 };

	if (clc_template_data_request(data, arena, &request, &e) == 0 &&
	    (!request.profile || clc_profile_refuse(request.profile, &e) == 0))
		return NULL;
	warning = arena_alloc(arena, sizeof(*warning));
	warning->errors.items = arena_alloc(arena, sizeof(*warning->errors.items));
	warning->errors.count = 1;
	warning->errors.items[0] =
	    (struct validation_error){ fault_code(e.code), arena_strdup(arena, e.text) };
	return warning;
}

/* -- GetLaunchTemplateData -- */

struct capture {
	struct request *rq;
	const char *instance_id;
	struct launch_template_data *data;
};

static void
capture_interfaces(
    const struct instance *shown, struct launch_template_data *data, struct arena *arena)
{
	size_t count = shown->network_interfaces.count;

	data->network_interfaces.items =
	    arena_alloc(arena, (count + 1) * sizeof(*data->network_interfaces.items));
	data->network_interfaces.count = count;
	for (size_t i = 0; i < count; i++) {
		const struct instance_interface *from = &shown->network_interfaces.items[i];
		struct template_interface *to = &data->network_interfaces.items[i];

		*to = (struct template_interface){ .description = from->description,
			.has_device_index = true,
			.device_index = from->attachment ? from->attachment->device_index : 0,
			.has_delete_on_termination = true,
			.delete_on_termination =
			    from->attachment && from->attachment->delete_on_termination,
			.has_associate_public_ip_address = true,
			.associate_public_ip_address = from->association != NULL,
			.subnet_id = from->subnet_id };
		to->groups.items =
		    arena_alloc(arena, (from->groups.count + 1) * sizeof(*to->groups.items));
		to->groups.count = from->groups.count;
		for (size_t g = 0; g < from->groups.count; g++)
			to->groups.items[g] = from->groups.items[g].group_id;
	}
}

/* "/dev/vdb=ephemeral0:4 ..." */
static void
capture_devices(const char *disks, struct launch_template_data *data, struct arena *arena)
{
	VEC(struct template_block_device) devices = { 0 };
	struct str rest = str_of(disks), one;

	while (rest.n && str_split(&rest, ' ', &one)) {
		struct str device = { 0 }, name = { 0 };

		(void)str_split(&one, '=', &device);
		(void)str_split(&one, ':', &name);
		struct template_block_device d = { .device_name = arena_str(arena, device),
			.virtual_name = arena_str(arena, name) };

		vec_add(&devices, d);
	}
	data->block_devices.count = devices.count;
	data->block_devices.items =
	    arena_memdup(arena, devices.items, devices.count * sizeof(*devices.items));
	vec_done(&devices);
}

/* Tags of the system are given by the system. */
static void
capture_tags(const struct instance *shown, struct launch_template_data *data, struct arena *arena)
{
	struct template_tag_specification *s = arena_alloc(arena, sizeof(*s));

	s->resource_type = "instance";
	s->tags.items = arena_alloc(arena, (shown->tags.count + 1) * sizeof(*s->tags.items));
	for (size_t i = 0; i < shown->tags.count; i++)
		if (strncmp(shown->tags.items[i].key, "aws:", 4) != 0)
			s->tags.items[s->tags.count++] = shown->tags.items[i];
	data->tag_specifications.items = s;
	data->tag_specifications.count = s->tags.count > 0;
}

/* What is as it is without being asked for is left open. */
static void
capture_metadata(
    const struct clc_instance *i, struct launch_template_data *data, struct arena *arena)
{
	data->metadata_options = arena_alloc(arena, sizeof(*data->metadata_options));
	*data->metadata_options = (struct template_metadata_options){ .http_tokens = i->http_tokens,
		.has_http_put_response_hop_limit = true,
		.http_put_response_hop_limit = (uint32_t)i->http_hop_limit,
		.http_endpoint = i->http_endpoint };
	if (strings_equal(i->metadata_tags, "enabled"))
		data->metadata_options->instance_metadata_tags = i->metadata_tags;
	if (strings_equal(i->auto_recovery, "default"))
		return;
	data->maintenance_options = arena_alloc(arena, sizeof(*data->maintenance_options));
	data->maintenance_options->auto_recovery = i->auto_recovery;
}

static int
capture_user_data(struct store_tx *tx, struct capture *c, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_free_ char *coded = NULL;
	struct str bytes;
	int r = store_query_one(tx, Q_INSTANCE_USER_DATA, &rows, "user data", e, c->instance_id);

	if (r < 0)
		return r;
	bytes = store_blob(rows, 0);
	if (!bytes.n)
		return 0;
	coded = base64_encode(bytes.p, bytes.n);
	c->data->user_data = arena_strdup(c->rq->arena, coded);
	return 0;
}

static void
capture_placement(
    const struct instance *shown, struct launch_template_data *data, struct arena *arena)
{
	if (!shown->placement)
		return;
	data->placement = arena_alloc(arena, sizeof(*data->placement));
	data->placement->availability_zone = shown->placement->availability_zone;
	data->placement->tenancy = shown->placement->tenancy;
	if (shown->placement->group_name && shown->placement->group_name[0])
		data->placement->group_name = shown->placement->group_name;
}

static int
capture_instance(struct store_tx *tx, void *arg, struct err *e)
{
	struct capture *c = arg;
	struct arena *arena = c->rq->arena;
	struct launch_template_data *data = arena_alloc(arena, sizeof(*data));
	const struct instance *shown = NULL;
	struct reservation reservation;
	struct clc_instance i;
	int r = clc_instance_load(tx, c->rq->account_id, c->instance_id, arena, &i, e);

	if (r == 0)
		r = clc_describe_reservation(tx, c->rq, i.reservation_id, &reservation, e);
	if (r < 0)
		return r;
	for (size_t n = 0; n < reservation.instances.count; n++)
		if (strcmp(reservation.instances.items[n].instance_id, i.instance_id) == 0)
			shown = &reservation.instances.items[n];
	if (!shown)
		return err_set(e, ERR_CORRUPT, "reservation '%s' has lost instance '%s'",
		    i.reservation_id, i.instance_id);
	*data = (struct launch_template_data){ .image_id = i.image_id,
		.kernel_id = i.kernel_id,
		.ramdisk_id = i.ramdisk_id,
		.instance_type = i.instance_type,
		.key_name = i.key_name,
		.has_ebs_optimized = true,
		.ebs_optimized = i.is_ebs_optimized,
		.has_disable_api_termination = true,
		.disable_api_termination = i.is_protected,
		.has_disable_api_stop = i.is_stop_protected,
		.disable_api_stop = i.is_stop_protected,
		.shutdown_behavior = i.shutdown_behavior,
		.monitoring = arena_alloc(arena, sizeof(*data->monitoring)) };
	data->monitoring->has_enabled = true;
	data->monitoring->enabled = i.is_monitored;
	c->data = data;
	capture_placement(shown, data, arena);
	capture_interfaces(shown, data, arena);
	capture_devices(i.ephemeral_disks, data, arena);
	capture_metadata(&i, data, arena);
	capture_tags(shown, data, arena);
	return capture_user_data(tx, c, e);
}

int
ec2_handle_get_launch_template_data(struct request *rq,
    const struct get_launch_template_data_in *in, struct get_launch_template_data_out *out,
    struct err *e)
{
	struct capture c = { .rq = rq, .instance_id = in->instance_id };
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0)
		r = store_read(rq->clc->store, capture_instance, &c, e);
	if (r == 0)
		out->launch_template_data = c.data;
	return r;
}
