/* Spans and strict conversions. Whoever converts decides on the whole input: no leading spaces,
 * signs or trailing junk pass, and a failed conversion leaves the result untouched. Nothing here
 * depends on the locale. */
#include "base/str.h"

static unsigned char
lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool
str_eq_nocase(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		if (a.p[i] != b.p[i] && lower(a.p[i]) != lower(b.p[i]))
			return false;
	}
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct str
str_trim(struct str a)
{
	while (a.n > 0 && is_blank(a.p[0])) {
		a.p++;
		a.n--;
	}
	while (a.n > 0 && is_blank(a.p[a.n - 1]))
		a.n--;
	return a;
}

bool
str_split(struct str *rest, char separator, struct str *ret_part)
{
	const char *cut;

	if (!rest->p)
		return false;
	cut = rest->n > 0 ? memchr(rest->p, separator, rest->n) : NULL;
	if (!cut) {
		*ret_part = *rest;
		*rest = (struct str){ NULL, 0 };
		return true;
	}
	*ret_part = (struct str){ rest->p, (size_t)(cut - rest->p) };
	rest->n -= ret_part->n + 1;
	rest->p = cut + 1;
	return true;
}

char *
str_dup(struct str a)
{
	char *copy = xmalloc(a.n + 1);

	if (a.n > 0)
		memcpy(copy, a.p, a.n);
	copy[a.n] = '\0';
	return copy;
}

bool
strings_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool
parse_decimal(struct str a, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (a.n == 0)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		if (a.p[i] < '0' || a.p[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(a.p[i] - '0'), &value) || value > max)
			return false;
	}
	*ret = value;
	return true;
}

bool
str_to_u16(struct str a, uint16_t *ret)
{
	uint64_t value;

	if (!parse_decimal(a, UINT16_MAX, &value))
		return false;
	*ret = (uint16_t)value;
	return true;
}

bool
str_to_u32(struct str a, uint32_t *ret)
{
	uint64_t value;

	if (!parse_decimal(a, UINT32_MAX, &value))
		return false;
	*ret = (uint32_t)value;
	return true;
}

struct str
str_of_u64(uint64_t n, char room[STR_U64_ROOM])
{
	char *end = room + STR_U64_ROOM, *p = end;

	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	return (struct str){ p, (size_t)(end - p) };
}

bool
str_to_u64(struct str a, uint64_t *ret)
{
	return parse_decimal(a, UINT64_MAX, ret);
}

bool
str_to_i64(struct str a, int64_t *ret)
{
	bool negative = a.n > 0 && a.p[0] == '-';
	uint64_t value;

	if (negative) {
		a.p++;
		a.n--;
	}
	if (!parse_decimal(a, (uint64_t)INT64_MAX + negative, &value))
		return false;
	*ret = negative ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}

bool
str_to_bool(struct str a, bool *ret)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{ "true", true },
		{ "false", false },
		{ "1", true },
		{ "0", false },
		{ "yes", true },
		{ "no", false },
		{ "on", true },
		{ "off", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (str_is_nocase(a, words[i].word)) {
			*ret = words[i].value;
			return true;
		}
	}
	return false;
}

/* Iterative with one point to return to: the last star. Going back to an earlier one never helps,
 * so the cost is at most the product of the lengths, whatever the pattern. */
bool
glob_match(const char *pattern, const char *text)
{
	const char *star = NULL, *star_text = NULL;

	while (*text) {
		bool escaped = pattern[0] == '\\' && pattern[1];

		if (*pattern == '*') {
			star = ++pattern;
			star_text = text;
		} else if (escaped ? pattern[1] == *text : *pattern == '?' || *pattern == *text) {
			pattern += escaped ? 2 : 1;
			text++;
		} else if (star) {
			pattern = star;
			text = ++star_text;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

/* Length of the well-formed sequence at p (RFC 3629: no overlong forms, surrogates, or code points
 * past U+10FFFF), or 0. */
static size_t
utf8_sequence(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < length)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

bool
is_utf8(struct str a)
{
	const unsigned char *p = (const unsigned char *)a.p;

	for (size_t i = 0, length; i < a.n; i += length) {
		length = utf8_sequence(p + i, a.n - i);
		if (length == 0)
			return false;
	}
	return true;
}
