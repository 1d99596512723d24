/* A client for benchmarks: one thread, keep-alive connections on epoll, requests made and signed
 * before the clock starts, so that it takes less of the machine than what it measures.
 *
 *     load [-m METHOD] [-c CONNECTIONS] [-t SECONDS] [-n REQUESTS] [-f FIRST] [-d KEYS] [-b
 * BODY-BYTES]
 *          [-k ID:SECRET] PORT TARGET
 *
 * A '#' in TARGET becomes a number: FIRST and on with each of -n requests, or one of -d KEYS, in
 * turns. It ends after SECONDS, or when all -n requests were answered. Bodies up to 1 MiB are
 * signed with their SHA-256, longer ones as UNSIGNED-PAYLOAD. Prints one line of JSON; ends with
 * status 1 when a reply was not 2xx or a connection broke. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "auth/digest.h"
#include "auth/sigv4.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"

#define BODY_BUFFER (1024 * 1024)
#define HEAD_MAX (16 * 1024)
#define LATENCIES_MAX 4000000
#define MADE_MAX 2000000

struct connection {
	int fd;
	uint32_t events; /* that are watched */
	uint64_t sent_us;
	size_t request;
	size_t head_sent;
	uint64_t body_sent;
	char head[HEAD_MAX];
	size_t head_n;
	bool in_body, is_idle;
	uint64_t left; /* of the reply's body */
};

static struct {
	const char *method, *target;
	char *access_key_id, *secret;
	uint16_t port;
	unsigned connections, seconds;
	uint64_t count, first, distinct, body_bytes;
} o = { .method = "GET", .connections = 64, .seconds = 2 };

static struct str *heads;
static size_t head_count, next_head;
static char body[BODY_BUFFER], scratch[256 * 1024];
static uint32_t *latencies;
static uint64_t answered, errors, bytes_in, begun;
static bool is_over;
static int epoll;

static void
die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* -- what is sent -- */

static char *
target_of(uint64_t number)
{
	const char *hash = strchr(o.target, '#');

	return hash ? xasprintf("%.*s%llu%s", (int)(hash - o.target), o.target,
			  (unsigned long long)number, hash + 1)
		    : xstrdup(o.target);
}

static struct str
make_head(uint64_t number, const char *payload_hash)
{
	_cleanup_free_ char *target = target_of(number);
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%u%s", o.port, target);
	_cleanup_strbuf_ struct strbuf head = STRBUF_INIT, authorization = STRBUF_INIT;
	struct sigv4_signer signer = { o.access_key_id, o.secret, "mallee-1", "s3",
		clock_now_us() };
	struct err e = { 0 };
	char date[17];
	size_t n;

	strbuf_addf(&head, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n", o.method, target, o.port);
	if (o.access_key_id) {
		if (sigv4_sign(&signer, o.method, url, payload_hash, date, &authorization, &e) < 0)
			die(e.text);
		strbuf_addf(&head,
		    "x-amz-date: %s\r\nx-amz-content-sha256: %s\r\nAuthorization: %s\r\n", date,
		    payload_hash, strbuf_c(&authorization));
	}
	if (strcmp(o.method, "PUT") == 0)
		strbuf_addf(&head, "Content-Length: %llu\r\n", (unsigned long long)o.body_bytes);
	strbuf_adds(&head, "\r\n");
	n = head.n;
	return (struct str){ strbuf_take(&head), n };
}

static void
make_heads(void)
{
	char hash[65] = "UNSIGNED-PAYLOAD";

	random_bytes(body, sizeof(body));
	if (o.body_bytes <= sizeof(body))
		digest_hex(DIGEST_SHA256, (struct str){ body, o.body_bytes }, hash);
	head_count = 1;
	if (strchr(o.target, '#'))
		head_count = o.distinct ? o.distinct : o.count;
	if (head_count == 0 || head_count > MADE_MAX)
		die("'#' needs -n or -d");
	heads = xcalloc(head_count, sizeof(*heads));
	for (size_t i = 0; i < head_count; i++)
		heads[i] = make_head(o.first + i, hash);
}

/* -- connections -- */

static void
watch(struct connection *c, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (events == c->events)
		return;
	if (epoll_ctl(epoll, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) < 0)
		die("epoll");
	c->events = events;
}

static void
fill_parts(const struct connection *c, struct iovec parts[2])
{
	struct str head = heads[c->request];
	uint64_t at = c->body_sent % BODY_BUFFER, left = o.body_bytes - c->body_sent;

	parts[0] = (struct iovec){ (char *)head.p + c->head_sent, head.n - c->head_sent };
	parts[1] = (struct iovec){ body + at,
		left < BODY_BUFFER - at ? (size_t)left : (size_t)(BODY_BUFFER - at) };
}

/* Sends what the socket takes; the rest when it is writable. */
static void
push(struct connection *c)
{
	for (;;) {
		struct iovec parts[2];
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
		ssize_t n;
		size_t head_part;

		fill_parts(c, parts);
		if (parts[0].iov_len + parts[1].iov_len == 0) {
			watch(c, EPOLLIN);
			return;
		}
		n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			watch(c, EPOLLIN | EPOLLOUT);
			return;
		}
		if (n < 0)
			die("cannot send");
		head_part = (size_t)n < parts[0].iov_len ? (size_t)n : parts[0].iov_len;
		c->head_sent += head_part;
		c->body_sent += (uint64_t)n - head_part;
	}
}

