/* Heads: what is refused and with which status, what the spans hold, and that cutting a head
 * anywhere changes nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "net/http.h"
#include "run/fs.h"
#include "tests/lib/net_peer.h"

static struct http_head head;

static bool
is(struct str s, const char *text)
{
	return str_is(s, text);
}

static void
reads_spans(void **state)
{
	static const char in[] =
	    "PUT /a%20b?x=%31&y HTTP/1.1\r\nHost: example.com:8773\r\n"
	    "Content-Length: 12\r\nX-Amz-Date:  20240101T000000Z \t\r\n"
	    "Connection: foo, Upgrade\r\nEmpty:\r\nExpect: 100-Continue\r\n\r\nbody";
	int status;

	assert_int_equal(
	    http_head_parse(in, sizeof(in) - 1, &head, &status, NULL), sizeof(in) - 1 - 4);
	assert_true(is(head.method, "PUT"));
	assert_true(is(head.target, "/a%20b?x=%31&y"));
	assert_true(is(head.path, "/a%20b"));
	assert_true(is(head.query, "x=%31&y"));
	assert_true(is(head.host, "example.com:8773"));
	assert_int_equal(head.minor, 1);
	assert_int_equal(head.content_length, 12);
	assert_int_equal(head.header_count, 6);
	assert_true(head.keep_alive && head.expect_continue && head.wants_upgrade);
	assert_true(is(http_head_find(&head, "x-amz-date"), "20240101T000000Z"));
	assert_int_equal(http_head_find(&head, "empty").n, 0);
	assert_non_null(http_head_find(&head, "empty").p);
	assert_null(http_head_find(&head, "absent").p);
	assert_int_equal(http_head_count(&head, "HOST"), 1);
}

static void
reads_forms_of_target(void **state)
{
	static const struct {
		const char *line, *path, *query, *host;
	} cases[] = {
		{ "GET / HTTP/1.1", "/", "", "h" },
		{ "GET /? HTTP/1.1", "/", "", "h" },
		{ "GET //a/../b HTTP/1.1", "//a/../b", "", "h" },
		{ "GET http://x:1/p?q HTTP/1.1", "/p", "q", "x:1" },
		{ "GET HTTPS://x HTTP/1.1", "/", "", "x" },
		{ "GET http://x?q HTTP/1.1", "/", "q", "x" },
		{ "OPTIONS * HTTP/1.1", "*", "", "h" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *in = xasprintf("%s\r\nHost: h\r\n\r\n", cases[i].line);
		int status;

		assert_int_equal(http_head_parse(in, strlen(in), &head, &status, NULL), strlen(in));
		assert_true(is(head.path, cases[i].path));
		assert_true(is(head.query, cases[i].query));
		assert_true(is(head.host, cases[i].host));
	}
}

static void
decides_keep_alive(void **state)
{
	static const struct {
		const char *version, *connection;
		bool keep;
	} cases[] = {
		{ "1.1", "x", true },
		{ "1.1", "close", false },
		{ "1.1", "x, CLOSE", false },
		{ "1.1", "closed", true },
		{ "1.1", "keep-alive, close", false },
		{ "1.0", "x", false },
		{ "1.0", "Keep-Alive", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *in =
		    xasprintf("GET / HTTP/%s\r\nHost: h\r\nConnection: %s\r\n\r\n",
			cases[i].version, cases[i].connection);
		int status;

		assert_true(http_head_parse(in, strlen(in), &head, &status, NULL) > 0);
		assert_int_equal(head.keep_alive, cases[i].keep);
	}
}

/* Every prefix of a good head wants more; every prefix of a bad one wants more or is refused with
 * the status that the whole gets; the bytes behind a head don't matter. */
static void
cuts_change_nothing(void **state)
{
	_cleanup_strbuf_ struct strbuf file = STRBUF_INIT;
	struct str rest, line;
	unsigned cases = 0;

	assert_int_equal(fs_read("tests/data/http_cases", 1 << 20, &file, NULL), 0);
	rest = strbuf_str(&file);
	while (str_split(&rest, '\n', &line)) {
		_cleanup_strbuf_ struct strbuf in = STRBUF_INIT;
		struct str name;
		int whole, whole_status, r, status;

		if (line.n == 0 || line.p[0] == '#')
			continue;
		cases++;
		assert_true(str_split(&line, ' ', &name));
		line = str_trim(line);
		net_unescape((struct str){ line.p + 4, line.n - 4 }, &in);
		whole = http_head_parse(in.p, in.n, &head, &whole_status, NULL);
		assert_int_not_equal(whole, 0);
		if (whole < 0)
			assert_int_equal(whole_status, atoi(line.p));
		for (size_t n = 0; n <= in.n && n < 4096; n++) {
			_cleanup_free_ char *exact = n ? xmemdup(in.p, n) : xmalloc(1);

			r = http_head_parse(exact, n, &head, &status, NULL);
			if (whole > 0 && r != 0 && n < (size_t)whole)
				print_error("%.*s at %zu\n", (int)name.n, name.p, n);
			if (whole > 0)
				assert_int_equal(r, n < (size_t)whole ? 0 : whole);
			else if (r != 0)
				assert_true(r < 0 && status == whole_status);
		}
	}
	assert_true(cases > 70);
}

