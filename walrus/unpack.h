#pragma once
/* The bytes of an image out of those that hold it: decrypted, decompressed, taken out of their tar archive.
 * A pipeline on the caller's thread, of bounded memory whatever passes through it. */
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

#define UNPACK_KEY_BYTES 16

struct unpack {
	/* The next piece, valid until the next call; n 0: the end. Called until the end, so that it may check
	 * what it reads as a whole. */
	int (*read)(void *arg, struct str *ret, struct err *e);
	int (*write)(void *arg, struct str bytes, struct err *e);
	void *arg;
	struct str key, iv; /* of AES-128-CBC; n 0: not encrypted */
	bool is_archive;    /* a gzipped tar archive that holds one file, and nothing else */
	const char *archive_sha1; /* hex, of the tar archive; NULL: any */
	uint64_t file_bytes;      /* 0: any */
	uint64_t bytes_max;       /* of what comes out, and of the archive but for its padding */
};
/* INVALID: the bytes are not what they are said to be, in one sentence. Else what read and write say. */
int unpack_run(const struct unpack *u, struct err *e);
