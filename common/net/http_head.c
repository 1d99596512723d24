/* Request heads and header lines, parsed strictly (RFC 9112) from whole bytes to spans, with no
 * state and no allocation. What two parsers could read differently is refused, not repaired:
 * whoever stands in front of us may have taken the other reading. The parser is one pass over the
 * bytes with a table of character classes; the framing headers are recognised on the way. */
#include "net/http.h"

#include <string.h>

enum {
	C_TOKEN = 1,  /* RFC 9110 tchar */
	C_TARGET = 2, /* visible ASCII but '#' */
	C_VALUE = 4,  /* field-vchar, space, tab, obs-text */
	C_HOST = 8,   /* reg-name, IP-literal and port */
};
#define METHOD_MAX 32

static const unsigned char classes[256] = {
	['\t'] = C_VALUE,
	[' '] = C_VALUE,
	['!'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['"'] = C_TARGET | C_VALUE,
	['#'] = C_TOKEN | C_VALUE,
	['$'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['%'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['&'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['\''] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['('] = C_TARGET | C_VALUE | C_HOST,
	[')'] = C_TARGET | C_VALUE | C_HOST,
	['*'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['+'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	[','] = C_TARGET | C_VALUE,
	['-'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['.'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['/'] = C_TARGET | C_VALUE,
	['0' ... '9'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	[':'] = C_TARGET | C_VALUE | C_HOST,
	[';'] = C_TARGET | C_VALUE | C_HOST,
	['<'] = C_TARGET | C_VALUE,
	['='] = C_TARGET | C_VALUE | C_HOST,
	['>'] = C_TARGET | C_VALUE,
	['?'] = C_TARGET | C_VALUE,
	['@'] = C_TARGET | C_VALUE,
	['A' ... 'Z'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['['] = C_TARGET | C_VALUE | C_HOST,
	['\\'] = C_TARGET | C_VALUE,
	[']'] = C_TARGET | C_VALUE | C_HOST,
	['^'] = C_TOKEN | C_TARGET | C_VALUE,
	['_'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['`'] = C_TOKEN | C_TARGET | C_VALUE,
	['a' ... 'z'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	['{'] = C_TARGET | C_VALUE,
	['|'] = C_TOKEN | C_TARGET | C_VALUE,
	['}'] = C_TARGET | C_VALUE,
	['~'] = C_TOKEN | C_TARGET | C_VALUE | C_HOST,
	[0x80 ... 0xff] = C_VALUE,
};

static inline bool
is_class(char c, unsigned class)
{
	return classes[(unsigned char)c] & class;
}

/* Where the run of `class` that starts at p ends. */
static inline const char *
skip(const char *p, const char *end, unsigned class)
{
	while (p < end && is_class(*p, class))
		p++;
	return p;
}

bool
http_is_token(const char *s)
{
	const char *end = s + strlen(s);

	return s < end && skip(s, end, C_TOKEN) == end;
}

/* What a step of the parse found. */
enum { STEP_DONE = 1, STEP_MORE = 0 };

static int
refuse(struct err *e, int *ret_status, int status, const char *why)
{
	*ret_status = status;
	return err_set(e, status == 501 ? ERR_NOT_IMPLEMENTED : ERR_INVALID_REQUEST, "%s", why);
}

/* The CRLF at *p: STEP_DONE past it, STEP_MORE, or -1 for a bare CR, a bare LF or anything else. */
static int
end_of_line(const char **p, const char *end)
{
	if (*p == end)
		return STEP_MORE;
	if (**p != '\r')
		return -1;
	if (*p + 1 == end)
		return STEP_MORE;
	if ((*p)[1] != '\n')
		return -1;
	*p += 2;
	return STEP_DONE;
}

/* "name: value CRLF" at *p. STEP_DONE past it, STEP_MORE, or -1. */
static int
header_line(const char **io, const char *end, struct http_header *ret)
{
	const char *name = *io, *p = skip(name, end, C_TOKEN), *value, *last;
	int r;

	if (p == end)
		return STEP_MORE;
	if (p == name || *p != ':')
		return -1; /* also a fold, and a space before the colon */
	ret->name = (struct str){ name, (size_t)(p - name) };
	for (value = p + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	p = last = skip(value, end, C_VALUE);
	r = end_of_line(&p, end);
	if (r != STEP_DONE)
		return r;
	while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
		last--;
	ret->value = (struct str){ value, (size_t)(last - value) };
	*io = p;
	return STEP_DONE;
}

static int
parse_host(struct str host, int *ret_status, struct err *e)
{
	const char *end = host.p + host.n, *p = skip(host.p, end, C_HOST);

	if (p != end)
		return refuse(e, ret_status, 400, "malformed Host");
	return 0;
}

/* Splits the target by its form: origin, absolute or asterisk (RFC 9112 section 3.2). */
static int
parse_target(struct http_head *head, int *ret_status, struct err *e)
{
	struct str rest = head->target;
	const char *question;

	if (str_is(head->method, "CONNECT"))
		return refuse(e, ret_status, 501, "CONNECT is not served");
	if (str_is(rest, "*")) {
		if (!str_is(head->method, "OPTIONS"))
			return refuse(e, ret_status, 400, "target '*' without OPTIONS");
		head->path = rest;
		return 0;
	}
	if (rest.p[0] != '/') {
		size_t scheme = rest.n >= 7 && strncasecmp(rest.p, "http://", 7) == 0    ? 7
				: rest.n >= 8 && strncasecmp(rest.p, "https://", 8) == 0 ? 8
											 : 0;
		const char *end = rest.p + rest.n, *p;

		if (!scheme)
			return refuse(e, ret_status, 400, "malformed request target");
		for (p = rest.p + scheme; p < end && *p != '/' && *p != '?'; p++)
			;
		head->host = (struct str){ rest.p + scheme, (size_t)(p - rest.p) - scheme };
		if (head->host.n == 0)
			return refuse(e, ret_status, 400, "request target without host");
		rest = (struct str){ p, (size_t)(end - p) };
	}
	question = memchr(rest.p, '?', rest.n);
	if (question) {
		head->path = (struct str){ rest.p, (size_t)(question - rest.p) };
		head->query =
		    (struct str){ question + 1, (size_t)(rest.p + rest.n - question) - 1 };
	} else {
		head->path = rest;
	}
	if (head->path.n == 0)
		head->path = STR("/");
	return 0;
}

/* Everything up to the first CRLF. Returns STEP_DONE, STEP_MORE or a fault. */
static int
request_line(
    const char **io, const char *end, struct http_head *head, int *ret_status, struct err *e)
{
	const char *p = *io, *start = p;

	p = skip(p, end, C_TOKEN);
	if (p - start > METHOD_MAX)
		return refuse(e, ret_status, 501, "method too long");
	if (p == end)
		return STEP_MORE;
	if (p == start || *p != ' ')
		return refuse(e, ret_status, 400, "malformed method");
	head->method = (struct str){ start, (size_t)(p - start) };

	start = ++p;
	p = skip(p, end, C_TARGET);
	if (p - start > HTTP_TARGET_MAX)
		return refuse(e, ret_status, 414, "request target too long");
	if (p == end)
		return STEP_MORE;
	if (p == start || *p != ' ')
		return refuse(e, ret_status, 400, "malformed request target");
	head->target = (struct str){ start, (size_t)(p - start) };

	start = ++p;
	for (unsigned i = 0; i < 8; i++, p++) {
		if (p == end)
			return STEP_MORE;
		if (i == 5 || i == 7 ? *p < '0' || *p > '9' : *p != "HTTP/1.1"[i])
			return refuse(e, ret_status, 400, "malformed HTTP version");
	}
	switch (end_of_line(&p, end)) {
	case STEP_MORE:
		return STEP_MORE;
	case STEP_DONE:
		break;
	default:
		return refuse(e, ret_status, 400, "malformed request line");
	}
	if (start[5] != '1' || start[7] > '1')
		return refuse(e, ret_status, 505, "HTTP version not served");
	head->minor = (unsigned)(start[7] - '0');
	*io = p;
	return parse_target(head, ret_status, e) < 0 ? ERR_INVALID_REQUEST : STEP_DONE;
}

/* What the framing headers said, gathered line by line. */
struct framing {
	bool has_host, has_length, has_transfer;
	bool says_close, says_keep_alive;
};

static int
parse_length(struct http_head *head, struct str value, int *ret_status, struct err *e)
{
	int64_t n = 0;

	if (value.n == 0 || value.n > 18)
		return refuse(e, ret_status, 400, "malformed Content-Length");
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return refuse(e, ret_status, 400, "malformed Content-Length");
		n = n * 10 + (value.p[i] - '0');
	}
	head->content_length = n;
	return 0;
}

/* Acts on the headers that decide where the message ends and what becomes of the connection. */
static int
known_header(struct http_head *head, const struct http_header *h, struct framing *f,
    int *ret_status, struct err *e)
{
	switch (h->name.n) {
	case 4:
		if (!str_is_nocase(h->name, "host"))
			return 0;
		if (f->has_host)
			return refuse(e, ret_status, 400, "two Host headers");
		f->has_host = true;
		if (head->host.n == 0)
			head->host = h->value;
		return parse_host(h->value, ret_status, e);
	case 6:
		if (!str_is_nocase(h->name, "expect"))
			return 0;
		if (!str_is_nocase(h->value, "100-continue"))
			return refuse(e, ret_status, 417, "unknown expectation");
		head->expect_continue = head->minor >= 1;
		return 0;
	case 10:
		if (!str_is_nocase(h->name, "connection"))
			return 0;
		f->says_close |= http_list_has(h->value, "close");
		f->says_keep_alive |= http_list_has(h->value, "keep-alive");
		head->wants_upgrade |= http_list_has(h->value, "upgrade");
		return 0;
	case 14:
		if (!str_is_nocase(h->name, "content-length"))
			return 0;
		if (f->has_length)
			return refuse(e, ret_status, 400, "two Content-Length headers");
		f->has_length = true;
		return parse_length(head, h->value, ret_status, e);
	case 17:
		if (!str_is_nocase(h->name, "transfer-encoding"))
			return 0;
		if (f->has_transfer)
			return refuse(e, ret_status, 400, "two Transfer-Encoding headers");
		f->has_transfer = true;
		if (!str_is_nocase(h->value, "chunked"))
			return refuse(e, ret_status, 501, "unknown Transfer-Encoding");
		return 0;
	default:
		return 0;
	}
}

/* The rules that need all headers. */
static int
judge_framing(struct http_head *head, const struct framing *f, int *ret_status, struct err *e)
{
	if (f->has_transfer && head->minor == 0)
		return refuse(e, ret_status, 400, "Transfer-Encoding in HTTP/1.0");
	if (f->has_transfer && f->has_length)
		return refuse(e, ret_status, 400, "Content-Length and Transfer-Encoding");
	if (!f->has_host && head->minor >= 1)
		return refuse(e, ret_status, 400, "no Host header");
	if (head->host.n && parse_host(head->host, ret_status, e) < 0)
		return ERR_INVALID_REQUEST;
	if (f->has_transfer)
		head->content_length = -1;
	head->keep_alive = !f->says_close && (head->minor >= 1 || f->says_keep_alive);
	return 0;
}

static void
head_reset(struct http_head *head)
{
	/* Not the header table: 4 KiB that only header_count makes visible. */
	head->method = head->target = head->path = head->query = head->host = STR("");
	head->minor = head->header_count = 0;
	head->content_length = 0;
	head->keep_alive = head->expect_continue = head->wants_upgrade = false;
}

static int
more_or_too_large(size_t n, int *ret_status, struct err *e)
{
	return n >= HTTP_HEAD_MAX ? refuse(e, ret_status, 431, "request head too large") : 0;
}

int
http_head_parse(const char *begin, size_t n, struct http_head *head, int *ret_status, struct err *e)
{
	const char *p = begin, *end = begin + n;
	struct framing f = { 0 };
	int r;

	*ret_status = 400;
	head_reset(head);
	/* One empty line before a request: old clients send it after a form's body. */
	if (n && *p == '\r') {
		r = end_of_line(&p, end);
		if (r == STEP_MORE)
			return 0;
		if (r < 0)
			return refuse(e, ret_status, 400, "malformed request line");
	}
	r = request_line(&p, end, head, ret_status, e);
	if (r == STEP_MORE)
		return more_or_too_large(n, ret_status, e);
	if (r < 0)
		return r;
	for (;;) {
		struct http_header *h = &head->headers[head->header_count];

		if (p < end && *p == '\r') {
			r = end_of_line(&p, end);
			if (r == STEP_DONE)
				break;
			if (r == STEP_MORE)
				return more_or_too_large(n, ret_status, e);
			return refuse(e, ret_status, 400, "malformed header line");
		}
		if (p == end)
			return more_or_too_large(n, ret_status, e);
		if (head->header_count == HTTP_HEADERS_MAX)
			return refuse(e, ret_status, 431, "too many headers");
		r = header_line(&p, end, h);
		if (r == STEP_MORE)
			return more_or_too_large(n, ret_status, e);
		if (r < 0)
			return refuse(e, ret_status, 400, "malformed header line");
		r = known_header(head, h, &f, ret_status, e);
		if (r < 0)
			return r;
		head->header_count++;
	}
	if (p - begin > HTTP_HEAD_MAX)
		return refuse(e, ret_status, 431, "request head too large");
	r = judge_framing(head, &f, ret_status, e);
	return r < 0 ? r : (int)(p - begin);
}

struct str
http_head_find_str(const struct http_head *head, struct str name)
{
	for (unsigned i = 0; i < head->header_count; i++)
		if (head->headers[i].name.n == name.n && str_eq_nocase(head->headers[i].name, name))
			return head->headers[i].value;
	return (struct str){ NULL, 0 };
}

unsigned
http_head_count(const struct http_head *head, const char *name)
{
	unsigned count = 0;

	for (unsigned i = 0; i < head->header_count; i++)
		count += str_is_nocase(head->headers[i].name, name);
	return count;
}

bool
http_list_has(struct str list, const char *token)
{
	struct str part;

	while (str_split(&list, ',', &part))
		if (str_is_nocase(str_trim(part), token))
			return true;
	return false;
}

int
http_trailers_parse(
    struct str raw, struct http_header *headers, unsigned max, unsigned *ret_count, struct err *e)
{
	const char *p = raw.p, *end = raw.p + raw.n;
	unsigned count = 0;

	while (p < end) {
		if (count == max)
			return err_set(e, ERR_INVALID_REQUEST, "too many trailers");
		if (header_line(&p, end, &headers[count]) != STEP_DONE)
			return err_set(e, ERR_INVALID_REQUEST, "malformed trailer line");
		if (str_is_nocase(headers[count].name, "content-length") ||
		    str_is_nocase(headers[count].name, "transfer-encoding") ||
		    str_is_nocase(headers[count].name, "host"))
			return err_set(e, ERR_INVALID_REQUEST, "framing header in a trailer");
		count++;
	}
	*ret_count = count;
	return 0;
}
