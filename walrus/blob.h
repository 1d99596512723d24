#pragma once
/* Bytes that never change: small ones in memory (their row holds them), larger ones in files named by
 * random ids, DIRECTORY/ab/cd/abcd.... A file is data, then one CRC-32C per block, then a trailer; whoever
 * refers to it keeps the sum of that table, so that neither a flipped bit nor a swapped file goes
 * unnoticed. A file is there, whole and durable, before any row names it. */
#include <stdbool.h>
#include "base/err.h"
#include "base/strbuf.h"

#define BLOB_ID_SIZE 33
#define BLOB_BLOCK (1024 * 1024)
#define BLOB_INLINE_MAX (64 * 1024)

struct blobs;
int blobs_open(const char *directory, struct blobs **ret, struct err *e);
void blobs_free(struct blobs *b);
/* Asked before a file is begun, and again after each 256 KiB of it: may it take `bytes` more? */
void blobs_set_admission(
    struct blobs *b, int (*fn)(void *arg, uint64_t bytes, struct err *e), void *arg);
DEFINE_CLEANUP(struct blobs *, blobs_free)

struct blob {
	char id[BLOB_ID_SIZE]; /* "": the bytes are in `data` */
	struct str data;       /* borrowed */
	uint64_t size_bytes;
	uint32_t crc32c;
};

/* -- writing -- */
struct blob_writer;
struct blob_writer *blob_writer_new(struct blobs *b);
int blob_writer_add(struct blob_writer *w, struct str bytes, struct err *e);
/* After the last byte: durable at return. ret->data is borrowed from the writer. */
int blob_writer_finish(struct blob_writer *w, struct blob *ret, struct err *e);
void blob_writer_keep(struct blob_writer *w); /* a row names it now */
void blob_writer_free(struct blob_writer *w); /* removes what is not kept */
DEFINE_CLEANUP(struct blob_writer *, blob_writer_free)

/* -- reading -- */
struct blob_reader;
/* ERR_NOT_FOUND, ERR_CORRUPT when size or table are not what `blob` says. Copies blob->data. */
int blob_reader_new(struct blobs *b, const struct blob *blob, struct blob_reader **ret, struct err *e);
void blob_reader_free(struct blob_reader *r);
DEFINE_CLEANUP(struct blob_reader *, blob_reader_free)
/* Bytes from `offset` to the end of their block, or `want` of them: into *ret_buffer (heap, at most
 * BLOB_BLOCK), of which *ret_bytes is the span asked for. The block was checked: ERR_CORRUPT. */
int blob_reader_read(struct blob_reader *r, uint64_t offset, uint64_t want, char **ret_buffer,
    struct str *ret_bytes, struct err *e);
/* The same without a copy: *ret_bytes of the file's own pages are in `pipe`, checked there. 0 of them when it
 * has to be read: a small blob, part of a block, an error of the disk, which reading will name; with LEND_CACHED
 * also when the disk would have to be waited for. */
struct page_pipe;
enum blob_lend { LEND_ANY, LEND_CACHED };
int blob_reader_lend(struct blob_reader *r, uint64_t offset, uint64_t want, enum blob_lend lend,
    struct page_pipe *pipe, size_t *ret_bytes, struct err *e);
/* As free, which would do; but the next block is read into it while it is warm. */
void blob_buffer_free(void *buffer);

/* What it will read comes from the disk, not from memory. */
void blob_reader_forget_cached(struct blob_reader *r);

/* -- sweeping -- */
/* ERR_NOT_FOUND. */
int blobs_size(struct blobs *b, const char *id, uint64_t *ret_bytes, struct err *e);
int blobs_remove(struct blobs *b, const char *id, struct err *e); /* absent is fine */
/* Calls fn for each file of one of 256 directories, but not for those being written. */
int blobs_visit(struct blobs *b, unsigned directory, int (*fn)(void *arg, const char *id, struct err *e),
    void *arg, struct err *e);
bool blob_id_is_valid(const char *id);
