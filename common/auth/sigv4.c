/* Verifying Signature Version 4. A request is read into a `claim` (who says they signed what,
 * when), the claim is checked against the rules and the clock, then the canonical request is built
 * from the raw bytes and its signature compared in constant time, for each variant of path and Host
 * that real clients mean (canonical.h). Key and scope are the client's: the key is derived from the
 * scope it sent, whatever region that names. An unknown access key goes all the way with a secret
 * nobody has, so that time does not tell it from a wrong signature. */
#include "auth/sigv4.h"

#include <openssl/crypto.h>
#include <assert.h>
#include <stdio.h>
#include "auth/auth_problem.h"
#include "auth/canonical.h"
#include "auth/digest.h"
#include "auth/sigv4_key.h"
#include "base/arena.h"
#include "base/clock.h"
#include "net/url.h"

#define SKEW_US (15 * 60 * INT64_C(1000000))
#define EXPIRES_MAX_S 604800
#define SIGNED_HEADERS_MAX 128
#define PARAMETERS_MAX 1000
#define SCOPE_PART_MAX 32 /* region, service: four parts fit sigv4_result.scope */
#define ARENA_MAX (512 * 1024)

struct sigv4 {
	auth_lookup_fn lookup;
	void *arg;
	struct sigv4_keys *keys;
};

struct claim {
	bool is_presigned;
	struct str access_key_id;
	struct sigv4_scope scope;
	char scope_text[128];
	struct str signed_headers, signature;
	char date[17];
	int64_t date_us;
	uint32_t expires_s;
	struct str payload_hash;
};

/* What the functions below hand on. */
struct checking {
	enum auth_service service;
	const struct auth_request *rq;
	struct arena *arena;
	struct claim claim;
	struct err *e;
};

struct sigv4 *
sigv4_new(auth_lookup_fn lookup, void *arg)
{
	struct sigv4 *s = xcalloc(1, sizeof(*s));

	s->lookup = lookup;
	s->arg = arg;
	s->keys = sigv4_keys_new();
	return s;
}

void
sigv4_free(struct sigv4 *s)
{
	if (!s)
		return;
	sigv4_keys_free(s->keys);
	free(s);
}

static bool
query_has(struct str query, const char *name)
{
	struct str part, key;

	while (str_split(&query, '&', &part))
		if (str_split(&part, '=', &key) && str_is(key, name))
			return true;
	return false;
}

static bool
is_in_header(const struct auth_request *rq)
{
	return str_starts(auth_header(rq, "authorization"), "AWS4-");
}

static bool
is_in_query(const struct auth_request *rq)
{
	return query_has(rq->query, "X-Amz-Algorithm") ||
	       query_has(rq->query, "X-Amz-Credential") || query_has(rq->query, "X-Amz-Signature");
}

bool
sigv4_is_present(const struct auth_request *rq)
{
	return is_in_header(rq) || is_in_query(rq);
}

static int
refuse(const struct checking *c, enum auth_problem problem, const char *what)
{
	return auth_refuse(c->service, problem, c->e, "%s", what);
}

static int
malformed(const struct checking *c, const char *what)
{
	return refuse(c, c->claim.is_presigned ? AUTH_BAD_PARAMETER : AUTH_MALFORMED, what);
}

static bool
is_name(struct str s, size_t max)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return s.n > 0 && s.n <= max;
}

