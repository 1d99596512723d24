/* From bytes to a typed call and back. A request is authenticated over its raw bytes, decoded by its
 * operation's table, decided by clc_authorize, run by its handler, and encoded by the same table.
 * Reply shapes: docs.aws.amazon.com, "Query requests" of EC2 and "Common errors" of STS. */
#include "front.h"

#include "auth/sigv2.h"
#include "auth/sigv4.h"
#include "base/clock.h"
#include "clc/ec2.api.h"
#include "clc/sts.api.h"
#include "net/url.h"
#include "rpc/clc.api.h"

#include "account.h"
#include "authorize.h"
#include "join.h"
#include "request.h"

#include "clc/ec2.handlers.h"
#include "clc/sts.handlers.h"

#define FIELDS_MAX 4096

enum protocol { PROTOCOL_EC2, PROTOCOL_QUERY };

static const struct api {
	const struct service *service;
	enum protocol protocol;
	const char *namespace; /* %s: the version asked for */
	const char *scope;     /* in SigV4's credential scope */
	const char *paths[5];
} apis[] = {
	{ &ec2_served, PROTOCOL_EC2, "http://ec2.amazonaws.com/doc/%s/", "ec2",
	    { "/services/compute", "/services/Eucalyptus", "/services/ec2", NULL } },
	{ &sts_served, PROTOCOL_QUERY, "https://sts.amazonaws.com/doc/%s/", "sts",
	    { "/services/Tokens", "/services/sts", NULL } },
};

/* Parameters of the request itself, not of an action. */
static const char *const common_parameters[] = { "Action", "Version", "AWSAccessKeyId", "Signature",
	"SignatureVersion", "SignatureMethod", "Timestamp", "Expires", "SecurityToken",
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
	"X-Amz-Signature", "X-Amz-Security-Token", "X-Amz-Content-Sha256", NULL };

/* -- errors -- */

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

static void
reply_error(struct http_call *call, const struct api *api, const struct log *log, const struct err *e)
{
	int status = fault_status(e->code);

	if (status >= 500)
		log_warn(log, "request.failed", "status=%d error=%s message=\"%s\" at=%s:%d", status,
		    fault_name(e->code), e->text, e->file, e->line);
	/* What went wrong inside is for our log: the customer is told that it was us. */
	write_error(call, api, status, fault_code(e->code),
	    e->code == ERR_INTERNAL || e->code == ERR_IO || e->code == ERR_CORRUPT ?
		"An internal error has occurred" :
		e->text);
}

void
clc_front_refuse(struct http_call *call, int status, const char *message)
{
	call->content_type = "text/xml;charset=UTF-8";
	write_error(call, NULL, status,
	    status == 503 ? "RequestLimitExceeded" :
	    status == 413 ? "RequestEntityTooLarge" :
			    "InvalidRequest",
	    message);
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

static bool
api_speaks(const struct api *api, const char *version)
{
	return version && strcmp(version, api->service->first_version) >= 0 &&
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
	return err_set(e, ERR_MISSING_AUTHENTICATION_TOKEN, "Request is missing Authentication Token");
}

/* -- the call -- */

/* DryRun is a parameter of most actions and means the same for all. */
static bool
is_dry_run(const struct operation *operation, const void *in)
{
	const struct shape *shape = operation->in;

	for (unsigned i = 0; shape && i < shape->field_count; i++)
		if (strcmp(shape->fields[i].name, "dry_run") == 0)
			return *(const bool *)((const char *)in + shape->fields[i].offset);
	return false;
}

static void
write_reply(struct http_call *call, const struct api *api, const struct request *rq, const void *out)
{
	_cleanup_free_ char *response = xasprintf("%sResponse", rq->operation->name);
	_cleanup_free_ char *result = xasprintf("%sResult", rq->operation->name);
	_cleanup_strbuf_ struct strbuf namespace = STRBUF_INIT;
	const char *hole = strstr(api->namespace, "%s");
	struct xml_writer w;

	strbuf_add(&namespace, api->namespace, hole - api->namespace);
	strbuf_adds(&namespace, rq->version);
	strbuf_adds(&namespace, hole + 2);

	xml_writer_init(&w, &call->reply, false);
	xml_declaration(&w);
	xml_open(&w, response);
	xml_attribute(&w, "xmlns", strbuf_c(&namespace));
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

static int
find_operation(const struct api *api, const struct form *form, struct request *rq, struct err *e)
{
	const char *action = form_find(form, "Action"), *version = form_find(form, "Version");

	if (!action)
		return err_set(e, ERR_MISSING_PARAMETER, "The request must contain the parameter Action");
	if (!version)
		return err_set(e, ERR_MISSING_PARAMETER, "The request must contain the parameter Version");
	rq->service = api->service;
	rq->operation = service_find(api->service, action);
	rq->version = version;
	if (!rq->operation || !api_speaks(api, version))
		return err_set(e, ERR_INVALID_ACTION, "The action %.100s is not valid for this web service.",
		    action);
	return 0;
}

static int
run(struct request *rq, const struct form *form, const void **ret_out, struct err *e)
{
	const struct operation *op = rq->operation;
	void *in = arena_alloc(rq->arena, op->in ? op->in->size : 1);
	void *out = arena_alloc(rq->arena, op->out->size);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r;

	if (op->in) {
		r = codec_from_query(op->in, form, common_parameters, rq->arena, in, e);
		if (r < 0)
			return r;
		codec_to_log(op->in, in, &text);
	}
	rq->parameters = arena_strdup(rq->arena, strbuf_c(&text));
	r = clc_authorize(rq, NULL, e);
	if (r < 0)
		return r;
	if (is_dry_run(op, in))
		return err_set(e, ERR_DRY_RUN_OPERATION,
		    "Request would have succeeded, but DryRun flag is set.");
	r = op->handler(rq, in, out, e);
	if (r < 0)
		return r;
	*ret_out = out;
	return 0;
}

static int
parse_forms(struct http_call *call, struct form *form, struct str *ret_body, struct err *e)
{
	struct str type = http_head_find(call->head, "Content-Type");
	int r = form_parse(call->head->query, FIELDS_MAX, call->arena, form, e);

	if (r < 0 || !str_is(call->head->method, "POST"))
		return r;
	*ret_body = call->body;
	if (type.n && !str_starts(type, "application/x-www-form-urlencoded"))
		return err_set(e, ERR_INVALID_PARAMETER_VALUE, "The content type '%.*s' is not supported",
		    (int)(type.n > 100 ? 100 : type.n), type.p);
	return form_parse(call->body, FIELDS_MAX, call->arena, form, e);
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
	uint64_t started = clock_monotonic_us();
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
	log_debug(&rq.log, "request.done", "action=%s status=%d us=%llu",
	    rq.operation ? rq.operation->name : "-", call->status,
	    (unsigned long long)(clock_monotonic_us() - started));
}

void
clc_front(struct http_call *call, void *arg)
{
	struct clc *clc = arg;
	struct str path = path_without_slash(call->head->path);

	if (str_is(path, "/services/internal")) {
		rpc_handle(clc->rpc, clc_internal_service(), clc, call);
	} else if (str_is(path, "/join") || str_starts(path, "/join/")) {
		clc_join(clc, path, call);
	} else if (!str_is(call->head->method, "GET") && !str_is(call->head->method, "POST")) {
		write_error(call, NULL, 405, "MethodNotAllowed", "GET and POST are what this service answers");
	} else {
		serve_query(clc, call, path);
	}
}
