#pragma once
/* Availability zones and the daemons the clc calls: what is wanted goes down to each zone's cc, what is
 * observed comes up. One link per zone: a reconciler that puts what changed, and a reader of Changes. */
#include "clc.h"

struct clc_zones;
/* Loads zones and peers from the store and starts their links. */
int clc_zones_new(struct clc *clc, struct clc_zones **ret, struct err *e);
void clc_zones_free(struct clc_zones *z);
DEFINE_CLEANUP(struct clc_zones *, clc_zones_free)
/* Something wanted changed in that zone (NULL: in all). Any thread. */
void clc_zones_poke(struct clc *clc, const char *zone);
/* A daemon joined, left or has a new certificate: links are made anew where they differ. Any thread. */
void clc_zones_refresh(struct clc *clc);
