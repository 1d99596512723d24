/* Questions of other daemons. They ask for an account, and get what that account may see. */
#include "internal.h"

#include <stdio.h>
#include <unistd.h>

#include "bucket.h"
#include "content.h"
#include "rpc/walrus.api.h"

#include "rpc/walrus.handlers.h"

#define HEAD_BYTES 128
#define LOOK_AGAIN_MS 20

/* The digest of an upload that was completed just now is still being computed. */
static int
wait_for_digest(struct rpc_request *rq, struct walrus *w, const struct bucket *bucket,
    struct str key, struct object *o, struct content_reader **io_reader, struct err *e)
{
	uint32_t pause_ms = LOOK_AGAIN_MS;
	int r = 0;

	while (r == 0 && !o->sha256) {
		uint32_t left = rpc_time_left_ms(rq);

		if (left < 2 * pause_ms)
			return err_set(
			    e, ERR_TIMEOUT, "the digest of the object is still being computed");
		reconciler_poke(w->digests);
		(void)usleep(pause_ms * 1000);
		if (pause_ms < 500)
			pause_ms *= 2;
		content_reader_free(TAKE(*io_reader));
		r = content_open(w, bucket->id, key, rq->arena, o, io_reader, e);
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
	r = content_reader_read(reader, 0, HEAD_BYTES, &buffer, &bytes, e);
	if (r == 0)
		*ret = (struct str){ arena_memdup(arena, bytes.p, bytes.n), bytes.n };
	return r;
}

int
walrus_handle_describe_object(struct rpc_request *rq, const struct walrus_describe_object_in *in,
    struct walrus_describe_object_out *out, struct err *e)
{
	struct walrus *w = rq->state;
	_cleanup_(content_reader_freep) struct content_reader *reader = NULL;
	struct request asked = { .walrus = w };
	struct str key = str_of(in->key);
	struct bucket bucket;
	struct object o;
	int r = bucket_get(w, in->bucket, rq->arena, &bucket, e);

	if (r < 0)
		return r;
	(void)snprintf(
	    asked.caller.account_id, sizeof(asked.caller.account_id), "%s", in->account_id);
	r = request_authorize(&asked, bucket.account_id, e);
	if (r == 0)
		r = content_open(w, bucket.id, key, rq->arena, &o, &reader, e);
	if (r == 0)
		r = wait_for_digest(rq, w, &bucket, key, &o, &reader, e);
	if (r < 0)
		return r;
	out->has_size_bytes = true;
	out->size_bytes = o.size_bytes;
	out->digest = o.sha256;
	out->etag = o.etag;
	return read_head(reader, &o, rq->arena, &out->head, e);
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
