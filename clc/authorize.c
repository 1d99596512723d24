/* Who may do what. Until users carry policies of their own, every user of an account may do
 * everything to what the account owns, and nothing to anything else. */
#include "authorize.h"

int
clc_authorize(const struct request *rq, const char *owner, struct err *e)
{
	if (!owner || strings_equal(owner, rq->account_id))
		return 0;
	return err_set(
	    e, ERR_UNAUTHORIZED_OPERATION, "You are not authorized to perform this operation.");
}
