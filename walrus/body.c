/* What was announced is settled before a byte is asked for: how long the body is without its
 * framing, and which digests it must have. */
#include "body.h"

#include "auth/digest.h"
#include "auth/sigv4.h"
#include "disk.h"
#include "error.h"
#include "lane.h"
#include "request.h"

/* The SHA-256 of no bytes. */
static const uint8_t empty_sha256[32] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a,
	0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c,
	0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 };

#define LANE_LEAST (1024 * 1024) /* bytes of a body that is worth a second worker */

/* -- what is announced -- */

static int
expect_md5(struct request *rq, struct err *e)
{
	struct str header = request_header(rq, "content-md5");
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	if (!header.p)
		return 0;
	if (header.n > 64 || !base64_decode(header, &bytes, &n) || n != sizeof(rq->md5))
		return err_set(
		    e, ERR_INVALID_DIGEST, "The Content-MD5 you specified is not valid.");
	rq->wanted_md5 = arena_memdup(rq->arena, bytes, n);
	return 0;
}

/* x-amz-checksum-ALGORITHM: value, or its name in x-amz-trailer. One at most, as at Amazon. */
static int
expect_checksum(struct request *rq, struct err *e)
{
	struct str trailer = request_header(rq, "x-amz-trailer");
	enum checksum_algorithm algorithm = CHECKSUM_MAX, one;
	unsigned count = 0;

	if (rq->operation->flags & S3_OBJECT_CHECKSUM)
		return 0;
	for (unsigned i = 0; i < rq->head->header_count; i++) {
		const struct http_header *h = &rq->head->headers[i];

		if (!checksum_from_header(h->name, &one))
			continue;
		algorithm = one;
		rq->wanted_checksum = h->value;
		count++;
	}
	if (trailer.p && checksum_from_header(trailer, &one)) {
		algorithm = one;
		count++;
	}
	if (count > 1)
		return err_set(e, ERR_INVALID_REQUEST,
		    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not "
		    "allowed.");
	if (count == 0 && rq->has_body && !rq->wanted_md5 &&
	    request_header(rq, "x-amz-sdk-checksum-algorithm").p)
		return err_set(e, ERR_INVALID_REQUEST,
		    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* "
		    "or x-amz-trailer headers were found.");
	if (count == 0)
		return 0;
	rq->has_checksum = true;
	checksum_begin(&rq->checksum, algorithm);
	return 0;
}

/* What x-amz-trailer announces, and x-amz-sdk-checksum-algorithm repeats. */
static int
check_announced(struct request *rq, struct err *e)
{
	struct str trailer = request_header(rq, "x-amz-trailer");
	struct str named = request_header(rq, "x-amz-sdk-checksum-algorithm");
	const char *header = rq->has_checksum ? checksum_header(rq->checksum.algorithm) : NULL;
	enum checksum_algorithm ignored;

	if (trailer.p && !checksum_from_header(trailer, &ignored))
		return err_set(e, ERR_INVALID_REQUEST,
		    "The value specified in the x-amz-trailer header is not supported");
	if (named.p && header && !str_is_nocase(named, header + strlen("x-amz-checksum-")))
		return err_set(e, ERR_INVALID_REQUEST,
		    "Value for x-amz-sdk-checksum-algorithm header is invalid.");
	return 0;
}

static int
too_large(struct request *rq, uint64_t size, struct err *e)
{
	uint64_t max = rq->operation->body_max;

	if (!(rq->operation->flags & (S3_NEEDS_LENGTH | S3_FORM))) {
		err_detailf(&rq->details, "MaxMessageLengthBytes", "%llu", (unsigned long long)max);
		return err_set(e, ERR_MESSAGE_TOO_LONG, "Your request was too big.");
	}
	err_detailf(&rq->details, "ProposedSize", "%llu", (unsigned long long)size);
	err_detailf(&rq->details, "MaxSizeAllowed", "%llu", (unsigned long long)max);
	return err_set(
	    e, ERR_ENTITY_TOO_LARGE, "Your proposed upload exceeds the maximum allowed size");
}

