/* One S3 request between its loop and the workers. The loop only moves pieces: the head, body
 * pieces, the end and "send more" become marks on the exchange, and one worker at a time works them
 * off in order, so that a request's code never runs twice at once and needs no locks. A worker
 * holds an exchange only while there is something to do: a slow client occupies no thread.
 *
 * What a worker wants of the connection (read the body, send this reply) it asks for by
 * http_resume, which finds out on the loop whether the client is still there. The struct is
 * counted: one count is the HTTP exchange's until gone(), one the running worker's, one each
 * resume's under way, one that of a commit.
 *
 * Nobody waits for the commit that ends a request: the store's writer hands all requests of a
 * commit back to their loops at once. What else does not block, as of a PUT of few bytes, the loop
 * itself does. */
#include "exchange.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "lane.h"
#include "logging.h"
#include "request.h"
#include "run/lock.h"
#include "run/page_pipe.h"

#define WORK_TIMEOUT_MS 120000 /* of one stretch of work without news for the client */
#define SMALL_BODY (64 * 1024) /* read before anything is decided */
#define AHEAD_MAX                                                                                  \
	(2 * BLOB_BLOCK + HTTP_REPLY_LOW) /* queued bytes below which the next block is read */

struct exchanges {
	struct walrus *walrus;
	bool is_website; /* requests are of pages, not of the API */
	struct lock lock;
	pthread_cond_t none;
	unsigned count; /* under lock */
};

struct exchange {
	struct exchanges *all;
	struct request *rq;
	struct http_ref ref;
	atomic_uint references;

	struct lock lock;
	bool is_running, is_gone; /* under lock, like what follows */
	bool is_begin_due, is_end_due, is_more_due;
	struct http_body *pieces[HTTP_BODY_CREDITS];
	unsigned piece_count;

	bool is_over; /* of the running worker: a reply was decided, what still comes is dropped */
	int written;  /* of the commit: what came out, and what was wrong */
	struct err *write_error;

	/* the loop's own */
	bool is_replying;
	bool is_more_asked;
	bool is_small; /* the body is read at once, and a worker asked when it is whole or in many
			  pieces */
	bool is_quick; /* nothing of it blocks: no worker is asked at all */
	uint64_t to_send; /* bytes of content not handed to the connection yet */
};

/* A block on its way from a worker to the loop: in a buffer, or its own pages; neither when it
 * could not be read. */
struct block {
	struct exchange *x;
	char *buffer;
	struct page_pipe *pages;
	struct str bytes;
};

static void work(void *arg);

/* -- life -- */

static void
unref(struct exchange *x)
{
	struct exchanges *all = x->all;

	if (atomic_fetch_sub(&x->references, 1) > 1)
		return;
	logging_note(x->rq);
	request_free(x->rq);
	lock_done(&x->lock);
	free(x);
	daemon_busy(all->walrus->daemon, -1);
	LOCK_SCOPE(&all->lock);
	if (--all->count == 0)
		(void)pthread_cond_broadcast(&all->none);
}

struct exchanges *
exchanges_new(struct walrus *w, bool is_website)
{
	struct exchanges *all = xcalloc(1, sizeof(*all));

	all->is_website = is_website;
	all->walrus = w;
	lock_init(&all->lock, LOCK_CACHE);
	(void)pthread_cond_init(&all->none, NULL);
	return all;
}

void
exchanges_free(struct exchanges *all)
{
	if (!all)
		return;
	lock_take(&all->lock);
	while (all->count > 0)
		(void)lock_wait(&all->lock, &all->none, -1);
	lock_release(&all->lock);
	(void)pthread_cond_destroy(&all->none);
	lock_done(&all->lock);
	free(all);
}

/* -- to the workers -- */

/* With the lock held. False when no worker could be had. */
static bool
wake_locked(struct exchange *x)
{
	struct err e;

	if (x->is_running)
		return true;
	atomic_fetch_add(&x->references, 1);
	if (workers_run(daemon_workers(x->all->walrus->daemon), work, x, &e) < 0) {
		atomic_fetch_sub(&x->references, 1);
		return false;
	}
	x->is_running = true;
	return true;
}

