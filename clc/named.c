/* A list of ids against what is there. */
#include "named.h"

#include <string.h>

void
named_init(struct named *n, const char *const *items, size_t count, struct arena *arena)
{
	*n = (struct named){ items, count, arena_alloc(arena, count + 1) };
}

bool
named_sees(struct named *n, const char *text)
{
	bool found = n->count == 0;

	for (size_t i = 0; i < n->count; i++)
		if (strcmp(n->items[i], text) == 0)
			found = n->seen[i] = true;
	return found;
}

const char *
named_missing(const struct named *n)
{
	for (size_t i = 0; i < n->count; i++)
		if (!n->seen[i])
			return n->items[i];
	return NULL;
}
