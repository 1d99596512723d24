/* The way out of the queue. Each endpoint is served in the order of the changes, some records in
 * one POST, one POST at a time; what it does not take is tried again after a pause that doubles,
 * and dropped when it is too old. Nobody waits for a POST: its end is noted on the loop, and the
 * next run of the reconciler writes down what came of it and sends what follows. So one that hangs
 * costs the others nothing. */
#include "base/clock.h"
#include "base/list.h"
#include "net/http_client.h"
#include "notification.h"
#include "retry.h"
#include "run/lock.h"
#include "run/metrics.h"
#include "schema.h"
#include "walrus.h"

#define RECORDS_MAX 32 /* in one POST */
#define BODY_MAX (256 * 1024)
#define TIMEOUT_MS 10000
#define ENDPOINTS_MAX 256
#define FLIGHTS_MAX 64 /* POSTs under way, of up to BODY_MAX each, which the HTTP client copies */

struct delivery { /* to one endpoint */
	struct list link;
	struct walrus *walrus;
	struct arena *arena; /* everything is in it, this too */
	const char *endpoint;
	struct {
		int64_t revision, number, since_us;
	} rows[RECORDS_MAX]; /* the oldest first */
	size_t count;
	bool is_test; /* a test event is a body of its own */
	struct strbuf body;
	int64_t attempts, due_us; /* to be remembered after a failure */
	bool is_waiting;          /* for its time */
	bool is_over;             /* under the notifier's lock; then */
	struct err why;           /* code 0: it was taken */
};

struct notifier {
	struct lock lock;
	struct list flights; /* deliveries; under lock, but only runs of the reconciler change it */
	unsigned count;      /* likewise */
	bool is_closed;      /* under lock */
	char last[128];      /* endpoint that was sent something; the run's own */
};

static void
delivery_free(struct delivery *d)
{
	strbuf_done(&d->body);
	arena_free(d->arena);
}

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
			d->attempts = store_int(rows, 5);
			d->due_us = store_int(rows, 6);
			if (!is_test)
				strbuf_adds(&d->body, "{\"Records\":[");
		} else {
			strbuf_addc(&d->body, ',');
		}
		strbuf_adds(&d->body, body);
		d->rows[d->count].revision = store_int(rows, 0);
		d->rows[d->count].since_us = store_int(rows, 4);
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

/* It could not be delivered: those that are too old are dropped, else the first record remembers
 * when to try again. */
static int
fail(struct walrus *w, struct delivery *d, const struct err *why, struct err *e)
{
	int64_t now_us = clock_now_us();
	int64_t age_max_us = (int64_t)w->conf->notification_age_ms * 1000;
	size_t old = 0;

	metric_add(outcome("result=\"failed\""), 1);
	while (old < d->count && now_us - d->rows[old].since_us > age_max_us)
		old++;
	if (old > 0) {
		log_warn(w->log, "notification.dropped", "endpoint=%s records=%zu reason=\"%s\"",
		    d->endpoint, old, why->text);
		metric_add(outcome("result=\"dropped\""), (double)old);
		d->count = old;
		return store_write(w->store, drop_rows, d, e);
	}
	if (d->attempts++ == 0)
		log_warn(w->log, "notification.failed", "endpoint=%s reason=\"%s\"", d->endpoint,
		    why->text);
	d->due_us = retry_due_us(d->attempts);
	d->is_waiting = true;
	return store_write(w->store, postpone, d, e);
}

/* On the loop. */
static void
posted(void *arg, struct http_client_reply *reply, const struct err *e)
{
	struct delivery *d = arg;
	struct walrus *w = d->walrus;
	struct notifier *n = w->notifier;
	bool is_closed;

	if (!reply)
		d->why = *e;
	else if (reply->status / 100 != 2)
		err_set(&d->why, ERR_UNAVAILABLE, "it answered %d", reply->status);
	lock_take(&n->lock);
	d->is_over = true;
	is_closed = n->is_closed;
	lock_release(&n->lock);
	if (!is_closed)
		reconciler_poke(w->notifications);
}

static void
post(struct notifier *n, struct delivery *d, struct str url)
{
	struct http_header headers[] = { { STR("Content-Type"), STR("application/json") } };
	struct http_client_request request = { .method = "POST",
		.url = arena_str(d->arena, url),
		.headers = headers,
		.header_count = ARRAY_SIZE(headers),
		.body = strbuf_str(&d->body),
		.body_fd = -1,
		.timeout_ms = TIMEOUT_MS };

	(void)snprintf(n->last, sizeof(n->last), "%s", d->endpoint);
	lock_take(&n->lock);
	list_add_tail(&n->flights, &d->link);
	n->count++;
	lock_release(&n->lock);
	http_send(rpc_http(d->walrus->rpc), &request, posted, d);
}

static int
settle(struct walrus *w, struct delivery *d, struct err *e)
{
	if (d->why.code < 0)
		return fail(w, d, &d->why, e);
	metric_add(outcome("result=\"delivered\""), (double)d->count);
	return store_write(w->store, drop_rows, d, e);
}

