/* Images as rows: ids, who may see and launch which, and how one comes to be. Ids of the three
 * types differ in their prefix; an image is of one region and one account, and seen by those whom
 * its owner permitted. Deregistered ones stay, because instances made of them go on. */
#include "image.h"

#include "base/qcow2.h"
#include "net/url.h"

#include "quota.h"

#define IMAGE_NAME_MIN 3
#define IMAGE_NAME_MAX 128

void
clc_image_read(struct store_rows *rows, struct arena *arena, struct clc_image *i)
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
	i->state = TEXT();
	i->reason_code = TEXT();
	i->reason_message = TEXT();
	i->boot_mode = TEXT();
	i->tpm_support = TEXT();
	i->sriov_net_support = TEXT();
	i->imds_support = TEXT();
	i->has_ena_support = store_int(rows, c++);
	i->block_devices = TEXT();
	i->deprecation_us = store_int(rows, c++);
	i->is_stored = store_int(rows, c++);
#undef TEXT
}

/* -- ids -- */

static const struct {
	const char *type, *prefix;
} types[] = {
	{ "machine", "ami" },
	{ "kernel", "aki" },
	{ "ramdisk", "ari" },
};

const char *
clc_image_prefix(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].type, type) == 0)
			return types[i].prefix;
	return "ami";
}

const char *
clc_image_id(const char *id, struct arena *arena)
{
	char *same;

	if (id[0] != 'e' || !id[1] || id[2] != 'i' || id[3] != '-')
		return id;
	same = arena_strdup(arena, id);
	same[0] = 'a';
	return same;
}

bool
clc_image_id_is_valid(const char *id)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (id_is_valid(id, types[i].prefix))
			return true;
	return false;
}

/* -- finding -- */

int
clc_image_not_found(const char *image_id, struct err *e)
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
		return clc_image_not_found(image_id, e);
	if (r == 0)
		clc_image_read(rows, arena, ret);
	return r;
}

static int
is_permitted(
    struct store_tx *tx, const struct clc_image *image, const char *account_id, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	if (image->is_public || strcmp(image->account_id, account_id) == 0)
		return 1;
	r = store_query(tx, Q_IMAGE_IS_PERMITTED, &rows, e, image->image_id, account_id);
	return r < 0 ? r : store_next(rows, e);
}

static int
load_visible(struct store_tx *tx, const char *account_id, const char *image_id, struct arena *arena,
    struct clc_image *ret, struct err *e)
{
	int r = clc_image_load(tx, image_id, arena, ret, e);

	if (r == 0)
		r = is_permitted(tx, ret, account_id, e);
	if (r == 0)
		return clc_image_not_found(image_id, e);
	return r < 0 ? r : 0;
}

static int
unavailable(const char *image_id, struct err *e)
{
	return err_set(
	    e, ERR_IMAGE_UNAVAILABLE, "The image ID '%s' is no longer available", image_id);
}

int
clc_image_visible(struct store_tx *tx, const char *account_id, const char *image_id,
    struct arena *arena, struct clc_image *ret, struct err *e)
{
	image_id = clc_image_id(image_id, arena);
	if (!clc_image_id_is_valid(image_id))
		return err_set(e, ERR_IMAGE_MALFORMED, "Invalid id: \"%.100s\"", image_id);
	return load_visible(tx, account_id, image_id, arena, ret, e);
}

int
clc_image_get(struct store_tx *tx, const char *account_id, const char *image_id, const char *type,
    struct arena *arena, struct clc_image *ret, struct err *e)
{
	int r;

	image_id = clc_image_id(image_id, arena);
	if (!id_is_valid(image_id, clc_image_prefix(type)))
		return err_set(e, ERR_IMAGE_MALFORMED,
		    "Invalid id: \"%.100s\" (expecting \"%s-...\")", image_id,
		    clc_image_prefix(type));
	r = account_id ? load_visible(tx, account_id, image_id, arena, ret, e)
		       : clc_image_load(tx, image_id, arena, ret, e);
	if (r < 0)
		return r;
	if (ret->is_deregistered)
		return unavailable(image_id, e);
	if (strcmp(ret->state, "available") != 0)
		return err_set(e, ERR_IMAGE_UNAVAILABLE,
		    "The image ID '%s' is in the state '%s': it can not be used", image_id,
		    ret->state);
	return 0;
}

int
clc_image_own(struct store_tx *tx, const struct request *rq, const char *image_id,
    struct clc_image *ret, struct err *e)
{
	int r = clc_image_visible(tx, rq->account_id, image_id, rq->arena, ret, e);