/* How long the body is, once decoded. One that no operation asks for is not read. */
static int
expect_length(struct request *rq, const struct sigv4_result *signature, struct err *e)
{
	struct str decoded = request_header(rq, "x-amz-decoded-content-length");
	bool has_length = request_header(rq, "content-length").p != NULL;

	rq->has_body = rq->head->content_length != 0 && rq->operation->body_max > 0;
	if (rq->operation->body_max == 0)
		return 0;
	if (signature->payload >= SIGV4_PAYLOAD_STREAMING) {
		if (!decoded.p)
			return err_set(e, ERR_MISSING_CONTENT_LENGTH,
			    "You must provide the x-amz-decoded-content-length HTTP header.");
		if (!str_to_u64(decoded, &rq->body_length))
			return error_argument(rq, "x-amz-decoded-content-length", decoded, e,
			    "The value of x-amz-decoded-content-length must be a number.");
		rq->chunks = sigv4_chunks_new(signature, rq->body_length, &rq->details);
	} else if (rq->operation->flags & S3_NEEDS_LENGTH && rq->head->content_length < 0) {
		return error_header(rq, "Transfer-Encoding", e);
	} else if (rq->operation->flags & S3_NEEDS_LENGTH && !has_length) {
		return err_set(e, ERR_MISSING_CONTENT_LENGTH,
		    "You must provide the Content-Length HTTP header.");
	} else {
		rq->body_length =
		    rq->head->content_length > 0 ? (uint64_t)rq->head->content_length : 0;
	}
	return rq->body_length > rq->operation->body_max ? too_large(rq, rq->body_length, e) : 0;
}

int
body_expect_digests(struct request *rq, struct err *e)
{
	unsigned flags = rq->operation->flags;
	bool is_object = flags & S3_NEEDS_LENGTH || rq->post;
	int r = expect_md5(rq, e);

	if (r == 0)
		r = expect_checksum(rq, e);
	if (r == 0)
		r = check_announced(rq, e);
	if (r < 0)
		return r;
	if (is_object || rq->wanted_md5)
		rq->md5_context = digest_begin(DIGEST_MD5);
	/* a form's file may lie in two pieces at once */
	if (rq->md5_context && rq->body_length >= LANE_LEAST && !rq->post)
		rq->md5_lane = lane_new(daemon_workers(rq->walrus->daemon), rq->md5_context);
	if (rq->wanted_sha256 && rq->has_body)
		rq->sha256_context = digest_begin(DIGEST_SHA256);
	return 0;
}

int
body_expect(struct request *rq, const struct sigv4_result *signature, struct err *e)
{
	int r = expect_length(rq, signature, e);

	if (r == 0 && rq->operation->flags & (S3_NEEDS_LENGTH | S3_FORM))
		r = disk_admit(rq->walrus->disk, rq->body_length, e);
	if (r < 0)
		return r;
	if (signature->payload == SIGV4_PAYLOAD_SIGNED &&
	    (rq->has_body || rq->head->content_length == 0))
		rq->wanted_sha256 = arena_strdup(rq->arena, signature->payload_hash);
	/* A form's digests are its file's, and its fields say which. */
	return rq->operation->flags & S3_FORM ? 0 : body_expect_digests(rq, e);
}

/* -- as it comes -- */

int
body_add(struct request *rq, struct str bytes, struct err *e)
{
	if (rq->md5_lane && rq->piece)
		lane_add(rq->md5_lane, bytes, rq->piece);
	else if (rq->md5_context)
		EVP_DigestUpdate(rq->md5_context, bytes.p, bytes.n);
	if (rq->sha256_context)
		EVP_DigestUpdate(rq->sha256_context, bytes.p, bytes.n);
	if (rq->has_checksum)
		checksum_add(&rq->checksum, bytes);
	if (rq->operation->data)
		return rq->operation->data(rq, bytes, e);
	strbuf_addstr(&rq->body, bytes);
	return 0;
}

static int
take_decoded(struct request *rq, struct str bytes, struct err *e)
{
	rq->body_seen += bytes.n;
	if (rq->body_seen > rq->operation->body_max)
		return too_large(rq, rq->body_seen, e);
	return rq->take ? rq->take(rq, bytes, e) : body_add(rq, bytes, e);
}

int
body_take(struct request *rq, struct str bytes, struct err *e)
{
	struct str data;
	int r;

	if (!rq->chunks)
		return take_decoded(rq, bytes, e);
	for (;;) {
		r = sigv4_chunks_next(rq->chunks, &bytes, &data, e);
		if (r < 0 || r == 0)
			return r;
		if (r == 2) {
			rq->chunks_ended = true;
			return 0;
		}
		r = take_decoded(rq, data, e);
		if (r < 0)
			return r;
	}
}

