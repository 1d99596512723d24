/* A VFS that wraps SQLite's own. Writes go through to the real file, so the process sees what it
 * wrote, and are remembered per path; a sync applies them to the file on the "disk". The process is
 * then killed, its memory goes, and the disk directory is what a machine would find after a power
 * cut. The shared-memory file of the log is not kept: it never survives. */
#include "tests/lib/powerloss.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "base/vec.h"

struct change {
	sqlite3_int64 offset;
	char *bytes; /* NULL: truncate to offset */
	int n;
};

struct disk_file {  /* one per path, shared by all who opened it: fsync is for the file */
	char *path; /* on the disk */
	VEC(struct change) changes;
};

struct layer_file {
	sqlite3_file base;
	struct disk_file *disk; /* NULL: not kept */
	sqlite3_file *real;
};

static sqlite3_vfs layer, *below;
static const char *disk_directory;
static enum powerloss_fault active_fault;
static unsigned good_calls, random_state;
static struct map *files; /* under lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static sqlite3_file *
real(sqlite3_file *file)
{
	return ((struct layer_file *)file)->real;
}

static unsigned
chance(unsigned of)
{
	random_state = random_state * 1103515245 + 12345;
	return (random_state >> 16) % of;
}

static void
apply(const struct disk_file *disk, const struct change *change, int n)
{
	int fd = open(disk->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || (change->bytes ? pwrite(fd, change->bytes, (size_t)n, change->offset) != n
				     : ftruncate(fd, change->offset) < 0)) {
		perror(disk->path);
		_exit(99);
	}
	close(fd);
}

static void
remember(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 offset)
{
	struct disk_file *disk = ((struct layer_file *)file)->disk;
	struct change change = { offset, bytes ? xmemdup(bytes, (size_t)n) : NULL, n };

	if (!disk)
		return;
	pthread_mutex_lock(&lock);
	vec_add(&disk->changes, change);
	if (bytes && chance(6) == 0) /* written back early, perhaps torn */
		apply(disk, &change, chance(2) ? n : n / 2);
	pthread_mutex_unlock(&lock);
}

static bool
fails(enum powerloss_fault fault)
{
	bool now;

	if (active_fault != fault)
		return false;
	pthread_mutex_lock(&lock);
	now = good_calls == 0;
	if (!now)
		good_calls--;
	pthread_mutex_unlock(&lock);
	return now;
}

/* ---- file methods ---- */

static int
layer_close(sqlite3_file *file)
{
	return real(file)->pMethods->xClose(real(file));
}

static int
layer_read(sqlite3_file *file, void *p, int n, sqlite3_int64 offset)
{
	return real(file)->pMethods->xRead(real(file), p, n, offset);
}

static int
layer_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 offset)
{
	if (fails(POWERLOSS_WRITE_FAILS))
		return SQLITE_IOERR_WRITE;
	remember(file, p, n, offset);
	return real(file)->pMethods->xWrite(real(file), p, n, offset);
}

static int
layer_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	remember(file, NULL, 0, size);
	return real(file)->pMethods->xTruncate(real(file), size);
}

static int
layer_sync(sqlite3_file *file, int flags)
{
	struct disk_file *disk = ((struct layer_file *)file)->disk;

	if (fails(POWERLOSS_SYNC_FAILS))
		return SQLITE_IOERR_FSYNC;
	if (!disk || active_fault == POWERLOSS_LIES)
		return SQLITE_OK;
	pthread_mutex_lock(&lock);
	VEC_FOREACH (&disk->changes, change) {
		apply(disk, change, change->n);
		free(change->bytes);
	}
	disk->changes.count = 0;
	pthread_mutex_unlock(&lock);
	return SQLITE_OK;
}

static int
layer_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return real(file)->pMethods->xFileSize(real(file), size);
}

static int
layer_lock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xLock(real(file), level);
}

static int
layer_unlock(sqlite3_file *file, int level)
{
	return real(file)->pMethods->xUnlock(real(file), level);
}

static int
layer_is_reserved(sqlite3_file *file, int *out)
{
	return real(file)->pMethods->xCheckReservedLock(real(file), out);
}

static int
layer_control(sqlite3_file *file, int op, void *arg)
{
	return real(file)->pMethods->xFileControl(real(file), op, arg);
}

static int
layer_sector(sqlite3_file *file)
{
	return 512; /* of the least kind: a power cut may tear anything larger */
}

static int
layer_characteristics(sqlite3_file *file)
{
	return 0; /* promises nothing */
}

static int
layer_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **out)
{
	return real(file)->pMethods->xShmMap(real(file), region, size, extend, out);
}

static int
layer_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	return real(file)->pMethods->xShmLock(real(file), offset, n, flags);
}

static void
layer_shm_barrier(sqlite3_file *file)
{
	real(file)->pMethods->xShmBarrier(real(file));
}

static int
layer_shm_unmap(sqlite3_file *file, int delete)
{
	return real(file)->pMethods->xShmUnmap(real(file), delete);
}

static const sqlite3_io_methods methods = { 2, layer_close, layer_read, layer_write, layer_truncate,
	layer_sync, layer_size, layer_lock, layer_unlock, layer_is_reserved, layer_control,
	layer_sector, layer_characteristics, layer_shm_map, layer_shm_lock, layer_shm_barrier,
	layer_shm_unmap, NULL, NULL };

/* ---- file system methods ---- */

static struct disk_file *
disk_file_of(const char *path)
{
	const char *name = strrchr(path, '/');
	struct disk_file *disk;

	pthread_mutex_lock(&lock);
	disk = map_find(files, path);
	if (!disk) {
		disk = xcalloc(1, sizeof(*disk));
		disk->path = xasprintf("%s%s", disk_directory, name ? name : path);
		map_set(files, path, disk);
	}
	pthread_mutex_unlock(&lock);
	return disk;
}

static int
layer_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out_flags)
{
	struct layer_file *f = (struct layer_file *)file;
	bool is_kept =
	    path && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL));
	bool is_new = is_kept && access(path, F_OK) < 0;
	int rc;

	memset(f, 0, sizeof(*f));
	f->real = (sqlite3_file *)&f[1];
	rc = below->xOpen(below, path, f->real, flags, out_flags);
	if (rc != SQLITE_OK)
		return rc;
	f->disk = is_kept ? disk_file_of(path) : NULL;
	if (is_new)
		remember(
		    file, NULL, 0, 0); /* an older file of this name may still be on the disk */
	f->base.pMethods = &methods;
	return rc;
}

static int
layer_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
	struct disk_file *disk = disk_file_of(path);

	pthread_mutex_lock(&lock);
	VEC_FOREACH (&disk->changes, change)
		free(change->bytes);
	disk->changes.count = 0;
	if ((sync_directory && active_fault != POWERLOSS_LIES) || chance(2))
		(void)unlink(disk->path); /* may never have come to the disk */
	pthread_mutex_unlock(&lock);
	return below->xDelete(below, path, sync_directory);
}

void
powerloss_install(const char *disk, enum powerloss_fault fault, unsigned after, unsigned seed)
{
	disk_directory = xstrdup(disk);
	active_fault = fault;
	good_calls = after;
	random_state = seed;
	files = map_new(NULL);
	below = sqlite3_vfs_find(NULL);
	layer = *below;
	layer.zName = "powerloss";
	layer.szOsFile = (int)sizeof(struct layer_file) + below->szOsFile;
	layer.pNext = NULL;
	layer.xOpen = layer_open;
	layer.xDelete = layer_delete;
	sqlite3_vfs_register(&layer, 1);
}