	if (r < 0)
		return r;
	if (strcmp(ret->account_id, rq->account_id) != 0)
		return err_set(
		    e, ERR_IMAGE_NOT_AUTHORIZED, "Not authorized for image:%s", ret->image_id);
	return ret->is_deregistered ? unavailable(ret->image_id, e) : 0;
}

/* -- making -- */

int
clc_image_check_name(const char *name, struct err *e)
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

int
clc_image_check_quota(struct store_tx *tx, const struct request *rq, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const struct clc_conf *conf = rq->clc->conf;
	int64_t limit = 0;
	int r = clc_quota_get(
	    tx, rq->account_id, "images", clc_quota_default(conf, "images"), &limit, e);

	if (r == 0)
		r = store_query_one(
		    tx, Q_IMAGE_COUNT, &rows, "count of images", e, rq->account_id, conf->region);
	if (r == 0 && store_int(rows, 0) >= limit)
		r = err_set(e, ERR_IMAGE_LIMIT_EXCEEDED, "You have reached your quota of %lld AMIs",
		    (long long)limit);
	return r;
}

int
clc_image_insert(struct store_tx *tx, const char *region, const struct clc_image *i, struct err *e)
{
	int64_t changed = 0;
	int r =
	    store_exec(tx, Q_IMAGE_INSERT, &changed, e, i->image_id, i->account_id, region, i->name,
		i->description, i->location, i->bucket, i->object_key, i->type, i->architecture,
		i->format, i->virtualization, i->size_bytes, i->digest, i->kernel_id, i->ramdisk_id,
		i->root_device_name, store_now_us(tx), i->disk_bytes, i->state, i->boot_mode,
		i->tpm_support, i->sriov_net_support, i->imds_support, (int64_t)i->has_ena_support,
		i->block_devices, i->deprecation_us, (int64_t)i->is_stored);

	if (r == 0 && changed == 0)
		return err_set(e, ERR_IMAGE_NAME_DUPLICATE,
		    "AMI name %s is already in use by your account", i->name);
	return r;
}

int
clc_image_set_source(
    struct store_tx *tx, const char *image_id, const struct clc_image_source *source, struct err *e)
{
	_cleanup_strbuf_ struct strbuf parts = STRBUF_INIT;
	int r;

	for (size_t i = 0; i < source->part_count; i++) {
		const struct image_part *p = &source->parts[i];

		strbuf_addf(
		    &parts, "%llu %s ", (unsigned long long)p->size_bytes, p->sha1 ? p->sha1 : "-");
		url_encode(&parts, str_of(p->key), true);
		strbuf_addc(&parts, '\n');
	}
	r = store_exec(tx, Q_IMAGE_SOURCE_SET, NULL, e, image_id, source->reader_id,
	    (int64_t)source->as_service, source->bucket, strbuf_c(&parts), source->wrapped_key,
	    source->wrapped_iv, (int64_t)source->is_archive, source->archive_sha1,
	    (int64_t)source->file_bytes, source->sha256);
	/* Whatever becomes of it, walrus is to be told to forget it in the end. */
	return r < 0 ? r : store_exec(tx, Q_IMAGE_IS_STORED, NULL, e, image_id);
}

int
clc_image_fail(struct store_tx *tx, const struct clc_image *image, const char *code,
    const char *message, struct err *e)
{
	int64_t changed = 0;
	int r = store_exec(tx, Q_IMAGE_FAILED, &changed, e, image->image_id, code, message);

	if (r == 0)
		r = store_exec(tx, Q_IMAGE_SOURCE_DELETE, NULL, e, image->image_id);
	return r < 0 || changed == 0
		   ? r
		   : outbox_add(tx, "image", image->image_id, image->account_id, "failed", e);
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

/* -- formats -- */

int
clc_image_check_format(
    const struct clc_image *image, struct str head, int64_t *io_disk_bytes, struct err *e)
{
	struct err why = { 0 };
	uint64_t disk_bytes;

	if (strcmp(image->format, "qcow2") != 0)
		return qcow2_is(head) ? err_set(e, ERR_INVALID_MANIFEST,
					    "the object '%.200s' is a qcow2 file, but taken as a "
					    "raw disk: the name "
					    "of one ends in .qcow2",
					    image->location)
				      : 0;
	if (qcow2_check(head, QCOW2_DISK_BYTES_MAX, &disk_bytes, &why) < 0)
		return err_set(e, ERR_INVALID_MANIFEST, "the qcow2 file '%.200s' is refused: %s",
		    image->location, why.text);
	*io_disk_bytes = (int64_t)disk_bytes;
	return 0;
}
