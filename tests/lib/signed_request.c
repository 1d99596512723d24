/* Reads recorded requests leniently: the vectors hold spaces and raw UTF-8 that no server accepts.
 */
#include "tests/lib/signed_request.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/strbuf.h"

static void
bad(const char *what)
{
	(void)fprintf(stderr, "recorded request: %s\n", what);
	abort();
}

static bool
next_line(struct str *rest, struct str *ret)
{
	if (!str_split(rest, '\n', ret))
		return false;
	if (ret->n > 0 && ret->p[ret->n - 1] == '\r')
		ret->n--;
	return true;
}

static void
read_setting(struct signed_request *s, struct str line)
{
	struct str name, value = line;

	(void)str_split(&value, ' ', &name);
	if (str_is(name, "#service"))
		s->service = str_is(value, "s3")    ? AUTH_S3
			     : str_is(value, "iam") ? AUTH_IAM
						    : AUTH_QUERY;
	else if (str_is(name, "#now") && !time_parse_basic(value, &s->now_us))
		bad("malformed #now");
	else if (str_is(name, "#bucket"))
		s->bucket = str_dup(value);
	else if (str_is(name, "#port") && !str_to_u16(value, &s->rq.port))
		bad("malformed #port");
}

static void
read_request_line(struct signed_request *s, struct str line)
{
	struct str target = line;

	if (!str_split(&target, ' ', &s->rq.method) || target.n < 9)
		bad("malformed request line");
	target.n -= sizeof(" HTTP/1.1") - 1;
	s->rq.query = target;
	if (!str_split(&s->rq.query, '?', &s->rq.path) || !s->rq.query.p)
		s->rq.query = STR("");
}

void
signed_request_parse(struct signed_request *s, struct str text)
{
	struct str rest, line;

	*s = (struct signed_request){ .text = str_dup(text) };
	s->rq.body = STR("");
	if (!time_parse_basic(STR("20150830T123600Z"), &s->now_us))
		bad("clock");
	rest = (struct str){ s->text, text.n };
	while (next_line(&rest, &line) && line.n > 0 && line.p[0] == '#')
		read_setting(s, line);
	read_request_line(s, line);
	while (next_line(&rest, &line) && line.n > 0) {
		struct str name = STR(""), value = line;

		if (s->rq.header_count == HTTP_HEADERS_MAX || !str_split(&value, ':', &name))
			bad("malformed header");
		s->headers[s->rq.header_count++] =
		    (struct http_header){ name, str_trim((struct str){ value.p, value.n }) };
		if (str_is_nocase(name, "host"))
			s->rq.host = str_trim(value);
	}
	if (rest.p)
		s->rq.body = rest;
	s->rq.headers = s->headers;
}

void
signed_request_load(struct signed_request *s, const char *path)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char buffer[4096];
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		bad(path);
	while ((n = fread(buffer, 1, sizeof(buffer), f)) > 0)
		strbuf_add(&text, buffer, n);
	(void)fclose(f);
	signed_request_parse(s, strbuf_str(&text));
}

void
signed_request_done(struct signed_request *s)
{
	free(s->text);
	free(s->bucket);
}

void
signed_request_set(struct signed_request *s, const char *name, const char *value)
{
	unsigned i = 0;

	while (i < s->rq.header_count && !str_is_nocase(s->headers[i].name, name))
		i++;
	if (!value) {
		if (i == s->rq.header_count)
			return;
		s->rq.header_count--;
		memmove(s->headers + i, s->headers + i + 1,
		    (s->rq.header_count - i) * sizeof(s->headers[0]));
		return;
	}
	if (i == s->rq.header_count)
		s->rq.header_count++;
	s->headers[i] = (struct http_header){ str_of(name), str_of(value) };
	if (strcasecmp(name, "host") == 0)
		s->rq.host = str_of(value);
}

bool
documented_keys(void *arg, const char *access_key_id, struct auth_key *ret)
{
	static const struct auth_key keys[] = {
		{ "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "123456789012",
		    "AIDA1", "admin", true, 1 },
		{ "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		    "123456789012", "AIDA2", "s3", true, 1 },
		{ "AKIADISABLED", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "123456789012",
		    "AIDA3", "off", false, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].access_key_id, access_key_id) == 0) {
			*ret = keys[i];
			return true;
		}
	return false;
}
