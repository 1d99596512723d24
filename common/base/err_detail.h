#pragma once
/* What an error says beside its code and message: names and values, where a wire format has room
 * for them. They belong to a request and lie in its arena. */
#include "base/arena.h"

#define ERR_DETAILS_MAX 8
struct err_detail {
	const char *name; /* constant */
	struct str value; /* any bytes */
};
struct err_details {
	struct arena *arena;
	struct err_detail items[ERR_DETAILS_MAX];
	unsigned count;
};
/* A name that is there keeps its first value: whoever was nearest to the fault knew best. Of d NULL
 * nobody wants to know; past the limit, or the arena's, nothing is added. */
void err_detail(struct err_details *d, const char *name, struct str value);
void err_detailf(struct err_details *d, const char *name, const char *format, ...) _printf_(3, 4);
const struct err_detail *err_detail_find(const struct err_details *d, const char *name);
