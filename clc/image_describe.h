#pragma once
/* How images are shown. */
#include "base/arena.h"
#include "clc/ec2.api.h"

/* "/dev/vdb=ephemeral0 /dev/vdc=" as what clients read; NULL: none. */
void clc_image_block_devices(const char *text, struct arena *arena, struct image_block_device **ret,
    size_t *ret_count);
