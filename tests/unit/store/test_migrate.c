/* Steps and versions: upgrade with a copy, refusals, damage found at open. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/strbuf.h"
#include "run/fs.h"
#include "store/sql_text.h"
#include "tests/lib/store_fixture.h"

static struct store_schema
schema_with(const struct store_migration *steps, unsigned count)
{
	struct store_schema schema = fixture_schema;

	schema.migrations = steps;
	schema.migration_count = count;
	return schema;
}

static int
open_code(struct fixture *f, const struct store_schema *schema, struct err *e)
{
	int r = store_open(f->url, schema, NULL, &f->store, e);

	if (r >= 0)
		fixture_close(f);
	return r;
}

static void
an_upgrade_keeps_rows_and_makes_a_copy(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *copy = xasprintf("%s.before-1.2", f->path);
	struct err e = { 0 };

	for (int64_t i = 0; i < 10; i++)
		assert_int_equal(fixture_put(f->store, i, "old", &e), 0);
	fixture_close(f);
	assert_false(fs_exists(copy));
	fixture_open(f, &fixture_schema_v2);
	assert_int_equal(fixture_count(f->store), 10);
	fixture_close(f);

	assert_int_equal(rename(copy, f->path), 0);
	fixture_open(f, &fixture_schema); /* the copy is what was before */
	assert_int_equal(fixture_count(f->store), 10);
}

static void
nothing_is_copied_without_a_step(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *copy = xasprintf("%s.before-1.1", f->path);

	fixture_close(f);
	fixture_open(f, &fixture_schema);
	assert_false(fs_exists(copy));
}

static void
a_newer_store_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	fixture_close(f);
	fixture_open(f, &fixture_schema_v2);
	fixture_close(f);
	assert_int_equal(open_code(f, &fixture_schema, &e), ERR_UNSUPPORTED);
	assert_non_null(strstr(e.text, "was written by a newer version"));
	assert_int_equal(open_code(f, &fixture_schema_v2, &e), 0);
}

static void
a_changed_step_is_refused(void **state)
{
	struct store_migration steps[] = { fixture_schema.migrations[0] };
	struct store_schema schema = schema_with(steps, 1);
	struct fixture *f = *state;
	_cleanup_free_ char *sql = xasprintf("%s ", steps[0].sql);
	struct err e = { 0 };

	fixture_close(f);
	assert_int_equal(open_code(f, &schema, &e), 0);
	steps[0].sql = sql;
	assert_int_equal(open_code(f, &schema, &e), ERR_UNSUPPORTED);
	assert_non_null(strstr(e.text, "step 1 of schema 'fixture'"));
}

static void
a_failing_step_leaves_what_was(void **state)
{
	const struct store_migration steps[] = { fixture_schema.migrations[0],
		{ 2, "broken",
		    "CREATE TABLE colour (id BIGINT PRIMARY KEY) TABLE_OPTIONS;"
		    "INSERT INTO colour (id) VALUES ('red')" } };
	const struct store_migration good[] = { fixture_schema.migrations[0],
		{ 2, "mended", "CREATE TABLE colour (id BIGINT PRIMARY KEY) TABLE_OPTIONS" } };
	struct store_schema broken = schema_with(steps, 2), mended = schema_with(good, 2);
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(fixture_put(f->store, 1, "kept", &e), 0);
	fixture_close(f);
	assert_int_equal(open_code(f, &broken, &e), ERR_INTERNAL);
	assert_non_null(strstr(e.text, "step 2 of schema 'fixture'"));
	fixture_open(f, &fixture_schema);
	assert_int_equal(fixture_count(f->store), 1);
	fixture_close(f);
	err_clear(&e);
	assert_int_equal(
	    open_code(f, &mended, &e), 0); /* the table of the broken step is not there */
}

static void
a_store_of_another_daemon_is_refused(void **state)
{
	struct store_schema other = fixture_schema;
	struct fixture *f = *state;
	struct err e = { 0 };

	other.daemon = "other";
	fixture_close(f);
	assert_int_equal(open_code(f, &other, &e), ERR_UNSUPPORTED);
	assert_non_null(strstr(e.text, "is the store of 'fixture', not of 'other'"));
}

