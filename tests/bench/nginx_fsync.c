/* Preloaded into nginx: makes its DAV PUT durable before it answers, which it has no setting for.
 * It writes the body to a temporary file and renames that into place; here the file is synced
 * before the rename, and the directory after it. */
#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
sync_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC), r;

	if (fd < 0)
		return -1;
	r = fsync(fd);
	close(fd);
	return r;
}

int rename(const char *from, const char *to);

int
rename(const char *from, const char *to)
{
	int (*real)(const char *, const char *) =
	    (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
	char directory[4096];

	(void)snprintf(directory, sizeof(directory), "%s", to);
	if (sync_path(from, O_RDONLY) < 0 || real(from, to) < 0)
		return -1;
	return sync_path(dirname(directory), O_RDONLY | O_DIRECTORY);
}
