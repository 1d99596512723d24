/* DNS answers: which names are computed, which do not exist, which go upstream; malformed queries.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "dns.h"

#define DOMAIN "here.compute.internal"
enum { A = 1, SOA = 6, PTR = 12, AAAA = 28, ANY = 255 };
enum { NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5 };

static size_t
query(uint8_t out[600], const char *name, uint16_t type)
{
	size_t n = 12;

	memset(out, 0, 600);
	memcpy(out, "\xbe\xef\1\0\0\1", 6); /* id, recursion desired, one question */
	while (*name) {
		size_t label = strcspn(name, ".");

		out[n++] = (uint8_t)label;
		memcpy(out + n, name, label);
		n += label;
		name += label + (name[label] == '.');
	}
	n++;
	out[n++] = (uint8_t)(type >> 8);
	out[n++] = (uint8_t)type;
	out[n + 1] = 1;
	return n + 2;
}

/* The only record of a reply as text: "10.0.1.11", a name, or "SOA". */
static void
record(const uint8_t *p, size_t n, size_t at, char out[DNS_NAME_MAX])
{
	uint16_t type;
	size_t size;

	out[0] = '\0';
	at += p[at] >= 0xc0 ? 2 : 0;
	while (p[at] && p[at] < 0xc0 && p[at - 2] < 0xc0)
		at += p[at] + 1U;
	at += p[at] == 0 && p[at + 1] == 0 && p[at + 2] == SOA && p[at + 3] == 0 ? 1 : 0;
	assert_true(at + 10 <= n);
	type = (uint16_t)(p[at] << 8 | p[at + 1]);
	size = (size_t)p[at + 8] << 8 | p[at + 9];
	at += 10;
	assert_true(at + size <= n);
	if (type == A) {
		assert_int_equal(size, 4);
		assert_non_null(inet_ntop(AF_INET, p + at, out, DNS_NAME_MAX));
	} else if (type == PTR) {
		while (p[at]) {
			(void)snprintf(out + strlen(out), DNS_NAME_MAX - strlen(out), "%s%.*s",
			    out[0] ? "." : "", p[at], (const char *)p + at + 1);
			at += p[at] + 1U;
		}
	} else if (type == SOA) {
		(void)snprintf(out, DNS_NAME_MAX, "SOA");
	}
}

static void
names(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		enum dns_action action;
		uint8_t code;
		const char *answer; /* NULL: none, an authority record instead */
	} cases[] = {
		{ "ip-10-0-1-11." DOMAIN, A, DNS_REPLY, NOERROR, "10.0.1.11" },
		{ "IP-10-0-1-11.HERE.compute.INTERNAL", A, DNS_REPLY, NOERROR, "10.0.1.11" },
		{ "ip-172-31-255-254." DOMAIN, A, DNS_REPLY, NOERROR, "172.31.255.254" },
		{ "ip-192-168-0-1." DOMAIN, ANY, DNS_REPLY, NOERROR, "192.168.0.1" },
		{ "ip-100-64-0-1." DOMAIN, A, DNS_REPLY, NOERROR, "100.64.0.1" },
		{ "ip-10-0-1-11." DOMAIN, AAAA, DNS_REPLY, NOERROR, NULL },
		{ "ip-10-0-1-11." DOMAIN, PTR, DNS_REPLY, NOERROR, NULL },
		{ "ec2-8-8-4-4." DOMAIN, A, DNS_REPLY, NOERROR, "8.8.4.4" },
		{ "ip-8-8-8-8." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL }, /* no private address */
		{ "ip-10-0-1-256." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ "ip-10-0-1." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ "ip-10-0-1-1-1." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ "ip-10-0-1-01." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ "ip-10-0-1-." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ "ip-." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ "ip-10.0.1.11." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ "x.ip-10-0-1-11." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ "www." DOMAIN, A, DNS_REPLY, NXDOMAIN, NULL },
		{ DOMAIN, A, DNS_REPLY, NOERROR, NULL },
		{ DOMAIN, SOA, DNS_REPLY, NOERROR, NULL },
		{ "11.1.0.10.in-addr.arpa", PTR, DNS_REPLY, NOERROR, "ip-10-0-1-11." DOMAIN },
		{ "1.16.172.in-addr.arpa", PTR, DNS_FORWARD, 0, NULL },
		{ "8.8.8.8.in-addr.arpa", PTR, DNS_FORWARD, 0, NULL },
		{ "11.1.0.10.in-addr.arpa", A, DNS_REPLY, NOERROR, NULL },
		{ "debian.org", A, DNS_FORWARD, 0, NULL },
		{ "xhere.compute.internal", A, DNS_FORWARD, 0, NULL },
		{ "compute.internal", A, DNS_FORWARD, 0, NULL },
		{ "ip-10-0-1-11", A, DNS_FORWARD, 0, NULL },
		{ "", A, DNS_FORWARD, 0, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int edns = 0; edns < 2; edns++) {
			uint8_t in[600], out[DNS_REPLY_MAX];
			size_t n = query(in, cases[i].name, cases[i].type), question = n, size = 0;
			char text[DNS_NAME_MAX];

			if (edns) {
				in[11] = 1;
				memcpy(in + n, "\0\0\x29\4\xd0\0\0\0\0\0\0", 11);
				n += 11;
			}
			if (dns_answer(DOMAIN, in, n, out, &size) != cases[i].action)
				fail_msg("%s type %u: action", cases[i].name, cases[i].type);
			if (cases[i].action != DNS_REPLY)
				continue;
			assert_memory_equal(out, "\xbe\xef\x85", 3);
			if (out[3] != (0x80 | cases[i].code))
				fail_msg("%s type %u: code %u", cases[i].name, cases[i].type,
				    out[3] & 15);
			assert_memory_equal(out + 12, in + 12, question - 12);
			assert_int_equal(out[7], cases[i].answer != NULL);
			assert_int_equal(out[9], cases[i].answer == NULL);
			assert_int_equal(out[11], edns);
			if (edns)
				assert_memory_equal(out + size - 11, "\0\0\x29\4\xd0", 5);
			if (cases[i].answer) {
				record(out, size, question, text);
				assert_string_equal(text, cases[i].answer);
			}
			assert_true(dns_is_reply_to(out, size, in, n));
		}
	}
}

