/* The fields of a form say what headers say of a PUT. So when the file begins the request gets a
 * head with the fields as its headers, and from there on it is a PUT: attributes, access, checksums
 * and the commit are those of object_put.c. Only what is read before, the signed policy, and the
 * reply are a form's own. */
#include "post.h"

#include <stdio.h>

#include "access.h"
#include "auth/sigv2.h"
#include "base/clock.h"
#include "body.h"
#include "error.h"
#include "form.h"
#include "link.h"
#include "object.h"
#include "post_policy.h"
#include "request.h"

#define TAGS_XML_BYTES_MAX (16 * 1024)

struct post {
	struct form_reader *reader;
	struct form_part *fields; /* with ${filename} replaced; in the arena */
	size_t field_count;
	bool has_file, is_over;
	struct post_policy policy;
	uint64_t file_bytes;
};

/* -- fields -- */

static struct str
field(const struct request *rq, const char *name)
{
	const struct post *post = rq->post;

	for (size_t i = 0; i < post->field_count; i++)
		if (strcasecmp(post->fields[i].name, name) == 0)
			return post->fields[i].value;
	return (struct str){ NULL, 0 };
}

static int
missing_field(struct request *rq, const char *name, struct err *e)
{
	return error_argument(rq, name, STR(""), e,
	    "Bucket POST must contain a field named '%s'.  If it is specified, please check the "
	    "order of the fields.",
	    name);
}

static struct str
with_filename(struct request *rq, struct str value)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	const char *name = form_reader_filename(rq->post->reader), *at;
	static const char variable[] = "${filename}";
	size_t n = sizeof(variable) - 1;

	while ((at = memmem(value.p, value.n, variable, n))) {
		size_t before = (size_t)(at - value.p);

		strbuf_add(&out, value.p, before);
		strbuf_adds(&out, name);
		value = (struct str){ at + n, value.n - before - n };
	}
	strbuf_addstr(&out, value);
	return (struct str){ arena_str(rq->arena, strbuf_str(&out)), out.n };
}

static bool
is_ignored(const char *name)
{
	return strncasecmp(name, "x-ignore-", 9) == 0;
}

/* A field that came twice would be one thing to the policy and another to the object. */
static int
read_fields(struct request *rq, struct err *e)
{
	struct post *post = rq->post;
	const struct form_part *parts = form_reader_fields(post->reader, &post->field_count);

	post->fields = arena_alloc(rq->arena, (post->field_count + 1) * sizeof(*post->fields));
	for (size_t i = 0; i < post->field_count; i++) {
		bool is_policy = strcasecmp(parts[i].name, "policy") == 0;

		for (size_t k = 0; k < i; k++)
			if (strcasecmp(parts[i].name, parts[k].name) == 0 &&
			    !is_ignored(parts[i].name))
				return error_argument(rq, arena_strdup(rq->arena, parts[i].name),
				    parts[i].value, e, "The form has a field more than once.");
		post->fields[i].name = arena_strdup(rq->arena, parts[i].name);
		post->fields[i].value =
		    is_policy ? parts[i].value : with_filename(rq, parts[i].value);
	}
	return 0;
}

/* -- who asks -- */

static int
authenticate_v4(struct request *rq, struct err *e)
{
	struct sigv4_policy signature;
	const struct {
		const char *name;
		struct str *value;
	} wanted[] = {
		{ "X-Amz-Algorithm", &signature.algorithm },
		{ "X-Amz-Credential", &signature.credential },
		{ "X-Amz-Date", &signature.date },
		{ "X-Amz-Signature", &signature.signature },
		{ "Policy", &signature.policy },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		*wanted[i].value = field(rq, wanted[i].name);
		if (!wanted[i].value->p)
			return missing_field(rq, wanted[i].name, e);
	}
	return sigv4_verify_policy(rq->walrus->sigv4, &signature, &rq->details, &rq->caller, e);
}

static int
authenticate_v2(struct request *rq, struct err *e)
{
	struct sigv2_policy signature;
	const struct {
		const char *name;
		struct str *value;
	} wanted[] = {
		{ "AWSAccessKeyId", &signature.access_key_id },
		{ "Signature", &signature.signature },
		{ "Policy", &signature.policy },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		*wanted[i].value = field(rq, wanted[i].name);
		if (!wanted[i].value->p)
			return missing_field(rq, wanted[i].name, e);
	}
	return sigv2_verify_policy(
	    identity_key, rq->walrus->identity, &signature, &rq->details, &rq->caller, e);
}

