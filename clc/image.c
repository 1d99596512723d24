/* RegisterImage records what an object is (size, digest, format), so that a node can verify the
 * bytes it gets and nothing is ever probed. A kernel or ramdisk is registered with KernelId or
 * RamdiskId "true", as Eucalyptus' manifests say it. A key that ends in ".qcow2" is a qcow2 file,
 * every other a raw one. */
#include "image.h"

#include "base/clock.h"
#include "base/vec.h"
#include "net/url.h"

#include "authorize.h"
#include "filter.h"
#include "page.h"
#include "peers.h"

#define IMAGE_NAME_MIN 3
#define IMAGE_NAME_MAX 128
#define QCOW2_MAGIC "QFI\xfb"
#define DISK_BYTES_MAX (16LL << 40)

static void
read_image(struct store_rows *rows, struct arena *arena, struct clc_image *i)
{
	unsigned c = 0;

#define TEXT() arena_strdup(arena, store_text(rows, c++))
	i->image_id = TEXT();
	i->account_id = TEXT();
	i->name = TEXT();
	i->description = TEXT();
	i->location = TEXT();
	i->bucket = TEXT();
	i->object_key = TEXT();
	i->type = TEXT();
	i->architecture = TEXT();
	i->format = TEXT();
	i->virtualization = TEXT();
	i->size_bytes = store_int(rows, c++);
	i->digest = TEXT();
	i->kernel_id = TEXT();
	i->ramdisk_id = TEXT();
	i->root_device_name = TEXT();
	i->is_public = store_int(rows, c++);
	i->is_deregistered = store_int(rows, c++);
	i->created_us = store_int(rows, c++);
	i->disk_bytes = store_int(rows, c++);
	if (i->disk_bytes < i->size_bytes)
		i->disk_bytes = i->size_bytes;
#undef TEXT
}

static int
not_found(const char *image_id, struct err *e)
{
	return err_set(e, ERR_IMAGE_NOT_FOUND, "The image id '[%s]' does not exist", image_id);
}

int
clc_image_load(struct store_tx *tx, const char *image_id, struct arena *arena,
    struct clc_image *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_IMAGE_BY_ID, &rows, "image", e, image_id);

	if (r == ERR_NOT_FOUND)
		return not_found(image_id, e);
	if (r == 0)
		read_image(rows, arena, ret);
	return r;
}

static const struct {
	const char *type, *prefix;
} types[] = {
	{ "machine", "ami" },
	{ "kernel", "aki" },
	{ "ramdisk", "ari" },
};

static const char *
prefix_of(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].type, type) == 0)
			return types[i].prefix;
	return "ami";
}

/* Eucalyptus writes emi-, eki-, eri- for the same ids: its clients may go on to. */
static const char *
without_alias(const char *id, struct arena *arena)
{
	char *same;

	if (id[0] != 'e' || !id[1] || id[2] != 'i' || id[3] != '-')
		return id;
	same = arena_strdup(arena, id);
	same[0] = 'a';
	return same;
}

static bool
is_image_id(const char *id)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (id_is_valid(id, types[i].prefix))
			return true;
	return false;
}

int
clc_image_get(struct store_tx *tx, const char *account_id, const char *image_id, const char *type,
    struct arena *arena, struct clc_image *ret, struct err *e)
{
	int r;

	image_id = without_alias(image_id, arena);
	if (!id_is_valid(image_id, prefix_of(type)))
		return err_set(e, ERR_IMAGE_MALFORMED,
		    "Invalid id: \"%.100s\" (expecting \"%s-...\")", image_id, prefix_of(type));
	r = clc_image_load(tx, image_id, arena, ret, e);
	if (r < 0)
		return r;
	if (!ret->is_public && strcmp(ret->account_id, account_id) != 0)
		return not_found(image_id, e);
	if (ret->is_deregistered)
		return err_set(
		    e, ERR_IMAGE_UNAVAILABLE, "The image ID '%s' is no longer available", image_id);
	return 0;
}

