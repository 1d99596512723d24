/* RegisterImage. An object is taken as it is: what is recorded of it (size, digest, format) lets a
 * node verify the bytes it gets, and nothing is ever probed. A key that ends in ".qcow2" is a qcow2
 * file, one that ends in ".manifest.xml" a bundle, every other a raw disk. Of a bundle everything
 * that can be known at once is checked here (who made it, that it is for this cloud, that its parts
 * are there and the caller's to read); walrus unpacks it afterwards, and until then the image is
 * pending. A kernel or ramdisk is registered with KernelId or RamdiskId "true", or its manifest
 * says so. */
#include "base/vec.h"
#include "run/fs.h"

#include "clc/ec2.api.h"
#include "image.h"
#include "manifest.h"
#include "peers.h"

#define MANIFEST_SUFFIX ".manifest.xml"
#define CERTIFICATE_MAX 65536

struct registration {
	struct request *rq;
	const struct register_image_in *in;
	struct clc_image image;
	struct manifest manifest;
	struct clc_image_source source; /* of bundles */
};

static bool
is_marked(const char *id)
{
	return id && strcmp(id, "true") == 0;
}

static bool
is_bundle(const struct clc_image *image)
{
	size_t n = strlen(image->object_key), suffix = strlen(MANIFEST_SUFFIX);

	return n > suffix && strcmp(image->object_key + n - suffix, MANIFEST_SUFFIX) == 0;
}

/* -- what walrus says of objects -- */

static int
not_readable(int code, const char *location, struct err *e)
{
	return err_set(e, ERR_INVALID_MANIFEST,
	    "HTTP %d (%s) response for URL %.200s: check your S3 ACLs are correct.",
	    fault_status(code), fault_code(code), location);
}

static int
ask(struct registration *reg, const struct operation *operation, const void *in, void *out,
    struct err *e)
{
	struct request *rq = reg->rq;
	struct rpc_context context = { .request_id = rq->id, .account_id = rq->account_id };
	int r = clc_peers_walrus(rq->clc->peers, operation, &context, in, out, rq->arena, e);

	if (r == ERR_BUCKET_NOT_FOUND || r == ERR_KEY_NOT_FOUND || r == ERR_ACCESS_DENIED)
		return not_readable(r, reg->image.location, e);
	return r;
}

/* Asks walrus as the caller: who may not read an object can't register it. */
static int
inspect_object(struct registration *reg, struct err *e)
{
	struct clc_image *i = &reg->image;
	struct walrus_describe_object_in in = {
		.account_id = reg->rq->account_id, .bucket = i->bucket, .key = i->object_key
	};
	struct walrus_describe_object_out out = { 0 };
	int r = ask(reg, &walrus_describe_object, &in, &out, e);

	if (r < 0)
		return r;
	if (out.size_bytes == 0)
		return err_set(
		    e, ERR_INVALID_MANIFEST, "the object '%.200s' is empty", i->location);
	i->size_bytes = (int64_t)out.size_bytes;
	i->disk_bytes = i->size_bytes;
	i->digest = out.digest;
	return clc_image_check_format(i, out.head, &i->disk_bytes, e);
}

/* -- bundles -- */

struct signer {
	const struct registration *reg;
	bool is_known;
};

static int
find_signer(struct store_tx *tx, void *arg, struct err *e)
{
	struct signer *s = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_CERTIFICATES_OF_ACCOUNT, &rows, e, s->reg->rq->account_id);

	s->is_known = false;
	while (!s->is_known && r >= 0 && (r = store_next(rows, e)) > 0)
		s->is_known = manifest_is_signed_by(&s->reg->manifest, store_text(rows, 0));
	return r < 0 ? r : 0;
}

/* By a certificate of the caller's account, or by the cloud itself, which signs what it bundles. */
static int
check_signer(struct registration *reg, struct err *e)
{
	struct signer s = { .reg = reg };
	_cleanup_free_ char *path = clc_bundle_certificate_path(reg->rq->clc);
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	int r = store_read(reg->rq->clc->store, find_signer, &s, e);

	if (r == 0 && !s.is_known) {
		r = fs_read(path, CERTIFICATE_MAX, &pem, e);
		s.is_known = r == 0 && manifest_is_signed_by(&reg->manifest, strbuf_c(&pem));
	}
	if (r == 0 && !s.is_known)
		return err_set(e, ERR_INVALID_MANIFEST,
		    "Manifest has invalid signature: it was not made with the key of a certificate "
		    "of this account");
	return r;
}

