#pragma once
/* Instance types: rows that the administrator changes; a new cloud starts with the classic ones. */
#include "request.h"

#define INSTANCE_TYPE_DISKS_MAX 24
struct clc_instance_type {
	const char *name;
	int64_t vcpus, memory_mib, root_disk_gib, ephemeral_gib; /* the last: of all its disks */
	const char *ephemeral_disks; /* "4 4 10": their sizes in GiB; NULL: none */
	int64_t cpu_shares;          /* 0: in proportion to vcpus */
	bool is_pinned;              /* processors of its own */
	const char *description;
};
#define DEFAULT_INSTANCE_TYPE "m1.small"
int clc_instance_types_create(struct store_tx *tx, struct err *e);
/* INVALID_PARAMETER_VALUE when there is none of that name. */
int clc_instance_type_get(struct store_tx *tx, const char *name, struct arena *arena,
    struct clc_instance_type *ret, struct err *e);
void clc_instance_type_read(
    struct store_rows *rows, struct arena *arena, struct clc_instance_type *ret);
int clc_instance_type_put(struct store_tx *tx, const struct clc_instance_type *t, struct err *e);
/* The sizes of its ephemeral disks. */
size_t clc_instance_type_disks(
    const struct clc_instance_type *t, uint32_t sizes_gib[INSTANCE_TYPE_DISKS_MAX]);

/* -- verbs of the admin socket (instance_type_admin.c) -- */
struct http_call;
void clc_instance_types_list(struct http_call *call, void *clc);
void clc_instance_types_set(struct http_call *call, void *clc);
void clc_instance_types_delete(struct http_call *call, void *clc);
