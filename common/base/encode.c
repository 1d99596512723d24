/* Hex and base64. Decoding is strict, so that one value has one encoding: lower- or upper-case hex
 * of even length; base64 with its padding, with zero bits under it, white space apart. */
#include "base/str.h"

void
hex_encode(const void *in, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = in;

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
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
hex_decode(struct str hex, void *out, size_t out_size, size_t *ret_n)
{
	unsigned char *p = out;

	if (hex.n % 2 != 0 || hex.n / 2 > out_size)
		return false;
	for (size_t i = 0; i < hex.n; i += 2) {
		int high = hex_digit(hex.p[i]), low = hex_digit(hex.p[i + 1]);

		if (high < 0 || low < 0)
			return false;
		p[i / 2] = (unsigned char)(high << 4 | low);
	}
	if (ret_n)
		*ret_n = hex.n / 2;
	return true;
}

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *
base64_encode(const void *in, size_t n)
{
	const unsigned char *p = in;
	char *text = xmalloc((n + 2) / 3 * 4 + 1), *out = text;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t bits = (uint32_t)p[i] << 16;

		if (i + 1 < n)
			bits |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < n)
			bits |= p[i + 2];
		*out++ = base64_alphabet[bits >> 18];
		*out++ = base64_alphabet[bits >> 12 & 63];
		*out++ = i + 1 < n ? base64_alphabet[bits >> 6 & 63] : '=';
		*out++ = i + 2 < n ? base64_alphabet[bits & 63] : '=';
	}
	*out = '\0';
	return text;
}

static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool
base64_decode(struct str in, void **ret_bytes, size_t *ret_n)
{
	_cleanup_free_ unsigned char *out = xmalloc(in.n / 4 * 3 + 3);
	size_t n = 0, digits = 0, padding = 0;
	uint32_t bits = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		int digit = base64_digit(c);

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (c == '=') {
			padding++;
			continue;
		}
		if (digit < 0 || padding > 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		if (++digits % 4 == 0) {
			out[n++] = (unsigned char)(bits >> 16);
			out[n++] = (unsigned char)(bits >> 8);
			out[n++] = (unsigned char)bits;
		}
	}
	switch (digits % 4) {
	case 0:
		if (padding != 0)
			return false;
		break;
	case 1:
		return false;
	case 2:
		if (padding != 2 || (bits & 0xf) != 0)
			return false;
		out[n++] = (unsigned char)(bits >> 4);
		break;
	case 3:
		if (padding != 1 || (bits & 0x3) != 0)
			return false;
		out[n++] = (unsigned char)(bits >> 10);
		out[n++] = (unsigned char)(bits >> 2);
		break;
	}
	*ret_bytes = TAKE(out);
	*ret_n = n;
	return true;
}
