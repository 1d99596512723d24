/* aws-chunked bodies: Amazon's two documented examples, fed whole and in pieces of every size, and
 * what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "auth/digest.h"
#include "auth/sigv4.h"
#include "auth/sigv4_key.h"
#include "base/strbuf.h"
#include "tests/lib/signed_request.h"

#define FIRST "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
#define SECOND "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
#define LAST "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
#define T_FIRST "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"
#define T_SECOND "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"
#define T_LAST "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"
#define T_TRAILER "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"

static void
seed_from(const char *path, struct sigv4_result *ret)
{
	struct sigv4 *verifier = sigv4_new(documented_keys, NULL);
	struct signed_request s;
	struct err e = { 0 };

	signed_request_load(&s, path);
	if (sigv4_verify(verifier, s.service, &s.rq, s.now_us, ret, &e) < 0)
		fail_msg("%s: %s", path, e.text);
	signed_request_done(&s);
	sigv4_free(verifier);
}

static void
add_chunk(struct strbuf *out, size_t n, const char *signature)
{
	strbuf_addf(out, "%zx;chunk-signature=%s\r\n", n, signature);
	for (size_t i = 0; i < n; i++)
		strbuf_addc(out, 'a');
	if (n > 0)
		strbuf_adds(out, "\r\n");
}

/* Feeds the body in pieces; the decoded bytes are counted into *ret_n. */
static int
feed(struct sigv4_chunks *c, struct str body, size_t piece, size_t *ret_n, struct err *e)
{
	*ret_n = 0;
	for (size_t at = 0; at < body.n; at += piece) {
		struct str io = { body.p + at, body.n - at < piece ? body.n - at : piece }, data;
		int r;

		while ((r = sigv4_chunks_next(c, &io, &data, e)) == 1) {
			for (size_t i = 0; i < data.n; i++)
				assert_int_equal(data.p[i], 'a');
			*ret_n += data.n;
		}
		if (r < 0)
			return r;
		if (r == 2 && at + piece >= body.n)
			return 2;
		assert_int_equal(io.n, 0);
	}
	return 0;
}

static void
documented_body(struct strbuf *out)
{
	add_chunk(out, 65536, FIRST);
	add_chunk(out, 1024, SECOND);
	add_chunk(out, 0, LAST);
	strbuf_adds(out, "\r\n");
}

static void
documented_trailer_body(struct strbuf *out)
{
	add_chunk(out, 65536, T_FIRST);
	add_chunk(out, 1024, T_SECOND);
	add_chunk(out, 0, T_LAST);
	strbuf_adds(out, "x-amz-checksum-crc32c:sOO8/Q==\r\n"
			 "x-amz-trailer-signature:" T_TRAILER "\r\n\r\n");
}

static void
test_documented_examples(void **state)
{
	static const size_t pieces[] = { 1, 2, 7, 63, 4096, 65536, SIZE_MAX / 2 };
	static const struct {
		const char *seed;
		void (*body)(struct strbuf *out);
		const char *trailers;
	} cases[] = {
		{ "tests/data/sigv4/s3-docs/put-chunked.sreq", documented_body, "" },
		{ "tests/data/sigv4/s3-docs/put-chunked-trailer.sreq", documented_trailer_body,
		    "x-amz-checksum-crc32c:sOO8/Q==\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
		struct sigv4_result seed;

		seed_from(cases[i].seed, &seed);
		cases[i].body(&body);
		if (i == 0)
			assert_int_equal(body.n, 66824); /* the example's Content-Length */
		for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
			struct sigv4_chunks *c = sigv4_chunks_new(&seed, 66560, NULL);
			struct str trailers;
			struct err e = { 0 };
			size_t n;

			if (feed(c, strbuf_str(&body), pieces[k], &n, &e) != 2)
				fail_msg("pieces of %zu: %s", pieces[k], e.text);
			assert_int_equal(n, 66560);
			trailers = sigv4_chunks_trailers(c);
			assert_true(str_is(trailers, cases[i].trailers));
			sigv4_chunks_free(c);
		}
	}
}

/* A key and seed of our own, to sign what Amazon's examples do not have. */
static void
own_seed(enum sigv4_payload payload, struct sigv4_result *ret)
{
	*ret = (struct sigv4_result){ .payload = payload,
		.date = "20130524T000000Z",
		.scope = "20130524/us-east-1/s3/aws4_request" };
	memset(ret->signing_key, 7, sizeof(ret->signing_key));
	memset(ret->signature, 'a', 64);
}

