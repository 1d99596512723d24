#pragma once
/* The sc's statements and migrations. */
#include "store/store.h"

enum sc_query {
#define QUERY(name, types, text, postgres) Q_##name,
#include "queries.def"
#undef QUERY
	SC_QUERY_MAX
};
extern const struct store_schema sc_schema;