/* "access key/20130524/us-east-1/s3/aws4_request" */
static int
read_credential(struct checking *c, struct str credential)
{
	struct claim *claim = &c->claim;
	struct str rest = credential, end = { NULL, 0 };
	int n;

	if (!str_split(&rest, '/', &claim->access_key_id) ||
	    !str_split(&rest, '/', &claim->scope.date) ||
	    !str_split(&rest, '/', &claim->scope.region) ||
	    !str_split(&rest, '/', &claim->scope.service) || !str_split(&rest, '/', &end) ||
	    rest.p || !str_is(end, "aws4_request"))
		return malformed(c,
		    "the credential must be '<access key>/<date>/<region>/<service>/aws4_request'");
	if (!is_name(claim->access_key_id, 128) || claim->scope.date.n != 8 ||
	    !is_name(claim->scope.date, 8) || !is_name(claim->scope.region, SCOPE_PART_MAX) ||
	    !is_name(claim->scope.service, SCOPE_PART_MAX))
		return malformed(c, "the credential scope is malformed");
	n = snprintf(claim->scope_text, sizeof(claim->scope_text), "%.*s",
	    (int)(credential.n - claim->access_key_id.n - 1), claim->scope.date.p);
	assert(n > 0 && (size_t)n < sizeof(claim->scope_text));
	return 0;
}

static int
read_date(struct checking *c, struct str text)
{
	struct claim *claim = &c->claim;

	if (text.n != sizeof(claim->date) - 1 || !time_parse_basic(text, &claim->date_us))
		return malformed(c, "the date must be ISO 8601 basic: 20130524T000000Z");
	memcpy(claim->date, text.p, text.n);
	if (memcmp(claim->date, claim->scope.date.p, 8) != 0)
		return malformed(c, "the date in the credential scope is not the request's");
	return 0;
}

