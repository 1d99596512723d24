#pragma once
/* Small allocations abort on failure (state is in the database and daemons restart); anything sized
 * by input goes through a bounded buffer instead. Cleanup attributes tie release to scope. */
#include <stddef.h>
#include <stdlib.h>

/* Used by its cleanup, which Clang does not count. */
#define _cleanup_(fn) __attribute__((cleanup(fn), unused))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_ __attribute__((unused))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Move a pointer out of a variable that a cleanup attribute watches. */
#define TAKE(p)                                                                                    \
	__extension__({                                                                            \
		__typeof__(p) _taken = (p);                                                        \
		(p) = NULL;                                                                        \
		_taken;                                                                            \
	})
#define TAKE_FD(fd)                                                                                \
	__extension__({                                                                            \
		int _taken = (fd);                                                                 \
		(fd) = -1;                                                                         \
		_taken;                                                                            \
	})

/* Defines `fnp(type *p)`, fit for _cleanup_(), from `fn(type p)`, which must accept NULL. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
	static inline _unused_ void fn##p(type *p)                                                 \
	{                                                                                          \
		if (*p)                                                                            \
			fn(*p);                                                                    \
	}

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t n);
char *xasprintf(const char *format, ...) _printf_(1, 2);

void freep(void *p); /* for _cleanup_free_: frees *(void **)p */
#define _cleanup_free_ _cleanup_(freep)
