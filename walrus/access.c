/* A bucket is its owner's; one with a hidden name is for service keys alone. */
#include "access.h"

static int
denied(struct err *e)
{
	return err_set(e, ERR_ACCESS_DENIED, "Access Denied");
}

static int
decide(const char *account_id, bool is_service, const struct bucket *bucket, struct err *e)
{
	if (bucket->name[0] == '.' && !is_service)
		return denied(e);
	return account_id && strings_equal(account_id, bucket->account_id) ? 0 : denied(e);
}

int
access_action(struct request *rq, const char *action, enum permission permission,
    const struct bucket *bucket, struct str key, const struct object *o, struct err *e)
{
	return decide(
	    rq->is_anonymous ? NULL : rq->caller.account_id, rq->caller.is_service, bucket, e);
}

int
access_request(struct request *rq, struct err *e)
{
	if (rq->operation->level == TARGET_SERVICE || rq->operation->flags & S3_ANY_BUCKET)
		return rq->is_anonymous ? denied(e) : 0;
	return access_action(rq, rq->operation->action, rq->operation->permission, rq->bucket,
	    rq->target.key, NULL, e);
}

int
access_object(struct request *rq, const struct object *o, struct err *e)
{
	return 0;
}

int
access_missing(struct request *rq, struct err *e)
{
	return e->code;
}

const char *
access_owner(const struct request *rq)
{
	return rq->bucket->account_id;
}

int
access_as(struct walrus *w, const char *account_id, bool is_service, const char *action,
    const struct bucket *bucket, const struct object *o, struct err *e)
{
	return decide(account_id, is_service, bucket, e);
}
