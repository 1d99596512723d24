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

#define EXPIRES_MAX_S 604800
#define SIGNED_HEADERS_MAX 128
#define PARAMETERS_MAX 1000
#define SCOPE_PART_MAX 32 /* region, service: four parts fit sigv4_result.scope */
#define ARENA_MAX (512 * 1024)
#define CANONICAL_USUAL 1000 /* bytes that a canonical request seldom exceeds */

struct sigv4 {
	auth_lookup_fn lookup;
	void *arg;
	struct sigv4_keys *keys;
};

enum carrier { IN_HEADER, IN_QUERY, IN_FORM };

struct claim {
	enum carrier carrier;
	struct str access_key_id;
	struct sigv4_scope scope;
	char scope_text[128];
	struct str signed_headers, signature;
	char date[17];
	struct str date_text; /* as the request wrote it */
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
	return rq->query.n && (query_has(rq->query, "X-Amz-Algorithm") ||
				  query_has(rq->query, "X-Amz-Credential") ||
				  query_has(rq->query, "X-Amz-Signature"));
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
	static const enum auth_problem problems[] = { [IN_HEADER] = AUTH_MALFORMED,
		[IN_QUERY] = AUTH_BAD_PARAMETER,
		[IN_FORM] = AUTH_BAD_FIELD };

	return auth_refuse(c->service, problems[c->claim.carrier], c->e, "%s%s",
	    c->claim.carrier == IN_HEADER ? "The authorization header is malformed; " : "", what);
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
	size_t n;

