/* Descriptors: closed on every path, read and written whole, passed over unix sockets. */
#include "run/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX 4

void
fd_close(int fd)
{
	int saved_errno = errno;

	if (fd >= 0)
		(void)close(fd); /* on Linux the descriptor is gone whatever close says */
	errno = saved_errno;
}

void
fd_closep(int *fd)
{
	fd_close(*fd);
}

int
fd_write_all(int fd, const void *p, size_t n, struct err *e)
{
	const char *next = p;

	while (n > 0) {
		ssize_t done = write(fd, next, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_set_errno(e, errno, "cannot write");
		next += done;
		n -= (size_t)done;
	}
	return 0;
}

int
fd_read_all(int fd, void *p, size_t n, struct err *e)
{
	char *next = p;

	while (n > 0) {
		ssize_t done = read(fd, next, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_set_errno(e, errno, "cannot read");
		if (done == 0)
			return err_set(e, ERR_CORRUPT, "ends %zu bytes early", n);
		next += done;
		n -= (size_t)done;
	}
	return 0;
}

int
fd_set_nonblocking(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -1;
	return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
};

static void
attach_fds(struct msghdr *message, union control *control, const int *fds, size_t fd_count)
{
	struct cmsghdr *c;

	if (fd_count == 0)
		return;
	memset(control, 0, sizeof(*control));
	message->msg_control = control->bytes;
	message->msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
	c = CMSG_FIRSTHDR(message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
}

int
fd_send_with_fds(
    int socket, const void *p, size_t n, const int *fds, size_t fd_count, struct err *e)
{
	union control control;
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	assert(fd_count <= FDS_MAX && n > 0);
	attach_fds(&message, &control, fds, fd_count);
	while (iov.iov_len > 0) {
		ssize_t done = sendmsg(socket, &message, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_set_errno(e, errno, "cannot send on the socket");
		iov.iov_base = (char *)iov.iov_base + done; /* a stream may take part of it */
		iov.iov_len -= (size_t)done;
		message.msg_control = NULL;
		message.msg_controllen = 0;
	}
	return 0;
}

/* Takes the descriptors of a message: the first `max` into fds, any more are closed. */
static size_t
detach_fds(struct msghdr *message, int *fds, size_t max)
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (count < max)
				fds[count++] = fd;
			else
				fd_close(fd);
		}
	}
	return count;
}

ssize_t
fd_receive_with_fds(int socket, void *p, size_t n, int *ret_fds, size_t *io_fd_count, struct err *e)
{
	union control control;
	struct iovec iov = { p, n };
	struct msghdr message = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	size_t count;
	ssize_t got;

	do {
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_set_errno(e, errno, "cannot receive from the socket");
	count = detach_fds(&message, ret_fds, io_fd_count ? *io_fd_count : 0);
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (count > 0)
			fd_close(ret_fds[--count]);
		return err_set(e, ERR_LIMIT, "message on the socket is longer than %zu bytes", n);
	}
	if (io_fd_count)
		*io_fd_count = count;
	return got;
}
