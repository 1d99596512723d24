/* From a head to a decided request, and from bytes to a decoded, verified body. The order matters:
 * who asks is known before anything is looked up, and whether they may before a byte of body is
 * read. */
#include "request.h"

#include "auth/sigv2.h"
#include "base/clock.h"
#include "access.h"
#include "body.h"
#include "bucket.h"
#include "cors.h"
#include "error.h"
#include "hot.h"
#include "lane.h"
#include "link.h"
#include "route.h"
#include "version.h"
#include "website.h"

#define PARAMETERS_MAX 64
#define ARENA_MAX (64 * 1024 * 1024)
#define QUICK_BYTES_MAX (16 * 1024) /* summed in less than what waking a worker takes */

/* -- life -- */

static struct str
moved(struct str s, const char *from, const char *end, const char *to)
{
	return s.p >= from && s.p < end ? (struct str){ to + (s.p - from), s.n } : s;
}

/* The head outlives the exchange. Its spans lie in one buffer that begins with the method; what
 * lies elsewhere is constant. */
static const struct http_head *
copy_head(const struct http_head *from, struct arena *arena)
{
	struct http_head *head = arena_memdup(arena, from, sizeof(*from));
	const char *base = from->method.p, *end = from->target.p + from->target.n, *copy;

	for (unsigned i = 0; i < from->header_count; i++) {
		const struct http_header *h = &from->headers[i];
		const char *last = h->value.n ? h->value.p + h->value.n : h->name.p + h->name.n;

		if (last > end)
			end = last;
	}
	copy = arena_memdup(arena, base, (size_t)(end - base));
	head->method = moved(from->method, base, end, copy);
	head->target = moved(from->target, base, end, copy);
	head->path = moved(from->path, base, end, copy);
	head->query = moved(from->query, base, end, copy);
	head->host = moved(from->host, base, end, copy);
	for (unsigned i = 0; i < from->header_count; i++) {
		head->headers[i].name = moved(from->headers[i].name, base, end, copy);
		head->headers[i].value = moved(from->headers[i].value, base, end, copy);
	}
	return head;
}

struct request *
request_new(struct walrus *w, struct http_exchange *x)
{
	struct arena *arena = arena_new(ARENA_MAX);
	struct request *rq = arena_alloc(arena, sizeof(*rq));

	rq->walrus = w;
	rq->arena = arena;
	rq->details.arena = arena;
	rq->head = http_request(x);
	rq->peer = *http_peer(x);
	rq->port = rq->peer.local_port;
	rq->id = arena_strdup(arena, http_id(x));
	rq->log = *w->log;
	rq->log.request_id = rq->id;
	rq->status = 200;
	rq->facts = (struct request_facts){
		.began_us = clock_now_us(), .began_ms = clock_monotonic_ms(), .object_size = -1
	};
	return rq;
}

void
request_keep_head(struct request *rq)
{
	rq->head = copy_head(rq->head, rq->arena);
}

void
request_free(struct request *rq)
{
	if (!rq)
		return;
	if (rq->operation && rq->operation->done)
		rq->operation->done(rq);
	sigv4_chunks_free(rq->chunks);
	lane_free(rq->md5_lane);
	EVP_MD_CTX_free(rq->md5_context);
	EVP_MD_CTX_free(rq->sha256_context);
	checksum_done(&rq->checksum);
	content_reader_free(rq->content);
	bucket_unref(rq->bucket);
	hot_unref(rq->hot);
	strbuf_done(&rq->body);
	strbuf_done(&rq->reply);
	vec_done(&rq->headers);
	arena_free(rq->arena);
}

/* -- the beginning -- */

static int
verify(struct request *rq, const struct auth_request *a, struct sigv4_result *ret, struct err *e)
{
	const char *host_bucket = rq->target.is_virtual_host ? rq->target.bucket : NULL;

	if (sigv4_is_present(a))
		return sigv4_verify(rq->walrus->sigv4, AUTH_S3, a, clock_now_us(), ret, e);
	return sigv2_verify(identity_key, rq->walrus->identity, AUTH_S3, a, host_bucket,
	    clock_now_us(), &ret->key, e);
}