/* "Credential=..., SignedHeaders=..., Signature=...", the spaces are optional. */
static int
read_authorization(struct checking *c, struct str value)
{
	struct str rest, part, name, credential = { NULL, 0 };
	struct claim *claim = &c->claim;
	struct {
		const char *name;
		struct str *field;
	} fields[] = {
		{ "Credential", &credential },
		{ "SignedHeaders", &claim->signed_headers },
		{ "Signature", &claim->signature },
	};

	if (!str_starts(value, SIGV4_ALGORITHM " "))
		return malformed(c, "only " SIGV4_ALGORITHM " is supported");
	rest = (struct str){ value.p + sizeof(SIGV4_ALGORITHM), value.n - sizeof(SIGV4_ALGORITHM) };
	while (str_split(&rest, ',', &part)) {
		unsigned i = 0;

		part = str_trim(part);
		(void)str_split(&part, '=', &name);
		while (i < ARRAY_SIZE(fields) && !str_is(name, fields[i].name))
			i++;
		if (i == ARRAY_SIZE(fields) || fields[i].field->p || !part.p)
			return malformed(
			    c, "the Authorization header has an unknown or repeated part");
		*fields[i].field = part;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		if (!fields[i].field->p)
			return auth_refuse(c->service, AUTH_MALFORMED, c->e,
			    "the Authorization header requires '%s'", fields[i].name);
	return read_credential(c, credential);
}

/* x-amz-date, or Date in either of the forms clients use. */
static int
read_header_date(struct checking *c)
{
	struct str amz = auth_header(c->rq, "x-amz-date"), date = auth_header(c->rq, "date");
	char text[TIME_TEXT_SIZE];
	int64_t us;

	if (amz.p)
		return read_date(c, amz);
	if (!date.p)
		return malformed(c, "the request needs a date: x-amz-date or Date");
	if (!time_parse_http(date, &us))
		return read_date(c, date);
	time_format_basic(us, text);
	return read_date(c, str_of(text));
}

static int
read_header_claim(struct checking *c)
{
	int r;

	if (auth_header_count(c->rq, "authorization") > 1 ||
	    auth_header_count(c->rq, "x-amz-date") > 1 || auth_header_count(c->rq, "date") > 1 ||
	    auth_header_count(c->rq, "x-amz-content-sha256") > 1 || is_in_query(c->rq))
		return refuse(c, AUTH_AMBIGUOUS, "only one signature and one date are allowed");
	r = read_authorization(c, auth_header(c->rq, "authorization"));
	if (r < 0)
		return r;
	return read_header_date(c);
}

static int
read_query_claim(struct checking *c)
{
	struct claim *claim = &c->claim;
	struct str algorithm = { NULL, 0 }, credential = { NULL, 0 }, date = { NULL, 0 };
	struct str expires = { NULL, 0 };
	struct {
		const char *name;
		struct str *field;
	} fields[] = {
		{ "X-Amz-Algorithm", &algorithm },
		{ "X-Amz-Credential", &credential },
		{ "X-Amz-Date", &date },
		{ "X-Amz-Expires", &expires },
		{ "X-Amz-SignedHeaders", &claim->signed_headers },
		{ "X-Amz-Signature", &claim->signature },
	};
	struct form form = { 0 };
	int r;

	claim->is_presigned = true;
	if (auth_header(c->rq, "authorization").p)
		return refuse(c, AUTH_AMBIGUOUS, "only one signature is allowed");
	r = form_parse(c->rq->query, PARAMETERS_MAX, c->arena, &form, c->e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < form.count; i++)
		for (unsigned k = 0; k < ARRAY_SIZE(fields); k++) {
			if (strcmp(form.fields[i].name, fields[k].name) != 0)
				continue;
			if (fields[k].field->p)
				return refuse(
				    c, AUTH_AMBIGUOUS, "a signature parameter is repeated");
			*fields[k].field = form.fields[i].value;
		}
	for (unsigned k = 0; k < ARRAY_SIZE(fields); k++)
		if (!fields[k].field->p && (fields[k].field != &expires || c->service == AUTH_S3))
			return auth_refuse(c->service, AUTH_BAD_PARAMETER, c->e,
			    "the parameter '%s' is missing", fields[k].name);
	if (!str_is(algorithm, SIGV4_ALGORITHM))
		return malformed(c, "only " SIGV4_ALGORITHM " is supported");
	claim->expires_s = SKEW_US / 1000000;
	if (expires.p && (!str_to_u32(expires, &claim->expires_s) || claim->expires_s == 0 ||
			     claim->expires_s > EXPIRES_MAX_S))
		return malformed(c, "X-Amz-Expires must be 1 to 604800 seconds");
	r = read_credential(c, credential);
	if (r < 0)
		return r;
	return read_date(c, date);
}

static bool
is_hex_digest(struct str s)
{
	if (s.n != 64)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return true;
}

static bool
list_names(struct str list, struct str name)
{
	struct str part;

	while (str_split(&list, ';', &part))
		if (part.n == name.n && strncasecmp(part.p, name.p, name.n) == 0)
			return true;
	return false;
}

/* Names in lower case, Host and every x-amz-* header that came among them. */
static int
check_signed_headers(const struct checking *c)
{
	struct str list = c->claim.signed_headers, part;
	unsigned count = 0;

	while (str_split(&list, ';', &part)) {
		if (part.n == 0 || ++count > SIGNED_HEADERS_MAX)
			return malformed(c, "SignedHeaders is malformed");
		for (size_t i = 0; i < part.n; i++)
			if (part.p[i] <= ' ' || part.p[i] >= 127 ||
			    (part.p[i] >= 'A' && part.p[i] <= 'Z') || part.p[i] == ':')
				return malformed(c, "SignedHeaders is malformed");
	}
	if (!list_names(c->claim.signed_headers, STR("host")))
		return refuse(c, AUTH_UNSIGNED_HEADER, "the Host header must be signed");
	for (unsigned i = 0; i < c->rq->header_count; i++) {
		struct str name = c->rq->headers[i].name;

		if (name.n > 6 && strncasecmp(name.p, "x-amz-", 6) == 0 &&
		    !list_names(c->claim.signed_headers, name))
			return auth_refuse(c->service, AUTH_UNSIGNED_HEADER, c->e,
			    "the header '%.*s' is present but not signed",
			    (int)(name.n > 64 ? 64 : name.n), name.p);
	}
	return 0;
}

static int
check_clock(const struct checking *c, int64_t now_us)
{
	const struct claim *claim = &c->claim;

	if (!claim->is_presigned) {
		if (claim->date_us > now_us + SKEW_US || claim->date_us < now_us - SKEW_US)
			return refuse(c, AUTH_SKEWED,
			    "the difference between the request time and the current time is too "
			    "large");
		return 0;
	}
	if (claim->date_us > now_us + SKEW_US)
		return refuse(c, AUTH_EXPIRED, "Request is not valid yet");
	if (claim->date_us + claim->expires_s * INT64_C(1000000) < now_us)
		return refuse(c, AUTH_EXPIRED, "Request has expired");
	return 0;
}

static const struct {
	const char *text;
	enum sigv4_payload payload;
} payloads[] = {
	{ "UNSIGNED-PAYLOAD", SIGV4_PAYLOAD_UNSIGNED },
	{ "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", SIGV4_PAYLOAD_STREAMING },
	{ "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", SIGV4_PAYLOAD_STREAMING_TRAILER },
	{ "STREAMING-UNSIGNED-PAYLOAD-TRAILER", SIGV4_PAYLOAD_UNSIGNED_TRAILER },
};

/* S3 states the body's hash in a header (presigned: may leave it out) and says how it is signed. */
static int
read_s3_payload(struct checking *c, enum sigv4_payload *ret)
{
	struct str stated = auth_header(c->rq, "x-amz-content-sha256");

	if (!stated.p && c->claim.is_presigned)
		stated = STR("UNSIGNED-PAYLOAD");
	if (!stated.p)
		return err_set(c->e, ERR_INVALID_REQUEST,
		    "Missing required header for this request: x-amz-content-sha256");
	c->claim.payload_hash = stated;
	for (unsigned i = 0; i < ARRAY_SIZE(payloads); i++)
		if (str_is(stated, payloads[i].text)) {
			*ret = payloads[i].payload;
			return 0;
		}
	if (!is_hex_digest(stated))
		return err_set(c->e, ERR_INVALID_ARGUMENT,
		    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING form or a SHA-256");
	*ret = SIGV4_PAYLOAD_SIGNED;
	if (c->rq->payload_hash && !str_is(stated, c->rq->payload_hash))
		return refuse(c, AUTH_BODY_MISMATCH,
		    "the provided x-amz-content-sha256 does not match what was computed");
	return 0;
}

/* The Query API's body is its parameters: always hashed here, whatever a header states. */
static int
read_payload(struct checking *c, enum sigv4_payload *ret)
{
	struct str stated = auth_header(c->rq, "x-amz-content-sha256");
	char *hash;

	if (c->service == AUTH_S3)
		return read_s3_payload(c, ret);
	hash = arena_alloc(c->arena, 65);
	if (c->rq->payload_hash)
		memcpy(hash, c->rq->payload_hash, 65);
	else
		digest_hex(DIGEST_SHA256, c->rq->body, hash);
	if (is_hex_digest(stated) && !str_is(stated, hash))
		return refuse(c, AUTH_BODY_MISMATCH, "x-amz-content-sha256 is not the body's");
	c->claim.payload_hash = str_of(hash);
	*ret = SIGV4_PAYLOAD_SIGNED;
	return 0;
}

static int
add_headers(const struct checking *c, struct strbuf *out, struct str host)
{
	struct str list = c->claim.signed_headers, name;

	while (str_split(&list, ';', &name)) {
		if (str_is(name, "host")) {
			strbuf_adds(out, "host:");
			strbuf_addstr(out, host);
			strbuf_addc(out, '\n');
		} else if (!canonical_header(out, c->rq, name)) {
			return auth_refuse(c->service, AUTH_MISMATCH, c->e,
			    "the signed header '%.*s' did not arrive",
			    (int)(name.n > 64 ? 64 : name.n), name.p);
		}
	}
	return 0;
}

/* Whether the signature is that of the request with this path and host. */
static int
try_variant(const struct checking *c, const uint8_t key[32], struct str path, struct str query,
    struct str host, bool *ret_is_right)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char signature[65];
	int r;

	strbuf_reserve(&text, 1024);
	strbuf_addstr(&text, c->rq->method);
	strbuf_addc(&text, '\n');
	strbuf_addstr(&text, path);
	strbuf_addc(&text, '\n');
	strbuf_addstr(&text, query);
	strbuf_addc(&text, '\n');
	r = add_headers(c, &text, host);
	if (r < 0)
		return r;
	strbuf_addc(&text, '\n');
	strbuf_addstr(&text, c->claim.signed_headers);
	strbuf_addc(&text, '\n');
	strbuf_addstr(&text, c->claim.payload_hash);
	sigv4_signature(key, c->claim.date, c->claim.scope_text, strbuf_str(&text), signature);
	*ret_is_right = digest_equal(signature, c->claim.signature.p, 64);
	return 0;
}

static int
try_variants(const struct checking *c, const uint8_t key[32], bool *ret_is_right)
{
	_cleanup_(canonical_variants_done) struct canonical_variants v;
	_cleanup_strbuf_ struct strbuf query = STRBUF_INIT;
	int r;

	canonical_variants_init(&v, c->rq, c->service);
	canonical_query(&query, &c->rq->query, 1, c->claim.is_presigned ? "X-Amz-Signature" : "");
	*ret_is_right = false;
	for (unsigned p = 0; p < v.path_count; p++)
		for (unsigned h = 0; h < v.host_count && !*ret_is_right; h++) {
			r = try_variant(c, key, strbuf_str(&v.paths[p]), strbuf_str(&query),
			    strbuf_str(&v.hosts[h]), ret_is_right);
			if (r < 0)
				return r;
		}
	return 0;
}

static int
check_signature(struct sigv4 *s, const struct checking *c, struct auth_key *ret_key,
    uint8_t ret_signing_key[32])
{
	bool is_known = auth_find_key(s->lookup, s->arg, c->claim.access_key_id, ret_key), is_right;
	int r;

	sigv4_keys_get(s->keys, ret_key, &c->claim.scope, ret_signing_key);
	r = try_variants(c, ret_signing_key, &is_right);
	if (r < 0)
		return r;
	if (!is_known)
		return refuse(c, AUTH_UNKNOWN_KEY, "the access key is unknown");
	if (!is_right)
		return refuse(c, AUTH_MISMATCH,
		    "the request signature we calculated does not match the signature you "
		    "provided");
	return 0;
}

static int
read_claim(struct checking *c, enum sigv4_payload *ret_payload)
{
	int r = is_in_header(c->rq)  ? read_header_claim(c)
		: is_in_query(c->rq) ? read_query_claim(c)
				     : refuse(c, AUTH_MISSING, "the request is not signed");

	if (r < 0)
		return r;
	if (!is_hex_digest(c->claim.signature))
		return malformed(c, "the signature must be 64 hex digits");
	r = check_signed_headers(c);
	if (r < 0)
		return r;
	return read_payload(c, ret_payload);
}

int
sigv4_verify(struct sigv4 *s, enum auth_service service, const struct auth_request *rq,
    int64_t now_us, struct sigv4_result *ret, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(ARENA_MAX);
	struct checking c = { .service = service, .rq = rq, .arena = arena, .e = e };
	struct sigv4_result result = { 0 };
	int r;

	r = read_claim(&c, &result.payload);
	if (r < 0)
		return r;
	r = check_clock(&c, now_us);
	if (r < 0)
		return r;
	r = check_signature(s, &c, &result.key, result.signing_key);
	if (r < 0)
		return r;
	result.is_presigned = c.claim.is_presigned;
	if (result.payload == SIGV4_PAYLOAD_SIGNED)
		memcpy(result.payload_hash, c.claim.payload_hash.p, 64);
	memcpy(result.signature, c.claim.signature.p, 64);
	memcpy(result.date, c.claim.date, sizeof(result.date));
	memcpy(result.scope, c.claim.scope_text, sizeof(result.scope));
	*ret = result;
	return 0;
}
