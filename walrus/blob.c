/* Blob files. While a writer lives its id is in `writing`, so that the sweep of orphans can tell a
 * file that is still to be named from one that nobody will ever name. */
#include "blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/id.h"
#include "base/map.h"
#include "base/vec.h"
#include "crc.h"
#include "run/fd.h"
#include "run/fs.h"
#include "run/lock.h"
#include "run/page_pipe.h"
#include "run/workers.h"

#define PAGE 4096
#define MAGIC "MalleeB1"
/* Written from the start of a page on and in large steps, a file lies in the kernel's cache in
 * large pieces, which cost less to write, to map and to send. Much larger ones cost more to get. */
#define STEP (256 * 1024)
/* What a disk has taken into its own cache it writes when it is told to make it durable, not
 * before. Told at the end only, it takes about as long again as the bytes took to come. */
#define SYNC_EVERY (16 * 1024 * 1024)
#define SYNCS_MAX 1024
#define BLOCKS_MAX (UINT64_C(5) << 10) /* 5 GiB */
#define SPARE_BUFFERS 16
#define READ_PIECE (128 * 1024) /* summed while it is still in the processor's cache */

struct trailer { /* little-endian, like every machine this runs on */
	char magic[8];
	uint64_t size_bytes;
	uint32_t block_bytes, block_count;
	uint32_t table_crc32c;
	uint32_t crc32c; /* of the fields above */
};
_Static_assert(sizeof(struct trailer) == 32, "the trailer is part of the format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

struct blobs {
	char *directory;
	struct lock lock;
	struct map *writing;      /* under lock: struct blob_writer, by id */
	uint8_t known[65536 / 8]; /* under lock: directories that are durable */
	int (*admit)(void *arg, uint64_t bytes, struct err *e); /* NULL: everything */
	void *admit_arg;
	struct workers *syncer; /* one: a disk makes all that it has durable at once */
};

struct blob_writer {
	struct blobs *blobs;
	char id[BLOB_ID_SIZE];
	int fd; /* -1: still in `small` */
	struct strbuf small;
	char *buffer; /* of a step; what of it is not written yet */
	size_t held;
	uint64_t size_bytes, written_bytes, synced_bytes;
	bool is_syncing;    /* under the blobs' lock */
	uint32_t block_crc; /* of the block at hand */
	VEC(uint32_t) table;
	bool is_kept;
};

struct blob_reader {
	int fd; /* -1: `data` */
	char *data;
	char *map; /* of the whole file, once a block is lent */
	uint64_t size_bytes;
	uint32_t *table;
	uint32_t block_count;
};

bool
blob_id_is_valid(const char *id)
{
	return strlen(id) == BLOB_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == BLOB_ID_SIZE - 1;
}

static char *
path_of(const struct blobs *b, const char *id)
{
	return xasprintf("%s/%.2s/%.2s/%s", b->directory, id, id + 2, id);
}

int
blobs_open(const char *directory, struct blobs **ret, struct err *e)
{
	struct blobs *b;
	int r = fs_mkdir_p(directory, 0700, e);

	if (r < 0)
		return r;
	b = xcalloc(1, sizeof(*b));
	r = workers_new(1, SYNCS_MAX, &b->syncer, e);
	if (r < 0) {
		free(b);
		return r;
	}
	b->directory = xstrdup(directory);
	b->writing = map_new(NULL);
	lock_init(&b->lock, LOCK_CACHE);
	*ret = b;
	return 0;
}

void
blobs_free(struct blobs *b)
{
	if (!b)
		return;
	workers_free(b->syncer);
	map_free(b->writing);
	lock_done(&b->lock);
	free(b->directory);
	free(b);
}

void
blobs_set_admission(struct blobs *b, int (*fn)(void *arg, uint64_t bytes, struct err *e), void *arg)
{
	b->admit = fn;
	b->admit_arg = arg;
}

static int
admit(const struct blobs *b, uint64_t bytes, struct err *e)
{
	return b->admit ? b->admit(b->admit_arg, bytes, e) : 0;
}

/* -- directories -- */

static unsigned
slot_of(const char *id)
{
	uint8_t two[2] = { 0 };
	size_t n;

	(void)hex_decode((struct str){ id, 4 }, two, sizeof(two), &n);
	return (unsigned)two[0] << 8 | two[1];
}

static bool
is_known(struct blobs *b, unsigned slot)
{
	LOCK_SCOPE(&b->lock);
	return b->known[slot / 8] & 1u << slot % 8;
}

/* Both levels, durable: a file's name is no better than the names above it. */
static int
make_directory(struct blobs *b, const char *id, struct err *e)
{
	_cleanup_free_ char *upper = xasprintf("%s/%.2s", b->directory, id);
	_cleanup_free_ char *lower = xasprintf("%s/%.2s/%.2s", b->directory, id, id + 2);
	unsigned slot = slot_of(id);
	int r;

	if (is_known(b, slot))
		return 0;
	r = fs_mkdir_p(lower, 0700, e);
	if (r == 0)
		r = fs_sync_directory(upper, e);
	if (r == 0)
		r = fs_sync_directory(b->directory, e);
	if (r < 0)
		return r;
	LOCK_SCOPE(&b->lock);
	b->known[slot / 8] |= (uint8_t)(1u << slot % 8);
	return 0;
}

/* -- writing -- */

/* The kernel copies to the start of a page several times faster than to malloc's sixteenth byte. */
static char *
aligned(size_t n)
{
	char *p = aligned_alloc(PAGE, (n + PAGE - 1) / PAGE * PAGE);

	if (!p)
		abort();
	return p;
}

struct blob_writer *
blob_writer_new(struct blobs *b)
{
	struct blob_writer *w = xcalloc(1, sizeof(*w));

	w->blobs = b;
	w->fd = -1;
	return w;
}

struct sync {
	struct blobs *blobs;
	char id[BLOB_ID_SIZE];
};

/* On the syncer. Through a file of its own, as the kernel tells an error of the disk once to each
 * that has it open: who finishes the blob will hear of it too. */
static void
sync_now(void *arg)
{
	_cleanup_free_ struct sync *s = arg;
	_cleanup_free_ char *path = path_of(s->blobs, s->id);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct blob_writer *w;

	if (fd >= 0)
		(void)fdatasync(fd);
	LOCK_SCOPE(&s->blobs->lock);
	w = map_find(s->blobs->writing, s->id);
	if (w)
		w->is_syncing = false;
}

static bool
set_syncing(struct blob_writer *w, bool is_syncing)
{
	bool before;

	LOCK_SCOPE(&w->blobs->lock);
	before = w->is_syncing;
	w->is_syncing = is_syncing;
	return before;
}

/* Durable early what then does not have to be waited for at the end. */
static void
sync_ahead(struct blob_writer *w)
{
	struct sync *s;
	struct err e;

	if (w->written_bytes - w->synced_bytes < SYNC_EVERY || set_syncing(w, true))
		return;
	s = xmalloc(sizeof(*s));
	s->blobs = w->blobs;
	memcpy(s->id, w->id, sizeof(s->id));
	if (workers_run(w->blobs->syncer, sync_now, s, &e) < 0) {
		(void)set_syncing(w, false);
		free(s);
	}
	w->synced_bytes = w->written_bytes;
}

static int
write_held(struct blob_writer *w, struct err *e)
{
	int r = w->held ? fd_write_all(w->fd, w->buffer, w->held, e) : 0;

	if (r < 0)
		return r;
	w->written_bytes += w->held;
	w->held = 0;
	sync_ahead(w);
	return 0;
}

static int
write_out(struct blob_writer *w, const void *p, size_t n, struct err *e)
{
	const char *from = p;

	while (n > 0) {
		size_t part = STEP - w->held < n ? STEP - w->held : n;
		int r = 0;

		memcpy(w->buffer + w->held, from, part);
		w->held += part;
		from += part;
		n -= part;
		if (w->held == STEP)
			r = write_held(w, e);
		if (r == 0 && w->held == 0)
			r = admit(w->blobs, 1, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
open_file(struct blob_writer *w, struct err *e)
{
	struct blobs *b = w->blobs;
	_cleanup_free_ char *path = NULL;
	uint8_t bytes[16];
	int r;

	random_bytes(bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), w->id);
	path = path_of(b, w->id);
	r = admit(b, w->size_bytes, e);
	if (r == 0)
		r = make_directory(b, w->id, e);
	if (r < 0)
		return r;
	lock_take(&b->lock);
	map_set(b->writing, w->id, w);
	lock_release(&b->lock);
	w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (w->fd < 0)
		return err_set_errno(e, errno, "cannot create blob '%s'", w->id);
	w->buffer = aligned(STEP);
	r = write_out(w, w->small.p, w->small.n, e);
	strbuf_done(&w->small);
	return r;
}

static void
sum(struct blob_writer *w, struct str bytes)
{
	while (bytes.n > 0) {
		size_t n = BLOB_BLOCK - w->size_bytes % BLOB_BLOCK;

		if (n > bytes.n)
			n = bytes.n;
		w->block_crc = crc32c(w->block_crc, bytes.p, n);
		w->size_bytes += n;
		bytes.p += n;
		bytes.n -= n;
		if (w->size_bytes % BLOB_BLOCK == 0) {
			vec_add(&w->table, w->block_crc);
			w->block_crc = 0;
		}
	}
}

int
blob_writer_add(struct blob_writer *w, struct str bytes, struct err *e)
{
	int r = 0;

	sum(w, bytes);
	if (w->fd < 0 && w->size_bytes <= BLOB_INLINE_MAX) {
		strbuf_add(&w->small, bytes.p, bytes.n);
		return 0;
	}
	if (w->fd < 0)
		r = open_file(w, e);
	return r < 0 ? r : write_out(w, bytes.p, bytes.n, e);
}

static int
finish_file(struct blob_writer *w, struct blob *ret, struct err *e)
{
	_cleanup_free_ char *directory =
	    xasprintf("%s/%.2s/%.2s", w->blobs->directory, w->id, w->id + 2);
	struct trailer t = {
		.magic = MAGIC, .size_bytes = w->size_bytes, .block_bytes = BLOB_BLOCK
	};
	int r;

	if (w->size_bytes % BLOB_BLOCK)
		vec_add(&w->table, w->block_crc);
	t.block_count = (uint32_t)w->table.count;
	t.table_crc32c = crc32c(0, w->table.items, w->table.count * sizeof(*w->table.items));
	t.crc32c = crc32c(0, &t, offsetof(struct trailer, crc32c));
	r = write_out(w, w->table.items, w->table.count * sizeof(*w->table.items), e);
	if (r == 0)
		r = write_out(w, &t, sizeof(t), e);
	if (r == 0)
		r = write_held(w, e);
	if (r < 0)
		return r;
	if (fdatasync(w->fd) < 0)
		return err_set_errno(e, errno, "cannot sync blob '%s'", w->id);
	memcpy(ret->id, w->id, sizeof(ret->id));
	ret->crc32c = t.table_crc32c;
	return fs_sync_directory(directory, e);
}

int
blob_writer_finish(struct blob_writer *w, struct blob *ret, struct err *e)
{
	*ret = (struct blob){ .size_bytes = w->size_bytes };
	if (w->fd >= 0)
		return finish_file(w, ret, e);
	ret->data = strbuf_str(&w->small);
	ret->crc32c = crc32c(0, ret->data.p, ret->data.n);
	return 0;
}

void
blob_writer_keep(struct blob_writer *w)
{
	w->is_kept = true;
}

void
blob_writer_free(struct blob_writer *w)
{
	if (!w)
		return;
	if (w->id[0]) {
		_cleanup_free_ char *path = path_of(w->blobs, w->id);

		if (!w->is_kept)
			(void)unlink(path); /* if it can't be removed the sweep will */
		fd_close(w->fd);
		free(w->buffer);
		lock_take(&w->blobs->lock);
		(void)map_remove(w->blobs->writing, w->id);
		lock_release(&w->blobs->lock);
	}
	strbuf_done(&w->small);
	vec_done(&w->table);
	free(w);
}

/* -- reading -- */

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
	return aligned(n);
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
	struct trailer t;
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
	if (memcmp(t.magic, MAGIC, sizeof(t.magic)) != 0 || t.size_bytes != blob->size_bytes ||
	    t.block_bytes != BLOB_BLOCK || t.block_count != count ||
	    t.crc32c != crc32c(0, &t, offsetof(struct trailer, crc32c)))
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
	path = path_of(b, blob->id);
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
	unsigned char pages[BLOB_BLOCK / PAGE];
	size_t count = (n + PAGE - 1) / PAGE, read = 0;

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
	size_t count = (n + PAGE - 1) / PAGE;

	if (syscall(__NR_cachestat, r->fd, &range, &pages, 0) < 0)
		return were_read(r->map + offset, n);
	return pages.cached == count && were_read(r->map + offset + (count - 1) * PAGE, PAGE);
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

/* -- sweeping -- */

int
blobs_size(struct blobs *b, const char *id, uint64_t *ret_bytes, struct err *e)
{
	_cleanup_free_ char *path = path_of(b, id);
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set_errno(e, errno, "cannot look at blob '%s'", id);
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

int
blobs_remove(struct blobs *b, const char *id, struct err *e)
{
	_cleanup_free_ char *path = path_of(b, id);

	if (unlink(path) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "cannot remove blob '%s'", id);
	return 0;
}

static bool
is_being_written(struct blobs *b, const char *id)
{
	LOCK_SCOPE(&b->lock);
	return map_find(b->writing, id) != NULL;
}

static void
closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static int
visit_lower(struct blobs *b, const char *path, int (*fn)(void *, const char *, struct err *),
    void *arg, struct err *e)
{
	_cleanup_(closedirp) DIR *d = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!d)
		return errno == ENOENT || errno == ENOTDIR
			   ? 0
			   : err_set_errno(e, errno, "cannot list '%s'", path);
	while (r == 0 && (entry = readdir(d)))
		if (blob_id_is_valid(entry->d_name) && !is_being_written(b, entry->d_name))
			r = fn(arg, entry->d_name, e);
	return r;
}

int
blobs_visit(struct blobs *b, unsigned directory,
    int (*fn)(void *arg, const char *id, struct err *e), void *arg, struct err *e)
{
	_cleanup_free_ char *upper = xasprintf("%s/%02x", b->directory, directory);
	_cleanup_(closedirp) DIR *d = opendir(upper);
	struct dirent *entry;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "cannot list '%s'", upper);
	while (r == 0 && (entry = readdir(d))) {
		_cleanup_free_ char *lower = NULL;

		if (strlen(entry->d_name) != 2 || entry->d_name[0] == '.')
			continue;
		lower = xasprintf("%s/%s", upper, entry->d_name);
		r = visit_lower(b, lower, fn, arg, e);
	}
	return r;
}
