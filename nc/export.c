/* Exports of root disks. A step makes three files in the instance's directory, one out of the
 * other, and sends the last:
 *
 *     root.qcow2 over its image --qemu-img convert--> export-ID.raw --tar, gzip--> export-ID.tar.gz
 * --PUT-->
 *
 * A finished archive is kept while its address has run out or the store does not answer; everything
 * else begins anew after we died. It is looked for again and again whether the export is wanted
 * still: a start, a termination or a spec without it ends the work within a second and removes the
 * files.
 *
 * QEMU writes the disk, and QEMU is what a hostile guest might take over: what stands in the disk's
 * header about other files is not believed. The image below it is named by us, and a disk that
 * keeps its data in another file is refused. */
#include "export.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "run/cmd.h"
#include "run/fd.h"
#include "run/fs.h"

#define EXPORTS_AT_ONCE_MAX 2
#define LOOK_MS 1000
#define TELL_MS 2000
#define BUSY_RETRY_MS 1000
#define STORE_RETRY_MS 2000
#define MEASURE_TIMEOUT_MS 60000
#define CONVERT_TIMEOUT_MS (6 * 3600 * 1000)
#define UPLOAD_TIMEOUT_MS (6 * 3600 * 1000)
#define DISK_RESERVE (64ull << 20) /* of the file system: the store must be able to write */
#define ARCHIVE_MAX (5ull << 30)   /* what the store takes in one piece */
#define BLOCK (1024 * 1024)
#define PREFIX "export-"
#define CONVERTED 30 /* percent done once that is over */
#define ARCHIVED 70

struct export
{
	struct nc *nc;
	const struct instance_record *i;
	char *directory, *raw, *archive;
	struct export_report report;
	uint64_t data_bytes; /* that converting writes, about */
	uint64_t looked_ms, told_ms;
	bool is_unwanted;
};

static void
export_done(struct export *x)
{
	free(x->directory);
	free(x->raw);
	free(x->archive);
}

bool
nc_export_is_due(const struct instance_record *i)
{
	return i->export && strcmp(i->export->state, "done") != 0 &&
	       strcmp(i->export->state, "failed") != 0;
}

static void
remove_files(const char *directory, const char *but)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
		    (!but || strcmp(entry->d_name, but) != 0))
			(void)unlinkat(
			    dirfd(dir), entry->d_name, 0); /* the next look tries again */
	if (dir)
		closedir(dir);
}

void
nc_export_clear(struct nc *nc, const char *instance_id)
{
	_cleanup_free_ char *directory = xasprintf("%s/%s", nc->instances_dir, instance_id);

	remove_files(directory, NULL);
}

/* -- is it wanted still, and how far is it -- */

static int
tell(struct export *x, const char *state, bool needs_sources, struct err *e)
{
	x->report.state = state;
	x->report.has_progress = x->report.has_size_bytes = x->report.has_archive_bytes = true;
	x->told_ms = clock_monotonic_ms();
	return instance_set_export(x->nc->store, x->i->instance_id, &x->report, needs_sources, e);
}

static bool
is_wanted(struct export *x)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_record now;

	{
		LOCK_SCOPE(&x->nc->lock);
		if (x->nc->is_ending)
			return false;
	}
	if (instance_load(x->nc->store, x->i->instance_id, arena, &now, NULL) < 0)
		return false;
	x->is_unwanted = now.state != INSTANCE_STOPPED || !now.export ||
			 strcmp(now.export->export_id, x->report.export_id) != 0;
	return !x->is_unwanted;
}

static bool
goes_on(struct export *x, unsigned percent)
{
	uint64_t now = clock_monotonic_ms();

	if (now - x->looked_ms < LOOK_MS)
		return true;
	x->looked_ms = now;
	if (!is_wanted(x))
		return false;
	if (percent > x->report.progress && now - x->told_ms >= TELL_MS) {
		x->report.progress = percent;
		/* What is not told now is told by the next. */
		(void)tell(x, "running", false, NULL);
	}
	return true;
}

static unsigned
share(uint64_t done, uint64_t all, unsigned from, unsigned to)
{
	return from + (unsigned)(all && done < all ? done * (to - from) / all : to - from);
}

/* -- the disk as one raw file -- */

/* In --image-opts a comma ends a value unless it is doubled. */
static void
add_option(struct strbuf *out, const char *name, const char *path)
{
	strbuf_addf(out, ",%s=", name);
	for (; *path; path++) {
		if (*path == ',')
			strbuf_addc(out, ',');
		strbuf_addc(out, *path);
	}
}

