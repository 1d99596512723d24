/* DNS by computation. The private name of an address is a function of the address, so there are no
 * records to keep: ip-10-0-1-11.<domain> is 10.0.1.11 and back. Only the question of a query is
 * read; compression is refused in it, as no client uses it there. */
#include "dns.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEADER_SIZE 12
#define NAME_WIRE_MAX 255 /* lengths and final zero included */
#define TTL_SECONDS 60
#define EDNS_PAYLOAD 1232

enum { TYPE_A = 1, TYPE_SOA = 6, TYPE_PTR = 12, TYPE_OPT = 41, TYPE_ANY = 255, CLASS_IN = 1 };
enum {
	NO_ERROR = 0,
	FORMAT_ERROR = 1,
	SERVER_FAILURE = 2,
	NAME_ERROR = 3,
	NOT_IMPLEMENTED = 4,
	REFUSED = 5
};
enum { AT_FLAGS = 2, AT_QDCOUNT = 4, AT_ANCOUNT = 6, AT_NSCOUNT = 8, AT_ARCOUNT = 10 };

struct question {
	char name[DNS_NAME_MAX]; /* lower case, dots between labels, none at the end */
	uint16_t type, class;
	size_t end; /* offset of what follows */
	bool has_edns;
};

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void
set16(uint8_t *p, uint16_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* Reads one uncompressed name; labels must be what a host name or a reverse name may hold, anything
 * else is kept out of the text by making the name foreign. */
static bool
read_name(const uint8_t *p, size_t n, size_t *io, char out[DNS_NAME_MAX])
{
	size_t i = *io, used = 0;

	for (;;) {
		uint8_t size;

		if (i >= n)
			return false;
		size = p[i++];
		if (size == 0)
			break;
		if (size > 63 || n - i < size || used + size + (used ? 3U : 2U) > NAME_WIRE_MAX)
			return false;
		if (used)
			out[used++] = '.';
		for (uint8_t k = 0; k < size; k++) {
			uint8_t c = p[i++];

			out[used++] = isalnum(c) || c == '-' || c == '_' ? (char)tolower(c) : '?';
		}
	}
	out[used] = '\0';
	*io = i;
	return true;
}

static bool
parse_question(const uint8_t *p, size_t n, struct question *q)
{
	size_t i = HEADER_SIZE;

	if (get16(p + AT_QDCOUNT) != 1 || !read_name(p, n, &i, q->name) || n - i < 4)
		return false;
	q->type = get16(p + i);
	q->class = get16(p + i + 2);
	q->end = i + 4;
	/* EDNS comes right behind the question: root name, type OPT. */
	q->has_edns = get16(p + AT_ANCOUNT) == 0 && get16(p + AT_NSCOUNT) == 0 &&
		      get16(p + AT_ARCOUNT) > 0 && n - q->end >= 11 && p[q->end] == 0 &&
		      get16(p + q->end + 1) == TYPE_OPT;
	return true;
}

/* "10-0-1-11" or "11.1.0.10" (reversed); the whole text, no leading zeros. */
static bool
parse_address(const char *p, size_t n, char separator, bool is_reversed, struct in_addr *ret)
{
	uint32_t value = 0;
	size_t i = 0;

	for (unsigned part = 0; part < 4; part++) {
		unsigned number = 0, digits = 0;

		if (part && (i >= n || p[i++] != separator))
			return false;
		while (i < n && isdigit((unsigned char)p[i]) && digits < 3) {
			number = number * 10 + (unsigned)(p[i++] - '0');
			digits++;
		}
		if (!digits || number > 255 || (digits > 1 && p[i - digits] == '0'))
			return false;
		value |= number << (is_reversed ? 8 * part : 24 - 8 * part);
	}
	ret->s_addr = htonl(value);
	return i == n;
}

static bool
is_private(struct in_addr a)
{
	uint32_t h = ntohl(a.s_addr);

	return h >> 24 == 10 || h >> 20 == 0xac1 || h >> 16 == 0xc0a8 || h >> 22 == 0x191;
}

/* What is before ".<suffix>", or -1. */
static long
prefix_of(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	if (n < s + 2 || name[n - s - 1] != '.' || strcasecmp(name + n - s, suffix) != 0)
		return -1;
	return (long)(n - s - 1);
}

struct writer {
	uint8_t *p;
	size_t n;
	bool is_full;
};

static void
put(struct writer *w, const void *p, size_t n)
{
	if (w->is_full || DNS_REPLY_MAX - w->n < n) {
		w->is_full = true;
		return;
	}
	memcpy(w->p + w->n, p, n);
	w->n += n;
}

static void
put16(struct writer *w, uint16_t value)
{
	uint8_t b[2];

	set16(b, value);
	put(w, b, 2);
}

static void
put_name(struct writer *w, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");
		uint8_t size = (uint8_t)n;

		if (n == 0 || n > 63) {
			w->is_full = true;
			return;
		}
		put(w, &size, 1);
		put(w, name, n);
		name += n + (name[n] == '.');
	}
	put(w, "", 1);
}

