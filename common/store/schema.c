/* The base tables: lease, outbox, audit, meta, and the record of applied steps. They are migrated
 * like a daemon's own tables, as a set with its own numbers, so that neither has to know the other.
 * schema_version itself is made by hand: it must exist before any step can be written down. */
#include "store/schema.h"

const char store_bootstrap_sql[] = "CREATE TABLE IF NOT EXISTS schema_version ("
				   "schema_name TEXT NOT NULL, version BIGINT NOT NULL, "
				   "name TEXT NOT NULL, applied_at_us BIGINT NOT NULL, "
				   "sha256 TEXT NOT NULL, "
				   "PRIMARY KEY (schema_name, version)) TABLE_OPTIONS";

#define QUERY STORE_QUERY_ROW
static const struct store_query queries[] = {
#include "store/queries.def"
};

#define MIGRATION STORE_MIGRATION_ROW
static const struct store_migration migrations[] = {
#include "store/migrations.def"
};

const struct store_schema store_base_schema = STORE_SCHEMA("store", queries, migrations);