static void
wrong_catalogues_are_found_at_open(void **state)
{
	static const struct store_query cases[] = {
		{ "NO_TABLE", "", "SELECT 1 FROM absent", NULL },
		{ "UNUSED", "si", "SELECT id FROM item WHERE note = $1", NULL },
		{ "TOO_MANY", "s", "SELECT id FROM item WHERE note = $1 AND id = $2", NULL },
		{ "SKIPPED", "si", "SELECT id FROM item WHERE note = $1 AND id = $3", NULL },
		{ "TWO", "", "DELETE FROM child; DELETE FROM item", NULL },
		{ "LETTER", "x", "SELECT id FROM item WHERE note = $1", NULL },
	};
	const struct store_migration gap[] = { fixture_schema.migrations[0],
		{ 3, "no second", "SELECT 1" } };
	struct store_schema gapped = schema_with(gap, 2);
	struct fixture *f = *state;

	fixture_close(f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct store_schema schema = fixture_schema;
		struct err e = { 0 };

		schema.queries = &cases[i];
		schema.query_count = 1;
		assert_int_equal(open_code(f, &schema, &e), ERR_INTERNAL);
		assert_non_null(strstr(e.text, cases[i].name));
	}
	assert_int_equal(open_code(f, &gapped, NULL), ERR_INTERNAL);
}

/* ---- damage ---- */

static void
overwrite(const char *path, off_t offset, size_t n)
{
	_cleanup_free_ char *junk = xmalloc(n);
	int fd = open(path, O_RDWR);

	memset(junk, 0xa5, n);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, n, offset), n);
	close(fd);
}

static void
damage_is_found_at_open(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *copy = xasprintf("%s.good", f->path);
	_cleanup_strbuf_ struct strbuf good = STRBUF_INIT;
	struct err e = { 0 };
	struct stat st;

	for (int64_t i = 0; i < 500; i++)
		assert_int_equal(fixture_put(f->store, i, "some text to fill pages with", &e), 0);
	fixture_close(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(st.st_size > 20 * 4096);
	assert_int_equal(fs_read(f->path, 64 << 20, &good, &e), 0);

	/* the header; each page's head; an end cut off */
	for (off_t page = 0; page < st.st_size / 4096; page++) {
		overwrite(f->path, page * 4096, 64);
		err_clear(&e);
		if (open_code(f, &fixture_schema, &e) != ERR_CORRUPT)
			fail_msg("page %d: %s", (int)page, e.text);
		assert_non_null(strstr(e.text, f->path));
		assert_int_equal(fs_write_atomic(f->path, strbuf_str(&good), 0600, &e), 0);
	}
	assert_int_equal(truncate(f->path, st.st_size / 2), 0);
	assert_int_equal(open_code(f, &fixture_schema, &e), ERR_CORRUPT);
	assert_int_equal(fs_write_atomic(f->path, STR("this is no database"), 0600, &e), 0);
	assert_int_equal(open_code(f, &fixture_schema, &e), ERR_CORRUPT);

	assert_int_equal(fs_write_atomic(f->path, strbuf_str(&good), 0600, &e), 0);
	fixture_open(f, &fixture_schema);
	assert_int_equal(fixture_count(f->store), 500);
}

static void
unreadable_files_are_named(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	fixture_close(f);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_true(open_code(f, &fixture_schema, &e) < 0);
	assert_non_null(strstr(e.text, f->path));
	assert_int_equal(rmdir(f->path), 0);
}

static void
words_are_translated(void **state)
{
	static const struct {
		const char *in, *sqlite, *postgres;
	} cases[] = {
		{ "a BIGINT, b BLOB_TYPE", "a INT, b BLOB", "a BIGINT, b BYTEA" },
		{ ") TABLE_OPTIONS;", ") STRICT;", ") ;" },
		{ ") TABLE_OPTIONS_CLUSTERED", ") STRICT, WITHOUT ROWID", ") " },
		{ "'BIGINT' \"BIGINT\" MY_BIGINT BIGINTS $1",
		    "'BIGINT' \"BIGINT\" MY_BIGINT BIGINTS $1",
		    "'BIGINT' \"BIGINT\" MY_BIGINT BIGINTS $1" },
		{ "'it''s BIGINT'BIGINT", "'it''s BIGINT'INT", "'it''s BIGINT'BIGINT" },
		{ "'open BIGINT", "'open BIGINT", "'open BIGINT" },
		{ "", "", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;

		sql_translate(&a, SQL_SQLITE, cases[i].in);
		sql_translate(&b, SQL_POSTGRES, cases[i].in);
		assert_string_equal(strbuf_c(&a), cases[i].sqlite);
		assert_string_equal(strbuf_c(&b), cases[i].postgres);
	}
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_upgrade_keeps_rows_and_makes_a_copy),
		T(nothing_is_copied_without_a_step),
		T(a_newer_store_is_refused),
		T(a_changed_step_is_refused),
		T(a_failing_step_leaves_what_was),
		T(a_store_of_another_daemon_is_refused),
		T(wrong_catalogues_are_found_at_open),
		T(damage_is_found_at_open),
		T(unreadable_files_are_named),
		cmocka_unit_test(words_are_translated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