static void
source_of(struct export *x, struct strbuf *out)
{
	_cleanup_free_ char *disk = xasprintf("%s/root.qcow2", x->directory);
	_cleanup_free_ char *base = image_cache_path(x->nc->cache, x->i->spec->image->digest);

	strbuf_addf(out, "driver=qcow2,file.driver=file");
	add_option(out, "file.filename", disk);
	strbuf_addf(out, ",backing.driver=%s,backing.file.driver=file", x->i->spec->image->format);
	add_option(out, "backing.file.filename", base);
}

/* The incompatible features are at 72, big-endian; bit 2 is that of an external data file. */
static int
check_disk(struct export *x, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/root.qcow2", x->directory);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	uint8_t head[80];
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_INVALID, "the instance has no disk yet: it has never run");
	n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return err_set_errno(e, errno, "cannot read the root disk");
	if (n < (ssize_t)sizeof(head) || memcmp(head, "QFI\xfb", 4) != 0 || (head[79] & 4))
		return err_set(e, ERR_CORRUPT, "the root disk is damaged");
	return 0;
}

/* The number behind "NAME": in what qemu-img prints as JSON. */
static bool
find_number(const char *json, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *key = xasprintf("\"%s\":", name);
	const char *at = strstr(json, key);
	size_t n;

	if (!at)
		return false;
	at += strlen(key);
	at += strspn(at, " ");
	n = strspn(at, "0123456789");
	return str_to_u64((struct str){ at, n }, ret);
}

/* What a copy that leaves holes out would take. */
static int
measure(struct export *x, const char *source, struct err *e)
{
	_cleanup_(cmd_freep) struct cmd *c = cmd_new("qemu-img");
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	int r;

	cmd_add(c, "measure");
	cmd_add(c, "--output=json");
	cmd_add(c, "-U");
	cmd_add(c, "-O");
	cmd_add(c, "qcow2");
	cmd_add(c, "--image-opts");
	cmd_add(c, source);
	r = cmd_run(c, MEASURE_TIMEOUT_MS, &out, e);
	if (r == 0 && !find_number(strbuf_c(&out), "required", &x->data_bytes))
		r = err_set(e, ERR_IO, "'qemu-img measure' says nothing of the size required");
	return r;
}

/* The raw file and, at worst as large, the archive. */
static int
check_room(struct export *x, struct err *e)
{
	uint64_t free_bytes, all_bytes;
	int r = fs_free_bytes(x->directory, &free_bytes, &all_bytes, e);

	if (r == 0 && free_bytes < DISK_RESERVE + 2 * x->data_bytes)
		r = err_set(e, ERR_NO_SPACE,
		    "the node has no room for it: it needs %llu MiB, %llu MiB are left",
		    (unsigned long long)((DISK_RESERVE + 2 * x->data_bytes) >> 20),
		    (unsigned long long)(free_bytes >> 20));
	return r;
}

static bool
must_end_converting(void *arg)
{
	struct export *x = arg;
	struct stat st = { 0 };

	(void)stat(x->raw, &st); /* it may not have been made yet */
	return !goes_on(x, share((uint64_t)st.st_blocks * 512, x->data_bytes, 0, CONVERTED));
}

static int
convert(struct export *x, struct err *e)
{
	_cleanup_(cmd_freep) struct cmd *c = cmd_new("qemu-img");
	_cleanup_strbuf_ struct strbuf source = STRBUF_INIT;
	int r = check_disk(x, e);

	source_of(x, &source);
	if (r == 0)
		r = measure(x, strbuf_c(&source), e);
	if (r == 0)
		r = check_room(x, e);
	if (r < 0)
		return r;
	cmd_add(c, "convert");
	/* The guest is off: who holds the disk is a copy that we began before we died. */
	cmd_add(c, "-U");
	cmd_add(c, "-O");
	cmd_add(c, "raw");
	cmd_add(c, "--image-opts");
	cmd_add(c, strbuf_c(&source));
	cmd_add(c, x->raw);
	cmd_watch(c, must_end_converting, x);
	return cmd_run(c, CONVERT_TIMEOUT_MS, NULL, e);
}

/* -- the archive -- */