/* -- all -- */

static struct delivery *
take_over(struct notifier *n)
{
	struct delivery *d, *following;

	LOCK_SCOPE(&n->lock);
	LIST_FOREACH (&n->flights, d, following, link)
		if (d->is_over) {
			list_remove(&d->link);
			n->count--;
			return d;
		}
	return NULL;
}

/* What came of those that ended. Of what can't be written the endpoint hears again. */
static int
settle_all(struct walrus *w, struct err *e)
{
	struct delivery *d;
	int r = 0;

	while (r == 0 && (d = take_over(w->notifier))) {
		r = settle(w, d, e);
		delivery_free(d);
	}
	return r;
}

static bool
is_under_way(struct notifier *n, const char *endpoint)
{
	struct delivery *d, *following;

	LOCK_SCOPE(&n->lock);
	LIST_FOREACH (&n->flights, d, following, link)
		if (strings_equal(d->endpoint, endpoint))
			return true;
	return false;
}

static struct delivery *
delivery_new(struct walrus *w, const char *endpoint)
{
	struct arena *arena = arena_new(0);
	struct delivery *d = arena_alloc(arena, sizeof(*d));

	d->walrus = w;
	d->arena = arena;
	d->endpoint = arena_strdup(arena, endpoint);
	return d;
}

/* Sends what is first in its queue, if it is time; else *io_next_us is that time, if it comes
 * first. */
static int
serve(struct walrus *w, const char *endpoint, int64_t *io_next_us, struct err *e)
{
	struct delivery *d = delivery_new(w, endpoint);
	struct str url = notification_url(w->conf->notification_endpoints, endpoint);
	int r = store_read(w->store, read_delivery, d, e);

	if (r == 0 && d->count > 0 && retry_left_us(d->due_us) == 0 && url.p) {
		post(w->notifier, d, url);
		return 0;
	}
	if (r == 0 && d->count > 0 && retry_left_us(d->due_us) == 0) {
		err_set(&d->why, ERR_NOT_FOUND, "no endpoint has that name any more");
		r = settle(w, d, e);
		if (r == 0 && !d->is_waiting)
			*io_next_us = 0; /* dropped; there may be more */
	}
	if (r == 0 && d->count > 0 && d->due_us > 0 && d->due_us < *io_next_us)
		*io_next_us = d->due_us;
	delivery_free(d);
	return r;
}

struct endpoints {
	struct arena *arena;
	const char *names[ENDPOINTS_MAX];
	size_t count;
};

/* By seeks: of each there may be many records. */
static int
read_endpoints(struct store_tx *tx, void *arg, struct err *e)
{
	struct endpoints *all = arg;
	const char *after = "";
	int r = 1;

	for (all->count = 0; r > 0 && all->count < ENDPOINTS_MAX;) {
		_cleanup_(store_rows_freep) struct store_rows *rows = NULL;

		r = store_query(tx, Q_NOTIFICATION_NEXT_ENDPOINT, &rows, e, after);
		if (r == 0)
			r = store_next(rows, e);
		if (r > 0)
			after = all->names[all->count++] =
			    arena_strdup(all->arena, store_text(rows, 0));
	}
	return r < 0 ? r : 0;
}

/* In turns, from behind the one that was sent something last. */
static int
serve_all(struct walrus *w, const struct endpoints *all, int64_t *io_next_us, struct err *e)
{
	struct notifier *n = w->notifier;
	size_t first = 0;
	int r = 0;

	while (first < all->count && strcmp(all->names[first], n->last) <= 0)
		first++;
	for (size_t i = 0; r == 0 && i < all->count && n->count < FLIGHTS_MAX; i++) {
		const char *endpoint = all->names[(first + i) % all->count];

		if (!is_under_way(n, endpoint))
			r = serve(w, endpoint, io_next_us, e);
	}
	return r;
}

int
notification_run(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct walrus *w = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct endpoints all = { .arena = arena };
	int64_t next_us = INT64_MAX, wait_ms;
	int r = settle_all(w, e);

	if (r == 0)
		r = store_read(w->store, read_endpoints, &all, e);
	if (r == 0)
		r = serve_all(w, &all, &next_us, e);
	if (next_us == INT64_MAX)
		return r;
	wait_ms = (next_us - clock_now_us()) / 1000 + 1;
	if (wait_ms < *ret_again_ms)
		*ret_again_ms = wait_ms > 1 ? (uint32_t)wait_ms : 1;
	return r;
}

/* -- its life -- */

struct notifier *
notifier_new(void)
{
	struct notifier *n = xcalloc(1, sizeof(*n));

	lock_init(&n->lock, LOCK_LEAF);
	list_init(&n->flights);
	return n;
}

void
notifier_close(struct notifier *n)
{
	LOCK_SCOPE(&n->lock);
	n->is_closed = true;
}

void
notifier_free(struct notifier *n)
{
	struct delivery *d, *following;

	if (!n)
		return;
	LIST_FOREACH (&n->flights, d, following, link)
		delivery_free(d);
	lock_done(&n->lock);
	free(n);
}
