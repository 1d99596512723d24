/* The content-addressed image cache.
 *
 * One entry per digest while it is being fetched: whoever else wants it joins. A fetch writes to
 * <digest>.part, hashes as it writes, and renames only what has the right size, digest and (qcow2)
 * a header that names no other file. A partial file is never used, nor resumed: the hash of what
 * was there before would have to be computed again anyway, and a node's link is not what is scarce.
 *
 * Files are touched when they are asked for; when room is needed the least recently touched go
 * first, but never one that an instance stands on. */
#include "image_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "auth/digest.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/qcow2.h"
#include "run/fd.h"
#include "run/fs.h"
#include "run/lock.h"
#include "run/metrics.h"
#include "run/workers.h"

#define FETCHES_QUEUED_MAX 1024
#define ERROR_KEPT_MS 3000
#define BREAKS_MAX 5
#define FETCH_TIMEOUT_MS (6 * 3600 * 1000)
#define DISK_RESERVE (64ull << 20) /* of the file system: the store must be able to write */

struct entry { /* of the map, by digest; all but `got` under the lock */
	bool is_fetching;
	bool is_unwanted;
	uint64_t got, size;
	int result;
	struct err err;
	uint64_t ended_ms;
	char *first_source; /* of the last attempt, or NULL */
	uint64_t furthest;  /* that an attempt which broke off ever got, and how many since got no
			       further */
	unsigned broken;
};

static void
entry_free(void *arg)
{
	struct entry *entry = arg;

	free(entry->first_source);
	free(entry);
}

static const char *
first_source(const struct image_file *image)
{
	return image->sources.count ? image->sources.items[0].url : NULL;
}

struct image_cache {
	struct image_cache_options options;
	char *directory;
	struct lock lock;
	struct map *entries;
	struct workers *workers;
	bool is_ending; /* under lock */
	struct metric *fetched_bytes, *hits, *failures;
};

struct fetch {
	struct image_cache *cache;
	struct arena *arena;
	struct image_file image;
	struct entry *entry;
	int fd;
	EVP_MD_CTX *hash;
	uint64_t got;
};

bool
image_digest_is_valid(const char *digest)
{
	return strlen(digest) == 64 && strspn(digest, "0123456789abcdef") == 64;
}

char *
image_cache_path(const struct image_cache *c, const char *digest)
{
	return xasprintf("%s/%s", c->directory, digest);
}

/* -- room -- */

struct cached {
	char name[65];
	uint64_t size;
	int64_t touched;
};

/* Finished files, and the sum of their sizes. */
static size_t
list_files(const char *directory, struct cached *files, size_t max, uint64_t *ret_total)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	size_t count = 0;

	*ret_total = 0;
	while (dir && (entry = readdir(dir)) && count < max) {
		struct stat st;

		if (!image_digest_is_valid(entry->d_name) ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		memcpy(files[count].name, entry->d_name, 65);
		files[count].size = (uint64_t)st.st_size;
		files[count].touched = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
		*ret_total += files[count++].size;
	}
	if (dir)
		closedir(dir);
	return count;
}

static int
by_age(const void *a, const void *b)
{
	const struct cached *x = a, *y = b;

	return x->touched < y->touched ? -1 : x->touched > y->touched;
}

static bool
is_full(const struct image_cache *c, uint64_t total, uint64_t wanted)
{
	uint64_t available = UINT64_MAX, all;

	if (c->options.limit && total + wanted > c->options.limit)
		return true;
	(void)fs_free_bytes(
	    c->directory, &available, &all, NULL); /* unknown: the write will tell */
	return available < wanted + DISK_RESERVE;
}

#define CACHED_MAX 4096

static int
make_room(struct image_cache *c, uint64_t wanted, struct err *e)
{
	_cleanup_free_ struct cached *files = xcalloc(CACHED_MAX, sizeof(*files));
	uint64_t total;
	size_t count = list_files(c->directory, files, CACHED_MAX, &total);

	qsort(files, count, sizeof(*files), by_age);
	for (size_t i = 0; i < count && is_full(c, total, wanted); i++) {
		_cleanup_free_ char *path = image_cache_path(c, files[i].name);

		if (c->options.is_used && c->options.is_used(c->options.arg, files[i].name))
			continue;
		if (unlink(path) == 0) {
			total -= files[i].size;
			log_info(c->options.log, "image.evicted", "digest=%s size=%llu",
			    files[i].name, (unsigned long long)files[i].size);
		}
	}
	if (is_full(c, total, wanted))
		return err_set(e, ERR_NO_SPACE,
		    "the image cache has no room for %llu bytes beside the images in use",
		    (unsigned long long)wanted);
	return 0;
}

/* -- fetching, on a cache thread -- */

static bool
is_ending(struct image_cache *c)
{
	LOCK_SCOPE(&c->lock);

	return c->is_ending;
}