static int
check_key(const struct registration *reg, struct err *e)
{
	_cleanup_free_ char *path = clc_bundle_key_path(reg->rq->clc);
	char hex[MANIFEST_KEY_HEX + 1];
	int r = manifest_unwrap(path, reg->manifest.cloud_key, hex, e);

	if (r == 0)
		r = manifest_unwrap(path, reg->manifest.cloud_iv, hex, e);
	OPENSSL_cleanse(hex, sizeof(hex));
	return r;
}

/* Parts lie beside the manifest. */
static const char *
part_key(const struct registration *reg, const char *filename)
{
	const char *key = reg->image.object_key, *slash = strrchr(key, '/');
	int n = slash ? (int)(slash + 1 - key) : 0;

	return arena_printf(reg->rq->arena, "%.*s%s", n, key, filename);
}

static int
check_parts(struct registration *reg, struct err *e)
{
	const struct manifest *m = &reg->manifest;
	struct arena *arena = reg->rq->arena;
	struct walrus_describe_objects_in in = { .account_id = reg->rq->account_id,
		.bucket = reg->image.bucket };
	struct walrus_describe_objects_out out = { 0 };
	struct image_part *parts = arena_alloc(arena, m->part_count * sizeof(*parts));
	const char **keys = arena_alloc(arena, m->part_count * sizeof(*keys));
	uint64_t sum = 0;
	int r;

	for (size_t i = 0; i < m->part_count; i++)
		keys[i] = part_key(reg, m->parts[i].filename);
	in.keys.items = (void *)keys;
	in.keys.count = m->part_count;
	r = ask(reg, &walrus_describe_objects, &in, &out, e);
	if (r < 0)
		return r;
	if (out.objects.count != m->part_count)
		return err_set(
		    e, ERR_INTERNAL, "walrus told of other objects than it was asked for");
	for (size_t i = 0; i < m->part_count; i++) {
		parts[i] = (struct image_part){ .key = keys[i],
			.size_bytes = out.objects.items[i].size_bytes,
			.sha1 = m->parts[i].sha1 };
		sum += parts[i].size_bytes;
	}
	if (sum != m->bundled_bytes)
		return err_set(e, ERR_INVALID_MANIFEST,
		    "The manifest is invalid: bundled_size is %llu, but the parts have %llu bytes",
		    (unsigned long long)m->bundled_bytes, (unsigned long long)sum);
	reg->source.parts = parts;
	reg->source.part_count = m->part_count;
	return 0;
}

/* "sdb" and "/dev/sdb" are the same device. */
static const char *
device_path(const char *device, struct arena *arena)
{
	return strncmp(device, "/dev/", 5) == 0 ? device : arena_printf(arena, "/dev/%s", device);
}

static bool
is_ephemeral(const char *name)
{
	return strncmp(name, "ephemeral", 9) == 0 && strlen(name) > 9 && strlen(name) < 12 &&
	       strspn(name + 9, "0123456789") == strlen(name) - 9;
}

static bool
is_device(const char *name)
{
	return name[0] &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			    "/_") == strlen(name);
}

/* The manifest says what the request does not. */
static int
take_manifest(struct registration *reg, struct err *e)
{
	const struct manifest *m = &reg->manifest;
	struct arena *arena = reg->rq->arena;
	struct clc_image *i = &reg->image;
	_cleanup_strbuf_ struct strbuf devices = STRBUF_INIT;

	if (strcmp(m->architecture, "x86_64") != 0)
		return err_set(e, ERR_INVALID_MANIFEST,
		    "The manifest is invalid: its architecture is '%s'", m->architecture);
	if (!reg->in->kernel_id && !reg->in->ramdisk_id) {
		if (is_marked(m->kernel_id) || strcmp(m->type, "kernel") == 0)
			i->type = "kernel";
		else if (is_marked(m->ramdisk_id) || strcmp(m->type, "ramdisk") == 0)
			i->type = "ramdisk";
	}
	if (strcmp(i->type, "machine") == 0) {
		i->kernel_id = i->kernel_id ? i->kernel_id : m->kernel_id;
		i->ramdisk_id = i->ramdisk_id ? i->ramdisk_id : m->ramdisk_id;
	}
	for (size_t n = 0; n < m->mapping_count; n++) {
		const char *device = m->mappings[n].device, *name = m->mappings[n].virtual_name;

		if (!is_device(device))
			return err_set(e, ERR_INVALID_MANIFEST,
			    "The manifest is invalid: '%s' is no device", device);
		if (strcmp(name, "root") == 0 && !reg->in->root_device_name)
			i->root_device_name = device_path(device, arena);
		if (is_ephemeral(name))
			strbuf_addf(&devices, "%s%s=%s", devices.n ? " " : "",
			    device_path(device, arena), name);
	}
	if (!i->block_devices && devices.n)
		i->block_devices = arena_str(arena, strbuf_str(&devices));
	return 0;
}

