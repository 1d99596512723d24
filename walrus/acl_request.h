#pragma once
/* ACLs as requests bring and ask for them. */
#include "request.h"

/* The ACL that the headers of a write give its object, as it is stored (NULL: private). ERR_INVALID_ARGUMENT,
 * ERR_INVALID_REQUEST, ERR_GRANT_BY_EMAIL, ERR_ACL_NOT_SUPPORTED; ERR_ACCESS_DENIED: it is public and that is
 * blocked, or the writer may not set one. */
int acl_of_object(struct request *rq, char **ret, struct err *e);
/* ACL, ownership and public access block that a new bucket begins with: fills b->documents. Also
 * ERR_ACL_WITH_OWNERSHIP. */
int acl_of_new_bucket(struct request *rq, struct bucket *b, struct err *e);

/* -- for PUTs of an ACL itself -- */
/* 1: the headers say this ACL; 0: they say nothing. */
int acl_read_headers(struct request *rq, const struct acl_subject *subject, struct acl *ret,
    struct err *e);
/* Whether there may be such an ACL in the bucket. ERR_ACL_NOT_SUPPORTED, ERR_ACCESS_DENIED. */
int acl_check(const struct bucket *bucket, const struct acl *acl, struct err *e);
/* For an acl_resolver; arg: the request. From its arena. */
const char *acl_account_of(void *arg, struct str canonical_id);
/* Which argument was wrong, for the error's body. */
void acl_blame(struct request *rq, struct acl_argument argument);

int acl_get_bucket(struct request *rq, struct err *e);
int acl_put_bucket(struct request *rq, struct err *e);
int acl_get_object(struct request *rq, struct err *e);
int acl_put_object(struct request *rq, struct err *e);