static bool
is_unwanted(struct fetch *f)
{
	LOCK_SCOPE(&f->cache->lock);

	return f->entry->is_unwanted;
}

static int
take_bytes(void *arg, const void *p, size_t n, struct err *e)
{
	struct fetch *f = arg;
	int r;

	if (is_ending(f->cache))
		return err_set(e, ERR_CANCELLED, "the node controller stops");
	if (is_unwanted(f))
		return err_set(e, ERR_CANCELLED, "nobody wants it any more");
	if (f->got + n > f->image.size_bytes)
		return err_set(e, ERR_CORRUPT, "it is longer than the %llu bytes registered",
		    (unsigned long long)f->image.size_bytes);
	r = fd_write_all(f->fd, p, n, e);
	if (r < 0)
		return r;
	EVP_DigestUpdate(f->hash, p, n);
	f->got += n;
	__atomic_store_n(&f->entry->got, f->got, __ATOMIC_RELAXED);
	metric_add(f->cache->fetched_bytes, (double)n);
	return 0;
}

/* S3 answers an expired presigned URL with 403 and says so in the body. */
static int
status_error(const struct http_client_reply *reply, struct err *e)
{
	const char *body = strbuf_c(&reply->body);

	if (reply->status == 403 && (strstr(body, "expired") || strstr(body, "Expired")))
		return err_set(e, ERR_REQUEST_EXPIRED, "the address for fetching it has expired");
	if (reply->status == 403 || reply->status == 404 || reply->status == 410)
		return err_set(e, ERR_NOT_FOUND,
		    "it is missing from the store of images (status %d)", reply->status);
	return err_set(
	    e, ERR_UNAVAILABLE, "the store of images answered with status %d", reply->status);
}

/* One transfer: begun on the loop, so that none begins once the loop's owner has said that it ends.
 */
struct transfer {
	struct image_cache *cache;
	const struct http_client_request *request; /* of the waiting thread */
	struct lock lock;
	pthread_cond_t ready;
	bool has_begun, is_abandoned, is_done; /* under lock */
	int result, status;
	struct err err;
};

static void
transfer_free(struct transfer *t)
{
	lock_done(&t->lock);
	pthread_cond_destroy(&t->ready);
	free(t);
}

static void
transfer_done(void *arg, struct http_client_reply *reply, const struct err *e)
{
	struct transfer *t = arg;

	LOCK_SCOPE(&t->lock);
	if (reply) {
		t->status = reply->status;
		t->result = reply->status == 200 ? 0 : status_error(reply, &t->err);
	} else {
		t->err = *e;
		t->result = e->code;
	}
	t->is_done = true;
	pthread_cond_signal(&t->ready);
}

static void
transfer_begin(void *arg)
{
	struct transfer *t = arg;

	lock_take(&t->lock);
	if (t->is_abandoned) {
		lock_release(&t->lock);
		transfer_free(t);
		return;
	}
	t->has_begun = true;
	lock_release(&t->lock);
	if (is_ending(t->cache)) {
		struct err e = { 0 };

		err_set(&e, ERR_CANCELLED, "the node controller stops");
		transfer_done(t, NULL, &e);
	} else
		http_send(t->cache->options.http, t->request, transfer_done, t);
}

static int
transfer(struct image_cache *c, const struct http_client_request *request, struct err *e)
{
	struct transfer *t = xcalloc(1, sizeof(*t));
	int r;

	t->cache = c;
	t->request = request;
	lock_init(&t->lock, LOCK_LEAF);
	pthread_cond_init(&t->ready, NULL);
	loop_post(c->options.loop, transfer_begin, t);
	for (;;) {
		bool ends = is_ending(c);

		lock_take(&t->lock);
		if (!t->is_done)
			(void)lock_wait(&t->lock, &t->ready, 500);
		if (t->is_done)
			break;
		if (ends && !t->has_begun) { /* the loop turns no more */
			t->is_abandoned = true;
			lock_release(&t->lock);
			return err_set(e, ERR_CANCELLED, "the node controller stops");
		}
		lock_release(&t->lock);
	}
	r = t->result;
	if (r < 0 && e)
		*e = t->err;
	lock_release(&t->lock);
	transfer_free(t);
	return r;
}