static void
mark(struct exchange *x, bool *due, struct http_exchange *h)
{
	bool is_woken;

	lock_take(&x->lock);
	*due = true;
	is_woken = wake_locked(x);
	lock_release(&x->lock);
	if (is_woken)
		return;
	/* Overload: nothing of it was begun, or what was is dropped when the client is gone. */
	if (http_reply_begun(h)) {
		http_reply_abort(h);
		return;
	}
	x->is_replying = true;
	http_reply_begin(h, 503);
	http_reply_header(h, "Retry-After", "1");
	http_reply_length(h, 0);
	http_reply_end(h);
}

/* -- to the loop -- */

/* Whether what is still to be released may be a file. */
static bool
may_block_at_end(const struct exchange *x)
{
	return !x->is_quick && (x->rq->content || x->rq->data);
}

/* On the loop: a count less. The last work is a worker's when it has one, or when it may block;
 * that worker needs the lock before it can end, so that its count is the last. */
static void
let_go(struct exchange *x)
{
	bool is_running;

	lock_take(&x->lock);
	if (x->is_gone && !x->is_running && may_block_at_end(x))
		(void)wake_locked(x); /* without a worker: here, then */
	is_running = x->is_running;
	if (is_running)
		atomic_fetch_sub(&x->references, 1);
	lock_release(&x->lock);
	if (!is_running)
		unref(x);
}

static void
resume(struct exchange *x, void (*fn)(struct http_exchange *, void *), void *arg)
{
	atomic_fetch_add(&x->references, 1);
	http_resume(x->ref, fn, arg);
}

static void
on_accept(struct http_exchange *h, void *arg)
{
	struct exchange *x = arg;

	if (h && !x->is_replying)
		http_accept_body(h, 0);
	let_go(x);
}

/* -- blocks -- */

/* Without a copy where it can be had, so that the bytes are touched once, by their sum. */
static int
lend_block(struct request *rq, struct block *b, enum blob_lend lend, struct err *e)
{
	int r;

	if (rq->peer.is_tls || rq->content_left <= BLOB_INLINE_MAX)
		return 0;
	b->pages = page_pipe_take();
	if (!b->pages)
		return 0;
	r = content_reader_lend(
	    rq->content, rq->content_offset, rq->content_left, lend, b->pages, &b->bytes.n, e);
	if (b->bytes.n == 0)
		page_pipe_put(TAKE(b->pages));
	return r;
}

static void
block_was_read(struct request *rq, const struct block *b)
{
	rq->content_offset += b->bytes.n;
	rq->content_left -= b->bytes.n;
}

static int
read_block(struct request *rq, struct block *b, struct err *e)
{
	int r = lend_block(rq, b, LEND_ANY, e);

	if (r == 0 && !b->pages)
		r = content_reader_read(
		    rq->content, rq->content_offset, rq->content_left, &b->buffer, &b->bytes, e);
	if (r < 0)
		return r;
	block_was_read(rq, b);
	if (rq->content_left == 0)
		content_reader_free(TAKE(rq->content));
	return 0;
}

static void send_block(struct exchange *x, struct http_exchange *h, struct block *b);

/* What the kernel has in memory is lent here, in less time than what waking a worker takes from
 * both. The file is closed by a worker all the same: this may be the last that has it. */
static bool
read_here(struct exchange *x, struct http_exchange *h)
{
	struct block b = { 0 };
	struct err e = { 0 };
	bool is_mine;

	lock_take(&x->lock);
	is_mine = !x->is_running;
	x->is_running = true;
	lock_release(&x->lock);
	if (!is_mine)
		return false;
	if (x->rq->content && lend_block(x->rq, &b, LEND_CACHED, &e) == 0 && b.pages)
		block_was_read(x->rq, &b);
	lock_take(&x->lock);
	x->is_running = false;
	lock_release(&x->lock);
	if (!b.pages)
		return false; /* damage is found again, and told, by a worker */
	send_block(x, h, &b);
	return true;
}

static void
ask_more(struct exchange *x, struct http_exchange *h)
{
	if (x->is_more_asked || x->to_send == 0 || http_reply_queued(h) >= AHEAD_MAX)
		return;
	if (read_here(x, h))
		return;
	x->is_more_asked = true;
	mark(x, &x->is_more_due, h);
}

static void
block_free(struct block *b)
{
	blob_buffer_free(b->buffer);
	page_pipe_put(b->pages);
	free(b);
}

