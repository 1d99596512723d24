#pragma once
/* Memory of one request: allocated in a row, freed at once. Zeroed. Never fails below its limit;
 * past the limit arena_alloc returns NULL only through arena_try, and aborts otherwise. */
#include "base/str.h"

struct arena;
struct arena *arena_new(size_t limit); /* limit 0: 64 MiB */
void arena_free(struct arena *a);
DEFINE_CLEANUP(struct arena *, arena_free)
#define _cleanup_arena_ _cleanup_(arena_freep)
void *arena_alloc(struct arena *a, size_t size);
void *arena_try(struct arena *a, size_t size); /* NULL past the limit: for what input sizes */
char *arena_strdup(struct arena *a, const char *s); /* NULL gives NULL */
char *arena_str(struct arena *a, struct str s);
void *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_printf(struct arena *a, const char *format, ...) _printf_(2, 3);
size_t arena_used(const struct arena *a);
