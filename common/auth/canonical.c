/* Canonical forms. The rule that keeps them safe: what is signed must mean what is carried out, so
 * a parameter is decoded here exactly as the form parser decodes it ('+' is a space in a query,
 * itself in a path) and encoded again in the one canonical way. Variants only ever differ in what
 * does not change the request's meaning: the port in Host, the trailing slash or the mount point of
 * the Query endpoint, the spelling of an escape. */
#include "auth/canonical.h"

#include <stdlib.h>
#include "base/vec.h"
#include "net/url.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Decodes one byte at s->p and steps over it. A '%' without two digits stands for itself. */
static char
next_byte(struct str *s, bool plus_is_space)
{
	char c = *s->p;
	size_t step = 1;

	if (c == '%' && s->n >= 3 && hex_value(s->p[1]) >= 0 && hex_value(s->p[2]) >= 0) {
		c = (char)(hex_value(s->p[1]) << 4 | hex_value(s->p[2]));
		step = 3;
	} else if (c == '+' && plus_is_space) {
		c = ' ';
	}
	s->p += step;
	s->n -= step;
	return c;
}

static bool
is_unreserved(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '~';
}

static void
encode_again(struct strbuf *out, struct str s, bool plus_is_space, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	while (s.n > 0) {
		size_t same = 0; /* what stands for itself, copied in one go */
		char c;

		while (same < s.n && (is_unreserved(s.p[same]) || (s.p[same] == '/' && keep_slash)))
			same++;
		strbuf_add(out, s.p, same);
		s.p += same;
		s.n -= same;
		if (s.n == 0)
			return;
		c = next_byte(&s, plus_is_space);
		if (is_unreserved(c) || (c == '/' && keep_slash)) {
			strbuf_addc(out, c);
		} else {
			char escape[3] = { '%', digits[(unsigned char)c >> 4],
				digits[(unsigned char)c & 15] };

			strbuf_add(out, escape, 3);
		}
	}
}

/* Offsets into the text, which may move while it grows. */
struct parameter {
	size_t name, name_length, value, value_length;
};
struct sorting {
	struct strbuf text;
	VEC(struct parameter) parameters;
};

static int
compare_spans(const char *a, size_t an, const char *b, size_t bn)
{
	int order = memcmp(a, b, an < bn ? an : bn);

	return order ? order : (an > bn) - (an < bn);
}

static int
compare_parameters(const void *a, const void *b, void *text)
{
	const struct parameter *x = a, *y = b;
	const char *t = text;
	int order = compare_spans(t + x->name, x->name_length, t + y->name, y->name_length);

	return order ? order
		     : compare_spans(t + x->value, x->value_length, t + y->value, y->value_length);
}

static void
collect_parameters(struct sorting *s, struct str raw, const char *skip)
{
	struct str part;

	while (str_split(&raw, '&', &part)) {
		struct parameter p = { .name = s->text.n };
		struct str name;

		if (part.n == 0)
			continue;
		(void)str_split(&part, '=', &name); /* without '=' the whole part is the name */
		encode_again(&s->text, name, true, false);
		p.name_length = s->text.n - p.name;
		if (str_is((struct str){ strbuf_c(&s->text) + p.name, p.name_length }, skip))
			continue;
		p.value = s->text.n;
		encode_again(&s->text, part, true, false);
		p.value_length = s->text.n - p.value;
		vec_add(&s->parameters, p);
	}
}

void
canonical_query(struct strbuf *out, const struct str *raws, unsigned count, const char *skip)
{
	struct sorting s = { 0 };
	const char *separator = "";

	for (unsigned i = 0; i < count; i++)
		collect_parameters(&s, raws[i], skip);
	if (s.parameters.count > 1)
		qsort_r(s.parameters.items, s.parameters.count, sizeof(struct parameter),
		    compare_parameters, s.text.p);
	VEC_FOREACH (&s.parameters, p) {
		strbuf_adds(out, separator);
		strbuf_add(out, strbuf_c(&s.text) + p->name, p->name_length);
		strbuf_addc(out, '=');
		strbuf_add(out, strbuf_c(&s.text) + p->value, p->value_length);
		separator = "&";
	}
	strbuf_done(&s.text);
	vec_done(&s.parameters);
}

void
canonical_value(struct strbuf *out, struct str value)
{
	size_t run = 0; /* start of what is copied as it is */

	value = str_trim(value);
	for (size_t i = 1; i < value.n; i++)
		if (value.p[i] == ' ' && value.p[i - 1] == ' ') {
			strbuf_add(out, value.p + run, i - run);
			run = i + 1;
		}
	strbuf_add(out, value.p + run, value.n - run);
}