/* Most clients sign the path as they send it; euca2ools and what has the mount point in its
 * endpoint's name alone sign what comes behind it. */
static int
verify_mounted(struct request *rq, struct auth_request *a, struct sigv4_result *ret, struct err *e)
{
	struct str path = target_without_mount(a->path);
	int r = verify(rq, a, ret, e);

	if (r != ERR_SIGNATURE_DOES_NOT_MATCH || path.n == a->path.n || rq->target.is_virtual_host)
		return r;
	a->path = path.n ? path : STR("/");
	return verify(rq, a, ret, e);
}

/* Tokens belong to keys for a while, and there are none of those. */
static int
refuse_token(struct request *rq, struct err *e)
{
	struct str token = request_header(rq, "x-amz-security-token");
	const char *parameter = request_parameter(rq, "X-Amz-Security-Token");

	if (!token.n && parameter)
		token = str_of(parameter);
	if (token.n == 0)
		return 0;
	err_detail(&rq->details, "Token-0", token);
	return err_set(
	    e, ERR_INVALID_TOKEN, "The provided token is malformed or otherwise invalid.");
}

/* Clients frame a body to put a checksum behind it whatever they sign with; only version 4 says so
 * in what is signed. */
static bool
is_framed(const struct request *rq)
{
	return http_list_has(request_header(rq, "content-encoding"), "aws-chunked") &&
	       request_header(rq, "x-amz-decoded-content-length").p;
}

static void
note_signature(struct request *rq, bool is_version_4, const struct sigv4_result *made)
{
	bool is_in_header = request_header(rq, "authorization").p != NULL;

	rq->signature = (struct request_signature){
		.type = is_in_header ? "REST-HEADER" : "REST-QUERY-STRING",
		.version = is_version_4 ? "AWS4-HMAC-SHA256" : "AWS",
	};
	if (is_version_4)
		(void)time_parse_basic(str_of(made->date), &rq->signature.made_us); /* verified */
}

static int
authenticate(struct request *rq, struct sigv4_result *ret, struct err *e)
{
	struct auth_request a = { .method = rq->head->method,
		.path = rq->head->path,
		.query = rq->head->query,
		.host = rq->head->host,
		.headers = rq->head->headers,
		.header_count = rq->head->header_count,
		.port = rq->port,
		.details = &rq->details };
	struct str header = request_header(rq, "authorization");
	bool is_version_4 = sigv4_is_present(&a);
	int r = 0;

	ret->payload = SIGV4_PAYLOAD_UNSIGNED;
	if (is_version_4 || sigv2_is_present(AUTH_S3, &a))
		r = verify_mounted(rq, &a, ret, e);
	else if (header.p)
		r = error_argument(
		    rq, "Authorization", header, e, "Unsupported Authorization Type");
	else
		rq->is_anonymous = true;
	if (!is_version_4 && is_framed(rq))
		ret->payload = SIGV4_PAYLOAD_UNSIGNED_TRAILER;
	if (!rq->is_anonymous && identity_check(rq->walrus->identity, e) < 0)
		return e->code;
	if (r == 0 && !rq->is_anonymous)
		r = refuse_token(rq, e);
	if (r < 0)
		return r;
	rq->details.count = 0; /* of the first of two tries */
	if (!rq->is_anonymous)
		note_signature(rq, is_version_4, ret);
	rq->caller = ret->key;
	rq->log.account_id = rq->is_anonymous ? NULL : rq->caller.account_id;
	return 0;
}

/* Whether the query is of the signature at most. */
static bool
is_plain(const struct http_head *head)
{
	struct str rest = head->query, part;

	while (str_split(&rest, '&', &part))
		if (part.n > 0 && !str_starts(part, "X-Amz-"))
			return false;
	return true;
}

static bool
is_plain_read(const struct http_head *head)
{
	return head->content_length == 0 &&
	       (str_is(head->method, "GET") || str_is(head->method, "HEAD")) && is_plain(head);
}

