#pragma once
/* Descriptors are owned like memory. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "base/err.h"

void fd_close(int fd); /* keeps errno; ignores negative */
void fd_closep(int *fd);
#define _cleanup_close_ _cleanup_(fd_closep)
int fd_write_all(int fd, const void *p, size_t n, struct err *e);
int fd_read_all(int fd, void *p, size_t n, struct err *e); /* ERR_CORRUPT on early end */
int fd_set_nonblocking(int fd, bool on);
/* Whole datagrams over a SOCK_SEQPACKET or SOCK_STREAM unix socket, with at most 4 descriptors. */
int fd_send_with_fds(int socket, const void *p, size_t n, const int *fds, size_t fd_count,
    struct err *e);
ssize_t fd_receive_with_fds(int socket, void *p, size_t n, int *ret_fds, size_t *io_fd_count,
    struct err *e);