static void
malformed(void **state)
{
	uint8_t in[600], out[DNS_REPLY_MAX];
	size_t n = query(in, "ip-10-0-1-11." DOMAIN, A), size;

	/* Cut anywhere: no header, no answer; no question, a complaint. */
	for (size_t cut = 0; cut < n; cut++) {
		enum dns_action action = dns_answer(DOMAIN, in, cut, out, &size);

		assert_int_equal(action, cut < 12 ? DNS_DROP : DNS_REPLY);
		if (action == DNS_REPLY)
			assert_int_equal(out[3] & 15, FORMERR);
	}
	static const struct {
		size_t at;
		uint8_t value;
		enum dns_action action;
		uint8_t code;
	} spoiled[] = {
		{ 2, 0x80, DNS_DROP, 0 },         /* a reply */
		{ 2, 0x28, DNS_REPLY, NOTIMP },   /* an update */
		{ 5, 0, DNS_REPLY, FORMERR },     /* no question */
		{ 5, 2, DNS_REPLY, FORMERR },     /* two */
		{ 12, 0xc0, DNS_REPLY, FORMERR }, /* a compressed name */
		{ 12, 64, DNS_REPLY, FORMERR },   /* a label too long */
	};
	for (size_t i = 0; i < ARRAY_SIZE(spoiled); i++) {
		n = query(in, "ip-10-0-1-11." DOMAIN, A);
		in[spoiled[i].at] = spoiled[i].value;
		assert_int_equal(dns_answer(DOMAIN, in, n, out, &size), spoiled[i].action);
		if (spoiled[i].action == DNS_REPLY)
			assert_int_equal(out[3] & 15, spoiled[i].code);
	}
	n = query(in, "ip-10-0-1-11." DOMAIN, A);
	in[n - 1] = 3; /* class CHAOS */
	assert_int_equal(dns_answer(DOMAIN, in, n, out, &size), DNS_REPLY);
	assert_int_equal(out[3] & 15, REFUSED);
}

/* The longest name, and domains too long to answer with. */
static void
limits(void **state)
{
	char name[300], domain[300];
	uint8_t in[600], out[DNS_REPLY_MAX];
	size_t size;

	for (size_t n = 200; n < 280; n++) {
		for (size_t i = 0; i < n; i++)
			name[i] = i % 50 == 49 ? '.' : 'a';
		name[n] = '\0';
		if (name[n - 1] == '.')
			continue;
		/* 255 bytes with the first length and the final zero */
		assert_int_equal(dns_answer(DOMAIN, in, query(in, name, A), out, &size),
		    n <= 253 ? DNS_FORWARD : DNS_REPLY);
	}
	for (size_t n = 1; n < sizeof(domain); n++) {
		memset(domain, 'd', n);
		domain[n] = '\0';
		assert_int_equal(
		    dns_answer(domain, in, query(in, "1.0.0.10.in-addr.arpa", PTR), out, &size),
		    DNS_REPLY);
		assert_int_equal(out[3] & 15, n < 64 ? NOERROR : SERVFAIL);
		assert_true(size <= DNS_REPLY_MAX);
	}
}

static void
failure_and_matching(void **state)
{
	uint8_t in[600], out[DNS_REPLY_MAX], other[600];
	size_t n = query(in, "debian.org", A), size, m;

	size = dns_failure(in, n, out);
	assert_int_equal(out[3] & 15, SERVFAIL);
	assert_true(dns_is_reply_to(out, size, in, n));
	assert_int_equal(dns_failure(in, 11, out), 0);
	assert_false(dns_is_reply_to(in, n, in, n)); /* a query is no reply */
	m = query(other, "debian.net", A);
	other[2] |= 0x80;
	assert_false(dns_is_reply_to(other, m, in, n));
	m = query(other, "DEBIAN.org", A);
	other[2] |= 0x80;
	assert_true(dns_is_reply_to(other, m, in, n));
	other[1] ^= 1;
	assert_false(dns_is_reply_to(other, m, in, n));
	m = query(other, "debian.org", AAAA);
	other[2] |= 0x80;
	assert_false(dns_is_reply_to(other, m, in, n));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(malformed),
		cmocka_unit_test(limits),
		cmocka_unit_test(failure_and_matching),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
