#pragma once
/* What a qcow2 header says: read by us, because an image comes from a stranger and QEMU would
 * follow what it names. */
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

#define QCOW2_HEADER_MAX                                                                           \
	4096 /* bytes from the front that qcow2_check wants (fewer if the file ends) */
#define QCOW2_DISK_BYTES_MAX (UINT64_C(16) << 40) /* of disk that an image may hold */
/* Accepts a self-contained version 2 or 3 image of at most size_max bytes of disk. ERR_INVALID says
 * what is wrong: no qcow2, a backing file, an external data file, encryption, unknown features. */
int qcow2_check(struct str head, uint64_t size_max, uint64_t *ret_virtual_size, struct err *e);
/* Whether bytes look like qcow2: a raw image that does is refused, so that no tool mistakes it. */
bool qcow2_is(struct str head);