/* A record of the question's name; its length is filled in by record_end. */
static size_t
record_begin(struct writer *w, uint16_t type)
{
	put16(w, 0xc000 | HEADER_SIZE);
	put16(w, type);
	put16(w, CLASS_IN);
	put16(w, 0);
	put16(w, TTL_SECONDS);
	put16(w, 0);
	return w->n;
}

static void
record_end(struct writer *w, size_t begin)
{
	if (!w->is_full)
		set16(w->p + begin - 2, (uint16_t)(w->n - begin));
}

static void
put_address(struct writer *w, struct in_addr a)
{
	size_t at = record_begin(w, TYPE_A);

	put(w, &a, 4);
	record_end(w, at);
}

static void
put_pointer(struct writer *w, struct in_addr a, const char *domain)
{
	const uint8_t *b = (const uint8_t *)&a;
	char name[DNS_NAME_MAX];
	size_t at = record_begin(w, TYPE_PTR);

	if (snprintf(name, sizeof(name), "ip-%u-%u-%u-%u.%s", b[0], b[1], b[2], b[3], domain) >=
	    (int)sizeof(name))
		w->is_full = true;
	else
		put_name(w, name);
	record_end(w, at);
}

/* For negative caching (RFC 2308). */
static void
put_authority(struct writer *w, const char *domain)
{
	static const uint32_t numbers[] = { 1, 3600, 600, 86400, TTL_SECONDS };
	size_t at;

	put_name(w, domain);
	put16(w, TYPE_SOA);
	put16(w, CLASS_IN);
	put16(w, 0);
	put16(w, TTL_SECONDS);
	put16(w, 0);
	at = w->n;
	put_name(w, domain);
	put_name(w, "hostmaster");
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uint32_t big = htonl(numbers[i]);

		put(w, &big, 4);
	}
	record_end(w, at);
}

static void
put_edns(struct writer *w)
{
	put(w, "", 1);
	put16(w, TYPE_OPT);
	put16(w, EDNS_PAYLOAD);
	put16(w, 0);
	put16(w, 0);
	put16(w, 0);
}

/* Header and question; the flags say "authoritative, recursion available". */
static void
begin_reply(struct writer *w, const uint8_t *query, const struct question *q, unsigned code)
{
	static const uint8_t none[HEADER_SIZE];

	put(w, none, sizeof(none));
	memcpy(w->p, query, 2);
	w->p[AT_FLAGS] = (uint8_t)(0x80 | (query[AT_FLAGS] & 0x79) |
				   (code == NO_ERROR || code == NAME_ERROR ? 0x04 : 0));
	w->p[AT_FLAGS + 1] = (uint8_t)(0x80 | code);
	if (q) {
		set16(w->p + AT_QDCOUNT, 1);
		put(w, query + HEADER_SIZE, q->end - HEADER_SIZE);
	}
}

static size_t
error_reply(const uint8_t *query, const struct question *q, unsigned code, uint8_t *reply)
{
	struct writer w = { reply, 0, false };

	begin_reply(&w, query, q, code);
	if (q && q->has_edns) {
		set16(w.p + AT_ARCOUNT, 1);
		put_edns(&w);
	}
	return w.n;
}

