/* Named loops that bring the world to what is wanted. A timer on the event loop hands the step to
 * the worker pool; the worker's result comes back as a post and arms the timer again. Everything a
 * step's caller must not race with is under one lock, and the object is counted, because a post may
 * still be under way when the owner lets go.
 *
 * poke: run now, or, while running, once more afterwards. pause: pokes are remembered, nothing runs
 * but what an operator runs by hand. */
#include "run/reconciler.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/list.h"
#include "run/lock.h"
#include "run/log.h"
#include "run/metrics.h"

#define RETRY_FIRST_MS 100
#define QUEUE_FULL_RETRY_MS 50

struct reconciler {
	_Atomic unsigned references;
	struct loop *loop;
	struct workers *workers;
	struct loop_timer *timer; /* loop thread */
	struct list link;         /* in reconcilers; with what follows under registry_lock */
	const char *daemon;
	char *name;
	uint32_t interval_ms;
	uint32_t retry_ms; /* of the next failure */
	reconciler_fn fn;
	void *arg;
	bool is_dead, is_running, is_paused;
	bool is_poked;  /* run as soon as possible */
	bool is_forced; /* by hand: even though paused */
	uint64_t runs, failures;
	int64_t last_run_us;   /* 0: never */
	int64_t next_run_us;   /* 0: none is planned */
	int64_t failing_us;    /* since when it fails; 0: it does not */
	struct err last_error; /* code 0: it went well */
	struct metric *runs_metric, *failures_metric, *last_run_metric, *next_run_metric,
	    *failing_metric;
};

static struct lock registry_lock = LOCK_INITIALIZER(RECONCILER);
static struct list reconcilers = LIST_INIT(reconcilers); /* under registry_lock */
static pthread_cond_t run_ended = PTHREAD_COND_INITIALIZER;

static struct reconciler *
reconciler_ref(struct reconciler *r)
{
	atomic_fetch_add(&r->references, 1);
	return r;
}

static void
reconciler_unref(struct reconciler *r)
{
	if (atomic_fetch_sub(&r->references, 1) > 1)
		return;
	free(r->name);
	free(r);
}

/* Up to a quarter more or less, so that many of them do not march in step. */
static uint32_t
with_jitter(uint32_t ms)
{
	uint16_t random;
	int64_t spread = ms / 4;

	random_bytes(&random, sizeof(random));
	return (uint32_t)((int64_t)ms + spread * ((int64_t)random - 32768) / 32768);
}

static void
plan_locked(struct reconciler *r, uint32_t after_ms)
{
	r->next_run_us = clock_now_us() + (int64_t)after_ms * 1000;
	metric_set(r->next_run_metric, (double)r->next_run_us / 1e6);
	loop_timer_set(r->timer, after_ms);
}

/* Returns how soon the next run is due. */
static uint32_t
record_locked(struct reconciler *r, uint32_t again_ms, const struct err *e)
{
	uint32_t after_ms;

	r->runs++;
	r->failing_us = e->code == 0 ? 0 : r->failing_us ? r->failing_us : r->last_run_us;
	r->last_error = *e;
	metric_add(r->runs_metric, 1);
	metric_set(r->last_run_metric, (double)r->last_run_us / 1e6);
	metric_set(r->failing_metric, e->code < 0);
	if (e->code == 0) {
		r->retry_ms = RETRY_FIRST_MS;
		return again_ms < r->interval_ms ? again_ms : r->interval_ms;
	}
	r->failures++;
	metric_add(r->failures_metric, 1);
	after_ms = r->retry_ms < r->interval_ms ? r->retry_ms : r->interval_ms;
	r->retry_ms = after_ms > r->interval_ms / 2 ? r->interval_ms : after_ms * 2;
	return with_jitter(after_ms);
}

/* On the loop, after each run. */
static void
on_run_ended(void *arg)
{
	struct reconciler *r = arg;

	lock_take(&registry_lock);
	if (!r->is_dead && !r->is_running) {
		bool now = r->is_forced || (r->is_poked && !r->is_paused);
		int64_t wait_us = r->next_run_us - clock_now_us();

		if (now)
			plan_locked(r, 0);
		else if (!r->is_paused)
			plan_locked(r, wait_us > 0 ? (uint32_t)(wait_us / 1000) : 0);
	}
	lock_release(&registry_lock);
	reconciler_unref(r);
}

/* A failure is logged when it begins and when its text changes, not at every retry. */
static void
log_outcome(const struct reconciler *r, const struct err *before, const struct err *now)
{
	struct log log = { .daemon = r->daemon };

	if (now->code == 0 && before->code < 0)
		log_info(&log, "reconciler.recovered", "name=%s", r->name);
	else if (now->code < 0 && (before->code == 0 || strcmp(before->text, now->text) != 0))
		log_warn(&log, "reconciler.failed", "name=%s code=%s error=\"%s\"", r->name,
		    fault_name(now->code), now->text);
}

/* On a worker. */
static void
run_step(void *arg)
{
	struct reconciler *r = arg;
	uint32_t again_ms = r->interval_ms;
	struct err e = { 0 };
	int result = r->fn(r->arg, &again_ms, &e);

	if (result == 0)
		err_clear(&e);
	else if (e.code == 0)
		err_set(&e, result, "failed without saying why");
	log_outcome(r, &r->last_error, &e); /* only we write it, so that reading needs no lock */
	lock_take(&registry_lock);
	r->last_run_us = clock_now_us();
	r->next_run_us = r->last_run_us + (int64_t)record_locked(r, again_ms, &e) * 1000;
	r->is_running = false;
	(void)pthread_cond_broadcast(&run_ended);
	lock_release(&registry_lock);
	loop_post(r->loop, on_run_ended, r); /* hands over this run's reference */
}

