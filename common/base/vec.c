/* The one function behind the vec macros: doubling growth with checked arithmetic. */
#include "base/vec.h"

void *
vec_grow(void *items, size_t *size, size_t item_size)
{
	size_t wanted = *size ? *size * 2 : 8;
	size_t bytes;

	if (__builtin_mul_overflow(wanted, item_size, &bytes))
		abort();
	*size = wanted;
	return xrealloc(items, bytes);
}
