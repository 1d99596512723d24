/* Bodies in aws-chunked coding (API reference "Transferring Payload in Multiple Chunks"):
 *
 *     hex-size[;chunk-signature=64 hex]CRLF  data  CRLF   ...   0[;...]CRLF  [trailers CRLF]  CRLF
 *
 * Each chunk's signature covers the one before it, so chunks can be neither dropped nor reordered;
 * a signed trailer continues the chain. Data is handed out as it comes, spans of the caller's
 * buffer; a wrong signature shows at its chunk's end, before which nothing may be made visible. The
 * parser holds at most one line, of at most LINE_MAX_BYTES. */
#include <openssl/crypto.h>
#include <assert.h>
#include <stdio.h>
#include "auth/digest.h"
#include "auth/sigv4.h"

#define LINE_MAX_BYTES 256 /* of a chunk's header */
#define TRAILERS_MAX_BYTES 8192
#define CHUNK_MIN 8192 /* but for the last: S3's own rule */
#define CHUNK_MAX (UINT64_C(5) << 30)
#define SIGNATURE_EXTENSION ";chunk-signature="
#define TRAILER_SIGNATURE "x-amz-trailer-signature:"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum state { AT_HEADER, IN_DATA, AFTER_DATA, AT_TRAILER, AT_END };

struct sigv4_chunks {
	enum sigv4_payload payload;
	bool is_signed, has_trailers;
	uint8_t key[32];
	char date[17], scope[128];
	char previous[65]; /* signature the next one builds on */
	char claimed[65];  /* of the chunk at hand */
	enum state state;
	uint64_t left;    /* bytes of this chunk's data to come */
	uint64_t to_come; /* decoded bytes to come in all */
	unsigned count;   /* chunks begun */
	uint64_t size;    /* of the chunk before: under CHUNK_MIN it must have been the last */
	struct err_details *details;
	EVP_MD_CTX *hash; /* of this chunk's data */
	struct strbuf line, trailers, signed_trailers;
};

struct sigv4_chunks *
sigv4_chunks_new(
    const struct sigv4_result *from, uint64_t decoded_length, struct err_details *details)
{
	struct sigv4_chunks *c = xcalloc(1, sizeof(*c));

	assert(from->payload >= SIGV4_PAYLOAD_STREAMING);
	c->payload = from->payload;
	c->is_signed = from->payload != SIGV4_PAYLOAD_UNSIGNED_TRAILER;
	c->has_trailers = from->payload != SIGV4_PAYLOAD_STREAMING;
	memcpy(c->key, from->signing_key, sizeof(c->key));
	memcpy(c->date, from->date, sizeof(c->date));
	memcpy(c->scope, from->scope, sizeof(c->scope));
	memcpy(c->previous, from->signature, sizeof(c->previous));
	c->to_come = decoded_length;
	c->details = details;
	c->line.limit = LINE_MAX_BYTES;
	c->trailers.limit = c->signed_trailers.limit = TRAILERS_MAX_BYTES;
	return c;
}

void
sigv4_chunks_free(struct sigv4_chunks *c)
{
	if (!c)
		return;
	EVP_MD_CTX_free(c->hash);
	strbuf_done(&c->line);
	strbuf_done(&c->trailers);
	strbuf_done(&c->signed_trailers);
	OPENSSL_cleanse(c->key, sizeof(c->key));
	free(c);
}

struct str
sigv4_chunks_trailers(const struct sigv4_chunks *c)
{
	return strbuf_str(&c->trailers);
}

/* The service has one answer to whatever breaks the framing. */
static int
incomplete(struct err *e)
{
	return err_set(e, ERR_INCOMPLETE_BODY, "The request body terminated unexpectedly");
}

static int
bad_trailer(struct err *e)
{
	return err_set(e, ERR_MALFORMED_TRAILER,
	    "The request contained trailing data that was not well-formed or did not conform to "
	    "our "
	    "published schema.");
}

