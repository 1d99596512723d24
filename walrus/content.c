/* Reading objects while they may be overwritten. Files are unlinked in the background after the
 * rows that named them went; a reader of several files pins its content, then looks whether the
 * object still has it: if so, its removal is committed later than the pin, and the sweep sees the
 * pin. A reader of one file just opens it, and starts anew when it came too late. */
#include "content.h"

#include <endian.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/map.h"
#include "base/vec.h"
#include "encryption.h"
#include "hot.h"
#include "run/lock.h"
#include "schema.h"
#include "version.h"

#define TRIES_MAX 20

/* What is made together lies together in an index, so that a commit of many writes few pages. */
void
content_id_new(char out[CONTENT_ID_SIZE])
{
	uint64_t ms = htobe64((uint64_t)clock_now_us() / 1000 << 16);
	uint8_t bytes[16];

	random_bytes(bytes, sizeof(bytes));
	memcpy(bytes, &ms, 6);
	hex_encode(bytes, sizeof(bytes), out);
}

/* -- rows -- */

static struct str
arena_bytes(struct arena *arena, struct str s)
{
	char *copy = arena_alloc(arena, s.n + 1);

	if (s.n)
		memcpy(copy, s.p, s.n);
	return (struct str){ copy, s.n };
}

void
attributes_of_list(struct store_rows *rows, struct arena *arena, struct object_attributes *ret)
{
	*ret = (struct object_attributes){ .checksum = arena_strdup(arena, store_text(rows, 3)),
		.storage_class = arena_strdup(arena, store_text(rows, 4)),
		.lock_mode = arena_strdup(arena, store_text(rows, 5)),
		.lock_until_us = store_int(rows, 6),
		.hold = (enum legal_hold)store_int(rows, 7),
		.encryption = arena_strdup(arena, store_text(rows, 8)) };
}

void
attributes_add_rest(struct store_rows *rows, struct arena *arena, struct object_attributes *ret)
{
	ret->headers = arena_strdup(arena, store_text(rows, 0));
	ret->acl = arena_strdup(arena, store_text(rows, 1));
	ret->tags = arena_strdup(arena, store_text(rows, 2));
}

void
object_of_list(struct store_rows *rows, struct arena *arena, struct object *ret)
{
	const unsigned at = ATTRIBUTE_COUNT;

	*ret = (struct object){ .key = arena_bytes(arena, store_blob(rows, at)),
		.version_id = arena_strdup(arena, store_text(rows, at + 1)),
		.position = store_int(rows, at + 2),
		.is_current = store_int(rows, at + 3),
		.is_marker = store_int(rows, at + 4),
		.content_id = arena_strdup(arena, store_text(rows, at + 5)),
		.size_bytes = (uint64_t)store_int(rows, at + 6),
		.etag = arena_strdup(arena, store_text(rows, at + 7)),
		.sha256 = arena_strdup(arena, store_text(rows, at + 8)),
		.modified_us = store_int(rows, at + 9),
		.account_id = arena_strdup(arena, store_text(rows, at + 10)) };
	attributes_of_list(rows, arena, &ret->attributes);
}

void
object_from_row(struct store_rows *rows, struct arena *arena, struct object *ret)
{
	object_of_list(rows, arena, ret);
	attributes_add_rest(rows, arena, &ret->attributes);
}

static int
query_object(
    struct store_tx *tx, const struct object_name *n, struct store_rows **ret, struct err *e)
{
	int64_t position;

	if (n->content_id)
		return store_query(
		    tx, Q_OBJECT_BY_CONTENT, ret, e, n->bucket_id, n->key, n->content_id);
	if (n->version_id && version_id_position(n->version_id, &position))
		return store_query(
		    tx, Q_OBJECT_BY_VERSION, ret, e, n->bucket_id, n->key, position, n->version_id);
	return store_query(tx, Q_OBJECT_CURRENT, ret, e, n->bucket_id, n->key);
}

/* The null version is the newest, or one of few that are not: those have an index. */
static int
find_null(struct store_tx *tx, const struct object_name *name, struct arena *arena,
    struct object *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_OBJECT_NULL_BEHIND, &rows, e, name->bucket_id, name->key);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		object_from_row(rows, arena, ret);
	return r;
}

