/* Chunked bodies: the same bytes whichever way the input is cut, and agreement with llhttp: a body
 * that we accept llhttp must accept, with the same bytes, ending at the same place. The first byte
 * of the input says how it is cut.
 *
 * Known differences: llhttp refuses some bytes in chunk extensions and in trailers' values; it is
 * asked only when it had nothing against the extensions. We refuse more: sizes of more than 15
 * digits, long extensions, framing headers as trailers. */
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

struct outcome {
	int r;
	size_t consumed;
	struct strbuf body, trailers;
};

static void
decode(const char *p, size_t n, size_t piece, struct outcome *out)
{
	struct http_chunked c = { 0 };
	size_t at = 0;

	do {
		size_t part = n - at < piece ? n - at : piece;
		struct str io = { p + at, part }, data = { NULL, 0 };

		while ((out->r = http_chunked_next(&c, &io, &data, NULL)) == 1) {
			CHECK(data.n > 0 && data.p >= p && data.p + data.n <= p + n);
			strbuf_addstr(&out->body, data);
		}
		at += part - io.n;
		CHECK(out->r != 0 || io.n == 0);
	} while (out->r == 0 && at < n);
	out->consumed = at;
	strbuf_addstr(&out->trailers, strbuf_str(&c.trailers));
	http_chunked_done(&c);
}

#ifdef HAVE_LLHTTP
static void
compare(const char *p, size_t n, const struct outcome *ours, unsigned trailers)
{
	static const char head[] =
	    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
	_cleanup_strbuf_ struct strbuf in = STRBUF_INIT;
	struct oracle o = { 0 };

	strbuf_add(&in, head, sizeof(head) - 1);
	strbuf_add(&in, p, n);
	oracle_run(&o, in.p, in.n);
	if (!(o.refused && strstr(o.reason, "extension"))) {
		if (o.refused || !o.is_whole) {
			fprintf(stderr, "llhttp refuses: %s\n", o.reason);
			abort();
		}
		CHECK(str_eq(strbuf_str(&o.body), strbuf_str(&ours->body)));
		CHECK(o.consumed == sizeof(head) - 1 + ours->consumed);
		CHECK(o.header_count == 2 + trailers);
	}
	oracle_done(&o);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct outcome whole = { 0 }, cut = { 0 };
	struct http_header trailers[32];
	unsigned count = 0;
	const char *p = (const char *)data + 1;
	int r;

	if (n < 2)
		return 0;
	n--;
	decode(p, n, n, &whole);
	decode(p, n, data[0] % 17 + 1, &cut);
	CHECK(whole.r == cut.r);
	CHECK(str_eq(strbuf_str(&whole.body), strbuf_str(&cut.body)));
	if (whole.r == 2) {
		CHECK(whole.consumed == cut.consumed);
		CHECK(str_eq(strbuf_str(&whole.trailers), strbuf_str(&cut.trailers)));
		r = http_trailers_parse(strbuf_str(&whole.trailers), trailers, 32, &count, NULL);
		if (r == 0) {
#ifdef HAVE_LLHTTP
			compare(p, whole.consumed, &whole, count);
#else
			oracle_is_absent();
#endif
		}
	}
	strbuf_done(&whole.body);
	strbuf_done(&whole.trailers);
	strbuf_done(&cut.body);
	strbuf_done(&cut.trailers);
	return 0;
}
