#pragma once
/* A small schema and a directory of its own for the tests of the store. */
#include "store/store.h"

enum fixture_query {
#define QUERY(name, types, text, postgres) Q_##name,
#include "tests/lib/store_fixture.def"
#undef QUERY
};
extern const struct store_schema fixture_schema;    /* step 1 */
extern const struct store_schema fixture_schema_v2; /* steps 1 and 2 */

struct fixture {
	char directory[64];
	char *path; /* of the store's file */
	char *url;
	struct store *store; /* open, unless fixture_close was called */
};
int fixture_setup(void **state);    /* for cmocka: *state is the fixture, its store is open */
int fixture_teardown(void **state); /* removes the directory */
void fixture_open(struct fixture *f, const struct store_schema *schema);
void fixture_close(struct fixture *f);
/* Empties and removes a directory of plain files. */
void fixture_remove_directory(const char *path);

int fixture_put(struct store *s, int64_t id, const char *text, struct err *e);
int64_t fixture_count(struct store *s); /* rows of table item; aborts on error */
