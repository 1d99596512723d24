/* From bytes to a typed call and back. A request is authenticated over its raw bytes, decoded by
 * its operation's table, decided by clc_authorize, run by its handler, and encoded by the same
 * table. Reply shapes: docs.aws.amazon.com, "Query requests" of EC2 and "Common errors" of STS. */
#include "front.h"

#include <stdio.h>

#include "auth/sigv2.h"
#include "auth/sigv4.h"
#include "base/clock.h"
#include "clc/ec2.api.h"
#include "clc/sts.api.h"
#include "net/url.h"
#include "rpc/clc.api.h"
#include "run/metrics.h"
#include "store/outbox.h"

#include "account.h"
#include "answer_log.h"
#include "authorize.h"
#include "filter.h"
#include "join.h"
#include "request.h"

#include "clc/ec2.handlers.h"
#include "clc/sts.handlers.h"

#define FIELDS_MAX 4096

enum protocol { PROTOCOL_EC2, PROTOCOL_QUERY };

static const struct api {
	const struct service *service;
	enum protocol protocol;
	const char *name;      /* as Amazon's messages have it */
	const char *namespace; /* %s: the version asked for */
	const char *scope;     /* in SigV4's credential scope */
	const char *paths[5];
} apis[] = {
	{ &ec2_served, PROTOCOL_EC2, "AmazonEC2", "http://ec2.amazonaws.com/doc/%s/", "ec2",
	    { "/services/compute", "/services/Eucalyptus", "/services/ec2", NULL } },
	{ &sts_served, PROTOCOL_QUERY, "AWSSecurityTokenService",
	    "https://sts.amazonaws.com/doc/%s/", "sts",
	    { "/services/Tokens", "/services/sts", NULL } },
};

/* Parameters of the request itself, not of an action. */
static const char *const common_parameters[] = { "Action", "Version", "AWSAccessKeyId", "Signature",
	"SignatureVersion", "SignatureMethod", "Timestamp", "Expires", "SecurityToken",
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
	"X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Content-Sha256", NULL };

/* -- errors -- */

static void
write_namespace(struct xml_writer *w, const struct api *api, const char *version)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	const char *hole = strstr(api->namespace, "%s");

	strbuf_add(&text, api->namespace, hole - api->namespace);
	strbuf_adds(&text, version);
	strbuf_adds(&text, hole + 2);
	xml_attribute(w, "xmlns", strbuf_c(&text));
}

static void
write_error(struct http_call *call, const struct api *api, int status, const char *code,
    const char *message)
{
	struct xml_writer w;

	call->status = status;
	strbuf_reset(&call->reply);
	xml_writer_init(&w, &call->reply, false);
	xml_declaration(&w);
	if (api && api->protocol == PROTOCOL_QUERY) {
		xml_open(&w, "ErrorResponse");
		write_namespace(&w, api, api->service->last_version);
		xml_open(&w, "Error");
		xml_element(&w, "Type", status < 500 ? "Sender" : "Receiver");
	} else {
		xml_open(&w, "Response");
		xml_open(&w, "Errors");
		xml_open(&w, "Error");
	}
	xml_element(&w, "Code", code);
	xml_element(&w, "Message", message);
	xml_close(&w, "Error");
	if (api && api->protocol == PROTOCOL_QUERY) {
		xml_element(&w, "RequestId", call->request_id);
		xml_close(&w, "ErrorResponse");
		return;
	}
	xml_close(&w, "Errors");
	xml_element(&w, "RequestID", call->request_id);
	xml_close(&w, "Response");
}

/* What Amazon says for these, word by word: scripts look for it. Which of the reasons it was is for
 * our log. */