static void
sign(const struct sigv4_result *seed, const char *kind, const char *previous, const char *hashes,
    char out[65])
{
	_cleanup_free_ char *text = xasprintf(
	    "AWS4-HMAC-SHA256-%s\n%s\n%s\n%s\n%s", kind, seed->date, seed->scope, previous, hashes);
	uint8_t mac[32];

	hmac(DIGEST_SHA256, (struct str){ (const char *)seed->signing_key, 32 }, str_of(text), mac);
	hex_encode(mac, 32, out);
}

/* A signed chunk of n times 'a'; `previous` is the signature before and becomes this one's. */
static void
add_signed(struct strbuf *out, const struct sigv4_result *seed, size_t n, char previous[65])
{
	_cleanup_strbuf_ struct strbuf data = STRBUF_INIT, hashes = STRBUF_INIT;
	char hash[65], signature[65];

	for (size_t i = 0; i < n; i++)
		strbuf_addc(&data, 'a');
	digest_hex(DIGEST_SHA256, STR(""), hash);
	strbuf_addf(&hashes, "%s\n", hash);
	digest_hex(DIGEST_SHA256, strbuf_str(&data), hash);
	strbuf_adds(&hashes, hash);
	sign(seed, "PAYLOAD", previous, strbuf_c(&hashes), signature);
	add_chunk(out, n, signature);
	memcpy(previous, signature, 65);
}

static int
run(const struct sigv4_result *seed, uint64_t length, const struct strbuf *body, struct err *e)
{
	struct sigv4_chunks *c = sigv4_chunks_new(seed, length, NULL);
	size_t n;
	int r = feed(c, strbuf_str(body), SIZE_MAX / 2, &n, e);

	sigv4_chunks_free(c);
	return r;
}

static void
test_chunk_sizes(void **state)
{
	static const struct {
		size_t sizes[4];
		unsigned count;
		uint64_t length;
		int code;
	} cases[] = {
		{ { 0 }, 1, 0, 2 }, { { 1, 0 }, 2, 1, 2 }, { { 8192, 1, 0 }, 3, 8193, 2 },
		{ { 8192, 8192, 0 }, 3, 16384, 2 },
		{ { 8191, 1, 0 }, 3, 8192, ERR_INVALID_CHUNK_SIZE },
		{ { 1, 8192, 0 }, 3, 8193, ERR_INVALID_CHUNK_SIZE },
		{ { 10, 0 }, 2, 9, ERR_INCOMPLETE_BODY }, { { 10, 0 }, 2, 11, ERR_INCOMPLETE_BODY },
		{ { 0 }, 1, 1, ERR_INCOMPLETE_BODY },
		{ { 10 }, 1, 10, 0 }, /* more must come: the caller sees the body end */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
		struct sigv4_result seed;
		struct err e = { 0 };
		char previous[65];
		int r;

		own_seed(SIGV4_PAYLOAD_STREAMING, &seed);
		memcpy(previous, seed.signature, sizeof(previous));
		for (unsigned k = 0; k < cases[i].count; k++)
			add_signed(&body, &seed, cases[i].sizes[k], previous);
		if (cases[i].sizes[cases[i].count - 1] == 0)
			strbuf_adds(&body, "\r\n");
		r = run(&seed, cases[i].length, &body, &e);
		if (r != cases[i].code)
			fail_msg("case %zu: %d %s", i, r, e.text);
	}
}

