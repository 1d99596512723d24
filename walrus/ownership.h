#pragma once
/* Object ownership of a bucket: OwnershipControls. */
#include "bucket.h"

enum ownership {
	OWNERSHIP_WRITER,    /* an object is its writer's; also when nothing was set */
	OWNERSHIP_PREFERRED, /* the bucket owner's, when its writer gives it away */
	OWNERSHIP_ENFORCED,  /* always the bucket owner's; ACLs say nothing */
	OWNERSHIP_MAX
};
enum ownership ownership_of(const struct bucket *bucket);
/* "BucketOwnerEnforced" and its kin; false: none of them. */
bool ownership_from_name(struct str name, enum ownership *ret);
/* The document that says so, as it is stored. */
char *ownership_document(enum ownership o, struct arena *arena);

/* As setting.h has it. check: ERR_ACL_WITH_OWNERSHIP while the bucket's ACL grants to others. */
int ownership_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void ownership_write(struct request *rq, struct xml_writer *w, const void *value);
int ownership_check(struct request *rq, const void *value, struct err *e);
