/* Pages. A request is anonymous, reads, and ends in an object, a redirection or an error that
 * people can read. Objects go out as those of the API do: conditions, ranges, checked bytes. */
#include <stdio.h>

#include "access.h"
#include "bucket.h"
#include "object.h"
#include "request.h"
#include "website.h"

#define LOCATION_HEADER "x-amz-website-redirect-location"

/* -- answers -- */

static int
redirect_to(struct request *rq, int status, const char *location)
{
	rq->headers.count = 0;
	content_reader_free(TAKE(rq->content));
	rq->has_length = false;
	rq->status = status;
	reply_header(rq, "Location", location);
	return 0;
}

static int
follow(struct request *rq, const struct website_redirect *redirect, const char *prefix)
{
	_cleanup_strbuf_ struct strbuf location = STRBUF_INIT;

	website_location(redirect, prefix, rq->target.key, rq->peer.is_tls ? "https" : "http",
	    rq->head->host, &location);
	return redirect_to(rq, redirect->status ? redirect->status : 301,
	    arena_str(rq->arena, strbuf_str(&location)));
}

/* The object of that key as the reply, if anybody may have it. */
static int
try(struct request *rq, struct str key, struct err *e)
{
	struct str asked = rq->target.key;
	int r;

	rq->headers.count = 0;
	rq->keeps_headers = false;
	rq->status = 200;
	rq->target.key = key;
	r = access_request(rq, e);
	if (r == 0)
		r = object_get(rq, e);
	rq->target.key = asked;
	if (r < 0)
		return r;
	VEC_FOREACH (&rq->headers, header)
		if (strcmp(header->name, LOCATION_HEADER) == 0)
			return redirect_to(rq, 301, header->value);
	return 0;
}

static struct str
joined(struct request *rq, struct str key, const char *separator, const char *suffix)
{
	char *text = arena_printf(rq->arena, "%.*s%s%s", (int)key.n, key.p, separator, suffix);

	return str_of(text);
}

/* A directory that was asked for without its slash. */
static bool
is_directory(struct request *rq, const struct website *site)
{
	struct str key = rq->target.key;
	struct err e = { 0 };
	int r = try(rq, joined(rq, key, "/", site->index), &e);

	content_reader_free(TAKE(rq->content));
	rq->headers.count = 0;
	rq->has_length = false;
	rq->keeps_headers = false;
	rq->status = 200;
	return r == 0;
}

/* -- errors -- */

static void
add_item(struct xml_writer *w, const char *name, struct str value)
{
	xml_open(w, "li");
	xml_text(w, str_of(name));
	xml_text(w, STR(": "));
	xml_text(w, value);
	xml_close(w, "li");
}

static void
add_page(struct request *rq, int code, const char *message)
{
	struct xml_writer *w = &rq->xml;
	_cleanup_free_ char *title =
	    xasprintf("%d %s", fault_status(code), http_reason(fault_status(code)));

	strbuf_reset(&rq->reply);
	xml_writer_init(w, &rq->reply, false);
	xml_open(w, "html");
	xml_open(w, "head");
	xml_element(w, "title", title);
	xml_close(w, "head");
	xml_open(w, "body");
	xml_element(w, "h1", title);
	xml_open(w, "ul");
	add_item(w, "Code", str_of(fault_code(code)));
	add_item(w, "Message", str_of(message));
	if (code == ERR_KEY_NOT_FOUND)
		add_item(w, "Key", rq->target.key);
	if (code == ERR_BUCKET_NOT_FOUND || code == ERR_WEBSITE_NOT_FOUND)
		add_item(w, "BucketName", str_of(rq->target.bucket));
	add_item(w, "RequestId", str_of(rq->id));
	add_item(w, "HostId", str_of(rpc_self(rq->walrus->rpc)));
	xml_close(w, "ul");
	xml_empty(w, "hr");
	xml_close(w, "body");
	xml_close(w, "html");
}

static void
add_error_headers(struct request *rq, int code, const char *message)
{
	reply_header(rq, "x-amz-error-code", fault_code(code));
	reply_header(rq, "x-amz-error-message", arena_strdup(rq->arena, message));
}

void
website_fail(struct request *rq, int code, const char *message)
{
	add_error_headers(rq, code, message);
	reply_header(rq, "Content-Type", "text/html; charset=utf-8");
	if (!request_is_head(rq))
		add_page(rq, code, message);
}

