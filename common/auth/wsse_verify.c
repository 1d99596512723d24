/* Verifying a signed envelope by position. The parsed tree is walked along the one skeleton there
 * is (Envelope, Header with its parts in order, Security, Body) and the values are read off on the
 * way; no element is ever searched by Id, so a signed element moved elsewhere is simply not in its
 * place. Then the envelope is composed again from those values and the canonical form of the very
 * Body node that will be dispatched, and must equal what came, byte for byte. SignedInfo is thus
 * our own bytes when the signature over it is checked: no algorithm, transform, reference or white
 * space of the sender's choosing takes part. (Signature wrapping: McIntosh and Austel 2005;
 * Somorovsky et al. 2011.)
 *
 * The cheap checks come first, the ECDSA operation near the end, the replay table last: only an
 * authentic message may take room there. */
#include <libxml/c14n.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <assert.h>
#include <stdio.h>
#include "auth/digest.h"
#include "auth/wsse.h"
#include "auth/wsse_envelope.h"
#include "auth/wsse_replay.h"
#include "auth/wsse_signer.h"

#define SKEW_US (20 * INT64_C(1000000))
#define VALIDITY_MAX_US (300 * INT64_C(1000000))
#define REPLAY_MAX_DEFAULT 65536
#define TEXT_MAX 4096 /* of one header value */
#define TOKEN_MAX 8192
#define ARENA_MAX (1024 * 1024)

struct wsse_verifier {
	struct wsse_signers *signers;
	struct wsse_replay *replay;
	char *self;
	uint64_t epoch;
};

/* What was read off one envelope. */
struct reading {
	xmlDoc *doc;
	struct arena *arena;
	xmlNode *body; /* soap:Body */
	struct soap_addressing addressing;
	const char *created, *expires, *token, *signature;
	const char *digests[PART_MAX];
	int64_t expires_us;
	struct wsse_signer signer;
};

int
wsse_verifier_new(const struct wsse_options *options, struct wsse_verifier **ret, struct err *e)
{
	struct wsse_signers *signers;
	struct wsse_verifier *v;
	int r;

	assert(options->epoch != 0);
	r = wsse_signers_new(options->ca_path, &signers, e);
	if (r < 0)
		return r;
	v = xcalloc(1, sizeof(*v));
	v->signers = signers;
	v->replay = wsse_replay_new(options->replay_max ? options->replay_max : REPLAY_MAX_DEFAULT);
	v->self = options->self ? xstrdup(options->self) : NULL;
	v->epoch = options->epoch;
	*ret = v;
	return 0;
}

void
wsse_verifier_free(struct wsse_verifier *v)
{
	if (!v)
		return;
	wsse_signers_free(v->signers);
	wsse_replay_free(v->replay);
	free(v->self);
	free(v);
}

int
wsse_verifier_reload(struct wsse_verifier *v, struct err *e)
{
	return wsse_signers_reload(v->signers, e);
}

static void
reading_done(struct reading *rd)
{
	xml_doc_freep(&rd->doc);
	arena_freep(&rd->arena);
	wsse_signer_done(&rd->signer);
}

static int
refuse(struct err *e, const char *what)
{
	return err_set(e, ERR_AUTH_FAILURE, "signed message refused: %s", what);
}

/* -- reading the skeleton --
 *
 * A cursor stands before the next expected child. Each step names what must be there. */

struct cursor {
	xmlNode *next;
	struct reading *rd;
	struct err *e;
};

static int
misplaced(const struct cursor *c, const char *wanted)
{
	return err_set(c->e, ERR_AUTH_FAILURE, "signed message refused: '%s' where '%s' belongs",
	    c->next ? (const char *)c->next->name : "nothing", wanted);
}

/* Steps over the element and hands it out. */
static int
step(struct cursor *c, const char *namespace, const char *name, xmlNode **ret)
{
	if (!xml_is(c->next, namespace, name))
		return misplaced(c, name);
	*ret = c->next;
	c->next = xml_next(c->next);
	return 0;
}

/* Steps into the element: `ret` is a cursor over its children. */
static int
enter(struct cursor *c, const char *namespace, const char *name, struct cursor *ret)
{
	xmlNode *node;
	int r = step(c, namespace, name, &node);

	if (r < 0)
		return r;
	*ret = (struct cursor){ xml_first(node), c->rd, c->e };
	return 0;
}

