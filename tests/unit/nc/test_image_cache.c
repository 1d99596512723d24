/* The image cache against an HTTP server that can misbehave, on loopback. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "auth/digest.h"
#include "base/clock.h"
#include "image_cache.h"
#include "run/fs.h"

#define SIZE 200000

/* -- the server: one thread per connection; what it does is in the path -- */

struct server {
	int fd;
	uint16_t port;
	pthread_t thread;
	unsigned requests; /* atomic */
};
static char content[SIZE];

static void
answer(int fd, const char *path)
{
	char head[200];
	size_t n = SIZE;
	char *body = xmemdup(content, SIZE);

	if (strncmp(path, "/damaged", 8) == 0)
		body[SIZE / 2] ^= 1;
	if (strncmp(path, "/long", 5) == 0)
		body = xrealloc(body, ++n);
	if (strncmp(path, "/missing", 8) == 0 || strncmp(path, "/expired", 8) == 0) {
		const char *text = path[1] == 'm' ? "no such key" : "Request has expired";

		dprintf(fd, "HTTP/1.1 %d x\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
		    path[1] == 'm' ? 404 : 403, strlen(text), text);
		free(body);
		return;
	}
	snprintf(head, sizeof(head),
	    "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", n);
	(void)!write(fd, head, strlen(head));
	if (strncmp(path, "/cut", 4) == 0)
		n /= 2;
	if (strncmp(path, "/slow", 5) == 0) {
		(void)!write(fd, body, n / 2);
		(void)poll(NULL, 0, 300);
		(void)!write(fd, body + n / 2, n - n / 2);
	} else if (strncmp(path, "/stall", 6) == 0) {
		(void)!write(fd, body, 10);
		(void)poll(NULL, 0, 5000);
	} else
		(void)!write(fd, body, n);
	free(body);
}

static void *
serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char request[4096] = "", path[256] = "";
	size_t n = 0;

	while (n < sizeof(request) - 1 && !strstr(request, "\r\n\r\n")) {
		ssize_t got = read(fd, request + n, sizeof(request) - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
		request[n] = 0;
	}
	if (sscanf(request, "GET %255s", path) == 1)
		answer(fd, path);
	close(fd);
	return NULL;
}

static void *
serve(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		pthread_t t;

		__atomic_fetch_add(&s->requests, 1, __ATOMIC_RELAXED);
		if (pthread_create(&t, NULL, serve_one, (void *)(intptr_t)fd) != 0)
			abort();
		pthread_detach(t);
	}
	return NULL;
}

/* -- the world -- */

struct world {
	char directory[64], cache_directory[80];
	struct server server;
	struct loop *loop;
	pthread_t thread;
	struct http_client *http;
	struct image_cache *cache;
	char digest[65], used[65];
	unsigned done; /* atomic */
	struct image_source source;
	char url[200];
};

static void *
turn(void *loop)
{
	loop_run(loop);
	return NULL;
}

static void
on_done(void *arg, const char *digest)
{
	struct world *w = arg;

	__atomic_fetch_add(&w->done, 1, __ATOMIC_RELAXED);
}

static bool
is_used(void *arg, const char *digest)
{
	struct world *w = arg;

	return strcmp(w->used, digest) == 0;
}

