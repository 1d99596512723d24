#pragma once
/* Text and bytes that grow. Always NUL-terminated, may hold NUL. With a limit set it fails instead
 * of growing past it: `overflowed` stays set and further adds do nothing, so one check at the end
 * is enough. */
#include "base/str.h"

struct strbuf {
	char *p; /* never NULL after the first add; use strbuf_c() */
	size_t n;
	size_t size;
	size_t limit; /* 0: none */
	bool overflowed;
};
#define STRBUF_INIT { 0 }

void strbuf_done(struct strbuf *b);
#define _cleanup_strbuf_ _cleanup_(strbuf_done)
void strbuf_reset(struct strbuf *b);
void strbuf_reserve(struct strbuf *b, size_t more); /* room for `more` bytes at b->p + b->n */
void strbuf_add(struct strbuf *b, const void *p, size_t n);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_addstr(struct strbuf *b, struct str s);
void strbuf_addf(struct strbuf *b, const char *format, ...) _printf_(2, 3);
void strbuf_remove_front(struct strbuf *b, size_t n);
const char *strbuf_c(const struct strbuf *b); /* "" when empty */
char *strbuf_take(struct strbuf *b);          /* heap, the buffer becomes empty */
static inline struct str
strbuf_str(const struct strbuf *b)
{
	return (struct str){ strbuf_c(b), b->n };
}
