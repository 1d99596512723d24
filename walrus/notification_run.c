/* The way out of the queue. Each endpoint is served in the order of the changes, some records in
 * one POST; what it does not take is tried again after a pause that doubles, and dropped when it is
 * too old. Meanwhile the others are served: one that hangs costs them a time-out per try. */
#include "base/clock.h"
#include "net/http_client.h"
#include "notification.h"
#include "run/metrics.h"
#include "schema.h"
#include "walrus.h"

#define RECORDS_MAX 32 /* in one POST */
#define BODY_MAX (256 * 1024)
#define PAUSE_MIN_MS 500
#define PAUSE_MAX_MS 60000
#define TIMEOUT_MS 10000
#define ENDPOINTS_MAX 256

struct delivery { /* to one endpoint */
	struct arena *arena;
	const char *endpoint;
	struct {
		int64_t revision, number;
	} rows[RECORDS_MAX];
	size_t count;
	bool is_test; /* a test event is a body of its own */
	int64_t oldest_us;
	struct strbuf body;
	int64_t attempts, due_us; /* to be remembered after a failure */
	bool is_waiting;          /* for its time */
};

static struct metric *
outcome(const char *labels)
{
	return metric_counter("mallee_walrus_notifications_total", labels,
	    "records of notifications that left the queue, or tries that failed");
}

/* -- the queue -- */

static int
read_delivery(struct store_tx *tx, void *arg, struct err *e)
{
	struct delivery *d = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_NOTIFICATIONS_OF, &rows, e, d->endpoint, (int64_t)RECORDS_MAX);

	while (r >= 0 && !d->is_test && (r = store_next(rows, e)) > 0) {
		bool is_test = store_int(rows, 2);
		const char *body = store_text(rows, 3);

		if (d->count > 0 && (is_test || d->body.n + strlen(body) > BODY_MAX))
			break;
		d->is_test = is_test;
		if (d->count == 0) {
			d->oldest_us = store_int(rows, 4);
			d->attempts = store_int(rows, 5);
			d->due_us = store_int(rows, 6);
			if (!is_test)
				strbuf_adds(&d->body, "{\"Records\":[");
		} else {
			strbuf_addc(&d->body, ',');
		}
		strbuf_adds(&d->body, body);
		d->rows[d->count].revision = store_int(rows, 0);
		d->rows[d->count++].number = store_int(rows, 1);
	}
	if (d->count > 0 && !d->is_test)
		strbuf_adds(&d->body, "]}");
	return r < 0 ? r : 0;
}

static int
drop_rows(struct store_tx *tx, void *arg, struct err *e)
{
	const struct delivery *d = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < d->count; i++)
		r = store_exec(
		    tx, Q_NOTIFICATION_DELETE, NULL, e, d->rows[i].revision, d->rows[i].number);
	return r;
}

static int
postpone(struct store_tx *tx, void *arg, struct err *e)
{
	const struct delivery *d = arg;

	return store_exec(tx, Q_NOTIFICATION_POSTPONE, NULL, e, d->rows[0].revision,
	    d->rows[0].number, d->attempts, d->due_us);
}

/* -- one POST -- */

static int
post(struct walrus *w, struct delivery *d, struct str url, struct err *e)
{
	struct http_header headers[] = { { STR("Content-Type"), STR("application/json") } };
	struct http_client_request request = { .method = "POST",
		.url = arena_str(d->arena, url),
		.headers = headers,
		.header_count = ARRAY_SIZE(headers),
		.body = strbuf_str(&d->body),
		.body_fd = -1,
		.timeout_ms = TIMEOUT_MS };
	struct http_client_reply reply = { 0 };
	int status, r = http_fetch(rpc_http(w->rpc), &request, &reply, e);

	status = reply.status;
	http_client_reply_done(&reply);
	if (r == 0 && status / 100 != 2)
		r = err_set(e, ERR_UNAVAILABLE, "it answered %d", status);
	return r;
}

