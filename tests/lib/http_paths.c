#include "tests/lib/http_paths.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include "run/fd.h"
#include "run/page_pipe.h"

struct http_seen http_seen;

struct request {
	uint64_t received, sent;
	unsigned sum;
	struct http_body *held[HTTP_BODY_CREDITS];
	unsigned held_count;
	atomic_uint threads;
};

char
http_pattern_at(uint64_t i)
{
	return (char)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static void
send_more(struct http_exchange *x, struct request *rq)
{
	char buffer[32768];

	while (rq->sent < STREAM_BYTES && http_reply_queued(x) < 2 * HTTP_REPLY_LOW) {
		for (size_t i = 0; i < sizeof(buffer); i++)
			buffer[i] = http_pattern_at(rq->sent + i);
		http_reply_add(x, buffer, sizeof(buffer));
		rq->sent += sizeof(buffer);
		if (http_reply_queued(x) > http_seen.queued_max)
			http_seen.queued_max = http_reply_queued(x);
	}
	if (rq->sent == STREAM_BYTES)
		http_reply_end(x);
}

static void
reply_text(struct http_exchange *x, int status, const char *text)
{
	http_reply(x, status, "text/plain", text, strlen(text));
}

void
http_paths_answer(struct http_exchange *x, void *arg)
{
	if (x) {
		http_seen.resumed_alive++;
		reply_text(x, 200, arg);
	} else {
		http_seen.resumed_gone++;
	}
}

static void *
resume_thread(void *arg)
{
	struct http_ref *ref = arg;

	http_resume(*ref, http_paths_answer, "from another thread\n");
	free(ref);
	return NULL;
}

static void
in_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	assert_int_equal(pthread_create(&thread, &attr, fn, arg), 0);
	pthread_attr_destroy(&attr);
}

static void
expired(struct http_exchange *x)
{
	http_seen.expiries++;
	reply_text(x, 504, "too late\n");
}

static void
serve_file(struct http_exchange *x, const char *path, uint64_t promised)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct http_range range;
	struct err e;
	int r = http_range_parse(http_head_find(http_request(x), "Range"), promised, &range, &e);

	if (r < 0) {
		close(fd);
		http_reply_begin(x, 416);
		http_reply_headerf(
		    x, "Content-Range", "bytes */%llu", (unsigned long long)promised);
		http_reply_end(x);
		return;
	}
	if (r == 0)
		range = (struct http_range){ 0, promised - 1 };
	http_reply_begin(x, r ? 206 : 200);
	http_reply_length(x, range.last - range.first + 1);
	http_reply_file(x, fd, range.first, range.last - range.first + 1);
	http_reply_end(x);
}

char *http_paths_file;

/* All of it at once, in as many pipes. */
static void
serve_pages(struct http_exchange *x)
{
	_cleanup_close_ int fd = open(http_paths_file, O_RDONLY | O_CLOEXEC);

	http_reply_begin(x, 200);
	http_reply_length(x, STREAM_BYTES);
	for (size_t at = 0; at < STREAM_BYTES; at += PAGE_PIPE_BYTES) {
		struct page_pipe *pages = page_pipe_take();
		size_t n =
		    STREAM_BYTES - at < PAGE_PIPE_BYTES ? STREAM_BYTES - at : PAGE_PIPE_BYTES;

		assert_non_null(pages);
		assert_true(page_pipe_fill(pages, fd, at, n));
		http_reply_pages(x, pages, n);
	}
	http_reply_end(x);
}

static void
on_head(struct http_exchange *x, void *arg)
{
	const struct http_head *h = http_request(x);
	struct request *rq = xcalloc(1, sizeof(*rq));

	http_seen.heads++;
	http_set_data(x, rq);
	if (str_starts(h->path, "/read") || str_starts(h->path, "/echo") ||
	    str_starts(h->path, "/hold") || str_starts(h->path, "/slow")) {
		http_accept_body(x, str_is(h->query, "limit") ? 1000 : 0);
		if (str_is(h->path, "/echo"))
			http_reply_begin(x, 200);
	} else if (str_is(h->path, "/stream")) {
		http_reply_begin(x, 200);
		send_more(x, rq);
	} else if (str_is(h->path, "/file")) {
		serve_file(x, http_paths_file, STREAM_BYTES);
	} else if (str_is(h->path, "/pages")) {
		serve_pages(x);
	} else if (str_is(h->path, "/file-short")) {
		serve_file(x, http_paths_file, STREAM_BYTES + 1000);
	} else if (str_is(h->path, "/suspend")) {
		struct http_ref ref = http_suspend(x, 5000, NULL);

		in_thread(resume_thread, xmemdup(&ref, sizeof(ref)));
	} else if (str_is(h->path, "/keep")) {
		http_seen.kept = http_suspend(x, 0, NULL);
		http_seen.has_kept = true;
	} else if (str_is(h->path, "/expire")) {
		http_seen.kept = http_suspend(x, 100, expired);
	} else if (str_is(h->path, "/expire-503")) {
		(void)http_suspend(x, 100, NULL);
	} else if (str_is(h->path, "/refuse")) {
		reply_text(x, 403, "no\n");
	} else if (str_is(h->path, "/eager")) {
		http_accept_body(x, 0);
		if (h->content_length == 0)
			reply_text(x, 200, "eager\n");
	} else if (str_is(h->path, "/empty")) {
		http_reply_begin(x, 204);
		http_reply_end(x);
	} else if (str_is(h->path, "/inject")) {
		http_reply_begin(x, 200);
		http_reply_header(x, "X-Stored", "a\r\nSet-Cookie: b");
		http_reply_end(x);
	} else if (str_is(h->path, "/too-long")) {
		http_reply_begin(x, 200);
		http_reply_length(x, 3);
		http_reply_add(x, "abcd", 4);
		http_reply_end(x);
	} else if (str_is(h->path, "/too-short")) {
		http_reply_begin(x, 200);
		http_reply_length(x, 30);
		http_reply_add(x, "abcd", 4);
		http_reply_end(x);
	} else if (str_is(h->path, "/peer")) {
		const struct http_peer *p = http_peer(x);
		_cleanup_free_ char *text = xasprintf("%s %u %s %lld %u", p->address, p->is_tls,
		    p->fingerprint, p->uid == UINT32_MAX ? -1LL : (long long)p->uid, p->local_port);

		reply_text(x, 200, text);
	} else if (str_is(h->path, "/abort")) {
		http_reply_begin(x, 200);
		http_reply_add(x, "abc", 3);
		http_reply_abort(x);
	} else {
		reply_text(x, 200, "ok\n");
	}
}

