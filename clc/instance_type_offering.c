/* DescribeInstanceTypeOfferings: the types times the places of the kind that is asked for. */
#include "base/vec.h"
#include "clc/ec2.api.h"

#include "filter.h"
#include "page.h"
#include "request.h"
#include "zone_name.h"

#define LOCATION_TYPE_DEFAULT "region"

struct listing {
	struct request *rq;
	const struct describe_instance_type_offerings_in *in;
	const char *location_type;
	VEC(const char *) locations;
	VEC(struct instance_type_offering) found;
};

static int
read_locations(struct store_tx *tx, struct listing *l, struct err *e)
{
	bool by_id = strcmp(l->location_type, "availability-zone-id") == 0;
	const struct clc_zone_names *zones;
	int r;

	l->locations.count = 0;
	if (strcmp(l->location_type, LOCATION_TYPE_DEFAULT) == 0) {
		vec_add(&l->locations, (const char *)l->rq->clc->conf->region);
		return 0;
	}
	r = clc_zone_names(tx, l->rq, &zones, e);
	for (size_t i = 0; r == 0 && i < zones->count; i++)
		vec_add(&l->locations, by_id ? zones->items[i].zone_id : zones->items[i].shown);
	return r;
}

static int
read_listing(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct listing *l = arg;
	int r = read_locations(tx, l, e);

	l->found.count = 0;
	if (r == 0)
		r = store_query(tx, Q_INSTANCE_TYPES, &rows, e);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		const char *type = arena_strdup(l->rq->arena, store_text(rows, 0));

		VEC_FOREACH (&l->locations, location) {
			struct instance_type_offering o = { type, l->location_type, *location };

			if (filters_match(
				l->rq->operation, l->in->filters.items, l->in->filters.count, &o))
				vec_add(&l->found, o);
		}
	}
	return r;
}

int
ec2_handle_describe_instance_type_offerings(struct request *rq,
    const struct describe_instance_type_offerings_in *in,
    struct describe_instance_type_offerings_out *out, struct err *e)
{
	struct listing l = { .rq = rq,
		.in = in,
		.location_type = in->location_type ? in->location_type : LOCATION_TYPE_DEFAULT };
	struct page page;
	int r = page_begin(
	    &page, in->next_token, in->has_max_results ? in->max_results : 0, false, NULL, e);

	if (r == 0)
		r = store_read(rq->clc->store, read_listing, &l, e);
	if (r == 0) {
		page_cut(&page, l.found.count);
		out->offerings.count = page.count;
		out->offerings.items = arena_memdup(
		    rq->arena, l.found.items + page.first, page.count * sizeof(*l.found.items));
		out->next_token = page_token(&page, rq->arena);
	}
	vec_done(&l.locations);
	vec_done(&l.found);
	return r;
}
