/* DHCP answers: what is granted, refused and ignored, and that no malformed request is answered. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "dhcp.h"

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };
enum { OPTIONS_AT = 240 };

static struct in_addr
ip(const char *text)
{
	struct in_addr a = { 0 };

	if (text)
		assert_int_equal(inet_pton(AF_INET, text, &a), 1);
	return a;
}

static struct dhcp_lease
lease(void)
{
	return (struct dhcp_lease){
		.mac = { 2, 0xaa, 0, 0, 0, 1 },
		.address = ip("10.0.1.11"),
		.gateway = ip("10.0.1.1"),
		.resolver = ip("169.254.169.253"),
		.prefix = 20,
		.mtu = 1450,
		.hostname = "ip-10-0-1-11",
		.domain = "here.compute.internal",
	};
}

static size_t
request(uint8_t out[600], uint8_t type, const char *client, const char *wanted, const char *server)
{
	struct in_addr a = ip(client);
	size_t n = OPTIONS_AT;

	memset(out, 0, 600);
	memcpy(out, "\1\1\6\0\x12\x34\x56\x78", 8);
	memcpy(out + 12, &a, 4);
	memcpy(out + 28, "\2\xaa\0\0\0\1", 6);
	memcpy(out + 236, "\x63\x82\x53\x63", 4);
	if (type) {
		memcpy(out + n, "\x35\1", 2);
		out[n + 2] = type;
		n += 3;
	}
	if (wanted) {
		a = ip(wanted);
		memcpy(out + n, "\x32\4", 2);
		memcpy(out + n + 2, &a, 4);
		n += 6;
	}
	if (server) {
		a = ip(server);
		memcpy(out + n, "\x36\4", 2);
		memcpy(out + n + 2, &a, 4);
		n += 6;
	}
	memcpy(out + n, "\x3d\3xyz", 5); /* client identifier */
	n += 5;
	out[n++] = 255;
	return n;
}

/* The option's value in a reply, or NULL; each may be there once. */
static const uint8_t *
option(const uint8_t *reply, size_t n, uint8_t code, uint8_t *ret_size)
{
	const uint8_t *found = NULL;

	for (size_t i = OPTIONS_AT; i < n && reply[i] != 255; i += 2U + reply[i + 1]) {
		assert_true(i + 2U + reply[i + 1] < n);
		if (reply[i] == code) {
			assert_null(found);
			found = reply + i + 2;
			*ret_size = reply[i + 1];
		}
	}
	return found;
}

static void
decisions(void **state)
{
	static const char own[] = "10.0.1.11", other[] = "10.0.1.99", us[] = "10.0.1.1",
			  all[] = "255.255.255.255";
	static const struct {
		uint8_t type;
		const char *client, *wanted, *server; /* ciaddr, option 50, option 54 */
		uint8_t answer;                       /* 0: none */
		const char *to;
	} cases[] = {
		{ DISCOVER, NULL, NULL, NULL, OFFER, all },
		{ DISCOVER, NULL, other, NULL, OFFER, all }, /* a wish is no claim */
		{ REQUEST, NULL, own, us, ACK, all },        /* SELECTING */
		{ REQUEST, NULL, other, us, NAK, all },
		{ REQUEST, NULL, own, other, 0, NULL }, /* another server's offer */
		{ REQUEST, NULL, own, NULL, ACK, all }, /* INIT-REBOOT */
		{ REQUEST, NULL, other, NULL, NAK, all },
		{ REQUEST, own, NULL, NULL, ACK, own }, /* RENEWING */
		{ REQUEST, other, NULL, NULL, NAK, all },
		{ REQUEST, NULL, NULL, NULL, 0, NULL },
		{ INFORM, own, NULL, NULL, ACK, own },
		{ INFORM, other, NULL, NULL, ACK, all }, /* never a packet to another address */
		{ INFORM, NULL, NULL, NULL, 0, NULL },
		{ DECLINE, NULL, own, us, 0, NULL },
		{ RELEASE, own, NULL, us, 0, NULL },
		{ 0, NULL, NULL, NULL, 0, NULL }, /* BOOTP */
		{ OFFER, NULL, own, us, 0, NULL },
		{ 77, NULL, own, us, 0, NULL },
	};
	const struct dhcp_lease l = lease();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t in[600], out[DHCP_REPLY_MAX], size = 0;
		struct in_addr to = { 0 };
		size_t n =
		    request(in, cases[i].type, cases[i].client, cases[i].wanted, cases[i].server);
		const uint8_t *type;

		n = dhcp_answer(&l, in, n, out, &to);
		if (!cases[i].answer) {
			assert_int_equal(n, 0);
			continue;
		}
		assert_true(n >= 300);
		type = option(out, n, 53, &size);
		if (!type || *type != cases[i].answer)
			fail_msg("case %zu: answer %d", i, type ? *type : -1);
		assert_int_equal(to.s_addr, ip(cases[i].to).s_addr);
		assert_int_equal(out[0], 2);
		assert_memory_equal(out + 4, in + 4, 4);
		assert_memory_equal(out + 28, in + 28, 16);
		assert_memory_equal(option(out, n, 54, &size), "\x0a\0\1\1", 4);
		assert_memory_equal(option(out, n, 61, &size), "xyz", 3);
		/* The address is given in offers and grants, never in a refusal or an INFORM. */
		assert_int_equal(memcmp(out + 16, "\x0a\0\1\x0b", 4) == 0,
		    cases[i].answer != NAK && cases[i].type != INFORM);
		assert_int_equal(option(out, n, 51, &size) != NULL,
		    cases[i].answer != NAK && cases[i].type != INFORM);
		assert_int_equal(option(out, n, 3, &size) != NULL, cases[i].answer != NAK);
	}
}

