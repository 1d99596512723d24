/* Where listening sockets come from. Inherited descriptors are checked to be what they should be
 * before anyone accepts on them: the numbers come from an environment variable. */
#include "run/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "run/fd.h"

#define FIRST_FD 3
#define INHERITED_MAX 64

static int
check_inherited(int fd, struct err *e)
{
	int listening = 0;
	socklen_t n = sizeof(listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 || !listening)
		return err_set(e, ERR_INVALID,
		    "descriptor %d of socket activation is not a listening socket", fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fd_set_nonblocking(fd, true) < 0)
		return err_set_errno(e, errno, "cannot set up descriptor %d", fd);
	return 0;
}

static int
adopt(struct inherited_list *list, uint32_t count, struct str names, struct err *e)
{
	for (uint32_t i = 0; i < count; i++) {
		struct str name = STR("");
		int fd = FIRST_FD + (int)i;
		int r = check_inherited(fd, e);

		if (r < 0)
			return r;
		if (names.p)
			(void)str_split(&names, ':', &name);
		vec_add(&list->sockets, ((struct inherited){ str_dup(name), fd }));
	}
	return 0;
}

int
sockets_inherit(struct inherited_list *list, struct err *e)
{
	const char *pid_text = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	uint32_t pid, count;
	int r = 0;

	if (!count_text)
		return 0;
	/* Meant for another process that passed its environment on: not ours. */
	if (pid_text && str_to_u32(str_of(pid_text), &pid) && pid == (uint32_t)getpid()) {
		if (!str_to_u32(str_of(count_text), &count) || count > INHERITED_MAX)
			return err_set(e, ERR_INVALID, "LISTEN_FDS is '%s'", count_text);
		r = adopt(list, count, names ? str_of(names) : (struct str){ NULL, 0 }, e);
	}
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	return r;
}

void
sockets_inherit_done(struct inherited_list *list)
{
	VEC_FOREACH (&list->sockets, s) {
		fd_close(s->fd);
		free(s->name);
	}
	vec_done(&list->sockets);
}

/* A socket of any family as bind() takes it. */
struct endpoint {
	socklen_t n;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un unix_path;
	};
};

static bool
parse_unix(struct str path, struct endpoint *ret)
{
	if (path.n == 0 || path.n >= sizeof(ret->unix_path.sun_path) || path.p[0] != '/')
		return false;
	ret->unix_path.sun_family = AF_UNIX;
	memcpy(ret->unix_path.sun_path, path.p, path.n);
	ret->n = sizeof(ret->unix_path);
	return true;
}

static bool
parse_ip(struct str host, uint16_t port, struct endpoint *ret)
{
	_cleanup_free_ char *text = NULL;

	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
		text = str_dup((struct str){ host.p + 1, host.n - 2 });
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		ret->n = sizeof(ret->v6);
		return inet_pton(AF_INET6, text, &ret->v6.sin6_addr) == 1;
	}
	text = str_dup(host);
	ret->v4.sin_family = AF_INET;
	ret->v4.sin_port = htons(port);
	ret->n = sizeof(ret->v4);
	return inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1;
}

static bool
parse_endpoint(struct str address, struct endpoint *ret)
{
	const char *colon = address.n ? memrchr(address.p, ':', address.n) : NULL;
	uint16_t port;

	memset(ret, 0, sizeof(*ret));
	if (str_starts(address, "unix:"))
		return parse_unix((struct str){ address.p + 5, address.n - 5 }, ret);
	if (!colon)
		return false;
	return str_to_u16(
		   (struct str){ colon + 1, address.n - (size_t)(colon + 1 - address.p) }, &port) &&
	       parse_ip((struct str){ address.p, (size_t)(colon - address.p) }, port, ret);
}

/* Nobody accepts on it any more: its process has died. */
static bool
is_stale(const struct endpoint *at)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && connect(fd, &at->any, at->n) < 0 && errno == ECONNREFUSED;
}

static int
open_socket(const struct endpoint *at)
{
	int one = 1, zero = 0;
	int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (at->any.sa_family != AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (at->any.sa_family == AF_INET6) /* [::] is every address, of both families */
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	return fd;
}

/* [::] on a kernel without IPv6 means all there is. */
static void
fall_back_to_v4(struct endpoint *at)
{
	struct endpoint v4 = { .n = sizeof(v4.v4) };

	if (at->any.sa_family != AF_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&at->v6.sin6_addr))
		return;
	v4.v4.sin_family = AF_INET;
	v4.v4.sin_port = at->v6.sin6_port;
	*at = v4;
}

int
socket_listen(struct str address, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct endpoint at;
	int length = (int)address.n;

	if (!parse_endpoint(address, &at))
		return err_set(e, ERR_INVALID,
		    "'%.*s' is not ADDRESS:PORT, [ADDRESS]:PORT or unix:/PATH", length, address.p);
	fd = open_socket(&at);
	if (fd < 0 && errno == EAFNOSUPPORT) {
		fall_back_to_v4(&at);
		fd = open_socket(&at);
	}
	if (fd < 0)
		return err_set_errno(e, errno, "cannot listen on '%.*s'", length, address.p);
	if (at.any.sa_family == AF_UNIX && is_stale(&at))
		(void)unlink(at.unix_path.sun_path);
	if (bind(fd, &at.any, at.n) < 0 || listen(fd, SOMAXCONN) < 0) {
		if (errno == EADDRINUSE)
			return err_set(e, ERR_EXISTS, "cannot listen on '%.*s': address in use",
			    length, address.p);
		return err_set_errno(e, errno, "cannot listen on '%.*s'", length, address.p);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}
