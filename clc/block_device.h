#pragma once
/* What becomes of the block device mappings of a launch: which ephemeral disks of the type the
 * instance has, under which device names, and how large its root disk is. */
#include "clc/ec2.api.h"

#include "instance_type.h"
#include "rpc/common.api.h"

struct clc_devices {
	const char *ephemeral_disks; /* "/dev/vdb=ephemeral0:4 ...", by device; NULL: none */
	int64_t ephemeral_gib;       /* of all of them */
	int64_t root_disk_gib;
};
/* What needs no store: names, and that each device is named once.
 * INVALID_BLOCK_DEVICE_MAPPING, INVALID_PARAMETER_VALUE, UNSUPPORTED_OPERATION. */
int clc_devices_check(const struct block_device *asked, size_t count, struct err *e);
/* `image_mapping`: the image's own, "/dev/vdb=ephemeral0 /dev/vdc=" (nothing to that device), or
 * NULL; what is asked goes over it. `image_gib`: what the root disk is at least. */
int clc_devices_resolve(const struct block_device *asked, size_t count, const char *image_mapping,
    const char *root_device, int64_t image_gib, const struct clc_instance_type *type,
    struct arena *arena, struct clc_devices *ret, struct err *e);
/* For the wanted record. */
void clc_devices_spec(
    const char *ephemeral_disks, struct arena *arena, struct instance_spec *ret);
