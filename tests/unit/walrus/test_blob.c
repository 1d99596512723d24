/* Blobs: what was written is read back, every flipped bit of a file is noticed, what is not kept
 * goes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/id.h"
#include "blob.h"
#include "run/fd.h"
#include "run/fs.h"
#include "run/page_pipe.h"

struct fixture {
	char directory[64];
	struct blobs *blobs;
	bool lends; /* whole blocks of files are read by blob_reader_lend */
	size_t lent_bytes;
};

/* The disk, in place of libc's call: it may take its time, or fail. */
static atomic_uint syncs_begun, syncs_done;
static atomic_bool is_disk_busy, is_disk_bad;

int
fdatasync(int fd)
{
	long r;

	atomic_fetch_add(&syncs_begun, 1);
	while (atomic_load(&is_disk_busy))
		(void)usleep(1000);
	r = syscall(SYS_fdatasync, fd);
	atomic_fetch_add(&syncs_done, 1);
	if (!atomic_load(&is_disk_bad))
		return (int)r;
	errno = EIO;
	return -1;
}

static int
setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct err e = { 0 };

	(void)snprintf(f->directory, sizeof(f->directory), "/tmp/walrus-blob-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	assert_int_equal(blobs_open(f->directory, &f->blobs, &e), 0);
	*state = f;
	return 0;
}

static int
remove_one(void *arg, const char *id, struct err *e)
{
	return blobs_remove(arg, id, e);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *command = xasprintf("rm -rf '%s'", f->directory);

	blobs_free(f->blobs);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static char *
bytes_of(size_t n)
{
	char *p = xmalloc(n + 1);

	random_bytes(p, n);
	return p;
}

/* In pieces of `piece` bytes; the writer is kept. */
static struct blob_writer *
write_blob(struct fixture *f, struct str bytes, size_t piece, struct blob *ret)
{
	struct blob_writer *w = blob_writer_new(f->blobs);
	struct err e = { 0 };

	while (bytes.n > 0) {
		size_t n = bytes.n < piece ? bytes.n : piece;

		assert_int_equal(blob_writer_add(w, (struct str){ bytes.p, n }, &e), 0);
		bytes.p += n;
		bytes.n -= n;
	}
	assert_int_equal(blob_writer_finish(w, ret, &e), 0);
	return w;
}

/* As blob_reader_read. */
static int
lend(struct fixture *f, struct blob_reader *reader, uint64_t from, uint64_t want, char **ret_buffer,
    struct str *ret_bytes, struct err *e)
{
	struct page_pipe *pipe = page_pipe_take();
	char *bytes;
	size_t n;
	int r;

	assert_non_null(pipe);
	r = blob_reader_lend(reader, from, want, LEND_ANY, pipe, &n, e);
	if (r == 0 && n > 0) {
		bytes = xmalloc(n);
		assert_int_equal(fd_read_all(page_pipe_descriptor(pipe), bytes, n, e), 0);
		page_pipe_drained(pipe, n);
		f->lent_bytes += n;
		*ret_buffer = bytes;
		*ret_bytes = (struct str){ bytes, n };
	}
	page_pipe_put(pipe);
	return r < 0 || n > 0 ? r : blob_reader_read(reader, from, want, ret_buffer, ret_bytes, e);
}

static int
read_all(
    struct fixture *f, const struct blob *blob, uint64_t from, struct strbuf *out, struct err *e)
{
	_cleanup_(blob_reader_freep) struct blob_reader *reader = NULL;
	int r = blob_reader_new(f->blobs, blob, &reader, e);

	while (r == 0 && from < blob->size_bytes) {
		uint64_t left = blob->size_bytes - from;
		_cleanup_free_ char *buffer = NULL;
		struct str bytes;

		r = f->lends ? lend(f, reader, from, left, &buffer, &bytes, e)
			     : blob_reader_read(reader, from, left, &buffer, &bytes, e);
		if (r == 0) {
			strbuf_addstr(out, bytes);
			from += bytes.n;
		}
	}
	return r;
}

static void
test_round_trip(void **state)
{
	static const size_t sizes[] = { 1, BLOB_INLINE_MAX, BLOB_INLINE_MAX + 1, BLOB_BLOCK - 1,
		BLOB_BLOCK, BLOB_BLOCK + 1, 3 * BLOB_BLOCK + 5, 16 * BLOB_BLOCK,
		21 * BLOB_BLOCK + 7 };
	struct fixture *f = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i / 2];
		_cleanup_free_ char *bytes = bytes_of(size);
		_cleanup_strbuf_ struct strbuf back = STRBUF_INIT, tail = STRBUF_INIT;
		_cleanup_(blob_writer_freep) struct blob_writer *w = NULL;
		struct blob blob;
		struct err e = { 0 };

		f->lends = i % 2;
		f->lent_bytes = 0;
		w = write_blob(f, (struct str){ bytes, size }, 100003, &blob);
		assert_int_equal(blob.size_bytes, size);
		assert_true((blob.id[0] != '\0') == (size > BLOB_INLINE_MAX));
		blob_writer_keep(w);
		assert_int_equal(read_all(f, &blob, 0, &back, &e), 0);
		assert_int_equal(back.n, size);
		assert_memory_equal(back.p, bytes, size);
		assert_int_equal(f->lent_bytes, f->lends && size > BLOB_INLINE_MAX ? size : 0);
		assert_int_equal(read_all(f, &blob, size / 2, &tail, &e), 0);
		assert_memory_equal(tail.p, bytes + size / 2, size - size / 2);
	}
}