static int
step_text(struct cursor *c, const char *namespace, const char *name, size_t limit, const char **ret)
{
	xmlNode *node;
	int r = step(c, namespace, name, &node);

	if (r < 0)
		return r;
	*ret = xml_text_of(node, limit, c->rd->arena);
	if (!*ret)
		return err_set(
		    c->e, ERR_AUTH_FAILURE, "signed message refused: '%s' is no plain text", name);
	return 0;
}

static int
step_number(struct cursor *c, const char *name, uint64_t *ret)
{
	const char *text = NULL;
	int r = step_text(c, NS_MALLEE, name, 20, &text);

	if (r < 0)
		return r;
	if (!str_to_u64(str_of(text), ret))
		return err_set(
		    c->e, ERR_AUTH_FAILURE, "signed message refused: '%s' is no number", name);
	return 0;
}

static int
step_optional(struct cursor *c, const char *name, const char **ret)
{
	return xml_is(c->next, NS_MALLEE, name) ? step_text(c, NS_MALLEE, name, TEXT_MAX, ret) : 0;
}

static int
step_end(const struct cursor *c)
{
	return c->next ? misplaced(c, "nothing") : 0;
}

static bool
has_attribute(const xmlNode *node, const char *name, const char *value)
{
	for (const xmlAttr *a = node->properties; a; a = a->next)
		if (strcmp((const char *)a->name, name) == 0)
			return a->children && !a->children->next && a->children->content &&
			       strcmp((const char *)a->children->content, value) == 0;
	return false;
}

static int
step_algorithm(struct cursor *c, const char *name, const char *algorithm)
{
	xmlNode *node;
	int r = step(c, NS_DS, name, &node);

	if (r < 0)
		return r;
	if (!has_attribute(node, "Algorithm", algorithm))
		return err_set(c->e, ERR_AUTH_FAILURE,
		    "signed message refused: algorithm of '%s' is not '%s'", name, algorithm);
	return 0;
}

static int
read_context(struct cursor *header)
{
	struct soap_addressing *a = &header->rd->addressing;
	struct cursor c;
	uint64_t version;
	int r;

	if ((r = enter(header, NS_MALLEE, "Context", &c)) < 0 ||
	    (r = step_optional(&c, "RequestId", &a->request_id)) < 0 ||
	    (r = step_optional(&c, "AccountId", &a->account_id)) < 0 ||
	    (r = step_optional(&c, "From", &a->from)) < 0 ||
	    (r = step_number(&c, "DeadlineMs", &a->deadline_ms)) < 0 ||
	    (r = step_number(&c, "ReceiverEpoch", &a->receiver_epoch)) < 0 ||
	    (r = step_number(&c, "SenderEpoch", &a->sender_epoch)) < 0 ||
	    (r = step_number(&c, "Version", &version)) < 0 || (r = step_end(&c)) < 0)
		return r;
	if (version > UINT32_MAX)
		return refuse(header->e, "'Version' is no number");
	a->version = (uint32_t)version;
	return 0;
}

static int
read_timestamp(struct cursor *security)
{
	struct reading *rd = security->rd;
	struct cursor c;
	int r;

	if ((r = enter(security, NS_WSU, "Timestamp", &c)) < 0 ||
	    (r = step_text(&c, NS_WSU, "Created", TIME_TEXT_SIZE, &rd->created)) < 0 ||
	    (r = step_text(&c, NS_WSU, "Expires", TIME_TEXT_SIZE, &rd->expires)) < 0)
		return r;
	return step_end(&c);
}

static int
read_reference(struct cursor *signed_info, enum envelope_part part)
{
	struct cursor c, transforms;
	xmlNode *node = signed_info->next;
	char uri[32];
	int r;

	(void)snprintf(uri, sizeof(uri), "#%s", envelope_part_ids[part]);
	if ((r = enter(signed_info, NS_DS, "Reference", &c)) < 0)
		return r;
	if (!has_attribute(node, "URI", uri))
		return err_set(signed_info->e, ERR_AUTH_FAILURE,
		    "signed message refused: the reference to '%s' is not in its place", uri);
	if ((r = enter(&c, NS_DS, "Transforms", &transforms)) < 0 ||
	    (r = step_algorithm(&transforms, "Transform", DS_EXC_C14N)) < 0 ||
	    (r = step_end(&transforms)) < 0 ||
	    (r = step_algorithm(&c, "DigestMethod", DS_SHA256)) < 0 ||
	    (r = step_text(&c, NS_DS, "DigestValue", 64, &signed_info->rd->digests[part])) < 0)
		return r;
	return step_end(&c);
}