static void
send_block(struct exchange *x, struct http_exchange *h, struct block *b)
{
	x->is_more_asked = false;
	if (!b->buffer && !b->pages) {
		http_reply_abort(
		    h); /* what was promised can't be kept, and nothing else may be sent */
		return;
	}
	x->to_send -= b->bytes.n;
	x->rq->facts.sent += b->bytes.n;
	if (b->pages)
		http_reply_pages(h, TAKE(b->pages), b->bytes.n);
	else
		http_reply_add_owned(h, b->bytes.p, b->bytes.n, blob_buffer_free, TAKE(b->buffer));
	if (x->to_send == 0)
		http_reply_end(h);
	else
		ask_more(x, h);
}

static void
on_block(struct http_exchange *h, void *arg)
{
	struct block *b = arg;
	struct exchange *x = b->x;

	if (h)
		send_block(x, h, b);
	block_free(b);
	let_go(x);
}

/* Everything but the first block, which may be missing: then the reply is whole without it. */
static void
send_head(struct request *rq, struct http_exchange *h)
{
	rq->facts.replied_ms = clock_monotonic_ms();
	http_reply_begin(h, rq->status);
	http_reply_header(h, "x-amz-request-id", rq->id);
	http_reply_header(h, "x-amz-id-2", rpc_self(rq->walrus->rpc));
	VEC_FOREACH (&rq->headers, header)
		http_reply_header(h, header->name, header->value);
}

static void
send_reply(struct request *rq, struct http_exchange *h)
{
	size_t n = rq->reply.n;
	char *bytes = strbuf_take(&rq->reply);

	send_head(rq, h);
	if (rq->status != 304) /* there it would be the length of the object (RFC 9110 8.6) */
		http_reply_length(h, rq->has_length ? rq->length : n);
	rq->facts.sent = n;
	if (n > 0)
		http_reply_add_owned(h, bytes, n, free, bytes);
	else
		free(bytes);
	http_reply_end(h);
}

static void
on_reply(struct http_exchange *h, void *arg)
{
	struct exchange *x = arg;

	if (h && !x->is_replying) {
		x->is_replying = true;
		send_reply(x->rq, h);
	}
	let_go(x);
}

static void
on_content(struct http_exchange *h, void *arg)
{
	struct block *b = arg;
	struct exchange *x = b->x;

	if (h && !x->is_replying) {
		x->is_replying = true;
		x->to_send = x->rq->length;
		send_head(x->rq, h);
		http_reply_length(h, x->rq->length);
		send_block(x, h, b);
	}
	block_free(b);
	let_go(x);
}

/* -- on a worker -- */

static struct block *
new_block(struct exchange *x)
{
	struct block *b = xcalloc(1, sizeof(*b));

	b->x = x;
	return b;
}

static void
fail(struct exchange *x, const struct err *e)
{
	x->is_over = true;
	request_fail(x->rq, e);
	resume(x, on_reply, x);
}

/* The first block is read and checked before the status line is decided. */
static void
reply(struct exchange *x)
{
	struct request *rq = x->rq;
	struct block *b;
	struct err e = { 0 };

	if (!rq->content) {
		x->is_over = true;
		resume(x, on_reply, x);
		return;
	}
	rq->length = rq->content_left;
	b = new_block(x);
	if (read_block(rq, b, &e) < 0) {
		free(b);
		fail(x, &e);
		return;
	}
	x->is_over = true;
	resume(x, on_content, b);
}

static void
send_more(struct exchange *x)
{
	struct block *b = new_block(x);
	struct err e = { 0 };

	if (!x->rq->content || read_block(x->rq, b, &e) < 0)
		log_error(&x->rq->log, "object.damaged", "bucket=%s key=\"%.*s\" error=\"%s\"",
		    x->rq->target.bucket, (int)x->rq->target.key.n, x->rq->target.key.p, e.text);
	resume(x, on_block, b);
}

/* -- the commit -- */

static void
on_written(struct http_exchange *h, void *arg)
{
	struct exchange *x = arg;

	if (x->written < 0)
		request_fail(x->rq, x->write_error);
	else
		request_answer(x->rq);
	on_reply(h, x);
}

/* On the writer's thread. */
static void
on_durable(void *arg, int r)
{
	struct exchange *x = arg;

	x->written = r;
	http_resume_later(&x->all->walrus->written, x->ref, on_written, x);
}

void
exchanges_told(void *arg)
{
	struct walrus *w = arg;

	http_resume_all(&w->written);
}

