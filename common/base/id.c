/* Identifiers and keys, all from the kernel's random source. Characters are drawn by masking random
 * bytes where the alphabet is a power of two and by rejection otherwise: no value is likelier than
 * another. */
#include "base/id.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/str.h"

#define ID_DIGITS 17
#define ID_DIGITS_SHORT 8

void
random_bytes(void *out, size_t n)
{
	char *p = out;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			fputs("the kernel gives no random bytes\n", stderr);
			abort();
		}
		p += got;
		n -= (size_t)got;
	}
}

void
id_new(char out[ID_MAX], const char *prefix)
{
	unsigned char bytes[(ID_DIGITS + 1) / 2];
	char hex[sizeof(bytes) * 2 + 1];
	int n;

	random_bytes(bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), hex);
	n = snprintf(out, ID_MAX, "%s-%.*s", prefix, ID_DIGITS, hex);
	if (n >= ID_MAX)
		abort(); /* prefixes are ours and short */
}

bool
id_is_valid(const char *id, const char *prefix)
{
	size_t n = strlen(prefix), digits;

	if (strncmp(id, prefix, n) != 0 || id[n] != '-')
		return false;
	digits = strspn(id + n + 1, "0123456789abcdef");
	return (digits == ID_DIGITS || digits == ID_DIGITS_SHORT) && id[n + 1 + digits] == '\0';
}

void
uuid_new(char out[UUID_TEXT_SIZE])
{
	uint8_t random[UUID_SIZE];

	random_bytes(random, sizeof(random));
	uuid_of(random, out);
}

void
uuid_of(const uint8_t random[UUID_SIZE], char out[UUID_TEXT_SIZE])
{
	static const unsigned char groups[] = { 4, 2, 2, 2, 6 };
	uint8_t b[UUID_SIZE];
	const uint8_t *from = b;

	memcpy(b, random, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	for (size_t i = 0; i < sizeof(groups); i++) {
		hex_encode(from, groups[i], out);
		from += groups[i];
		out += 2 * groups[i];
		*out++ = i + 1 < sizeof(groups) ? '-' : 0;
	}
}

/* A number below `bound` (at most 2^32), each equally likely. */
static uint32_t
random_below(uint32_t bound)
{
	uint32_t value, rest = (uint32_t)(0 - bound) % bound; /* 2^32 mod bound */

	do {
		random_bytes(&value, sizeof(value));
	} while (value < rest);
	return value % bound;
}

static void
random_text(char *out, size_t n, const char *alphabet)
{
	uint32_t size = (uint32_t)strlen(alphabet);

	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[random_below(size)];
	out[n] = '\0';
}

void
account_id_new(char out[ACCOUNT_ID_SIZE])
{
	random_text(out, 1, "123456789");
	random_text(out + 1, ACCOUNT_ID_SIZE - 2, "0123456789");
}

void
access_key_id_new(char out[ACCESS_KEY_ID_SIZE])
{
	memcpy(out, "AKIA", 4);
	random_text(out + 4, ACCESS_KEY_ID_SIZE - 5, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
}

void
secret_key_new(char out[SECRET_KEY_SIZE])
{
	random_text(out, SECRET_KEY_SIZE - 1,
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
}
