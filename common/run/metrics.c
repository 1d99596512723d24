/* Numbers about this process. Updates are atomic and take no lock; the lock guards the registry.
 * What is printed is grouped by name, as the format demands, in order of first registration.
 * Callbacks are called without the lock, since they take locks of their own. */
#include "run/metrics.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/list.h"
#include "base/vec.h"
#include "run/lock.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
static const char *const type_names[] = { "counter", "gauge", "histogram" };
static const double bounds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
	10, 30 };
#define BUCKETS ARRAY_SIZE(bounds)

struct metric {
	struct list link; /* in family->metrics */
	char *labels;
	_Atomic double value; /* of a histogram: the sum */
	_Atomic uint64_t buckets[BUCKETS + 1];
	double (*fn)(void *arg); /* under registry_lock, with arg */
	void *arg;
};

struct family {
	struct list link; /* in families */
	char *name, *help;
	enum metric_type type;
	struct list metrics;
};

static struct lock registry_lock = LOCK_INITIALIZER(METRICS);
static struct list families = LIST_INIT(families); /* under registry_lock */

static struct family *
family_get_locked(const char *name, const char *help, enum metric_type type)
{
	struct family *f, *following;

	LIST_FOREACH (&families, f, following, link) {
		if (strcmp(f->name, name) == 0)
			return f;
	}
	f = xcalloc(1, sizeof(*f));
	f->name = xstrdup(name);
	f->help = xstrdup(help ? help : "");
	f->type = type;
	list_init(&f->metrics);
	list_add_tail(&families, &f->link);
	return f;
}

static struct metric *
metric_get_locked(const char *name, const char *labels, const char *help, enum metric_type type)
{
	struct family *f = family_get_locked(name, help, type);
	struct metric *m, *following;

	labels = labels ? labels : "";
	LIST_FOREACH (&f->metrics, m, following, link) {
		if (strcmp(m->labels, labels) == 0)
			return m;
	}
	m = xcalloc(1, sizeof(*m));
	m->labels = xstrdup(labels);
	list_add_tail(&f->metrics, &m->link);
	return m;
}

static struct metric *
metric_get(const char *name, const char *labels, const char *help, enum metric_type type)
{
	LOCK_SCOPE(&registry_lock);
	return metric_get_locked(name, labels, help, type);
}

struct metric *
metric_counter(const char *name, const char *labels, const char *help)
{
	return metric_get(name, labels, help, METRIC_COUNTER);
}

struct metric *
metric_gauge(const char *name, const char *labels, const char *help)
{
	return metric_get(name, labels, help, METRIC_GAUGE);
}

struct metric *
metric_histogram(const char *name, const char *labels, const char *help)
{
	return metric_get(name, labels, help, METRIC_HISTOGRAM);
}

void
metric_add(struct metric *m, double value)
{
	double before = atomic_load(&m->value);

	while (!atomic_compare_exchange_weak(&m->value, &before, before + value))
		;
}

void
metric_set(struct metric *m, double value)
{
	atomic_store(&m->value, value);
}

void
metric_observe(struct metric *m, double seconds)
{
	size_t i = 0;

	while (i < BUCKETS && seconds > bounds[i])
		i++;
	atomic_fetch_add(&m->buckets[i], 1);
	metric_add(m, seconds);
}

void
metric_callback(
    const char *name, const char *labels, const char *help, double (*fn)(void *), void *arg)
{
	LOCK_SCOPE(&registry_lock);
	struct metric *m = metric_get_locked(name, labels, help, METRIC_GAUGE);

	m->fn = fn;
	m->arg = arg;
}

/* Shortest text that reads back as the same number; counters stay integers. */
static void
add_number(struct strbuf *out, double value)
{
	if (value == floor(value) && fabs(value) < 1e15)
		strbuf_addf(out, "%.0f\n", value);
	else
		strbuf_addf(out, "%.9g\n", value);
}

static void
add_sample(
    struct strbuf *out, const char *name, const char *suffix, const char *labels, const char *extra)
{
	const char *comma = *labels && *extra ? "," : "";

	strbuf_addf(out, "%s%s", name, suffix);
	if (*labels || *extra)
		strbuf_addf(out, "{%s%s%s}", labels, comma, extra);
	strbuf_addc(out, ' ');
}

static void
write_histogram(struct strbuf *out, const char *name, const struct metric *m)
{
	uint64_t total = 0;

	for (size_t i = 0; i <= BUCKETS; i++) {
		char bound[32] = "le=\"+Inf\"";

		if (i < BUCKETS)
			(void)snprintf(bound, sizeof(bound), "le=\"%g\"", bounds[i]);
		total += atomic_load(&m->buckets[i]);
		add_sample(out, name, "_bucket", m->labels, bound);
		strbuf_addf(out, "%llu\n", (unsigned long long)total);
	}
	add_sample(out, name, "_sum", m->labels, "");
	add_number(out, atomic_load(&m->value));
	add_sample(out, name, "_count", m->labels, "");
	strbuf_addf(out, "%llu\n", (unsigned long long)total);
}

struct call {
	struct metric *metric;
	double (*fn)(void *arg);
	void *arg;
};

/* Metrics live until metrics_reset, so that a pointer to one may leave the lock. */
static void
refresh_callbacks(void)
{
	VEC(struct call) calls = { 0 };
	struct family *f, *next_family;
	struct metric *m, *next_metric;

	lock_take(&registry_lock);
	LIST_FOREACH (&families, f, next_family, link) {
		LIST_FOREACH (&f->metrics, m, next_metric, link) {
			if (m->fn)
				vec_add(&calls, ((struct call){ m, m->fn, m->arg }));
		}
	}
	lock_release(&registry_lock);
	VEC_FOREACH (&calls, c)
		metric_set(c->metric, c->fn(c->arg));
	vec_done(&calls);
}

static void
write_family(struct strbuf *out, const struct family *f)
{
	struct metric *m, *following;

	strbuf_addf(
	    out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, type_names[f->type]);
	LIST_FOREACH (&f->metrics, m, following, link) {
		if (f->type == METRIC_HISTOGRAM) {
			write_histogram(out, f->name, m);
			continue;
		}
		add_sample(out, f->name, "", m->labels, "");
		add_number(out, atomic_load(&m->value));
	}
}

void
metrics_write(struct strbuf *out)
{
	struct family *f, *following;

	refresh_callbacks();
	LOCK_SCOPE(&registry_lock);
	LIST_FOREACH (&families, f, following, link)
		write_family(out, f);
}

static void
family_free(struct family *f)
{
	struct metric *m, *following;

	LIST_FOREACH (&f->metrics, m, following, link) {
		free(m->labels);
		free(m);
	}
	free(f->name);
	free(f->help);
	free(f);
}

void
metrics_reset(void)
{
	struct family *f, *following;

	LOCK_SCOPE(&registry_lock);
	LIST_FOREACH (&families, f, following, link)
		family_free(f);
	list_init(&families);
}