int
object_find(struct store_tx *tx, const struct object_name *name, struct arena *arena,
    struct object *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = query_object(tx, name, &rows, e);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		object_from_row(rows, arena, ret);
	if (r > 0 && name->version_id && !strings_equal(ret->version_id, name->version_id)) {
		store_rows_free(TAKE(rows));
		r = strings_equal(name->version_id, VERSION_NULL)
			? find_null(tx, name, arena, ret, e)
			: 0;
	}
	if (r < 0)
		return r;
	if (r == 0 && name->version_id)
		return err_set(e, ERR_VERSION_NOT_FOUND, "The specified version does not exist.");
	if (r == 0)
		return err_set(e, ERR_KEY_NOT_FOUND, "The specified key does not exist.");
	return 0;
}

/* -- names of contents -- */

int
content_add(struct store_tx *tx, const char *content_id, uint64_t start_bytes,
    const struct blob *blob, const char *iv, struct err *e)
{
	bool is_file = blob->id[0];

	if (blob->size_bytes == 0)
		return 0;
	return store_exec(tx, Q_EXTENT_INSERT, NULL, e, content_id,
	    (int64_t)(start_bytes + blob->size_bytes), (int64_t)start_bytes,
	    is_file ? blob->id : NULL, (int64_t)blob->crc32c,
	    is_file ? (struct str){ NULL, 0 } : blob->data, iv);
}

int
content_share(struct store_tx *tx, const char *content_id, struct err *e)
{
	return store_exec(tx, Q_CONTENT_SHARE, NULL, e, content_id);
}

int
content_discard(struct store_tx *tx, const char *content_id, struct err *e)
{
	int64_t changed = 0;
	int r;

	if (!content_id)
		return 0;
	r = store_exec(tx, Q_CONTENT_UNSHARE, &changed, e, content_id);
	if (r < 0 || changed > 0)
		return r; /* others have it still */
	r = store_exec(tx, Q_CONTENT_SHARE_DELETE, NULL, e, content_id);
	if (r == 0)
		r = store_exec(tx, Q_GARBAGE_ADD_EXTENTS, NULL, e, content_id, store_now_us(tx));
	if (r == 0)
		r = store_exec(tx, Q_EXTENTS_DELETE, NULL, e, content_id);
	if (r == 0)
		r = store_exec(tx, Q_DIGEST_DUE_DELETE, NULL, e, content_id);
	return r;
}

/* -- pins -- */

struct contents {
	struct lock lock;
	struct map *pins; /* under lock: counts, as pointers */
};

struct contents *
contents_new(void)
{
	struct contents *c = xcalloc(1, sizeof(*c));

	lock_init(&c->lock, LOCK_CACHE);
	c->pins = map_new(NULL);
	return c;
}

void
contents_free(struct contents *c)
{
	if (!c)
		return;
	map_free(c->pins);
	lock_done(&c->lock);
	free(c);
}

static void
pin(struct contents *c, const char *content_id, intptr_t change)
{
	intptr_t count;

	LOCK_SCOPE(&c->lock);
	count = (intptr_t)map_find(c->pins, content_id) + change;
	if (count)
		map_set(c->pins, content_id, (void *)count);
	else
		(void)map_remove(c->pins, content_id);
}

bool
content_is_read(struct contents *c, const char *content_id)
{
	LOCK_SCOPE(&c->lock);
	return map_find(c->pins, content_id) != NULL;
}

/* -- reading -- */

struct content_reader {
	struct walrus *walrus;
	struct arena *arena; /* of the object and the extents' texts */
	VEC(struct extent) extents;
	size_t at; /* extent that is open */
	struct blob_reader *open;
	struct strbuf inlined;  /* bytes of all extents that have no file */
	struct hot_object *hot; /* NULL, or what has the bytes */
	char pinned[CONTENT_ID_SIZE];
	const char *encryption; /* of the object */
	struct cipher *cipher;  /* NULL: not needed, or not yet */
};

struct lookup {
	const struct object_name *name;
	struct arena *arena;
	struct object *object;
	struct content_reader *reader;
};

static int
add_extent(struct content_reader *r, struct store_rows *rows, uint64_t *io_end, struct err *e)
{
	struct extent x = { .start = (uint64_t)store_int(rows, 0),
		.end = (uint64_t)store_int(rows, 1),
		.part_number = (uint32_t)store_int(rows, 5),
		.checksum = arena_strdup(r->arena, store_text(rows, 6)),
		.iv = arena_strdup(r->arena, store_text(rows, 7)) };
	const char *id = store_text(rows, 2);

	if (x.start != *io_end || x.end <= x.start || (id && !blob_id_is_valid(id)))
		return err_set(e, ERR_CORRUPT, "the extents of an object do not fit together");
	*io_end = x.end;
	x.blob.size_bytes = x.end - x.start;
	x.blob.crc32c = (uint32_t)store_int(rows, 3);
	if (id) {
		memcpy(x.blob.id, id, BLOB_ID_SIZE);
	} else {
		struct str data = store_blob(rows, 4);

		/* The buffer may still move: the place is noted as an offset. */
		x.blob.data = (struct str){ (const char *)(uintptr_t)r->inlined.n, data.n };
		strbuf_addstr(&r->inlined, data);
	}
	vec_add(&r->extents, x);
	return 0;
}

