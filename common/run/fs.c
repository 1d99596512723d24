/* Files that are either whole or absent. A replaced file is durable when fs_write_atomic returns:
 * the content before the name (fsync, rename), the name before the return (fsync of the directory).
 */
#include "run/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "run/fd.h"

int
fs_read(const char *path, size_t limit, struct strbuf *out, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t taken = 0;

	if (fd < 0)
		return err_set_errno(e, errno, "cannot open '%s'", path);
	for (;;) {
		size_t room = limit - taken < 65536 ? limit - taken + 1 : 65536;
		ssize_t n;

		strbuf_reserve(out, room);
		n = read(fd, out->p + out->n, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(e, errno, "cannot read '%s'", path);
		if (n == 0)
			break;
		taken += (size_t)n;
		if (taken > limit)
			return err_set(e, ERR_LIMIT, "'%s' is larger than %zu bytes", path, limit);
		out->n += (size_t)n;
	}
	strbuf_reserve(out, 0);
	return 0;
}

/* "/a/b" -> "/a", "b" -> "." */
static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

int
fs_sync_directory(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_set_errno(e, errno, "cannot open directory '%s'", path);
	if (fsync(fd) < 0)
		return err_set_errno(e, errno, "cannot sync directory '%s'", path);
	return 0;
}

static int
write_temporary(int fd, const char *path, struct str content, mode_t mode, struct err *e)
{
	int r = fd_write_all(fd, content.p, content.n, e);

	if (r < 0)
		return err_wrap(e, "'%s'", path);
	if (fchmod(fd, mode) < 0)
		return err_set_errno(e, errno, "cannot set the mode of '%s'", path);
	if (fsync(fd) < 0)
		return err_set_errno(e, errno, "cannot sync '%s'", path);
	return 0;
}

int
fs_write_atomic(const char *path, struct str content, mode_t mode, struct err *e)
{
	_cleanup_free_ char *temporary = xasprintf("%s.XXXXXX", path);
	_cleanup_free_ char *directory = directory_of(path);
	_cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_set_errno(e, errno, "cannot create a file beside '%s'", path);
	r = write_temporary(fd, path, content, mode, e);
	if (r == 0 && rename(temporary, path) < 0)
		r = err_set_errno(e, errno, "cannot replace '%s'", path);
	if (r < 0) {
		(void)unlink(temporary);
		return r;
	}
	return fs_sync_directory(directory, e);
}

int
fs_mkdir_p(const char *path, mode_t mode, struct err *e)
{
	_cleanup_free_ char *prefix = xstrdup(path);
	struct stat st;

	for (char *p = prefix + 1; *prefix; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(prefix, mode) < 0 && errno != EEXIST)
			return err_set_errno(e, errno, "cannot create directory '%s'", prefix);
		*p = c;
		if (c == '\0')
			break;
	}
	if (stat(path, &st) < 0)
		return err_set_errno(e, errno, "cannot create directory '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return err_set_errno(e, ENOTDIR, "cannot create directory '%s'", path);
	return 0;
}

int
fs_free_bytes(const char *path, uint64_t *ret_free, uint64_t *ret_total, struct err *e)
{
	struct statvfs v;

	if (statvfs(path, &v) < 0)
		return err_set_errno(e, errno, "cannot ask for the free space of '%s'", path);
	if (ret_free)
		*ret_free = (uint64_t)v.f_bavail * v.f_frsize;
	if (ret_total)
		*ret_total = (uint64_t)v.f_blocks * v.f_frsize;
	return 0;
}

bool
fs_exists(const char *path)
{
	return access(path, F_OK) == 0;
}
