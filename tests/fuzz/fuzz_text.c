/* The conversions of base: each either refuses or gives a value that formats and parses to itself.
 * The first byte chooses the conversion. */
#include <assert.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_time(struct str s, bool (*parse)(struct str, int64_t *),
    void (*format)(int64_t, char[TIME_TEXT_SIZE]))
{
	char text[TIME_TEXT_SIZE];
	int64_t us, again, again_twice;

	if (!parse(s, &us))
		return;
	format(us, text);
	/* A zone may carry the first and last day out of the four-digit years. */
	if (!parse(str_of(text), &again))
		return;
	format(again, text);
	assert(parse(str_of(text), &again_twice) && again_twice == again);
	assert(us - again >= 0 && us - again < 1000000);
}

static void
check_base64(struct str s)
{
	_cleanup_free_ void *bytes = NULL, *back = NULL;
	_cleanup_free_ char *text = NULL;
	size_t count, back_count;

	if (!base64_decode(s, &bytes, &count))
		return;
	text = base64_encode(bytes, count);
	assert(base64_decode(str_of(text), &back, &back_count));
	assert(count == back_count && memcmp(bytes, back, count) == 0);
}

static void
check_hex(struct str s)
{
	unsigned char bytes[64];
	char text[129];
	size_t count;

	if (!hex_decode(s, bytes, sizeof(bytes), &count))
		return;
	hex_encode(bytes, count, text);
	assert(str_is_nocase(s, text));
}

static void
check_glob(struct str s)
{
	struct str pattern;
	_cleanup_free_ char *p = NULL, *text = NULL;

	(void)str_split(&s, '\n', &pattern);
	p = str_dup(pattern);
	text = s.p ? str_dup(s) : xstrdup("");
	(void)glob_match(p, text);
	assert(glob_match("*", text));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str s = { (const char *)data + 1, n - 1 };
	int64_t number;

	if (n == 0)
		return 0;
	switch (data[0]) {
	case 'i':
		check_time(s, time_parse_iso, time_format_iso);
		break;
	case 'b':
		check_time(s, time_parse_basic, time_format_basic);
		break;
	case 'h':
		check_time(s, time_parse_http, time_format_http);
		break;
	case '6':
		check_base64(s);
		break;
	case 'x':
		check_hex(s);
		break;
	case 'g':
		check_glob(s);
		break;
	case 'u':
		(void)is_utf8(s);
		break;
	default:
		(void)str_to_i64(s, &number);
	}
	return 0;
}
