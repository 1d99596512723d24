/* The sd_notify protocol: one datagram per message to the socket named in NOTIFY_SOCKET, which is a
 * path or, with a leading @, an abstract name. */
#include "run/notify.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "run/fd.h"

void
notify_send(const char *state)
{
	_cleanup_close_ int fd = -1;
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;

	if (n < 2 || n >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* An abstract name ends with the address' length, so that must be exact. */
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

uint32_t
notify_watchdog_ms(void)
{
	const char *us_text = getenv("WATCHDOG_USEC"), *pid_text = getenv("WATCHDOG_PID");
	uint64_t us, pid;

	if (!us_text || !str_to_u64(str_of(us_text), &us))
		return 0;
	if (pid_text && (!str_to_u64(str_of(pid_text), &pid) || pid != (uint64_t)getpid()))
		return 0;
	return us / 2000 < UINT32_MAX ? (uint32_t)(us / 2000) : UINT32_MAX;
}
