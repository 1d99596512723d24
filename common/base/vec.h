#pragma once
/* A growing array of any type: struct { T *items; size_t count, size; }. Declare with VEC(T). */
#include "base/alloc.h"

#define VEC(T)                                                                                     \
	struct {                                                                                   \
		T *items;                                                                          \
		size_t count, size;                                                                \
	}
#define vec_add(v, item)                                                                           \
	do {                                                                                       \
		if ((v)->count == (v)->size)                                                       \
			(v)->items = vec_grow((v)->items, &(v)->size, sizeof(*(v)->items));        \
		(v)->items[(v)->count++] = (item);                                                 \
	} while (0)
#define vec_done(v)                                                                                \
	do {                                                                                       \
		free((v)->items);                                                                  \
		(v)->items = NULL;                                                                 \
		(v)->count = (v)->size = 0;                                                        \
	} while (0)
#define VEC_FOREACH(v, p)                                                                          \
	for (__typeof__(*(v)->items) *p = (v)->items; p && p < (v)->items + (v)->count; p++)
void *vec_grow(void *items, size_t *size, size_t item_size);
