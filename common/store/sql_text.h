#pragma once
/* The few words that differ between the engines. */
#include "base/err.h"
#include "base/strbuf.h"
#include "store/store.h"

enum sql_engine { SQL_SQLITE, SQL_POSTGRES };
/* Appends `sql` with BLOB_TYPE, BIGINT, TABLE_OPTIONS and TABLE_OPTIONS_CLUSTERED in the words of
 * `engine`. Text in quotes stays as it is. */
void sql_translate(struct strbuf *out, enum sql_engine engine, const char *sql);
const char *sql_query_text(const struct store_query *query, enum sql_engine engine);
#define SQL_DIGEST_SIZE 65
void sql_digest(
    const char *sql, char out[SQL_DIGEST_SIZE]); /* hex SHA-256 of the text as written */
/* Numbers 1, 2, 3 ... and parameters within bounds: what a catalogue must be. */
int sql_schema_check(const struct store_schema *schema, struct err *e);
