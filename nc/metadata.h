#pragma once
/* The instance metadata tree as a function of what the node knows of one instance: a path in, a
 * status and a body out. The table of paths is in metadata.c. No I/O here. */
#include <netinet/in.h>
#include "base/arena.h"
#include "rpc/common.api.h"

#define METADATA_PATH_MAX 1024

struct metadata_source { /* borrowed */
	const struct instance_spec *spec;
	const char *vpc_cidr; /* NULL: unknown */
};
struct metadata_answer {
	int status;               /* 200, 404 */
	struct str body;          /* in the arena or in the source */
	const char *content_type; /* "text/plain" or "application/octet-stream" */
};
/* `path` decoded, beginning with "/", without query. */
struct metadata_answer metadata_get(
    const struct metadata_source *source, const char *path, struct arena *arena);
/* The body that goes with an error status, as Amazon's service words it. */
char *metadata_error_body(int status, struct arena *arena);