static void
chunks_arrive_in_any_pieces(void **state)
{
	static const char in[] = "5\r\nhello\r\n1;ext=\"x\"\r\n,\r\n00A\r\n0123456789\r\n0\r\n"
				 "X-Sum: abc\r\nY:\r\n\r\nGET /";

	for (size_t piece = 1; piece <= sizeof(in) - 1; piece++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct http_chunked c = { 0 };
		struct http_header trailers[4];
		struct str data;
		unsigned count;
		size_t at = 0;
		int r = 0;

		while (r != 2) {
			size_t n = sizeof(in) - 1 - at < piece ? sizeof(in) - 1 - at : piece;
			struct str io = { in + at, n };

			while ((r = http_chunked_next(&c, &io, &data, NULL)) == 1)
				strbuf_addstr(&out, data);
			assert_true(r == 0 || r == 2);
			at += n - io.n;
		}
		assert_string_equal(strbuf_c(&out), "hello,0123456789");
		assert_string_equal(in + at, "GET /");
		assert_int_equal(
		    http_trailers_parse(strbuf_str(&c.trailers), trailers, 4, &count, NULL), 0);
		assert_int_equal(count, 2);
		assert_true(is(trailers[0].name, "X-Sum") && is(trailers[0].value, "abc"));
		assert_int_equal(
		    http_trailers_parse(strbuf_str(&c.trailers), trailers, 1, &count, NULL),
		    ERR_INVALID_REQUEST);
		http_chunked_done(&c);
	}
}

static void
ranges(void **state)
{
	static const struct {
		const char *header;
		uint64_t size;
		int r;
		uint64_t first, last;
	} cases[] = {
		{ "bytes=0-0", 10, 1, 0, 0 },
		{ "bytes=2-5", 10, 1, 2, 5 },
		{ "bytes=2-", 10, 1, 2, 9 },
		{ "bytes=2-99", 10, 1, 2, 9 },
		{ "bytes=-3", 10, 1, 7, 9 },
		{ "bytes=-30", 10, 1, 0, 9 },
		{ "Bytes=1-1", 10, 1, 1, 1 },
		{ " bytes= 1-1 ", 10, 1, 1, 1 },
		{ "bytes=9-18446744073709551615", 10, 1, 9, 9 },
		{ "bytes=10-", 10, ERR_INVALID_RANGE, 0, 0 },
		{ "bytes=0-", 0, ERR_INVALID_RANGE, 0, 0 },
		{ "bytes=-0", 10, ERR_INVALID_RANGE, 0, 0 },
		{ "bytes=-1", 0, ERR_INVALID_RANGE, 0, 0 },
		{ "bytes=5-2", 10, 0, 0, 0 },
		{ "bytes=0-1,3-4", 10, 0, 0, 0 },
		{ "bytes=a-b", 10, 0, 0, 0 },
		{ "bytes=-", 10, 0, 0, 0 },
		{ "bytes=1", 10, 0, 0, 0 },
		{ "bytes=", 10, 0, 0, 0 },
		{ "bytes", 10, 0, 0, 0 },
		{ "", 10, 0, 0, 0 },
		{ "lines=1-2", 10, 0, 0, 0 },
		{ "bytes=+1-2", 10, 0, 0, 0 },
		{ "bytes=1-2-3", 10, 0, 0, 0 },
		{ "bytes=1-99999999999999999999", 10, 1, 1, 9 },
		{ "bytes=00000000000000000000001-2", 10, 1, 1, 2 },
		{ "bytes=-99999999999999999999", 10, 1, 0, 9 },
		{ "bytes=99999999999999999999-", 10, ERR_INVALID_RANGE, 0, 0 },
		{ "bytes=99999999999999999999-99999999999999999999", 10, ERR_INVALID_RANGE, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_range range = { 0 };

		assert_int_equal(
		    http_range_parse(str_of(cases[i].header), cases[i].size, &range, NULL),
		    cases[i].r);
		if (cases[i].r == 1) {
			assert_int_equal(range.first, cases[i].first);
			assert_int_equal(range.last, cases[i].last);
		}
	}
}

static void
lists(void **state)
{
	assert_true(http_list_has(str_of("a, Close ,b"), "close"));
	assert_true(http_list_has(str_of("close"), "close"));
	assert_false(http_list_has(str_of("closed,not-close"), "close"));
	assert_false(http_list_has(str_of(""), "close"));
	assert_false(http_list_has((struct str){ NULL, 0 }, "close"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_spans),
		cmocka_unit_test(reads_forms_of_target),
		cmocka_unit_test(decides_keep_alive),
		cmocka_unit_test(cuts_change_nothing),
		cmocka_unit_test(chunks_arrive_in_any_pieces),
		cmocka_unit_test(ranges),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests_name("http_head", tests, NULL, NULL);
}
