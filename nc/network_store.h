#pragma once
/* The durable records of networks on this node. */
#include "base/arena.h"
#include "rpc/common.api.h"
#include "store/store.h"

/* Short numbers for kernel devices, made when first asked for. */
int nic_index(struct store *s, const char *interface_id, const char *instance_id, uint32_t *ret,
    struct err *e);
int nic_release(struct store *s, const char *instance_id, struct err *e);
int group_index(struct store *s, const char *group_id, uint32_t *ret, struct err *e);

/* *ret_changed: the store has it now and did not before; older or equal revisions change nothing.
 */
int vpc_store(struct store *s, const struct vpc_spec *vpc, bool *ret_changed, struct err *e);
/* ERR_NOT_FOUND. */
int vpc_load(
    struct store *s, const char *vpc_id, struct arena *arena, struct vpc_spec *ret, struct err *e);
int vpc_list(
    struct store *s, struct arena *arena, struct vpc_spec **ret, size_t *ret_count, struct err *e);
