/* The node controller's tables and statements, made of the two .def files. */
#include "schema.h"

#define QUERY STORE_QUERY_ROW
static const struct store_query queries[] = {
#include "nc/queries.def"
};

#define MIGRATION STORE_MIGRATION_ROW
static const struct store_migration migrations[] = {
#include "nc/migrations.def"
};

const struct store_schema nc_schema = STORE_SCHEMA("nc", queries, migrations);
