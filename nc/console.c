/* The end of a guest's console log, by descriptors that the helper opens: the log itself is root's.
 */
#include <sys/stat.h>
#include <unistd.h>
#include "nc.h"

/* At most the last `max` bytes of the file. */
static size_t
read_tail(int fd, char *out, size_t max)
{
	struct stat st;
	off_t from;
	size_t done = 0;

	if (fstat(fd, &st) < 0)
		return 0;
	from = (uint64_t)st.st_size > max ? st.st_size - (off_t)max : 0;
	while (done < max) {
		ssize_t n = pread(fd, out + done, max - done, from + (off_t)done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

int
nc_console_read(
    struct nc *nc, const char *instance_id, struct arena *arena, struct str *ret, struct err *e)
{
	_cleanup_helper_reply_ struct helper_reply reply = { 0 };
	struct helper_guest_ref ref = { 0 };
	char *all = arena_alloc(arena, 2 * NC_CONSOLE_MAX);
	size_t n = 0, skip;
	int r;

	*ret = (struct str){ all, 0 };
	memcpy(ref.instance_id, instance_id, strnlen(instance_id, sizeof(ref.instance_id) - 1));
	r = helper_call(nc->helper, HELPER_CONSOLE, &ref, sizeof(ref), 10000, &reply, e);
	if (r == ERR_NOT_FOUND) { /* it never ran */
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < reply.fd_count && i < 2; i++)
		n += read_tail(reply.fds[i], all + n, NC_CONSOLE_MAX);
	skip = n > NC_CONSOLE_MAX ? n - NC_CONSOLE_MAX : 0;
	/* The helper punched a hole in front of what it kept. */
	while (skip < n && all[skip] == 0)
		skip++;
	*ret = (struct str){ all + skip, n - skip };
	return 0;
}
