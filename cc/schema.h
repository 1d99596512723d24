#pragma once
/* The cc's statements and migrations. */
#include "store/store.h"

enum cc_query {
#define QUERY(name, types, text, postgres) Q_##name,
#include "queries.def"
#undef QUERY
	CC_QUERY_MAX
};
extern const struct store_schema cc_schema;
