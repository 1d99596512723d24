#pragma once
/* Work that nobody waits for: files that no row names, digests that somebody asked for. */
#include "walrus.h"

int sweep_garbage(void *arg, uint32_t *ret_again_ms, struct err *e); /* arg: struct walrus */
/* What can't be read now is tried again later; the others don't wait for it. */
int digest_due(void *arg, uint32_t *ret_again_ms, struct err *e);
