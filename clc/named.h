#pragma once
/* Ids or names that a Describe call was given: what is not named is not shown, and what is named must be
 * there, whatever the filters leave of it. */
#include <stdbool.h>
#include "base/arena.h"

struct named {
	const char *const *items;
	size_t count;
	bool *seen; /* in a closure that runs again, named_init comes first */
};
void named_init(struct named *n, const char *const *items, size_t count, struct arena *arena);
/* Whether `text` is named, or nothing is; remembers that it is there. */
bool named_sees(struct named *n, const char *text);
const char *named_missing(const struct named *n); /* the first that was not seen; NULL: none */
