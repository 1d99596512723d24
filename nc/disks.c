/* An instance's disks: <instances_dir>/<id>/root.qcow2, an overlay on the cached image, and
 * ephemeral0.qcow2 and so on, sparse, in the order of its mapping. All survive stop and start; a
 * half-made one is never seen under its name. QEMU runs as another user of our group (kvm):
 * directories let it in, files let it write. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nc.h"
#include "base/qcow2.h"
#include "run/cmd.h"
#include "run/fd.h"
#include "run/fs.h"

#define QEMU_IMG_TIMEOUT_MS 60000

static int
publish(const char *part, const char *path, struct err *e)
{
	/* The umask must not decide whether the guest can write its disk. */
	if (chmod(part, 0660) < 0)
		return err_set_errno(e, errno, "cannot set the mode of '%s'", part);
	if (rename(part, path) < 0)
		return err_set_errno(e, errno, "cannot rename '%s'", part);
	return 0;
}

/* The size of the disk that an image file holds. */
static int
image_disk_size(struct nc *nc, const struct image_file *image, uint64_t *ret, struct err *e)
{
	_cleanup_free_ char *path = image_cache_path(nc->cache, image->digest);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char head[QCOW2_HEADER_MAX];
	ssize_t n;

	*ret = image->size_bytes;
	if (strcmp(image->format, "qcow2") != 0)
		return 0;
	n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return err_set_errno(e, errno, "cannot read '%s'", path);
	return qcow2_check((struct str){ head, (size_t)n }, UINT64_MAX, ret, e);
}

/* A header may be sound and the tables behind it not: that is the image's fault, not the node's. */
static int
check_qcow2_opens(const char *path, struct err *e)
{
	_cleanup_(cmd_freep) struct cmd *c = cmd_new("qemu-img");
	struct err why = { 0 };
	int r;

	cmd_add(c, "info");
	cmd_add(c, "-U");
	cmd_add(c, "-f");
	cmd_add(c, "qcow2");
	cmd_add(c, path);
	r = cmd_run(c, QEMU_IMG_TIMEOUT_MS, NULL, &why);
	if (r == ERR_IO)
		return err_set(e, ERR_CORRUPT, "QEMU can't open it as qcow2");
	return r < 0 ? err_set(e, r, "%s", why.text) : 0;
}

static int
make_root(struct nc *nc, const struct instance_record *i, const char *directory, struct err *e)
{
	const struct image_file *image = i->spec->image;
	_cleanup_free_ char *path = xasprintf("%s/root.qcow2", directory);
	_cleanup_free_ char *part = xasprintf("%s.part", path);
	_cleanup_free_ char *base = image_cache_path(nc->cache, image->digest);
	_cleanup_(cmd_freep) struct cmd *c = NULL;
	uint64_t size, wanted = (uint64_t)i->spec->root_disk_gib << 30;
	int r;

	if (fs_exists(path))
		return 0;
	r = image_disk_size(nc, image, &size, e);
	/* What is not claimed of the node's disk is not given. */
	if (r == 0 && size > wanted && size > image->size_bytes)
		r = err_set(e, ERR_INVALID, "its disk of %llu bytes is larger than the instance's",
		    (unsigned long long)size);
	if (r == 0 && strcmp(image->format, "qcow2") == 0)
		r = check_qcow2_opens(base, e);
	if (r < 0)
		return err_wrap(e, "image '%s'", image->image_id);
	size = wanted > size ? wanted : (size + 511) & ~511ull;
	c = cmd_new("qemu-img");
	cmd_add(c, "create");
	cmd_add(c, "-q");
	cmd_add(c, "-f");
	cmd_add(c, "qcow2");
	cmd_add(c, "-F");
	cmd_add(c, image->format);
	cmd_add(c, "-b");
	cmd_add(c, base);
	cmd_add(c, part);
	cmd_addf(c, "%llu", (unsigned long long)size);
	r = cmd_run(c, QEMU_IMG_TIMEOUT_MS, NULL, e);
	return r < 0 ? err_wrap(e, "making the root disk") : publish(part, path, e);
}

unsigned
nc_disks_ephemeral(const struct instance_spec *spec)
{
	return spec->ephemeral_disks.count ? (unsigned)spec->ephemeral_disks.count
					   : spec->ephemeral_gib > 0;
}

/* The name under which earlier versions kept the only one. */
static int
rename_old(const char *directory, struct err *e)
{
	_cleanup_free_ char *old = xasprintf("%s/ephemeral.qcow2", directory);
	_cleanup_free_ char *new = xasprintf("%s/ephemeral0.qcow2", directory);

	if (fs_exists(old) && rename(old, new) < 0)
		return err_set_errno(e, errno, "cannot rename '%s'", old);
	return 0;
}

static int
make_ephemeral(
    const struct instance_spec *spec, unsigned index, const char *directory, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/ephemeral%u.qcow2", directory, index);
	_cleanup_free_ char *part = xasprintf("%s.part", path);
	_cleanup_(cmd_freep) struct cmd *c = NULL;
	int r;

	if (fs_exists(path))
		return 0;
	c = cmd_new("qemu-img");
	cmd_add(c, "create");
	cmd_add(c, "-q");
	cmd_add(c, "-f");
	cmd_add(c, "qcow2");
	cmd_add(c, part);
	cmd_addf(c, "%uG",
	    spec->ephemeral_disks.count ? spec->ephemeral_disks.items[index].size_gib
					: spec->ephemeral_gib);
	r = cmd_run(c, QEMU_IMG_TIMEOUT_MS, NULL, e);
	return r < 0 ? err_wrap(e, "making the ephemeral disk") : publish(part, path, e);
}

int
nc_disks_prepare(struct nc *nc, const struct instance_record *i, struct err *e)
{
	_cleanup_free_ char *directory = xasprintf("%s/%s", nc->instances_dir, i->instance_id);
	int r;

	r = fs_mkdir_p(directory, 0710, e);
	if (r == 0 && chmod(directory, 0710) < 0)
		r = err_set_errno(e, errno, "cannot set the mode of '%s'", directory);
	if (r == 0)
		r = make_root(nc, i, directory, e);
	if (r == 0)
		r = rename_old(directory, e);
	for (unsigned n = 0; r == 0 && n < nc_disks_ephemeral(i->spec); n++)
		r = make_ephemeral(i->spec, n, directory, e);
	return r < 0 ? r : fs_sync_directory(directory, e);
}

int
nc_disks_remove(struct nc *nc, const char *instance_id, struct err *e)
{
	_cleanup_free_ char *directory = xasprintf("%s/%s", nc->instances_dir, instance_id);
	DIR *dir = opendir(directory);
	struct dirent *entry;

	if (!dir)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "cannot open '%s'", directory);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0); /* rmdir tells what stayed */
	closedir(dir);
	if (rmdir(directory) < 0)
		return err_set_errno(e, errno, "cannot remove '%s'", directory);
	return 0;
}