/* Collects a line: 1 when c->line holds it without CRLF, 0 when input ran out. */
static int
take_line(struct sigv4_chunks *c, struct str *io, struct err *e)
{
	const char *end = io->n > 0 ? memchr(io->p, '\n', io->n) : NULL;
	size_t n = end ? (size_t)(end - io->p) + 1 : io->n;

	strbuf_add(&c->line, io->p, n);
	io->p += n;
	io->n -= n;
	if (c->line.overflowed)
		return incomplete(e);
	if (!end)
		return 0;
	if (c->line.n < 2 || c->line.p[c->line.n - 2] != '\r')
		return incomplete(e);
	c->line.n -= 2;
	c->line.p[c->line.n] = '\0';
	return 1;
}

static bool
read_signature(struct str hex, char out[65])
{
	if (hex.n != 64)
		return false;
	for (size_t i = 0; i < hex.n; i++)
		if (!strchr("0123456789abcdef", hex.p[i]) || !hex.p[i])
			return false;
	memcpy(out, hex.p, 64);
	out[64] = '\0';
	return true;
}

static bool
read_size(struct str hex, uint64_t *ret)
{
	uint64_t size = 0;

	if (hex.n == 0 || hex.n > 9)
		return false;
	for (size_t i = 0; i < hex.n; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = hex.p[i] ? strchr(digits, hex.p[i] | 0x20) : NULL;

		if (!digit || (hex.p[i] < '0'))
			return false;
		size = size << 4 | (uint64_t)(digit - digits);
	}
	*ret = size;
	return size <= CHUNK_MAX;
}

static int
read_header(struct sigv4_chunks *c, struct err *e)
{
	struct str line = strbuf_str(&c->line), size_text;
	uint64_t size;

	size_text = (struct str){ line.p, strcspn(line.p, ";") };
	if (!read_size(size_text, &size))
		return incomplete(e);
	line.p += size_text.n;
	line.n -= size_text.n;
	if (c->is_signed) {
		size_t n = sizeof(SIGNATURE_EXTENSION) - 1;

		if (!str_starts(line, SIGNATURE_EXTENSION) ||
		    !read_signature((struct str){ line.p + n, line.n - n }, c->claimed))
			return incomplete(e);
	} else if (line.n > 0) {
		return incomplete(e);
	}
	if (size > c->to_come)
		return incomplete(e);
	if (size > 0 && c->count > 0 && c->size < CHUNK_MIN) {
		err_detailf(c->details, "Chunk", "%u", c->count + 1);
		err_detailf(c->details, "BadChunkSize", "%llu", (unsigned long long)c->size);
		return err_set(e, ERR_INVALID_CHUNK_SIZE,
		    "Only the last chunk is allowed to have a size less than %d bytes", CHUNK_MIN);
	}
	c->count++;
	c->size = size;
	c->left = size;
	c->to_come -= size;
	return 0;
}

static void
sign_chunk(const struct sigv4_chunks *c, const char *kind, const char *hashes, char out[65])
{
	char to_sign[512];
	uint8_t mac[32];
	int n = snprintf(to_sign, sizeof(to_sign), "AWS4-HMAC-SHA256-%s\n%s\n%s\n%s\n%s", kind,
	    c->date, c->scope, c->previous, hashes);

	hmac(DIGEST_SHA256, (struct str){ (const char *)c->key, 32 },
	    (struct str){ to_sign, (size_t)n }, mac);
	hex_encode(mac, sizeof(mac), out);
}

static int
check_signature(struct sigv4_chunks *c, const char *kind, const char *hashes, struct err *e)
{
	char wanted[65];

	sign_chunk(c, kind, hashes, wanted);
	if (!digest_equal(wanted, c->claimed, 64))
		return err_set(e, ERR_SIGNATURE_DOES_NOT_MATCH,
		    "The request signature we calculated does not match the signature you "
		    "provided. Check your key and signing method.");
	memcpy(c->previous, wanted, sizeof(c->previous));
	return 0;
}

/* At the end of a chunk's data, also of the empty last one. */
static int
finish_chunk(struct sigv4_chunks *c, struct err *e)
{
	char hashes[sizeof(EMPTY_SHA256) + 1 + 64] = EMPTY_SHA256 "\n" EMPTY_SHA256;
	uint8_t hash[32];

	if (!c->is_signed)
		return 0;
	if (c->hash) {
		digest_end(TAKE(c->hash), hash);
		hex_encode(hash, sizeof(hash), hashes + sizeof(EMPTY_SHA256));
	}
	return check_signature(c, "PAYLOAD", hashes, e);
}