/* -- at its end -- */

static int
bad_trailer(struct err *e)
{
	return err_set(e, ERR_MALFORMED_TRAILER,
	    "The request contained trailing data that was not well-formed or did not conform to "
	    "our "
	    "published schema.");
}

/* The one line that was announced, and no other. */
static int
read_trailer(struct request *rq, struct err *e)
{
	struct str rest = sigv4_chunks_trailers(rq->chunks), line, field;
	struct str announced = request_header(rq, "x-amz-trailer");

	while (str_split(&rest, '\n', &line)) {
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n == 0)
			continue;
		(void)str_split(&line, ':', &field);
		field = str_trim(field);
		if (!announced.p || rq->wanted_checksum.p || field.n != announced.n ||
		    strncasecmp(field.p, announced.p, field.n) != 0)
			return bad_trailer(e);
		rq->wanted_checksum = str_trim(line);
	}
	return announced.p && !rq->wanted_checksum.p ? bad_trailer(e) : 0;
}

static int
bad_checksum(const char *header, struct err *e)
{
	char name[16] = "";

	header += strlen("x-amz-checksum-");
	for (size_t i = 0; header[i] && i < sizeof(name) - 1; i++)
		name[i] =
		    header[i] >= 'a' && header[i] <= 'z' ? (char)(header[i] & ~0x20) : header[i];
	return err_set(
	    e, ERR_BAD_DIGEST, "The %s you specified did not match the calculated checksum.", name);
}

static int
check_checksum(struct request *rq, struct err *e)
{
	const char *name = checksum_header(rq->checksum.algorithm);
	uint8_t *seen = rq->checksum_bytes;
	size_t size = checksum_end(&rq->checksum, seen), n;
	_cleanup_free_ void *wanted = NULL;

	if (!rq->wanted_checksum.p)
		return bad_trailer(e);
	if (rq->wanted_checksum.n > 64 || !base64_decode(rq->wanted_checksum, &wanted, &n) ||
	    n != size)
		return err_set(e, ERR_INVALID_REQUEST, "Value for %s header is invalid.", name);
	if (memcmp(wanted, seen, size) != 0)
		return bad_checksum(name, e);
	return 0;
}

static int
check_md5(struct request *rq, struct err *e)
{
	_cleanup_free_ char *wanted = NULL, *seen = NULL;

	if (!rq->wanted_md5 || memcmp(rq->wanted_md5, rq->md5, sizeof(rq->md5)) == 0)
		return 0;
	wanted = base64_encode(rq->wanted_md5, sizeof(rq->md5));
	seen = base64_encode(rq->md5, sizeof(rq->md5));
	err_detail(&rq->details, "ExpectedDigest", str_of(wanted));
	err_detail(&rq->details, "CalculatedDigest", str_of(seen));
	return err_set(
	    e, ERR_BAD_DIGEST, "The Content-MD5 you specified did not match what we received.");
}

static int
check_sha256(struct request *rq, struct err *e)
{
	uint8_t sha256[32];
	char hex[65];

	if (!rq->wanted_sha256)
		return 0;
	if (rq->sha256_context)
		digest_end(TAKE(rq->sha256_context), sha256);
	else
		memcpy(sha256, empty_sha256, sizeof(sha256));
	hex_encode(sha256, sizeof(sha256), hex);
	if (strings_equal(hex, rq->wanted_sha256))
		return 0;
	err_detail(&rq->details, "ClientComputedContentSHA256", str_of(rq->wanted_sha256));
	err_detail(&rq->details, "S3ComputedContentSHA256", str_of(hex));
	return err_set(e, ERR_CONTENT_SHA256_MISMATCH,
	    "The provided 'x-amz-content-sha256' header does not match what was computed.");
}

int
body_check(struct request *rq, struct err *e)
{
	int r = 0;

	if (rq->chunks && !rq->chunks_ended)
		return err_set(e, ERR_INCOMPLETE_BODY, "The request body terminated unexpectedly");
	if (rq->md5_lane)
		lane_finish(rq->md5_lane);
	if (rq->md5_context)
		digest_end(TAKE(rq->md5_context), rq->md5);
	if (rq->chunks)
		r = read_trailer(rq, e);
	if (r == 0)
		r = check_md5(rq, e);
	if (r == 0 && rq->has_checksum)
		r = check_checksum(rq, e);
	return r < 0 ? r : check_sha256(rq, e);
}
