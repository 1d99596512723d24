/* What mutations have in common: the client's token, and what each writes in its own transaction
 * beside its rows. */
#include "request.h"

int
request_token(const char *given, const char **ret, struct err *e)
{
	for (const char *p = given; p && *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
			return err_set(e, ERR_INVALID_PARAMETER_VALUE, "ClientToken must be ASCII");
	*ret = given && given[0] ? given : NULL;
	return 0;
}

int
request_audit(struct store_tx *tx, const struct request *rq, const char *resource, struct err *e)
{
	struct audit_record record = { .request_id = rq->id,
		.account_id = rq->account_id,
		.user_name = rq->user_name,
		.source_address = rq->source_address,
		.user_agent = rq->user_agent,
		.service = rq->service->name,
		.action = rq->operation->name,
		.resource = resource,
		.parameters = rq->parameters };

	return audit_add(tx, &record, e);
}

int
request_record(struct store_tx *tx, const struct request *rq, const char *kind,
    const char *resource, struct err *e)
{
	int r = request_audit(tx, rq, resource, e);

	return r < 0 ? r : outbox_add(tx, kind, resource, rq->account_id, rq->operation->name, e);
}