static void
begin_data(struct sigv4_chunks *c)
{
	c->state = IN_DATA;
	if (c->is_signed)
		c->hash = digest_begin(DIGEST_SHA256);
}

static int
begin_end(struct sigv4_chunks *c, struct err *e)
{
	int r;

	if (c->to_come > 0)
		return incomplete(e);
	r = finish_chunk(c, e);
	if (r < 0)
		return r;
	c->claimed[0] = '\0';
	c->state = AT_TRAILER;
	return 0;
}

static int
header_line(struct sigv4_chunks *c, struct err *e)
{
	int r = read_header(c, e);

	if (r < 0)
		return r;
	if (c->left == 0)
		return begin_end(c, e);
	begin_data(c);
	return 0;
}

/* Trailers end with an empty line; the signature of the rest comes last. */
static int
end_trailers(struct sigv4_chunks *c, struct err *e)
{
	char hash[65];

	if (c->is_signed && c->has_trailers) {
		if (!c->claimed[0])
			return bad_trailer(e);
		digest_hex(DIGEST_SHA256, strbuf_str(&c->signed_trailers), hash);
		if (check_signature(c, "TRAILER", hash, e) < 0)
			return ERR_SIGNATURE_DOES_NOT_MATCH;
	}
	c->state = AT_END;
	return 0;
}

static int
trailer_line(struct sigv4_chunks *c, struct err *e)
{
	struct str line = strbuf_str(&c->line), name = line;
	size_t n = sizeof(TRAILER_SIGNATURE) - 1;

	if (line.n == 0)
		return end_trailers(c, e);
	if (!c->has_trailers)
		return bad_trailer(e);
	if (c->claimed[0])
		return bad_trailer(e);
	if (c->is_signed && line.n > n && strncasecmp(line.p, TRAILER_SIGNATURE, n) == 0) {
		if (!read_signature(str_trim((struct str){ line.p + n, line.n - n }), c->claimed))
			return bad_trailer(e);
		return 0;
	}
	name.n = strcspn(line.p, ":");
	if (name.n == 0 || name.n == line.n || strlen(line.p) != line.n)
		return bad_trailer(e);
	strbuf_addf(&c->trailers, "%s\r\n", line.p);
	for (size_t i = 0; i < name.n; i++)
		strbuf_addc(&c->signed_trailers,
		    name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i]);
	strbuf_addc(&c->signed_trailers, ':');
	strbuf_addstr(&c->signed_trailers,
	    str_trim((struct str){ line.p + name.n + 1, line.n - name.n - 1 }));
	strbuf_addc(&c->signed_trailers, '\n');
	if (c->trailers.overflowed || c->signed_trailers.overflowed)
		return bad_trailer(e);
	return 0;
}

static int
after_data_line(struct sigv4_chunks *c, struct err *e)
{
	if (c->line.n > 0)
		return incomplete(e);
	c->state = AT_HEADER;
	return finish_chunk(c, e);
}

static int
take_data(struct sigv4_chunks *c, struct str *io, struct str *ret_data)
{
	size_t n = io->n < c->left ? io->n : (size_t)c->left;

	*ret_data = (struct str){ io->p, n };
	io->p += n;
	io->n -= n;
	c->left -= n;
	if (c->hash)
		EVP_DigestUpdate(c->hash, ret_data->p, n);
	if (c->left == 0)
		c->state = AFTER_DATA;
	return 1;
}

int
sigv4_chunks_next(struct sigv4_chunks *c, struct str *io, struct str *ret_data, struct err *e)
{
	int r;

	while (c->state != AT_END) {
		if (io->n == 0)
			return 0;
		if (c->state == IN_DATA)
			return take_data(c, io, ret_data);
		r = take_line(c, io, e);
		if (r <= 0)
			return r;
		r = c->state == AT_HEADER    ? header_line(c, e)
		    : c->state == AFTER_DATA ? after_data_line(c, e)
					     : trailer_line(c, e);
		strbuf_reset(&c->line);
		if (r < 0)
			return r;
	}
	if (io->n > 0)
		return incomplete(e);
	return 2;
}