static const struct {
	int code;
	const char *message;
} wordings[] = {
	{ ERR_AUTH_FAILURE, "AWS was not able to validate the provided access credentials" },
	{ ERR_INVALID_CLIENT_TOKEN_ID, "The security token included in the request is invalid." },
	{ ERR_REQUEST_EXPIRED, "Request has expired." },
	{ ERR_INTERNAL, "An internal error has occurred" },
	{ ERR_IO, "An internal error has occurred" },
	{ ERR_CORRUPT, "An internal error has occurred" },
};

static void
reply_error(
    struct http_call *call, const struct api *api, const struct log *log, const struct err *e)
{
	int status = fault_status(e->code);
	const char *message = e->text;

	if (status >= 500)
		log_warn(log, "request.failed", "status=%d error=%s message=\"%s\" at=%s:%d",
		    status, fault_name(e->code), e->text, e->file, e->line);
	else
		log_debug(log, "request.refused", "status=%d error=%s message=\"%s\"", status,
		    fault_name(e->code), e->text);
	for (size_t i = 0; i < ARRAY_SIZE(wordings); i++)
		if (wordings[i].code == e->code)
			message = wordings[i].message;
	write_error(call, api, status, fault_code(e->code), message);
}

void
clc_front_refuse(struct http_call *call, int status, const char *message)
{
	call->content_type = "text/xml;charset=UTF-8";
	write_error(call, NULL, status,
	    status == 503   ? "RequestLimitExceeded"
	    : status == 413 ? "RequestEntityTooLarge"
			    : "InvalidRequest",
	    message);
	answer_log_add(&(struct answer){ .request_id = call->request_id,
	    .source_address = call->peer.address,
	    .status = status,
	    .body = strbuf_str(&call->reply) });
}

/* -- which service -- */

static struct str
path_without_slash(struct str path)
{
	while (path.n > 1 && path.p[path.n - 1] == '/')
		path.n--;
	return path;
}

static const struct api *
api_by_path(struct str path)
{
	for (size_t i = 0; i < ARRAY_SIZE(apis); i++)
		for (const char *const *p = apis[i].paths; *p; p++)
			if (str_is(path, *p))
				return &apis[i];
	return NULL;
}

/* "AKID/20150830/us-east-1/sts/aws4_request": the fourth part. */
static const struct api *
api_by_scope(const struct http_head *head, const struct form *form)
{
	struct str authorization = http_head_find(head, "Authorization"), part = { 0 };
	const char *credential = form_find(form, "X-Amz-Credential");
	struct str rest = credential ? str_of(credential) : authorization;

	for (unsigned i = 0; i < 4; i++)
		if (!rest.p || !str_split(&rest, '/', &part))
			return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(apis); i++)
		if (str_is(part, apis[i].scope))
			return &apis[i];
	return NULL;
}

/* "2016-11-15", and no text that merely sorts between two of these */
static bool
is_date(const char *text)
{
	static const char form[] = "0000-00-00";

	for (size_t i = 0; i < sizeof(form); i++)
		if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	return true;
}

static bool
api_speaks(const struct api *api, const char *version)
{
	return version && is_date(version) && strcmp(version, api->service->first_version) >= 0 &&
	       strcmp(version, api->service->last_version) <= 0;
}

static const struct api *
api_by_action(const struct form *form)
{
	const char *action = form_find(form, "Action"), *version = form_find(form, "Version");

	for (size_t i = 0; action && i < ARRAY_SIZE(apis); i++)
		if (service_find(apis[i].service, action) && api_speaks(&apis[i], version))
			return &apis[i];
	return NULL;
}

static const struct api *
choose_api(const struct http_head *head, struct str path, const struct form *form)
{
	const struct api *api = api_by_path(path);

	if (api)
		return api;
	if (!str_is(path, "/") && !str_is(path, "/services"))
		return NULL;
	api = api_by_scope(head, form);
	if (!api)
		api = api_by_action(form);
	return api ? api : &apis[0];
}

/* -- who -- */