/* Without a policy the form is nobody's. */
static int
authenticate(struct request *rq, struct err *e)
{
	bool is_v4 = field(rq, "X-Amz-Signature").p || field(rq, "X-Amz-Algorithm").p ||
		     field(rq, "X-Amz-Credential").p;
	struct post *post = rq->post;
	int r;

	if (!is_v4 && !field(rq, "AWSAccessKeyId").p && !field(rq, "Signature").p &&
	    !field(rq, "Policy").p)
		return 0;
	r = identity_check(rq->walrus->identity, e);
	if (r == 0)
		r = is_v4 ? authenticate_v4(rq, e) : authenticate_v2(rq, e);
	if (r < 0)
		return r;
	rq->is_anonymous = false;
	rq->signature = (struct request_signature){ "POST", is_v4 ? "AWS4-HMAC-SHA256" : "AWS", 0 };
	if (is_v4)
		(void)time_parse_basic(
		    field(rq, "X-Amz-Date"), &rq->signature.made_us); /* verified */
	rq->log.account_id = rq->caller.account_id;
	return post_policy_check(field(rq, "Policy"), rq->target.bucket, post->fields,
	    post->field_count, clock_now_us(), &post->policy, e);
}

/* -- a head out of fields -- */

/* Fields that are headers of a PUT: by name, or by prefix where that ends in '-'. */
static const struct {
	const char *field, *header; /* NULL: of the same name */
} headers[] = {
	{ "acl", "x-amz-acl" },
	{ "Cache-Control", NULL },
	{ "Content-Disposition", NULL },
	{ "Content-Encoding", NULL },
	{ "Content-Language", NULL },
	{ "Content-Type", NULL },
	{ "Expires", NULL },
	{ "x-amz-acl", NULL },
	{ "x-amz-checksum-", NULL },
	{ "x-amz-grant-", NULL },
	{ "x-amz-meta-", NULL },
	{ "x-amz-object-lock-", NULL },
	{ "x-amz-sdk-checksum-algorithm", NULL },
	{ "x-amz-server-side-encryption", NULL },
	{ "x-amz-server-side-encryption-", NULL },
	{ "x-amz-storage-class", NULL },
	{ "x-amz-website-redirect-location", NULL },
};

static const char *
header_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		const char *known = headers[i].field;
		size_t n = strlen(known);

		if (known[n - 1] == '-' ? strncasecmp(name, known, n) == 0 && name[n]
					: strcasecmp(name, known) == 0)
			return headers[i].header ? headers[i].header : name;
	}
	return NULL;
}

static int
add_header(
    struct request *rq, struct http_head *head, const char *name, struct str value, struct err *e)
{
	value = str_trim(value);
	if (!link_is_header(name, value))
		return error_argument(rq, arena_strdup(rq->arena, name), value, e,
		    "The value of a field cannot be that of a header.");
	if (head->header_count == HTTP_HEADERS_MAX)
		return err_set(e, ERR_POST_FIELDS_TOO_LONG,
		    "Your POST request fields preceding the upload file were too large.");
	head->headers[head->header_count++] = (struct http_header){ str_of(name), value };
	return 0;
}

/* What the request's own headers say of the request stays; what they say of its body, or would of a
 * PUT, is the form's to say. */
static void
keep_headers(const struct http_head *from, struct http_head *to)
{
	static const char *const kept[] = { "host", "user-agent", "origin", "referer",
		"x-amz-expected-bucket-owner", "x-amz-request-payer", "x-forwarded-for" };

	to->header_count = 0;
	for (unsigned i = 0; i < from->header_count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(kept); k++)
			if (str_is_nocase(from->headers[i].name, kept[k]))
				to->headers[to->header_count++] = from->headers[i];
}

/* <Tagging><TagSet><Tag><Key/><Value/></Tag>... as the header has it: "a=b&c=d". */
static int
tags_of_xml(struct request *rq, struct str xml, struct strbuf *out, struct err *e)
{
	static const struct xml_limits limits = { TAGS_XML_BYTES_MAX, 8, 8, 100 };
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct err why;
	xmlNode *set = NULL;

	if (xml_parse(xml, &limits, &doc, &why) == 0 &&
	    xml_is(xmlDocGetRootElement(doc), NULL, "Tagging"))
		set = xml_find(xmlDocGetRootElement(doc), "TagSet");
	for (xmlNode *tag = set ? xml_first(set) : NULL; tag; tag = xml_next(tag)) {
		xmlNode *key = xml_find(tag, "Key"), *value = xml_find(tag, "Value");
		const char *key_text = key ? xml_text_of(key, 4096, rq->arena) : NULL;
		const char *value_text = value ? xml_text_of(value, 4096, rq->arena) : NULL;

		if (!xml_is(tag, NULL, "Tag") || !key_text || !value_text) {
			set = NULL;
			break;
		}
		strbuf_adds(out, out->n ? "&" : "");
		url_encode(out, str_of(key_text), false);
		strbuf_addc(out, '=');
		url_encode(out, str_of(value_text), false);
	}
	if (!set)
		return err_set(e, ERR_MALFORMED_XML,
		    "The XML you provided was not well-formed or did not validate against our "
		    "published schema");
	return 0;
}