static void
commit(struct exchange *x)
{
	struct request *rq = x->rq;

	x->is_over = true;
	x->write_error = arena_alloc(rq->arena, sizeof(*x->write_error));
	atomic_fetch_add(&x->references, 1);
	store_write_then(
	    rq->walrus->store, rq->operation->commit, rq, x->write_error, on_durable, x);
}

static void
finish(struct exchange *x)
{
	struct err e = { 0 };

	x->rq->facts.asked_ms = clock_monotonic_ms();
	if (request_end(x->rq, &e) < 0)
		fail(x, &e);
	else if (x->rq->operation->commit)
		commit(x);
	else
		reply(x);
}

static void
begin(struct exchange *x)
{
	struct err e = { 0 };

	if (request_begin(x->rq, &e) < 0)
		fail(x, &e);
	else if (!x->rq->has_body && !x->rq->head->expect_continue)
		finish(x);
	else if (!x->is_small)
		resume(x, on_accept, x);
}

static void
take_piece(struct exchange *x, struct http_body *piece)
{
	struct err e = { 0 };

	x->rq->piece = piece_new(piece, http_body_release);
	if (!x->is_over && request_body(x->rq, (struct str){ piece->p, piece->n }, &e) < 0)
		fail(x, &e);
	piece_unref(TAKE(x->rq->piece));
}

enum step { STEP_NONE, STEP_GONE, STEP_BEGIN, STEP_PIECE, STEP_END, STEP_MORE };

static bool
take_mark(bool *due)
{
	bool was = *due;

	*due = false;
	return was;
}

static enum step
next_step(struct exchange *x, struct http_body **ret_piece)
{
	LOCK_SCOPE(&x->lock);
	*ret_piece = NULL;
	if (!x->is_gone && take_mark(&x->is_begin_due))
		return STEP_BEGIN;
	if (x->piece_count > 0) {
		*ret_piece = x->pieces[0];
		memmove(x->pieces, x->pieces + 1, --x->piece_count * sizeof(x->pieces[0]));
		return STEP_PIECE;
	}
	if (!x->is_gone) {
		if (take_mark(&x->is_end_due))
			return STEP_END;
		if (take_mark(&x->is_more_due))
			return STEP_MORE;
	}
	x->is_running = false;
	return x->is_gone ? STEP_GONE : STEP_NONE;
}

static bool
is_gone(struct exchange *x)
{
	LOCK_SCOPE(&x->lock);
	return x->is_gone;
}

static void
work(void *arg)
{
	struct exchange *x = arg;
	struct http_body *piece;

	for (;;) {
		switch (next_step(x, &piece)) {
		case STEP_PIECE:
			if (is_gone(x))
				http_body_release(piece);
			else
				take_piece(x, piece);
			continue;
		case STEP_BEGIN:
			begin(x);
			continue;
		case STEP_END:
			if (!x->is_over)
				finish(x);
			continue;
		case STEP_MORE:
			send_more(x);
			continue;
		case STEP_GONE:
		case STEP_NONE:
			break;
		}
		break;
	}
	unref(x);
}

/* -- on the loop -- */

static void
on_expired(struct http_exchange *h)
{
	struct exchange *x = http_data(h);

	x->is_replying = true;
	http_reply_begin(h, 503);
	http_reply_header(h, "Retry-After", "1");
	http_reply_length(h, 0);
	http_reply_end(h);
}

static bool
is_internal(const struct http_exchange *h, const struct exchanges *all)
{
	return !all->is_website && str_is(http_request(h)->path, "/services/internal");
}

static struct http_worker_options *
internal_options(void *arg)
{
	struct exchanges *all = arg;

	return &all->walrus->internal;
}

/* What memory alone can answer is answered here and now: a worker would cost more than the answer.
 * It is one block at most. */
static void
answer_quickly(struct request *rq, struct http_exchange *h)
{
	struct block b = { 0 };
	struct err e = { 0 };
	int r = request_begin(rq, &e);

	rq->facts.asked_ms = rq->facts.began_ms; /* nothing came behind the head */
	if (r == 0)
		r = request_end(rq, &e);
	if (r == 0 && rq->content) {
		rq->length = rq->content_left;
		r = read_block(rq, &b, &e);
	}
	if (r < 0)
		request_fail(rq, &e);
	if (!b.buffer) {
		send_reply(rq, h);
		return;
	}
	send_head(rq, h);
	http_reply_length(h, rq->length);
	rq->facts.sent = b.bytes.n;
	http_reply_add_owned(h, b.bytes.p, b.bytes.n, blob_buffer_free, b.buffer);
	http_reply_end(h);
}

