/* For LD_PRELOAD: a disk that forgets, under a whole daemon. POWERLOSS_DISK is a directory that
 * holds what the disk would if the power went now: data/INODE is a file as it was last synced,
 * names/INODE the entries of a directory as they were, a line each: inode, d or f, name. Nothing
 * else survives, though a kinder file system would keep more. powerloss.py fills it before the
 * start and builds the tree from it after the death.
 *
 * POWERLOSS_LIES=names makes the syncs of directories below blobs/ do nothing, POWERLOSS_LIES=data
 * those of files there: whoever tests with one must find losses. Only what is under POWERLOSS_ROOT
 * counts. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
die(const char *what)
{
	fprintf(stderr, "powerloss: %s: %s\n", what, strerror(errno));
	abort();
}

static bool
is_watched(int fd, char path[PATH_MAX])
{
	const char *root = getenv("POWERLOSS_ROOT");
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	return root && strncmp(path, root, strlen(root)) == 0;
}

/* Under a name that changes at once, whenever the process is killed. */
static FILE *
begin(const char *kind, ino_t inode, char path[PATH_MAX])
{
	char temporary[PATH_MAX];
	FILE *file;

	snprintf(path, PATH_MAX, "%s/%s/%llu", getenv("POWERLOSS_DISK"), kind,
	    (unsigned long long)inode);
	snprintf(temporary, sizeof(temporary), "%.4000s.new", path);
	file = fopen(temporary, "we");
	if (!file)
		die(temporary);
	return file;
}

static void
end(FILE *file, const char *path)
{
	char temporary[PATH_MAX];

	snprintf(temporary, sizeof(temporary), "%.4000s.new", path);
	if (fclose(file) != 0 || rename(temporary, path) < 0)
		die(path);
}

static void
keep_data(int fd, const struct stat *st)
{
	char path[PATH_MAX], source[64], buffer[65536];
	FILE *file = begin("data", st->st_ino, path);
	int from;
	ssize_t n;

	/* The descriptor may be for writing only. */
	snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	from = open(source, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		die(source);
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		if (fwrite(buffer, 1, (size_t)n, file) != (size_t)n)
			die(path);
	close(from);
	end(file, path);
}

static void
keep_names(const char *directory, const struct stat *st)
{
	char path[PATH_MAX];
	FILE *file = begin("names", st->st_ino, path);
	DIR *d = opendir(directory);
	struct dirent *entry;

	if (!d)
		die(directory);
	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			fprintf(file, "%llu %c %s\n", (unsigned long long)entry->d_ino,
			    entry->d_type == DT_DIR ? 'd' : 'f', entry->d_name);
	closedir(d);
	end(file, path);
}

static int
synced(int fd, int result)
{
	const char *lies = getenv("POWERLOSS_LIES");
	bool is_lie;
	int saved = errno;
	char path[PATH_MAX];
	struct stat st;

	if (result == 0 && is_watched(fd, path) && fstat(fd, &st) == 0) {
		is_lie = lies && strstr(path, "/blobs/") &&
			 strcmp(lies, S_ISDIR(st.st_mode) ? "names" : "data") == 0;
		pthread_mutex_lock(&lock);
		if (S_ISDIR(st.st_mode) && !is_lie)
			keep_names(path, &st);
		else if (S_ISREG(st.st_mode) && !is_lie)
			keep_data(fd, &st);
		pthread_mutex_unlock(&lock);
	}
	errno = saved;
	return result;
}

int
fsync(int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

	return synced(fd, real(fd));
}

int
fdatasync(int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

	return synced(fd, real(fd));
}

/* What a name is taken from stays open, so that no other file gets its number. */
static void
hold(const char *path)
{
	int saved = errno;

	(void)open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	errno = saved;
}

int
unlink(const char *path)
{
	int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");

	hold(path);
	return real(path);
}

int
rename(const char *from, const char *to)
{
	int (*real)(const char *, const char *) =
	    (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
	const char *disk = getenv("POWERLOSS_DISK");

	if (disk && strncmp(to, disk, strlen(disk)) != 0)
		hold(to);
	return real(from, to);
}