void
clc_image_url(const struct clc_image *image, const char *base, struct strbuf *out)
{
	strbuf_adds(out, base);
	while (out->n && out->p[out->n - 1] == '/')
		out->p[--out->n] = '\0';
	strbuf_addc(out, '/');
	url_encode(out, str_of(image->bucket), false);
	strbuf_addc(out, '/');
	url_encode(out, str_of(image->object_key), true);
}

/* -- RegisterImage -- */

struct registration {
	struct request *rq;
	const struct register_image_in *in;
	struct clc_image image;
};

static bool
is_marked(const char *id)
{
	return id && strcmp(id, "true") == 0;
}

static int
check_name(const char *name, struct err *e)
{
	size_t n = strlen(name);

	if (n < IMAGE_NAME_MIN || n > IMAGE_NAME_MAX ||
	    strspn(name,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789()[] ./-'@_") != n)
		return err_set(e, ERR_IMAGE_NAME_MALFORMED,
		    "AMI names must be between 3 and 128 characters long, and may contain letters, "
		    "numbers, '(', ')', '.', '-', '/' and '_'");
	return 0;
}

/* "bucket/key", "/bucket/key" or "s3://bucket/key" */
int
clc_image_split_location(
    const char *location, struct arena *arena, struct clc_image *image, struct err *e)
{
	struct str rest = str_of(location), bucket;

	if (str_starts(rest, "s3://"))
		rest = (struct str){ rest.p + 5, rest.n - 5 };
	else if (str_starts(rest, "/"))
		rest = (struct str){ rest.p + 1, rest.n - 1 };
	if (!str_split(&rest, '/', &bucket) || !bucket.n || !rest.n)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.200s) for parameter ImageLocation is invalid. It must be BUCKET/KEY",
		    location);
	image->bucket = arena_str(arena, bucket);
	image->object_key = arena_str(arena, rest);
	image->location = arena_printf(arena, "%s/%s", image->bucket, image->object_key);
	image->format = rest.n > 6 && strcmp(rest.p + rest.n - 6, ".qcow2") == 0 ? "qcow2" : "raw";
	return 0;
}

static uint64_t
read_be(const char *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | (uint8_t)*p++;
	return v;
}

/* A qcow2 file that names another file could make a node read what its owner may not. The header is
 * that of docs/interop/qcow2.txt in QEMU: backing file offset at 8, size of the disk at 24,
 * incompatible features at 72 (version 3). */
int
clc_image_check_qcow2(struct str head, const char *location, int64_t *ret_disk_bytes, struct err *e)
{
	const uint64_t external_data = 1 << 2;
	uint64_t disk_bytes;

	if (head.n < 104 || memcmp(head.p, QCOW2_MAGIC, 4) != 0)
		return err_set(
		    e, ERR_INVALID_MANIFEST, "the object '%.200s' is not a qcow2 file", location);
	if (read_be(head.p + 4, 4) < 2 || read_be(head.p + 4, 4) > 3)
		return err_set(e, ERR_INVALID_MANIFEST,
		    "the qcow2 file '%.200s' has an unknown version", location);
	if (read_be(head.p + 8, 8) != 0 ||
	    (read_be(head.p + 4, 4) >= 3 && (read_be(head.p + 72, 8) & external_data)))
		return err_set(e, ERR_INVALID_MANIFEST,
		    "the qcow2 file '%.200s' names a backing or data file", location);
	disk_bytes = read_be(head.p + 24, 8);
	if (disk_bytes == 0 || disk_bytes > DISK_BYTES_MAX)
		return err_set(e, ERR_INVALID_MANIFEST,
		    "the qcow2 file '%.200s' holds a disk of %llu bytes", location,
		    (unsigned long long)disk_bytes);
	*ret_disk_bytes = (int64_t)disk_bytes;
	return 0;
}

