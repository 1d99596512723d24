#pragma once
/* Walrus' statements and migrations. */
#include "store/store.h"

enum walrus_query {
#define QUERY(name, types, text, postgres) Q_##name,
#include "queries.def"
#undef QUERY
	WALRUS_QUERY_MAX
};
extern const struct store_schema walrus_schema;
