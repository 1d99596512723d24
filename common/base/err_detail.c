/* A few pairs in a fixed array: an error has a handful of them, and none when all is well. */
#include "base/err_detail.h"

#include <stdarg.h>
#include <stdio.h>

const struct err_detail *
err_detail_find(const struct err_details *d, const char *name)
{
	for (unsigned i = 0; i < d->count; i++)
		if (strcmp(d->items[i].name, name) == 0)
			return &d->items[i];
	return NULL;
}

void
err_detail(struct err_details *d, const char *name, struct str value)
{
	char *copy;

	if (!d || d->count == ERR_DETAILS_MAX || err_detail_find(d, name))
		return;
	copy = arena_try(d->arena, value.n + 1);
	if (!copy)
		return;
	if (value.n)
		memcpy(copy, value.p, value.n);
	d->items[d->count++] = (struct err_detail){ name, { copy, value.n } };
}

void
err_detailf(struct err_details *d, const char *name, const char *format, ...)
{
	_cleanup_free_ char *value = NULL;
	va_list ap;

	if (!d)
		return;
	va_start(ap, format);
	if (vasprintf(&value, format, ap) < 0)
		abort();
	va_end(ap);
	err_detail(d, name, str_of(value));
}
