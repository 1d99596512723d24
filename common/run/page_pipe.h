#pragma once
/* Bytes of a file on their way to a socket without being copied: a pipe that holds the very pages of the
 * kernel's cache (splice(2)). While it does they stay the file's pages, so what is read of the file after
 * the fill is what the socket will get, whatever the disk would say now. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_PIPE_BYTES (1024 * 1024) /* what an unprivileged process may have (pipe-max-size) */

struct page_pipe;
/* Any thread. Few exist, because the kernel gives each user 64 MiB of them: NULL when none is to be had,
 * and the bytes are copied instead. */
struct page_pipe *page_pipe_take(void);
/* Holds n bytes, at most PAGE_PIPE_BYTES, of the file from the start of a page on. False when not all could
 * be had, as after an I/O error; nothing but put may follow. Blocks for the disk. */
bool page_pipe_fill(struct page_pipe *p, int file, uint64_t offset, size_t n);
int page_pipe_descriptor(const struct page_pipe *p); /* to splice from; borrowed */
/* The caller has spliced so much of it. */
void page_pipe_drained(struct page_pipe *p, size_t n);
void page_pipe_put(struct page_pipe *p); /* lets the pages go; NULL is fine */
