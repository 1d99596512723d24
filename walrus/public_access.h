#pragma once
/* The public access block of a bucket: four switches. */
#include "bucket.h"

struct public_access {
	bool block_acls;     /* no new ACL may grant to everybody */
	bool ignore_acls;    /* those that do grant nothing */
	bool block_policy;   /* no new policy may be public */
	bool restrict_buckets; /* one that is allows the owner's account only */
};
/* All off when nothing was set. */
const struct public_access *public_access_of(const struct bucket *bucket);
/* The document of all four switched on, as it is stored. */
char *public_access_document(struct arena *arena);

/* As setting.h has it. */
int public_access_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void public_access_write(struct request *rq, struct xml_writer *w, const void *value);
