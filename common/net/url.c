/* URLs, percent-encoding and forms. Decoding never guesses: a '%' without two hex digits is an
 * error, because a signature covers the bytes the client meant. */
#include "net/url.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *scheme;
	uint16_t port;
} schemes[] = { { "http", 80 }, { "https", 443 }, { "unix", 0 } };

static int
bad_url(const char *text, struct err *e)
{
	return err_set(e, ERR_INVALID, "malformed URL '%.200s'", text);
}

/* host[:port] or [address][:port] into url. */
static int
parse_authority(const char *text, struct str authority, struct url *url, struct err *e)
{
	struct str host = authority, port = { NULL, 0 };

	if (authority.n && authority.p[0] == '[') {
		const char *close = memchr(authority.p, ']', authority.n);

		if (!close)
			return bad_url(text, e);
		host = (struct str){ authority.p + 1, (size_t)(close - authority.p) - 1 };
		port = (struct str){ close + 1, (size_t)(authority.p + authority.n - close) - 1 };
		if (port.n && *port.p != ':')
			return bad_url(text, e);
	} else {
		const char *colon = memchr(authority.p, ':', authority.n);

		if (colon) {
			host.n = (size_t)(colon - authority.p);
			port = (struct str){ colon, authority.n - host.n };
		}
	}
	if (host.n == 0 || host.n >= sizeof(url->host) || memchr(host.p, '@', host.n))
		return bad_url(text, e);
	if (port.n &&
	    (!str_to_u16((struct str){ port.p + 1, port.n - 1 }, &url->port) || !url->port))
		return bad_url(text, e);
	memcpy(url->host, host.p, host.n);
	url->host[host.n] = '\0';
	return 0;
}

static void
split_path(struct str rest, struct url *url)
{
	const char *question = memchr(rest.p, '?', rest.n);

	url->path = rest;
	if (question) {
		url->path.n = (size_t)(question - rest.p);
		url->query = (struct str){ question + 1, rest.n - url->path.n - 1 };
	}
	if (url->path.n == 0)
		url->path = STR("/");
}

int
url_parse(const char *text, struct url *ret, struct err *e)
{
	struct url url = { .query = { "", 0 } };
	const char *colon = strstr(text, "://"), *p, *end;
	struct str scheme = { text, colon ? (size_t)(colon - text) : 0 };
	size_t i;

	for (const char *c = text; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '#')
			return bad_url(text, e);
	for (i = 0; i < ARRAY_SIZE(schemes); i++)
		if (str_is_nocase(scheme, schemes[i].scheme))
			break;
	if (i == ARRAY_SIZE(schemes))
		return bad_url(text, e);
	snprintf(url.scheme, sizeof(url.scheme), "%s", schemes[i].scheme);
	url.port = schemes[i].port;
	p = colon + 3;
	end = p + strcspn(p, "/?");
	if (url.port) {
		int r = parse_authority(text, (struct str){ p, (size_t)(end - p) }, &url, e);

		if (r < 0)
			return r;
	} else if (end != p) {
		return bad_url(text, e); /* unix:///path has no host */
	}
	split_path(str_of(end), &url);
	*ret = url;
	return 0;
}

void
url_encode(struct strbuf *out, struct str in, bool keep_slash)
{
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		    c == '-' || c == '_' || c == '.' || c == '~' || (c == '/' && keep_slash)) {
			strbuf_addc(out, (char)c);
		} else {
			const char escape[3] = { '%', "0123456789ABCDEF"[c >> 4],
				"0123456789ABCDEF"[c & 15] };

			strbuf_add(out, escape, 3);
		}
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
url_decode_to(char *out, struct str in, bool plus_is_space, size_t *ret_n)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '%') {
			int high = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
			int low = i + 2 < in.n ? hex_digit(in.p[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			out[n++] = (char)(high << 4 | low);
			i += 2;
		} else {
			out[n++] = in.p[i] == '+' && plus_is_space ? ' ' : in.p[i];
		}
	}
	*ret_n = n;
	return true;
}

int
url_decode(struct strbuf *out, struct str in, bool plus_is_space, struct err *e)
{
	_cleanup_free_ char *bytes = xmalloc(in.n + 1);
	size_t n;

	if (!url_decode_to(bytes, in, plus_is_space, &n))
		return err_set(e, ERR_INVALID, "malformed percent-escape");
	strbuf_add(out, bytes, n);
	return 0;
}

static int
decode_field(struct str raw, struct arena *arena, struct str *ret, struct err *e)
{
	char *bytes = arena_try(arena, raw.n + 1);
	size_t n;

	if (!bytes)
		return err_set(e, ERR_LIMIT, "form too large");
	if (!url_decode_to(bytes, raw, true, &n))
		return err_set(e, ERR_MALFORMED_QUERY_STRING, "malformed percent-escape");
	if (memchr(bytes, '\0', n))
		return err_set(e, ERR_MALFORMED_QUERY_STRING, "NUL byte in a parameter");
	bytes[n] = '\0';
	*ret = (struct str){ bytes, n };
	return 0;
}

int
form_parse(struct str in, size_t max_fields, struct arena *arena, struct form *form, struct err *e)
{
	struct form_field *fields;
	size_t count = form->count, room = count;
	struct str part, rest = in;

	for (size_t i = 0; i < in.n; i++)
		room += in.p[i] == '&';
	room += in.n > 0;
	if (room > max_fields)
		room = max_fields;
	fields = arena_try(arena, (room + 1) * sizeof(*fields));
	if (!fields)
		return err_set(e, ERR_LIMIT, "form too large");
	if (count)
		memcpy(fields, form->fields, (count < room ? count : room) * sizeof(*fields));
	while (in.n && str_split(&rest, '&', &part)) {
		struct form_field f = { 0 };
		struct str name;
		const char *equals;
		int r;

		if (part.n == 0)
			continue;
		if (count >= max_fields)
			return err_set(e, ERR_LIMIT, "more than %zu parameters", max_fields);
		equals = memchr(part.p, '=', part.n);
		f.raw_name = (struct str){ part.p, equals ? (size_t)(equals - part.p) : part.n };
		f.raw_value = equals ? (struct str){ equals + 1, part.n - f.raw_name.n - 1 }
				     : (struct str){ part.p + part.n, 0 };
		r = decode_field(f.raw_name, arena, &name, e);
		if (r == 0)
			r = decode_field(f.raw_value, arena, &f.value, e);
		if (r < 0)
			return r;
		f.name = name.p;
		fields[count++] = f;
	}
	form->fields = fields;
	form->count = count;
	return 0;
}

const char *
form_find(const struct form *form, const char *name)
{
	for (size_t i = 0; i < form->count; i++)
		if (strcmp(form->fields[i].name, name) == 0)
			return form->fields[i].value.p;
	return NULL;
}
