#pragma once
/* A bounded pool of threads for what blocks: SQL, libvirt, disks, calls to other daemons. */
#include "base/err.h"

struct workers;
int workers_new(unsigned threads, unsigned queue_max, struct workers **ret_workers, struct err *e);
/* Finishes what is queued, then joins the threads. */
void workers_free(struct workers *w);
DEFINE_CLEANUP(struct workers *, workers_free)
/* Any thread. ERR_LIMIT when the queue is full: answer the client with 503. */
int workers_run(struct workers *w, void (*fn)(void *arg), void *arg, struct err *e);
unsigned workers_queued(struct workers *w);
