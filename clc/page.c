/* The token is the offset, in base64 behind a mark, so that clients treat it as opaque. Items come
 * in the order of creation: what is added while a client pages appears at the end. */
#include "page.h"

#include "base/str.h"

#define MARK "page:"

int
page_begin(struct page *p, const char *token, size_t max_results, bool conflicts, const char *what,
    struct err *e)
{
	_cleanup_free_ void *bytes = NULL;
	struct str text = { 0 };
	uint64_t offset;

	*p = (struct page){ .limit = max_results };
	if (conflicts)
		return err_set(e, ERR_INVALID_PARAMETER_COMBINATION,
		    "The parameter %s cannot be used with the parameter maxResults", what);
	if (!token)
		return 0;
	if (!base64_decode(str_of(token), &bytes, &text.n))
		return err_set(e, ERR_INVALID_NEXT_TOKEN, "The token '%.100s' is invalid", token);
	text.p = bytes;
	if (!str_starts(text, MARK) ||
	    !str_to_u64((struct str){ text.p + strlen(MARK), text.n - strlen(MARK) }, &offset) ||
	    offset > SIZE_MAX / 2)
		return err_set(e, ERR_INVALID_NEXT_TOKEN, "The token '%.100s' is invalid", token);
	p->first = offset;
	return 0;
}

void
page_cut(struct page *p, size_t total)
{
	if (p->first > total)
		p->first = total;
	p->count = total - p->first;
	if (p->limit && p->count > p->limit) {
		p->count = p->limit;
		p->has_more = true;
	}
}

char *
page_token(const struct page *p, struct arena *arena)
{
	_cleanup_free_ char *text = NULL, *coded = NULL;

	if (!p->has_more)
		return NULL;
	text = xasprintf(MARK "%zu", p->first + p->count);
	coded = base64_encode(text, strlen(text));
	return arena_strdup(arena, coded);
}