static int
archive_error(struct archive *a, const char *what, struct err *e)
{
	int number = archive_errno(a);

	if (number == ENOSPC || number == EDQUOT)
		return err_set(e, ERR_NO_SPACE, "the node has no room for the archive");
	return err_set(e, ERR_IO, "%s: %s", what,
	    archive_error_string(a) ? archive_error_string(a) : "unknown error");
}

static int
add_bytes(struct archive *a, const void *p, size_t n, struct err *e)
{
	return archive_write_data(a, p, n) == (la_ssize_t)n
		   ? 0
		   : archive_error(a, "cannot write the archive", e);
}

/* Where the next data are at or behind `at`; the end of the file when only a hole follows. */
static int
next_data(int fd, uint64_t at, uint64_t size, uint64_t *ret, struct err *e)
{
	off_t found = lseek(fd, (off_t)at, SEEK_DATA);

	if (found < 0 && errno != ENXIO)
		return err_set_errno(e, errno, "cannot read the raw disk");
	*ret = found < 0 ? size : (uint64_t)found;
	return 0;
}

static int
add_file(struct archive *a, int fd, uint64_t size, const struct export_watch *watch, struct err *e)
{
	_cleanup_free_ char *block = xcalloc(1, BLOCK), *zeros = xcalloc(1, BLOCK);
	uint64_t at = 0, data = 0;
	int r = 0;

	while (r == 0 && at < size) {
		size_t want = size - at < BLOCK ? (size_t)(size - at) : BLOCK;
		ssize_t n;

		if (watch && !watch->goes_on(watch->arg, (unsigned)(at / (size / 100 + 1))))
			return err_set(e, ERR_CANCELLED, "the archive is wanted no more");
		if (data <= at)
			r = next_data(fd, at, size, &data, e);
		if (r < 0)
			return r;
		if (data > at) {
			n = data - at < want ? (ssize_t)(data - at) : (ssize_t)want;
			r = add_bytes(a, zeros, (size_t)n, e);
		} else {
			n = pread(fd, block, want, (off_t)at);
			if (n <= 0)
				return err_set_errno(
				    e, n < 0 ? errno : EIO, "cannot read the raw disk");
			r = add_bytes(a, block, (size_t)n, e);
		}
		at += (uint64_t)n;
	}
	return r;
}

static int
begin_archive(struct archive *a, int out, const char *name, uint64_t size, struct err *e)
{
	struct archive_entry *entry = archive_entry_new();
	int r = 0;

	archive_entry_set_pathname(entry, name);
	archive_entry_set_size(entry, (la_int64_t)size);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_mtime(entry, clock_now_us() / 1000000, 0);
	/* Whatever else reads it need not know more than ustar, unless the disk is larger than that
	 * can say. */
	if (archive_write_add_filter_gzip(a) != ARCHIVE_OK ||
	    archive_write_set_filter_option(a, "gzip", "compression-level", "1") != ARCHIVE_OK ||
	    archive_write_set_format_pax_restricted(a) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
	    archive_write_open_fd(a, out) != ARCHIVE_OK ||
	    archive_write_header(a, entry) != ARCHIVE_OK)
		r = archive_error(a, "cannot begin the archive", e);
	archive_entry_free(entry);
	return r;
}

/* An archive that is given up would be filled up to its size before it lets go of anything: its
 * file is made one that can't be written to. (archive_write_fail leaks what its filters hold.) */
static void
cut_off(int out)
{
	_cleanup_close_ int nowhere = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (nowhere >= 0)
		(void)dup3(nowhere, out, O_CLOEXEC);
}

