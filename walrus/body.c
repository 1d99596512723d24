/* What was announced is settled before a byte is asked for: how long the body is without its
 * framing, and which digests it must have. */
#include "body.h"

#include "auth/digest.h"
#include "auth/sigv4.h"
#include "disk.h"
#include "request.h"

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

/* How long the body is, once decoded. */
static int
expect_length(struct request *rq, const struct sigv4_result *signature, struct err *e)
{
	struct str decoded = request_header(rq, "x-amz-decoded-content-length");
	bool has_length = request_header(rq, "content-length").p != NULL;

	rq->has_body = rq->head->content_length != 0;
	if (signature->payload >= SIGV4_PAYLOAD_STREAMING) {
		if (!decoded.p)
			return err_set(e, ERR_MISSING_CONTENT_LENGTH,
			    "You must provide the x-amz-decoded-content-length HTTP header.");
		if (!str_to_u64(decoded, &rq->body_length))
			return err_set(e, ERR_INVALID_ARGUMENT,
			    "x-amz-decoded-content-length is not a number");
		rq->chunks = sigv4_chunks_new(signature, rq->body_length);
	} else if (rq->operation->flags & S3_NEEDS_LENGTH && !has_length) {
		return err_set(e, ERR_MISSING_CONTENT_LENGTH,
		    "You must provide the Content-Length HTTP header.");
	} else {
		rq->body_length =
		    rq->head->content_length > 0 ? (uint64_t)rq->head->content_length : 0;
	}
	if (rq->body_length <= rq->operation->body_max)
		return 0;
	if (rq->operation->flags & S3_NEEDS_LENGTH)
		return err_set(e, ERR_ENTITY_TOO_LARGE,
		    "Your proposed upload exceeds the maximum allowed size");
	return err_set(e, ERR_MALFORMED_XML, "The body of this request is too large");
}

int
body_expect(struct request *rq, const struct sigv4_result *signature, struct err *e)
{
	int r = expect_length(rq, signature, e);

	if (r == 0)
		r = expect_md5(rq, e);
	if (r == 0)
		r = expect_checksum(rq, e);
	if (r == 0 && rq->operation->flags & S3_NEEDS_LENGTH)
		r = disk_admit(rq->walrus->disk, rq->body_length, e);
	if (r < 0)
		return r;
	if (signature->payload == SIGV4_PAYLOAD_SIGNED)
		rq->wanted_sha256 = arena_strdup(rq->arena, signature->payload_hash);
	if (rq->operation->flags & S3_NEEDS_LENGTH || rq->wanted_md5)
		rq->md5_context = digest_begin(DIGEST_MD5);
	if (rq->operation->flags & S3_WANTS_SHA256 || rq->wanted_sha256)
		rq->sha256_context = digest_begin(DIGEST_SHA256);
	return 0;
}

/* -- as it comes -- */

static int
take_decoded(struct request *rq, struct str bytes, struct err *e)
{
	rq->body_seen += bytes.n;
	if (rq->body_seen > rq->operation->body_max)
		return err_set(e, ERR_ENTITY_TOO_LARGE,
		    "Your proposed upload exceeds the maximum allowed size");
	if (rq->md5_context)
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

/* The trailer's line of that name. */
static struct str
trailer_value(const struct request *rq, const char *name)
{
	struct str rest = sigv4_chunks_trailers(rq->chunks), line, field;

	while (str_split(&rest, '\n', &line)) {
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (str_split(&line, ':', &field) && str_is_nocase(str_trim(field), name) && line.p)
			return str_trim(line);
	}
	return (struct str){ NULL, 0 };
}

static int
check_checksum(struct request *rq, struct err *e)
{
	const char *name = checksum_header(rq->checksum.algorithm);
	uint8_t *seen = rq->checksum_bytes;
	size_t size = checksum_end(&rq->checksum, seen), n;
	_cleanup_free_ void *wanted = NULL;

	if (!rq->wanted_checksum.p && rq->chunks)
		rq->wanted_checksum = trailer_value(rq, name);
	if (!rq->wanted_checksum.p)
		return err_set(e, ERR_MALFORMED_TRAILER,
		    "The request contained trailing data that was not well-formed or did not "
		    "conform to "
		    "our published schema.");
	if (rq->wanted_checksum.n > 64 || !base64_decode(rq->wanted_checksum, &wanted, &n) ||
	    n != size)
		return err_set(e, ERR_INVALID_REQUEST, "Value for %s header is invalid.", name);
	if (memcmp(wanted, seen, size) != 0)
		return err_set(e, ERR_BAD_DIGEST,
		    "The %s you specified did not match the calculated checksum.",
		    name + strlen("x-amz-"));
	return 0;
}

int
body_check(struct request *rq, struct err *e)
{
	char hex[65];

	if (rq->chunks && !rq->chunks_ended)
		return err_set(
		    e, ERR_INCOMPLETE_BODY, "The request body ended before its last chunk");
	if (rq->md5_context)
		digest_end(TAKE(rq->md5_context), rq->md5);
	if (rq->sha256_context)
		digest_end(TAKE(rq->sha256_context), rq->sha256);
	if (rq->wanted_md5 && memcmp(rq->wanted_md5, rq->md5, sizeof(rq->md5)) != 0)
		return err_set(e, ERR_BAD_DIGEST,
		    "The Content-MD5 you specified did not match what we received.");
	if (rq->has_checksum) {
		int r = check_checksum(rq, e);

		if (r < 0)
			return r;
	}
	if (!rq->wanted_sha256)
		return 0;
	hex_encode(rq->sha256, sizeof(rq->sha256), hex);
	if (!strings_equal(hex, rq->wanted_sha256))
		return err_set(e, ERR_CONTENT_SHA256_MISMATCH,
		    "The provided 'x-amz-content-sha256' header does not match what was computed.");
	return 0;
}