static int
read_object(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;
	struct content_reader *reader = l->reader;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	uint64_t end = 0;
	int r = object_find(tx, l->name, l->arena, l->object, e);

	reader->extents.count = 0;
	strbuf_reset(&reader->inlined);
	if (r == 0 && l->object->content_id)
		r = store_query(tx, Q_EXTENTS, &rows, e, l->object->content_id);
	while (r >= 0 && rows && (r = store_next(rows, e)) > 0)
		r = add_extent(reader, rows, &end, e);
	if (r < 0)
		return r;
	if (end != l->object->size_bytes)
		return err_set(e, ERR_CORRUPT, "an object has another size than its extents");
	VEC_FOREACH (&reader->extents, x)
		if (!x->blob.id[0])
			x->blob.data.p = strbuf_c(&reader->inlined) + (uintptr_t)x->blob.data.p;
	return 0;
}

/* Whether that version has still this content. */
static int
check_content(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;
	struct object_name name = *l->name;
	struct object now;
	int r;

	name.content_id = l->object->content_id;
	r = object_find(tx, &name, l->arena, &now, e);
	return r == ERR_KEY_NOT_FOUND ? err_set(e, ERR_STALE, "the object was replaced") : r;
}

static int
open_extent(struct content_reader *r, size_t at, struct err *e)
{
	blob_reader_free(TAKE(r->open));
	r->at = at;
	return blob_reader_new(r->walrus->blobs, &r->extents.items[at].blob, &r->open, e);
}

/* One try; ERR_STALE, ERR_NOT_FOUND when the object changed in between. */
static int
try_open(struct lookup *l, struct err *e)
{
	struct content_reader *reader = l->reader;
	int r = store_read(reader->walrus->store, read_object, l, e);

	if (r < 0 || reader->extents.count == 0)
		return r;
	if (reader->extents.count > 1) {
		memcpy(reader->pinned, l->object->content_id, sizeof(reader->pinned));
		pin(reader->walrus->contents, reader->pinned, 1);
		r = store_read(reader->walrus->store, check_content, l, e);
	}
	return r < 0 ? r : open_extent(reader, 0, e);
}

/* Strings live as long as the request, which may be longer than the entry. */
static void
copy_object(const struct object *from, struct arena *arena, struct object *ret)
{
	struct object_attributes *a = &ret->attributes;
	char **const texts[] = { &a->headers, &a->acl, &a->tags, &a->checksum, &a->storage_class,
		&a->lock_mode, &a->encryption, &ret->version_id, &ret->content_id, &ret->etag,
		&ret->sha256, &ret->account_id };

	*ret = *from;
	ret->key = arena_bytes(arena, from->key);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		*texts[i] = arena_strdup(arena, *texts[i]);
}

int
content_open_hot(struct walrus *w, struct hot_object *hot, struct arena *arena,
    struct object *ret_object, struct content_reader **ret, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = xcalloc(1, sizeof(*reader));
	int r = 0;

	reader->walrus = w;
	reader->arena = arena;
	reader->hot = hot;
	copy_object(&hot->object, arena, ret_object);
	if (hot->extent.end > 0) {
		struct extent x = hot->extent;

		x.checksum = arena_strdup(arena, x.checksum);
		vec_add(&reader->extents, x);
		r = open_extent(reader, 0, e);
	}
	if (r == 0)
		*ret = TAKE(reader);
	return r;
}

int
content_open(struct walrus *w, const struct object_name *name, struct arena *arena,
    struct object *ret_object, struct content_reader **ret, struct err *e)
{
	bool is_current = !name->version_id && !name->content_id;
	struct hot_object *hot = is_current ? hot_find(w->hot, name->bucket_id, name->key) : NULL;
	struct hot_ticket ticket;
	int r = 0;

	if (hot)
		return content_open_hot(w, hot, arena, ret_object, ret, e);
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		_cleanup_(content_reader_freep) struct content_reader *reader =
		    xcalloc(1, sizeof(*reader));
		struct lookup l = { name, arena, ret_object, reader };

