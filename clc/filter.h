#pragma once
/* EC2 filters as data: a filter's name and the path of the reply's field that it looks at. AND between
 * filters, OR between values, * and ? with backslash escapes, case-sensitive. */
#include "clc/ec2.api.h"
#include "rpc/codec.h"

struct filter_path {
	const char *name; /* "network-interface.mac-address" */
	const char *path; /* "network_interfaces.mac_address"; lists match when any item does */
};
#define FILTER_VALUES_MAX 200

/* INVALID_PARAMETER_VALUE for a filter that is not among `paths` (tag:KEY, tag-key and tag-value are known
 * wherever the reply has tags), FILTER_LIMIT_EXCEEDED past 200 values in all. */
int filters_check(const struct filter_path *paths, const struct filter *filters, size_t count,
    const struct shape *shape, struct err *e);
/* The latter alone: for a call whose filters are looked up in two tables. */
int filters_check_size(const struct filter *filters, size_t count, struct err *e);
/* Whether a reply struct passes all filters. */
bool filters_match(const struct filter_path *paths, const struct filter *filters, size_t count,
    const struct shape *shape, const void *item);

/* The tables, each of the shape that its Describe call answers. */
extern const struct filter_path instance_filters[], image_filters[], key_pair_filters[], region_filters[],
    zone_filters[], instance_type_filters[], vpc_filters[], subnet_filters[], group_filters[];
