#pragma once
/* The names under which an account knows the zones. With `zone_names = shuffled` each account sees the
 * names in an order of its own, so that what all ask for first is not the same zone; ids stay. */
#include "base/arena.h"

#include "request.h"

struct clc_zone_name {
	const char *zone, *zone_id; /* as they are */
	const char *shown;          /* as the account sees it */
};
struct clc_zone_names {
	struct clc_zone_name *items;
	size_t count;
};
int clc_zone_names_read(struct store_tx *tx, const struct clc_conf *conf, const char *account_id,
    struct arena *arena, struct clc_zone_names *ret, struct err *e);
/* The same for who asks, read once a request; of its arena. */
int clc_zone_names(struct store_tx *tx, struct request *rq, const struct clc_zone_names **ret,
    struct err *e);
/* A zone of the cloud, as shown: itself when it has gone. */
const char *clc_zone_shown(const struct clc_zone_names *names, const char *zone);
const struct clc_zone_name *clc_zone_by_shown(const struct clc_zone_names *names, const char *shown);
/* Both at once, for handlers: by what a user wrote (ZONE_NOT_FOUND), for what a user reads. */
int clc_zone_name_find(struct store_tx *tx, struct request *rq, const char *shown,
    const char **ret_zone, struct err *e);
int clc_zone_name_show(struct store_tx *tx, struct request *rq, const char *zone,
    const char **ret_shown, struct err *e);
