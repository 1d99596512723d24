/* DescribeImages: what an account may see, narrowed by ids, owners, who may launch, and filters. */
#include "base/clock.h"
#include "base/vec.h"

#include "filter.h"
#include "image.h"
#include "image_describe.h"
#include "page.h"
#include "tags.h"

struct listing {
	struct request *rq;
	const struct describe_images_in *in;
	VEC(struct image) images;
};

void
clc_image_block_devices(
    const char *text, struct arena *arena, struct image_block_device **ret, size_t *ret_count)
{
	VEC(struct image_block_device) devices = { 0 };
	struct str rest = str_of(text), one, device;

	while (rest.n && str_split(&rest, ' ', &one)) {
		struct image_block_device d = { 0 };

		if (!str_split(&one, '=', &device))
			continue;
		d.device_name = arena_str(arena, device);
		if (one.n)
			d.virtual_name = arena_str(arena, one);
		else
			d.no_device = "";
		vec_add(&devices, d);
	}
	*ret = arena_memdup(arena, devices.items, devices.count * sizeof(*devices.items));
	*ret_count = devices.count;
	vec_done(&devices);
}

static const char *
time_text(int64_t us, struct arena *arena)
{
	char text[TIME_TEXT_SIZE];

	time_format_iso(us, text);
	return arena_strdup(arena, text);
}

static int
describe(struct store_tx *tx, const struct clc_image *i, struct arena *arena, struct image *out,
    struct err *e)
{
	struct tag_list tags = { 0 };
	struct state_reason *reason;
	int r = clc_tags_read(tx, i->image_id, arena, &tags, e);

	if (r < 0)
		return r;
	*out = (struct image){ .image_id = i->image_id,
		.image_location = i->location,
		.state = i->is_deregistered ? "deregistered" : i->state,
		.owner_id = i->account_id,
		.has_is_public = true,
		.is_public = i->is_public,
		.architecture = i->architecture,
		.image_type = i->type,
		.kernel_id = i->kernel_id,
		.ramdisk_id = i->ramdisk_id,
		.sriov_net_support = i->sriov_net_support,
		.has_ena_support = i->has_ena_support,
		.ena_support = i->has_ena_support,
		.name = i->name,
		.description = i->description,
		.root_device_type = "instance-store",
		.root_device_name = i->root_device_name,
		.virtualization_type = i->virtualization,
		.hypervisor = "xen",
		.creation_date = time_text(i->created_us, arena),
		.platform_details = "Linux/UNIX",
		.usage_operation = "RunInstances",
		.boot_mode = i->boot_mode,
		.tpm_support = i->tpm_support,
		.imds_support = i->imds_support };
	out->tags.items = tags.items;
	out->tags.count = tags.count;
	if (i->deprecation_us)
		out->deprecation_time = time_text(i->deprecation_us, arena);
	if (i->reason_code) {
		reason = arena_alloc(arena, sizeof(*reason));
		reason->code = i->reason_code;
		reason->message = i->reason_message;
		out->state_reason = reason;
	}
	clc_image_block_devices(
	    i->block_devices, arena, &out->block_devices.items, &out->block_devices.count);
	return 0;
}

static bool
list_has(const char *const *items, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(items[i], text) == 0)
			return true;
	return false;
}

/* ExecutableBy: what everybody may launch ("all"), what the caller was permitted explicitly
 * ("self"), what its own images permit another account. */
static int
is_executable_by(
    struct store_tx *tx, const struct listing *l, const struct clc_image *i, struct err *e)
{
	const struct describe_images_in *in = l->in;
	bool is_mine = strcmp(i->account_id, l->rq->account_id) == 0;

	for (size_t n = 0; n < in->executable_users.count; n++) {
		const char *who = in->executable_users.items[n];
		_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
		int r;

		if (strcmp(who, "all") == 0) {
			if (i->is_public)
				return 1;
			continue;
		}
		if (strcmp(who, "self") == 0)
			who = l->rq->account_id;
		else if (!is_mine && strcmp(who, l->rq->account_id) != 0)
			continue;
		r = store_query(tx, Q_IMAGE_IS_PERMITTED, &rows, e, i->image_id, who);
		if (r == 0)
			r = store_next(rows, e);
		if (r != 0)
			return r;
	}
	return 0;
}

