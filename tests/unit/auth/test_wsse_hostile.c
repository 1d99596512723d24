/* Every message here is made from one that verifies, by a named change, and must be refused:
 * tampering, signature wrapping, downgrades, key confusion, wrong peers, wrong times, replays, and
 * other spellings of the same message. Many rows are signed again with the sender's own key after
 * the change, so that the signature is right and only the rule under test can refuse them. At the
 * end every byte of the message is flipped, dropped, doubled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include "auth/digest.h"
#include "auth/wsse.h"
#include "auth/wsse_envelope.h"
#include "tests/lib/wsse_world.h"

static struct wsse_world world;
static char *base; /* a request that verifies */

/* -- text editing -- */

static char *
replaced(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);

	if (!at)
		fail_msg("'%s' is not in the message", from);
	return xasprintf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

/* From the start of `first` to the end of `last` behind it. */
static char *
cut_out(const char *text, const char *first, const char *last)
{
	const char *from = strstr(text, first), *to = from ? strstr(from, last) : NULL;

	if (!to)
		fail_msg("'%s' ... '%s' is not in the message", first, last);
	return xstrndup(from, (size_t)(to - from) + strlen(last));
}

static char *
body_of(const char *text)
{
	return cut_out(text, "<soap:Body", "</soap:Body>");
}

static void
set(char **text, char *changed)
{
	free(*text);
	*text = changed;
}

/* Puts a new signature over the SignedInfo as it stands. */
static void
resign_with(char **text, EVP_PKEY *key)
{
	_cleanup_free_ char *info = cut_out(*text, "<ds:SignedInfo", "</ds:SignedInfo>");
	_cleanup_free_ char *old = cut_out(*text, "<ds:SignatureValue>", "</ds:SignatureValue>");
	_cleanup_free_ char *value = NULL, *element = NULL;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	unsigned char der[128], raw[64];
	const unsigned char *p = der;
	size_t n = sizeof(der);
	ECDSA_SIG *s;

	assert_int_equal(EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(c, der, &n, (unsigned char *)info, strlen(info)), 1);
	s = d2i_ECDSA_SIG(NULL, &p, (long)n);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(s), raw, 32), 32);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(s), raw + 32, 32), 32);
	ECDSA_SIG_free(s);
	EVP_MD_CTX_free(c);
	value = base64_encode(raw, sizeof(raw));
	element = xasprintf("<ds:SignatureValue>%s</ds:SignatureValue>", value);
	set(text, replaced(*text, old, element));
}

static void
resign(char **text)
{
	resign_with(text, world.clc.key);
}

/* Corrects the digest of the part that starts with `first` and ends with `last`. */
static void
redigest(char **text, const char *id, const char *first, const char *last)
{
	_cleanup_free_ char *part = cut_out(*text, first, last);
	_cleanup_free_ char *uri = xasprintf("URI=\"#%s\"", id);
	_cleanup_free_ char *reference = cut_out(*text, uri, "</ds:DigestValue>");
	_cleanup_free_ char *old = cut_out(reference, "<ds:DigestValue>", "</ds:DigestValue>");
	_cleanup_free_ char *value = NULL, *element = NULL, *changed = NULL;
	uint8_t hash[32];

	digest(DIGEST_SHA256, str_of(part), hash);
	value = base64_encode(hash, sizeof(hash));
	element = xasprintf("<ds:DigestValue>%s</ds:DigestValue>", value);
	changed = replaced(reference, old, element);
	set(text, replaced(*text, reference, changed));
}

/* A change to one signed part, with digest and signature put right again. */
static char *
honest(const char *id, const char *first, const char *last, const char *from, const char *to)
{
	char *text = replaced(base, from, to);

	redigest(&text, id, first, last);
	resign(&text);
	return text;
}

/* -- checking -- */

static int
verify_as(struct wsse_verifier *v, enum wsse_kind kind, const char *text, struct err *e)
{
	struct wsse_message m = { 0 };
	int r = wsse_verify(v, kind, str_of(text), world.clc_fingerprint, world.now_us, &m, e);

	if (r == 0 || r == ERR_STALE)
		wsse_message_done(&m);
	return r;
}

static void
assert_refused(const char *name, enum wsse_kind kind, const char *text, const char *reason)
{
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct err e = { 0 };
	int r = verify_as(v, kind, text, &e);

	if (r >= 0)
		fail_msg("%s: accepted", name);
	if (reason && !strstr(e.text, reason))
		fail_msg("%s: refused for another reason: %s", name, e.text);
	wsse_verifier_free(v);
}

static void
test_the_base_verifies(void **state)
{
	struct wsse_verifier *v = wsse_world_verifier(&world);
	_cleanup_free_ char *again = xstrdup(base);
	struct err e = { 0 };

	assert_int_equal(verify_as(v, WSSE_REQUEST, base, &e), 0);
	resign(&again); /* the tools of this test make messages that verify, too */
	set(&again, replaced(again, "<Generation>3<", "<Generation>4<"));
	redigest(&again, "body", "<soap:Body", "</soap:Body>");
	resign(&again);
	assert_int_equal(verify_as(v, WSSE_REQUEST, again, &e), 0);
	wsse_verifier_free(v);
}

/* -- rows: replace text -- */

enum fix { AS_IS, RESIGN };
#define C14N DS_EXC_C14N
#define TRANSFORM "<ds:Transform Algorithm=\"" C14N "\"></ds:Transform>"
#define BODY_REFERENCE "<ds:Reference URI=\"#body\">"