		reader->walrus = w;
		reader->arena = arena;
		ticket = hot_ticket(w->hot, name->bucket_id, name->key);
		r = try_open(&l, e);
		if (r == 0) {
			reader->encryption = ret_object->attributes.encryption;
			if (is_current)
				hot_offer(w->hot, ticket, name->bucket_id, ret_object,
				    reader->extents.items, reader->extents.count);
			*ret = TAKE(reader);
			return 0;
		}
		if (r != ERR_STALE && r != ERR_NOT_FOUND)
			return r;
	}
	/* Replaced that often, or a file is missing. */
	return err_set(e, ERR_CORRUPT, "the bytes of an object are missing");
}

void
content_reader_free(struct content_reader *r)
{
	if (!r)
		return;
	if (r->pinned[0]) {
		pin(r->walrus->contents, r->pinned, -1);
		reconciler_poke(r->walrus->garbage);
	}
	blob_reader_free(r->open);
	cipher_free(r->cipher);
	hot_unref(r->hot);
	strbuf_done(&r->inlined);
	vec_done(&r->extents);
	free(r);
}

static size_t
extent_at(const struct content_reader *r, uint64_t offset)
{
	size_t low = 0, high = r->extents.count - 1;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (r->extents.items[middle].end <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int
content_reader_unlock(struct content_reader *r, const uint8_t *customer_key, struct err *e)
{
	uint8_t key[DATA_KEY_SIZE];
	int n;

	if (!r->encryption)
		return 0;
	n = encryption_key(r->walrus->keyring, r->encryption, customer_key, key, e);
	if (n < 0)
		return n;
	cipher_free(r->cipher);
	r->cipher = cipher_new(key);
	explicit_bzero(key, sizeof(key));
	return 0;
}

/* In the buffer that was read. */
static int
decrypt(struct content_reader *r, const struct extent *x, uint64_t offset, char *bytes, size_t n,
    struct err *e)
{
	int result = r->cipher ? 0 : content_reader_unlock(r, NULL, e);

	if (result == 0 && !r->cipher)
		result = err_set(e, ERR_CORRUPT, "an encrypted extent has no key");
	if (result == 0)
		result = cipher_seek(r->cipher, x->iv, offset, e);
	if (result == 0)
		cipher_apply(r->cipher, bytes, n);
	return result;
}

static int
reach(struct content_reader *r, uint64_t offset, const struct extent **ret, struct err *e)
{
	size_t at = extent_at(r, offset);

	*ret = &r->extents.items[at];
	return at == r->at && r->open ? 0 : open_extent(r, at, e);
}

int
content_reader_lend(struct content_reader *r, uint64_t offset, uint64_t want, enum blob_lend lend,
    struct page_pipe *pipe, size_t *ret_bytes, struct err *e)
{
	const struct extent *x;
	int n;

	*ret_bytes = 0;
	if (lend == LEND_CACHED && (!r->open || extent_at(r, offset) != r->at))
		return 0;
	n = reach(r, offset, &x, e);
	if (n < 0 || x->iv)
		return n;
	return blob_reader_lend(r->open, offset - x->start, want, lend, pipe, ret_bytes, e);
}

int
content_reader_read(struct content_reader *r, uint64_t offset, uint64_t want, char **ret_buffer,
    struct str *ret_bytes, struct err *e)
{
	const struct extent *x;
	_cleanup_free_ char *buffer = NULL;
	struct str bytes;
	int n = reach(r, offset, &x, e);

	if (n == 0)
		n = blob_reader_read(r->open, offset - x->start, want, &buffer, &bytes, e);
	if (n == 0 && x->iv)
		n = decrypt(r, x, offset - x->start, buffer + (bytes.p - buffer), bytes.n, e);
	if (n < 0)
		return n;
	*ret_buffer = TAKE(buffer);
	*ret_bytes = bytes;
	return 0;
}

int
content_reader_each(struct content_reader *r, uint64_t offset, uint64_t count,
    int (*fn)(void *arg, struct str bytes, struct err *e), void *arg, struct err *e)
{
	int n = 0;

	while (n == 0 && count > 0) {
		_cleanup_free_ char *buffer = NULL;
		struct str bytes = { NULL, 0 };

		n = content_reader_read(r, offset, count, &buffer, &bytes, e);
		if (n == 0)
			n = fn(arg, bytes, e);
		offset += bytes.n;
		count -= bytes.n;
	}
	return n;
}

const struct extent *
content_reader_extents(const struct content_reader *r, size_t *ret_count)
{
	*ret_count = r->extents.count;
	return r->extents.items;
}
