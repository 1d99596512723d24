#pragma once
/* The watermark: `disk_reserve` bytes of the file systems of blobs and store stay free, so that reads, deletes
 * and the store itself go on when there is no room for more. Shown as health condition "disk" and in metrics. */
#include "walrus.h"

struct disk;
struct disk *disk_new(const struct walrus_conf *conf, const struct log *log);
void disk_free(struct disk *d);
/* May `bytes` more be written? ERR_NO_SPACE. Any thread; cheap. */
int disk_admit(struct disk *d, uint64_t bytes, struct err *e);
int disk_admit_blob(void *arg, uint64_t bytes, struct err *e); /* the same; arg: struct disk */
int disk_watch(void *arg, uint32_t *ret_again_ms, struct err *e); /* a reconciler; arg: struct disk */