static const struct {
	const char *name, *from, *to;
	enum fix fix;
	const char *reason; /* part of it; NULL: any */
} replacements[] = {
	/* tampering: what is signed */
	{ "To changed", "10.0.0.7", "10.0.0.8", AS_IS, "digest of 'to'" },
	{ "Action changed", "PutInstance</wsa:Action>", "GetInstance</wsa:Action>", AS_IS,
	    "digest of 'action'" },
	{ "MessageID changed", "uuid:0c", "uuid:1c", AS_IS, "digest of 'message-id'" },
	{ "account changed", "123456789012", "123456789013", AS_IS, "digest of 'context'" },
	{ "request id changed", "7f3a0000", "7f3a0001", AS_IS, "digest of 'context'" },
	{ "sender changed", "<From>clc-1", "<From>clc-2", AS_IS, "in the name of" },
	{ "sender left out", "<From>clc-1</From>", "", RESIGN, "in the name of" },
	{ "deadline changed", ">5000<", ">6000<", AS_IS, "digest of 'context'" },
	{ "receiver epoch changed", "<ReceiverEpoch>77", "<ReceiverEpoch>78", AS_IS,
	    "digest of 'context'" },
	{ "receiver epoch zeroed", "<ReceiverEpoch>77", "<ReceiverEpoch>0", AS_IS,
	    "digest of 'context'" },
	{ "sender epoch changed", "<SenderEpoch>12", "<SenderEpoch>13", AS_IS,
	    "digest of 'context'" },
	{ "version changed", "<Version>1", "<Version>2", AS_IS, "digest of 'context'" },
	{ "Created changed", "<wsu:Created>2", "<wsu:Created>1", AS_IS, NULL },
	{ "Expires prolonged", "20.000Z</wsu:Expires>", "50.000Z</wsu:Expires>", AS_IS, NULL },
	{ "Body text changed", "abcdef0", "abcdef1", AS_IS, "digest of 'body'" },
	{ "Body operation changed", "<PutInstance xmlns", "<DelInstance xmlns", AS_IS, NULL },
	{ "Body child added", "<Generation>", "<Extra></Extra><Generation>", AS_IS,
	    "digest of 'body'" },
	{ "space behind a reference", BODY_REFERENCE, BODY_REFERENCE " ", AS_IS, NULL },
	{ "number with a leading zero", ">5000<", ">05000<", RESIGN, NULL },
	{ "negative number", ">5000<", ">-5000<", RESIGN, "no number" },
	{ "number too large", "<Version>1<", "<Version>4294967297<", RESIGN, "no number" },
	{ "empty epoch", "<ReceiverEpoch>77<", "<ReceiverEpoch><", RESIGN, "no number" },
	{ "signature value changed", "<ds:SignatureValue>", "<ds:SignatureValue>AAAA", AS_IS,
	    NULL },
	/* ids and references */
	{ "Body without Id", " wsu:Id=\"body\"", "", RESIGN, NULL },
	{ "Body Id unqualified", "wsu:Id=\"body\"", "Id=\"body\"", RESIGN, NULL },
	{ "Body Id as xml:id", "wsu:Id=\"body\"", "xml:id=\"body\"", RESIGN, NULL },
	{ "Body Id renamed", "wsu:Id=\"body\"", "wsu:Id=\"bodz\"", RESIGN, NULL },
	{ "duplicate Id in the Body", "<Generation>", "<Generation Id=\"body\">", RESIGN, "an id" },
	{ "duplicate wsu:Id in the Body", "<Generation>",
	    "<Generation xmlns:wsu=\"" NS_WSU "\" wsu:Id=\"body\">", RESIGN, "an id" },
	{ "xml:id in the Body", "<Generation>", "<Generation xml:id=\"body\">", RESIGN, "an id" },
	{ "ID in the Body", "<Generation>", "<Generation ID=\"timestamp\">", RESIGN, "an id" },
	{ "reference to another element", "URI=\"#body\"", "URI=\"#to\"", RESIGN,
	    "not in its place" },
	{ "reference with empty URI", "URI=\"#body\"", "URI=\"\"", RESIGN, "not in its place" },
	{ "reference without URI", " URI=\"#body\"", "", RESIGN, "not in its place" },
	{ "reference by XPointer", "URI=\"#body\"", "URI=\"#xpointer(id('body'))\"", RESIGN,
	    "not in its place" },
	{ "reference to a file", "URI=\"#body\"", "URI=\"file:///etc/passwd\"", RESIGN,
	    "not in its place" },
	{ "reference over HTTP", "URI=\"#body\"", "URI=\"http://127.0.0.1:1/\"", RESIGN,
	    "not in its place" },
	{ "reference with a Type", BODY_REFERENCE,
	    "<ds:Reference Type=\"" NS_DS "Object\" URI=\"#body\">", RESIGN, NULL },
	{ "reference twice", "</ds:SignedInfo>",
	    "<ds:Reference URI=\"#body\"><ds:Transforms>" TRANSFORM "</ds:Transforms>"
	    "<ds:DigestMethod Algorithm=\"" DS_SHA256 "\"></ds:DigestMethod>"
	    "<ds:DigestValue></ds:DigestValue></ds:Reference></ds:SignedInfo>",
	    RESIGN, "belongs" },
	/* transforms */
	{ "no transform", TRANSFORM, "", RESIGN, "belongs" },
	{ "enveloped transform added", TRANSFORM,
	    "<ds:Transform Algorithm=\"" NS_DS "enveloped-signature\"></ds:Transform>" TRANSFORM,
	    RESIGN, "algorithm of 'Transform'" },
	{ "two transforms", TRANSFORM, TRANSFORM TRANSFORM, RESIGN, "belongs" },
	{ "XPath transform", "<ds:Transform Algorithm=\"" C14N "\">",
	    "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\">", RESIGN,
	    "algorithm of 'Transform'" },
	{ "XPath filter 2 transform", "<ds:Transform Algorithm=\"" C14N "\">",
	    "<ds:Transform Algorithm=\"http://www.w3.org/2002/06/xmldsig-filter2\">", RESIGN,
	    "algorithm of 'Transform'" },
	{ "XSLT transform", "<ds:Transform Algorithm=\"" C14N "\">",
	    "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\">", RESIGN,
	    "algorithm of 'Transform'" },
	{ "base64 transform", "<ds:Transform Algorithm=\"" C14N "\">",
	    "<ds:Transform Algorithm=\"" NS_DS "base64\">", RESIGN, "algorithm of 'Transform'" },
	{ "inclusive C14N transform", "<ds:Transform Algorithm=\"" C14N "\">",
	    "<ds:Transform Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315\">", RESIGN,
	    "algorithm of 'Transform'" },
	{ "transform with comments", "<ds:Transform Algorithm=\"" C14N "\">",
	    "<ds:Transform Algorithm=\"" C14N "WithComments\">", RESIGN,
	    "algorithm of 'Transform'" },
	{ "inclusive namespaces", TRANSFORM,
	    "<ds:Transform Algorithm=\"" C14N "\"><ec:InclusiveNamespaces xmlns:ec=\"" C14N
	    "\" PrefixList=\"soap\"></ec:InclusiveNamespaces></ds:Transform>",
	    RESIGN, "not written as" },
	/* downgrades */
	{ "signature method rsa-sha1", DS_ECDSA_SHA256, NS_DS "rsa-sha1", RESIGN,
	    "SignatureMethod" },
	{ "signature method rsa-sha256", DS_ECDSA_SHA256,
	    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", RESIGN, "SignatureMethod" },
	{ "signature method dsa-sha1", DS_ECDSA_SHA256, NS_DS "dsa-sha1", RESIGN,
	    "SignatureMethod" },
	{ "signature method ecdsa-sha1", DS_ECDSA_SHA256,
	    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1", RESIGN, "SignatureMethod" },
	{ "signature method hmac-sha1", DS_ECDSA_SHA256, NS_DS "hmac-sha1", RESIGN,
	    "SignatureMethod" },
	{ "signature method none", DS_ECDSA_SHA256, "", RESIGN, "SignatureMethod" },
	{ "truncated HMAC", "</ds:SignatureMethod>",
	    "<ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>", RESIGN,
	    "not written as" },
	{ "digest sha1", DS_SHA256, NS_DS "sha1", RESIGN, "DigestMethod" },
	{ "digest md5", DS_SHA256, "http://www.w3.org/2001/04/xmldsig-more#md5", RESIGN,
	    "DigestMethod" },
	{ "digest sha512", DS_SHA256, "http://www.w3.org/2001/04/xmlenc#sha512", RESIGN,
	    "DigestMethod" },
	{ "inclusive canonicalisation", "<ds:CanonicalizationMethod Algorithm=\"" C14N "\">",
	    "<ds:CanonicalizationMethod "
	    "Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315\">",
	    RESIGN, "CanonicalizationMethod" },
	{ "canonicalisation with comments", "<ds:CanonicalizationMethod Algorithm=\"" C14N "\">",
	    "<ds:CanonicalizationMethod Algorithm=\"" C14N "WithComments\">", RESIGN,
	    "CanonicalizationMethod" },
	{ "SOAP 1.2", "<soap:Envelope xmlns:soap=\"" NS_SOAP "\">",
	    "<soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\">", AS_IS,
	    "belongs" },
	{ "older addressing", NS_ADDRESSING, "http://schemas.xmlsoap.org/ws/2004/08/addressing",
	    RESIGN, "belongs" },
	/* keys */
	{ "key by name", "<wsse:SecurityTokenReference>",
	    "<ds:KeyName>clc-1</ds:KeyName><wsse:SecurityTokenReference>", AS_IS,
	    "not written as" },
	{ "key by value", "<ds:KeyInfo>",
	    "<ds:KeyInfo><ds:KeyValue><ds:RSAKeyValue></ds:RSAKeyValue></ds:KeyValue>", AS_IS,
	    "not written as" },
	{ "key by retrieval", "<ds:KeyInfo>",
	    "<ds:KeyInfo><ds:RetrievalMethod URI=\"http://127.0.0.1:1/\"></ds:RetrievalMethod>",
	    AS_IS, "not written as" },
	{ "key reference elsewhere", "<wsse:Reference URI=\"#token\"",
	    "<wsse:Reference URI=\"#body\"", AS_IS, "not written as" },
	{ "token of another type", "#X509v3\" wsu:Id", "#X509PKIPathv1\" wsu:Id", RESIGN, NULL },
	{ "token in another encoding", "#Base64Binary", "#HexBinary", RESIGN, NULL },
	{ "token with white space", "wsu:Id=\"token\">", "wsu:Id=\"token\">\n", RESIGN,
	    "plain base64" },
	{ "token cut short", "wsu:Id=\"token\">MIIB", "wsu:Id=\"token\">", RESIGN, NULL },
	{ "token with a tail", "</wsse:BinarySecurityToken>", "AAAA</wsse:BinarySecurityToken>",
	    RESIGN, NULL },
	/* other spellings of the same message */
	{ "XML declaration", "<soap:Envelope", "<?xml version=\"1.0\"?><soap:Envelope", AS_IS,
	    "not written as" },
	{ "byte order mark", "<soap:Envelope", "\xEF\xBB\xBF<soap:Envelope", AS_IS,
	    "not written as" },
	{ "newline behind", "</soap:Envelope>", "</soap:Envelope>\n", AS_IS, "not written as" },
	{ "comment in the Body", "abcdef0", "abc<!-- x -->def0", AS_IS, "not written as" },
	{ "comment in the header", "<soap:Header>", "<soap:Header><!-- x -->", AS_IS,
	    "not written as" },
	{ "comment in the To", "10.0.0.7", "10.0<!-- -->.0.7", AS_IS, "not written as" },
	{ "CDATA in the Body", "i-0123456789abcdef0", "<![CDATA[i-0123456789abcdef0]]>", AS_IS,
	    "not written as" },
	{ "character reference in the Body", "abcdef0", "abcde&#102;0", AS_IS, "not written as" },
	{ "character reference in the token", "wsu:Id=\"token\">M", "wsu:Id=\"token\">&#77;", AS_IS,
	    "not written as" },
	{ "single quotes", "wsu:Id=\"body\"", "wsu:Id='body'", AS_IS, "not written as" },
	{ "space in a tag", "</soap:Body>", "</soap:Body >", AS_IS, "not written as" },
	{ "space between elements", "<soap:Body", " <soap:Body", AS_IS, "not written as" },
	{ "empty element closed short", "></ds:SignatureMethod>", "/>", AS_IS, "not written as" },
	{ "superfluous namespace", "<soap:Header>", "<soap:Header xmlns:x=\"urn:x\">", AS_IS,
	    "not written as" },
	{ "attribute on the Envelope", "<soap:Envelope ", "<soap:Envelope a=\"b\" ", AS_IS,
	    "not written as" },
	{ "mustUnderstand off", "soap:mustUnderstand=\"1\"", "soap:mustUnderstand=\"0\"", AS_IS,
	    "not written as" },
	{ "signature value with white space", "<ds:SignatureValue>", "<ds:SignatureValue>\n", AS_IS,
	    "not 64 bytes" },
	{ "document type", "<soap:Envelope", "<!DOCTYPE x><soap:Envelope", AS_IS, "document type" },
	{ "processing instruction", "<soap:Body", "<?x y?><soap:Body", AS_IS, "processing" },
};

static void
test_replacements(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(replacements); i++) {
		_cleanup_free_ char *text =
		    replaced(base, replacements[i].from, replacements[i].to);

		if (replacements[i].fix == RESIGN)
			resign(&text);
		assert_refused(replacements[i].name, WSSE_REQUEST, text, replacements[i].reason);
	}
}

/* -- rows: wrapping -- */

/* The attacker's Body: same id, another order. */
static char *
evil_body(const char *id)
{
	_cleanup_free_ char *body = body_of(base), *changed = NULL;

	changed = replaced(body, "i-0123456789abcdef0", "i-0eee0eee0eee0eee0");
	return replaced(changed, " wsu:Id=\"body\"", id);
}

/* Inserts before `anchor`, in place of the Body puts `instead`. */
static char *
moved(
    const char *anchor, const char *open, const char *what, const char *close, const char *instead)
{
	_cleanup_free_ char *body = body_of(base), *insert = NULL, *text = NULL;

	text = replaced(base, body, instead);
	insert = xasprintf("%s%s%s%s", open, what, close, anchor);
	return replaced(text, anchor, insert);
}

static const struct {
	const char *name, *anchor, *open, *close, *id;
} wrappings[] = {
	{ "Body in a header wrapper, same id", "</soap:Header>", "<w xmlns=\"urn:w\">", "</w>",
	    " wsu:Id=\"body\"" },
	{ "Body in a header wrapper, other id", "</soap:Header>", "<w xmlns=\"urn:w\">", "</w>",
	    " wsu:Id=\"other\"" },
	{ "Body in a header wrapper, no id", "</soap:Header>", "<w xmlns=\"urn:w\">", "</w>", "" },
	{ "Body first in the header", "<wsa:To ", "", "", " wsu:Id=\"body\"" },
	{ "Body last in the header", "</soap:Header>", "", "", "" },
	{ "Body in Security", "</wsse:Security>", "", "", " wsu:Id=\"body\"" },
	{ "Body in Security, wrapped", "<wsu:Timestamp ", "<w xmlns=\"urn:w\">", "</w>", "" },
	{ "Body in a signature object", "</ds:Signature>", "<ds:Object>", "</ds:Object>",
	    " wsu:Id=\"body\"" },
	{ "Body in KeyInfo", "</ds:KeyInfo>", "<w>", "</w>", " wsu:Id=\"body\"" },
	{ "Body in SignedInfo", "</ds:SignedInfo>", "", "", " wsu:Id=\"body\"" },
	{ "Body in Context", "</Context>", "", "", " wsu:Id=\"body\"" },
	{ "Body in To", "</wsa:To>", "", "", " wsu:Id=\"body\"" },
	{ "Body before the header", "<soap:Header>", "", "", " wsu:Id=\"body\"" },
	{ "Body before the header, wrapped", "<soap:Header>", "<w xmlns=\"urn:w\">", "</w>", "" },
	{ "two Bodies, theirs last", "<soap:Body", "", "", " wsu:Id=\"body\"" },
	{ "two Bodies, theirs first", "</soap:Envelope>", "", "", " wsu:Id=\"body\"" },
	{ "Body behind, wrapped", "</soap:Envelope>", "<w xmlns=\"urn:w\">", "</w>", "" },
	{ "Body in the Body", "</soap:Body>", "", "", "" },
	{ "Body in the Body, same id", "</soap:Body>", "", "", " wsu:Id=\"body\"" },
	{ "Body in the operation", "</PutInstance>", "", "", "" },
	{ "Body in an Envelope in the header", "</soap:Header>",
	    "<soap:Envelope><soap:Header></soap:Header>", "</soap:Envelope>", " wsu:Id=\"body\"" },
	{ "Body in another Header", "<soap:Header>", "<soap:Header>", "</soap:Header>",
	    " wsu:Id=\"body\"" },
};

static void
test_wrapped_bodies(void **state)
{
	_cleanup_free_ char *body = body_of(base);

	for (size_t i = 0; i < ARRAY_SIZE(wrappings); i++) {
		_cleanup_free_ char *evil = evil_body(wrappings[i].id);
		_cleanup_free_ char *text =
		    moved(wrappings[i].anchor, wrappings[i].open, body, wrappings[i].close, evil);

		assert_refused(wrappings[i].name, WSSE_REQUEST, text, NULL);
	}
}

/* Header parts moved or doubled: the signed one goes to `anchor`, a changed copy stays (or comes
 * first) where the receiver would read. */
static const struct {
	const char *name, *first, *last, *from, *to, *anchor;
} doubled[] = {
	{ "To doubled before", "<wsa:To ", "</wsa:To>", "10.0.0.7", "10.9.9.9", "<wsa:To " },
	{ "To doubled behind", "<wsa:To ", "</wsa:To>", "10.0.0.7", "10.9.9.9", "<wsa:Action " },
	{ "Action doubled before", "<wsa:Action ", "</wsa:Action>", "PutInstance", "DelInstance",
	    "<wsa:Action " },
	{ "Action doubled behind", "<wsa:Action ", "</wsa:Action>", "PutInstance", "DelInstance",
	    "<wsa:MessageID " },
	{ "Action doubled last", "<wsa:Action ", "</wsa:Action>", "PutInstance", "DelInstance",
	    "</soap:Header>" },
	{ "MessageID doubled", "<wsa:MessageID ", "</wsa:MessageID>", "0c5c", "1c5c", "<Context " },
	{ "Context doubled before", "<Context ", "</Context>", "123456789012", "999999999999",
	    "<Context " },
	{ "Context doubled behind", "<Context ", "</Context>", "123456789012", "999999999999",
	    "<wsse:Security " },
	{ "Timestamp doubled before", "<wsu:Timestamp ", "</wsu:Timestamp>", "Created>2026",
	    "Created>2027", "<wsu:Timestamp " },
	{ "Timestamp doubled behind", "<wsu:Timestamp ", "</wsu:Timestamp>", "Created>2026",
	    "Created>2027", "<ds:Signature " },
	{ "token doubled", "<wsse:BinarySecurityToken ", "</wsse:BinarySecurityToken>", "MII",
	    "NII", "<ds:Signature " },
	{ "Signature doubled", "<ds:Signature ", "</ds:Signature>", "#body", "#bodz",
	    "</wsse:Security>" },
	{ "Signature doubled before", "<ds:Signature ", "</ds:Signature>", "#body", "#bodz",
	    "<ds:Signature " },
	{ "SignedInfo doubled", "<ds:SignedInfo ", "</ds:SignedInfo>", "#body", "#bodz",
	    "<ds:SignatureValue>" },
	{ "SignedInfo doubled before", "<ds:SignedInfo ", "</ds:SignedInfo>", "#body", "#bodz",
	    "<ds:SignedInfo " },
	{ "Security doubled", "<wsse:Security ", "</wsse:Security>", "#body", "#bodz",
	    "</soap:Header>" },
	{ "Security doubled before", "<wsse:Security ", "</wsse:Security>", "#body", "#bodz",
	    "<wsa:To " },
	{ "Header doubled", "<soap:Header>", "</soap:Header>", "10.0.0.7", "10.9.9.9",
	    "<soap:Body" },
	{ "Created doubled", "<wsu:Created>", "</wsu:Created>", "2026", "2027", "<wsu:Expires>" },
	{ "Expires doubled", "<wsu:Expires>", "</wsu:Expires>", "2026", "2027",
	    "</wsu:Timestamp>" },
	{ "a reference doubled", "<ds:Reference URI=\"#body\">", "</ds:Reference>", "#body",
	    "#bodz", "</ds:SignedInfo>" },
	{ "an account doubled", "<AccountId>", "</AccountId>", "123456789012", "999999999999",
	    "<From>" },
};

static void
test_doubled_parts(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(doubled); i++) {
		_cleanup_free_ char *part = cut_out(base, doubled[i].first, doubled[i].last);
		_cleanup_free_ char *copy = replaced(part, doubled[i].from, doubled[i].to);
		_cleanup_free_ char *insert = xasprintf("%s%s", copy, doubled[i].anchor);
		_cleanup_free_ char *text = replaced(base, doubled[i].anchor, insert);

		assert_refused(doubled[i].name, WSSE_REQUEST, text, NULL);
	}
}

