/* Questions of other daemons. They ask for an account, and get what that account may see. */
#include "internal.h"

#include <stdio.h>
#include <unistd.h>

#include "base/qcow2.h"
#include "access.h"
#include "bucket.h"
#include "content.h"
#include "image.h"
#include "schema.h"

#include "rpc/walrus.handlers.h"

#define READ_MAX (4 * 1024 * 1024)
#define LOOK_AGAIN_MS 20

struct due {
	const struct object_name *name;
	const char *content_id;
	struct arena *arena;
	int64_t added; /* 0: it is due already, or there */
};

/* Looks once more: it may have come since, and would be computed again. */
static int
ask_digest(struct store_tx *tx, void *arg, struct err *e)
{
	struct due *d = arg;
	struct object_name name = *d->name;
	struct object now;
	int r;

	d->added = 0;
	name.content_id = d->content_id;
	r = object_find(tx, &name, d->arena, &now, e);
	if (r == ERR_KEY_NOT_FOUND)
		return 0; /* it was replaced */
	if (r < 0 || now.sha256)
		return r;
	return store_exec(tx, Q_DIGEST_DUE_ADD, &d->added, e, d->content_id, name.bucket_id,
	    name.key, store_now_us(tx));
}

/* Of most objects nobody asks for it, and reading them all once more would cost more than writing
 * them did. What was due and is neither that nor there could not be read. */
static int
wait_for_digest(struct rpc_request *rq, struct walrus *w, const struct object_name *name,
    struct object *o, struct content_reader **io_reader, struct err *e)
{
	const char *asked = NULL; /* the content */
	uint32_t pause_ms = LOOK_AGAIN_MS;
	int r = 0;

	while (r == 0 && !o->sha256) {
		struct due due = { name, o->content_id, rq->arena, 0 };
		uint32_t left = rpc_time_left_ms(rq);

		if (left < 2 * pause_ms)
			return err_set(
			    e, ERR_TIMEOUT, "the digest of the object is still being computed");
		r = store_write(w->store, ask_digest, &due, e);
		if (r < 0)
			return r;
		if (due.added && asked && strings_equal(asked, due.content_id))
			return err_set(e, ERR_CORRUPT, "the object is damaged");
		if (due.added)
			asked = due.content_id;
		reconciler_poke(w->digests);
		(void)usleep(pause_ms * 1000);
		if (pause_ms < 500)
			pause_ms *= 2;
		content_reader_free(TAKE(*io_reader));
		r = content_open(w, name, rq->arena, o, io_reader, e);
	}
	return r;
}

static int
read_head(struct content_reader *reader, const struct object *o, struct arena *arena,
    struct str *ret, struct err *e)
{
	_cleanup_free_ char *buffer = NULL;
	struct str bytes;
	int r;

	if (o->size_bytes == 0)
		return 0;
	r = content_reader_read(reader, 0, QCOW2_HEADER_MAX, &buffer, &bytes, e);
	if (r == 0)
		*ret = (struct str){ arena_memdup(arena, bytes.p, bytes.n), bytes.n };
	return r;
}

/* It is not there: told to who could read it if it was. */
static int
missing(struct walrus *w, const char *account_id, const struct bucket *bucket, struct str key,
    struct err *e)
{
	struct err not_there = *e;
	int r = access_as(w, account_id, false, "s3:GetObject", bucket, key, NULL, e);

	if (r < 0)
		return r;
	*e = not_there;
	return e->code;
}

/* An object as that account may read it, its digest known. */
static int
open_for(struct rpc_request *rq, const char *account_id, const char *bucket_name, const char *key,
    struct object *ret, struct content_reader **ret_reader, struct err *e)
{
	struct walrus *w = rq->state;
	_cleanup_(bucket_unrefp) struct bucket *bucket = NULL;
	struct object_name name = { .key = str_of(key) };
	int r = bucket_get(w, bucket_name, &bucket, e);

	if (r < 0)
		return r;
	name.bucket_id = bucket->id;
	r = content_open(w, &name, rq->arena, ret, ret_reader, e);
	if (r == ERR_KEY_NOT_FOUND)
		return missing(w, account_id, bucket, name.key, e);
	if (r == 0)
		r = access_as(w, account_id, false, "s3:GetObject", bucket, name.key, ret, e);
	if (r == 0 && ret->is_marker)
		r = err_set(e, ERR_KEY_NOT_FOUND, "The specified key does not exist.");
	if (r == 0)
		r = content_reader_unlock(*ret_reader, NULL, e);
	return r < 0 ? r : wait_for_digest(rq, w, &name, ret, ret_reader, e);
}

