/* The archive of a disk: whole and exact, holes and all, however it ends up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "export.h"
#include "tests/lib/net_peer.h"

#define MIB (1 << 20)

struct disk {
	char *directory, *raw, *archive;
};

static int
setup(void **state)
{
	struct disk *d = xcalloc(1, sizeof(*d));

	d->directory = net_temporary_directory();
	d->raw = xasprintf("%s/disk", d->directory);
	d->archive = xasprintf("%s/disk.tar.gz", d->directory);
	*state = d;
	return 0;
}

static int
teardown(void **state)
{
	struct disk *d = *state;

	net_remove_directory(d->directory);
	free(d->directory);
	free(d->raw);
	free(d->archive);
	free(d);
	return 0;
}

/* Data of `size` bytes at each of the offsets; the rest, up to the end, is holes. */
static void
make_disk(struct disk *d, uint64_t end, const uint64_t *offsets, size_t count, size_t size)
{
	_cleanup_free_ char *bytes = xmalloc(size + 1);
	int fd = open(d->raw, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 7 + (i >> 8) + 1);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(pwrite(fd, bytes, size, (off_t)offsets[i]), size);
	assert_int_equal(ftruncate(fd, (off_t)end), 0);
	close(fd);
}

static void
assert_holds_the_disk(struct disk *d, uint64_t end)
{
	_cleanup_free_ char *got = xmalloc(MIB), *wanted = xmalloc(MIB);
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int fd = open(d->raw, O_RDONLY);
	uint64_t at = 0;
	la_ssize_t n;

	archive_read_support_filter_gzip(a);
	archive_read_support_format_tar(a);
	assert_int_equal(archive_read_open_filename(a, d->archive, 65536), ARCHIVE_OK);
	assert_int_equal(archive_filter_code(a, 0), ARCHIVE_FILTER_GZIP);
	assert_int_equal(archive_read_next_header(a, &entry), ARCHIVE_OK);
	assert_string_equal(archive_entry_pathname(entry), "disk.raw");
	assert_int_equal(archive_entry_size(entry), end);
	while ((n = archive_read_data(a, got, MIB)) > 0) {
		assert_int_equal(pread(fd, wanted, (size_t)n, (off_t)at), n);
		assert_memory_equal(got, wanted, (size_t)n);
		at += (uint64_t)n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(at, end);
	assert_int_equal(archive_read_next_header(a, &entry), ARCHIVE_EOF);
	archive_read_free(a);
	close(fd);
}

static void
disks_of_all_shapes(void **state)
{
	static const struct {
		uint64_t end, offsets[3];
		size_t count, size;
	} cases[] = {
		{ 5 * MIB, { 0 }, 0, 0 },                                /* nothing but a hole */
		{ 512, { 0 }, 1, 512 },                                  /* all of it, small */
		{ 3 * MIB, { 0, MIB, 2 * MIB }, 3, MIB },                /* no hole */
		{ 9 * MIB + 512, { 0, 4 * MIB, 9 * MIB }, 3, 512 },      /* ends in data */
		{ 40 * MIB, { 4096, 3 * MIB + 4096, 17 * MIB }, 3, 777 } /* in between */
	};
	struct disk *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = { 0 };
		struct stat st;

		make_disk(d, cases[i].end, cases[i].offsets, cases[i].count, cases[i].size);
		if (nc_export_archive(d->raw, "disk.raw", d->archive, NULL, &e) < 0)
			fail_msg("case %zu: %s", i, e.text);
		assert_holds_the_disk(d, cases[i].end);
		assert_int_equal(stat(d->archive, &st), 0);
		assert_true((uint64_t)st.st_size < 2 * cases[i].count * cases[i].size + 200000);
	}
}

struct patience {
	unsigned asked, last, limit;
};

static bool
goes_on(void *arg, unsigned percent)
{
	struct patience *p = arg;

	assert_in_range(percent, p->last, 100);
	p->last = percent;
	return ++p->asked <= p->limit;
}

static void
an_end_on_the_way_leaves_nothing(void **state)
{
	static const uint64_t offset = 0;
	struct disk *d = *state;
	struct patience p = { .limit = 3 };
	const struct export_watch watch = { goes_on, &p };
	_cleanup_free_ char *part = xasprintf("%s.part", d->archive);

	make_disk(d, 8 * MIB, &offset, 1, 8 * MIB);
	assert_int_equal(
	    nc_export_archive(d->raw, "disk.raw", d->archive, &watch, NULL), ERR_CANCELLED);
	assert_int_equal(access(d->archive, F_OK), -1);
	assert_int_equal(access(part, F_OK), -1);
	p = (struct patience){ .limit = 1000 };
	assert_int_equal(nc_export_archive(d->raw, "disk.raw", d->archive, &watch, NULL), 0);
	assert_int_equal(p.asked, 8);
	assert_int_equal(
	    nc_export_archive("/nonexistent", "disk.raw", d->archive, NULL, NULL), ERR_NOT_FOUND);
}

/* What is due by state. */
static void
due(void **state)
{
	static const struct {
		const char *state;
		bool is_due;
	} cases[] = { { "waiting", true }, { "running", true }, { "done", false },
		{ "failed", false } };
	struct export_report x = { .export_id = "export-1" };
	struct instance_record i = { 0 };

	assert_false(nc_export_is_due(&i));
	i.export = &x;
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		x.state = cases[k].state;
		assert_int_equal(nc_export_is_due(&i), cases[k].is_due);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(disks_of_all_shapes, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_on_the_way_leaves_nothing, setup, teardown),
		cmocka_unit_test(due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
