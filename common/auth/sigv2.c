/* Verifying Signature Version 2. Two different schemes share the name:
 *
 * - Query: HmacSHA1 or HmacSHA256 over "METHOD\nhost\npath\nsorted parameters", the parameters of a
 *   GET's query or of a POST's body, without Signature itself.
 * - S3: HMAC-SHA1 over method, Content-MD5, Content-Type, date, x-amz-* headers and the resource
 * with the sub-resources that matter, in the header "AWS key:signature" or in the query.
 *
 * As with version 4, an unknown key is tried to the end with a secret nobody has. */
#include "auth/sigv2.h"

#include <assert.h>
#include <stdio.h>
#include "auth/auth_problem.h"
#include "auth/canonical.h"
#include "auth/digest.h"
#include "base/arena.h"
#include "base/clock.h"
#include "net/url.h"

#define PARAMETERS_MAX 1000
#define ARENA_MAX (2 * 1024 * 1024)

struct checking {
	enum auth_service service;
	const struct auth_request *rq;
	struct arena *arena;
	struct form form; /* of the query, and of a Query API's body */
	const char *bucket;
	int64_t now_us;
	struct err *e;
};

static bool
has_parameter(struct str raw, const char *name)
{
	struct str part, key;

	while (str_split(&raw, '&', &part))
		if (str_split(&part, '=', &key) && str_is(key, name))
			return true;
	return false;
}

bool
sigv2_is_present(enum auth_service service, const struct auth_request *rq)
{
	if (service == AUTH_S3)
		return str_starts(auth_header(rq, "authorization"), "AWS ") ||
		       (has_parameter(rq->query, "AWSAccessKeyId") &&
			   has_parameter(rq->query, "Signature"));
	return has_parameter(rq->query, "AWSAccessKeyId") ||
	       has_parameter(rq->body, "AWSAccessKeyId");
}

static int
refuse(const struct checking *c, enum auth_problem problem, const char *what)
{
	return auth_refuse(c->service, problem, c->e, "%s", what);
}

/* Whether `signature` is the text's, both as base64. */
static bool
is_signature(
    enum digest_algorithm a, const struct auth_key *key, struct str text, struct str signature)
{
	_cleanup_free_ void *bytes = NULL;
	uint8_t mac[EVP_MAX_MD_SIZE];
	size_t n;

	hmac(a, str_of(key->secret), text, mac);
	return base64_decode(signature, &bytes, &n) && n == digest_size(a) &&
	       digest_equal(mac, bytes, n);
}

static int
judge(const struct checking *c, bool is_known, bool is_right, const struct auth_mismatch *m)
{
	if (!is_known)
		return auth_refuse_unknown(c->service, c->rq->details, m->access_key_id, c->e);
	return is_right ? 0 : auth_refuse_mismatch(c->service, c->rq->details, m, c->e);
}

/* -- query -- */

static struct str
parameter(const struct checking *c, const char *name)
{
	for (size_t i = 0; i < c->form.count; i++)
		if (strcmp(c->form.fields[i].name, name) == 0)
			return c->form.fields[i].value;
	return (struct str){ NULL, 0 };
}

static int
check_once(const struct checking *c)
{
	static const char *const names[] = { "AWSAccessKeyId", "Signature", "SignatureMethod",
		"SignatureVersion", "Timestamp", "Expires" };

	for (unsigned k = 0; k < ARRAY_SIZE(names); k++) {
		unsigned n = 0;

		for (size_t i = 0; i < c->form.count; i++)
			n += strcmp(c->form.fields[i].name, names[k]) == 0;
		if (n > 1)
			return refuse(c, AUTH_AMBIGUOUS, "a signature parameter is repeated");
	}
	return 0;
}

/* Timestamp within 15 minutes, or Expires not passed; one of them, not both. */
static int
check_query_time(const struct checking *c)
{
	struct str timestamp = parameter(c, "Timestamp"), expires = parameter(c, "Expires");
	int64_t us;

	if (!timestamp.p == !expires.p)
		return refuse(c, AUTH_BAD_PARAMETER, "either Timestamp or Expires is required");
	if (!time_parse_iso(timestamp.p ? timestamp : expires, &us))
		return refuse(c, AUTH_BAD_PARAMETER, "Timestamp or Expires is no ISO 8601 time");
	if (expires.p)
		return us < c->now_us ? refuse(c, AUTH_EXPIRED, "Request has expired") : 0;
	if (us > c->now_us + AUTH_SKEW_US || us < c->now_us - AUTH_SKEW_US)
		return auth_refuse_skewed(c->service, c->rq->details, timestamp, c->now_us, c->e);
	return 0;
}

/* Host in lower case: clients sign it so, whatever they send. */
static void
add_lower(struct strbuf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		strbuf_addc(out, s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 0x20) : s.p[i]);
}