static int
read_signed_info(struct cursor *signature, enum wsse_kind kind)
{
	struct cursor c;
	int r;

	if ((r = enter(signature, NS_DS, "SignedInfo", &c)) < 0 ||
	    (r = step_algorithm(&c, "CanonicalizationMethod", DS_EXC_C14N)) < 0 ||
	    (r = step_algorithm(&c, "SignatureMethod", DS_ECDSA_SHA256)) < 0)
		return r;
	for (enum envelope_part part = 0; part < PART_MAX; part++) {
		if (part == PART_RELATES_TO && kind == WSSE_REQUEST)
			continue;
		r = read_reference(&c, part);
		if (r < 0)
			return r;
	}
	return step_end(&c);
}

static int
read_signature(struct cursor *security, enum wsse_kind kind)
{
	struct reading *rd = security->rd;
	struct cursor c;
	xmlNode *key_info;
	int r;

	if ((r = enter(security, NS_DS, "Signature", &c)) < 0 ||
	    (r = read_signed_info(&c, kind)) < 0 ||
	    (r = step_text(&c, NS_DS, "SignatureValue", 128, &rd->signature)) < 0 ||
	    (r = step(&c, NS_DS, "KeyInfo", &key_info)) < 0) /* says nothing: compared as bytes */
		return r;
	return step_end(&c);
}

static int
read_security(struct cursor *header, enum wsse_kind kind)
{
	struct cursor c;
	int r;

	if ((r = enter(header, NS_WSSE, "Security", &c)) < 0 || (r = read_timestamp(&c)) < 0 ||
	    (r = step_text(&c, NS_WSSE, "BinarySecurityToken", TOKEN_MAX, &header->rd->token)) <
		0 ||
	    (r = read_signature(&c, kind)) < 0)
		return r;
	return step_end(&c);
}

static int
read_header(struct cursor *envelope, enum wsse_kind kind)
{
	struct soap_addressing *a = &envelope->rd->addressing;
	struct cursor c;
	int r;

	if ((r = enter(envelope, NS_SOAP, "Header", &c)) < 0 ||
	    (r = step_text(&c, NS_ADDRESSING, "To", TEXT_MAX, &a->to)) < 0 ||
	    (r = step_text(&c, NS_ADDRESSING, "Action", TEXT_MAX, &a->action)) < 0 ||
	    (r = step_text(&c, NS_ADDRESSING, "MessageID", TEXT_MAX, &a->message_id)) < 0)
		return r;
	if (kind == WSSE_REPLY &&
	    (r = step_text(&c, NS_ADDRESSING, "RelatesTo", TEXT_MAX, &a->relates_to)) < 0)
		return r;
	if ((r = read_context(&c)) < 0 || (r = read_security(&c, kind)) < 0)
		return r;
	return step_end(&c);
}

static int
read_envelope(struct reading *rd, enum wsse_kind kind, struct err *e)
{
	struct cursor top = { xmlDocGetRootElement(rd->doc), rd, e }, c;
	int r;

	if ((r = enter(&top, NS_SOAP, "Envelope", &c)) < 0 || (r = read_header(&c, kind)) < 0 ||
	    (r = step(&c, NS_SOAP, "Body", &rd->body)) < 0)
		return r;
	r = step_end(&c);
	if (r < 0)
		return r;
	if (!xml_first(rd->body) || xml_next(xml_first(rd->body)))
		return refuse(e, "the Body must have one child");
	return 0;
}

/* Messages have no ids of their own; one could only be there to confuse. */
static bool
has_ids(const xmlNode *node)
{
	for (; node; node = node->next) {
		if (node->type != XML_ELEMENT_NODE)
			continue;
		for (const xmlAttr *a = node->properties; a; a = a->next)
			if (str_is_nocase(str_of((const char *)a->name), "id"))
				return true;
		if (has_ids(node->children)) /* depth is bounded by the limits */
			return true;
	}
	return false;
}

/* -- time, digests, signature -- */

static int
check_times(struct reading *rd, int64_t now_us, struct err *e)
{
	int64_t created_us, expires_us;

	if (!time_parse_iso(str_of(rd->created), &created_us) ||
	    !time_parse_iso(str_of(rd->expires), &expires_us))
		return refuse(e, "Created or Expires is no time");
	if (created_us > now_us + SKEW_US)
		return refuse(e, "it was created in the future");
	if (expires_us < now_us - SKEW_US)
		return refuse(e, "it has expired");
	if (expires_us <= created_us || expires_us - created_us > VALIDITY_MAX_US)
		return refuse(e, "it is valid for too long");
	rd->expires_us = expires_us;
	return 0;
}