	if (!str_split(&rest, '/', &claim->access_key_id) ||
	    !str_split(&rest, '/', &claim->scope.date) ||
	    !str_split(&rest, '/', &claim->scope.region) ||
	    !str_split(&rest, '/', &claim->scope.service) || !str_split(&rest, '/', &end) ||
	    rest.p || !str_is(end, "aws4_request"))
		return malformed(c, "the Credential is mal-formed; expecting "
				    "\"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".");
	if (!is_name(claim->access_key_id, 128) || claim->scope.date.n != 8 ||
	    !is_name(claim->scope.date, 8) || !is_name(claim->scope.region, SCOPE_PART_MAX) ||
	    !is_name(claim->scope.service, SCOPE_PART_MAX))
		return malformed(c, "the Credential is mal-formed; its scope cannot be read.");
	n = credential.n - claim->access_key_id.n - 1;
	assert(n < sizeof(claim->scope_text));
	memcpy(claim->scope_text, claim->scope.date.p, n);
	claim->scope_text[n] = 0;
	return 0;
}

static int
read_date(struct checking *c, struct str text)
{
	struct claim *claim = &c->claim;

	if (text.n != sizeof(claim->date) - 1 || !time_parse_basic(text, &claim->date_us))
		return malformed(
		    c, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
	claim->date_text = text;
	memcpy(claim->date, text.p, text.n);
	if (memcmp(claim->date, claim->scope.date.p, 8) != 0)
		return auth_refuse(c->service,
		    claim->carrier == IN_HEADER  ? AUTH_MALFORMED
		    : claim->carrier == IN_QUERY ? AUTH_BAD_PARAMETER
						 : AUTH_BAD_FIELD,
		    c->e,
		    "Invalid credential date \"%.8s\". This date is not the same as X-Amz-Date: "
		    "\"%.8s\".",
		    claim->scope.date.p, claim->date);
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
		return malformed(c, "X-Amz-Algorithm only supports \"" SIGV4_ALGORITHM "\"");
	rest = (struct str){ value.p + sizeof(SIGV4_ALGORITHM), value.n - sizeof(SIGV4_ALGORITHM) };
	while (str_split(&rest, ',', &part)) {
		unsigned i = 0;

		part = str_trim(part);
		(void)str_split(&part, '=', &name);
		while (i < ARRAY_SIZE(fields) && !str_is(name, fields[i].name))
			i++;
		if (i == ARRAY_SIZE(fields) || fields[i].field->p || !part.p)
			return malformed(c,
			    "the authorization header requires three components: Credential, "
			    "SignedHeaders, and Signature.");
		*fields[i].field = part;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		if (!fields[i].field->p)
			return malformed(c,
			    "the authorization header requires three components: Credential, "
			    "SignedHeaders, and Signature.");
	return read_credential(c, credential);
}

/* x-amz-date, or Date in either of the forms clients use. */
static int
read_header_date(struct checking *c)
{
	struct str amz = auth_header(c->rq, "x-amz-date"), date = auth_header(c->rq, "date");
	char text[TIME_TEXT_SIZE];
	int64_t us;
	int r;

	if (amz.p)
		return read_date(c, amz);
	if (!date.p && c->service == AUTH_S3)
		return err_set(c->e, ERR_ACCESS_DENIED,
		    "AWS authentication requires a valid Date or x-amz-date header");
	if (!date.p)
		return malformed(c, "the request needs a date: x-amz-date or Date");
	if (!time_parse_http(date, &us))
		return read_date(c, date);
	time_format_basic(us, text);
	r = read_date(c, str_of(text));
	c->claim.date_text = date;
	return r;
}

static int
read_header_claim(struct checking *c)
{
	int r;

	if (auth_header_count(c->rq, "authorization") > 1 ||
	    auth_header_count(c->rq, "x-amz-date") > 1 || auth_header_count(c->rq, "date") > 1 ||
	    auth_header_count(c->rq, "x-amz-content-sha256") > 1 || is_in_query(c->rq))
		return auth_refuse_ambiguous(c->service, c->rq, c->e);
	r = read_authorization(c, auth_header(c->rq, "authorization"));
	if (r < 0)
		return r;
	return read_header_date(c);
}

static int
read_expires(struct checking *c, struct str text)
{
	int64_t seconds;

	if (!str_to_i64(text, &seconds))
		return malformed(c, "X-Amz-Expires should be a number");
	if (seconds < 0)
		return malformed(c, "X-Amz-Expires must be non-negative");
	if (seconds > EXPIRES_MAX_S)
		return malformed(c,
		    "X-Amz-Expires must be less than a week (in seconds); that is, the given "
		    "X-Amz-Expires must be less than 604800 seconds");
	c->claim.expires_s = (uint32_t)seconds;
	return 0;
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

	claim->carrier = IN_QUERY;
	if (auth_header(c->rq, "authorization").p)
		return auth_refuse_ambiguous(c->service, c->rq, c->e);
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
			return malformed(c,
			    "Query-string authentication version 4 requires the X-Amz-Algorithm, "
			    "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, "
			    "and "
			    "X-Amz-Expires parameters.");
	if (!str_is(algorithm, SIGV4_ALGORITHM))
		return malformed(c, "X-Amz-Algorithm only supports \"" SIGV4_ALGORITHM "\"");
	claim->expires_s = AUTH_SKEW_US / 1000000;
	r = expires.p ? read_expires(c, expires) : 0;
	if (r < 0)
		return r;
	r = read_credential(c, credential);
	if (r < 0)
		return r;
	return read_date(c, date);
}

static bool
is_hex_digest(struct str s)
{
	bool is_hex = s.n == 64;

	/* Without a way out: the loop has a known length, and is done many bytes at a time. */
	for (size_t i = 0; s.n == 64 && i < 64; i++)
		is_hex &= (unsigned char)(s.p[i] - '0') < 10 || (unsigned char)(s.p[i] - 'a') < 6;
	return is_hex;
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

static int
check_list(const struct checking *c)
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
	return 0;
}

/* The hash of the body is part of what is signed whether or not its header is. */
static bool
must_be_signed(const struct checking *c, struct str name)
{
	return name.n > 6 && strncasecmp(name.p, "x-amz-", 6) == 0 &&
	       !(c->service == AUTH_S3 && str_is_nocase(name, "x-amz-content-sha256"));
}

/* Names in lower case, Host and every x-amz-* header that came among them. */
static int
check_signed_headers(const struct checking *c)
{
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	int r = check_list(c);

	if (r < 0)
		return r;
	if (!list_names(c->claim.signed_headers, STR("host")))
		strbuf_adds(&names, "host");
	for (unsigned i = 0; i < c->rq->header_count; i++) {
		struct str name = c->rq->headers[i].name;

		if (!must_be_signed(c, name) || list_names(c->claim.signed_headers, name))
			continue;
		strbuf_adds(&names, names.n ? ", " : "");
		for (size_t k = 0; k < name.n; k++)
			strbuf_addc(&names, name.p[k] >= 'A' && name.p[k] <= 'Z'
						? (char)(name.p[k] | 0x20)
						: name.p[k]);
	}
	if (names.n == 0)
		return 0;
	err_detail(c->rq->details, "HeadersNotSigned", strbuf_str(&names));
	return refuse(c, AUTH_UNSIGNED_HEADER,
	    "There were headers present in the request which were not signed");
}

static int
check_clock(const struct checking *c, int64_t now_us)
{
	const struct claim *claim = &c->claim;
	int64_t until_us = claim->date_us + claim->expires_s * INT64_C(1000000);

	if (claim->carrier == IN_HEADER) {
		if (claim->date_us > now_us + AUTH_SKEW_US ||
		    claim->date_us < now_us - AUTH_SKEW_US)
			return auth_refuse_skewed(
			    c->service, c->rq->details, claim->date_text, now_us, c->e);
		return 0;
	}
	if (claim->date_us > now_us + AUTH_SKEW_US)
		return refuse(c, AUTH_EXPIRED, "Request is not yet valid");
	if (until_us < now_us || claim->expires_s == 0)
		return auth_refuse_expired(
		    c->service, c->rq->details, until_us, claim->expires_s, now_us, c->e);
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

	if (!stated.p && c->claim.carrier == IN_QUERY)
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
	if (!is_hex_digest(stated)) {
		err_detail(c->rq->details, "ArgumentName", STR("x-amz-content-sha256"));
		err_detail(c->rq->details, "ArgumentValue", stated);
		return err_set(c->e, ERR_INVALID_ARGUMENT,
		    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "
		    "STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
		    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.");
	}
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
		} else if (canonical_header(out, c->rq, name)) {
			continue;
		} else if (c->service == AUTH_S3) {
			/* libs3 lists what it does not send: the service takes it as empty */
			strbuf_addstr(out, name);
			strbuf_adds(out, ":\n");
		} else {
			return auth_refuse(c->service, AUTH_MISMATCH, c->e,
			    "the signed header '%.*s' did not arrive",
			    (int)(name.n > 64 ? 64 : name.n), name.p);
		}
	}
	return 0;
}

static int
canonical_request(const struct checking *c, struct str path, struct str query, struct str host,
    struct strbuf *out)
{
	int r;

	strbuf_reserve(out, CANONICAL_USUAL);
	strbuf_addstr(out, c->rq->method);
	strbuf_addc(out, '\n');
	strbuf_addstr(out, path);
	strbuf_addc(out, '\n');
	strbuf_addstr(out, query);
	strbuf_addc(out, '\n');
	r = add_headers(c, out, host);
	if (r < 0)
		return r;
	strbuf_addc(out, '\n');
	strbuf_addstr(out, c->claim.signed_headers);
	strbuf_addc(out, '\n');
	strbuf_addstr(out, c->claim.payload_hash);
	return 0;
}

/* Whether the signature is that of the request with one of the paths and hosts. If not, *ret_first
 * is the canonical request that most clients mean. */
static int
try_variants(
    const struct checking *c, const uint8_t key[32], struct strbuf *ret_first, bool *ret_is_right)
{
	_cleanup_(canonical_variants_done) struct canonical_variants v;
	_cleanup_strbuf_ struct strbuf query = STRBUF_INIT, other = STRBUF_INIT;
	char signature[65];
	int r;

	canonical_variants_init(&v, c->rq, c->service);
	canonical_query(
	    &query, &c->rq->query, 1, c->claim.carrier == IN_QUERY ? "X-Amz-Signature" : "");
	*ret_is_right = false;
	for (unsigned p = 0; p < v.path_count; p++)
		for (unsigned h = 0; h < v.host_count && !*ret_is_right; h++) {
			struct strbuf *text = p == 0 && h == 0 ? ret_first : &other;

			strbuf_reset(text);
			r = canonical_request(c, v.paths[p], strbuf_str(&query), v.hosts[h], text);
			if (r < 0)
				return r;
			sigv4_signature(
			    key, c->claim.date, c->claim.scope_text, strbuf_str(text), signature);
			*ret_is_right = digest_equal(signature, c->claim.signature.p, 64);
		}
	return 0;
}

static int
refuse_mismatch(const struct checking *c, struct str canonical)
{
	_cleanup_strbuf_ struct strbuf to_sign = STRBUF_INIT;
	struct auth_mismatch m = { .access_key_id = c->claim.access_key_id,
		.signature = c->claim.signature,
		.canonical = canonical };

	sigv4_string_to_sign(c->claim.date, c->claim.scope_text, canonical, &to_sign);
	m.to_sign = strbuf_str(&to_sign);
	return auth_refuse_mismatch(c->service, c->rq->details, &m, c->e);
}

static int
check_signature(struct sigv4 *s, const struct checking *c, struct auth_key *ret_key,
    uint8_t ret_signing_key[32])
{
	bool is_known = auth_find_key(s->lookup, s->arg, c->claim.access_key_id, ret_key), is_right;
	_cleanup_strbuf_ struct strbuf canonical = STRBUF_INIT;
	int r;

	sigv4_keys_get(s->keys, ret_key, &c->claim.scope, ret_signing_key);
	r = try_variants(c, ret_signing_key, &canonical, &is_right);
	if (r < 0)
		return r;
	if (!is_known)
		return auth_refuse_unknown(
		    c->service, c->rq->details, c->claim.access_key_id, c->e);
	return is_right ? 0 : refuse_mismatch(c, strbuf_str(&canonical));
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
	result.is_presigned = c.claim.carrier == IN_QUERY;
	if (result.payload == SIGV4_PAYLOAD_SIGNED)
		memcpy(result.payload_hash, c.claim.payload_hash.p, 64);
	memcpy(result.signature, c.claim.signature.p, 64);
	memcpy(result.date, c.claim.date, sizeof(result.date));
	memcpy(result.scope, c.claim.scope_text, sizeof(result.scope));
	*ret = result;
	return 0;
}

/* -- policies of forms -- */

int
sigv4_verify_policy(struct sigv4 *s, const struct sigv4_policy *policy, struct err_details *details,
    struct auth_key *ret, struct err *e)
{
	struct auth_request rq = { .details = details };
	struct checking c = { .service = AUTH_S3, .rq = &rq, .e = e };
	struct auth_mismatch m = { .signature = policy->signature, .to_sign = policy->policy };
	struct auth_key key;
	uint8_t signing_key[32], mac[32];
	char signature[65];
	bool is_known;
	int r;

	c.claim.carrier = IN_FORM;
	if (!str_is(policy->algorithm, SIGV4_ALGORITHM))
		return malformed(&c, "X-Amz-Algorithm only supports \"" SIGV4_ALGORITHM "\"");
	r = read_credential(&c, policy->credential);
	if (r == 0)
		r = read_date(&c, policy->date);
	if (r < 0)
		return r;
	m.access_key_id = c.claim.access_key_id;
	is_known = auth_find_key(s->lookup, s->arg, c.claim.access_key_id, &key);
	sigv4_keys_get(s->keys, &key, &c.claim.scope, signing_key);
	hmac(DIGEST_SHA256, (struct str){ (const char *)signing_key, 32 }, policy->policy, mac);
	hex_encode(mac, sizeof(mac), signature);
	OPENSSL_cleanse(signing_key, sizeof(signing_key));
	if (!is_known)
		return auth_refuse_unknown(AUTH_S3, details, c.claim.access_key_id, e);
	if (!is_hex_digest(policy->signature) || !digest_equal(signature, policy->signature.p, 64))
		return auth_refuse_mismatch(AUTH_S3, details, &m, e);
	*ret = key;
	return 0;
}