static int
authenticate(struct clc *clc, const struct api *api, struct http_call *call, struct str form_body,
    struct auth_key *ret_key, struct err *e)
{
	/* Services of IAM's family have error codes of their own. */
	enum auth_service service = api->protocol == PROTOCOL_EC2 ? AUTH_QUERY : AUTH_IAM;
	const struct http_head *head = call->head;
	struct auth_request arq = { .method = head->method,
		.path = head->path,
		.query = head->query,
		.host = head->host,
		.headers = (const void *)head->headers,
		.header_count = head->header_count,
		.body = form_body };
	int64_t now = clock_now_us();
	struct sigv4_result v4;
	int r;

	if (sigv4_is_present(&arq)) {
		r = sigv4_verify(clc->sigv4, service, &arq, now, &v4, e);
		if (r < 0)
			return r;
		*ret_key = v4.key;
		return 0;
	}
	if (sigv2_is_present(service, &arq))
		return sigv2_verify(clc_account_key, clc, service, &arq, NULL, now, ret_key, e);
	return err_set(
	    e, ERR_MISSING_AUTHENTICATION_TOKEN, "Request is missing Authentication Token");
}

/* -- the call -- */

/* Parameters that mean the same for all actions that have them: DryRun and filters. */
static const void *
find_input(const struct operation *operation, const void *in, const char *name)
{
	const struct shape *shape = operation->in;

	for (unsigned i = 0; i < shape->field_count; i++)
		if (strcmp(shape->fields[i].name, name) == 0)
			return (const char *)in + shape->fields[i].offset;
	return NULL;
}

static bool
is_dry_run(const struct operation *operation, const void *in)
{
	const bool *given = find_input(operation, in, "dry_run");

	return given && *given;
}

static int
check_filters(const struct operation *operation, const void *in, struct err *e)
{
	const struct {
		struct filter *items;
		size_t count;
	} *list = operation->filters ? find_input(operation, in, "filters") : NULL;

	return list ? filters_check(operation, list->items, list->count, e) : 0;
}

static void
write_reply(
    struct http_call *call, const struct api *api, const struct request *rq, const void *out)
{
	_cleanup_free_ char *response = xasprintf("%sResponse", rq->operation->name);
	_cleanup_free_ char *result = xasprintf("%sResult", rq->operation->name);
	struct xml_writer w;

	xml_writer_init(&w, &call->reply, false);
	xml_declaration(&w);
	xml_open(&w, response);
	write_namespace(&w, api, rq->version);
	if (api->protocol == PROTOCOL_EC2) {
		xml_element(&w, "requestId", rq->id);
		codec_to_xml(rq->operation->out, out, &w);
	} else {
		xml_open(&w, result);
		codec_to_xml(rq->operation->out, out, &w);
		xml_close(&w, result);
		xml_open(&w, "ResponseMetadata");
		xml_element(&w, "RequestId", rq->id);
		xml_close(&w, "ResponseMetadata");
	}
	xml_close(&w, response);
}

/* EC2 and the services of IAM's family word the same mistakes differently. */
static int
find_operation(const struct api *api, const struct form *form, struct request *rq, struct err *e)
{
	const char *action = form_find(form, "Action"), *version = form_find(form, "Version");

	rq->service = api->service;
	rq->version = version;
	rq->operation = action ? service_find(api->service, action) : NULL;
	if (api->protocol == PROTOCOL_QUERY) {
		if (!action)
			return err_set(e, ERR_MISSING_ACTION,
			    "The request is missing an action or a required parameter");
		if (!rq->operation || !api_speaks(api, version))
			return err_set(e, ERR_INVALID_ACTION,
			    "Could not find operation %.100s for version %.50s", action,
			    version ? version : "NO_VERSION_SPECIFIED");
		return 0;
	}
	if (!action)
		return err_set(
		    e, ERR_MISSING_PARAMETER, "The request must contain the parameter Action");
	if (!version)
		return err_set(
		    e, ERR_MISSING_PARAMETER, "The request must contain the parameter Version");
	if (!api_speaks(api, version))
		return err_set(e, ERR_NO_SUCH_VERSION,
		    "The requested version (%.50s) of service %s does not exist", version,
		    api->name);
	if (!rq->operation)
		return err_set(e, ERR_INVALID_ACTION,
		    "The action %.100s is not valid for this web service.", action);
	return 0;
}

