/* Text that grows by doubling and is always NUL-terminated. Every add passes through make_room(),
 * the only place that knows the limit: an add that does not fit whole is not done at all, and
 * neither is any later one, so what is in the buffer is a prefix of what was meant. */
#include "base/strbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void
strbuf_done(struct strbuf *b)
{
	free(b->p);
	*b = (struct strbuf){ .limit = b->limit };
}

void
strbuf_reset(struct strbuf *b)
{
	b->n = 0;
	b->overflowed = false;
	if (b->p)
		b->p[0] = '\0';
}

static void
grow(struct strbuf *b, size_t needed)
{
	size_t size = b->size ? b->size : 64;

	while (size < needed) {
		if (__builtin_mul_overflow(size, 2, &size))
			abort();
	}
	if (size > b->size) {
		b->p = xrealloc(b->p, size);
		b->size = size;
	}
}

static bool
make_room(struct strbuf *b, size_t more)
{
	size_t needed;

	if (b->overflowed)
		return false;
	if (__builtin_add_overflow(b->n, more, &needed) || needed == SIZE_MAX ||
	    (b->limit > 0 && needed > b->limit)) {
		b->overflowed = true;
		return false;
	}
	if (needed >= b->size)
		grow(b, needed + 1);
	return true;
}

void
strbuf_reserve(struct strbuf *b, size_t more)
{
	size_t needed;

	if (__builtin_add_overflow(b->n, more, &needed) || needed == SIZE_MAX)
		abort();
	grow(b, needed + 1);
	b->p[b->n] = '\0';
}

void
strbuf_add(struct strbuf *b, const void *p, size_t n)
{
	if (!make_room(b, n))
		return;
	if (n > 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void
strbuf_adds(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void
strbuf_addc(struct strbuf *b, char c)
{
	if (!make_room(b, 1))
		return;
	b->p[b->n++] = c;
	b->p[b->n] = '\0';
}

void
strbuf_addstr(struct strbuf *b, struct str s)
{
	strbuf_add(b, s.p, s.n);
}

void
strbuf_addf(struct strbuf *b, const char *format, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, format);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, format, ap);
	assert(n >= 0);
	if (make_room(b, (size_t)n)) {
		(void)vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
		b->n += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

void
strbuf_remove_front(struct strbuf *b, size_t n)
{
	assert(n <= b->n);
	if (n == 0)
		return;
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
	b->p[b->n] = '\0';
}

const char *
strbuf_c(const struct strbuf *b)
{
	return b->p ? b->p : "";
}

char *
strbuf_take(struct strbuf *b)
{
	char *p = b->p ? b->p : xstrdup("");

	*b = (struct strbuf){ .limit = b->limit };
	return p;
}
