/* One table says which elements an error has that follow from the request; what only the place knew
 * where it failed (a digest, a size) comes before them from rq->details. Shapes: S3 API reference,
 * "REST error responses", and the replies of the service itself. */
#include "error.h"

#include "cors.h"
#include "logging.h"
#include "request.h"
#include "website.h"

/* -- what other layers say in their own words, in S3's -- */

static const struct {
	int code, s3;
} translations[] = {
	{ ERR_LIMIT, ERR_SLOW_DOWN },
	{ ERR_CONFLICT, ERR_SLOW_DOWN },
	{ ERR_TIMEOUT, ERR_SERVICE_UNAVAILABLE },
	{ ERR_UNAVAILABLE, ERR_SERVICE_UNAVAILABLE },
	{ ERR_CANCELLED, ERR_SERVICE_UNAVAILABLE },
	{ ERR_STALE, ERR_SERVICE_UNAVAILABLE },
	{ ERR_INVALID, ERR_INVALID_ARGUMENT },
	{ ERR_MALFORMED_QUERY_STRING, ERR_INVALID_URI },
	{ ERR_DENIED, ERR_ACCESS_DENIED },
	{ ERR_INTERNAL, ERR_S3_INTERNAL },
	{ ERR_IO, ERR_S3_INTERNAL },
	{ ERR_CORRUPT, ERR_S3_INTERNAL },
	{ ERR_NOT_FOUND, ERR_S3_INTERNAL },
	{ ERR_EXISTS, ERR_S3_INTERNAL },
};

static int
s3_code(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(translations); i++)
		if (translations[i].code == code)
			return translations[i].s3;
	return code;
}

/* Where the text that a layer wrote is for the log alone. */
static const struct {
	int code;
	const char *message;
} messages[] = {
	{ ERR_S3_INTERNAL, "We encountered an internal error. Please try again." },
	{ ERR_SLOW_DOWN, "Please reduce your request rate." },
	{ ERR_SERVICE_UNAVAILABLE, "Service is unable to handle request." },
	{ ERR_NO_SPACE, "There is not enough space left to store what you sent." },
};

static const char *
message(int code, const struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
		if (messages[i].code == code)
			return messages[i].message;
	return e->text;
}

/* -- elements that follow from the request -- */

static struct str
bucket_of(const struct request *rq)
{
	return rq->target.bucket ? str_of(rq->target.bucket) : (struct str){ NULL, 0 };
}

static struct str
key_of(const struct request *rq)
{
	return rq->target.key;
}

static struct str
parameter_of(const struct request *rq, const char *name)
{
	const char *value = request_parameter(rq, name);

	return value ? str_of(value) : (struct str){ NULL, 0 };
}

static struct str
version_of(const struct request *rq)
{
	return parameter_of(rq, "versionId");
}

static struct str
upload_of(const struct request *rq)
{
	return parameter_of(rq, "uploadId");
}

static struct str
method_of(const struct request *rq)
{
	return rq->head->method;
}

static struct str
type_of(const struct request *rq)
{
	static const char *const types[] = {
		[TARGET_SERVICE] = "SERVICE", [TARGET_BUCKET] = "BUCKET", [TARGET_OBJECT] = "OBJECT"
	};

	return str_of(types[rq->target.level]);
}

static struct str
target_of(const struct request *rq)
{
	return rq->head->target;
}

static struct str
range_of(const struct request *rq)
{
	return request_header(rq, "range");
}

static struct str
md5_of(const struct request *rq)
{
	return request_header(rq, "content-md5");
}

static struct str
preflight_method_of(const struct request *rq)
{
	return request_header(rq, "access-control-request-method");
}

/* Of a write, which has one at most; that of a source is another. */
static struct str
condition_of(const struct request *rq)
{
	if (request_header(rq, "x-amz-copy-source").p)
		return (struct str){ NULL, 0 };
	if (request_header(rq, "if-match").p)
		return STR("If-Match");
	return request_header(rq, "if-none-match").p ? STR("If-None-Match")
						     : (struct str){ NULL, 0 };
}

