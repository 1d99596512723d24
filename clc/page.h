#pragma once
/* Pages of Describe answers: an opaque token that says where the next one begins. */
#include <stdbool.h>
#include "base/arena.h"
#include "base/err.h"

struct page {
	size_t first, count; /* which of the items, after page_cut */
	size_t limit;        /* 0: all */
	bool has_more;
};
/* INVALID_NEXT_TOKEN; INVALID_PARAMETER_COMBINATION when `conflicts` (MaxResults together with `what`). */
int page_begin(struct page *p, const char *token, size_t max_results, bool conflicts, const char *what,
    struct err *e);
void page_cut(struct page *p, size_t total);
char *page_token(const struct page *p, struct arena *arena); /* NULL on the last page */