static char *
path_of(struct fixture *f, const struct blob *blob)
{
	return xasprintf("%s/%.2s/%.2s/%s", f->directory, blob->id, blob->id + 2, blob->id);
}

static void
flip(const char *path, off_t offset, unsigned bit)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char byte;

	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte ^= (unsigned char)(1u << bit);
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}

/* Every byte of the table and the trailer, and samples of the data. */
static void
test_flipped_bits(void **state)
{
	struct fixture *f = *state;
	size_t size = 2 * BLOB_BLOCK + 77;
	_cleanup_free_ char *bytes = bytes_of(size), *path = NULL;
	_cleanup_(blob_writer_freep) struct blob_writer *w = NULL;
	struct blob blob;
	struct stat st;
	struct err e = { 0 };

	w = write_blob(f, (struct str){ bytes, size }, size, &blob);
	blob_writer_keep(w);
	path = path_of(f, &blob);
	assert_int_equal(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at < (off_t)size - 400000 ? 299993 : 1) {
		_cleanup_strbuf_ struct strbuf back = STRBUF_INIT;

		if (at > (off_t)size - 400000 && at < (off_t)size)
			at = (off_t)size - 1;
		flip(path, at, (unsigned)at % 8);
		for (unsigned i = 0; i < 2; i++) {
			f->lends = i;
			if (read_all(f, &blob, 0, &back, &e) != ERR_CORRUPT)
				fail_msg(
				    "a flipped bit of byte %lld was not noticed", (long long)at);
		}
		flip(path, at, (unsigned)at % 8);
	}
	assert_int_equal(truncate(path, st.st_size - 1), 0);
	{
		_cleanup_strbuf_ struct strbuf back = STRBUF_INIT;

		assert_int_equal(read_all(f, &blob, 0, &back, &e), ERR_CORRUPT);
	}
}

static void
test_another_file_is_noticed(void **state)
{
	struct fixture *f = *state;
	size_t size = BLOB_BLOCK + 1;
	_cleanup_free_ char *one = bytes_of(size), *other = bytes_of(size), *one_path = NULL,
			    *other_path = NULL;
	_cleanup_(blob_writer_freep) struct blob_writer *w = NULL, *v = NULL;
	_cleanup_strbuf_ struct strbuf back = STRBUF_INIT;
	struct blob first, second;
	struct err e = { 0 };

	w = write_blob(f, (struct str){ one, size }, size, &first);
	v = write_blob(f, (struct str){ other, size }, size, &second);
	blob_writer_keep(w);
	blob_writer_keep(v);
	one_path = path_of(f, &first);
	other_path = path_of(f, &second);
	assert_int_equal(rename(other_path, one_path), 0);
	assert_int_equal(read_all(f, &first, 0, &back, &e), ERR_CORRUPT);
	assert_int_equal(read_all(f, &second, 0, &back, &e), ERR_NOT_FOUND);
}