static const struct {
	int code;
	const char *name;
	struct str (*value)(const struct request *rq); /* p NULL: it has none */
} elements[] = {
	{ ERR_BUCKET_NOT_FOUND, "BucketName", bucket_of },
	{ ERR_BUCKET_NAME, "BucketName", bucket_of },
	{ ERR_BUCKET_NOT_EMPTY, "BucketName", bucket_of },
	{ ERR_BUCKET_EXISTS, "BucketName", bucket_of },
	{ ERR_BUCKET_OWNED_BY_YOU, "BucketName", bucket_of },
	{ ERR_REPLICATION_NOT_FOUND, "BucketName", bucket_of },
	{ ERR_CONFIGURATION_NOT_FOUND, "BucketName", bucket_of },
	{ ERR_KEY_NOT_FOUND, "Key", key_of },
	{ ERR_VERSION_NOT_FOUND, "Key", key_of },
	{ ERR_VERSION_NOT_FOUND, "VersionId", version_of },
	{ ERR_UPLOAD_NOT_FOUND, "UploadId", upload_of },
	{ ERR_INVALID_PART, "UploadId", upload_of },
	{ ERR_INVALID_PART_ORDER, "UploadId", upload_of },
	{ ERR_METHOD_NOT_ALLOWED, "Method", method_of },
	{ ERR_METHOD_NOT_ALLOWED, "ResourceType", type_of },
	{ ERR_CORS_FORBIDDEN, "Method", preflight_method_of },
	{ ERR_CORS_FORBIDDEN, "ResourceType", type_of },
	{ ERR_INVALID_URI, "URI", target_of },
	{ ERR_INVALID_RANGE, "RangeRequested", range_of },
	{ ERR_INVALID_DIGEST, "Content-MD5", md5_of },
	{ ERR_PRECONDITION_FAILED, "Condition", condition_of },
};

static void
write_element(struct xml_writer *w, const char *name, struct str value)
{
	xml_open(w, name);
	xml_text(w, value);
	xml_close(w, name);
}

static void
write_elements(const struct request *rq, int code, struct xml_writer *w)
{
	for (unsigned i = 0; i < rq->details.count; i++)
		write_element(w, rq->details.items[i].name, rq->details.items[i].value);
	for (size_t i = 0; i < ARRAY_SIZE(elements); i++) {
		struct str value;

		if (elements[i].code != code || err_detail_find(&rq->details, elements[i].name))
			continue;
		value = elements[i].value(rq);
		if (value.p)
			write_element(w, elements[i].name, value);
	}
}

static void
write_error(struct request *rq, int code, const struct err *e)
{
	struct xml_writer *w = &rq->xml;

	xml_writer_init(w, &rq->reply, false);
	xml_declaration(w);
	xml_open(w, "Error");
	xml_element(w, "Code", fault_code(code));
	xml_element(w, "Message", message(code, e));
	write_elements(rq, code, w);
	write_element(w, "Resource", rq->head->path);
	xml_element(w, "RequestId", rq->id);
	xml_element(w, "HostId", rpc_self(rq->walrus->rpc));
	xml_close(w, "Error");
}

/* -- the reply -- */

/* RFC 9110 15.5.6: what could have been asked of this instead. */
static void
reply_allow(struct request *rq)
{
	_cleanup_strbuf_ struct strbuf methods = STRBUF_INIT;

	for (unsigned i = 0; i < s3_operation_count; i++) {
		const struct s3_operation *o = &s3_operations[i];

		if (o->level != rq->target.level ||
		    !strings_equal(o->parameter, rq->sub_resource) ||
		    (methods.n && http_list_has(strbuf_str(&methods), o->method)))
			continue;
		strbuf_addf(&methods, "%s%s", methods.n ? ", " : "", o->method);
	}
	reply_header(rq, "Allow", arena_str(rq->arena, strbuf_str(&methods)));
}

static void
log_it(const struct request *rq, int code, const struct err *e)
{
	const char *operation = rq->operation ? rq->operation->name : "unknown";

	if (rq->status >= 500)
		log_warn(&rq->log, "s3.failed",
		    "operation=%s status=%d error=%s message=\"%s\" at=%s:%d", operation,
		    rq->status, fault_name(e->code), e->text, e->file ? e->file : "", e->line);
	else
		log_debug(&rq->log, "s3.refused", "operation=%s status=%d code=%s message=\"%s\"",
		    operation, rq->status, fault_code(code), e->text);
}

void
error_reply(struct request *rq, const struct err *e)
{
	int code = s3_code(e->code);

	rq->status = fault_status(code);
	if (!rq->keeps_headers)
		rq->headers.count = 0;
	strbuf_reset(&rq->reply);
	content_reader_free(TAKE(rq->content));
	rq->has_length = false;
	log_it(rq, code, e);
	if (code == ERR_METHOD_NOT_ALLOWED && !rq->keeps_headers)
		reply_allow(rq);
	rq->facts.error_code = fault_code(code);
	logging_find_bucket(rq);
	cors_reply(rq);
	if (rq->is_website) {
		website_fail(rq, code, message(code, e));
		return;
	}
	/* Also of a HEAD, whose reply has no body: it is what GET would have said. */
	if (rq->status != 304)
		reply_header(rq, "Content-Type", "application/xml");
	if (rq->status != 304 && !request_is_head(rq))
		write_error(rq, code, e);
}
