#pragma once
/* Values for the parameters of statements: deterministic, and such that rows are found. */
#include <sqlite3.h>
#include "tests/store/engine.h"

struct values;
/* Reads the tables, columns and foreign keys from `db`, where the migrations have run, and the
 * literals that stand beside columns in the schema's steps and statements. */
struct values *values_new(sqlite3 *db, const struct store_schema *schema, uint64_t seed);
void values_free(struct values *v);
DEFINE_CLEANUP(struct values *, values_free)
/* A hint: `text` is a sensible value for columns called `column`. */
void values_hint(struct values *v, const char *column, const char *text);
void values_pick(
    struct values *v, const struct store_query *query, struct value out[STORE_PARAMETERS_MAX]);
void values_done(const struct store_query *query, struct value values[STORE_PARAMETERS_MAX]);
unsigned values_random(struct values *v, unsigned below);
/* One "UPDATE table SET column = $1 WHERE first column = $2" for each column but the first of each
 * table: brings rows into states that the catalogue reaches only by long ways. Texts are borrowed
 * from v. */
size_t values_scrambles(const struct values *v, const struct store_query **ret_queries);
/* The tables, in no particular order. */
size_t values_tables(const struct values *v, const char *const **ret_names);