static int
is_asked_for(struct store_tx *tx, const struct listing *l, const struct clc_image *i, struct err *e)
{
	const struct describe_images_in *in = l->in;
	bool is_mine = strcmp(i->account_id, l->rq->account_id) == 0;
	bool is_named = list_has(in->image_ids.items, in->image_ids.count, i->image_id);

	if (in->image_ids.count && !is_named)
		return 0;
	if (in->owners.count && !list_has(in->owners.items, in->owners.count, i->account_id) &&
	    !(is_mine && list_has(in->owners.items, in->owners.count, "self")))
		return 0;
	if (i->deprecation_us && i->deprecation_us <= store_now_us(tx) && !is_mine && !is_named &&
	    !in->include_deprecated)
		return 0;
	return in->executable_users.count ? is_executable_by(tx, l, i, e) : 1;
}

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	int r = store_query(
	    tx, Q_IMAGES_VISIBLE, &rows, e, l->rq->account_id, l->rq->clc->conf->region);

	l->images.count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_image i;
		struct image out;

		clc_image_read(rows, l->rq->arena, &i);
		r = is_asked_for(tx, l, &i, e);
		if (r <= 0)
			continue;
		r = describe(tx, &i, l->rq->arena, &out, e);
		if (r == 0 && filters_match(l->rq->operation, l->in->filters.items,
				  l->in->filters.count, &out))
			vec_add(&l->images, out);
	}
	return r;
}

static int
check_ids_found(const struct listing *l, struct err *e)
{
	const struct describe_images_in *in = l->in;

	for (size_t n = 0; n < in->image_ids.count; n++) {
		bool found =
		    in->filters.count > 0 || in->owners.count > 0 || in->executable_users.count > 0;

		if (!clc_image_id_is_valid(in->image_ids.items[n]))
			return err_set(e, ERR_IMAGE_MALFORMED, "Invalid id: \"%.100s\"",
			    in->image_ids.items[n]);
		for (size_t k = 0; !found && k < l->images.count; k++)
			found = strcmp(l->images.items[k].image_id, in->image_ids.items[n]) == 0;
		if (!found)
			return clc_image_not_found(in->image_ids.items[n], e);
	}
	return 0;
}

static bool
is_account_id(const char *text)
{
	return strlen(text) == ACCOUNT_ID_SIZE - 1 && strspn(text, "0123456789") == strlen(text);
}

static int
check_who(const struct describe_images_in *in, struct err *e)
{
	for (size_t n = 0; n < in->executable_users.count; n++) {
		const char *who = in->executable_users.items[n];

		if (strcmp(who, "all") != 0 && strcmp(who, "self") != 0 && !is_account_id(who))
			return err_set(
			    e, ERR_USER_ID_MALFORMED, "Invalid user id: \"%.100s\"", who);
	}
	for (size_t n = 0; n < in->owners.count; n++) {
		const char *who = in->owners.items[n];

		if (strcmp(who, "self") != 0 && strcmp(who, "amazon") != 0 &&
		    strcmp(who, "aws-marketplace") != 0 && !is_account_id(who))
			return err_set(
			    e, ERR_USER_ID_MALFORMED, "Invalid user id: \"%.100s\"", who);
	}
	return 0;
}

int
ec2_handle_describe_images(struct request *rq, const struct describe_images_in *in,
    struct describe_images_out *out, struct err *e)
{
	struct describe_images_in asked = *in;
	struct listing l = { .rq = rq, .in = &asked };
	struct page page;
	int r;

	asked.image_ids.items =
	    arena_alloc(rq->arena, (in->image_ids.count + 1) * sizeof(*asked.image_ids.items));
	for (size_t n = 0; n < in->image_ids.count; n++)
		asked.image_ids.items[n] = clc_image_id(in->image_ids.items[n], rq->arena);
	r = page_begin(&page, in->next_token, in->has_max_results ? in->max_results : 0,
	    in->image_ids.count > 0 && in->has_max_results, "imageIdsSet", e);
	if (r == 0)
		r = check_who(in, e);
	if (r == 0)
		r = store_read(rq->clc->store, read_listing, &l, e);
	if (r == 0)
		r = check_ids_found(&l, e);
	if (r == 0) {
		page_cut(&page, l.images.count);
		out->images.count = page.count;
		out->images.items = arena_memdup(
		    rq->arena, l.images.items + page.first, page.count * sizeof(*l.images.items));
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&l.images);
	return r;
}