static int
count(void *arg, const char *id, struct err *e)
{
	(*(unsigned *)arg)++;
	return 0;
}

static unsigned
count_files(struct fixture *f)
{
	unsigned n = 0;
	struct err e = { 0 };

	for (unsigned d = 0; d < 256; d++)
		assert_int_equal(blobs_visit(f->blobs, d, count, &n, &e), 0);
	return n;
}

static void
test_what_is_not_kept_goes(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *bytes = bytes_of(BLOB_BLOCK), *path = NULL;
	struct blob blob;
	struct blob_writer *w;
	struct err e = { 0 };
	unsigned before = count_files(f);

	w = write_blob(f, (struct str){ bytes, BLOB_BLOCK }, BLOB_BLOCK, &blob);
	path = path_of(f, &blob);
	assert_true(fs_exists(path));
	assert_int_equal(count_files(f), before); /* being written: nobody's business */
	blob_writer_free(w);
	assert_false(fs_exists(path));

	w = write_blob(f, (struct str){ bytes, BLOB_BLOCK }, BLOB_BLOCK, &blob);
	blob_writer_keep(w);
	blob_writer_free(w);
	assert_int_equal(count_files(f), before + 1);
	for (unsigned d = 0; d < 256; d++)
		assert_int_equal(blobs_visit(f->blobs, d, remove_one, f->blobs, &e), 0);
	assert_int_equal(count_files(f), 0);
	assert_int_equal(blobs_remove(f->blobs, blob.id, &e), 0);
}

static void
wait_for(atomic_uint *count, unsigned n)
{
	for (unsigned ms = 0; atomic_load(count) < n && ms < 10000; ms++)
		(void)usleep(1000);
	assert_int_equal(atomic_load(count), n);
}

/* A large blob becomes durable while it is written, one sync at a time, and its writer waits for
 * none. */
static void
test_syncs_ahead(void **state)
{
	struct fixture *f = *state;
	const size_t step = 16 * BLOB_BLOCK;
	_cleanup_free_ char *bytes = bytes_of(step);
	struct str piece = { bytes, step };
	struct blob_writer *w = blob_writer_new(f->blobs);
	struct blob blob;
	struct err e = { 0 };

	atomic_store(&syncs_begun, 0);
	atomic_store(&syncs_done, 0);
	atomic_store(&is_disk_busy, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(blob_writer_add(w, piece, &e), 0);
	wait_for(&syncs_begun, 1);
	(void)usleep(50000);
	assert_int_equal(atomic_load(&syncs_begun), 1);
	atomic_store(&is_disk_busy, false);
	wait_for(&syncs_done, 1);
	while (atomic_load(&syncs_begun) < 2) /* not before the first is known to be over */
		assert_int_equal(blob_writer_add(w, (struct str){ bytes, BLOB_BLOCK }, &e), 0);
	wait_for(&syncs_done, 2);

	atomic_store(&is_disk_bad, true);
	assert_true(blob_writer_finish(w, &blob, &e) < 0);
	atomic_store(&is_disk_bad, false);
	blob_writer_free(w);

	/* gone while the disk is still at it */
	atomic_store(&syncs_begun, 0);
	atomic_store(&is_disk_busy, true);
	w = blob_writer_new(f->blobs);
	assert_int_equal(blob_writer_add(w, piece, &e), 0);
	wait_for(&syncs_begun, 1);
	blob_writer_free(w);
	assert_int_equal(count_files(f), 0);
	atomic_store(&is_disk_busy, false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_flipped_bits),
		cmocka_unit_test(test_another_file_is_noticed),
		cmocka_unit_test(test_what_is_not_kept_goes),
		cmocka_unit_test(test_syncs_ahead),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