static int
inspect_bundle(struct registration *reg, struct err *e)
{
	struct clc_image *i = &reg->image;
	struct walrus_read_object_in in = { .account_id = reg->rq->account_id,
		.bucket = i->bucket,
		.key = i->object_key,
		.bytes_max = MANIFEST_BYTES_MAX };
	struct walrus_read_object_out out = { 0 };
	int r = ask(reg, &walrus_read_object, &in, &out, e);

	if (r == ERR_LIMIT)
		return err_set(e, ERR_INVALID_MANIFEST, "The manifest is invalid: it is too large");
	if (r == 0)
		r = manifest_parse(out.content, reg->rq->arena, &reg->manifest, e);
	if (r == 0)
		r = check_signer(reg, e);
	if (r == 0)
		r = check_key(reg, e);
	if (r == 0)
		r = take_manifest(reg, e);
	if (r == 0)
		r = check_parts(reg, e);
	if (r < 0)
		return r;
	i->state = "pending";
	i->format = "raw";
	i->digest = "";
	i->size_bytes = i->disk_bytes = (int64_t)reg->manifest.size_bytes;
	reg->source.reader_id = reg->rq->account_id;
	reg->source.bucket = i->bucket;
	reg->source.wrapped_key = reg->manifest.cloud_key;
	reg->source.wrapped_iv = reg->manifest.cloud_iv;
	reg->source.is_archive = true;
	reg->source.archive_sha1 = reg->manifest.sha1;
	reg->source.file_bytes = reg->manifest.size_bytes;
	return 0;
}

/* -- the request -- */

int
clc_image_devices(const struct image_block_device_asked *devices, size_t count, struct arena *arena,
    const char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	for (size_t n = 0; n < count; n++) {
		const struct image_block_device_asked *d = &devices[n];
		const char *name = d->virtual_name ? d->virtual_name : "";

		if (!d->device_name)
			return err_set(e, ERR_MISSING_PARAMETER,
			    "The request must contain the parameter DeviceName");
		if (!is_device(d->device_name))
			return err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING,
			    "Invalid device name %.100s", d->device_name);
		if (!name[0] == !d->no_device)
			return err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING,
			    "The device '%s' needs either a VirtualName or NoDevice",
			    d->device_name);
		if (name[0] && !is_ephemeral(name))
			return err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING,
			    "Invalid virtual device name '%.100s'", name);
		for (size_t k = 0; k < n; k++)
			if (strcmp(devices[k].device_name, d->device_name) == 0)
				return err_set(e, ERR_INVALID_BLOCK_DEVICE_MAPPING,
				    "The device '%s' is used in more than one block-device mapping",
				    d->device_name);
		strbuf_addf(&text, "%s%s=%s", n ? " " : "", d->device_name, name);
	}
	if (text.n)
		*ret = arena_str(arena, strbuf_str(&text));
	return 0;
}

static int
take_devices(struct registration *reg, struct err *e)
{
	return clc_image_devices(reg->in->block_devices.items, reg->in->block_devices.count,
	    reg->rq->arena, &reg->image.block_devices, e);
}