/* On the loop, when the timer fires. */
static void
on_timer(void *arg)
{
	struct reconciler *r = arg;

	LOCK_SCOPE(&registry_lock);
	if (r->is_dead || r->is_running || (r->is_paused && !r->is_forced))
		return;
	if (workers_run(r->workers, run_step, r, NULL) < 0) {
		plan_locked(r, QUEUE_FULL_RETRY_MS);
		return;
	}
	(void)reconciler_ref(r);
	r->is_running = true;
	r->is_poked = r->is_forced = false;
	r->next_run_us = 0;
}

struct reconciler *
reconciler_new(struct loop *loop, struct workers *workers, const char *daemon, const char *name,
    uint32_t interval_ms, reconciler_fn fn, void *arg)
{
	struct reconciler *r = xcalloc(1, sizeof(*r));
	_cleanup_free_ char *labels = xasprintf("daemon=\"%s\",name=\"%s\"", daemon, name);

	atomic_store(&r->references, 1);
	r->loop = loop;
	r->workers = workers;
	r->daemon = daemon;
	r->name = xstrdup(name);
	r->interval_ms = interval_ms;
	r->retry_ms = RETRY_FIRST_MS;
	r->fn = fn;
	r->arg = arg;
	r->runs_metric =
	    metric_counter("mallee_reconciler_runs_total", labels, "Runs of a reconciler.");
	r->failures_metric = metric_counter(
	    "mallee_reconciler_failures_total", labels, "Runs of a reconciler that failed.");
	r->last_run_metric = metric_gauge("mallee_reconciler_last_run_seconds", labels,
	    "When a reconciler last ran (Unix time).");
	r->next_run_metric = metric_gauge("mallee_reconciler_next_run_seconds", labels,
	    "When a reconciler runs next (Unix time).");
	r->failing_metric = metric_gauge(
	    "mallee_reconciler_failing", labels, "1 when a reconciler's last run failed.");
	r->timer = loop_timer_new(loop, on_timer, r);
	lock_take(&registry_lock);
	list_add_tail(&reconcilers, &r->link);
	lock_release(&registry_lock);
	reconciler_poke(r); /* timers belong to the loop */
	return r;
}

static void
stop_locked(struct reconciler *r)
{
	r->is_dead = true;
	while (r->is_running)
		(void)lock_wait(&registry_lock, &run_ended, -1);
}

void
reconciler_stop(struct reconciler *r)
{
	if (!r)
		return;
	LOCK_SCOPE(&registry_lock);
	stop_locked(r);
}

void
reconciler_free(struct reconciler *r)
{
	if (!r)
		return;
	lock_take(&registry_lock);
	stop_locked(r);
	list_remove(&r->link);
	lock_release(&registry_lock);
	loop_timer_free(TAKE(r->timer));
	reconciler_unref(r);
}

/* On the loop; owns a reference. */
static void
on_poke(void *arg)
{
	struct reconciler *r = arg;

	lock_take(&registry_lock);
	if (!r->is_dead) {
		r->is_poked = true;
		if (!r->is_running && (!r->is_paused || r->is_forced))
			plan_locked(r, 0);
	}
	lock_release(&registry_lock);
	reconciler_unref(r);
}

void
reconciler_poke(struct reconciler *r)
{
	loop_post(r->loop, on_poke, reconciler_ref(r));
}

static struct reconciler *
find_locked(const char *name)
{
	struct reconciler *r, *following;

	LIST_FOREACH (&reconcilers, r, following, link) {
		if (strcmp(r->name, name) == 0)
			return r;
	}
	return NULL;
}

bool
reconciler_run_now(const char *name)
{
	LOCK_SCOPE(&registry_lock);
	struct reconciler *r = find_locked(name);

	if (!r)
		return false;
	r->is_forced = true;
	reconciler_poke(r);
	return true;
}

bool
reconciler_pause(const char *name, bool paused)
{
	LOCK_SCOPE(&registry_lock);
	struct reconciler *r = find_locked(name);

	if (!r)
		return false;
	r->is_paused = paused;
	if (!paused)
		reconciler_poke(r);
	return true;
}

bool
reconciler_look(const char *name, struct reconciler_view *ret)
{
	LOCK_SCOPE(&registry_lock);
	struct reconciler *r = find_locked(name);

	*ret = (struct reconciler_view){ 0 };
	if (!r)
		return false;
	*ret = (struct reconciler_view){
		.is_paused = r->is_paused, .since_us = r->failing_us, .last_error = r->last_error
	};
	return true;
}

static void
describe_time(int64_t us, char out[TIME_TEXT_SIZE])
{
	if (us == 0)
		(void)snprintf(out, TIME_TEXT_SIZE, "-");
	else
		time_format_iso(us, out);
}

void
reconcilers_describe(struct strbuf *out)
{
	struct reconciler *r, *following;

	strbuf_addf(out, "%-24s %-8s %8s %8s %-24s %-24s %s\n", "NAME", "STATE", "RUNS", "FAILED",
	    "LAST", "NEXT", "RESULT");
	LOCK_SCOPE(&registry_lock);
	LIST_FOREACH (&reconcilers, r, following, link) {
		const char *state = r->is_running ? "running" : r->is_paused ? "paused" : "waiting";
		char last[TIME_TEXT_SIZE], next[TIME_TEXT_SIZE];

		describe_time(r->last_run_us, last);
		describe_time(r->is_paused ? 0 : r->next_run_us, next);
		strbuf_addf(out, "%-24s %-8s %8llu %8llu %-24s %-24s %s\n", r->name, state,
		    (unsigned long long)r->runs, (unsigned long long)r->failures, last, next,
		    r->runs == 0         ? "-"
		    : r->last_error.code ? r->last_error.text
					 : "ok");
	}
}
