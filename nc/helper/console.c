/* Console logs: <state_dir>/consoles/<instance>.log, appended to by QEMU or virtlogd for as long as
 * the guest lives, handed to nc as a read-only descriptor.
 *
 * A guest may write for ever. virtlogd rotates by itself (the older part is then <log>.0); with
 * QEMU's own logging nobody does. So the helper gives back the space of all but the end: the writer
 * appends (O_APPEND), so a hole in front disturbs nothing and needs no cooperation. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <dirent.h>
#include "base/id.h"
#include "helper/helper.h"
#include "run/fd.h"

#define CONSOLE_KEEP (128 * 1024) /* at least what GetConsoleOutput gives, twice */
#define CONSOLE_TRIM (1024 * 1024)

static char *
console_path(struct helper *h, const char *instance_id, const char *suffix)
{
	return xasprintf("%s/%s.log%s", h->console_dir, instance_id, suffix);
}

/* The file exists before QEMU starts, so that it belongs to us and is nobody else's to read. */
int
console_prepare(struct helper *h, const char *instance_id, struct err *e)
{
	_cleanup_free_ char *path = console_path(h, instance_id, "");
	_cleanup_close_ int fd =
	    open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? err_set_errno(e, errno, "cannot make console log '%s'", path) : 0;
}

void
console_remove(struct helper *h, const char *instance_id)
{
	static const char *const suffixes[] = { "", ".0", ".1", ".2", ".3" };

	for (unsigned i = 0; i < ARRAY_SIZE(suffixes); i++) {
		_cleanup_free_ char *path = console_path(h, instance_id, suffixes[i]);

		(void)unlink(path); /* mostly absent */
	}
}

void
screen_remove(struct helper *h, const char *instance_id)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.sock", h->screen_dir, instance_id);

	(void)unlink(path); /* absent when it never ran */
}

static void
trim(int dir, const char *name)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_blocks * 512 <= CONSOLE_TRIM || st.st_size <= CONSOLE_KEEP)
		return;
	/* Where the file system has no holes the log stays as it is. */
	(void)fallocate(
	    fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (st.st_size - CONSOLE_KEEP) & ~4095);
}

void
console_trim_all(struct helper *h)
{
	DIR *dir = opendir(h->console_dir);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] == 'i')
			trim(dirfd(dir), entry->d_name);
	closedir(dir);
}

void
console_verb(struct helper *h, const struct ticket *t, struct str payload)
{
	const struct helper_guest_ref *ref = (const void *)payload.p;
	_cleanup_free_ char *path = console_path(h, ref->instance_id, "");
	_cleanup_free_ char *older_path = console_path(h, ref->instance_id, ".0");
	_cleanup_close_ int older = open(older_path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct err e = { 0 };

	if (fd < 0) {
		err_set_errno(&e, errno, "no console log of '%s'", ref->instance_id);
		helper_reply_error(h, t, &e);
	} else if (older >= 0)
		helper_reply(h, t, NULL, 0, (int[]){ older, fd }, 2);
	else
		helper_reply(h, t, NULL, 0, &fd, 1);
}
