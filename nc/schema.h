#pragma once
/* The node controller's catalogue of statements. */
#include "store/store.h"

enum nc_query {
#define QUERY(name, types, text, postgres) NC_##name,
#include "nc/queries.def"
#undef QUERY
};
extern const struct store_schema nc_schema;
