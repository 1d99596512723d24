/* The tables behind schema.h, expanded from queries.def and migrations.def. */
#include "schema.h"

static const struct store_query queries[] = {
#define QUERY(name, types, text, postgres) { #name, types, text, postgres },
#include "queries.def"
#undef QUERY
};

static const struct store_migration migrations[] = {
#define MIGRATION(version, name, sql) { version, name, sql },
#include "migrations.def"
#undef MIGRATION
};

const struct store_schema walrus_schema = {
	.daemon = "walrus",
	.queries = queries,
	.query_count = ARRAY_SIZE(queries),
	.migrations = migrations,
	.migration_count = ARRAY_SIZE(migrations),
};