bool
request_is_quick(struct request *rq)
{
	struct err e = { 0 };

	if (rq->is_website || !is_plain_read(rq->head) ||
	    target_parse(rq->head, rq->walrus->conf->domains, rq->arena, &rq->details, &rq->target,
		&e) < 0 ||
	    rq->target.level != TARGET_OBJECT)
		return false;
	rq->bucket = bucket_peek(rq->walrus, rq->target.bucket);
	if (rq->bucket)
		rq->hot = hot_find(rq->walrus->hot, rq->bucket->id, rq->target.key);
	if (rq->hot)
		return true;
	bucket_unref(TAKE(rq->bucket));
	return false;
}

bool
request_is_quick_put(struct request *rq)
{
	const struct http_head *head = rq->head;
	struct err e = { 0 };
	int r;

	if (rq->is_website || !str_is(head->method, "PUT") ||
	    head->content_length > QUICK_BYTES_MAX || !is_plain(head) ||
	    request_header(rq, "x-amz-copy-source").p)
		return false;
	r = target_parse(head, rq->walrus->conf->domains, rq->arena, &rq->details, &rq->target, &e);
	rq->details.count = 0; /* what is wrong is said when it is parsed again */
	if (r == 0 && rq->target.level == TARGET_OBJECT)
		rq->bucket = bucket_peek(rq->walrus, rq->target.bucket);
	return rq->bucket != NULL;
}

/* A signature is over all values of a header, and the first is the one that counts: in two, it
 * would say less than was signed. */
static int
check_repeated(struct request *rq, struct err *e)
{
	for (unsigned i = 0; i < rq->head->header_count; i++) {
		const struct http_header *h = &rq->head->headers[i];

		if (h->name.n < 6 || strncasecmp(h->name.p, "x-amz-", 6) != 0 ||
		    (h->name.n > 11 && strncasecmp(h->name.p, "x-amz-meta-", 11) == 0))
			continue;
		if (http_head_find_str(rq->head, h->name).p != h->value.p)
			return error_argument(rq, arena_str(rq->arena, h->name), h->value, e,
			    "The header was sent more than once.");
	}
	return 0;
}

int
request_begin(struct request *rq, struct err *e)
{
	struct sigv4_result signature = { 0 };
	int r = 0;

	if (rq->is_website)
		return website_begin(rq, e);
	if (!rq->bucket) /* else it was done on the loop */
		r = target_parse(
		    rq->head, rq->walrus->conf->domains, rq->arena, &rq->details, &rq->target, e);
	if (r < 0)
		return r;
	if (form_parse(rq->head->query, PARAMETERS_MAX, rq->arena, &rq->query, e) < 0)
		return err_set(e, ERR_INVALID_URI, "Couldn't parse the specified URI.");
	if (rq->target.bucket && str_is(rq->head->method, "OPTIONS")) {
		route_preflight(rq);
		return 0;
	}
	r = authenticate(rq, &signature, e);
	if (r == 0)
		r = check_repeated(rq, e);
	if (r == 0)
		r = link_read_headers(rq, e);
	if (r == 0)
		r = route(rq, e);
	if (r == 0)
		r = version_id_check(rq, e);
	if (r < 0)
		return r;
	if (!rq->bucket && rq->operation->level != TARGET_SERVICE &&
	    !(rq->operation->flags & S3_ANY_BUCKET))
		r = bucket_get(rq->walrus, rq->target.bucket, &rq->bucket, e);
	if (r == 0 && !(rq->operation->flags & S3_FORM))
		r = access_request(rq, e);
	if (r == 0)
		r = body_expect(rq, &signature, e);
	if (r == 0 && rq->operation->begin)
		r = rq->operation->begin(rq, e);
	return r;
}

int
request_body(struct request *rq, struct str bytes, struct err *e)
{
	return body_take(rq, bytes, e);
}

int
request_end(struct request *rq, struct err *e)
{
	int r = body_check(rq, e);

	if (r == 0)
		r = rq->operation->run(rq, e);
	if (r == 0 && !rq->operation->commit)
		cors_reply(rq);
	return r;
}

void
request_answer(struct request *rq)
{
	rq->operation->answer(rq);
	cors_reply(rq);
}

void
request_fail(struct request *rq, const struct err *e)
{
	error_reply(rq, e);
}
