/* Room on disk. There is no account of what is under way: an upload is admitted by its length, and
 * asked again while it is written (blob.c), so that many at once can go below the reserve by 256
 * KiB each, not more. Small ones are not worth a look each where there is plenty. */
#include "disk.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "run/health.h"
#include "run/metrics.h"

#define SMALL (64 * 1024)
#define PLENTY (UINT64_C(1) << 30) /* more than the reserve: it lasts longer than ... */
#define PLENTY_MS 100              /* ... what was seen holds */

enum { PLACES = 2 };
struct disk {
	const struct log *log;
	char *paths[PLACES]; /* blobs, store: often one file system */
	uint64_t reserve_bytes;
	atomic_bool is_full;
	atomic_uint_fast64_t plenty_until_ms;
	struct metric *refused, *full;
};

static int
free_bytes(const char *path, uint64_t *ret, struct err *e)
{
	struct statvfs st;

	if (statvfs(path, &st) < 0)
		return err_set_errno(e, errno, "cannot look at the file system of '%s'", path);
	*ret = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

static int
least_free_bytes(const struct disk *d, uint64_t *ret, struct err *e)
{
	int r = 0;

	*ret = UINT64_MAX;
	for (size_t i = 0; r == 0 && i < PLACES; i++) {
		uint64_t bytes;

		r = free_bytes(d->paths[i], &bytes, e);
		if (r == 0 && bytes < *ret)
			*ret = bytes;
	}
	return r;
}

static double
free_metric(void *arg)
{
	struct err e;
	uint64_t bytes;

	return least_free_bytes(arg, &bytes, &e) < 0 ? -1 : (double)bytes;
}

struct disk *
disk_new(const struct walrus_conf *conf, const struct log *log)
{
	struct disk *d = xcalloc(1, sizeof(*d));

	d->log = log;
	d->paths[0] = xasprintf("%s/blobs", conf->daemon.state_dir);
	d->paths[1] = xstrdup(conf->daemon.state_dir);
	d->reserve_bytes = conf->disk_reserve_bytes;
	d->refused = metric_counter("mallee_walrus_disk_refused_total", NULL,
	    "Writes refused because the disk's reserve would have been needed");
	d->full = metric_gauge("mallee_walrus_disk_full", NULL,
	    "1 while less than the reserve is free, and nothing can be stored");
	metric_callback("mallee_walrus_disk_free_bytes", NULL,
	    "Free on disk, the reserve included; -1: not known", free_metric, d);
	return d;
}

void
disk_free(struct disk *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < PLACES; i++)
		free(d->paths[i]);
	free(d);
}

/* Said when it changes, by whoever sees it first. */
static void
tell(struct disk *d, bool is_full, uint64_t bytes)
{
	if (atomic_exchange(&d->is_full, is_full) != is_full) {
		if (is_full)
			log_error(d->log, "disk.full", "free=%llu reserve=%llu",
			    (unsigned long long)bytes, (unsigned long long)d->reserve_bytes);
		else
			log_info(d->log, "disk.free_again", "free=%llu", (unsigned long long)bytes);
	}
	metric_set(d->full, is_full);
	if (is_full)
		health_warn("disk",
		    "nothing can be stored: %llu MiB are free, less than the reserve of %llu MiB",
		    (unsigned long long)(bytes >> 20),
		    (unsigned long long)(d->reserve_bytes >> 20));
	else
		health_warn("disk", NULL);
}

int
disk_admit(struct disk *d, uint64_t bytes, struct err *e)
{
	uint64_t free_now;

	if (d->reserve_bytes == 0)
		return 0;
	if (bytes <= SMALL && clock_monotonic_ms() < atomic_load(&d->plenty_until_ms))
		return 0;
	if (least_free_bytes(d, &free_now, e) < 0)
		return 0; /* the write itself will tell */
	atomic_store(&d->plenty_until_ms, free_now / 2 > d->reserve_bytes / 2 + PLENTY / 2
					      ? clock_monotonic_ms() + PLENTY_MS
					      : 0);
	if (free_now >= d->reserve_bytes && free_now - d->reserve_bytes >= bytes)
		return 0;
	metric_add(d->refused, 1);
	if (free_now < d->reserve_bytes)
		tell(d, true, free_now);
	return err_set(e, ERR_NO_SPACE, "the disk's reserve would be needed for %llu bytes more",
	    (unsigned long long)bytes);
}

int
disk_admit_blob(void *arg, uint64_t bytes, struct err *e)
{
	return disk_admit(arg, bytes, e);
}

int
disk_watch(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct disk *d = arg;
	uint64_t bytes;
	int r = least_free_bytes(d, &bytes, e);

	if (r == 0)
		tell(d, bytes < d->reserve_bytes, bytes);
	return r;
}