/* Changes to Amazon's example, each of which must be noticed. */
static void
test_tampered_chunks(void **state)
{
	static const struct {
		const char *name, *from, *to;
		int code;
	} cases[] = {
		{ "a signature", FIRST, SECOND, ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "the last signature", LAST, FIRST, ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "a signature in upper case", "ad80c7", "AD80C7", ERR_INCOMPLETE_BODY },
		{ "no signature", ";chunk-signature=" FIRST, "", ERR_INCOMPLETE_BODY },
		{ "a short signature", FIRST, "ad80", ERR_INCOMPLETE_BODY },
		{ "another extension", ";chunk-signature", ";chunk-signatura",
		    ERR_INCOMPLETE_BODY },
		{ "no size", "10000;", ";", ERR_INCOMPLETE_BODY },
		{ "a size with a sign", "10000;", "+10000;", ERR_INCOMPLETE_BODY },
		{ "a size with 0x", "10000;", "0x10000;", ERR_INCOMPLETE_BODY },
		{ "a size with a space", "10000;", "10000 ;", ERR_INCOMPLETE_BODY },
		{ "a size that overflows", "10000;", "10000000000000000;", ERR_INCOMPLETE_BODY },
		{ "a huge size", "10000;", "fffffffff;", ERR_INCOMPLETE_BODY },
		{ "a smaller size", "10000;", "ffff;", ERR_INCOMPLETE_BODY },
		{ "a size larger than all", "10000;", "20000;", ERR_INCOMPLETE_BODY },
		{ "a bare newline", "\r\na", "\na", ERR_INCOMPLETE_BODY },
		{ "a trailer", LAST "\r\n", LAST "\r\nx-amz-checksum-crc32c:x\r\n",
		    ERR_MALFORMED_TRAILER },
		{ "a missing last CRLF", LAST "\r\n\r\n", LAST "\r\n", 0 },
		{ "bytes behind the end", LAST "\r\n\r\n", LAST "\r\n\r\nx", ERR_INCOMPLETE_BODY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf body = STRBUF_INIT, changed = STRBUF_INIT;
		struct sigv4_result seed;
		struct err e = { 0 };
		const char *at;
		size_t n;
		struct sigv4_chunks *c;
		int r;

		seed_from("tests/data/sigv4/s3-docs/put-chunked.sreq", &seed);
		documented_body(&body);
		at = strstr(body.p, cases[i].from);
		assert_non_null(at);
		strbuf_add(&changed, body.p, (size_t)(at - body.p));
		strbuf_adds(&changed, cases[i].to);
		strbuf_adds(&changed, at + strlen(cases[i].from));
		c = sigv4_chunks_new(&seed, 66560, NULL);
		r = feed(c, strbuf_str(&changed), SIZE_MAX / 2, &n, &e);
		if (r != cases[i].code)
			fail_msg("%s: %d %s", cases[i].name, r, e.text);
		sigv4_chunks_free(c);
	}
}

/* One changed byte of data is noticed at its chunk's end. */
static void
test_tampered_data(void **state)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	struct sigv4_result seed;
	struct sigv4_chunks *c;
	struct err e = { 0 };
	struct str io, data;
	int r;

	seed_from("tests/data/sigv4/s3-docs/put-chunked.sreq", &seed);
	documented_body(&body);
	body.p[1000] ^= 1;
	c = sigv4_chunks_new(&seed, 66560, NULL);
	io = strbuf_str(&body);
	while ((r = sigv4_chunks_next(c, &io, &data, &e)) == 1)
		;
	assert_int_equal(r, ERR_SIGNATURE_DOES_NOT_MATCH);
	sigv4_chunks_free(c);
}

/* Chunks out of order, dropped, or repeated: the chain of signatures breaks. */
static void
test_reordered_chunks(void **state)
{
	static const unsigned orders[][4] = { { 1, 0, 2, 3 }, { 0, 2, 2, 3 }, { 0, 2, 1, 3 },
		{ 0, 0, 1, 3 } };

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		struct strbuf chunks[4] = { STRBUF_INIT, STRBUF_INIT, STRBUF_INIT, STRBUF_INIT };
		_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
		struct sigv4_result seed;
		struct err e = { 0 };
		char previous[65];

		own_seed(SIGV4_PAYLOAD_STREAMING, &seed);
		memcpy(previous, seed.signature, sizeof(previous));
		for (unsigned k = 0; k < 4; k++)
			add_signed(&chunks[k], &seed, k < 3 ? 8192 : 0, previous);
		for (unsigned k = 0; k < 4; k++)
			strbuf_addstr(&body, strbuf_str(&chunks[orders[i][k]]));
		strbuf_adds(&body, "\r\n");
		assert_int_equal(run(&seed, 3 * 8192, &body, &e), ERR_SIGNATURE_DOES_NOT_MATCH);
		for (unsigned k = 0; k < 4; k++)
			strbuf_done(&chunks[k]);
	}
}