/* Asks walrus as the caller: who may not read an object can't register it. */
static int
inspect_object(struct registration *reg, struct err *e)
{
	struct request *rq = reg->rq;
	struct walrus_describe_object_in in = { .account_id = rq->account_id,
		.bucket = reg->image.bucket,
		.key = reg->image.object_key };
	struct walrus_describe_object_out out = { 0 };
	struct rpc_context context = { .request_id = rq->id, .account_id = rq->account_id };
	int r;

	r = clc_peers_describe_object(rq->clc->peers, &context, &in, &out, rq->arena, e);
	if (r == ERR_BUCKET_NOT_FOUND || r == ERR_KEY_NOT_FOUND || r == ERR_ACCESS_DENIED)
		return err_set(e, ERR_INVALID_MANIFEST,
		    "HTTP %d (%s) response for URL %.200s: check your S3 "
		    "ACLs are correct.",
		    fault_status(r), fault_code(r), reg->image.location);
	if (r < 0)
		return r;
	if (out.size_bytes == 0)
		return err_set(
		    e, ERR_INVALID_MANIFEST, "the object '%.200s' is empty", reg->image.location);
	reg->image.size_bytes = (int64_t)out.size_bytes;
	reg->image.disk_bytes = reg->image.size_bytes;
	reg->image.digest = out.digest;
	return strcmp(reg->image.format, "qcow2") == 0
		   ? clc_image_check_qcow2(out.head, reg->image.location, &reg->image.disk_bytes, e)
		   : 0;
}

static int
check_part(
    struct store_tx *tx, struct registration *reg, const char *id, const char *type, struct err *e)
{
	struct clc_image part;

	return id ? clc_image_get(tx, reg->rq->account_id, id, type, reg->rq->arena, &part, e) : 0;
}

static int
insert_image(struct store_tx *tx, void *arg, struct err *e)
{
	struct registration *reg = arg;
	struct clc_image *i = &reg->image;
	struct request *rq = reg->rq;
	int64_t changed = 0;
	int r;

	r = check_part(tx, reg, i->kernel_id, "kernel", e);
	if (r == 0)
		r = check_part(tx, reg, i->ramdisk_id, "ramdisk", e);
	if (r == 0)
		r = store_exec(tx, Q_IMAGE_INSERT, &changed, e, i->image_id, rq->account_id,
		    rq->clc->conf->region, i->name, i->description, i->location, i->bucket,
		    i->object_key, i->type, i->architecture, i->format, i->virtualization,
		    i->size_bytes, i->digest, i->kernel_id, i->ramdisk_id, i->root_device_name,
		    store_now_us(tx), i->disk_bytes);
	if (r < 0)
		return r;
	if (changed == 0)
		return err_set(e, ERR_IMAGE_NAME_DUPLICATE,
		    "AMI name %s is already in use by your account", i->name);
	return request_record(tx, rq, "image", i->image_id, e);
}

int
ec2_handle_register_image(struct request *rq, const struct register_image_in *in,
    struct register_image_out *out, struct err *e)
{
	struct registration reg = { .rq = rq, .in = in };
	struct clc_image *i = &reg.image;
	char id[ID_MAX];
	int r;

	if (!in->image_location || !in->image_location[0])
		return err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain the parameter ImageLocation");
	if (in->block_devices.count)
		return err_set(e, ERR_UNSUPPORTED_OPERATION,
		    "images of block device mappings are not supported: name an ImageLocation");
	if (in->architecture && strcmp(in->architecture, "x86_64") != 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "The architecture '%s' is not supported", in->architecture);
	i->type = is_marked(in->kernel_id)    ? "kernel"
		  : is_marked(in->ramdisk_id) ? "ramdisk"
					      : "machine";
	if (strcmp(i->type, "machine") == 0) {
		i->kernel_id = in->kernel_id;
		i->ramdisk_id = in->ramdisk_id;
	}
	if (i->ramdisk_id && !i->kernel_id)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION, "RamdiskId needs a KernelId");
	i->name = in->name;
	i->description = in->description;
	i->architecture = "x86_64";
	i->virtualization = in->virtualization_type ? in->virtualization_type : "hvm";
	i->root_device_name = in->root_device_name ? in->root_device_name : "/dev/vda";
	r = check_name(in->name, e);
	if (r == 0)
		r = clc_image_split_location(in->image_location, rq->arena, i, e);
	if (r == 0)
		r = inspect_object(&reg, e);
	if (r < 0)
		return r;
	id_new(id, prefix_of(i->type));
	i->image_id = arena_strdup(rq->arena, id);
	r = store_write(rq->clc->store, insert_image, &reg, e);
	if (r == 0)
		out->image_id = i->image_id;
	return r;
}

