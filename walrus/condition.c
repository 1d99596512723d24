/* Conditions of reads are decided on the object that was opened, those of writes in the transaction
 * that changes the key: of two clients that both want to be first, one is. */
#include "condition.h"

#include "base/clock.h"

/* Quotes are forgotten by some. */
bool
condition_names_etag(struct str list, const char *etag)
{
	struct str part;

	while (str_split(&list, ',', &part)) {
		part = str_trim(part);
		if (str_starts(part, "W/"))
			part = (struct str){ part.p + 2, part.n - 2 };
		if (part.n >= 2 && part.p[0] == '"' && part.p[part.n - 1] == '"')
			part = (struct str){ part.p + 1, part.n - 2 };
		if (str_is(part, "*") || str_is(part, etag))
			return true;
	}
	return false;
}

/* RFC 9110 13.2.2. */
static int
evaluate(struct str match, struct str none_match, struct str unmodified, struct str modified,
    const struct object *o)
{
	int64_t since, at = o->modified_us / 1000000 * 1000000;

	if (match.p) {
		if (!condition_names_etag(match, o->etag))
			return 412;
	} else if (unmodified.p && time_parse_http(unmodified, &since) && at > since) {
		return 412;
	}
	if (none_match.p)
		return condition_names_etag(none_match, o->etag) ? 304 : 0;
	return modified.p && time_parse_http(modified, &since) && at <= since ? 304 : 0;
}

int
condition_of_read(const struct request *rq, const struct object *o)
{
	return evaluate(request_header(rq, "if-match"), request_header(rq, "if-none-match"),
	    request_header(rq, "if-unmodified-since"), request_header(rq, "if-modified-since"), o);
}

bool
condition_of_source(const struct request *rq, const struct object *o)
{
	return evaluate(request_header(rq, "x-amz-copy-source-if-match"),
		   request_header(rq, "x-amz-copy-source-if-none-match"),
		   request_header(rq, "x-amz-copy-source-if-unmodified-since"),
		   request_header(rq, "x-amz-copy-source-if-modified-since"), o) == 0;
}

bool
condition_wants_range(const struct request *rq, const struct object *o)
{
	struct str condition = request_header(rq, "if-range");
	int64_t since;

	if (!condition.p)
		return true;
	if (time_parse_http(condition, &since))
		return o->modified_us / 1000000 * 1000000 <= since;
	return condition_names_etag(condition, o->etag);
}

int
write_condition_read(const struct request *rq, struct write_condition *ret, struct err *e)
{
	struct str none = request_header(rq, "if-none-match");

	*ret = (struct write_condition){ .if_match = request_header(rq, "if-match") };
	if (!none.p)
		return 0;
	if (!str_is(str_trim(none), "*") || ret->if_match.p)
		return err_set(e, ERR_NOT_IMPLEMENTED,
		    "A header you provided implies functionality that is not implemented");
	ret->if_none = true;
	return 0;
}

int
write_condition_check(const struct write_condition *c, const struct object *current, struct err *e)
{
	bool is_there = current && !current->is_marker;

	if (c->if_match.p && !is_there)
		return err_set(e, ERR_KEY_NOT_FOUND, "The specified key does not exist.");
	if ((c->if_none && is_there) ||
	    (c->if_match.p && !condition_names_etag(c->if_match, current->etag)))
		return err_set(e, ERR_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	return 0;
}