int
walrus_handle_describe_object(struct rpc_request *rq, const struct walrus_describe_object_in *in,
    struct walrus_describe_object_out *out, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	struct object o;
	int r = open_for(rq, in->account_id, in->bucket, in->key, &o, &reader, e);

	if (r < 0)
		return r;
	out->has_size_bytes = true;
	out->size_bytes = o.size_bytes;
	out->digest = o.sha256;
	out->etag = o.etag;
	return read_head(reader, &o, rq->arena, &out->head, e);
}

int
walrus_handle_read_object(struct rpc_request *rq, const struct walrus_read_object_in *in,
    struct walrus_read_object_out *out, struct err *e)
{
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	struct object o;
	char *content;
	int r = open_for(rq, in->account_id, in->bucket, in->key, &o, &reader, e);

	if (r < 0)
		return r;
	if (o.size_bytes > in->bytes_max || o.size_bytes > READ_MAX)
		return err_set(e, ERR_LIMIT, "the object is too large");
	content = arena_alloc(rq->arena, o.size_bytes + 1);
	for (uint64_t at = 0; r == 0 && at < o.size_bytes;) {
		_cleanup_free_ char *buffer = NULL;
		struct str bytes = { NULL, 0 };

		r = content_reader_read(reader, at, o.size_bytes - at, &buffer, &bytes, e);
		if (r == 0)
			memcpy(content + at, bytes.p, bytes.n);
		at += bytes.n;
	}
	out->content = (struct str){ content, o.size_bytes };
	return r;
}

struct lookup {
	const struct walrus_describe_objects_in *in;
	struct walrus *walrus;
	struct arena *arena;
	const struct bucket *bucket;
	struct object_size *sizes;
};

static int
read_sizes(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->in->keys.count; i++) {
		struct object_name name = { .bucket_id = l->bucket->id,
			.key = str_of(l->in->keys.items[i]) };
		struct object o;

		r = object_find(tx, &name, l->arena, &o, e);
		if (r == 0 && o.is_marker)
			r = err_set(e, ERR_KEY_NOT_FOUND, "The specified key does not exist.");
		if (r == ERR_KEY_NOT_FOUND)
			r = missing(l->walrus, l->in->account_id, l->bucket, name.key, e);
		else if (r == 0)
			r = access_as(l->walrus, l->in->account_id, false, "s3:GetObject",
			    l->bucket, name.key, &o, e);
		if (r < 0)
			return err_wrap(e, "object '%.200s'", l->in->keys.items[i]);
		l->sizes[i].size_bytes = o.size_bytes;
	}
	return r;
}

int
walrus_handle_describe_objects(struct rpc_request *rq, const struct walrus_describe_objects_in *in,
    struct walrus_describe_objects_out *out, struct err *e)
{
	struct walrus *w = rq->state;
	_cleanup_(bucket_unrefp) struct bucket *bucket = NULL;
	struct lookup l = { .in = in, .walrus = w, .arena = rq->arena };
	int r = bucket_get(w, in->bucket, &bucket, e);

	if (r < 0)
		return r;
	l.bucket = bucket;
	l.sizes = arena_alloc(rq->arena, (in->keys.count + 1) * sizeof(*l.sizes));
	r = store_read(w->store, read_sizes, &l, e);
	out->objects.items = l.sizes;
	out->objects.count = in->keys.count;
	return r;
}

int
walrus_handle_store_image(struct rpc_request *rq, const struct walrus_store_image_in *in,
    struct walrus_store_image_out *out, struct err *e)
{
	return image_store(rq->state, in, rq->arena, out, e);
}

int
walrus_handle_delete_stored_image(struct rpc_request *rq,
    const struct walrus_delete_stored_image_in *in, struct empty *out, struct err *e)
{
	return image_delete(rq->state, in->account_id, in->image_id, e);
}

void
internal_call(struct http_call *call, void *arg)
{
	struct walrus *w = arg;

	if (str_is(call->head->path, "/services/internal")) {
		rpc_handle(w->rpc, &walrus_served, w, call);
		return;
	}
	call->status = 404;
	call->content_type = "text/plain";
	strbuf_adds(&call->reply, "nothing here\n");
}
