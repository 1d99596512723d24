/* Reading blobs: a block is summed before anybody gets it, in a buffer or where the kernel has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "blob_format.h"
#include "crc.h"
#include "run/fd.h"
#include "run/lock.h"
#include "run/page_pipe.h"

#define BLOCKS_MAX (UINT64_C(5) << 10) /* 5 GiB */
#define SPARE_BUFFERS 16
#define READ_PIECE (128 * 1024) /* summed while it is still in the processor's cache */

struct blob_reader {
	int fd; /* -1: `data` */
	char *data;
	char *map; /* of the whole file, once a block is lent */
	uint64_t size_bytes;
	uint32_t *table;
	uint32_t block_count;
};

/* Buffers of blocks, the one used last first: it is still in the processor's cache, and its pages
 * are mapped. What the allocator gives to one thread after another is neither. */
static struct lock spare_lock = LOCK_INITIALIZER(LEAF);
static char *spare[SPARE_BUFFERS]; /* under spare_lock, like the count */
static unsigned spare_count;

static char *
take_buffer(size_t n)
{
	if (n == BLOB_BLOCK) {
		LOCK_SCOPE(&spare_lock);
		if (spare_count > 0)
			return spare[--spare_count];
	}
	return blob_memory(n);
}

void
blob_buffer_free(void *buffer)
{
	if (buffer && malloc_usable_size(buffer) >= BLOB_BLOCK) {
		LOCK_SCOPE(&spare_lock);
		if (spare_count < SPARE_BUFFERS) {
			spare[spare_count++] = buffer;
			return;
		}
	}
	free(buffer);
}

static int
corrupt(const struct blob *blob, const char *what, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "blob '%s': %s", blob->id, what);
}

static int
read_at(int fd, void *p, size_t n, uint64_t offset, struct err *e)
{
	char *to = p;

	while (n > 0) {
		ssize_t r = pread(fd, to, n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_set_errno(e, errno, "cannot read a blob");
		if (r == 0)
			return err_set(e, ERR_CORRUPT, "a blob is shorter than it should be");
		to += r;
		n -= (size_t)r;
		offset += (uint64_t)r;
	}
	return 0;
}

static int
load_table(struct blob_reader *r, const struct blob *blob, struct err *e)
{
	struct blob_trailer t;
	struct stat st;
	uint64_t count = (blob->size_bytes + BLOB_BLOCK - 1) / BLOB_BLOCK;
	size_t bytes = count * sizeof(uint32_t);
	int n;

	if (fstat(r->fd, &st) < 0)
		return err_set_errno(e, errno, "cannot look at blob '%s'", blob->id);
	if (count > BLOCKS_MAX || (uint64_t)st.st_size != blob->size_bytes + bytes + sizeof(t))
		return corrupt(blob, "its file has the wrong size", e);
	n = read_at(r->fd, &t, sizeof(t), blob->size_bytes + bytes, e);
	if (n < 0)
		return n;
	if (memcmp(t.magic, BLOB_MAGIC, sizeof(t.magic)) != 0 || t.size_bytes != blob->size_bytes ||
	    t.block_bytes != BLOB_BLOCK || t.block_count != count ||
	    t.crc32c != crc32c(0, &t, offsetof(struct blob_trailer, crc32c)))
		return corrupt(blob, "its trailer is damaged", e);
	r->table = xmalloc(bytes);
	n = read_at(r->fd, r->table, bytes, blob->size_bytes, e);
	if (n < 0)
		return n;
	if (t.table_crc32c != blob->crc32c || crc32c(0, r->table, bytes) != blob->crc32c)
		return corrupt(blob, "its table of sums is damaged", e);
	r->block_count = (uint32_t)count;
	return 0;
}

int
blob_reader_new(struct blobs *b, const struct blob *blob, struct blob_reader **ret, struct err *e)
{
	_cleanup_(blob_reader_freep) struct blob_reader *r = xcalloc(1, sizeof(*r));
	_cleanup_free_ char *path = NULL;
	int n;

	r->fd = -1;
	r->size_bytes = blob->size_bytes;
	if (!blob->id[0]) {
		if (blob->data.n != blob->size_bytes ||
		    crc32c(0, blob->data.p, blob->data.n) != blob->crc32c)
			return corrupt(blob, "its row is damaged", e);
		r->data = xmemdup(blob->data.p, blob->data.n);
		*ret = TAKE(r);
		return 0;
	}
	path = blob_path(b, blob->id);
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r->fd < 0)
		return err_set_errno(e, errno, "cannot open blob '%s'", blob->id);
	n = load_table(r, blob, e);
	if (n < 0)
		return n;
	*ret = TAKE(r);
	return 0;
}

void
blob_reader_free(struct blob_reader *r)
{
	if (!r)
		return;
	if (r->map)
		(void)munmap(r->map, r->size_bytes);
	fd_close(r->fd);
	free(r->data);
	free(r->table);
	free(r);
}