static bool
try_query_variants(const struct checking *c, enum digest_algorithm a, const struct auth_key *key)
{
	_cleanup_(canonical_variants_done) struct canonical_variants v;
	_cleanup_strbuf_ struct strbuf parameters = STRBUF_INIT, text = STRBUF_INIT;
	struct str raws[] = { c->rq->query, c->rq->body }, signature = parameter(c, "Signature");
	bool is_right = false;

	canonical_variants_init(&v, c->rq, c->service);
	canonical_query(&parameters, raws, ARRAY_SIZE(raws), "Signature");
	for (unsigned p = 0; p < v.path_count; p++)
		for (unsigned h = 0; h < v.host_count && !is_right; h++) {
			strbuf_reset(&text);
			strbuf_addstr(&text, c->rq->method);
			strbuf_addc(&text, '\n');
			add_lower(&text, v.hosts[h]);
			strbuf_addc(&text, '\n');
			strbuf_addstr(&text, v.paths[p]);
			strbuf_addc(&text, '\n');
			strbuf_addstr(&text, strbuf_str(&parameters));
			is_right = is_signature(a, key, strbuf_str(&text), signature);
		}
	return is_right;
}

static int
verify_query(struct checking *c, auth_lookup_fn lookup, void *arg, struct auth_key *ret)
{
	struct str method;
	bool is_known, is_right;
	int r;

	if (auth_header(c->rq, "authorization").p)
		return auth_refuse_ambiguous(c->service, c->rq, c->e);
	r = form_parse(c->rq->query, PARAMETERS_MAX, c->arena, &c->form, c->e);
	if (r == 0)
		r = form_parse(c->rq->body, PARAMETERS_MAX, c->arena, &c->form, c->e);
	if (r == 0)
		r = check_once(c);
	if (r < 0)
		return r;
	if (!str_is(parameter(c, "SignatureVersion"), "2") || !parameter(c, "Signature").p ||
	    !parameter(c, "AWSAccessKeyId").p)
		return refuse(c, AUTH_BAD_PARAMETER,
		    "AWSAccessKeyId, Signature and SignatureVersion 2 belong together");
	method = parameter(c, "SignatureMethod");
	if (!str_is(method, "HmacSHA256") && !str_is(method, "HmacSHA1"))
		return refuse(
		    c, AUTH_BAD_PARAMETER, "SignatureMethod must be HmacSHA256 or HmacSHA1");
	r = check_query_time(c);
	if (r < 0)
		return r;
	is_known = auth_find_key(lookup, arg, parameter(c, "AWSAccessKeyId"), ret);
	is_right =
	    try_query_variants(c, str_is(method, "HmacSHA1") ? DIGEST_SHA1 : DIGEST_SHA256, ret);
	return judge(c, is_known, is_right, &(struct auth_mismatch){ 0 });
}

/* -- S3 -- */

/* Parameters that choose what a request is about (RESTAuthentication.html), sorted. */
static const char *const sub_resources[] = { "accelerate", "acl", "analytics", "cors",
	"defaultObjectAcl", "delete", "encryption", "intelligent-tiering", "inventory",
	"legal-hold", "lifecycle", "location", "logging", "metrics", "notification", "object-lock",
	"ownershipControls", "partNumber", "policy", "policyStatus", "publicAccessBlock",
	"replication", "requestPayment", "response-cache-control", "response-content-disposition",
	"response-content-encoding", "response-content-language", "response-content-type",
	"response-expires", "restore", "retention", "select", "select-type", "storageClass",
	"tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions",
	"website" };

/* "/bucket/path?acl&partNumber=1": the path as sent, sub-resources with decoded values. */
static void
add_resource(const struct checking *c, const char *path_end, struct strbuf *out)
{
	const char *separator = "?";

	if (c->bucket)
		strbuf_addf(out, "/%s", c->bucket);
	strbuf_addstr(out, c->rq->path);
	strbuf_adds(out, path_end);
	for (unsigned k = 0; k < ARRAY_SIZE(sub_resources); k++)
		for (size_t i = 0; i < c->form.count; i++) {
			const struct form_field *f = &c->form.fields[i];

			if (strcmp(f->name, sub_resources[k]) != 0)
				continue;
			strbuf_adds(out, separator);
			strbuf_adds(out, f->name);
			if (f->value.n > 0) {
				strbuf_addc(out, '=');
				strbuf_addstr(out, f->value);
			}
			separator = "&";
		}
}

static int
compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the x-amz-* headers, in lower case, sorted, each once. */
static unsigned
amz_names(const struct checking *c, char *names[HTTP_HEADERS_MAX])
{
	unsigned n = 0, kept = 0;

	for (unsigned i = 0; i < c->rq->header_count; i++) {
		struct str name = c->rq->headers[i].name;

		if (name.n <= 6 || strncasecmp(name.p, "x-amz-", 6) != 0)
			continue;
		names[n] = arena_str(c->arena, name);
		for (char *p = names[n]; *p; p++)
			*p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;
		n++;
	}
	qsort(names, n, sizeof(*names), compare_strings);
	for (unsigned i = 0; i < n; i++)
		if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0)
			names[kept++] = names[i];
	return kept;
}

