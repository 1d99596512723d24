#pragma once
/* The clc's statements and migrations. */
#include "store/store.h"

enum clc_query {
#define QUERY(name, types, text, postgres) Q_##name,
#include "queries.def"
#undef QUERY
	CLC_QUERY_MAX
};
extern const struct store_schema clc_schema;