static void
send_next(struct connection *c)
{
	c->is_idle = is_over || (o.count && begun == o.count);
	if (c->is_idle)
		return;
	begun++;
	c->request = next_head;
	next_head = next_head + 1 == head_count ? 0 : next_head + 1;
	c->head_sent = 0;
	c->body_sent = 0;
	c->head_n = 0;
	c->in_body = false;
	c->sent_us = clock_monotonic_us();
	push(c);
}

static void
connect_all(struct connection *all)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(o.port) };
	int one = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < o.connections; i++) {
		struct connection *c = &all[i];

		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			die("cannot connect");
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		watch(c, EPOLLIN);
	}
}

/* -- what comes back -- */

static void
finish(struct connection *c)
{
	if (answered < LATENCIES_MAX)
		latencies[answered] = (uint32_t)(clock_monotonic_us() - c->sent_us);
	answered++;
	send_next(c);
}

/* The head is whole: its end is at `end`. */
static void
read_head(struct connection *c, const char *end)
{
	const char *length = strcasestr(c->head, "\r\ncontent-length:");
	int status = c->head_n > 12 ? atoi(c->head + 9) : 0;

	if (status < 200 || status > 299) {
		if (errors++ == 0)
			fprintf(stderr, "load: %.300s\n", c->head);
	}
	c->left = length && length < end ? strtoull(length + 17, NULL, 10) : 0;
	c->in_body = true;
}

static void
take(struct connection *c, const char *p, size_t n)
{
	bytes_in += n;
	if (!c->in_body) {
		size_t before = c->head_n, room = HEAD_MAX - 1 - before;
		size_t copied = n < room ? n : room;
		char *end;

		memcpy(c->head + before, p, copied);
		c->head_n += copied;
		c->head[c->head_n] = 0;
		end = memmem(c->head, c->head_n, "\r\n\r\n", 4);
		if (!end) {
			if (c->head_n == HEAD_MAX - 1)
				die("a reply's head is too long");
			return;
		}
		read_head(c, end);
		n -= (size_t)(end + 4 - c->head) - before;
	}
	if (n > c->left)
		die("more than one reply");
	c->left -= n;
	if (c->left == 0)
		finish(c);
}

static void
pull(struct connection *c)
{
	ssize_t n = recv(c->fd, scratch, sizeof(scratch), MSG_DONTWAIT);

	if (n > 0)
		take(c, scratch, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		die("the server hung up");
}

/* -- the figures -- */

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
report(double seconds)
{
	size_t n = answered < LATENCIES_MAX ? answered : LATENCIES_MAX;
	struct rusage usage;
	double cpu;

	(void)getrusage(RUSAGE_SELF, &usage);
	cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	qsort(latencies, n, sizeof(*latencies), compare);
	printf("{\"requests\": %llu, \"seconds\": %.6f, \"rate\": %.1f, \"bytes\": %llu, "
	       "\"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u, \"cpu_seconds\": %.3f, "
	       "\"errors\": %llu}\n",
	    (unsigned long long)answered, seconds, (double)answered / seconds,
	    (unsigned long long)bytes_in, n ? latencies[n / 2] : 0, n ? latencies[n * 99 / 100] : 0,
	    n ? latencies[n - 1] : 0, cpu, (unsigned long long)errors);
}

static void
run(struct connection *all)
{
	struct epoll_event events[256];
	uint64_t start_us = clock_monotonic_us(), end_us = start_us + o.seconds * 1000000ull;

	for (unsigned i = 0; i < o.connections; i++)
		send_next(&all[i]);
	while (answered < begun) {
		int n = epoll_wait(epoll, events, 256, 1000);

		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;

			if (events[i].events & EPOLLOUT)
				push(c);
			if (events[i].events & ~(uint32_t)EPOLLOUT)
				pull(c);
		}
		is_over = o.seconds && clock_monotonic_us() >= end_us;
	}
	report((double)(clock_monotonic_us() - start_us) / 1e6);
}

static void
read_keys(char *pair)
{
	char *colon = strchr(pair, ':');

	if (!colon)
		die("-k ID:SECRET");
	*colon = 0;
	o.access_key_id = pair;
	o.secret = colon + 1;
}

int
main(int argc, char **argv)
{
	struct connection *all;
	int c;

	while ((c = getopt(argc, argv, "m:c:t:n:f:d:b:k:")) != -1)
		switch (c) {
		case 'm':
			o.method = optarg;
			break;
		case 'c':
			o.connections = (unsigned)atoi(optarg);
			break;
		case 't':
			o.seconds = (unsigned)atoi(optarg);
			break;
		case 'n':
			o.count = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			o.first = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			o.distinct = strtoull(optarg, NULL, 10);
			break;
		case 'b':
			o.body_bytes = strtoull(optarg, NULL, 10);
			break;
		case 'k':
			read_keys(optarg);
			break;
		default:
			return 2;
		}
	if (argc - optind != 2)
		die("load [options] PORT TARGET");
	o.port = (uint16_t)atoi(argv[optind]);
	o.target = argv[optind + 1];
	epoll = epoll_create1(EPOLL_CLOEXEC);
	latencies = xcalloc(LATENCIES_MAX, sizeof(*latencies));
	all = xcalloc(o.connections, sizeof(*all));
	make_heads();
	connect_all(all);
	run(all);
	return errors ? 1 : 0;
}