static int
check_block(const struct blob_reader *r, uint64_t block, uint32_t seen, struct err *e)
{
	return seen == r->table[block] ? 0
				       : err_set(e, ERR_CORRUPT, "block %llu of a blob is damaged",
					     (unsigned long long)block);
}

static int
read_block(const struct blob_reader *r, uint64_t block, char *buffer, size_t n, struct err *e)
{
	uint32_t seen = 0;

	for (size_t at = 0; at < n; at += READ_PIECE) {
		size_t piece = n - at < READ_PIECE ? n - at : READ_PIECE;
		int result = read_at(r->fd, buffer + at, piece, block * BLOB_BLOCK + at, e);

		if (result < 0)
			return result;
		seen = crc32c(seen, buffer + at, piece);
	}
	return check_block(r, block, seen, e);
}

int
blob_reader_read(struct blob_reader *r, uint64_t offset, uint64_t want, char **ret_buffer,
    struct str *ret_bytes, struct err *e)
{
	uint64_t block = offset / BLOB_BLOCK, start = block * BLOB_BLOCK;
	size_t n =
	    r->size_bytes - start < BLOB_BLOCK ? (size_t)(r->size_bytes - start) : BLOB_BLOCK;
	size_t skip = (size_t)(offset - start);
	char *buffer;
	int result = 0;

	if (offset >= r->size_bytes)
		return err_set(e, ERR_INTERNAL, "read behind the end of a blob");
	buffer = take_buffer(n);
	if (r->fd < 0)
		memcpy(buffer, r->data + start, n);
	else
		result = read_block(r, block, buffer, n, e);
	if (result < 0) {
		blob_buffer_free(buffer);
		return result;
	}
	*ret_bytes = (struct str){ buffer + skip, n - skip < want ? n - skip : (size_t)want };
	*ret_buffer = buffer;
	return 0;
}

#ifndef __NR_cachestat /* Linux 6.5; later than the C library's headers */
#define __NR_cachestat 451
#endif

static bool
were_read(void *bytes, size_t n)
{
	unsigned char pages[BLOB_BLOCK / BLOB_PAGE];
	size_t count = (n + BLOB_PAGE - 1) / BLOB_PAGE, read = 0;

	if (mincore(bytes, n, pages) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		read += pages[i] & 1;
	return read == count;
}

/* mincore looks at every page, which takes a tenth of a GET; cachestat counts those that lie
 * together at once, but also those that are still being read. The last one is read last. */
static bool
is_cached(const struct blob_reader *r, uint64_t offset, size_t n)
{
	const struct {
		uint64_t offset, bytes;
	} range = { offset, n };
	struct {
		uint64_t cached, dirty, writeback, evicted, recently_evicted;
	} pages;
	size_t count = (n + BLOB_PAGE - 1) / BLOB_PAGE;

	if (syscall(__NR_cachestat, r->fd, &range, &pages, 0) < 0)
		return were_read(r->map + offset, n);
	return pages.cached == count &&
	       were_read(r->map + offset + (count - 1) * BLOB_PAGE, BLOB_PAGE);
}

/* First held, then summed: the pages can't be exchanged in between, nor fail to be read. */
static int
hold_and_check(struct blob_reader *r, uint64_t offset, struct str bytes, struct page_pipe *pipe,
    size_t *ret_bytes, struct err *e)
{
	int result;

	if (!page_pipe_fill(pipe, r->fd, offset, bytes.n))
		return 0;
	result = check_block(r, offset / BLOB_BLOCK, crc32c(0, bytes.p, bytes.n), e);
	if (result == 0)
		*ret_bytes = bytes.n;
	return result;
}

static bool
map_file(struct blob_reader *r)
{
	void *map;

	if (r->map)
		return true;
	map = mmap(NULL, r->size_bytes, PROT_READ, MAP_SHARED, r->fd, 0);
	if (map == MAP_FAILED)
		return false;
	r->map = map;
	return true;
}

int
blob_reader_lend(struct blob_reader *r, uint64_t offset, uint64_t want, enum blob_lend lend,
    struct page_pipe *pipe, size_t *ret_bytes, struct err *e)
{
	uint64_t left = offset < r->size_bytes ? r->size_bytes - offset : 0;
	size_t n = left < BLOB_BLOCK ? (size_t)left : BLOB_BLOCK;
	int result = 0;

	*ret_bytes = 0;
	if (r->fd < 0 || offset % BLOB_BLOCK || n == 0 || want < n || !map_file(r))
		return 0;
	if (lend == LEND_ANY || is_cached(r, offset, n))
		result = hold_and_check(
		    r, offset, (struct str){ r->map + offset, n }, pipe, ret_bytes, e);
	(void)madvise(r->map + offset, n, MADV_DONTNEED); /* the process does not grow by it */
	return result;
}

void
blob_reader_forget_cached(struct blob_reader *r)
{
	if (r->fd >= 0)
		(void)posix_fadvise(r->fd, 0, 0, POSIX_FADV_DONTNEED);
}
