/* Fuzzes request signatures. The first byte chooses:
 *
 * even  the rest is a request, one field per line: method, path, query, host, Authorization,
 *       x-amz-date, x-amz-content-sha256, port, body; read by versions 4 and 2 as every service. No
 *       input has a right signature, so none may be accepted.
 * odd   the rest is an aws-chunked body (second byte: which kind and the decoded length), decoded
 *       whole and in small pieces: both must say the same and hand out the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include "auth/digest.h"
#include "auth/sigv2.h"
#include "auth/sigv4.h"
#include "base/strbuf.h"
#include "tests/lib/signed_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define NOW_US (INT64_C(1440938160) * 1000000) /* 20150830T123600Z */

static struct sigv4 *
verifier(void)
{
	static struct sigv4 *v;

	if (!v)
		v = sigv4_new(documented_keys, NULL);
	return v;
}

static void
add_header(struct http_header *headers, unsigned *count, const char *name, struct str value)
{
	if (value.n > 0)
		headers[(*count)++] = (struct http_header){ str_of(name), str_trim(value) };
}

static void
check_request(struct str text)
{
	struct str fields[8];
	struct http_header headers[8];
	struct auth_request rq = { .headers = headers };
	unsigned count = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		if (!str_split(&text, '\n', &fields[i]))
			fields[i] = STR("");
	rq.method = fields[0];
	rq.path = fields[1];
	rq.query = fields[2];
	rq.host = fields[3];
	add_header(headers, &count, "Host", fields[3]);
	add_header(headers, &count, "Authorization", fields[4]);
	add_header(headers, &count, "X-Amz-Date", fields[5]);
	add_header(headers, &count, "x-amz-content-sha256", fields[6]);
	(void)str_to_u16(fields[7], &rq.port);
	rq.header_count = count;
	rq.body = text.p ? text : STR("");
	for (enum auth_service service = 0; service < AUTH_SERVICE_MAX; service++) {
		struct sigv4_result result;
		struct auth_key key;
		struct err e = { 0 };

		if (sigv4_verify(verifier(), service, &rq, NOW_US, &result, &e) >= 0)
			abort();
		if (sigv2_verify(documented_keys, NULL, service, &rq, "bucket", NOW_US, &key, &e) >=
		    0)
			abort();
	}
}

struct outcome {
	int code;
	uint8_t hash[32];
	size_t bytes, trailer_bytes;
};

static struct outcome
decode(const struct sigv4_result *seed, uint64_t length, struct str body, size_t piece)
{
	struct sigv4_chunks *c = sigv4_chunks_new(seed, length, NULL);
	EVP_MD_CTX *hash = digest_begin(DIGEST_SHA256);
	struct outcome out = { 0 };

	for (size_t at = 0; at < body.n && out.code >= 0; at += piece) {
		struct str io = { body.p + at, body.n - at < piece ? body.n - at : piece }, data;

		while ((out.code = sigv4_chunks_next(c, &io, &data, NULL)) == 1) {
			EVP_DigestUpdate(hash, data.p, data.n);
			out.bytes += data.n;
		}
		if (out.bytes > length)
			abort();
		if (out.code == 2 && out.bytes != length)
			abort();
	}
	digest_end(hash, out.hash);
	out.trailer_bytes = sigv4_chunks_trailers(c).n;
	sigv4_chunks_free(c);
	return out;
}

static void
check_chunks(const uint8_t *data, size_t n)
{
	static const enum sigv4_payload payloads[] = { SIGV4_PAYLOAD_STREAMING,
		SIGV4_PAYLOAD_STREAMING_TRAILER, SIGV4_PAYLOAD_UNSIGNED_TRAILER,
		SIGV4_PAYLOAD_UNSIGNED_TRAILER };
	struct sigv4_result seed = { .date = "20130524T000000Z",
		.scope = "20130524/us-east-1/s3/aws4_request" };
	struct str body;
	struct outcome whole;

	if (n < 1)
		return;
	seed.payload = payloads[data[0] % ARRAY_SIZE(payloads)];
	body = (struct str){ (const char *)data + 1, n - 1 };
	whole = decode(&seed, data[0] >> 2, body, SIZE_MAX / 2);
	for (size_t piece = 1; piece < 20; piece += 6) {
		struct outcome pieces = decode(&seed, data[0] >> 2, body, piece);

		if (pieces.code != whole.code || pieces.bytes != whole.bytes ||
		    pieces.trailer_bytes != whole.trailer_bytes ||
		    memcmp(pieces.hash, whole.hash, sizeof(whole.hash)) != 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0)
		return 0;
	if (data[0] % 2 == 0)
		check_request((struct str){ (const char *)data + 1, n - 1 });
	else
		check_chunks(data + 1, n - 1);
	return 0;
}