static int
is_in_body(void *body, xmlNode *node, xmlNode *parent)
{
	if (node->type == XML_NAMESPACE_DECL || node->type == XML_ATTRIBUTE_NODE)
		node = parent;
	while (node && node != body)
		node = node->parent;
	return node != NULL;
}

static int
append_output(void *scratch, const char *bytes, int n)
{
	strbuf_add(scratch, bytes, (size_t)n);
	return n;
}

static void
say_nothing(void *context, xmlError *error)
{
}

/* The exclusive canonical form of the Body node, as part PART_BODY. */
static int
canonicalise_body(const struct reading *rd, struct envelope *env, struct err *e)
{
	xmlOutputBuffer *out = xmlOutputBufferCreateIO(append_output, NULL, &env->scratch, NULL);
	int r, closed;

	if (!out)
		return err_set(e, ERR_INTERNAL, "no memory to canonicalise a message");
	xmlSetStructuredErrorFunc(NULL, say_nothing); /* of this thread; it would print to stderr */
	r = xmlC14NExecute(rd->doc, is_in_body, rd->body, XML_C14N_EXCLUSIVE_1_0, NULL, 0, out);
	closed = xmlOutputBufferClose(out);
	xmlSetStructuredErrorFunc(NULL, NULL);
	if (r < 0 || closed < 0 || env->scratch.n == 0)
		return refuse(e, "the Body cannot be canonicalised");
	env->parts[PART_BODY] = (struct envelope_span){ 0, env->scratch.n };
	return 0;
}

/* Against the digests in the message first, for an exact reason in the log; then every byte. */
static int
check_bytes(
    const struct reading *rd, const struct envelope *env, struct str received, struct err *e)
{
	_cleanup_strbuf_ struct strbuf again = STRBUF_INIT;

	for (enum envelope_part part = 0; part < PART_MAX; part++)
		if (rd->digests[part] && !strings_equal(rd->digests[part], env->digests[part]))
			return err_set(e, ERR_AUTH_FAILURE,
			    "signed message refused: the digest of '%s' is wrong",
			    envelope_part_ids[part]);
	envelope_assemble(env, &again);
	if (!str_eq(strbuf_str(&again), received))
		return refuse(e, "it is not written as messages are");
	return 0;
}

static void
free_md_context(EVP_MD_CTX **c)
{
	EVP_MD_CTX_free(*c);
}

static void
free_signature(ECDSA_SIG **s)
{
	ECDSA_SIG_free(*s);
}

/* The 64 bytes of r and s from base64 that has one spelling only. */
static bool
decode_signature(const char *text, uint8_t out[64])
{
	_cleanup_free_ void *bytes = NULL;
	_cleanup_free_ char *again = NULL;
	size_t n;

	if (!base64_decode(str_of(text), &bytes, &n) || n != 64)
		return false;
	again = base64_encode(bytes, n);
	memcpy(out, bytes, 64);
	return strcmp(again, text) == 0;
}

static int
check_signature(const struct reading *rd, struct str signed_info, struct err *e)
{
	_cleanup_(free_md_context) EVP_MD_CTX *c = EVP_MD_CTX_new();
	_cleanup_(free_signature) ECDSA_SIG *signature = ECDSA_SIG_new();
	unsigned char *der = NULL;
	uint8_t raw[64];
	int n, r;

	if (!decode_signature(rd->signature, raw))
		return refuse(e, "the signature value is not 64 bytes of base64");
	if (!c || !signature ||
	    ECDSA_SIG_set0(signature, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL)) != 1)
		return err_set(e, ERR_INTERNAL, "no memory to check a signature");
	n = i2d_ECDSA_SIG(signature, &der);
	if (n <= 0)
		return err_set(e, ERR_INTERNAL, "no memory to check a signature");
	r = EVP_DigestVerifyInit(c, NULL, EVP_sha256(), NULL, rd->signer.key);
	if (r == 1)
		r = EVP_DigestVerify(
		    c, der, (size_t)n, (const unsigned char *)signed_info.p, signed_info.n);
	OPENSSL_free(der);
	ERR_clear_error();
	return r == 1 ? 0 : refuse(e, "the signature is wrong");
}

/* The same token must decode to the same text: no spare bits, no white space. */
static bool
token_is_strict(const char *token)
{
	_cleanup_free_ void *der = NULL;
	_cleanup_free_ char *again = NULL;
	size_t n;

	if (!base64_decode(str_of(token), &der, &n))
		return false;
	again = base64_encode(der, n);
	return strcmp(again, token) == 0;
}

