#pragma once
/* A second opinion on HTTP/1.1: llhttp, Node's parser, compiled here from the sources that Debian's
 * node-llhttp installs, in its strict mode. Feeds one request and keeps what llhttp saw. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "base/strbuf.h"

#ifdef HAVE_LLHTTP
#include <llhttp.h>

struct oracle {
	bool has_head, is_whole; /* all headers; the whole message */
	bool refused;
	llhttp_errno_t error;
	const char *reason;
	size_t consumed; /* where the message ended */
	struct strbuf url, body;
	struct strbuf headers; /* name \n value \n, of head and trailers */
	unsigned header_count;
	uint8_t method, minor;
	bool chunked, keep_alive;
	uint64_t content_length;
};

static int
oracle_url(llhttp_t *l, const char *p, size_t n)
{
	strbuf_add(&((struct oracle *)l->data)->url, p, n);
	return 0;
}

static int
oracle_text(llhttp_t *l, const char *p, size_t n)
{
	strbuf_add(&((struct oracle *)l->data)->headers, p, n);
	return 0;
}

static int
oracle_name_end(llhttp_t *l)
{
	strbuf_addc(&((struct oracle *)l->data)->headers, '\n');
	return 0;
}

static int
oracle_value_end(llhttp_t *l)
{
	struct oracle *o = l->data;

	while (o->headers.n &&
	       (o->headers.p[o->headers.n - 1] == ' ' || o->headers.p[o->headers.n - 1] == '\t'))
		o->headers.p[--o->headers.n] = '\0';
	strbuf_addc(&o->headers, '\n');
	o->header_count++;
	return 0;
}

static int
oracle_head(llhttp_t *l)
{
	struct oracle *o = l->data;

	o->has_head = true;
	o->method = l->method;
	o->minor = l->http_minor;
	o->chunked = l->flags & F_CHUNKED;
	o->content_length = l->content_length;
	o->keep_alive = llhttp_should_keep_alive(l);
	return 0;
}

static int
oracle_body(llhttp_t *l, const char *p, size_t n)
{
	strbuf_add(&((struct oracle *)l->data)->body, p, n);
	return 0;
}

static int
oracle_end(llhttp_t *l)
{
	((struct oracle *)l->data)->is_whole = true;
	return HPE_PAUSED;
}

static void
oracle_run(struct oracle *o, const char *p, size_t n)
{
	static const llhttp_settings_t settings = {
		.on_url = oracle_url,
		.on_header_field = oracle_text,
		.on_header_value = oracle_text,
		.on_header_field_complete = oracle_name_end,
		.on_header_value_complete = oracle_value_end,
		.on_headers_complete = oracle_head,
		.on_body = oracle_body,
		.on_message_complete = oracle_end,
	};
	llhttp_t l;

	llhttp_init(&l, HTTP_REQUEST, &settings);
	l.data = o;
	o->error = llhttp_execute(&l, p, n);
	o->reason = llhttp_get_error_reason(&l);
	o->consumed = n;
	if (o->error != HPE_OK && llhttp_get_error_pos(&l))
		o->consumed = (size_t)(llhttp_get_error_pos(&l) - p);
	o->refused = o->error != HPE_OK && o->error != HPE_PAUSED && o->error != HPE_PAUSED_UPGRADE;
}

static void
oracle_done(struct oracle *o)
{
	strbuf_done(&o->url);
	strbuf_done(&o->body);
	strbuf_done(&o->headers);
}
#else
static void
oracle_is_absent(void)
{
	static bool was_said;

	if (!was_said)
		printf("ok 0 - comparison with llhttp # skip node-llhttp is not installed\n");
	was_said = true;
}
#endif
