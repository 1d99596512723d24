#pragma once
/* Reads every byte that is stored, no faster than `scrub_rate`, and compares it with its sums: objects with all
 * their versions, then parts of uploads. What it finds is kept in the store (tables `scrub` and `damage`), counted,
 * logged as an error, and shown as health condition "scrub" until the object is gone or a later scrub finds it
 * well. A restart goes on where it was. */
#include "walrus.h"

struct scrub;
struct scrub *scrub_new(struct walrus *w);
void scrub_free(struct scrub *s);
int scrub_step(void *arg, uint32_t *ret_again_ms, struct err *e); /* a reconciler; arg: struct scrub */
void scrub_order(struct scrub *s); /* one shall begin now, if none is under way; the caller pokes it */
/* The last scrubs, and what is damaged, as lines. A store_fn; arg: struct strbuf. */
int scrub_describe(struct store_tx *tx, void *arg, struct err *e);