static int64_t
pause_ms(int64_t attempts)
{
	int64_t ms = PAUSE_MIN_MS;

	while (attempts-- > 1 && ms < PAUSE_MAX_MS)
		ms *= 2;
	return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

/* It could not be delivered: the first record remembers when to try again, or all are too old. */
static int
fail(struct walrus *w, struct delivery *d, const struct err *why, struct err *e)
{
	int64_t now_us = clock_now_us();
	int64_t age_max_us = (int64_t)w->conf->notification_age_ms * 1000;

	metric_add(outcome("result=\"failed\""), 1);
	if (now_us - d->oldest_us > age_max_us) {
		log_warn(w->log, "notification.dropped", "endpoint=%s records=%zu reason=\"%s\"",
		    d->endpoint, d->count, why->text);
		metric_add(outcome("result=\"dropped\""), (double)d->count);
		return store_write(w->store, drop_rows, d, e);
	}
	if (d->attempts++ == 0)
		log_warn(w->log, "notification.failed", "endpoint=%s reason=\"%s\"", d->endpoint,
		    why->text);
	d->due_us = now_us + pause_ms(d->attempts) * 1000;
	d->is_waiting = true;
	return store_write(w->store, postpone, d, e);
}

static int
deliver(struct walrus *w, struct delivery *d, struct err *e)
{
	struct str url = notification_url(w->conf->notification_endpoints, d->endpoint);
	struct err why = { 0 };
	int r;

	if (d->due_us > clock_now_us()) {
		d->is_waiting = true;
		return 0;
	}
	r = url.p ? post(w, d, url, &why)
		  : err_set(&why, ERR_NOT_FOUND, "no endpoint has that name any more");
	if (r < 0)
		return fail(w, d, &why, e);
	metric_add(outcome("result=\"delivered\""), (double)d->count);
	return store_write(w->store, drop_rows, d, e);
}

/* -- all -- */

/* Until its queue is empty or has to wait; then *io_next_us is the earliest time of any. */
static int
serve(struct walrus *w, const char *endpoint, int64_t *io_next_us, struct err *e)
{
	for (;;) {
		_cleanup_arena_ struct arena *arena = arena_new(0);
		struct delivery *d = arena_alloc(arena, sizeof(*d));
		bool is_over;
		int r;

		d->arena = arena;
		d->endpoint = endpoint;
		r = store_read(w->store, read_delivery, d, e);
		is_over = r < 0 || d->count == 0;
		if (!is_over)
			r = deliver(w, d, e);
		if (r == 0 && d->is_waiting && d->due_us < *io_next_us)
			*io_next_us = d->due_us;
		is_over |= r < 0 || d->is_waiting;
		strbuf_done(&d->body);
		if (is_over)
			return r;
	}
}

struct endpoints {
	struct arena *arena;
	const char *names[ENDPOINTS_MAX];
	size_t count;
};

static int
read_endpoints(struct store_tx *tx, void *arg, struct err *e)
{
	struct endpoints *all = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_NOTIFICATION_ENDPOINTS, &rows, e, (int64_t)ENDPOINTS_MAX);

	while (r >= 0 && (r = store_next(rows, e)) > 0)
		all->names[all->count++] = arena_strdup(all->arena, store_text(rows, 0));
	return r;
}

int
notification_run(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct walrus *w = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct endpoints all = { .arena = arena };
	int64_t next_us = INT64_MAX, wait_ms;
	int r = store_read(w->store, read_endpoints, &all, e);

	for (size_t i = 0; r == 0 && i < all.count; i++)
		r = serve(w, all.names[i], &next_us, e);
	if (next_us == INT64_MAX)
		return r;
	wait_ms = (next_us - clock_now_us()) / 1000 + 1;
	if (wait_ms < *ret_again_ms)
		*ret_again_ms = wait_ms > 1 ? (uint32_t)wait_ms : 1;
	return r;
}
