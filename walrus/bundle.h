#pragma once
/* Exports of instances' root disks, and the bundles that are made of them for their users. */
#include "walrus.h"

struct bundles; /* the work under way, and what came of it until its export is deleted */
int bundles_new(struct walrus *w, struct bundles **ret, struct err *e);
void bundles_cancel(struct bundles *b); /* whatever is under way ends soon */
void bundles_free(struct bundles *b);