static void
test_unsigned_trailers(void **state)
{
	static const struct {
		const char *body;
		uint64_t length;
		int code;
		const char *trailers;
	} cases[] = {
		{ "3\r\naaa\r\n0\r\nx-amz-checksum-crc32:Aq==\r\n\r\n", 3, 2,
		    "x-amz-checksum-crc32:Aq==\r\n" },
		{ "3\r\naaa\r\n0\r\n\r\n", 3, 2, "" },
		{ "1\r\na\r\n2\r\naa\r\n0\r\n\r\n", 3, ERR_INVALID_CHUNK_SIZE, NULL },
		{ "0\r\nx-amz-checksum-sha1: spaces \r\nb:c\r\n\r\n", 0, 2,
		    "x-amz-checksum-sha1: spaces \r\nb:c\r\n" },
		{ "3;chunk-signature=" FIRST "\r\naaa\r\n0\r\n\r\n", 3, ERR_INCOMPLETE_BODY, NULL },
		{ "3\r\naaaa\r\n0\r\n\r\n", 3, ERR_INCOMPLETE_BODY, NULL },
		{ "4\r\naaaa\r\n0\r\n\r\n", 3, ERR_INCOMPLETE_BODY, NULL },
		{ "3\r\naaa\r\n0\r\nno colon\r\n\r\n", 3, ERR_MALFORMED_TRAILER, NULL },
		{ "3\r\naaa\r\n0\r\n:no name\r\n\r\n", 3, ERR_MALFORMED_TRAILER, NULL },
		{ "3\r\naaa\r\n0\r\n\r\n\r\n", 3, ERR_INCOMPLETE_BODY, NULL },
		{ "3\r\naaa\r\n0\r\n", 3, 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t piece = 1; piece < 50; piece += 6) {
			struct sigv4_chunks *c;
			struct sigv4_result seed;
			struct err e = { 0 };
			size_t n;
			int r;

			own_seed(SIGV4_PAYLOAD_UNSIGNED_TRAILER, &seed);
			c = sigv4_chunks_new(&seed, cases[i].length, NULL);
			r = feed(c, str_of(cases[i].body), piece, &n, &e);
			if (r != cases[i].code)
				fail_msg("case %zu in pieces of %zu: %d %s", i, piece, r, e.text);
			if (r == 2) {
				struct str trailers = sigv4_chunks_trailers(c);

				assert_int_equal(n, cases[i].length);
				assert_true(str_is(trailers, cases[i].trailers));
			}
			sigv4_chunks_free(c);
		}
}

static void
test_signed_trailers(void **state)
{
	static const struct {
		const char *trailers, *signed_form;
		bool sign;
		int code;
	} cases[] = {
		{ "a:1\r\nb: 2 \r\n", "a:1\nb:2\n", true, 2 },
		{ "X-Amz-Checksum-CRC32C:x\r\n", "x-amz-checksum-crc32c:x\n", true, 2 },
		{ "", "", true, 2 },
		{ "a:1\r\n", "a:2\n", true, ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "a:1\r\n", "", true, ERR_SIGNATURE_DOES_NOT_MATCH },
		{ "a:1\r\n", NULL, false, ERR_MALFORMED_TRAILER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
		struct sigv4_result seed;
		char previous[65], hash[65], signature[65];
		struct err e = { 0 };
		int r;

		own_seed(SIGV4_PAYLOAD_STREAMING_TRAILER, &seed);
		memcpy(previous, seed.signature, sizeof(previous));
		add_signed(&body, &seed, 3, previous);
		add_signed(&body, &seed, 0, previous);
		strbuf_adds(&body, cases[i].trailers);
		if (cases[i].sign) {
			digest_hex(DIGEST_SHA256, str_of(cases[i].signed_form), hash);
			sign(&seed, "TRAILER", previous, hash, signature);
			strbuf_addf(&body, "x-amz-trailer-signature:%s\r\n", signature);
		}
		strbuf_adds(&body, "\r\n");
		r = run(&seed, 3, &body, &e);
		if (r != cases[i].code)
			fail_msg("case %zu: %d %s", i, r, e.text);
	}
}

static void
test_endless_lines(void **state)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	struct sigv4_result seed;
	struct err e = { 0 };

	own_seed(SIGV4_PAYLOAD_UNSIGNED_TRAILER, &seed);
	for (int i = 0; i < 1000; i++)
		strbuf_adds(&body, "0");
	assert_int_equal(run(&seed, 0, &body, &e), ERR_INCOMPLETE_BODY);
	strbuf_reset(&body);
	strbuf_adds(&body, "0\r\n");
	for (int i = 0; i < 1000; i++)
		strbuf_adds(&body, "name:value\r\n");
	assert_int_equal(run(&seed, 0, &body, &e), ERR_MALFORMED_TRAILER);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documented_examples),
		cmocka_unit_test(test_chunk_sizes),
		cmocka_unit_test(test_tampered_chunks),
		cmocka_unit_test(test_tampered_data),
		cmocka_unit_test(test_reordered_chunks),
		cmocka_unit_test(test_unsigned_trailers),
		cmocka_unit_test(test_signed_trailers),
		cmocka_unit_test(test_endless_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
