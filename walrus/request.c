/* What operations ask of a request, and how they make its reply. Reply shapes: S3 API reference. */
#include "request.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "store/outbox.h"

static const struct xml_limits body_limits = { S3_XML_BODY_MAX, 64, 64, 50000 };

bool
request_is_head(const struct request *rq)
{
	return str_is(rq->head->method, "HEAD");
}

int
request_number(const struct request *rq, const char *name, uint32_t fallback, uint32_t max,
    uint32_t *ret, struct err *e)
{
	const char *text = request_parameter(rq, name);
	uint64_t n;

	*ret = fallback;
	if (!text || !*text)
		return 0;
	if (!str_to_u64(str_of(text), &n) || n > INT32_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "Provided %s not an integer or within integer range", name);
	*ret = n < max ? (uint32_t)n : max;
	return 0;
}

int
request_encoding(const struct request *rq, bool *ret_is_encoded, struct err *e)
{
	const char *type = request_parameter(rq, "encoding-type");

	*ret_is_encoded = type != NULL;
	if (type && strcasecmp(type, "url") != 0)
		return err_set(
		    e, ERR_INVALID_ARGUMENT, "Invalid Encoding Method specified in Request");
	return 0;
}

int
request_parse_xml(const struct request *rq, const char *root, xmlDoc **ret, struct err *e)
{
	xmlDoc *doc;
	struct err why;

	if (rq->body.n == 0)
		return err_set(e, ERR_MISSING_REQUEST_BODY, "Request Body is empty");
	if (xml_parse(strbuf_str(&rq->body), &body_limits, &doc, &why) < 0 ||
	    !xml_is(xmlDocGetRootElement(doc), NULL, root)) {
		if (why.code == 0)
			xml_doc_freep(&doc);
		return err_set(e, ERR_MALFORMED_XML,
		    "The XML you provided was not well-formed or did not validate against our "
		    "published schema");
	}
	*ret = doc;
	return 0;
}

int
request_record(struct store_tx *tx, const struct request *rq, const char *kind,
    const char *resource, struct err *e)
{
	struct audit_record record = { .request_id = rq->id,
		.account_id = rq->caller.account_id,
		.user_name = rq->caller.user_name,
		.source_address = rq->peer.address,
		.user_agent = arena_str(rq->arena, request_header(rq, "user-agent")),
		.service = "s3",
		.action = rq->operation->name,
		.resource = resource };
	int r = audit_add(tx, &record, e);

	return r < 0
		   ? r
		   : outbox_add(tx, kind, resource, rq->caller.account_id, rq->operation->name, e);
}

/* -- replies -- */

void
reply_header(struct request *rq, const char *name, const char *value)
{
	struct reply_header h = { name, value };

	vec_add(&rq->headers, h);
}

void
reply_headerf(struct request *rq, const char *name, const char *format, ...)
{
	_cleanup_free_ char *value = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&value, format, args) < 0)
		abort();
	va_end(args);
	reply_header(rq, name, arena_strdup(rq->arena, value));
}

struct xml_writer *
reply_xml(struct request *rq, const char *root)
{
	strbuf_reset(&rq->reply);
	xml_writer_init(&rq->xml, &rq->reply, false);
	xml_declaration(&rq->xml);
	xml_open(&rq->xml, root);
	xml_attribute(&rq->xml, "xmlns", "http://s3.amazonaws.com/doc/2006-03-01/");
	return &rq->xml;
}

void
reply_xml_end(struct request *rq, const char *root)
{
	xml_close(&rq->xml, root);
	reply_header(rq, "Content-Type", "application/xml");
}

void
xml_time(struct xml_writer *w, const char *name, int64_t us)
{
	char text[TIME_TEXT_SIZE];

	time_format_iso(us, text);
	xml_element(w, name, text);
}

void
xml_owner(struct request *rq, struct xml_writer *w, const char *name, const char *account_id)
{
	struct identity_owner owner;

	identity_owner(rq->walrus->identity, account_id, &owner);
	xml_open(w, name);
	xml_element(w, "ID", owner.canonical_id);
	xml_element(w, "DisplayName", owner.name);
	xml_close(w, name);
}

/* What XML 1.0 has no place for goes out as a reference all the same, as from Amazon: lenient
 * parsers give the key back. Who wants to be sure asks for encoding-type=url. */
static void
write_key(struct xml_writer *w, struct str key)
{
	size_t run = 0;

	for (size_t i = 0; i < key.n; i++) {
		unsigned char c = (unsigned char)key.p[i];
		char reference[8];
		int n;

		if (c >= 0x20 || c == '\t' || c == '\n' || c == '\r')
			continue;
		xml_text(w, (struct str){ key.p + run, i - run });
		n = snprintf(reference, sizeof(reference), "&#x%X;", c);
		xml_raw(w, (struct str){ reference, (size_t)n });
		run = i + 1;
	}
	xml_text(w, (struct str){ key.p + run, key.n - run });
}

void
xml_key(struct xml_writer *w, const char *name, struct str key, bool is_encoded)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	xml_open(w, name);
	if (is_encoded) {
		url_encode(&text, key, true);
		xml_text(w, strbuf_str(&text));
	} else {
		write_key(w, key);
	}
	xml_close(w, name);
}
