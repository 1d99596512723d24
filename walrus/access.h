#pragma once
/* Who may do what: the one place that decides. An operation's row in s3.c names its IAM action and the
 * permission by which an ACL may grant it. */
#include "bucket.h"
#include "content.h"
#include "request.h"

/* Whether the caller may do rq->operation, before a byte of its body is read. Where the operation is one
 * on an object that exists (S3_OBJECT_ACL) or on an upload (S3_UPLOAD) it is not refused here for what only
 * the row can tell: access_object or access_upload decides once that is known. ERR_ACCESS_DENIED. */
int access_request(struct request *rq, struct err *e);
/* The same for the object that was found. */
int access_object(struct request *rq, const struct object *o, struct err *e);
/* The object (or version) is not there: passes on what *e says to who may know, to others
 * ERR_ACCESS_DENIED. */
int access_missing(struct request *rq, struct err *e);
/* The same for an upload that this account began; "": nobody, or there is none. */
int access_upload(struct request *rq, const char *initiator_id, struct err *e);
/* Another action than the operation's own, of the same caller: the source of a copy, one key of
 * DeleteObjects, s3:BypassGovernanceRetention. key.p NULL: the bucket's. o: NULL, or the object's row,
 * whose ACL then grants as well. */
int access_action(struct request *rq, const char *action, enum permission permission,
    const struct bucket *bucket, struct str key, const struct object *o, struct err *e);
/* Account that an object written by this request belongs to. */
const char *access_owner(const struct request *rq);

/* Whether log delivery (the group, or logging.s3.amazonaws.com) may write an object of the log of `source`. */
int access_log_delivery(struct walrus *w, const struct bucket *source, const struct bucket *target,
    struct str key, struct err *e);

/* What another daemon does in the name of an account: reading parts of an image (o: its row), writing a bundle
 * (o NULL). is_service: by the account's service key, to which aws-exec-read grants as well. */
int access_as(struct walrus *w, const char *account_id, bool is_service, const char *action,
    const struct bucket *bucket, struct str key, const struct object *o, struct err *e);