static void
options(void **state)
{
	static const struct {
		uint8_t code;
		const char *value;
		uint8_t size;
	} wanted[] = {
		{ 1, "\xff\xff\xf0\0", 4 },
		{ 3, "\x0a\0\1\1", 4 },
		{ 6, "\xa9\xfe\xa9\xfd", 4 },
		{ 12, "ip-10-0-1-11", 12 },
		{ 15, "here.compute.internal", 21 },
		{ 26, "\5\xaa", 2 },
		{ 28, "\x0a\0\x0f\xff", 4 },
		{ 51, "\0\0\x0e\x10", 4 },
		{ 58, "\0\0\7\x08", 4 },
		{ 59, "\0\0\x0c\x4e", 4 },
	};
	const struct dhcp_lease l = lease();
	uint8_t in[600], out[DHCP_REPLY_MAX], size = 0;
	struct in_addr to;
	size_t n = dhcp_answer(&l, in, request(in, DISCOVER, NULL, NULL, NULL), out, &to);

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const uint8_t *value = option(out, n, wanted[i].code, &size);

		if (!value || size != wanted[i].size || memcmp(value, wanted[i].value, size) != 0)
			fail_msg("option %u", wanted[i].code);
	}
}

/* Names of any length fit or are left out; what matters is still there. */
static void
long_names(void **state)
{
	struct dhcp_lease l = lease();
	char name[400];
	uint8_t in[600], out[DHCP_REPLY_MAX], size = 0;
	struct in_addr to;
	size_t n;

	for (size_t k = 0; k < sizeof(name); k++) {
		memset(name, 'a', k);
		name[k] = '\0';
		l.hostname = l.domain = name;
		n = dhcp_answer(&l, in, request(in, DISCOVER, NULL, NULL, NULL), out, &to);
		assert_true(n >= 300 && n <= DHCP_REPLY_MAX);
		assert_non_null(option(out, n, 3, &size));
		assert_int_equal(option(out, n, 12, &size) != NULL, k > 0 && k < 256);
	}
}

static void
malformed(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} spoiled[] = {
		{ 0, 2 },     /* a reply */
		{ 1, 6 },     /* not Ethernet */
		{ 2, 5 },     /* length of its address */
		{ 24, 10 },   /* through a relay */
		{ 28, 4 },    /* somebody else's hardware address */
		{ 236, 0 },   /* no cookie */
		{ 241, 2 },   /* type of two bytes */
		{ 241, 255 }, /* beyond the end */
		{ 244, 3 },   /* requested address of three bytes */
		{ 250, 5 },   /* server of five bytes */
	};
	const struct dhcp_lease l = lease();
	uint8_t in[600], out[DHCP_REPLY_MAX];
	struct in_addr to;
	size_t n = request(in, REQUEST, NULL, "10.0.1.11", "10.0.1.1");

	assert_true(dhcp_answer(&l, in, n, out, &to) > 0);
	for (size_t i = 0; i < ARRAY_SIZE(spoiled); i++) {
		n = request(in, REQUEST, NULL, "10.0.1.11", "10.0.1.1");
		in[spoiled[i].at] = spoiled[i].value;
		if (dhcp_answer(&l, in, n, out, &to) != 0)
			fail_msg("byte %zu = %u was answered", spoiled[i].at, spoiled[i].value);
	}
	for (size_t cut = 0; cut <= OPTIONS_AT; cut++)
		assert_int_equal(dhcp_answer(&l, in, cut, out, &to), 0);
}

/* Options continue in the file and sname fields when option 52 says so. */
static void
overload(void **state)
{
	const struct dhcp_lease l = lease();
	uint8_t in[600], out[DHCP_REPLY_MAX], size = 0;
	struct in_addr to;

	for (uint8_t where = 1; where <= 2; where++) {
		size_t n = request(in, 0, NULL, NULL, NULL);
		size_t at = where == 1 ? 108 : 44;

		memcpy(in + OPTIONS_AT, "\x34\1", 2);
		in[OPTIONS_AT + 2] = where;
		in[OPTIONS_AT + 3] = 255;
		memcpy(in + at, "\x35\1\1\xff", 4);
		n = dhcp_answer(&l, in, n, out, &to);
		assert_true(n > 0);
		assert_int_equal(*option(out, n, 53, &size), OFFER);
		in[at + 1] = 200; /* beyond its field */
		assert_int_equal(dhcp_answer(&l, in, 300, out, &to), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decisions),
		cmocka_unit_test(options),
		cmocka_unit_test(long_names),
		cmocka_unit_test(malformed),
		cmocka_unit_test(overload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
