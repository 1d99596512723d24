#pragma once
/* Machine images, kernels and ramdisks: what was recorded of an object when it was registered, and of those
 * whose bytes walrus makes of other objects (bundles, copies), what they are made of. */
#include "request.h"
#include "rpc/walrus.api.h"

struct clc_image { /* strings from the arena */
	const char *image_id, *account_id, *name, *description, *location, *bucket, *object_key, *type;
	const char *architecture, *format, *virtualization, *digest, *kernel_id, *ramdisk_id;
	const char *root_device_name;
	int64_t size_bytes, created_us;
	int64_t disk_bytes; /* of the disk that it holds: more than size_bytes where the format is sparse */
	bool is_public, is_deregistered;
	const char *state; /* "pending", "available" or "failed" */
	const char *reason_code, *reason_message;
	const char *boot_mode, *tpm_support, *sriov_net_support; /* NULL: not said */
	const char *imds_support; /* "v2.0": instances ask for tokens unless told otherwise */
	bool has_ena_support;
	const char *block_devices; /* "/dev/vdb=ephemeral0 /dev/vdc=": to that device nothing; NULL: none */
	int64_t deprecation_us;    /* 0: never */
	bool is_stored;            /* walrus keeps bytes under the image's id */
};
/* What walrus is to make an image of: see StoreImage in walrus.api. */
struct clc_image_source {
	const char *reader_id;
	bool as_service;
	const char *bucket;
	const struct image_part *parts;
	size_t part_count;
	const char *wrapped_key, *wrapped_iv; /* hex, for the cloud's key; NULL: not encrypted */
	bool is_archive;
	const char *archive_sha1;
	const char *sha256; /* of the result; NULL: not known */
	uint64_t file_bytes; /* 0: not known */
};

/* -- ids -- */
/* Eucalyptus writes emi-, eki-, eri- for the same ids: its clients may go on to. */
const char *clc_image_id(const char *id, struct arena *arena);
bool clc_image_id_is_valid(const char *id);
const char *clc_image_prefix(const char *type); /* "ami", "aki", "ari" */

/* -- finding -- */
/* Deregistered ones too: instances made of them go on. IMAGE_NOT_FOUND. */
int clc_image_load(struct store_tx *tx, const char *image_id, struct arena *arena,
    struct clc_image *ret, struct err *e);
/* One that the account may launch: its own, public or permitted; of that type, not deregistered, available.
 * NULL account: of any, for parts that an image was registered with. IMAGE_MALFORMED, IMAGE_NOT_FOUND, IMAGE_UNAVAILABLE. */
int clc_image_get(struct store_tx *tx, const char *account_id, const char *image_id, const char *type,
    struct arena *arena, struct clc_image *ret, struct err *e);
/* One that the caller may change: IMAGE_NOT_AUTHORIZED where it may only look. Any state. */
int clc_image_own(struct store_tx *tx, const struct request *rq, const char *image_id,
    struct clc_image *ret, struct err *e);
/* One that the caller may see. Any state and type. */
int clc_image_visible(struct store_tx *tx, const char *account_id, const char *image_id,
    struct arena *arena, struct clc_image *ret, struct err *e);
/* The image in a row of IMAGE_COLUMNS. */
void clc_image_read(struct store_rows *rows, struct arena *arena, struct clc_image *ret);
int clc_image_not_found(const char *image_id, struct err *e);

/* -- making -- */
/* INVALID_PARAMETER_VALUE, IMAGE_NAME_MALFORMED. */
int clc_image_check_name(const char *name, struct err *e);
/* Whether the account may have one more. IMAGE_LIMIT_EXCEEDED. */
int clc_image_check_quota(struct store_tx *tx, const struct request *rq, struct err *e);
/* Mappings that a request asks for, as clc_image.block_devices keeps them; *ret stays where there are none.
 * INVALID_BLOCK_DEVICE_MAPPING, MISSING_PARAMETER. */
struct image_block_device_asked;
int clc_image_devices(const struct image_block_device_asked *devices, size_t count, struct arena *arena,
    const char **ret, struct err *e);
/* The row: all fields but created_us. IMAGE_NAME_DUPLICATE. With a state of "pending", a source is to follow
 * by clc_image_set_source, or clc_image_fail. */
int clc_image_insert(struct store_tx *tx, const char *region, const struct clc_image *image, struct err *e);
/* From now on, once committed and clc_images_poke'd, walrus is asked until the image is available or has
 * failed. */
int clc_image_set_source(struct store_tx *tx, const char *image_id, const struct clc_image_source *source,
    struct err *e);
/* A pending image that will not be; `code` as "Server.InternalError" or "Client.ImportFailed". */
int clc_image_fail(struct store_tx *tx, const struct clc_image *image, const char *code,
    const char *message, struct err *e);
/* Path-style URL of its object below `base`. */
void clc_image_url(const struct clc_image *image, const char *base, struct strbuf *out);
/* Fills bucket, object_key, location and format from "bucket/key", "/bucket/key" or "s3://bucket/key".
 * INVALID_PARAMETER_VALUE. */
int clc_image_split_location(const char *location, struct arena *arena, struct clc_image *image,
    struct err *e);
/* `head`: the first bytes of the image's object. INVALID_MANIFEST for what no node would take: a qcow2
 * file that names another one, and one that goes as raw. Of a qcow2 file, the size of the disk within. */
int clc_image_check_format(const struct clc_image *image, struct str head, int64_t *io_disk_bytes,
    struct err *e);

/* -- bytes that walrus makes -- */
/* reconciler_fn, arg is struct clc *: pending images are brought on, bytes of deregistered ones that no
 * instance uses are given back. */
int clc_images_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e);
void clc_images_poke(struct clc *clc);
/* The private key that bundles are encrypted for, and its certificate: heap. */
char *clc_bundle_key_path(const struct clc *clc);
char *clc_bundle_certificate_path(const struct clc *clc);
