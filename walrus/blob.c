/* Blob files. While a writer lives its id is in `writing`, so that the sweep of orphans can tell a
 * file that is still to be named from one that nobody will ever name. */
#include "blob_format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "base/map.h"
#include "base/vec.h"
#include "crc.h"
#include "run/fd.h"
#include "run/fs.h"
#include "run/lock.h"
#include "run/workers.h"

/* Written from the start of a page on and in large steps, a file lies in the kernel's cache in
 * large pieces, which cost less to write, to map and to send. Much larger ones cost more to get. */
#define STEP (256 * 1024)
/* What a disk has taken into its own cache it writes when it is told to make it durable, not
 * before. Told at the end only, it takes about as long again as the bytes took to come. */
#define SYNC_EVERY (16 * 1024 * 1024)
#define SYNCS_MAX 1024

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

bool
blob_id_is_valid(const char *id)
{
	return strlen(id) == BLOB_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == BLOB_ID_SIZE - 1;
}

char *
blob_path(const struct blobs *b, const char *id)
{
	return xasprintf("%s/%.2s/%.2s/%s", b->directory, id, id + 2, id);
}

char *
blob_memory(size_t n)
{
	char *p = aligned_alloc(BLOB_PAGE, (n + BLOB_PAGE - 1) / BLOB_PAGE * BLOB_PAGE);

	if (!p)
		abort();
	return p;
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
	_cleanup_free_ char *path = blob_path(s->blobs, s->id);
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
	path = blob_path(b, w->id);
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
	w->buffer = blob_memory(STEP);
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
	struct blob_trailer t = {
		.magic = BLOB_MAGIC, .size_bytes = w->size_bytes, .block_bytes = BLOB_BLOCK
	};
	int r;

	if (w->size_bytes % BLOB_BLOCK)
		vec_add(&w->table, w->block_crc);
	t.block_count = (uint32_t)w->table.count;
	t.table_crc32c = crc32c(0, w->table.items, w->table.count * sizeof(*w->table.items));
	t.crc32c = crc32c(0, &t, offsetof(struct blob_trailer, crc32c));
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
		_cleanup_free_ char *path = blob_path(w->blobs, w->id);

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

/* -- sweeping -- */

int
blobs_size(struct blobs *b, const char *id, uint64_t *ret_bytes, struct err *e)
{
	_cleanup_free_ char *path = blob_path(b, id);
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set_errno(e, errno, "cannot look at blob '%s'", id);
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

int
blobs_remove(struct blobs *b, const char *id, struct err *e)
{
	_cleanup_free_ char *path = blob_path(b, id);

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