static void *
release_thread(void *arg)
{
	struct http_body *piece = arg;

	usleep(2000);
	http_body_release(piece);
	http_seen.slow_pieces--;
	return NULL;
}

static void
on_body(struct http_exchange *x, struct http_body *piece, void *arg)
{
	struct request *rq = http_data(x);
	const struct http_head *h = http_request(x);

	for (size_t i = 0; i < piece->n; i++)
		if (piece->p[i] != http_pattern_at(rq->received + i))
			rq->sum++;
	rq->received += piece->n;
	if (str_is(h->path, "/echo"))
		http_reply_add(x, piece->p, piece->n);
	if (str_is(h->path, "/eager") && rq->received == (uint64_t)http_request(x)->content_length)
		reply_text(x, 200, "eager\n");
	if (str_is(h->path, "/hold")) {
		rq->held[rq->held_count++] = piece;
		if (rq->held_count > http_seen.pieces_max)
			http_seen.pieces_max = rq->held_count;
		if (!http_seen.has_kept) {
			http_seen.kept = http_suspend(x, 0, NULL);
			http_seen.has_kept = true;
		}
	} else if (str_is(h->path, "/slow")) {
		http_seen.slow_pieces++;
		in_thread(release_thread, piece);
	} else {
		http_body_release(piece);
	}
}

static void
on_end(struct http_exchange *x, const struct http_header *trailers, unsigned count, void *arg)
{
	struct request *rq = http_data(x);
	_cleanup_free_ char *text = NULL;

	http_seen.ends++;
	if (str_is(http_request(x)->path, "/eager"))
		return;
	if (str_is(http_request(x)->path, "/echo")) {
		http_reply_end(x);
		return;
	}
	text = xasprintf("%llu bytes, %u wrong, trailer %.*s\n", (unsigned long long)rq->received,
	    rq->sum, count ? (int)trailers[0].value.n : 0, count ? trailers[0].value.p : "");
	reply_text(x, 200, text);
}

static void
on_drained(struct http_exchange *x, void *arg)
{
	http_seen.drain_calls++;
	send_more(x, http_data(x));
}

static void
on_gone(struct http_exchange *x, bool complete, void *arg)
{
	struct request *rq = http_data(x);

	http_seen.gones++;
	http_seen.completes += complete;
	for (unsigned i = 0; i < rq->held_count; i++)
		http_body_release(rq->held[i]);
	free(rq);
}

struct http_server_options http_paths_options = {
	.name = "test",
	.handler = { on_head, on_body, on_end, on_drained, on_gone },
	.idle_timeout_ms = 20000,
	.server_header = "Mallee",
};
struct net_server http_paths_server;

/* Each test has a fresh server and, at its end, no exchange that was not let go. */
static void
start_with(const struct http_server_options *o)
{
	http_seen.heads = http_seen.ends = http_seen.gones = http_seen.completes =
	    http_seen.expiries = http_seen.drain_calls = 0;
	http_seen.queued_max = 0;
	http_seen.pieces_max = http_seen.resumed_alive = http_seen.resumed_gone = 0;
	http_seen.has_kept = false;
	net_server_start(&http_paths_server, o);
}

int
http_paths_setup(void **state)
{
	start_with(&http_paths_options);
	return 0;
}

/* For tests of deadlines only: a busy machine must not fail the others. */
int
http_paths_setup_hasty(void **state)
{
	struct http_server_options hasty = http_paths_options;

	hasty.head_timeout_ms = HEAD_TIMEOUT_MS;
	hasty.body_rate_window_ms = WINDOW_MS;
	start_with(&hasty);
	return 0;
}

int
http_paths_teardown(void **state)
{
	net_server_stop(&http_paths_server);
	return http_seen.heads == http_seen.gones ? 0 : -1;
}

bool
http_seen_reaches(atomic_uint *counter, unsigned value)
{
	for (int i = 0; i < 500 && *counter < value; i++)
		usleep(10000);
	return *counter >= value;
}

void
http_paths_let_go(struct http_exchange *x, void *arg)
{
	struct request *rq;

	if (!x)
		return;
	rq = http_data(x);
	while (rq->held_count > 0)
		http_body_release(rq->held[--rq->held_count]);
}

int
http_paths_make_file(void **state)
{
	static char directory[] = "/tmp/mallee-net-file-XXXXXX";
	FILE *f;

	assert_non_null(mkdtemp(directory));
	http_paths_file = xasprintf("%s/file", directory);
	f = fopen(http_paths_file, "we");
	assert_non_null(f);
	for (size_t i = 0; i < STREAM_BYTES; i++)
		(void)putc_unlocked(http_pattern_at(i), f);
	fclose(f);
	return 0;
}

int
http_paths_remove_file(void **state)
{
	(void)unlink(http_paths_file);
	*strrchr(http_paths_file, '/') = '\0';
	(void)rmdir(http_paths_file);
	free(http_paths_file);
	return 0;
}
