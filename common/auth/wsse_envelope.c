/* The shape of a signed envelope, byte for byte. Each signed part declares its own namespaces, so
 * that the bytes as written are its exclusive canonical form and signing needs no canonicaliser.
 * The verifier composes the envelope again from the values it read and compares it with what came:
 * there is exactly one way to write a message, and every other way to say the same is refused. */
#include "auth/wsse_envelope.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include "auth/digest.h"

const char *const envelope_part_ids[PART_MAX] = {
	[PART_TO] = "to",
	[PART_ACTION] = "action",
	[PART_MESSAGE_ID] = "message-id",
	[PART_RELATES_TO] = "relates-to",
	[PART_CONTEXT] = "context",
	[PART_TIMESTAMP] = "timestamp",
	[PART_TOKEN] = "token",
	[PART_BODY] = "body",
};

void
envelope_done(struct envelope *env)
{
	strbuf_done(&env->scratch);
}

struct str
envelope_span_str(const struct envelope *env, struct envelope_span span)
{
	return (struct str){ strbuf_c(&env->scratch) + span.at, span.n };
}

static void
open_with_id(struct xml_writer *w, const char *element, const char *xmlns, const char *namespace,
    enum envelope_part part)
{
	xml_open(w, element);
	xml_attribute(w, xmlns, namespace);
	xml_attribute(w, "xmlns:wsu", NS_WSU);
	xml_attribute(w, "wsu:Id", envelope_part_ids[part]);
}

static void
write_address(struct xml_writer *w, const char *element, const char *value, enum envelope_part part)
{
	assert(value);
	open_with_id(w, element, "xmlns:wsa", NS_ADDRESSING, part);
	xml_text(w, str_of(value));
	xml_close(w, element);
}

static void
write_context(struct xml_writer *w, const struct soap_addressing *a)
{
	open_with_id(w, "Context", "xmlns", NS_MALLEE, PART_CONTEXT);
	xml_element(w, "RequestId", a->request_id);
	xml_element(w, "AccountId", a->account_id);
	xml_element(w, "From", a->from);
	xml_elementf(w, "DeadlineMs", "%" PRIu64, a->deadline_ms);
	xml_elementf(w, "ReceiverEpoch", "%" PRIu64, a->receiver_epoch);
	xml_elementf(w, "SenderEpoch", "%" PRIu64, a->sender_epoch);
	xml_elementf(w, "Version", "%" PRIu32, a->version);
	xml_close(w, "Context");
}

static void
write_timestamp(struct xml_writer *w, const struct envelope *env)
{
	xml_open(w, "wsu:Timestamp");
	xml_attribute(w, "xmlns:wsu", NS_WSU);
	xml_attribute(w, "wsu:Id", envelope_part_ids[PART_TIMESTAMP]);
	xml_element(w, "wsu:Created", env->created);
	xml_element(w, "wsu:Expires", env->expires);
	xml_close(w, "wsu:Timestamp");
}

static void
write_token(struct xml_writer *w, const struct envelope *env)
{
	xml_open(w, "wsse:BinarySecurityToken");
	xml_attribute(w, "xmlns:wsse", NS_WSSE);
	xml_attribute(w, "xmlns:wsu", NS_WSU);
	xml_attribute(w, "EncodingType", WSSE_BASE64);
	xml_attribute(w, "ValueType", WSSE_X509V3);
	xml_attribute(w, "wsu:Id", envelope_part_ids[PART_TOKEN]);
	xml_text(w, str_of(env->token));
	xml_close(w, "wsse:BinarySecurityToken");
}

void
envelope_wrap_body(struct envelope *env, struct str content)
{
	struct xml_writer w;
	size_t at = env->scratch.n;

	xml_writer_init(&w, &env->scratch, true);
	open_with_id(&w, "soap:Body", "xmlns:soap", NS_SOAP, PART_BODY);
	xml_raw(&w, content);
	xml_close(&w, "soap:Body");
	env->parts[PART_BODY] = (struct envelope_span){ at, env->scratch.n - at };
}

static void
write_part(struct xml_writer *w, const struct envelope *env, enum envelope_part part)
{
	const struct soap_addressing *a = env->addressing;

	switch (part) {
	case PART_TO:
		write_address(w, "wsa:To", a->to, part);
		break;
	case PART_ACTION:
		write_address(w, "wsa:Action", a->action, part);
		break;
	case PART_MESSAGE_ID:
		write_address(w, "wsa:MessageID", a->message_id, part);
		break;
	case PART_RELATES_TO:
		if (a->relates_to)
			write_address(w, "wsa:RelatesTo", a->relates_to, part);
		break;
	case PART_CONTEXT:
		write_context(w, a);
		break;
	case PART_TIMESTAMP:
		write_timestamp(w, env);
		break;
	case PART_TOKEN:
		write_token(w, env);
		break;
	case PART_BODY:
	case PART_MAX:
		break;
	}
}

