#pragma once
/* Objects as rows, and their bytes as a row of extents. */
#include "base/arena.h"
#include "blob.h"
#include "walrus.h"

#define CONTENT_ID_SIZE 33
#define VERSION_ID_SIZE 33
#define VERSION_NULL "null" /* of objects written while the bucket was not versioned */
void content_id_new(char out[CONTENT_ID_SIZE]);

enum legal_hold { HOLD_NEVER, HOLD_ON, HOLD_OFF /* again */ };
/* What a client says about an object beside its bytes; an upload keeps it until it is one. Each
 * text as its module reads and writes it (migrations.def); NULL: none. */
struct object_attributes {
	char *headers; /* "name: value\n" each */
	char *acl, *tags, *checksum, *storage_class, *lock_mode, *encryption;
	int64_t lock_until_us;
	enum legal_hold hold;
};
#define ATTRIBUTE_COUNT 9 /* columns, in the order of ATTRIBUTE_COLUMNS */
/* Without headers, ACL and tags, which may have 100 KiB and more each row. */
void attributes_of_list(struct store_rows *rows, struct arena *arena, struct object_attributes *ret);
void attributes_add_rest(struct store_rows *rows, struct arena *arena, struct object_attributes *ret);
/* As arguments of a statement. */
#define ATTRIBUTE_VALUES(a)                                                                        \
	(a)->headers, (a)->acl, (a)->tags, (a)->checksum, (a)->storage_class, (a)->lock_mode,      \
	    (a)->lock_until_us, (int64_t)(a)->hold, (a)->encryption

struct object { /* one version; strings from an arena */
	struct object_attributes attributes;
	struct str key;
	char *version_id, *content_id /* NULL: a delete marker */, *etag;
	char *sha256; /* NULL: not known yet */
	char *account_id;
	int64_t position; /* falls with every version of a key */
	bool is_current, is_marker;
	uint64_t size_bytes;
	int64_t modified_us;
};
void object_from_row(struct store_rows *rows, struct arena *arena, struct object *ret);
/* With attributes_of_list. */
void object_of_list(struct store_rows *rows, struct arena *arena, struct object *ret);

/* Which version of a key is meant. */
struct object_name {
	int64_t bucket_id;
	struct str key;
	const char *version_id; /* NULL: the current one */
	const char *content_id; /* NULL, or that version, if there still is one, that has this content */
};
/* Inside a closure. ERR_KEY_NOT_FOUND, ERR_VERSION_NOT_FOUND. A delete marker is found as well. */
int object_find(struct store_tx *tx, const struct object_name *name, struct arena *arena,
    struct object *ret, struct err *e);

struct contents; /* which contents are being read: their files stay */
struct contents *contents_new(void);
void contents_free(struct contents *c);
bool content_is_read(struct contents *c, const char *content_id);

/* A run of an object's bytes: one part of its upload, or all. */
struct extent {
	uint64_t start, end;
	uint32_t part_number; /* 0: no part */
	char *checksum, *iv;  /* NULL, or from the reader's arena */
	struct blob blob;
};

struct content_reader;
/* The object as it is now, and its bytes for as long as the reader lives, whatever happens to the
 * object meanwhile; of a delete marker no bytes. ERR_KEY_NOT_FOUND, ERR_VERSION_NOT_FOUND,
 * ERR_CORRUPT. */
int content_open(struct walrus *w, const struct object_name *name, struct arena *arena,
    struct object *ret_object, struct content_reader **ret, struct err *e);
/* The same of one that is in memory already; takes the count. */
struct hot_object;
int content_open_hot(struct walrus *w, struct hot_object *hot, struct arena *arena,
    struct object *ret_object, struct content_reader **ret, struct err *e);
void content_reader_free(struct content_reader *r);
DEFINE_CLEANUP(struct content_reader *, content_reader_free)
/* Whether it can be read, by the client's key where walrus has none: as encryption_key. Reading does it by
 * itself for what needs none (NULL). */
int content_reader_unlock(struct content_reader *r, const uint8_t *customer_key, struct err *e);
/* As blob_reader_read; decrypted. ERR_ENCRYPTED_BY_CUSTOMER. */
int content_reader_read(struct content_reader *r, uint64_t offset, uint64_t want, char **ret_buffer,
    struct str *ret_bytes, struct err *e);
/* As blob_reader_lend; of what is encrypted nothing, and with LEND_CACHED nothing of a file that is not open. */
int content_reader_lend(struct content_reader *r, uint64_t offset, uint64_t want, enum blob_lend lend,
    struct page_pipe *pipe, size_t *ret_bytes, struct err *e);
const struct extent *content_reader_extents(const struct content_reader *r, size_t *ret_count);
/* All bytes from `offset` on, `count` of them, in order, each checked: to fn. */
int content_reader_each(struct content_reader *r, uint64_t offset, uint64_t count,
    int (*fn)(void *arg, struct str bytes, struct err *e), void *arg, struct err *e);

/* In a closure: the bytes of `content_id` from `start_bytes` on are this blob's; iv as encryption.h
 * has it, or NULL. An empty blob adds nothing. */
int content_add(struct store_tx *tx, const char *content_id, uint64_t start_bytes,
    const struct blob *blob, const char *iv, struct err *e);
/* In the closure that gives one more object this content. */
int content_share(struct store_tx *tx, const char *content_id, struct err *e);
/* In the closure that removes a name of a content: with the last one its rows go, and its files
 * become garbage. NULL is fine. */
int content_discard(struct store_tx *tx, const char *content_id, struct err *e);