/* Who was refused what is on record. Other failed calls changed nothing and are not: a record is a
 * durable write, which nobody's mistakes (or attacks) are to cost. */
struct refusal {
	const struct request *rq;
	int code;
};

static int
record_refusal(struct store_tx *tx, void *arg, struct err *e)
{
	const struct refusal *refusal = arg;
	const struct request *rq = refusal->rq;
	struct audit_record record = { .request_id = rq->id,
		.account_id = rq->account_id,
		.user_name = rq->user_name,
		.source_address = rq->source_address,
		.user_agent = rq->user_agent,
		.service = rq->service->name,
		.action = rq->operation->name,
		.parameters = rq->parameters,
		.error_code = fault_code(refusal->code) };

	return audit_add(tx, &record, e);
}

static int
run(struct request *rq, const struct form *form, const void **ret_out, struct err *e)
{
	const struct operation *op = rq->operation;
	void *in = arena_alloc(rq->arena, op->in->size);
	void *out = arena_alloc(rq->arena, op->out->size);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r;

	r = codec_from_query(op->in, form, common_parameters, rq->arena, in, e);
	if (r == 0)
		r = check_filters(op, in, e);
	if (r < 0)
		return r;
	codec_to_log(op->in, in, &text);
	rq->parameters = arena_strdup(rq->arena, strbuf_c(&text));
	r = clc_authorize(rq, NULL, e);
	if (r < 0)
		return r;
	if (is_dry_run(op, in))
		return err_set(e, ERR_DRY_RUN_OPERATION,
		    "Request would have succeeded, but DryRun flag is set.");
	r = op->handler(rq, in, out, e);
	if (r == ERR_UNAUTHORIZED_OPERATION || r == ERR_IMAGE_NOT_AUTHORIZED) {
		struct refusal refusal = { rq, r };
		struct err unwritten = { 0 };

		if (store_write(rq->clc->store, record_refusal, &refusal, &unwritten) < 0)
			log_warn(&rq->log, "audit.failed", "reason=\"%s\"", unwritten.text);
	}
	if (r < 0)
		return r;
	*ret_out = out;
	return 0;
}

static bool
is_form_type(struct str type)
{
	struct str rest = type, name;

	(void)str_split(&rest, ';', &name);
	return str_is_nocase(str_trim(name), "application/x-www-form-urlencoded");
}

static int
parse_forms(struct http_call *call, struct form *form, struct str *ret_body, struct err *e)
{
	struct str type = http_head_find(call->head, "Content-Type");
	int r = form_parse(call->head->query, FIELDS_MAX, call->arena, form, e);

	if (r == ERR_LIMIT)
		return err_set(
		    e, ERR_MALFORMED_QUERY_STRING, "The query string has too many parameters");
	if (r < 0 || !str_is(call->head->method, "POST"))
		return r;
	*ret_body = call->body;
	if (type.n && !is_form_type(type))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE,
		    "The content type '%.*s' is not supported", (int)(type.n > 100 ? 100 : type.n),
		    type.p);
	r = form_parse(call->body, FIELDS_MAX, call->arena, form, e);
	return r == ERR_LIMIT ? err_set(e, ERR_MALFORMED_QUERY_STRING,
				    "The request has more than %d parameters", FIELDS_MAX)
			      : r;
}