static int
check_signer(struct wsse_verifier *v, struct reading *rd, const char *tls_fingerprint,
    int64_t now_us, struct err *e)
{
	int r;

	if (!token_is_strict(rd->token))
		return refuse(e, "the token is not plain base64");
	r = wsse_signers_get(v->signers, rd->token, now_us, &rd->signer, e);
	if (r < 0)
		return err_wrap(e, "signed message refused");
	if (tls_fingerprint && *tls_fingerprint &&
	    !wsse_signers_is_same_peer(v->signers, tls_fingerprint, &rd->signer, now_us))
		return err_set(e, ERR_AUTH_FAILURE,
		    "signed message refused: '%s' signed it, another peer sent it",
		    rd->signer.subject);
	if (!strings_equal(rd->addressing.from, rd->signer.subject))
		return err_set(e, ERR_AUTH_FAILURE,
		    "signed message refused: '%s' signed it in the name of '%s'",
		    rd->signer.subject, rd->addressing.from ? rd->addressing.from : "nobody");
	return 0;
}

/* What was signed, digested and signed by whom it says. */
static int
check_envelope(const struct reading *rd, struct str received, char id[65], struct err *e)
{
	_cleanup_(envelope_done) struct envelope env = {
		.addressing = &rd->addressing,
		.created = rd->created,
		.expires = rd->expires,
		.token = rd->token,
		.signature = rd->signature,
	};
	struct str signed_info;
	int r;

	r = canonicalise_body(rd, &env, e);
	if (r < 0)
		return r;
	envelope_compose(&env);
	r = check_bytes(rd, &env, received, e);
	if (r < 0)
		return r;
	signed_info = envelope_span_str(&env, env.signed_info);
	r = check_signature(rd, signed_info, e);
	if (r < 0)
		return r;
	/* Not the signature value: (r, n - s) is a second valid one for the same message. */
	digest_hex(DIGEST_SHA256, signed_info, id);
	return 0;
}

static void
hand_over(struct reading *rd, bool is_stale, struct wsse_message *ret)
{
	*ret = (struct wsse_message){
		.doc = TAKE(rd->doc),
		.body = xml_first(rd->body),
		.addressing = rd->addressing,
		.arena = TAKE(rd->arena),
		.is_stale = is_stale,
	};
	memcpy(ret->fingerprint, rd->signer.fingerprint, sizeof(ret->fingerprint));
	memcpy(ret->subject, rd->signer.subject, sizeof(ret->subject));
	memcpy(ret->role, rd->signer.role, sizeof(ret->role));
}

int
wsse_verify(struct wsse_verifier *v, enum wsse_kind kind, struct str envelope,
    const char *tls_fingerprint, int64_t now_us, struct wsse_message *ret, struct err *e)
{
	_cleanup_(reading_done) struct reading rd = { 0 };
	uint64_t epoch;
	char id[65];
	int r;

	r = xml_parse(
	    envelope, kind == WSSE_REPLY ? &xml_limits_reply : &xml_limits_soap, &rd.doc, e);
	if (r < 0)
		return r;
	rd.arena = arena_new(ARENA_MAX);
	r = read_envelope(&rd, kind, e);
	if (r < 0)
		return r;
	if (has_ids(rd.body->children))
		return refuse(e, "an id inside the Body");
	if (kind == WSSE_REPLY && v->self && !strings_equal(rd.addressing.to, v->self))
		return refuse(e, "it is a reply to somebody else");
	r = check_times(&rd, now_us, e);
	if (r < 0)
		return r;
	r = check_signer(v, &rd, tls_fingerprint, now_us, e);
	if (r < 0)
		return r;
	r = check_envelope(&rd, envelope, id, e);
	if (r < 0)
		return r;
	epoch = rd.addressing.receiver_epoch;
	if (epoch != 0 && epoch != v->epoch) { /* carried out by nobody, so not remembered */
		hand_over(&rd, true, ret);
		return err_set(e, ERR_STALE, "the message was meant for an earlier start of ours");
	}
	r = wsse_replay_add(v->replay, rd.signer.subject, id, rd.expires_us, now_us, e);
	if (r < 0)
		return r;
	hand_over(&rd, false, ret);
	return 0;
}

void
wsse_message_done(struct wsse_message *m)
{
	xml_doc_freep(&m->doc);
	arena_freep(&m->arena);
	*m = (struct wsse_message){ 0 };
}
