#pragma once
/* Borrowed spans and the strict conversions everything else uses. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/alloc.h"

struct str { /* borrowed, not NUL-terminated */
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
static inline struct str
str_of(const char *s) /* NULL reads as empty */
{
	return (struct str){ s ? s : "", s ? strlen(s) : 0 };
}
static inline bool
str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* What texts are compared with is mostly constant: inline, its length is too. */
static inline bool
str_is(struct str a, const char *b)
{
	return str_eq(a, str_of(b));
}
bool str_eq_nocase(struct str a, struct str b); /* ASCII only */
static inline bool
str_is_nocase(struct str a, const char *b)
{
	struct str other = str_of(b);

	return a.n == other.n && str_eq_nocase(a, other);
}
static inline bool
str_starts(struct str a, const char *prefix)
{
	size_t n = strlen(prefix);

	return a.n >= n && memcmp(a.p, prefix, n) == 0;
}
struct str str_trim(struct str a);               /* spaces and tabs */
/* Cuts `*rest` at the first `separator`: returns what is before it, leaves what is after.
 * At the end returns false. */
bool str_split(struct str *rest, char separator, struct str *ret_part);
char *str_dup(struct str a); /* heap, NUL-terminated */
bool strings_equal(const char *a, const char *b); /* either may be NULL */

/* Whole-input decimal, no sign but for i64, no spaces, no overflow; false leaves *ret alone. */
bool str_to_u16(struct str a, uint16_t *ret);
bool str_to_u32(struct str a, uint32_t *ret);
bool str_to_u64(struct str a, uint64_t *ret);
/* In decimal, in `room`; printf is too slow for what each row of a list has. */
#define STR_U64_ROOM 20
struct str str_of_u64(uint64_t n, char room[STR_U64_ROOM]);
bool str_to_i64(struct str a, int64_t *ret);
bool str_to_bool(struct str a, bool *ret); /* true|false|1|0|yes|no|on|off, any case */

/* Lower-case hex; out of hex_encode holds 2n+1 bytes. hex_decode fails on odd length or bad digit. */
void hex_encode(const void *in, size_t n, char *out);
bool hex_decode(struct str hex, void *out, size_t out_size, size_t *ret_n);
/* RFC 4648 with padding. Decoding skips white space, refuses everything else. Results are heap. */
char *base64_encode(const void *in, size_t n);
bool base64_decode(struct str in, void **ret_bytes, size_t *ret_n);

/* Glob with * and ? and backslash escapes, as EC2 filters use. */
bool glob_match(const char *pattern, const char *text);
bool is_utf8(struct str a);
