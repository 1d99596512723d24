/* CreateImage: a bundle task of kind "image" stops the instance, brings its root disk to the object
 * store and starts the instance again; then walrus makes the image's bytes of it, as it does of
 * bundles. The image is there at once, `pending`, and tells in the end what became of it. */
#include "clc/ec2.api.h"

#include "bundle_task.h"
#include "image.h"
#include "instance.h"
#include "tags.h"

struct creation {
	struct request *rq;
	const struct create_image_in *in;
	const char *block_devices;
	const struct tag *tags;
	size_t tag_count;
	const char *image_id;
};

/* What the image it was launched of says, but for what is the new one's own. */
static int
insert_image(struct store_tx *tx, struct creation *c, const struct clc_instance *i, struct err *e)
{
	struct arena *arena = c->rq->arena;
	struct clc_image image;
	int r = clc_image_check_quota(tx, c->rq, e);

	if (r == 0)
		r = clc_image_load(tx, i->image_id, arena, &image, e);
	if (r < 0)
		return r;
	image.image_id = c->image_id;
	image.account_id = c->rq->account_id;
	image.name = c->in->name;
	image.description = c->in->description;
	image.location = arena_printf(arena, "%s/%s", c->rq->account_id, c->in->name);
	image.bucket = image.object_key = image.digest = "";
	image.format = "raw";
	image.size_bytes = image.disk_bytes = 0;
	image.kernel_id = i->kernel_id;
	image.ramdisk_id = i->ramdisk_id;
	image.is_public = image.is_deregistered = image.is_stored = false;
	image.state = "pending";
	image.deprecation_us = 0;
	if (c->block_devices)
		image.block_devices = c->block_devices;
	return clc_image_insert(tx, c->rq->clc->conf->region, &image, e);
}

static int
create(struct store_tx *tx, void *arg, struct err *e)
{
	struct creation *c = arg;
	struct clc_bundle_task task = {
		.instance_id = c->in->instance_id, .kind = "image", .image_id = c->image_id
	};
	struct clc_instance i;
	int r = clc_bundle_insert(tx, c->rq, &task, &i, e);

	if (r == 0)
		r = insert_image(tx, c, &i, e);
	if (r == 0)
		r = clc_tags_insert(tx, c->rq->account_id, c->image_id, c->tags, c->tag_count, e);
	return r < 0 ? r : request_record(tx, c->rq, "image", c->image_id, e);
}

int
ec2_handle_create_image(struct request *rq, const struct create_image_in *in,
    struct create_image_out *out, struct err *e)
{
	struct creation c = { .rq = rq, .in = in };
	char id[ID_MAX];
	int r = clc_instance_check_id(in->instance_id, e);

	if (r == 0 && in->no_reboot)
		r = err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "NoReboot is not supported: the disk of a running instance would be copied "
		    "while it "
		    "changes, and the image might not start");
	if (r == 0)
		r = clc_image_check_name(in->name, e);
	if (r == 0)
		r = clc_image_devices(in->block_devices.items, in->block_devices.count, rq->arena,
		    &c.block_devices, e);
	if (r == 0)
		r = clc_tags_of(in->tag_specifications.items, in->tag_specifications.count, "image",
		    &c.tags, &c.tag_count, e);
	if (r < 0)
		return r;
	id_new(id, clc_image_prefix("machine"));
	c.image_id = arena_strdup(rq->arena, id);
	r = store_write(rq->clc->store, create, &c, e);
	if (r < 0)
		return r;
	if (rq->clc->bundles)
		reconciler_poke(rq->clc->bundles);
	out->image_id = c.image_id;
	return 0;
}
