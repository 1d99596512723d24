#pragma once
/* Files: read whole, replace atomically and durably. Paths are ours, never a peer's. */
#include <stdbool.h>
#include <sys/types.h>
#include "base/err.h"
#include "base/strbuf.h"

int fs_read(const char *path, size_t limit, struct strbuf *out, struct err *e); /* ERR_LIMIT past it */
/* Temporary file, fsync, rename, fsync of the directory. */
int fs_write_atomic(const char *path, struct str content, mode_t mode, struct err *e);
int fs_mkdir_p(const char *path, mode_t mode, struct err *e);
int fs_sync_directory(const char *path, struct err *e);
int fs_free_bytes(const char *path, uint64_t *ret_free, uint64_t *ret_total, struct err *e);
bool fs_exists(const char *path);