static int
fetch_from(struct fetch *f, const char *url, struct err *e)
{
	const struct http_client_request request = { .method = "GET",
		.url = url,
		.body_fd = -1,
		.tls = f->cache->options.tls,
		.timeout_ms = FETCH_TIMEOUT_MS,
		.low_speed_ms = f->cache->options.low_speed_ms,
		.sink = take_bytes,
		.sink_arg = f };
	uint8_t digest[32];
	char hex[65];
	int r;

	if (ftruncate(f->fd, 0) < 0 || lseek(f->fd, 0, SEEK_SET) < 0)
		return err_set_errno(e, errno, "cannot write");
	f->got = 0;
	f->hash = digest_begin(DIGEST_SHA256);
	r = transfer(f->cache, &request, e);
	digest_end(TAKE(f->hash), digest);
	if (r < 0)
		return r;
	if (f->got != f->image.size_bytes)
		return err_set(e, ERR_CORRUPT, "it has %llu bytes, %llu were registered",
		    (unsigned long long)f->got, (unsigned long long)f->image.size_bytes);
	hex_encode(digest, sizeof(digest), hex);
	if (strcmp(hex, f->image.digest) != 0)
		return err_set(e, ERR_CORRUPT, "its digest %.12s... does not match %.12s...", hex,
		    f->image.digest);
	return 0;
}

/* The best that the sources said: a damaged copy on one must not hide that another has it whole. */
static int
fetch_from_any(struct fetch *f, struct err *e)
{
	int r = 0;

	if (f->image.sources.count == 0)
		return err_set(e, ERR_REQUEST_EXPIRED, "there is no address to fetch it from");
	for (size_t i = 0; i < f->image.sources.count; i++) {
		err_clear(e);
		r = fetch_from(f, f->image.sources.items[i].url, e);
		if (r == 0 || r == ERR_CANCELLED || r == ERR_NO_SPACE)
			break;
		log_warn(f->cache->options.log, "image.source", "image=%s source=%zu error=\"%s\"",
		    f->image.image_id, i + 1, e->text);
	}
	return r;
}

static int
check_format(struct fetch *f, struct err *e)
{
	char head[QCOW2_HEADER_MAX];
	ssize_t n = pread(f->fd, head, sizeof(head), 0);
	uint64_t size;

	if (n < 0)
		return err_set_errno(e, errno, "cannot read");
	if (strcmp(f->image.format, "qcow2") == 0)
		return qcow2_check((struct str){ head, (size_t)n }, QCOW2_DISK_BYTES_MAX, &size, e);
	if (qcow2_is((struct str){ head, (size_t)n }))
		return err_set(e, ERR_INVALID, "it is registered as raw but is a qcow2 image");
	return 0;
}

static int
fetch_file(struct fetch *f, struct err *e)
{
	_cleanup_free_ char *path = image_cache_path(f->cache, f->image.digest);
	_cleanup_free_ char *part = xasprintf("%s.part", path);
	_cleanup_close_ int fd = -1;
	int r;

	r = make_room(f->cache, f->image.size_bytes, e);
	if (r < 0)
		return r;
	fd = f->fd = open(part, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot make '%s'", part);
	/* Whatever the umask: the group's QEMU reads it, and nobody writes it any more. */
	if (fchmod(fd, 0640) < 0)
		r = err_set_errno(e, errno, "cannot set the mode of '%s'", part);
	if (r == 0)
		r = fetch_from_any(f, e);
	if (r == 0)
		r = check_format(f, e);
	if (r == 0 && fdatasync(fd) < 0)
		r = err_set_errno(e, errno, "cannot write '%s'", part);
	if (r == 0 && rename(part, path) < 0)
		r = err_set_errno(e, errno, "cannot rename '%s'", part);
	if (r == 0)
		return fs_sync_directory(f->cache->directory, e);
	(void)unlink(part); /* the next start removes it otherwise */
	return r;
}

/* A transfer that begins and breaks off may be the network's fault. Again and again without getting
 * further, it is the store's, which does not send what it finds damaged. */
static int
judge_break_locked(struct fetch *f, int r, struct err *e)
{
	struct entry *entry = f->entry;

	if (r >= 0 || f->got == 0 || (r != ERR_UNAVAILABLE && r != ERR_TIMEOUT))
		return r;
	if (f->got > entry->furthest) {
		entry->furthest = f->got;
		entry->broken = 0;
	}
	if (++entry->broken < BREAKS_MAX)
		return r;
	return err_set(e, ERR_CORRUPT,
	    "the store of images breaks off after %llu of %llu bytes each time: it may be damaged "
	    "there",
	    (unsigned long long)entry->furthest, (unsigned long long)f->image.size_bytes);
}

static void
fetch_work(void *arg)
{
	struct fetch *f = arg;
	struct image_cache *c = f->cache;
	uint64_t began = clock_monotonic_ms();
	struct err e = { 0 };
	int r = fetch_file(f, &e);

	if (r < 0) {
		metric_add(c->failures, 1);
		log_warn(c->options.log, "image.failed", "image=%s digest=%s error=\"%s\"",
		    f->image.image_id, f->image.digest, e.text);
	} else
		log_info(c->options.log, "image.fetched", "image=%s digest=%s size=%llu ms=%llu",
		    f->image.image_id, f->image.digest, (unsigned long long)f->image.size_bytes,
		    (unsigned long long)(clock_monotonic_ms() - began));
	{
		LOCK_SCOPE(&c->lock);
		r = judge_break_locked(f, r, &e);
		f->entry->is_fetching = false;
		f->entry->result = r;
		f->entry->err = e;
		f->entry->ended_ms = clock_monotonic_ms();
	}
	if (c->options.done)
		c->options.done(c->options.arg, f->image.digest);
	arena_free(f->arena);
	free(f);
}

/* -- asking -- */

static bool
is_there(struct image_cache *c, const struct image_file *image)
{
	_cleanup_free_ char *path = image_cache_path(c, image->digest);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != image->size_bytes)
		return false;
	(void)futimens(fd, NULL); /* only eviction looks at it */
	return true;
}

