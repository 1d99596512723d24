/* Namespaces belong to threads, so all of this concerns only the calling one: /proc/thread-self,
 * setns and unshare. A pinned namespace lives as long as its mount, whatever becomes of this
 * process. */
#include "helper/netns.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "run/fd.h"

#define OWN "/proc/thread-self/ns/net"

int
netns_own(int *ret_fd, struct err *e)
{
	int fd = open(OWN, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set_errno(e, errno, "cannot open '%s'", OWN);
	*ret_fd = fd;
	return 0;
}

int
netns_open(const char *path, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct statfs s;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot open network namespace '%s'", path);
	if (fstatfs(fd, &s) < 0)
		return err_set_errno(e, errno, "cannot examine '%s'", path);
	if (s.f_type != NSFS_MAGIC)
		return err_set(e, ERR_NOT_FOUND, "'%s' holds no namespace", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int
netns_enter(struct netns_scope *s, int to, struct err *e)
{
	int r;

	assert(s->back < 0);
	r = netns_own(&s->back, e);
	if (r < 0)
		return r;
	if (setns(to, CLONE_NEWNET) < 0) {
		r = err_set_errno(e, errno, "cannot enter network namespace");
		fd_close(TAKE_FD(s->back));
		return r;
	}
	return 0;
}

void
netns_leave(struct netns_scope *s)
{
	if (s->back < 0)
		return;
	if (setns(s->back, CLONE_NEWNET) < 0)
		abort();
	fd_close(TAKE_FD(s->back));
}

int
netns_make(const char *path, int *ret_fd, struct err *e)
{
	_cleanup_netns_ struct netns_scope scope = NETNS_SCOPE_INIT;
	int r, fd;

	r = netns_open(path, ret_fd, e);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(e);

	fd = open(path, O_RDONLY | O_CLOEXEC | O_CREAT | O_NOFOLLOW, 0444);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot create '%s'", path);
	fd_close(fd);
	r = netns_own(&scope.back, e);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWNET) < 0)
		return err_set_errno(e, errno, "cannot make a network namespace");
	if (mount(OWN, path, NULL, MS_BIND, NULL) < 0)
		return err_set_errno(e, errno, "cannot pin a network namespace at '%s'", path);
	return netns_own(ret_fd, e);
}

int
netns_unpin(const char *path, struct err *e)
{
	if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		return err_set_errno(e, errno, "cannot unmount '%s'", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "cannot remove '%s'", path);
	return 0;
}

int
netns_sysctl(const char *name, const char *value, bool is_optional, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[256];

	if (snprintf(path, sizeof(path), "/proc/sys/net/%s", name) >= (int)sizeof(path))
		return err_set(e, ERR_LIMIT, "name of setting is too long");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && is_optional)
		return 0;
	if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		return err_set_errno(e, errno, "cannot set '%s' to '%s'", path, value);
	return 0;
}
