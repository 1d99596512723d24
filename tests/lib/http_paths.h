#pragma once
/* A server whose handler does what the path of a request says ("/echo", "/stream", "/keep"), and counts what
 * it saw. For cmocka: a test's setup and teardown, and a group's. */
#include <stdatomic.h>
#include "tests/lib/net_peer.h"

#define STREAM_BYTES (10u << 20)
#define HEAD_TIMEOUT_MS 700
#define WINDOW_MS 600
#define ASK(path) "GET " path " HTTP/1.1\r\nHost: t\r\n\r\n"

/* Of all requests since setup. */
extern struct http_seen {
	atomic_uint heads, ends, gones, completes, expiries, drain_calls, pieces_max, slow_pieces;
	atomic_size_t queued_max;
	atomic_uint resumed_alive, resumed_gone;
	struct http_ref kept; /* of the last /keep */
	atomic_bool has_kept;
} http_seen;
bool http_seen_reaches(atomic_uint *counter, unsigned value); /* within 5 s */

extern struct http_server_options http_paths_options;
extern struct net_server http_paths_server;
extern char *http_paths_file; /* STREAM_BYTES of the pattern */
char http_pattern_at(uint64_t i);
/* For http_resume: answers with the text `arg`, and counts whether anybody was there. */
void http_paths_answer(struct http_exchange *x, void *arg);
/* The same: the pieces that /hold keeps go back. */
void http_paths_let_go(struct http_exchange *x, void *arg);

/* Each test has a fresh server and, at its end, no exchange that was not let go. */
int http_paths_setup(void **state);
/* For tests of deadlines only: a busy machine must not fail the others. */
int http_paths_setup_hasty(void **state);
int http_paths_teardown(void **state);
int http_paths_make_file(void **state);
int http_paths_remove_file(void **state);