/* Each part left out, with its reference and without, everything else signed again. */
static void
test_missing_parts(void **state)
{
	static const struct {
		const char *name, *first, *last, *id;
	} cases[] = {
		{ "To", "<wsa:To ", "</wsa:To>", "to" },
		{ "Action", "<wsa:Action ", "</wsa:Action>", "action" },
		{ "MessageID", "<wsa:MessageID ", "</wsa:MessageID>", "message-id" },
		{ "Context", "<Context ", "</Context>", "context" },
		{ "Timestamp", "<wsu:Timestamp ", "</wsu:Timestamp>", "timestamp" },
		{ "token", "<wsse:BinarySecurityToken ", "</wsse:BinarySecurityToken>", "token" },
		{ "Body", "<soap:Body", "</soap:Body>", "body" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *part = cut_out(base, cases[i].first, cases[i].last);
		_cleanup_free_ char *uri = xasprintf("<ds:Reference URI=\"#%s\">", cases[i].id);
		_cleanup_free_ char *reference = cut_out(base, uri, "</ds:Reference>");
		_cleanup_free_ char *unsigned_part = replaced(base, reference, "");
		_cleanup_free_ char *absent = replaced(base, part, "");
		_cleanup_free_ char *both = replaced(unsigned_part, part, "");

		resign(&unsigned_part);
		resign(&both);
		assert_refused(cases[i].name, WSSE_REQUEST, unsigned_part, NULL);
		assert_refused(cases[i].name, WSSE_REQUEST, absent, NULL);
		assert_refused(cases[i].name, WSSE_REQUEST, both, NULL);
	}
}

static void
test_missing_security(void **state)
{
	static const struct {
		const char *name, *first, *last;
	} cases[] = {
		{ "no Security", "<wsse:Security ", "</wsse:Security>" },
		{ "no Signature", "<ds:Signature ", "</ds:Signature>" },
		{ "no SignedInfo", "<ds:SignedInfo ", "</ds:SignedInfo>" },
		{ "no SignatureValue", "<ds:SignatureValue>", "</ds:SignatureValue>" },
		{ "no KeyInfo", "<ds:KeyInfo>", "</ds:KeyInfo>" },
		{ "no SignatureMethod", "<ds:SignatureMethod ", "</ds:SignatureMethod>" },
		{ "no CanonicalizationMethod", "<ds:CanonicalizationMethod ",
		    "</ds:CanonicalizationMethod>" },
		{ "no Header", "<soap:Header>", "</soap:Header>" },
		{ "no operation", "<PutInstance ", "</PutInstance>" },
		{ "no Expires", "<wsu:Expires>", "</wsu:Expires>" },
		{ "no Version", "<Version>", "</Version>" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *part = cut_out(base, cases[i].first, cases[i].last);
		_cleanup_free_ char *text = replaced(base, part, "");

		assert_refused(cases[i].name, WSSE_REQUEST, text, NULL);
	}
}

/* Honest signatures over what must not be: only the rule named can refuse them. */
static void
test_honestly_signed(void **state)
{
	static const struct {
		const char *name, *id, *first, *last, *from, *to, *reason;
	} cases[] = {
		{ "two operations", "body", "<soap:Body", "</soap:Body>", "</PutInstance>",
		    "</PutInstance><PutInstance xmlns=\"" NS_MALLEE "\"></PutInstance>",
		    "one child" },
		{ "a part of the Body by id", "body", "<soap:Body", "</soap:Body>", "<Generation>",
		    "<Generation ID=\"x\">", "an id" },
		{ "Context with an unknown field", "context", "<Context ", "</Context>",
		    "</Context>", "<More></More></Context>", "belongs" },
		{ "Context in another order", "context", "<Context ", "</Context>",
		    "<Version>1</Version>", "", "belongs" },
		{ "markup in Action", "action", "<wsa:Action ", "</wsa:Action>", "urn:mallee",
		    "<b></b>urn:mallee", "plain text" },
		{ "number with a sign", "context", "<Context ", "</Context>", ">5000<", ">+5000<",
		    "no number" },
		{ "number with zeros", "context", "<Context ", "</Context>", ">5000<", ">0005000<",
		    "digest" },
		{ "expired long ago", "timestamp", "<wsu:Timestamp ", "</wsu:Timestamp>",
		    "<wsu:Expires>2026", "<wsu:Expires>2025", "expired" },
		{ "created tomorrow", "timestamp", "<wsu:Timestamp ", "</wsu:Timestamp>",
		    "<wsu:Created>2026", "<wsu:Created>2027", "future" },
		{ "valid for years", "timestamp", "<wsu:Timestamp ", "</wsu:Timestamp>",
		    "<wsu:Expires>2026", "<wsu:Expires>2096", "too long" },
		{ "Created is no time", "timestamp", "<wsu:Timestamp ", "</wsu:Timestamp>",
		    "<wsu:Created>2026", "<wsu:Created>MMXX", "no time" },
		{ "in another's name", "context", "<Context ", "</Context>", "clc-1", "clc-2",
		    "in the name of" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text =
		    honest(cases[i].id, cases[i].first, cases[i].last, cases[i].from, cases[i].to);

		assert_refused(cases[i].name, WSSE_REQUEST, text, cases[i].reason);
	}
}

/* -- signature values -- */

static void
set_signature(char **text, const void *bytes, size_t n)
{
	_cleanup_free_ char *old = cut_out(*text, "<ds:SignatureValue>", "</ds:SignatureValue>");
	_cleanup_free_ char *value = base64_encode(bytes, n);
	_cleanup_free_ char *element =
	    xasprintf("<ds:SignatureValue>%s</ds:SignatureValue>", value);

	set(text, replaced(*text, old, element));
}

static void
signature_of(const char *text, uint8_t raw[64])
{
	_cleanup_free_ char *element = cut_out(text, "<ds:SignatureValue>", "</ds:SignatureValue>");
	struct str value = { element + strlen("<ds:SignatureValue>"), 88 };
	_cleanup_free_ void *bytes = NULL;
	size_t n;

	assert_true(base64_decode(value, &bytes, &n));
	assert_int_equal(n, 64);
	memcpy(raw, bytes, 64);
}

/* (r, n - s) is as valid as (r, s) for the same message. */
static char *
twin(const char *text)
{
	static const char order[] =
	    "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";
	char *changed = xstrdup(text);
	uint8_t raw[64];
	BIGNUM *n = NULL, *s;

	signature_of(text, raw);
	assert_true(BN_hex2bn(&n, order));
	s = BN_bin2bn(raw + 32, 32, NULL);
	assert_true(BN_sub(s, n, s));
	assert_int_equal(BN_bn2binpad(s, raw + 32, 32), 32);
	set_signature(&changed, raw, 64);
	BN_free(n);
	BN_free(s);
	return changed;
}

static void
test_signature_values(void **state)
{
	_cleanup_free_ char *text = xstrdup(base), *info = NULL;
	uint8_t raw[65] = { 0 }, mac[32];
	unsigned char *public = NULL;
	int n;

	set_signature(&text, raw, 64);
	assert_refused("zero signature", WSSE_REQUEST, text, "signature is wrong");
	memset(raw, 0xff, 64);
	set_signature(&text, raw, 64);
	assert_refused("signature of ones", WSSE_REQUEST, text, "signature is wrong");
	signature_of(base, raw);
	set_signature(&text, raw, 63);
	assert_refused("short signature", WSSE_REQUEST, text, "not 64 bytes");
	set_signature(&text, raw, 65);
	assert_refused("long signature", WSSE_REQUEST, text, "not 64 bytes");
	set_signature(&text, raw, 0);
	assert_refused("empty signature", WSSE_REQUEST, text, "not 64 bytes");
	resign_with(&text, world.nc.key);
	assert_refused("signed by another peer's key", WSSE_REQUEST, text, "signature is wrong");
	set(&text,
	    replaced(base, DS_ECDSA_SHA256, "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"));
	info = cut_out(text, "<ds:SignedInfo", "</ds:SignedInfo>");
	n = i2d_PUBKEY(world.clc.key, &public);
	hmac(DIGEST_SHA256, (struct str){ (char *)public, (size_t)n }, str_of(info), mac);
	OPENSSL_free(public);
	set_signature(&text, mac, 32);
	assert_refused("HMAC with the public key", WSSE_REQUEST, text, "SignatureMethod");
}

/* -- peers -- */

#define DAY_US (86400 * SECOND_US)
static const struct {
	const char *name;
	struct pki_subject subject; /* dates in days from now */
	enum { BY_CA, BY_STRANGER, BY_PEER, BY_ITSELF } issuer;
	const char *reason;
} peers[] = {
	{ "of another CA", { "Mallee", "clc", "clc-1", -1, 90 }, BY_STRANGER, "not trusted" },
	{ "signed by itself", { "Mallee", "clc", "clc-1", -1, 90 }, BY_ITSELF, "not trusted" },
	{ "issued by a peer", { "Mallee", "clc", "clc-1", -1, 90 }, BY_PEER, "not trusted" },
	{ "expired", { "Mallee", "clc", "clc-1", -20, -1 }, BY_CA, "not trusted" },
	{ "not valid yet", { "Mallee", "clc", "clc-1", 1, 90 }, BY_CA, "not trusted" },
	{ "a CA", { "Mallee", "clc", "clc-1", -1, 90, .is_ca = true }, BY_CA, "not for signing" },
	{ "of another organisation", { "Other", "clc", "clc-1", -1, 90 }, BY_CA, "names no peer" },
	{ "without organisation", { NULL, "clc", "clc-1", -1, 90 }, BY_CA, "names no peer" },
	{ "without role", { "Mallee", NULL, "clc-1", -1, 90 }, BY_CA, "names no peer" },
	{ "without name", { "Mallee", "clc", NULL, -1, 90 }, BY_CA, "names no peer" },
	{ "with an unknown role", { "Mallee", "user", "clc-1", -1, 90 }, BY_CA, "role 'user'" },
	{ "with a space in its name", { "Mallee", "clc", "clc 1", -1, 90 }, BY_CA,
	    "names no peer" },
	{ "with another's name", { "Mallee", "clc", "clc-2", -1, 90 }, BY_CA, "in the name of" },
	{ "on P-384", { "Mallee", "clc", "clc-1", -1, 90, .curve = "P-384" }, BY_CA,
	    "not ECDSA P-256" },
	{ "on secp256k1", { "Mallee", "clc", "clc-1", -1, 90, .curve = "secp256k1" }, BY_CA,
	    "not ECDSA P-256" },
	{ "with an RSA key", { "Mallee", "clc", "clc-1", -1, 90, .curve = "RSA" }, BY_CA,
	    "not ECDSA P-256" },
};

/* The message with the certificate in place of the sender's, digest and (if the key can) signature
 * right. */
static char *
signed_by(const struct pki *peer)
{
	_cleanup_free_ char *certificate = NULL;
	unsigned char *der = NULL;
	int n = i2d_X509(peer->certificate, &der);
	char *text;

	certificate = base64_encode(der, (size_t)n);
	OPENSSL_free(der);
	text = replaced(base, world.clc.certificate_base64, certificate);
	redigest(&text, "token", "<wsse:BinarySecurityToken", "</wsse:BinarySecurityToken>");
	if (EVP_PKEY_get_bits(peer->key) == 256)
		resign_with(&text, peer->key);
	return text;
}

static void
test_wrong_peers(void **state)
{
	struct pki_subject ca = { "Mallee", NULL, "cloud CA", world.now_us - DAY_US,
		world.now_us + 90 * DAY_US, .is_ca = true };
	struct pki stranger, clc = { world.clc.key, world.clc.certificate };

	pki_issue(NULL, &ca, &stranger);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		const struct pki *issuers[] = { &world.ca, &stranger, &clc, NULL };
		struct pki_subject subject = peers[i].subject;
		struct wsse_verifier *v = wsse_world_verifier(&world);
		_cleanup_free_ char *text = NULL;
		struct wsse_message m;
		struct err e = { 0 };
		struct pki peer;

		subject.not_before_us = world.now_us + subject.not_before_us * DAY_US;
		subject.not_after_us = world.now_us + subject.not_after_us * DAY_US;
		pki_issue(issuers[peers[i].issuer], &subject, &peer);
		text = signed_by(&peer);
		if (wsse_verify(v, WSSE_REQUEST, str_of(text), NULL, world.now_us, &m, &e) >= 0)
			fail_msg("a certificate %s: accepted", peers[i].name);
		if (!strstr(e.text, peers[i].reason))
			fail_msg("a certificate %s: refused for another reason: %s", peers[i].name,
			    e.text);
		pki_done(&peer);
		wsse_verifier_free(v);
	}
	pki_done(&stranger);
}

static void
test_peer_of_the_connection(void **state)
{
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct wsse_message m;
	struct err e = { 0 };
	char other[WSSE_FINGERPRINT_SIZE];

	memcpy(other, world.clc_fingerprint, sizeof(other));
	other[63] = other[63] == '0' ? '1' : '0';
	assert_int_equal(wsse_verify(v, WSSE_REQUEST, str_of(base), other, world.now_us, &m, &e),
	    ERR_AUTH_FAILURE);
	assert_non_null(strstr(e.text, "another peer sent it"));
	wsse_verifier_free(v);
}

/* -- times and replays -- */

static void
test_times_at_their_edge(void **state)
{
	static const struct {
		int64_t now_s; /* relative to Created; Expires is WSSE_VALIDITY_S later */
		bool ok;
	} cases[] = {
		{ -20, true },
		{ -21, false },
		{ 0, true },
		{ WSSE_VALIDITY_S, true },
		{ WSSE_VALIDITY_S + 20, true },
		{ WSSE_VALIDITY_S + 21, false },
		{ 16 * 60, false },
		{ -16 * 60, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wsse_verifier *v = wsse_world_verifier(&world);
		struct wsse_message m;
		struct err e = { 0 };
		int r = wsse_verify(v, WSSE_REQUEST, str_of(base), NULL,
		    world.now_us + cases[i].now_s * SECOND_US, &m, &e);

		if ((r == 0) != cases[i].ok)
			fail_msg("%lld s: %s", (long long)cases[i].now_s, e.text);
		if (r == 0)
			wsse_message_done(&m);
		wsse_verifier_free(v);
	}
}

static char *
signed_request(const char *message_id, uint64_t receiver_epoch)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct soap_addressing a = world.addressing;
	struct err e = { 0 };

	a.message_id = message_id;
	a.receiver_epoch = receiver_epoch;
	assert_int_equal(wsse_write(&world.clc, &a, str_of(world.body), world.now_us, &out, &e), 0);
	return strbuf_take(&out);
}

static void
test_replays(void **state)
{
	_cleanup_free_ char *other = signed_request("urn:uuid:other", WORLD_EPOCH);
	_cleanup_free_ char *same = signed_request(world.addressing.message_id, WORLD_EPOCH);
	_cleanup_free_ char *base_twin = twin(base), *other_twin = twin(other);
	_cleanup_free_ char *twin_of_twin = twin(other_twin);
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct err e = { 0 };

	assert_int_equal(verify_as(v, WSSE_REQUEST, base, &e), 0);
	assert_int_equal(verify_as(v, WSSE_REQUEST, base, &e), ERR_AUTH_FAILURE);
	assert_non_null(strstr(e.text, "seen before"));
	assert_int_equal(verify_as(v, WSSE_REQUEST, base_twin, &e), ERR_AUTH_FAILURE);
	assert_non_null(strstr(e.text, "seen before"));
	assert_int_equal(verify_as(v, WSSE_REQUEST, other_twin, &e), 0); /* a valid signature */
	assert_int_equal(verify_as(v, WSSE_REQUEST, other, &e), ERR_AUTH_FAILURE);
	assert_int_equal(verify_as(v, WSSE_REQUEST, twin_of_twin, &e), ERR_AUTH_FAILURE);
	assert_int_equal(verify_as(v, WSSE_REQUEST, base, &e), ERR_AUTH_FAILURE);
	/* signed anew, with another random number, it is the same SignedInfo: a replay still */
	assert_string_not_equal(same, base);
	assert_int_equal(verify_as(v, WSSE_REQUEST, same, &e), ERR_AUTH_FAILURE);
	assert_non_null(strstr(e.text, "seen before"));
	wsse_verifier_free(v);
}

static void
test_replay_after_restart(void **state)
{
	struct wsse_options options = { .ca_path = world.ca_path, .epoch = WORLD_EPOCH + 1 };
	struct wsse_verifier *v;
	struct wsse_message m;
	struct err e = { 0 };

	assert_int_equal(wsse_verifier_new(&options, &v, &e), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(wsse_verify(v, WSSE_REQUEST, str_of(base), world.clc_fingerprint,
				     world.now_us, &m, &e),
		    ERR_STALE);
		assert_true(m.is_stale);
		assert_string_equal(m.addressing.message_id, world.addressing.message_id);
		wsse_message_done(&m);
	}
	wsse_verifier_free(v);
}

/* Each kind of message in the other's place, and replies to others. */
static void
test_confused_kinds(void **state)
{
	_cleanup_strbuf_ struct strbuf reply = STRBUF_INIT, foreign = STRBUF_INIT;
	struct soap_addressing a = world.addressing;
	struct err e = { 0 };

	a.to = "clc-1";
	a.relates_to = world.addressing.message_id;
	assert_int_equal(
	    wsse_write(&world.clc, &a, str_of(world.body), world.now_us, &reply, &e), 0);
	a.to = "clc-2";
	assert_int_equal(
	    wsse_write(&world.clc, &a, str_of(world.body), world.now_us, &foreign, &e), 0);
	assert_refused("request as reply", WSSE_REPLY, base, "RelatesTo");
	assert_refused("reply as request", WSSE_REQUEST, strbuf_c(&reply), "belongs");
	assert_refused("reply to another", WSSE_REPLY, strbuf_c(&foreign), "somebody else");
}

/* -- every byte -- */

#ifdef LOCK_CHECKS /* a sanitized build: slower by an order */
#define STRIDE 7
#else
#define STRIDE 1
#endif

static void
assert_text_refused(struct wsse_verifier *v, const char *how, size_t at, struct str text)
{
	struct wsse_message m;
	struct err e = { 0 };

	if (wsse_verify(v, WSSE_REQUEST, text, world.clc_fingerprint, world.now_us, &m, &e) >= 0)
		fail_msg("%s at byte %zu: accepted", how, at);
}

static void
test_every_flip(void **state)
{
	struct wsse_verifier *v = wsse_world_verifier(&world);
	size_t n = strlen(base);
	_cleanup_free_ char *text = xmemdup(base, n);

	for (size_t i = 0; i < n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			if ((i * 8 + bit) % STRIDE)
				continue;
			text[i] = (char)(base[i] ^ (1 << bit));
			assert_text_refused(v, "a flip", i, (struct str){ text, n });
			text[i] = base[i];
		}
	/* the verifier itself is still well */
	assert_int_equal(verify_as(v, WSSE_REQUEST, base, NULL), 0);
	wsse_verifier_free(v);
}

static void
test_every_cut_and_insertion(void **state)
{
	static const char inserted[] = " \n\tA<\"";
	struct wsse_verifier *v = wsse_world_verifier(&world);
	size_t n = strlen(base);
	_cleanup_free_ char *text = xmalloc(n + 1);

	for (size_t i = 0; i < n; i++) {
		if (i % STRIDE)
			continue;
		assert_text_refused(v, "cut off", i, (struct str){ base, i });
		memcpy(text, base, i);
		memcpy(text + i, base + i + 1, n - i - 1);
		if (base[i] != base[i ? i - 1 : 0])
			assert_text_refused(v, "dropped", i, (struct str){ text, n - 1 });
		memcpy(text + i + 1, base + i, n - i);
		text[i] = inserted[i % (sizeof(inserted) - 1)];
		assert_text_refused(v, "inserted", i, (struct str){ text, n + 1 });
	}
	wsse_verifier_free(v);
}

static int
set_up(void **state)
{
	wsse_world_init(&world);
	base = signed_request(world.addressing.message_id, WORLD_EPOCH);
	return 0;
}

static int
tear_down(void **state)
{
	free(base);
	wsse_world_done(&world);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_base_verifies),
		cmocka_unit_test(test_replacements),
		cmocka_unit_test(test_wrapped_bodies),
		cmocka_unit_test(test_doubled_parts),
		cmocka_unit_test(test_missing_parts),
		cmocka_unit_test(test_missing_security),
		cmocka_unit_test(test_honestly_signed),
		cmocka_unit_test(test_signature_values),
		cmocka_unit_test(test_wrong_peers),
		cmocka_unit_test(test_peer_of_the_connection),
		cmocka_unit_test(test_times_at_their_edge),
		cmocka_unit_test(test_replays),
		cmocka_unit_test(test_replay_after_restart),
		cmocka_unit_test(test_confused_kinds),
		cmocka_unit_test(test_every_flip),
		cmocka_unit_test(test_every_cut_and_insertion),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