static int
begin_locked(
    struct image_cache *c, const struct image_file *image, struct entry *entry, struct err *e)
{
	struct fetch *f = xcalloc(1, sizeof(*f));
	int r;

	f->cache = c;
	f->arena = arena_new(0);
	codec_copy(&image_file_shape, image, f->arena, &f->image);
	f->entry = entry;
	entry->is_fetching = true;
	entry->got = 0;
	entry->size = image->size_bytes;
	free(entry->first_source);
	entry->first_source = first_source(image) ? xstrdup(first_source(image)) : NULL;
	r = workers_run(c->workers, fetch_work, f, e);
	if (r < 0) {
		entry->is_fetching = false;
		arena_free(f->arena);
		free(f);
	}
	return r;
}

int
image_cache_want(
    struct image_cache *c, const struct image_file *image, unsigned *ret_percent, struct err *e)
{
	struct entry *entry;

	if (!image_digest_is_valid(image->digest))
		return err_set(e, ERR_INVALID, "its digest is ill-formed");
	if (is_there(c, image)) {
		metric_add(c->hits, 1);
		return 1;
	}
	LOCK_SCOPE(&c->lock);
	if (c->is_ending)
		return err_set(e, ERR_CANCELLED, "the node controller stops");
	entry = map_find(c->entries, image->digest);
	if (!entry) {
		entry = xcalloc(1, sizeof(*entry));
		map_set(c->entries, image->digest, entry);
	} else if (!entry->is_fetching && entry->result < 0 &&
		   (entry->result == ERR_REQUEST_EXPIRED
			   ? strings_equal(entry->first_source, first_source(image))
			   : clock_monotonic_ms() - entry->ended_ms < ERROR_KEPT_MS)) {
		if (e)
			*e = entry->err;
		return entry->result;
	}
	entry->is_unwanted = false;
	if (!entry->is_fetching) {
		int r = begin_locked(c, image, entry, e);

		if (r < 0)
			return r;
	}
	*ret_percent =
	    entry->size
		? (unsigned)(__atomic_load_n(&entry->got, __ATOMIC_RELAXED) * 100 / entry->size)
		: 0;
	return 0;
}

void
image_cache_forget(struct image_cache *c, const char *digest)
{
	LOCK_SCOPE(&c->lock);
	struct entry *entry = map_find(c->entries, digest);

	if (entry)
		entry->is_unwanted = true;
}

/* -- life -- */

static void
remove_parts(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (n > 5 && strcmp(entry->d_name + n - 5, ".part") == 0)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

int
image_cache_new(const struct image_cache_options *options, struct image_cache **ret, struct err *e)
{
	_cleanup_(image_cache_freep) struct image_cache *c = xcalloc(1, sizeof(*c));
	int r;

	c->options = *options;
	c->directory = xstrdup(options->directory);
	lock_init(&c->lock, LOCK_CACHE);
	c->entries = map_new(entry_free);
	c->fetched_bytes =
	    metric_counter("mallee_nc_image_fetched_bytes_total", NULL, "Bytes of images fetched");
	c->hits = metric_counter(
	    "mallee_nc_image_hits_total", NULL, "Images that were there when they were asked for");
	c->failures =
	    metric_counter("mallee_nc_image_failures_total", NULL, "Fetches of images that failed");
	r = fs_mkdir_p(c->directory, 0710, e);
	if (r < 0)
		return r;
	remove_parts(c->directory);
	r = workers_new(
	    options->fetches ? options->fetches : 2, FETCHES_QUEUED_MAX, &c->workers, e);
	if (r < 0)
		return r;
	*ret = TAKE(c);
	return 0;
}

void
image_cache_cancel(struct image_cache *c)
{
	LOCK_SCOPE(&c->lock);

	c->is_ending = true;
}

void
image_cache_free(struct image_cache *c)
{
	if (!c)
		return;
	image_cache_cancel(c);
	workers_free(c->workers);
	map_free(c->entries);
	lock_done(&c->lock);
	free(c->directory);
	free(c);
}