int
nc_export_archive(const char *raw, const char *name, const char *path,
    const struct export_watch *watch, struct err *e)
{
	_cleanup_free_ char *part = xasprintf("%s.part", path);
	_cleanup_close_ int in = open(raw, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	struct archive *a;
	struct stat st;
	int r;

	if (in < 0 || fstat(in, &st) < 0)
		return err_set_errno(e, errno, "cannot read '%s'", raw);
	out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return err_set_errno(e, errno, "cannot make '%s'", part);
	a = archive_write_new();
	r = begin_archive(a, out, name, (uint64_t)st.st_size, e);
	if (r == 0)
		r = add_file(a, in, (uint64_t)st.st_size, watch, e);
	if (r == 0 && archive_write_close(a) != ARCHIVE_OK)
		r = archive_error(a, "cannot finish the archive", e);
	if (r < 0)
		cut_off(out);
	(void)archive_write_free(a);
	if (r == 0 && fdatasync(out) < 0)
		r = err_set_errno(e, errno, "cannot write '%s'", part);
	if (r == 0 && rename(part, path) < 0)
		r = err_set_errno(e, errno, "cannot rename '%s'", part);
	if (r < 0)
		(void)unlink(part); /* the next look removes it otherwise */
	return r;
}

static bool
archive_goes_on(void *arg, unsigned percent)
{
	return goes_on(arg, share(percent, 100, CONVERTED, ARCHIVED));
}

/* -- sending it -- */

struct upload {
	struct lock lock;
	pthread_cond_t ended;
	bool is_done; /* under lock */
	int status;
	bool has_expired;
	struct err err;
	struct http_client_upload body;
};

static void
upload_done(void *arg, struct http_client_reply *reply, const struct err *e)
{
	struct upload *u = arg;

	LOCK_SCOPE(&u->lock);
	if (reply) {
		const char *body = strbuf_c(&reply->body);

		u->status = reply->status;
		u->has_expired =
		    u->status == 403 && (strstr(body, "expired") || strstr(body, "Expired"));
	} else
		u->err = *e;
	u->is_done = true;
	(void)pthread_cond_signal(&u->ended);
}

static int
begin_upload(struct export *x, int fd, struct upload *u, struct err *e)
{
	const struct http_client_request request = { .method = "PUT",
		.url = x->i->spec->export->url,
		.body_fd = fd,
		.body_length = x->report.archive_bytes,
		.upload = &u->body,
		.tls = &x->nc->image_tls,
		.connect_timeout_ms = 5000,
		.timeout_ms = UPLOAD_TIMEOUT_MS,
		.low_speed_ms = x->nc->conf->fetch_stall_ms };

	/* Under the lock: the client goes only after is_ending was set. */
	LOCK_SCOPE(&x->nc->lock);
	if (x->nc->is_ending)
		return err_set(e, ERR_CANCELLED, "the node controller stops");
	http_send(x->nc->http, &request, upload_done, u);
	return 0;
}

static void
wait_for_upload(struct export *x, struct upload *u)
{
	for (;;) {
		uint64_t sent = atomic_load(&u->body.sent);
		bool is_done;

		lock_take(&u->lock);
		if (!u->is_done)
			(void)lock_wait(&u->lock, &u->ended, LOOK_MS);
		is_done = u->is_done;
		lock_release(&u->lock);
		if (is_done)
			return;
		if (!goes_on(x, share(sent, x->report.archive_bytes, ARCHIVED, 99)))
			atomic_store(&u->body.is_cancelled, true);
	}
}

/* REQUEST_EXPIRED: a fresh address is needed; UNAVAILABLE, TIMEOUT: another try may help. */
static int
judge_upload(const struct upload *u, struct err *e)
{
	if (u->err.code) {
		*e = u->err;
		return u->err.code;
	}
	if (u->has_expired)
		return err_set(e, ERR_REQUEST_EXPIRED, "the address for sending it has expired");
	if (u->status / 100 == 5 && u->status != 507)
		return err_set(
		    e, ERR_UNAVAILABLE, "the object store answered with status %d", u->status);
	if (u->status / 100 != 2)
		return err_set(e, ERR_IO, "the object store refused it with status %d", u->status);
	return 0;
}

static int
send_archive(struct export *x, struct err *e)
{
	_cleanup_close_ int fd = open(x->archive, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct upload u = { .ended = PTHREAD_COND_INITIALIZER };
	int r;

	if (fd < 0)
		return err_set_errno(e, errno, "cannot read '%s'", x->archive);
	if (x->report.archive_bytes > ARCHIVE_MAX)
		return err_set(e, ERR_LIMIT,
		    "its archive of %llu bytes is larger than the object store takes in one piece",
		    (unsigned long long)x->report.archive_bytes);
	lock_init(&u.lock, LOCK_LEAF);
	r = begin_upload(x, fd, &u, e);
	if (r == 0) {
		wait_for_upload(x, &u);
		r = judge_upload(&u, e);
	}
	lock_done(&u.lock);
	(void)pthread_cond_destroy(&u.ended);
	return r;
}

/* -- all of it -- */

static int
make_archive(struct export *x, struct err *e)
{
	const struct export_watch watch = { archive_goes_on, x };
	struct stat st;
	int r;

	if (stat(x->archive, &st) < 0) {
		remove_files(x->directory, NULL);
		r = convert(x, e);
		if (r == 0)
			r = nc_export_archive(x->raw, "disk.raw", x->archive, &watch, e);
		if (r < 0)
			return r;
		if (stat(x->archive, &st) < 0)
			return err_set_errno(e, errno, "cannot read '%s'", x->archive);
	}
	x->report.archive_bytes = (uint64_t)st.st_size;
	return 0;
}

/* The size of the disk is the raw file's; where only the archive was left, it was told before. */
static int
note_size(struct export *x, struct err *e)
{
	struct stat st;

	if (stat(x->raw, &st) == 0)
		x->report.size_bytes = (uint64_t)st.st_size;
	else
		x->report.size_bytes = x->i->export->size_bytes;
	if (x->report.size_bytes == 0)
		return err_set(e, ERR_IO, "the disk's size is not known any more");
	x->report.progress = ARCHIVED;
	if (tell(x, "running", false, e) < 0)
		return e->code;
	(void)unlink(x->raw); /* room for others; the end removes it otherwise */
	return 0;
}

static int
run(struct export *x, struct err *e)
{
	int r = tell(x, "running", false, e);

	if (r == 0)
		r = make_archive(x, e);
	if (r == 0)
		r = note_size(x, e);
	return r == 0 ? send_archive(x, e) : r;
}

static int
end(struct nc_step *s, struct export *x, const char *state, const char *reason, struct err *e)
{
	int r;

	x->report.reason = reason;
	if (!reason)
		x->report.progress = 100;
	r = tell(x, state, false, e);
	if (r == 0)
		remove_files(x->directory, NULL);
	if (r == 0)
		log_info(s->nc->log, "export.ended",
		    "instance=%s export=%s state=%s bytes=%llu archive=%llu reason=\"%s\"",
		    s->i->instance_id, x->report.export_id, state,
		    (unsigned long long)x->report.size_bytes,
		    (unsigned long long)x->report.archive_bytes, reason ? reason : "");
	return r;
}

static int
pause_for(
    struct nc_step *s, struct export *x, const char *reason, bool needs_sources, struct err *e)
{
	int r;

	x->report.reason = reason;
	r = tell(x, "waiting", needs_sources, e);
	s->retry_ms = STORE_RETRY_MS;
	return r < 0 ? r : 1;
}

static int
judge(struct nc_step *s, struct export *x, int r, struct err *e)
{
	const char *why = r < 0 ? arena_strdup(s->arena, e->text) : NULL;

	if (r == 0)
		return end(s, x, "done", NULL, e);
	if (x->is_unwanted || r == ERR_STALE) {
		err_clear(e);
		remove_files(x->directory, NULL);
		return 0; /* whatever is wanted now is looked at */
	}
	if (r == ERR_CANCELLED)
		return r;
	err_clear(e);
	if (r == ERR_REQUEST_EXPIRED)
		return pause_for(s, x, why, true, e);
	if (r == ERR_UNAVAILABLE || r == ERR_TIMEOUT)
		return pause_for(s, x, why, false, e);
	return end(s, x, "failed", why, e);
}

static bool
take_turn(struct nc *nc)
{
	LOCK_SCOPE(&nc->lock);

	if (nc->exports == EXPORTS_AT_ONCE_MAX)
		return false;
	nc->exports++;
	return true;
}

static void
give_turn(struct nc *nc)
{
	LOCK_SCOPE(&nc->lock);

	nc->exports--;
}

int
nc_export_step(struct nc_step *s, struct err *e)
{
	_cleanup_(export_done) struct export x = { .nc = s->nc, .i = s->i };
	const char *id = s->i->export->export_id;
	int r;

	if (s->i->needs_sources) { /* the next order brings them */
		s->retry_ms = NC_SETTLED;
		return 1;
	}
	if (strchr(id, '/') || strlen(id) >= ID_MAX)
		return err_set(e, ERR_INVALID, "ill-formed export id");
	if (!take_turn(s->nc)) {
		s->retry_ms = BUSY_RETRY_MS;
		return 1;
	}
	x.directory = xasprintf("%s/%s", s->nc->instances_dir, s->i->instance_id);
	x.raw = xasprintf("%s/" PREFIX "%s.raw", x.directory, id);
	x.archive = xasprintf("%s/" PREFIX "%s.tar.gz", x.directory, id);
	x.report.export_id = id;
	x.report.size_bytes = s->i->export->size_bytes;
	x.looked_ms = clock_monotonic_ms();
	s->is_clear = false;
	r = judge(s, &x, run(&x, e), e);
	give_turn(s->nc);
	return r;
}