static int
make_head(struct request *rq, struct err *e)
{
	struct http_head *head = arena_memdup(rq->arena, rq->head, sizeof(*head));
	_cleanup_strbuf_ struct strbuf tags = STRBUF_INIT;
	const struct post *post = rq->post;
	struct str tagging = field(rq, "tagging");
	int r = 0;

	keep_headers(rq->head, head);
	for (size_t i = 0; r == 0 && i < post->field_count; i++) {
		const char *name = header_of(post->fields[i].name);

		if (name)
			r = add_header(rq, head, name, post->fields[i].value, e);
	}
	if (r == 0 && tagging.p)
		r = tags_of_xml(rq, tagging, &tags, e);
	if (r == 0 && tags.n) {
		struct str text = { arena_str(rq->arena, strbuf_str(&tags)), tags.n };

		r = add_header(rq, head, "x-amz-tagging", text, e);
	}
	if (r == 0)
		rq->head = head;
	return r;
}

static int
read_key(struct request *rq, struct err *e)
{
	struct str key = field(rq, "key");

	if (!key.p)
		return missing_field(rq, "key", e);
	if (key.n == 0)
		return error_argument(
		    rq, "key", key, e, "User key must have a length greater than 0.");
	if (!is_utf8(key) || memchr(key.p, '\0', key.n))
		return error_argument(rq, "key", key, e, "The key must be UTF-8 text.");
	if (key.n > S3_KEY_MAX) {
		err_detailf(&rq->details, "Size", "%zu", key.n);
		err_detailf(&rq->details, "MaxSizeAllowed", "%d", S3_KEY_MAX);
		return err_set(e, ERR_KEY_TOO_LONG, "Your key is too long");
	}
	rq->target.key = key;
	rq->target.level = TARGET_OBJECT;
	return 0;
}

/* -- as it comes -- */

static int
begin_file(struct request *rq, struct err *e)
{
	int r = read_fields(rq, e);

	rq->post->has_file = true;
	if (r == 0)
		r = read_key(rq, e);
	if (r == 0)
		r = authenticate(rq, e);
	if (r == 0)
		r = make_head(rq, e);
	if (r == 0)
		r = access_request(rq, e);
	if (r == 0)
		r = body_expect_digests(rq, e);
	return r < 0 ? r : object_put_begin(rq, e);
}

static int
check_size(struct request *rq, bool is_whole, struct err *e)
{
	struct post *post = rq->post;
	uint64_t max =
	    post->policy.bytes_max < S3_OBJECT_MAX ? post->policy.bytes_max : S3_OBJECT_MAX;

	if (post->file_bytes > max) {
		err_detailf(
		    &rq->details, "ProposedSize", "%llu", (unsigned long long)post->file_bytes);
		err_detailf(&rq->details, "MaxSizeAllowed", "%llu", (unsigned long long)max);
		return err_set(e, ERR_ENTITY_TOO_LARGE,
		    "Your proposed upload exceeds the maximum allowed size");
	}
	if (is_whole && post->file_bytes < post->policy.bytes_min) {
		err_detailf(
		    &rq->details, "ProposedSize", "%llu", (unsigned long long)post->file_bytes);
		err_detailf(&rq->details, "MinSizeAllowed", "%llu",
		    (unsigned long long)post->policy.bytes_min);
		return err_set(e, ERR_ENTITY_TOO_SMALL,
		    "Your proposed upload is smaller than the minimum allowed size");
	}
	return 0;
}

/* -- the reply -- */

static void
add_query(struct strbuf *out, const char *name, struct str value)
{
	strbuf_addf(out, "%s=", name);
	url_encode(out, value, false);
}

/* Where the browser is to go: only to where it can. */
static bool
redirect(struct request *rq, const char *etag)
{
	struct str url = field(rq, "success_action_redirect");
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	if (!url.p)
		url = field(rq, "redirect");
	if ((!str_starts(url, "http://") && !str_starts(url, "https://")) || !link_is_value(url))
		return false;
	for (size_t i = 0; i < url.n; i++)
		if (url.p[i] == ' ' || url.p[i] & 0x80)
			return false;
	strbuf_addstr(&out, url);
	strbuf_addc(&out, memchr(url.p, '?', url.n) ? '&' : '?');
	add_query(&out, "bucket", str_of(rq->target.bucket));
	strbuf_addc(&out, '&');
	add_query(&out, "key", rq->target.key);
	strbuf_addc(&out, '&');
	add_query(&out, "etag", str_of(etag));
	reply_header(rq, "Location", arena_str(rq->arena, strbuf_str(&out)));
	rq->status = 303;
	return true;
}

