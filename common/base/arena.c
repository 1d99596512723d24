/* Memory of one request. Chunks double from 4 KiB to 256 KiB, an allocation larger than that gets a
 * chunk of its own; all are freed together. The limit counts what callers asked for (rounded up to
 * the alignment), so that it means the same whatever the chunks look like. */
#include "base/arena.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#define ARENA_LIMIT_DEFAULT ((size_t)64 << 20)
#define CHUNK_MIN ((size_t)4 << 10)
#define CHUNK_MAX ((size_t)256 << 10)
#define ALIGNMENT _Alignof(max_align_t)

struct chunk {
	struct chunk *next;
	size_t used, size;
	max_align_t bytes[];
};

struct arena {
	struct chunk *chunks; /* the newest first */
	size_t limit, used;
	size_t next_size;
};

/* What nearly every request needs, and gives back: a chunk is kept per thread, clean. What is used
 * after its arena was freed is then found by no tool, so that builds which look for it keep none.
 */
static pthread_key_t spare_key;
static pthread_once_t spare_once = PTHREAD_ONCE_INIT;

#ifdef __SANITIZE_ADDRESS__
#define KEEPS_SPARE 0
#elif defined(__has_feature)
#define KEEPS_SPARE !__has_feature(address_sanitizer)
#else
#define KEEPS_SPARE 1
#endif

static _Thread_local struct chunk *spare;

static void
free_spare(void *set)
{
	free(TAKE(spare));
}

static void
make_spare_key(void)
{
	if (pthread_key_create(&spare_key, free_spare) != 0)
		abort();
}

static bool
keep_spare(struct chunk *c)
{
	if (!KEEPS_SPARE || spare || c->size != CHUNK_MIN)
		return false;
	(void)pthread_once(&spare_once, make_spare_key);
	memset(c->bytes, 0, c->used);
	c->used = 0;
	spare = c;
	(void)pthread_setspecific(spare_key, &spare); /* anything but NULL */
	return true;
}

struct arena *
arena_new(size_t limit)
{
	struct arena *a = xcalloc(1, sizeof(*a));

	a->limit = limit ? limit : ARENA_LIMIT_DEFAULT;
	a->next_size = CHUNK_MIN;
	return a;
}

void
arena_free(struct arena *a)
{
	if (!a)
		return;
	for (struct chunk *c = a->chunks, *next; c; c = next) {
		next = c->next;
		if (!keep_spare(c))
			free(c);
	}
	free(a);
}

static struct chunk *
chunk_new(struct arena *a, size_t size)
{
	size_t room = size > a->next_size ? size : a->next_size;
	struct chunk *c = room == CHUNK_MIN ? TAKE(spare) : NULL;

	if (!c)
		c = xcalloc(1, sizeof(*c) + room);
	c->size = room;
	if (a->next_size < CHUNK_MAX)
		a->next_size *= 2;
	c->next = a->chunks;
	a->chunks = c;
	return c;
}

void *
arena_try(struct arena *a, size_t size)
{
	struct chunk *c = a->chunks;
	char *p;

	if (size > SIZE_MAX - ALIGNMENT)
		return NULL;
	size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (size > a->limit - a->used)
		return NULL;
	if (!c || c->size - c->used < size)
		c = chunk_new(a, size);
	p = (char *)c->bytes + c->used;
	c->used += size;
	a->used += size;
	return p;
}

void *
arena_alloc(struct arena *a, size_t size)
{
	void *p = arena_try(a, size);

	if (!p) {
		fprintf(
		    stderr, "arena: %zu bytes wanted, %zu of %zu used\n", size, a->used, a->limit);
		abort();
	}
	return p;
}

char *
arena_str(struct arena *a, struct str s)
{
	char *copy = arena_alloc(a, s.n + 1);

	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	return copy;
}

char *
arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_str(a, str_of(s)) : NULL;
}

void *
arena_memdup(struct arena *a, const void *p, size_t n)
{
	void *copy = arena_alloc(a, n);

	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

char *
arena_printf(struct arena *a, const char *format, ...)
{
	va_list ap, again;
	char *text;
	int n;

	va_start(ap, format);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, format, ap);
	assert(n >= 0);
	text = arena_alloc(a, (size_t)n + 1);
	(void)vsnprintf(text, (size_t)n + 1, format, again);
	va_end(again);
	va_end(ap);
	return text;
}

size_t
arena_used(const struct arena *a)
{
	return a->used;
}
