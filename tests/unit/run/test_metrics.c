/* The text that Prometheus reads, to the letter; sums under contention. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include "run/metrics.h"

static int
forget(void **state)
{
	metrics_reset();
	return 0;
}

static double
seven(void *arg)
{
	/* A callback may use the registry. */
	metric_add(metric_counter("mallee_called_total", NULL, "Calls."), 1);
	return *(double *)arg;
}

static void
prints_families_together(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	double value = 7;
	struct metric *run =
	    metric_counter("mallee_requests_total", "operation=\"Run\"", "Requests.");

	metric_set(metric_gauge("mallee_load", NULL, "Load."), 1.25);
	metric_add(metric_counter("mallee_requests_total", "operation=\"Stop\"", "Requests."), 2);
	metric_add(run, 1);
	assert_ptr_equal(
	    run, metric_counter("mallee_requests_total", "operation=\"Run\"", "Requests."));
	metric_add(run, 1e9);
	metric_callback("mallee_seven", NULL, "Seven.", seven, &value);
	metrics_write(&out);
	assert_string_equal(strbuf_c(&out),
	    "# HELP mallee_requests_total Requests.\n# TYPE mallee_requests_total counter\n"
	    "mallee_requests_total{operation=\"Run\"} 1000000001\n"
	    "mallee_requests_total{operation=\"Stop\"} 2\n"
	    "# HELP mallee_load Load.\n# TYPE mallee_load gauge\nmallee_load 1.25\n"
	    "# HELP mallee_seven Seven.\n# TYPE mallee_seven gauge\nmallee_seven 7\n"
	    "# HELP mallee_called_total Calls.\n# TYPE mallee_called_total counter\n"
	    "mallee_called_total 1\n");
}

static void
histograms_are_cumulative(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct metric *m = metric_histogram("mallee_seconds", "op=\"x\"", "Time.");

	metric_observe(m, 0.001); /* a bound belongs to its bucket */
	metric_observe(m, 0.0011);
	metric_observe(m, 30);
	metric_observe(m, 31);
	metrics_write(&out);
	assert_non_null(strstr(strbuf_c(&out), "mallee_seconds_bucket{op=\"x\",le=\"0.001\"} 1\n"));
	assert_non_null(
	    strstr(strbuf_c(&out), "mallee_seconds_bucket{op=\"x\",le=\"0.0025\"} 2\n"));
	assert_non_null(strstr(strbuf_c(&out), "mallee_seconds_bucket{op=\"x\",le=\"10\"} 2\n"));
	assert_non_null(strstr(strbuf_c(&out), "mallee_seconds_bucket{op=\"x\",le=\"30\"} 3\n"));
	assert_non_null(strstr(strbuf_c(&out), "mallee_seconds_bucket{op=\"x\",le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(strbuf_c(&out), "mallee_seconds_sum{op=\"x\"} 61.0021\n"));
	assert_non_null(strstr(strbuf_c(&out), "mallee_seconds_count{op=\"x\"} 4\n"));
}

enum { THREADS = 4, ROUNDS = 5000 };

static void *
count(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		metric_add(metric_counter("mallee_n_total", NULL, "N."), 1);
	return NULL;
}

static void
no_increment_is_lost(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	metrics_write(&out);
	assert_non_null(strstr(strbuf_c(&out), "\nmallee_n_total 20000\n"));
}

#define T(name) cmocka_unit_test_teardown(name, forget)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(prints_families_together),
		T(histograms_are_cumulative),
		T(no_increment_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