/* Finds what is computed here. 1: exists and has this address; 0: does not exist; -1: not ours. */
static int
resolve(const char *domain, const struct question *q, struct in_addr *ret, bool *ret_is_reverse)
{
	long prefix = prefix_of(q->name, "in-addr.arpa");

	*ret_is_reverse = prefix >= 0;
	if (prefix >= 0)
		return parse_address(q->name, (size_t)prefix, '.', true, ret) && is_private(*ret)
			   ? 1
			   : -1;
	if (strcasecmp(q->name, domain) == 0)
		return 0;
	prefix = prefix_of(q->name, domain);
	if (prefix < 0)
		return -1;
	if (strncmp(q->name, "ip-", 3) == 0)
		return parse_address(q->name + 3, (size_t)prefix - 3, '-', false, ret) &&
		       is_private(*ret);
	return strncmp(q->name, "ec2-", 4) == 0 &&
	       parse_address(q->name + 4, (size_t)prefix - 4, '-', false, ret);
}

enum dns_action
dns_answer(const char *domain, const void *query, size_t query_size, uint8_t reply[DNS_REPLY_MAX],
    size_t *ret_size)
{
	const uint8_t *p = query;
	struct writer w = { reply, 0, false };
	struct question q = { 0 };
	struct in_addr address;
	bool is_reverse, has_answer, is_apex;
	int found;

	if (query_size < HEADER_SIZE || p[AT_FLAGS] & 0x80)
		return DNS_DROP;
	if ((p[AT_FLAGS] & 0x78) != 0) {
		*ret_size = error_reply(p, NULL, NOT_IMPLEMENTED, reply);
		return DNS_REPLY;
	}
	if (!parse_question(p, query_size, &q)) {
		*ret_size = error_reply(p, NULL, FORMAT_ERROR, reply);
		return DNS_REPLY;
	}
	if (q.class != CLASS_IN) {
		*ret_size = error_reply(p, &q, REFUSED, reply);
		return DNS_REPLY;
	}
	found = resolve(domain, &q, &address, &is_reverse);
	if (found < 0)
		return DNS_FORWARD;

	is_apex = strcasecmp(q.name, domain) == 0;
	has_answer = found && (q.type == (is_reverse ? TYPE_PTR : TYPE_A) || q.type == TYPE_ANY);
	begin_reply(&w, p, &q, found || is_apex ? NO_ERROR : NAME_ERROR);
	if (has_answer && is_reverse)
		put_pointer(&w, address, domain);
	else if (has_answer)
		put_address(&w, address);
	else
		put_authority(&w, domain);
	set16(reply + (has_answer ? AT_ANCOUNT : AT_NSCOUNT), 1);
	if (q.has_edns) {
		set16(reply + AT_ARCOUNT, 1);
		put_edns(&w);
	}
	*ret_size = w.is_full ? error_reply(p, &q, SERVER_FAILURE, reply) : w.n;
	return DNS_REPLY;
}

size_t
dns_failure(const void *query, size_t query_size, uint8_t reply[DNS_REPLY_MAX])
{
	struct question q = { 0 };
	bool is_whole;

	if (query_size < HEADER_SIZE)
		return 0;
	is_whole = parse_question(query, query_size, &q);
	return error_reply(query, is_whole ? &q : NULL, SERVER_FAILURE, reply);
}

bool
dns_is_reply_to(const void *reply, size_t reply_size, const void *query, size_t query_size)
{
	const uint8_t *r = reply, *p = query;
	struct question a = { 0 }, b = { 0 };

	return reply_size >= HEADER_SIZE && query_size >= HEADER_SIZE && r[AT_FLAGS] & 0x80 &&
	       memcmp(r, p, 2) == 0 && parse_question(p, query_size, &b) &&
	       /* a refusal may leave the question out */
	       (get16(r + AT_QDCOUNT) == 0 ||
		   (parse_question(r, reply_size, &a) && a.type == b.type && a.class == b.class &&
		       strcmp(a.name, b.name) == 0));
}
