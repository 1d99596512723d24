/* A reply of a bucket with rules depends on the Origin of its request, also where there is none: so
 * every such reply says Vary, and a cache never gives one origin what was meant for another. */
#include <ctype.h>

#include "bucket.h"
#include "cors.h"
#include "request.h"

#define VARY "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"

static void
reply_list(struct request *rq, const char *name, const char *const *list)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	for (; *list; list++) {
		if (text.n)
			strbuf_adds(&text, ", ");
		strbuf_adds(&text, *list);
	}
	if (text.n)
		reply_header(rq, name, arena_str(rq->arena, strbuf_str(&text)));
}

static void
reply_rule(struct request *rq, const struct cors_rule *rule, const char *pattern, struct str origin)
{
	bool is_any = strcmp(pattern, "*") == 0;

	reply_header(
	    rq, "Access-Control-Allow-Origin", is_any ? "*" : arena_str(rq->arena, origin));
	reply_list(rq, "Access-Control-Allow-Methods", (const char *const *)rule->methods);
	reply_list(rq, "Access-Control-Expose-Headers", (const char *const *)rule->exposed);
	if (rule->max_age >= 0)
		reply_headerf(rq, "Access-Control-Max-Age", "%lld", (long long)rule->max_age);
	if (!is_any)
		reply_header(rq, "Access-Control-Allow-Credentials", "true");
}

static const struct cors *
rules_of(struct request *rq)
{
	struct err e;

	/* A request that failed early has not looked at its bucket: its page may read the error as
	 * well. */
	if (!rq->bucket && rq->target.bucket && request_header(rq, "origin").p)
		(void)bucket_get(rq->walrus, rq->target.bucket, &rq->bucket, &e);
	return rq->bucket ? rq->bucket->settings[SETTING_CORS] : NULL;
}

void
cors_reply(struct request *rq)
{
	const struct cors *cors = rules_of(rq);
	struct str origin = request_header(rq, "origin");
	const struct cors_rule *rule;
	const char *pattern;

	if (!cors || str_is(rq->head->method, "OPTIONS"))
		return;
	reply_header(rq, "Vary", VARY);
	rule = origin.n
		   ? cors_find(cors, origin, rq->head->method, (struct str){ NULL, 0 }, &pattern)
		   : NULL;
	if (rule)
		reply_rule(rq, rule, pattern, origin);
}

int
cors_preflight(struct request *rq, struct err *e)
{
	struct str origin = request_header(rq, "origin"),
		   method = request_header(rq, "access-control-request-method"),
		   headers = request_header(rq, "access-control-request-headers");
	const struct cors *cors = rules_of(rq);
	const struct cors_rule *rule;
	const char *pattern, *wanted = method.n ? arena_str(rq->arena, method) : "null";

	if (!origin.n)
		return err_set(
		    e, ERR_BAD_REQUEST, "Insufficient information. Origin request header needed.");
	if (cors_check_method(wanted, e) < 0)
		return err_set(
		    e, ERR_BAD_REQUEST, "Invalid Access-Control-Request-Method: %.64s", wanted);
	if (!rq->bucket)
		return err_set(e, ERR_CORS_FORBIDDEN, "CORSResponse: Bucket not found");
	if (!cors)
		return err_set(
		    e, ERR_CORS_FORBIDDEN, "CORSResponse: CORS is not enabled for this bucket.");
	rq->keeps_headers = true;
	reply_header(rq, "Vary", VARY);
	rule = cors_find(cors, origin, method, headers, &pattern);
	if (!rule)
		return err_set(e, ERR_CORS_FORBIDDEN,
		    "CORSResponse: This CORS request is not allowed. This is usually because the "
		    "evalution of Origin, request method / Access-Control-Request-Method or "
		    "Access-Control-Request-Headers are not whitelisted by the resource's CORS "
		    "spec.");
	reply_rule(rq, rule, pattern, origin);
	if (headers.n) {
		char *lower = arena_str(rq->arena, headers);

		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		reply_header(rq, "Access-Control-Allow-Headers", lower);
	}
	return 0;
}
