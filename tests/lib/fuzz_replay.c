/* Stands in for libFuzzer in ordinary builds: feeds every file of the corpus directories named as
 * arguments to the fuzz target, and the empty input, and says so in TAP. A target that finds
 * something wrong aborts, which the runner counts as a failure. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
replay(const char *name, const uint8_t *data, size_t n, unsigned *count)
{
	(void)LLVMFuzzerTestOneInput(data, n);
	printf("ok %u - %s\n", ++*count, name);
	fflush(stdout);
}

static void
replay_file(const char *path, unsigned *count)
{
	FILE *f = fopen(path, "rb");
	size_t n = 0, size = 1 << 16, got;
	_cleanup_free_ char *data = xmalloc(size);

	if (!f) {
		printf("not ok %u - %s: cannot open\n", ++*count, path);
		return;
	}
	while ((got = fread(data + n, 1, size - n, f)) > 0) {
		n += got;
		if (n == size)
			data = xrealloc(data, size *= 2);
	}
	fclose(f);
	/* An exact copy, so that a sanitizer sees the first byte read past the end. */
	_cleanup_free_ void *exact = n ? xmemdup(data, n) : xmalloc(1);
	replay(path, exact, n, count);
}

static void
replay_directory(const char *path, unsigned *count)
{
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			_cleanup_free_ char *file = xasprintf("%s/%s", path, entries[i]->d_name);
			replay_file(file, count);
		}
		free(entries[i]);
	}
	free(entries);
}

int
main(int argc, char **argv)
{
	unsigned count = 0;

	replay("empty input", (const uint8_t *)"", 0, &count);
	for (int i = 1; i < argc; i++)
		replay_directory(argv[i], &count);
	printf("1..%u\n", count);
	return 0;
}