static void
write_algorithm(struct xml_writer *w, const char *element, const char *algorithm)
{
	xml_open(w, element);
	xml_attribute(w, "Algorithm", algorithm);
	xml_close(w, element);
}

static void
write_reference(struct xml_writer *w, const struct envelope *env, enum envelope_part part)
{
	char uri[32];

	(void)snprintf(uri, sizeof(uri), "#%s", envelope_part_ids[part]);
	xml_open(w, "ds:Reference");
	xml_attribute(w, "URI", uri);
	xml_open(w, "ds:Transforms");
	write_algorithm(w, "ds:Transform", DS_EXC_C14N);
	xml_close(w, "ds:Transforms");
	write_algorithm(w, "ds:DigestMethod", DS_SHA256);
	xml_element(w, "ds:DigestValue", env->digests[part]);
	xml_close(w, "ds:Reference");
}

static void
write_signed_info(struct xml_writer *w, const struct envelope *env)
{
	xml_open(w, "ds:SignedInfo");
	xml_attribute(w, "xmlns:ds", NS_DS);
	write_algorithm(w, "ds:CanonicalizationMethod", DS_EXC_C14N);
	write_algorithm(w, "ds:SignatureMethod", DS_ECDSA_SHA256);
	for (enum envelope_part part = 0; part < PART_MAX; part++)
		if (env->parts[part].n > 0)
			write_reference(w, env, part);
	xml_close(w, "ds:SignedInfo");
}

static void
digest_part(struct envelope *env, enum envelope_part part)
{
	_cleanup_free_ char *text = NULL;
	uint8_t bytes[32];

	digest(DIGEST_SHA256, envelope_span_str(env, env->parts[part]), bytes);
	text = base64_encode(bytes, sizeof(bytes));
	assert(strlen(text) == sizeof(env->digests[part]) - 1);
	memcpy(env->digests[part], text, sizeof(env->digests[part]));
}

void
envelope_compose(struct envelope *env)
{
	struct xml_writer w;
	size_t at;

	assert(env->parts[PART_BODY].n > 0);
	xml_writer_init(&w, &env->scratch, true);
	for (enum envelope_part part = 0; part < PART_MAX; part++) {
		if (part != PART_BODY) {
			at = env->scratch.n;
			write_part(&w, env, part);
			env->parts[part] = (struct envelope_span){ at, env->scratch.n - at };
		}
		if (env->parts[part].n > 0)
			digest_part(env, part);
	}
	at = env->scratch.n;
	write_signed_info(&w, env);
	env->signed_info = (struct envelope_span){ at, env->scratch.n - at };
}

static void
write_key_info(struct xml_writer *w)
{
	xml_open(w, "ds:KeyInfo");
	xml_open(w, "wsse:SecurityTokenReference");
	xml_open(w, "wsse:Reference");
	xml_attribute(w, "URI", "#token");
	xml_attribute(w, "ValueType", WSSE_X509V3);
	xml_close(w, "wsse:Reference");
	xml_close(w, "wsse:SecurityTokenReference");
	xml_close(w, "ds:KeyInfo");
}

void
envelope_assemble(const struct envelope *env, struct strbuf *out)
{
	struct xml_writer w;

	strbuf_reserve(out, env->scratch.n + 1024);
	xml_writer_init(&w, out, true);
	xml_open(&w, "soap:Envelope");
	xml_attribute(&w, "xmlns:soap", NS_SOAP);
	xml_open(&w, "soap:Header");
	for (enum envelope_part part = PART_TO; part <= PART_CONTEXT; part++)
		xml_raw(&w, envelope_span_str(env, env->parts[part]));
	xml_open(&w, "wsse:Security");
	xml_attribute(&w, "xmlns:wsse", NS_WSSE);
	xml_attribute(&w, "soap:mustUnderstand", "1");
	xml_raw(&w, envelope_span_str(env, env->parts[PART_TIMESTAMP]));
	xml_raw(&w, envelope_span_str(env, env->parts[PART_TOKEN]));
	xml_open(&w, "ds:Signature");
	xml_attribute(&w, "xmlns:ds", NS_DS);
	xml_raw(&w, envelope_span_str(env, env->signed_info));
	xml_element(&w, "ds:SignatureValue", env->signature);
	write_key_info(&w);
	xml_close(&w, "ds:Signature");
	xml_close(&w, "wsse:Security");
	xml_close(&w, "soap:Header");
	xml_raw(&w, envelope_span_str(env, env->parts[PART_BODY]));
	xml_close(&w, "soap:Envelope");
}
