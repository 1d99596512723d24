#pragma once
/* Instance types: rows that the administrator changes; a new cloud starts with the classic ones. */
#include "request.h"

struct clc_instance_type {
	const char *name;
	int64_t vcpus, memory_mib, root_disk_gib, ephemeral_gib;
};
#define DEFAULT_INSTANCE_TYPE "m1.small"
int clc_instance_types_create(struct store_tx *tx, struct err *e);
/* INVALID_PARAMETER_VALUE when there is none of that name. */
int clc_instance_type_get(struct store_tx *tx, const char *name, struct arena *arena,
    struct clc_instance_type *ret, struct err *e);