static bool
is_same_name(struct str a, struct str b)
{
	return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

bool
canonical_header(struct strbuf *out, const struct auth_request *rq, struct str name)
{
	bool found = false;

	for (unsigned i = 0; i < rq->header_count; i++) {
		if (!is_same_name(rq->headers[i].name, name))
			continue;
		if (!found)
			strbuf_addstr(out, name);
		strbuf_addc(out, found ? ',' : ':');
		canonical_value(out, rq->headers[i].value);
		found = true;
	}
	if (found)
		strbuf_addc(out, '\n');
	return found;
}

void
canonical_path_once(struct strbuf *out, struct str raw)
{
	if (raw.n == 0)
		strbuf_addc(out, '/');
	encode_again(out, raw, false, true);
}

/* RFC 3986 5.2.4, and runs of slashes become one. */
static void
normalise_path(struct strbuf *out, struct str raw)
{
	VEC(struct str) segments = { 0 };
	bool slash_at_end = raw.n == 0 || raw.p[raw.n - 1] == '/';
	struct str segment;

	while (str_split(&raw, '/', &segment)) {
		bool up = str_is(segment, "..");

		if (raw.n == 0 && (up || str_is(segment, ".")))
			slash_at_end = true;
		if (up && segments.count > 0)
			segments.count--;
		if (segment.n > 0 && !up && !str_is(segment, "."))
			vec_add(&segments, segment);
	}
	VEC_FOREACH (&segments, s) {
		strbuf_addc(out, '/');
		strbuf_addstr(out, *s);
	}
	if (slash_at_end || segments.count == 0)
		strbuf_addc(out, '/');
	vec_done(&segments);
}

void
canonical_path_twice(struct strbuf *out, struct str raw)
{
	_cleanup_strbuf_ struct strbuf normal = STRBUF_INIT;

	normalise_path(&normal, raw);
	url_encode(out, strbuf_str(&normal), true);
}

static void
add_path(struct canonical_variants *v, struct str path)
{
	for (unsigned i = 0; i < v->path_count; i++)
		if (str_eq(v->paths[i], path))
			return;
	v->paths[v->path_count++] = path;
}

/* fog, Net::Amazon::EC2 and boto 2 sign another path than they send: with or without the slash at
 * the end, or always "/". It only says where the endpoint is mounted. */
static void
add_query_paths(struct canonical_variants *v, struct str raw)
{
	size_t n;
	bool has_slash;

	canonical_path_twice(&v->path, raw);
	n = v->path.n;
	has_slash = v->path.p[n - 1] == '/';
	if (!has_slash)
		strbuf_addc(&v->path, '/');
	add_path(v, (struct str){ v->path.p, n });
	if (n > 1)
		add_path(v, (struct str){ v->path.p, has_slash ? n - 1 : n + 1 });
	add_path(v, STR("/"));
}

static void
add_host(struct canonical_variants *v, struct str host)
{
	for (unsigned i = 0; i < v->host_count; i++)
		if (str_eq(v->hosts[i], host))
			return;
	v->hosts[v->host_count++] = host;
}

/* Length of the host without ":port"; brackets keep an IPv6 address together. */
static size_t
bare_length(struct str host)
{
	for (size_t n = host.n; n > 0; n--) {
		char c = host.p[n - 1];

		if (c == ':')
			return n - 1;
		if (c < '0' || c > '9')
			break;
	}
	return host.n;
}

/* Most clients send the port, and then it is what came already. */
static void
add_host_with_port(struct canonical_variants *v, struct str host, size_t bare, uint16_t port)
{
	char room[STR_U64_ROOM];
	struct str digits = str_of_u64(port, room);
	struct str sent = { host.p + bare, host.n - bare };

	if (str_starts(sent, ":") && str_eq((struct str){ sent.p + 1, sent.n - 1 }, digits))
		return;
	strbuf_add(&v->host, host.p, bare);
	strbuf_addc(&v->host, ':');
	strbuf_addstr(&v->host, digits);
	add_host(v, strbuf_str(&v->host));
}

void
canonical_variants_init(
    struct canonical_variants *v, const struct auth_request *rq, enum auth_service service)
{
	struct str host = str_trim(rq->host);
	size_t bare = bare_length(host);

	*v = (struct canonical_variants){ 0 };
	if (service == AUTH_S3) {
		canonical_path_once(&v->path, rq->path);
		add_path(v, strbuf_str(&v->path));
		add_path(v, rq->path);
	} else {
		add_query_paths(v, rq->path);
	}
	add_host(v, host);
	add_host(v, (struct str){ host.p, bare });
	if (rq->port)
		add_host_with_port(v, host, bare, rq->port);
}

void
canonical_variants_done(struct canonical_variants *v)
{
	strbuf_done(&v->path);
	strbuf_done(&v->host);
}
