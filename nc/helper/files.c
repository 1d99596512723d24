/* The guest's files, looked at by root before libvirt is told of them. Names are made of an
 * instance id or a digest below the two configured directories, and opened with RESOLVE_BENEATH and
 * without following links: the unprivileged nc owns these directories and may hold anything. What
 * is opened later by QEMU is opened as QEMU's own user (domain_xml.c), so a file swapped after this
 * check gains nothing; the check is there so that a mistake is an error here and not a riddle in
 * libvirt. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "helper/helper.h"
#include "run/fd.h"

static int
open_beneath(const char *directory, const char *name, int flags, struct err *e)
{
	struct open_how how = { .flags = (uint64_t)flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	_cleanup_close_ int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (dir < 0)
		return err_set_errno(e, errno, "cannot open '%s'", directory);
	fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	return fd < 0 ? err_set_errno(e, errno, "cannot open '%s/%s'", directory, name) : fd;
}

static int
check_regular(const char *directory, const char *name, struct err *e)
{
	_cleanup_close_ int fd = open_beneath(directory, name, O_RDONLY | O_NONBLOCK, e);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_set_errno(e, errno, "cannot stat '%s'", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "'%s' is not a regular file", name);
	return 0;
}

static int
check_cached(const struct helper_conf *conf, const struct helper_file *file, struct err *e)
{
	char hex[65];

	if (file->format == HELPER_FORMAT_NONE)
		return 0;
	hex_encode(file->digest, sizeof(file->digest), hex);
	return check_regular(conf->cache_dir, hex, e);
}

int
guest_files_check(const struct helper_conf *conf, const struct helper_guest_spec *spec,
    bool *ret_direct_io, struct err *e)
{
	_cleanup_free_ char *root = xasprintf("%s/root.qcow2", spec->instance_id);
	_cleanup_close_ int fd = -1;
	int r;

	if ((r = check_cached(conf, &spec->base, e)) < 0 ||
	    (r = check_cached(conf, &spec->kernel, e)) < 0 ||
	    (r = check_cached(conf, &spec->ramdisk, e)) < 0 ||
	    (r = check_regular(conf->instances_dir, root, e)) < 0)
		return r;
	for (unsigned i = 0; i < spec->ephemeral_count; i++) {
		_cleanup_free_ char *ephemeral =
		    xasprintf("%s/ephemeral%u.qcow2", spec->instance_id, i);

		r = check_regular(conf->instances_dir, ephemeral, e);
		if (r < 0)
			return r;
	}
	/* tmpfs and some overlays have no O_DIRECT; QEMU's cache=none would not start there. */
	fd = open_beneath(conf->instances_dir, root, O_RDONLY | O_DIRECT, NULL);
	*ret_direct_io = fd >= 0;
	return 0;
}