/* -- DescribeImages -- */

static struct image
describe(const struct clc_image *i, struct arena *arena)
{
	char created[TIME_TEXT_SIZE];
	struct image out = { .image_id = i->image_id,
		.image_location = i->location,
		.state = "available",
		.owner_id = i->account_id,
		.has_is_public = true,
		.is_public = i->is_public,
		.architecture = i->architecture,
		.image_type = i->type,
		.kernel_id = i->kernel_id,
		.ramdisk_id = i->ramdisk_id,
		.name = i->name,
		.description = i->description,
		.root_device_type = "instance-store",
		.root_device_name = i->root_device_name,
		.virtualization_type = i->virtualization,
		.hypervisor = "xen" };

	time_format_iso(i->created_us, created);
	out.creation_date = arena_strdup(arena, created);
	return out;
}

struct listing {
	struct request *rq;
	const struct describe_images_in *in;
	VEC(struct image) images;
};

static bool
list_has(const char *const *items, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(items[i], text) == 0)
			return true;
	return false;
}

static bool
is_asked_for(const struct listing *l, const struct clc_image *i)
{
	const struct describe_images_in *in = l->in;
	const char *me = l->rq->account_id;
	bool mine = strcmp(i->account_id, me) == 0;

	if (in->image_ids.count && !list_has(in->image_ids.items, in->image_ids.count, i->image_id))
		return false;
	if (in->owners.count && !list_has(in->owners.items, in->owners.count, i->account_id) &&
	    !(mine && list_has(in->owners.items, in->owners.count, "self")))
		return false;
	if (in->executable_users.count &&
	    !(i->is_public &&
		list_has(in->executable_users.items, in->executable_users.count, "all")) &&
	    !(mine && list_has(in->executable_users.items, in->executable_users.count, "self")))
		return false;
	return true;
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

		read_image(rows, l->rq->arena, &i);
		out = describe(&i, l->rq->arena);
		if (is_asked_for(l, &i) && filters_match(l->rq->operation, l->in->filters.items,
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
		bool found = in->filters.count > 0 || in->owners.count > 0;

		if (!is_image_id(in->image_ids.items[n]))
			return err_set(e, ERR_IMAGE_MALFORMED, "Invalid id: \"%.100s\"",
			    in->image_ids.items[n]);
		for (size_t k = 0; !found && k < l->images.count; k++)
			found = strcmp(l->images.items[k].image_id, in->image_ids.items[n]) == 0;
		if (!found)
			return not_found(in->image_ids.items[n], e);
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
		asked.image_ids.items[n] = without_alias(in->image_ids.items[n], rq->arena);
	r = page_begin(&page, in->next_token, in->has_max_results ? in->max_results : 0,
	    in->image_ids.count > 0 && in->has_max_results, "imageIdsSet", e);
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
	int r;

	d->image_id = without_alias(d->image_id, d->rq->arena);
	if (!is_image_id(d->image_id))
		return err_set(e, ERR_IMAGE_MALFORMED, "Invalid id: \"%.100s\"", d->image_id);
	r = clc_image_load(tx, d->image_id, d->rq->arena, &image, e);
	if (r < 0)
		return r;
	if (!image.is_public && strcmp(image.account_id, d->rq->account_id) != 0)
		return not_found(d->image_id, e);
	r = clc_authorize(d->rq, image.account_id, e);
	if (r < 0)
		return r;
	if (image.is_deregistered)
		return err_set(e, ERR_IMAGE_UNAVAILABLE, "The image ID '%s' is no longer available",
		    d->image_id);
	r = store_exec(tx, Q_IMAGE_DEREGISTER, NULL, e, d->image_id);
	return r < 0 ? r : request_record(tx, d->rq, "image", d->image_id, e);
}

int
ec2_handle_deregister_image(struct request *rq, const struct deregister_image_in *in,
    struct deregister_image_out *out, struct err *e)
{
	struct deregistration d = { rq, in->image_id };
	int r = store_write(rq->clc->store, deregister, &d, e);

	if (r == 0)
		out->has_result = out->result = true;
	return r;
}
