#pragma once
/* Objects as rows, and their bytes as a row of extents. */
#include "base/arena.h"
#include "blob.h"
#include "walrus.h"

#define CONTENT_ID_SIZE 33
void content_id_new(char out[CONTENT_ID_SIZE]);

struct object { /* strings from an arena */
	struct str key;
	char *version_id, *content_id, *etag, *sha256 /* NULL: not known yet */, *account_id;
	char *headers; /* "name: value\n" each, NULL: none */
	uint64_t size_bytes;
	int64_t modified_us;
};
void object_from_row(struct store_rows *rows, struct arena *arena, struct object *ret);
/* ERR_KEY_NOT_FOUND. Inside a closure. */
int object_find(struct store_tx *tx, int64_t bucket_id, struct str key, struct arena *arena,
    struct object *ret, struct err *e);

struct contents; /* which contents are being read: their files stay */
struct contents *contents_new(void);
void contents_free(struct contents *c);
bool content_is_read(struct contents *c, const char *content_id);

struct content_reader;
/* The object as it is now, and its bytes for as long as the reader lives, whatever happens to the
 * object meanwhile. ERR_KEY_NOT_FOUND, ERR_CORRUPT. */
int content_open(struct walrus *w, int64_t bucket_id, struct str key, struct arena *arena,
    struct object *ret_object, struct content_reader **ret, struct err *e);
void content_reader_free(struct content_reader *r);
DEFINE_CLEANUP(struct content_reader *, content_reader_free)
/* As blob_reader_read. */
int content_reader_read(struct content_reader *r, uint64_t offset, uint64_t want, char **ret_buffer,
    struct str *ret_bytes, struct err *e);

/* In the closure that removes the last name of a content: its rows go, its files become garbage. */
int content_discard(struct store_tx *tx, const char *content_id, struct err *e);
