#pragma once
/* Pictures of guests' screens: reading PPM and PNG, writing JPEG. */
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct ppm {
	uint32_t width, height;
	const uint8_t *pixels; /* RGB, borrowed from the file or the arena */
};
/* ERR_INVALID. */
int ppm_parse(struct str file, struct ppm *ret, struct err *e);
int png_parse(struct str file, struct arena *arena, struct ppm *ret, struct err *e);
/* Of lower quality when it would have more than `max` bytes; ERR_LIMIT when that does not help. */
int jpeg_from_ppm(
    const struct ppm *in, size_t max, struct arena *arena, struct str *ret, struct err *e);
