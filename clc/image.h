#pragma once
/* Machine images, kernels and ramdisks: what was recorded of an object when it was registered. */
#include "request.h"

struct clc_image { /* strings from the arena */
	const char *image_id, *account_id, *name, *description, *location, *bucket, *object_key, *type;
	const char *architecture, *format, *virtualization, *digest, *kernel_id, *ramdisk_id;
	const char *root_device_name;
	int64_t size_bytes, created_us;
	int64_t disk_bytes; /* of the disk that it holds: more than size_bytes where the format is sparse */
	bool is_public, is_deregistered;
};
/* Deregistered ones too: instances made of them go on. IMAGE_NOT_FOUND. */
int clc_image_load(struct store_tx *tx, const char *image_id, struct arena *arena,
    struct clc_image *ret, struct err *e);
/* One that the account may launch: its own or public, of that type, not deregistered. IMAGE_MALFORMED. */
int clc_image_get(struct store_tx *tx, const char *account_id, const char *image_id, const char *type,
    struct arena *arena, struct clc_image *ret, struct err *e);
/* Path-style URL of its object below `base`. */
void clc_image_url(const struct clc_image *image, const char *base, struct strbuf *out);
/* Fills bucket, object_key, location and format from "bucket/key", "/bucket/key" or "s3://bucket/key".
 * INVALID_PARAMETER_VALUE. */
int clc_image_split_location(const char *location, struct arena *arena, struct clc_image *image,
    struct err *e);
/* `head`: the first bytes of an object said to be qcow2. INVALID_MANIFEST for anything else, and for one
 * that names another file. The size of the disk within. */
int clc_image_check_qcow2(struct str head, const char *location, int64_t *ret_disk_bytes,
    struct err *e);
