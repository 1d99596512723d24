#pragma once
/* The tables that every store has, as a schema of their own beside the daemon's. */
#include "store/store.h"

#define STORE_BASE_QUERIES 0x10000 /* ids of the base catalogue start here */
enum base_query {
	BASE_BEFORE_FIRST = STORE_BASE_QUERIES - 1,
#define QUERY(name, types, text, postgres) BASE_##name,
#include "store/queries.def"
#undef QUERY
};
extern const struct store_schema store_base_schema;
/* What has to be there before the first step can be recorded. */
extern const char store_bootstrap_sql[];