static const char *
location(struct request *rq)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	strbuf_adds(&out, rq->peer.is_tls ? "https://" : "http://");
	strbuf_addstr(&out, rq->head->host);
	if (!rq->target.is_virtual_host)
		strbuf_addf(&out, "/%s", rq->target.bucket);
	strbuf_addc(&out, '/');
	url_encode(&out, rq->target.key, false);
	return arena_str(rq->arena, strbuf_str(&out));
}

static void
reply_created(struct request *rq, const char *etag, const char *where)
{
	struct xml_writer *w = &rq->xml;

	xml_writer_init(w, &rq->reply, false);
	xml_declaration(w);
	xml_open(w, "PostResponse");
	xml_element(w, "Location", where);
	xml_element(w, "Bucket", rq->target.bucket);
	xml_key(w, "Key", rq->target.key, false);
	xml_element(w, "ETag", etag);
	xml_close(w, "PostResponse");
	reply_header(rq, "Content-Type", "application/xml");
	rq->status = 201;
}

static const char *
etag_of(const struct request *rq)
{
	VEC_FOREACH (&rq->headers, h)
		if (strcmp(h->name, "ETag") == 0)
			return h->value;
	return "";
}

static void
reply(struct request *rq)
{
	struct str status = field(rq, "success_action_status");
	const char *etag = etag_of(rq), *where;

	if (redirect(rq, etag))
		return;
	where = location(rq);
	reply_header(rq, "Location", where);
	if (str_is(status, "201"))
		reply_created(rq, etag, where);
	else
		rq->status = str_is(status, "200") ? 200 : 204;
}

/* Bytes of the form: once its fields are there it is decided who asks, for what, and whether they
 * may; then the file goes the way of a PUT's body. */
static int
take(struct request *rq, struct str bytes, struct err *e)
{
	struct post *post = rq->post;
	struct str data;
	int r;

	while (!post->is_over) {
		r = form_reader_next(post->reader, &bytes, &data, e);
		if (r <= FORM_MORE)
			return r;
		if (r == FORM_END) {
			post->is_over = true;
			return 0;
		}
		if (r == FORM_FILE) {
			r = begin_file(rq, e);
		} else {
			post->file_bytes += data.n;
			r = check_size(rq, false, e);
			if (r == 0)
				r = body_add(rq, data, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int
post_begin(struct request *rq, struct err *e)
{
	struct str type = request_header(rq, "content-type");

	if (rq->head->content_length < 0)
		return err_set(e, ERR_MISSING_CONTENT_LENGTH,
		    "You must provide the Content-Length HTTP header.");
	if (!str_starts(type, "multipart/form-data") && !str_starts(type, "Multipart/Form-Data")) {
		err_detail(&rq->details, "Condition",
		    STR("Bucket POST must be of the enclosure-type multipart/form-data"));
		return err_set(e, ERR_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	}
	if (!rq->is_anonymous)
		return error_argument(rq, "Authorization", request_header(rq, "authorization"), e,
		    "Only one auth mechanism allowed: a form is signed by its policy.");
	rq->post = arena_alloc(rq->arena, sizeof(*rq->post));
	rq->take = take;
	rq->post->policy.bytes_max = UINT64_MAX;
	rq->post->reader = form_reader_new(type);
	if (!rq->post->reader)
		return err_set(e, ERR_MALFORMED_POST_REQUEST,
		    "The body of your POST request is not well-formed multipart/form-data.");
	return 0;
}

int
post_run(struct request *rq, struct err *e)
{
	struct post *post = rq->post;
	int r;

	if (!post->has_file && post->is_over)
		return error_argument(
		    rq, "file", STR("0"), e, "POST requires exactly one file upload per request.");
	if (!post->is_over)
		return err_set(e, ERR_MALFORMED_POST_REQUEST,
		    "The body of your POST request is not well-formed multipart/form-data.");
	r = check_size(rq, true, e);
	return r < 0 ? r : object_put_run(rq, e);
}

void
post_answer(struct request *rq)
{
	object_put_answer(rq);
	reply(rq);
}

void
post_done(struct request *rq)
{
	if (!rq->post)
		return;
	object_put_done(rq);
	form_reader_free(TAKE(rq->post->reader));
}