static void
add_amz_headers(const struct checking *c, struct strbuf *out)
{
	char *names[HTTP_HEADERS_MAX];
	unsigned n = amz_names(c, names);

	for (unsigned i = 0; i < n; i++) {
		const char *separator = ":";

		strbuf_adds(out, names[i]);
		for (unsigned k = 0; k < c->rq->header_count; k++)
			if (str_is_nocase(c->rq->headers[k].name, names[i])) {
				strbuf_adds(out, separator);
				strbuf_addstr(out, str_trim(c->rq->headers[k].value));
				separator = ",";
			}
		strbuf_addc(out, '\n');
	}
}

static void
add_line(struct strbuf *out, struct str s)
{
	strbuf_addstr(out, (struct str){ s.p ? s.p : "", s.n });
	strbuf_addc(out, '\n');
}

/* `date`: Expires of a presigned URL; empty when x-amz-date stands in its place. */
static void
string_to_sign(const struct checking *c, struct str date, const char *path_end, struct strbuf *out)
{
	add_line(out, c->rq->method);
	add_line(out, auth_header(c->rq, "content-md5"));
	add_line(out, auth_header(c->rq, "content-type"));
	add_line(out, date);
	add_amz_headers(c, out);
	add_resource(c, path_end, out);
}

/* RFC 9110's forms, and for GMT "+0000", as Amazon's own examples write it, and "-0000", as
 * euca2ools does. */
static bool
parse_date(struct str s, int64_t *ret_us)
{
	char text[TIME_TEXT_SIZE];

	if (s.n > 6 && s.n < sizeof(text) &&
	    (memcmp(s.p + s.n - 6, " +0000", 6) == 0 || memcmp(s.p + s.n - 6, " -0000", 6) == 0)) {
		int n = snprintf(text, sizeof(text), "%.*s GMT", (int)s.n - 6, s.p);

		s = (struct str){ text, (size_t)n };
	}
	return time_parse_http(s, ret_us) || time_parse_basic(s, ret_us) ||
	       time_parse_iso(s, ret_us);
}

static int
check_s3_date(const struct checking *c, struct str *ret_line)
{
	struct str amz = auth_header(c->rq, "x-amz-date"), date = auth_header(c->rq, "date");
	struct str used = amz.p ? amz : date;
	int64_t us;

	if (!used.p || !parse_date(used, &us))
		return err_set(c->e, ERR_ACCESS_DENIED,
		    "AWS authentication requires a valid Date or x-amz-date header");
	if (us > c->now_us + AUTH_SKEW_US || us < c->now_us - AUTH_SKEW_US)
		return auth_refuse_skewed(c->service, c->rq->details, used, c->now_us, c->e);
	*ret_line = amz.p ? STR("") : date;
	return 0;
}

static int
read_s3_header(
    const struct checking *c, struct str *ret_id, struct str *ret_signature, struct str *ret_date)
{
	struct str value = auth_header(c->rq, "authorization");

	if (auth_header_count(c->rq, "authorization") > 1 ||
	    has_parameter(c->rq->query, "Signature"))
		return auth_refuse_ambiguous(c->service, c->rq, c->e);
	value.p += 4; /* "AWS " */
	value.n -= 4;
	if (!str_split(&value, ':', ret_id) || !value.p || value.n == 0)
		return err_set(c->e, ERR_INVALID_ARGUMENT,
		    "AWS authorization header is invalid. Expected AwsAccessKeyId:signature");
	*ret_signature = value;
	return check_s3_date(c, ret_date);
}

static int
read_s3_query(
    const struct checking *c, struct str *ret_id, struct str *ret_signature, struct str *ret_date)
{
	uint64_t expires_s;
	int r;

	if (auth_header(c->rq, "authorization").p)
		return auth_refuse_ambiguous(c->service, c->rq, c->e);
	r = check_once(c);
	if (r < 0)
		return r;
	*ret_id = parameter(c, "AWSAccessKeyId");
	*ret_signature = parameter(c, "Signature");
	*ret_date = parameter(c, "Expires");
	if (!ret_date->p)
		return err_set(c->e, ERR_ACCESS_DENIED,
		    "Query-string authentication requires the Signature, Expires and "
		    "AWSAccessKeyId "
		    "parameters");
	if (!str_to_u64(*ret_date, &expires_s) || expires_s > INT64_MAX / 1000000)
		return err_set(
		    c->e, ERR_ACCESS_DENIED, "Invalid date (should be seconds since epoch)");
	if ((int64_t)expires_s * 1000000 < c->now_us)
		return auth_refuse_expired(
		    c->service, c->rq->details, (int64_t)expires_s * 1000000, 0, c->now_us, c->e);
	return 0;
}

