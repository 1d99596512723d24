#pragma once
/* Counters, gauges and histograms, printed as Prometheus text 0.0.4. Names start "mallee_". Label
 * sets are fixed small strings ("operation=\"RunInstances\""), never tenants' data. Any thread. */
#include <stdint.h>
#include "base/strbuf.h"

struct metric;
struct metric *metric_counter(const char *name, const char *labels, const char *help);
struct metric *metric_gauge(const char *name, const char *labels, const char *help);
struct metric *metric_histogram(const char *name, const char *labels, const char *help); /* seconds, 1 ms to 30 s */
void metric_add(struct metric *m, double value);
void metric_set(struct metric *m, double value);
void metric_observe(struct metric *m, double seconds);
/* A value computed when /metrics is read. */
void metric_callback(const char *name, const char *labels, const char *help, double (*fn)(void *),
    void *arg);
void metrics_write(struct strbuf *out);
void metrics_reset(void); /* forget everything: tests, and the end of a daemon */