static int
check(const struct register_image_in *in, struct err *e)
{
	if (!in->image_location || !in->image_location[0])
		return err_set(e, ERR_MISSING_PARAMETER,
		    "The request must contain the parameter ImageLocation");
	if (in->architecture && strcmp(in->architecture, "x86_64") != 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "The architecture '%s' is not supported", in->architecture);
	if (in->sriov_net_support && strcmp(in->sriov_net_support, "simple") != 0)
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%s) for parameter sriovNetSupport is invalid. Valid values: simple",
		    in->sriov_net_support);
	if (in->root_device_name && !is_device(in->root_device_name))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "Value (%.100s) for parameter rootDeviceName is invalid", in->root_device_name);
	if (in->virtualization_type && strcmp(in->virtualization_type, "paravirtual") == 0 &&
	    (in->ena_support || in->sriov_net_support || in->boot_mode || in->tpm_support))
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "EnaSupport, SriovNetSupport, BootMode and TpmSupport are of images with the "
		    "virtualization type hvm");
	return in->tpm_support && (!in->boot_mode || strcmp(in->boot_mode, "uefi") != 0)
		   ? err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
			 "TpmSupport v2.0 needs the BootMode uefi")
		   : clc_image_check_name(in->name, e);
}

static void
fill(struct registration *reg)
{
	const struct register_image_in *in = reg->in;
	struct clc_image *i = &reg->image;

	i->account_id = reg->rq->account_id;
	i->name = in->name;
	i->description = in->description;
	i->type = is_marked(in->kernel_id)    ? "kernel"
		  : is_marked(in->ramdisk_id) ? "ramdisk"
					      : "machine";
	if (strcmp(i->type, "machine") == 0) {
		i->kernel_id = in->kernel_id;
		i->ramdisk_id = in->ramdisk_id;
	}
	i->architecture = "x86_64";
	i->virtualization = in->virtualization_type ? in->virtualization_type : "hvm";
	i->root_device_name = in->root_device_name ? in->root_device_name : "/dev/vda";
	i->state = "available";
	i->boot_mode = in->boot_mode;
	i->tpm_support = in->tpm_support;
	i->sriov_net_support = in->sriov_net_support;
	i->imds_support = in->imds_support;
	i->has_ena_support = in->ena_support;
}

static int
find_part(struct store_tx *tx, struct registration *reg, const char **io_id, const char *type,
    struct err *e)
{
	struct clc_image part;
	int r;

	if (!*io_id)
		return 0;
	r = clc_image_get(tx, reg->rq->account_id, *io_id, type, reg->rq->arena, &part, e);
	if (r == 0)
		*io_id = part.image_id;
	return r;
}

static int
insert(struct store_tx *tx, void *arg, struct err *e)
{
	struct registration *reg = arg;
	struct clc_image i = reg->image;
	int r = find_part(tx, reg, &i.kernel_id, "kernel", e);

	if (r == 0)
		r = find_part(tx, reg, &i.ramdisk_id, "ramdisk", e);
	if (r == 0)
		r = clc_image_check_quota(tx, reg->rq, e);
	if (r == 0)
		r = clc_image_insert(tx, reg->rq->clc->conf->region, &i, e);
	if (r == 0 && reg->source.part_count)
		r = clc_image_set_source(tx, i.image_id, &reg->source, e);
	return r < 0 ? r : request_record(tx, reg->rq, "image", i.image_id, e);
}

int
ec2_handle_register_image(struct request *rq, const struct register_image_in *in,
    struct register_image_out *out, struct err *e)
{
	struct registration reg = { .rq = rq, .in = in };
	struct clc_image *i = &reg.image;
	char id[ID_MAX];
	int r = check(in, e);

	if (r < 0)
		return r;
	fill(&reg);
	r = take_devices(&reg, e);
	if (r == 0)
		r = clc_image_split_location(in->image_location, rq->arena, i, e);
	if (r == 0)
		r = is_bundle(i) ? inspect_bundle(&reg, e) : inspect_object(&reg, e);
	if (r < 0)
		return r;
	if (i->ramdisk_id && !i->kernel_id)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION, "RamdiskId needs a KernelId");
	id_new(id, clc_image_prefix(i->type));
	i->image_id = arena_strdup(rq->arena, id);
	r = store_write(rq->clc->store, insert, &reg, e);
	if (r < 0)
		return r;
	if (reg.source.part_count)
		clc_images_poke(rq->clc);
	out->image_id = i->image_id;
	return 0;
}
