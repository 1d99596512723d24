#pragma once
/* Hash map from strings to pointers; keys are copied, values borrowed unless free_value is given.
 * Seeded SipHash-like hashing, so that hostile keys cost no more than others. */
#include "base/str.h"

struct map;
struct map *map_new(void (*free_value)(void *)); /* NULL: values are borrowed */
void map_free(struct map *m);
DEFINE_CLEANUP(struct map *, map_free)
size_t map_count(const struct map *m);
void *map_find(const struct map *m, const char *key);  /* NULL when absent */
void *map_find_str(const struct map *m, struct str key);
void map_set(struct map *m, const char *key, void *value); /* replaces, freeing the old value */
bool map_remove(struct map *m, const char *key);       /* frees the value */
void *map_take(struct map *m, const char *key);        /* removes without freeing the value */
/* In no order. Start with *cursor 0; false at the end. The map must not change meanwhile. */
bool map_next(const struct map *m, size_t *cursor, const char **ret_key, void **ret_value);