/* Names of actions come from our tables: what a client made up is "unknown". */
static void
count_request(const struct request *rq, int status, uint64_t us)
{
	const char *action = rq->operation ? rq->operation->name : "unknown";
	char labels[96];

	snprintf(labels, sizeof(labels), "action=\"%.60s\",class=\"%dxx\"", action, status / 100);
	metric_add(
	    metric_counter("mallee_clc_requests_total", labels, "Requests of users answered."), 1);
	snprintf(labels, sizeof(labels), "action=\"%.60s\"", action);
	metric_observe(metric_histogram("mallee_clc_request_seconds", labels,
			   "From a whole request to its answer."),
	    (double)us / 1e6);
}

/* `rq` knows as much of the request as was found out. */
static void
record_answer(
    const struct http_call *call, const struct api *api, const struct request *rq, bool is_good)
{
	answer_log_add(&(struct answer){ .request_id = call->request_id,
	    .source_address = rq->source_address,
	    .user_agent = rq->user_agent,
	    .account_id = rq->account_id,
	    .service = api ? api->service->name : NULL,
	    .action = rq->operation ? rq->operation->name : NULL,
	    .version = rq->version,
	    .parameters = rq->parameters,
	    .status = call->status,
	    .body = strbuf_str(&call->reply),
	    .shape = is_good ? rq->operation->out : NULL });
}

static void
serve_query(struct clc *clc, struct http_call *call, struct str path)
{
	struct request rq = { .clc = clc,
		.log = *clc->log,
		.arena = call->arena,
		.id = call->request_id,
		.source_address = call->peer.address };
	struct str agent = http_head_find(call->head, "User-Agent"), body = { 0 };
	uint64_t started = clock_monotonic_us(), us;
	struct form form = { 0 };
	const struct api *api = NULL;
	const void *out = NULL;
	struct auth_key key;
	struct err e = { 0 };
	int r;

	rq.log.request_id = rq.id;
	rq.user_agent = arena_str(call->arena, agent);
	r = parse_forms(call, &form, &body, &e);
	if (r == 0) {
		api = choose_api(call->head, path, &form);
		r = api ? 0 : err_set(&e, ERR_NOT_FOUND, "there is no service at this path");
	}
	if (r == 0)
		r = authenticate(clc, api, call, body, &key, &e);
	if (r == 0) {
		rq.account_id = rq.log.account_id = key.account_id;
		rq.user_id = key.user_id;
		rq.user_name = key.user_name;
		rq.access_key_id = key.access_key_id;
		r = find_operation(api, &form, &rq, &e);
	}
	if (r == 0)
		r = run(&rq, &form, &out, &e);
	if (r < 0)
		reply_error(call, api, &rq.log, &e);
	else
		write_reply(call, api, &rq, out);
	record_answer(call, api, &rq, r == 0);
	us = clock_monotonic_us() - started;
	count_request(&rq, call->status, us);
	log_debug(&rq.log, "request.done", "action=%s status=%d us=%llu",
	    rq.operation ? rq.operation->name : "-", call->status, (unsigned long long)us);
}

void
clc_front(struct http_call *call, void *arg)
{
	struct clc *clc = arg;
	struct str path = path_without_slash(call->head->path);

	if (str_is(path, "/services/internal") && !call->peer.is_tls) {
		call->status = 403;
		call->content_type = "text/plain;charset=UTF-8";
		strbuf_adds(&call->reply,
		    "this service is for the cloud's daemons: it needs TLS with a "
		    "certificate of this cloud\n");
	} else if (str_is(path, "/services/internal")) {
		rpc_handle(clc->rpc, clc_internal_service(), clc, call);
	} else if (str_is(path, "/join") || str_starts(path, "/join/")) {
		clc_join(clc, path, call);
	} else if (!str_is(call->head->method, "GET") && !str_is(call->head->method, "POST")) {
		write_error(call, NULL, 405, "MethodNotAllowed",
		    "GET and POST are what this service answers");
		record_answer(
		    call, NULL, &(struct request){ .source_address = call->peer.address }, false);
	} else {
		serve_query(clc, call, path);
	}
}
