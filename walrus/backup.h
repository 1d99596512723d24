#pragma once
/* Copies of the store, made while it is in use: STATE/backups/ID.db. As long as one is there no file that it names
 * is removed; what a copy holds up is the garbage that was made since. */
#include "walrus.h"

/* Durable at return. *ret_id names it. */
int backup_make(struct walrus *w, int64_t *ret_id, struct err *e);
int backup_drop(struct walrus *w, int64_t id, struct err *e); /* ERR_NOT_FOUND */
int backup_describe(struct walrus *w, struct strbuf *out, struct err *e); /* a line each */