/* A client that does not wait to be asked has sent it with the head: one worker, once, does it all.
 */
static bool
has_small_body(const struct http_head *head)
{
	return head->content_length > 0 && head->content_length <= SMALL_BODY &&
	       !head->expect_continue;
}

static void
on_head(struct http_exchange *h, void *arg)
{
	struct exchanges *all = arg;
	struct request *rq;
	struct exchange *x;

	if (is_internal(h, arg)) {
		http_worker_handler.head(h, internal_options(arg));
		return;
	}
	rq = request_new(all->walrus, h);
	rq->is_website = all->is_website;
	if (request_is_quick(rq)) {
		http_set_data(h, NULL);
		answer_quickly(rq, h);
		logging_note(rq);
		request_free(rq);
		return;
	}
	request_keep_head(rq);
	x = xcalloc(1, sizeof(*x));
	x->all = all;
	atomic_init(&x->references, 1);
	lock_init(&x->lock, LOCK_STATE);
	x->rq = rq;
	daemon_busy(all->walrus->daemon, 1);
	lock_take(&all->lock);
	all->count++;
	lock_release(&all->lock);
	http_set_data(h, x);
	x->is_small = has_small_body(http_request(h));
	x->is_quick = x->is_small && request_is_quick_put(rq);
	if (x->is_small) {
		x->is_begin_due = true;
		http_accept_body(h, 0);
		return;
	}
	x->ref = http_suspend(h, WORK_TIMEOUT_MS, on_expired);
	mark(x, &x->is_begin_due, h);
}

/* A slow network brings few bytes in many pieces, and no more come while all are out: a worker has
 * to give some back. */
static void
stop_waiting(struct exchange *x, struct http_exchange *h)
{
	x->is_small = x->is_quick = false;
	x->ref = http_suspend(h, WORK_TIMEOUT_MS, on_expired);
}

static void
on_body(struct http_exchange *h, struct http_body *piece, void *arg)
{
	struct exchange *x = http_data(h);
	bool is_woken;

	if (is_internal(h, arg)) {
		http_worker_handler.body(h, piece, internal_options(arg));
		return;
	}
	if (x->is_replying) {
		http_body_release(piece);
		return;
	}
	lock_take(&x->lock);
	assert(x->piece_count < HTTP_BODY_CREDITS);
	x->pieces[x->piece_count++] = piece;
	if (x->is_small && x->piece_count == HTTP_BODY_CREDITS)
		stop_waiting(x, h);
	is_woken = x->is_small || wake_locked(x);
	lock_release(&x->lock);
	if (!is_woken)
		http_reply_abort(h);
}

static void
work_here(struct exchange *x)
{
	lock_take(&x->lock);
	x->is_end_due = x->is_running = true;
	lock_release(&x->lock);
	atomic_fetch_add(&x->references, 1);
	work(x);
}

static void
on_end(struct http_exchange *h, const struct http_header *trailers, unsigned count, void *arg)
{
	struct exchange *x = http_data(h);
	struct http_ref ref;

	if (is_internal(h, arg)) {
		http_worker_handler.end(h, trailers, count, internal_options(arg));
		return;
	}
	if (x->is_replying)
		return;
	ref = http_suspend(h, WORK_TIMEOUT_MS, on_expired);
	if (x->is_small) /* otherwise a worker has it already */
		x->ref = ref;
	if (x->is_quick)
		work_here(x);
	else
		mark(x, &x->is_end_due, h);
}

static void
on_drained(struct http_exchange *h, void *arg)
{
	struct exchange *x = http_data(h);

	if (!is_internal(h, arg) && x)
		ask_more(x, h);
}

static void
on_gone(struct http_exchange *h, bool complete, void *arg)
{
	struct exchange *x = http_data(h);

	if (is_internal(h, arg)) {
		http_worker_handler.gone(h, complete, internal_options(arg));
		return;
	}
	if (!x)
		return; /* it was answered at once */
	http_set_data(h, NULL);
	lock_take(&x->lock);
	x->is_gone = true;
	if (!x->is_running)
		while (x->piece_count > 0)
			http_body_release(x->pieces[--x->piece_count]);
	lock_release(&x->lock);
	let_go(x);
}

const struct http_handler exchange_handler = {
	.head = on_head,
	.body = on_body,
	.end = on_end,
	.drained = on_drained,
	.gone = on_gone,
};