static void
open_cache(struct world *w, uint64_t limit)
{
	static const struct log log = { .daemon = "test" };
	struct image_cache_options o = { .directory = w->cache_directory,
		.limit = limit,
		.loop = w->loop,
		.http = w->http,
		.fetches = 2,
		.low_speed_ms = 1000,
		.log = &log,
		.is_used = is_used,
		.done = on_done,
		.arg = w };
	struct err e = { 0 };

	if (image_cache_new(&o, &w->cache, &e) < 0)
		fail_msg("%s", e.text);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(a);
	struct err e = { 0 };

	log_set_level(LOG_ERROR);
	for (size_t i = 0; i < SIZE; i++)
		content[i] = (char)(i * 7 + i / 251);
	digest_hex(DIGEST_SHA256, (struct str){ content, SIZE }, w->digest);
	strcpy(w->directory, "/tmp/image-cache-XXXXXX");
	assert_non_null(mkdtemp(w->directory));
	snprintf(w->cache_directory, sizeof(w->cache_directory), "%s/cache", w->directory);
	w->server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->server.fd, (struct sockaddr *)&a, size), 0);
	assert_int_equal(listen(w->server.fd, 16), 0);
	assert_int_equal(getsockname(w->server.fd, (struct sockaddr *)&a, &size), 0);
	w->server.port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&w->server.thread, NULL, serve, &w->server), 0);
	assert_int_equal(loop_new(&w->loop, &e), 0);
	assert_int_equal(http_client_new(w->loop, &w->http, &e), 0);
	open_cache(w, 0);
	assert_int_equal(pthread_create(&w->thread, NULL, turn, w->loop), 0);
	*state = w;
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int
teardown(void **state)
{
	struct world *w = *state;

	image_cache_cancel(w->cache);
	loop_stop(w->loop);
	pthread_join(w->thread, NULL);
	http_client_free(w->http);
	image_cache_free(w->cache);
	loop_free(w->loop);
	shutdown(w->server.fd, SHUT_RDWR);
	pthread_join(w->server.thread, NULL);
	close(w->server.fd);
	(void)nftw(w->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static struct image_file
image(struct world *w, const char *path)
{
	struct image_file f = {
		.image_id = "ami-1", .digest = w->digest, .size_bytes = SIZE, .format = "raw"
	};

	snprintf(w->url, sizeof(w->url), "http://127.0.0.1:%u%s", w->server.port, path);
	w->source.url = w->url;
	f.sources.items = &w->source;
	f.sources.count = 1;
	return f;
}

/* Asks until there is an answer. */
static int
want(struct world *w, const struct image_file *f, struct err *e)
{
	unsigned percent;

	for (int i = 0; i < 500; i++) {
		int r = image_cache_want(w->cache, f, &percent, e);

		if (r != 0)
			return r;
		(void)poll(NULL, 0, 20);
	}
	return 0;
}

static bool
has_part(struct world *w)
{
	_cleanup_free_ char *part = xasprintf("%s/%s.part", w->cache_directory, w->digest);

	return fs_exists(part);
}

static void
fetched_once_however_many_ask(void **state)
{
	struct world *w = *state;
	struct image_file f = image(w, "/slow");
	_cleanup_free_ char *path = image_cache_path(w->cache, w->digest);
	_cleanup_strbuf_ struct strbuf got = STRBUF_INIT;
	unsigned percent = 0, seen = 0;
	struct stat st;
	struct err e = { 0 };
	int r;

	for (int i = 0; i < 20; i++)
		assert_int_equal(image_cache_want(w->cache, &f, &percent, &e), 0);
	while ((r = image_cache_want(w->cache, &f, &percent, &e)) == 0) {
		/* It may have come since; in part it is never seen. */
		if (stat(path, &st) == 0)
			assert_int_equal(st.st_size, SIZE);
		seen = percent > seen ? percent : seen;
		(void)poll(NULL, 0, 10);
	}
	assert_int_equal(r, 1);
	assert_true(seen > 0 && seen <= 100);
	assert_int_equal(__atomic_load_n(&w->server.requests, __ATOMIC_RELAXED), 1);
	for (int i = 0; i < 100 && !__atomic_load_n(&w->done, __ATOMIC_RELAXED); i++)
		(void)poll(NULL, 0, 10);
	assert_int_equal(__atomic_load_n(&w->done, __ATOMIC_RELAXED), 1);
	assert_int_equal(want(w, &f, &e), 1); /* from the disk */
	assert_int_equal(__atomic_load_n(&w->server.requests, __ATOMIC_RELAXED), 1);
	assert_int_equal(fs_read(path, SIZE, &got, &e), 0);
	assert_memory_equal(got.p, content, SIZE);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static const struct {
	const char *path;
	int code;
	const char *words;
} faults[] = {
	{ "/damaged", ERR_CORRUPT, "does not match" },
	{ "/long", ERR_CORRUPT, "longer" },
	{ "/missing", ERR_NOT_FOUND, "missing" },
	{ "/expired", ERR_REQUEST_EXPIRED, "expired" },
	{ "/cut", 0, "" }, /* any error that is worth another try */
	{ "/stall", 0, "" },
};

static void
what_does_not_come_whole(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		struct image_file f = image(w, faults[i].path);
		char other[65];
		struct err e = { 0 };
		int r;

		memcpy(other, w->digest, sizeof(other));
		if (i >= 2) { /* another entry: errors are kept for some seconds */
			memset(other, 'a' + (int)i - 2, 8);
			f.digest = other;
		} else if (i == 1)
			(void)poll(NULL, 0, 3100);
		r = want(w, &f, &e);
		assert_true(r < 0);
		if (faults[i].code && (r != faults[i].code || !strstr(e.text, faults[i].words)))
			fail_msg("%s: %d %s", faults[i].path, r, e.text);
		if (!faults[i].code)
			assert_true(r != ERR_CORRUPT && r != ERR_NOT_FOUND && r != ERR_INVALID);
		assert_false(has_part(w));
		assert_int_equal(image_cache_want(w->cache, &f, &(unsigned){ 0 }, &e), r);
	}
}

/* A store that breaks off at the same place each time has a damaged file, not a bad line. */
static void
breaks_off_each_time(void **state)
{
	struct world *w = *state;
	struct image_file f = image(w, "/cut");
	struct err e = { 0 };

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(want(w, &f, &e), ERR_UNAVAILABLE);
		(void)poll(NULL, 0, 3100); /* errors are kept for some seconds */
	}
	assert_int_equal(want(w, &f, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "breaks off"));
}

/* A fresh address is used at once; the expired one is not asked again. */
static void
fresh_sources(void **state)
{
	struct world *w = *state;
	struct image_file f = image(w, "/expired");
	struct err e = { 0 };

	assert_int_equal(want(w, &f, &e), ERR_REQUEST_EXPIRED);
	assert_int_equal(want(w, &f, &e), ERR_REQUEST_EXPIRED);
	assert_int_equal(__atomic_load_n(&w->server.requests, __ATOMIC_RELAXED), 1);
	f = image(w, "/good");
	assert_int_equal(want(w, &f, &e), 1);
	f.sources.count = 0; /* there already: no source is needed */
	assert_int_equal(want(w, &f, &e), 1);
	f.digest = "0000000000000000000000000000000000000000000000000000000000000000";
	assert_int_equal(want(w, &f, &e), ERR_REQUEST_EXPIRED);
	f.digest = "../../etc/passwd";
	assert_int_equal(want(w, &f, &e), ERR_INVALID);
}

static void
another_source_helps(void **state)
{
	struct world *w = *state;
	struct image_file f = image(w, "/damaged");
	struct image_source sources[2] = { { .url = w->url } };
	_cleanup_free_ char *bad = xstrdup(w->url);
	struct err e = { 0 };

	(void)image(w, "/good");
	sources[0].url = bad;
	sources[1].url = w->url;
	f.sources.items = sources;
	f.sources.count = 2;
	assert_int_equal(want(w, &f, &e), 1);
	assert_int_equal(__atomic_load_n(&w->server.requests, __ATOMIC_RELAXED), 2);
}

static void
formats(void **state)
{
	struct world *w = *state;
	struct image_file f = image(w, "/good");
	struct err e = { 0 };

	f.format = "qcow2";
	assert_int_equal(want(w, &f, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "not a qcow2"));
}

static void
write_cached(struct world *w, char name, size_t size, int age_s)
{
	char path[200];
	struct timespec times[2] = { { .tv_sec = time(NULL) - age_s },
		{ .tv_sec = time(NULL) - age_s } };
	_cleanup_free_ char *bytes = xcalloc(1, size);
	char digest[65] = { 0 };

	memset(digest, name, 64);
	snprintf(path, sizeof(path), "%s/%s", w->cache_directory, digest);
	assert_int_equal(fs_write_atomic(path, (struct str){ bytes, size }, 0640, NULL), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool
is_cached(struct world *w, char name)
{
	char path[200], digest[65] = { 0 };

	memset(digest, name, 64);
	snprintf(path, sizeof(path), "%s/%s", w->cache_directory, digest);
	return fs_exists(path);
}

static void
the_oldest_unused_goes(void **state)
{
	struct world *w = *state;
	struct image_file f = image(w, "/good");
	char path[200];
	struct err e = { 0 };

	image_cache_free(w->cache);
	snprintf(path, sizeof(path), "%s/%s.part", w->cache_directory, w->digest);
	assert_int_equal(fs_write_atomic(path, STR("left by a kill"), 0640, NULL), 0);
	open_cache(w, 2 * SIZE);
	assert_false(has_part(w));
	write_cached(w, 'a', SIZE / 2, 300); /* the oldest, but in use */
	write_cached(w, 'b', SIZE / 2, 200);
	write_cached(w, 'c', SIZE / 2, 100);
	memset(w->used, 'a', 64);
	assert_int_equal(want(w, &f, &e), 1);
	assert_true(is_cached(w, 'a'));
	assert_false(is_cached(w, 'b'));
	assert_true(is_cached(w, 'c'));
	/* One byte more than can ever be freed. */
	f.digest = "1111111111111111111111111111111111111111111111111111111111111111";
	f.size_bytes = 2 * SIZE - SIZE / 2 + 1;
	assert_int_equal(want(w, &f, &e), ERR_NO_SPACE);
	assert_true(is_cached(w, 'a'));
}

static void
nobody_wants_it_any_more(void **state)
{
	struct world *w = *state;
	struct image_file f = image(w, "/slow");
	unsigned percent;
	struct err e = { 0 };

	assert_int_equal(image_cache_want(w->cache, &f, &percent, &e), 0);
	image_cache_forget(w->cache, w->digest);
	for (int i = 0; i < 200 && !__atomic_load_n(&w->done, __ATOMIC_RELAXED); i++)
		(void)poll(NULL, 0, 10);
	assert_false(has_part(w));
	assert_int_equal(image_cache_want(w->cache, &f, &percent, &e), ERR_CANCELLED);
	image_cache_forget(w->cache, "unknown");
}

/* The daemon stops in the middle of a transfer: nothing waits for the source. */
static void
an_end_under_way(void **state)
{
	struct world *w = *state;
	struct image_file f = image(w, "/stall");
	uint64_t began = clock_monotonic_ms();
	unsigned percent;

	assert_int_equal(image_cache_want(w->cache, &f, &percent, NULL), 0);
	(void)poll(NULL, 0, 100);
	assert_int_equal(teardown(state), 0);
	assert_true(clock_monotonic_ms() - began < 3000);
	assert_int_equal(setup(state), 0);
}

int
main(void)
{
#define IN_A_WORLD(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_A_WORLD(fetched_once_however_many_ask),
		IN_A_WORLD(what_does_not_come_whole),
		IN_A_WORLD(breaks_off_each_time),
		IN_A_WORLD(fresh_sources),
		IN_A_WORLD(another_source_helps),
		IN_A_WORLD(formats),
		IN_A_WORLD(the_oldest_unused_goes),
		IN_A_WORLD(nobody_wants_it_any_more),
		IN_A_WORLD(an_end_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
