/* Heads: our own promises about what is accepted, and agreement with llhttp. What we accept llhttp
 * must accept, and see the same method, target, headers and framing in it; otherwise the two would
 * cut a connection into different requests. We may refuse more.
 *
 * Known differences: llhttp knows a fixed list of methods; it reads "CONNECT" and RTSP's targets by
 * other rules (we answer 501 before); it lets obsolete forms pass that we refuse. */
#include <stdint.h>
#include <stdlib.h>
#include "net/http.h"
#include "tests/fuzz/llhttp_oracle.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void
check_lines(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		CHECK(p[i] != '\0');
		if (p[i] == '\n')
			CHECK(i > 0 && p[i - 1] == '\r');
		if (p[i] == '\r')
			CHECK(i + 1 < n && p[i + 1] == '\n');
	}
}

static bool
lies_in(struct str s, const char *p, size_t n)
{
	return s.p >= p && s.p + s.n <= p + n;
}

static void
check_accepted(const struct http_head *h, const char *p, size_t n)
{
	check_lines(p, n);
	CHECK(n <= HTTP_HEAD_MAX && h->header_count <= HTTP_HEADERS_MAX);
	CHECK(h->method.n > 0 && lies_in(h->method, p, n));
	CHECK(h->target.n > 0 && h->target.n <= HTTP_TARGET_MAX && lies_in(h->target, p, n));
	CHECK(h->path.n > 0 && (h->path.p[0] == '/' || str_is(h->path, "*")));
	CHECK(h->content_length >= -1);
	CHECK(h->minor == 1 || h->content_length >= 0);
	CHECK(h->minor == 0 || http_head_count(h, "Host") == 1);
	CHECK(http_head_count(h, "Content-Length") + http_head_count(h, "Transfer-Encoding") <= 1);
	for (unsigned i = 0; i < h->header_count; i++) {
		CHECK(h->headers[i].name.n > 0 && lies_in(h->headers[i].name, p, n));
		CHECK(lies_in(h->headers[i].value, p, n));
		CHECK(str_eq(str_trim(h->headers[i].value), h->headers[i].value));
		CHECK(!memchr(h->headers[i].name.p, ' ', h->headers[i].name.n));
	}
}

/* Written out again from the spans, the head means the same. */
static void
check_again(const struct http_head *h)
{
	static struct http_head again;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	int status;

	strbuf_addstr(&out, h->method);
	strbuf_addc(&out, ' ');
	strbuf_addstr(&out, h->target);
	strbuf_addf(&out, " HTTP/1.%u\r\n", h->minor);
	for (unsigned i = 0; i < h->header_count; i++) {
		strbuf_addstr(&out, h->headers[i].name);
		strbuf_adds(&out, ":");
		strbuf_addstr(&out, h->headers[i].value);
		strbuf_adds(&out, "\r\n");
	}
	strbuf_adds(&out, "\r\n");
	CHECK(http_head_parse(out.p, out.n, &again, &status, NULL) == (int)out.n);
	CHECK(again.header_count == h->header_count && again.keep_alive == h->keep_alive &&
	      again.content_length == h->content_length && str_eq(again.path, h->path) &&
	      str_eq(again.query, h->query) && str_eq(again.host, h->host));
}

#ifdef HAVE_LLHTTP
static void
compare(const struct http_head *h, const char *p, size_t n)
{
	_cleanup_strbuf_ struct strbuf headers = STRBUF_INIT;
	struct oracle o = { 0 };

	oracle_run(&o, p, n);
	if (o.error == HPE_INVALID_METHOD) {
		oracle_done(&o);
		return;
	}
	if (o.refused || !o.has_head) {
		fprintf(stderr, "llhttp refuses: %s\n", o.reason);
		abort();
	}
	for (unsigned i = 0; i < h->header_count; i++) {
		strbuf_addstr(&headers, h->headers[i].name);
		strbuf_addc(&headers, '\n');
		strbuf_addstr(&headers, h->headers[i].value);
		strbuf_addc(&headers, '\n');
	}
	CHECK(str_is(h->method, llhttp_method_name((llhttp_method_t)o.method)));
	CHECK(str_eq(h->target, strbuf_str(&o.url)));
	CHECK(h->minor == o.minor && h->header_count == o.header_count);
	CHECK(str_eq(strbuf_str(&headers), strbuf_str(&o.headers)));
	CHECK((h->content_length < 0) == o.chunked);
	CHECK(h->content_length < 0 || (uint64_t)h->content_length == o.content_length);
	oracle_done(&o);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct http_head head, partial;
	const char *p = (const char *)data;
	int status, r = http_head_parse(p, n, &head, &status, NULL);

	CHECK(r <= (int)n);
	if (r < 0)
		CHECK(status >= 400 && status <= 505);
	if (r <= 0)
		return 0;
	check_accepted(&head, p, (size_t)r);
	check_again(&head);
	/* Not complete a byte earlier. */
	CHECK(http_head_parse(p, (size_t)r - 1, &partial, &status, NULL) == 0);
#ifdef HAVE_LLHTTP
	compare(&head, p, (size_t)r);
#else
	oracle_is_absent();
#endif
	return 0;
}