/* Whoever makes a link signs headers that the client need not send, and puts them into its query.
 * What is signed is what counts: the header that came, else the first parameter of the name. */
static int
add_linked_headers(struct checking *c, struct auth_request *ret)
{
	struct http_header *all = arena_alloc(c->arena, HTTP_HEADERS_MAX * sizeof(*all));

	*ret = *c->rq;
	if (ret->header_count)
		memcpy(all, ret->headers, ret->header_count * sizeof(*all));
	ret->headers = all;
	for (size_t i = 0; i < c->form.count; i++) {
		const struct form_field *f = &c->form.fields[i];

		if (strncasecmp(f->name, "x-amz-", 6) != 0 &&
		    strcasecmp(f->name, "content-type") != 0 &&
		    strcasecmp(f->name, "content-md5") != 0)
			continue;
		/* No header has these, and with them one text stands for several lists. */
		if (strpbrk(f->name, ":\n") || memchr(f->value.p, '\n', f->value.n))
			return err_set(c->e, ERR_INVALID_ARGUMENT,
			    "The value of a parameter cannot be that of a header.");
		if (auth_header_str(ret, str_of(f->name)).p)
			continue; /* the first one counts: with it a list could be cut short */
		if (ret->header_count == HTTP_HEADERS_MAX)
			return err_set(
			    c->e, ERR_ACCESS_DENIED, "The link stands for too many headers");
		all[ret->header_count++] = (struct http_header){ str_of(f->name), f->value };
	}
	c->rq = ret;
	return 0;
}

static int
verify_s3(struct checking *c, auth_lookup_fn lookup, void *arg, struct auth_key *ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, other = STRBUF_INIT;
	struct auth_request with_linked;
	struct str id, signature, date;
	bool is_known, is_right;
	int r;

	r = form_parse(c->rq->query, PARAMETERS_MAX, c->arena, &c->form, c->e);
	if (r < 0)
		return r;
	if (str_starts(auth_header(c->rq, "authorization"), "AWS "))
		r = read_s3_header(c, &id, &signature, &date);
	else
		r = read_s3_query(c, &id, &signature, &date);
	if (r == 0 && !auth_header(c->rq, "authorization").p)
		r = add_linked_headers(c, &with_linked);
	if (r < 0)
		return r;
	is_known = auth_find_key(lookup, arg, id, ret);
	string_to_sign(c, date, "", &text);
	is_right = is_signature(DIGEST_SHA1, ret, strbuf_str(&text), signature);
	if (!is_right && c->rq->path.n > 1 && c->rq->path.p[c->rq->path.n - 1] != '/') {
		/* botocore since 1.29 sends "/bucket" and signs "/bucket/" */
		string_to_sign(c, date, "/", &other);
		is_right = is_signature(DIGEST_SHA1, ret, strbuf_str(&other), signature);
	}
	return judge(c, is_known, is_right,
	    &(struct auth_mismatch){
		.access_key_id = id, .signature = signature, .to_sign = strbuf_str(&text) });
}

int
sigv2_verify_policy(auth_lookup_fn lookup, void *arg, const struct sigv2_policy *policy,
    struct err_details *details, struct auth_key *ret, struct err *e)
{
	struct auth_request rq = { .details = details };
	struct checking c = { .service = AUTH_S3, .rq = &rq, .e = e };
	struct auth_mismatch m = { .access_key_id = policy->access_key_id,
		.signature = policy->signature,
		.to_sign = policy->policy };
	struct auth_key key;
	bool is_known = auth_find_key(lookup, arg, policy->access_key_id, &key);
	int r = judge(
	    &c, is_known, is_signature(DIGEST_SHA1, &key, policy->policy, policy->signature), &m);

	if (r == 0)
		*ret = key;
	return r;
}

int
sigv2_verify(auth_lookup_fn lookup, void *arg, enum auth_service service,
    const struct auth_request *rq, const char *bucket, int64_t now_us, struct auth_key *ret,
    struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(ARENA_MAX);
	struct checking c = { .service = service,
		.rq = rq,
		.arena = arena,
		.bucket = bucket,
		.now_us = now_us,
		.e = e };
	struct auth_key key;
	int r;

	assert(rq->header_count <= HTTP_HEADERS_MAX);
	if (!sigv2_is_present(service, rq))
		return refuse(&c, AUTH_MISSING, "the request is not signed");
	r = service == AUTH_S3 ? verify_s3(&c, lookup, arg, &key)
			       : verify_query(&c, lookup, arg, &key);
	if (r < 0)
		return r;
	*ret = key;
	return 0;
}
