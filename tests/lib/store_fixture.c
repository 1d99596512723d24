/* The schema that the store's own tests run on: one table with every type, one that refers to it.
 */
#include "tests/lib/store_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#define QUERY STORE_QUERY_ROW
static const struct store_query queries[] = {
#include "tests/lib/store_fixture.def"
};
static const struct store_migration migrations[] = {
	{ 1, "items",
	    "CREATE TABLE item (id BIGINT PRIMARY KEY, note TEXT, body BLOB_TYPE,"
	    " revision BIGINT NOT NULL DEFAULT 1) TABLE_OPTIONS;"
	    "CREATE TABLE child (id BIGINT PRIMARY KEY,"
	    " item_id BIGINT NOT NULL REFERENCES item (id)) TABLE_OPTIONS_CLUSTERED" },
	{ 2, "colour", "ALTER TABLE item ADD COLUMN colour TEXT" },
};
const struct store_schema fixture_schema = { "fixture", queries, ARRAY_SIZE(queries), migrations,
	1 };
const struct store_schema fixture_schema_v2 = { "fixture", queries, ARRAY_SIZE(queries), migrations,
	2 };

static void
must(int r, const struct err *e)
{
	if (r < 0) {
		fprintf(stderr, "fixture: %s\n", e->text);
		abort();
	}
}

void
fixture_open(struct fixture *f, const struct store_schema *schema)
{
	struct log log = { .daemon = "fixture" };
	struct err e = { 0 };

	must(store_open(f->url, schema, &log, &f->store, &e), &e);
}

void
fixture_close(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
}

int
fixture_setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	snprintf(f->directory, sizeof(f->directory), "/tmp/store-test-XXXXXX");
	if (!mkdtemp(f->directory))
		return -1;
	f->path = xasprintf("%s/test.db", f->directory);
	f->url = xasprintf("sqlite:%s", f->path);
	fixture_open(f, &fixture_schema);
	*state = f;
	return 0;
}

void
fixture_remove_directory(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		_cleanup_free_ char *file = xasprintf("%s/%s", path, entry->d_name);

		if (entry->d_name[0] != '.')
			(void)unlink(file); /* rmdir tells */
	}
	if (directory)
		closedir(directory);
	if (rmdir(path) < 0)
		perror(path);
}

int
fixture_teardown(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	fixture_remove_directory(f->directory);
	free(f->path);
	free(f->url);
	free(f);
	return 0;
}

struct put {
	int64_t id;
	const char *text;
};

static int
put(struct store_tx *tx, void *arg, struct err *e)
{
	struct put *p = arg;

	return store_exec(tx, Q_ITEM_ADD, NULL, e, p->id, p->text, str_of(p->text));
}

int
fixture_put(struct store *s, int64_t id, const char *text, struct err *e)
{
	struct put p = { id, text };

	return store_write(s, put, &p, e);
}

static int
count(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_ITEM_COUNT, &rows, "count", e);

	if (r >= 0)
		*(int64_t *)arg = store_int(rows, 0);
	return r;
}

int64_t
fixture_count(struct store *s)
{
	struct err e = { 0 };
	int64_t n = 0;

	must(store_read(s, count, &n, &e), &e);
	return n;
}
