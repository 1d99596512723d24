#pragma once
#include "list_walk.h"
#include "request.h"

int list_objects(struct request *rq, struct err *e);  /* both versions of the list */
int list_versions(struct request *rq, struct err *e); /* of all versions of objects */

/* -- what the lists share -- */

struct list_options { /* parameters, and how they are echoed */
	bool is_encoded;
	uint32_t max_keys;
	struct str prefix, delimiter;
};
/* Prepares the walk as well. ERR_INVALID_ARGUMENT. */
int list_options_read(
    struct request *rq, struct list_options *ret, struct list_walk *ret_walk, struct err *e);
void list_write_options(const struct list_options *o, const struct list_walk *walk, struct xml_writer *w);
void list_write_prefixes(const struct list_options *o, const struct list_walk *walk, struct xml_writer *w);
/* ETag, Size and StorageClass. */
void list_write_content(struct xml_writer *w, const struct object *o);
