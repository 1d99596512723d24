#pragma once
/* Files that no row names: left by writers that died with an earlier process, and removed. But a store that was put
 * back from a copy names nothing that is newer than the copy: there such files are held until an operator releases
 * them. The same holds of a store that is new while there are files. */
#include "walrus.h"

int orphans_sweep(void *arg, uint32_t *ret_again_ms, struct err *e); /* a reconciler; arg: struct walrus */
int orphans_release(struct store_tx *tx, void *arg, struct err *e);  /* a store_fn; the caller pokes */
int orphans_describe(struct store_tx *tx, void *arg, struct err *e); /* a store_fn; arg: struct strbuf */