/* The owner's page instead of ours, whole, whatever part of the other one was asked for. */
static int
try_error_document(struct request *rq, const struct website *site, const struct err *why)
{
	const struct http_head *head = rq->head;
	struct http_head *bare = arena_memdup(rq->arena, head, sizeof(*head));
	struct err e = { 0 };
	int r;

	if (!site->error)
		return why->code;
	bare->header_count = 0;
	rq->head = bare;
	r = try(rq, str_of(site->error), &e);
	rq->head = head;
	if (r < 0)
		return why->code;
	if (rq->status == 200)
		rq->status = fault_status(why->code);
	add_error_headers(rq, why->code, why->text);
	return 0;
}

static int
answer_error(struct request *rq, const struct website *site, struct err *e)
{
	int status = fault_status(e->code);
	const struct website_rule *rule = website_find(site, rq->target.key, status);

	if (status == 304 || status == 412 || status == 416 || status >= 500)
		return e->code;
	if (rule)
		return follow(rq, &rule->redirect, rule->prefix);
	if (status == 404 || status == 403) {
		struct str key = rq->target.key;

		if (key.n && key.p[key.n - 1] != '/' && is_directory(rq, site)) {
			_cleanup_strbuf_ struct strbuf location = STRBUF_INIT;

			strbuf_addc(&location, '/');
			url_encode(&location, key, true);
			strbuf_addc(&location, '/');
			return redirect_to(rq, 302, arena_str(rq->arena, strbuf_str(&location)));
		}
	}
	return try_error_document(rq, site, e);
}

/* -- a request -- */

static int
serve(struct request *rq, struct err *e)
{
	const struct website *site;
	const struct website_rule *rule;
	struct str key = rq->target.key;
	int r = bucket_get(rq->walrus, rq->target.bucket, &rq->bucket, e);

	if (r < 0)
		return r;
	site = rq->bucket->settings[SETTING_WEBSITE];
	if (!site)
		return err_set(e, ERR_WEBSITE_NOT_FOUND,
		    "The specified bucket does not have a website configuration");
	if (site->everything)
		return follow(rq, site->everything, NULL);
	rule = website_find(site, key, 0);
	if (rule)
		return follow(rq, &rule->redirect, rule->prefix);
	if (key.n == 0 || key.p[key.n - 1] == '/')
		key = joined(rq, key, "", site->index);
	r = try(rq, key, e);
	return r < 0 ? answer_error(rq, site, e) : r;
}

static int
decode_key(struct request *rq, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct str path = rq->head->path;
	struct err why;

	if (path.n && path.p[0] == '/')
		path = (struct str){ path.p + 1, path.n - 1 };
	if (url_decode(&text, path, false, &why) < 0 || !is_utf8(strbuf_str(&text)) ||
	    strlen(strbuf_c(&text)) != text.n)
		return err_set(e, ERR_INVALID_URI, "Couldn't parse the specified URI.");
	if (text.n > S3_KEY_MAX)
		return err_set(e, ERR_KEY_TOO_LONG, "Your key is too long");
	rq->target.key = str_of(arena_str(rq->arena, strbuf_str(&text)));
	return 0;
}

/* BUCKET.DOMAIN, or a bucket that has the name of the host. */
static void
read_host(struct request *rq)
{
	struct str host = rq->head->host;
	struct str bucket = target_bucket_of_host(host, rq->walrus->conf->website_domains);
	const char *colon = host.n ? memchr(host.p, ':', host.n) : NULL;

	if (!bucket.n)
		bucket = (struct str){ host.p, colon ? (size_t)(colon - host.p) : host.n };
	rq->target.bucket = arena_str(rq->arena, bucket);
	for (char *p = rq->target.bucket; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p | 0x20);
	rq->target.level = TARGET_OBJECT;
	rq->target.is_virtual_host = true;
}

int
website_begin(struct request *rq, struct err *e)
{
	static const struct s3_operation get = { "WebsiteGet", "GET", TARGET_OBJECT, NULL,
		"s3:GetObject", NULL, PERMISSION_READ, S3_OBJECT_ACL, 0, serve };

	rq->operation = &get;
	rq->is_anonymous = true;
	rq->target.key = (struct str){ "", 0 };
	read_host(rq);
	if (!str_is(rq->head->method, "GET") && !request_is_head(rq))
		return err_set(e, ERR_METHOD_NOT_ALLOWED,
		    "The specified method is not allowed against this resource.");
	if (rq->target.bucket[0] == '.' || !bucket_name_is_valid(rq->target.bucket))
		return err_set(e, ERR_BUCKET_NOT_FOUND, "The specified bucket does not exist");
	return decode_key(rq, e);
}
