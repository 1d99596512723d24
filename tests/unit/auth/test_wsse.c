/* Signed messages: what we write is read back, what xmlsec1 makes of ours and we of its; epochs,
 * replay table, cache and reload. What must be refused is test_wsse_hostile's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <libxml/parser.h>
#include <libxml/xmlsave.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "auth/wsse.h"
#include "auth/wsse_envelope.h"
#include "auth/wsse_replay.h"
#include "auth/wsse_signer.h"
#include "run/cmd.h"
#include "tests/lib/wsse_world.h"

static struct wsse_world world;

static void
sign(const struct soap_addressing *a, const char *body, struct strbuf *out)
{
	struct err e = { 0 };

	assert_int_equal(wsse_write(&world.clc, a, str_of(body), world.now_us, out, &e), 0);
}

static int
verify(struct wsse_verifier *v, enum wsse_kind kind, struct str text, struct wsse_message *m,
    struct err *e)
{
	return wsse_verify(v, kind, text, world.clc_fingerprint, world.now_us, m, e);
}

static void
test_request_round_trip(void **state)
{
	_cleanup_strbuf_ struct strbuf message = STRBUF_INIT;
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct wsse_message m;
	struct err e = { 0 };

	sign(&world.addressing, world.body, &message);
	if (verify(v, WSSE_REQUEST, strbuf_str(&message), &m, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(m.subject, "clc-1");
	assert_string_equal(m.role, "clc");
	assert_string_equal(m.fingerprint, world.clc_fingerprint);
	assert_true(xml_is(m.body, NS_MALLEE, "PutInstance"));
	assert_string_equal(m.addressing.to, world.addressing.to);
	assert_string_equal(m.addressing.action, world.addressing.action);
	assert_string_equal(m.addressing.message_id, world.addressing.message_id);
	assert_null(m.addressing.relates_to);
	assert_string_equal(m.addressing.request_id, world.addressing.request_id);
	assert_string_equal(m.addressing.account_id, world.addressing.account_id);
	assert_string_equal(m.addressing.from, "clc-1");
	assert_int_equal(m.addressing.deadline_ms, 5000);
	assert_int_equal(m.addressing.receiver_epoch, WORLD_EPOCH);
	assert_int_equal(m.addressing.sender_epoch, 12);
	assert_int_equal(m.addressing.version, 1);
	assert_false(m.is_stale);
	wsse_message_done(&m);
	wsse_verifier_free(v);
}

/* Optional fields left out, a fault as the body, text that needs escapes. */
static void
test_reply_round_trip(void **state)
{
	_cleanup_strbuf_ struct strbuf message = STRBUF_INIT, body = STRBUF_INIT;
	struct soap_addressing a = { .to = "clc-1",
		.action = "urn:<&>\"'\r\n\xC3\xA9",
		.message_id = "urn:uuid:2",
		.relates_to = "urn:uuid:1",
		.from = "clc-1",
		.receiver_epoch = WORLD_EPOCH,
		.sender_epoch = UINT64_MAX,
		.deadline_ms = UINT64_MAX,
		.version = UINT32_MAX };
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct wsse_message m;
	struct xml_writer w;
	struct err e = { 0 };

	err_set(&e, ERR_INSTANCE_NOT_FOUND, "the instance '%s' <&> does not exist", "i-1");
	xml_writer_init(&w, &body, true);
	soap_fault_write(&w, &e);
	sign(&a, strbuf_c(&body), &message);
	err_clear(&e);
	if (verify(v, WSSE_REPLY, strbuf_str(&message), &m, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(m.addressing.action, a.action);
	assert_string_equal(m.addressing.relates_to, "urn:uuid:1");
	assert_null(m.addressing.request_id);
	assert_null(m.addressing.account_id);
	assert_true(m.addressing.sender_epoch == UINT64_MAX);
	assert_true(m.addressing.deadline_ms == UINT64_MAX);
	assert_true(m.addressing.version == UINT32_MAX);
	assert_true(soap_fault_read(m.body, &e));
	assert_int_equal(e.code, ERR_INSTANCE_NOT_FOUND);
	assert_string_equal(e.text, "the instance 'i-1' <&> does not exist");
	wsse_message_done(&m);
	wsse_verifier_free(v);
}

static void
test_epochs(void **state)
{
	static const struct {
		uint64_t receiver_epoch;
		int code;
	} cases[] = { { WORLD_EPOCH, 0 }, { 0, 0 }, { WORLD_EPOCH - 1, ERR_STALE },
		{ UINT64_MAX, ERR_STALE } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf message = STRBUF_INIT;
		struct wsse_verifier *v = wsse_world_verifier(&world);
		struct soap_addressing a = world.addressing;
		struct wsse_message m;
		struct err e = { 0 };

		a.receiver_epoch = cases[i].receiver_epoch;
		sign(&a, world.body, &message);
		assert_int_equal(
		    verify(v, WSSE_REQUEST, strbuf_str(&message), &m, &e), cases[i].code);
		assert_int_equal(m.is_stale, cases[i].code == ERR_STALE);
		assert_true(xml_is(m.body, NS_MALLEE, "PutInstance"));
		wsse_message_done(&m);
		wsse_verifier_free(v);
	}
}

static void
test_largest_message(void **state)
{
	for (int more = 0; more < 2; more++) {
		_cleanup_strbuf_ struct strbuf message = STRBUF_INIT, body = STRBUF_INIT;
		struct wsse_verifier *v = wsse_world_verifier(&world);
		struct wsse_message m;
		struct err e = { 0 };
		size_t overhead;

		sign(&world.addressing, "<x xmlns=\"" NS_MALLEE "\"></x>", &message);
		overhead = message.n;
		strbuf_reset(&message);
		strbuf_adds(&body, "<x xmlns=\"" NS_MALLEE "\">");
		for (size_t n = overhead; n < xml_limits_soap.bytes + (size_t)more; n++)
			strbuf_addc(&body, 'x');
		strbuf_adds(&body, "</x>");
		sign(&world.addressing, strbuf_c(&body), &message);
		assert_int_equal(message.n, xml_limits_soap.bytes + (size_t)more);
		assert_int_equal(
		    verify(v, WSSE_REQUEST, strbuf_str(&message), &m, &e), more ? ERR_LIMIT : 0);
		if (!more)
			wsse_message_done(&m);
		wsse_verifier_free(v);
	}
}

/* -- identities and the CA file -- */

static void
test_identity_files(void **state)
{
	_cleanup_free_ char *certificate = xasprintf("%s/id.pem", world.directory);
	_cleanup_free_ char *key = xasprintf("%s/id.key", world.directory);
	struct pki_subject subject = { "Mallee", "nc", "nc-2", world.now_us - SECOND_US,
		world.now_us + SECOND_US };
	struct pki one, two, rsa;
	struct wsse_identity id;
	struct err e = { 0 };

	pki_issue(&world.ca, &subject, &one);
	pki_issue(&world.ca, &subject, &two);
	subject.curve = "RSA";
	pki_issue(&world.ca, &subject, &rsa);
	assert_int_equal(wsse_identity_load(certificate, key, &id, &e), ERR_NOT_FOUND);
	pki_write(&one, certificate, NULL);
	assert_int_equal(wsse_identity_load(certificate, key, &id, &e), ERR_NOT_FOUND);
	assert_int_equal(wsse_identity_load(certificate, certificate, &id, &e), ERR_INVALID);
	pki_write(&two, NULL, key);
	assert_int_equal(wsse_identity_load(key, key, &id, &e), ERR_INVALID);
	assert_int_equal(wsse_identity_load(certificate, key, &id, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "does not belong"));
	pki_write(&rsa, certificate, key);
	assert_int_equal(wsse_identity_load(certificate, key, &id, &e), ERR_INVALID);
	pki_write(&two, certificate, key);
	assert_int_equal(wsse_identity_load(certificate, key, &id, &e), 0);
	wsse_identity_done(&id);
	(void)unlink(certificate);
	(void)unlink(key);
	pki_done(&one);
	pki_done(&two);
	pki_done(&rsa);
}

static void
test_verifier_without_ca(void **state)
{
	struct wsse_options options = { .ca_path = "/nonexistent/ca.pem", .epoch = 1 };
	struct wsse_verifier *v;
	struct err e = { 0 };

	assert_int_equal(wsse_verifier_new(&options, &v, &e), ERR_INVALID);
}

/* After the CA is replaced, what it vouched for is asked about again. */
static void
test_reload(void **state)
{
	_cleanup_strbuf_ struct strbuf one = STRBUF_INIT, two = STRBUF_INIT, three = STRBUF_INIT;
	struct pki_subject subject = { "Mallee", NULL, "new CA", world.now_us - SECOND_US,
		world.now_us + 10000 * SECOND_US, .is_ca = true };
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct soap_addressing a = world.addressing;
	struct wsse_message m;
	struct err e = { 0 };
	struct pki other;

	sign(&a, world.body, &one);
	a.message_id = "urn:uuid:2";
	sign(&a, world.body, &two);
	a.message_id = "urn:uuid:3";
	sign(&a, world.body, &three);
	assert_int_equal(verify(v, WSSE_REQUEST, strbuf_str(&one), &m, &e), 0);
	wsse_message_done(&m);
	pki_issue(NULL, &subject, &other);
	pki_write(&other, world.ca_path, NULL);
	assert_int_equal(wsse_verifier_reload(v, &e), 0);
	assert_int_equal(verify(v, WSSE_REQUEST, strbuf_str(&two), &m, &e), ERR_AUTH_FAILURE);
	assert_int_equal(unlink(world.ca_path), 0);
	assert_int_equal(wsse_verifier_reload(v, &e), ERR_INVALID); /* keeps what it had */
	assert_int_equal(verify(v, WSSE_REQUEST, strbuf_str(&two), &m, &e), ERR_AUTH_FAILURE);
	pki_write(&world.ca, world.ca_path, NULL);
	assert_int_equal(wsse_verifier_reload(v, &e), 0);
	assert_int_equal(verify(v, WSSE_REQUEST, strbuf_str(&three), &m, &e), 0);
	wsse_message_done(&m);
	assert_int_equal(verify(v, WSSE_REQUEST, strbuf_str(&one), &m, &e), ERR_AUTH_FAILURE);
	pki_done(&other);
	wsse_verifier_free(v);
}

/* A certificate in the cache is no longer good when its time is over. */
static void
test_cached_certificate_expires(void **state)
{
	struct pki_subject subject = { "Mallee", "nc", "nc-3", world.now_us - 100 * SECOND_US,
		world.now_us + 100 * SECOND_US };
	struct wsse_signers *signers;
	struct wsse_signer signer;
	struct wsse_identity id;
	struct err e = { 0 };

	wsse_world_identity(&world, &world.ca, &subject, &id);
	assert_int_equal(wsse_signers_new(world.ca_path, &signers, &e), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    wsse_signers_get(signers, id.certificate_base64, world.now_us, &signer, &e), 0);
		assert_string_equal(signer.subject, "nc-3");
		wsse_signer_done(&signer);
	}
	for (int sign_of = -1; sign_of <= 1; sign_of += 2)
		assert_int_equal(wsse_signers_get(signers, id.certificate_base64,
				     world.now_us + sign_of * 101 * SECOND_US, &signer, &e),
		    ERR_AUTH_FAILURE);
	wsse_signers_free(signers);
	wsse_identity_done(&id);
}

static int
verify_from(struct wsse_verifier *v, const struct wsse_identity *id, const char *message_id,
    const char *tls_fingerprint)
{
	_cleanup_strbuf_ struct strbuf message = STRBUF_INIT;
	struct soap_addressing a = world.addressing;
	struct wsse_message m;
	struct err e = { 0 };
	int r;

	a.message_id = message_id;
	a.from = id == &world.nc ? "nc-1" : "clc-1";
	assert_int_equal(wsse_write(id, &a, str_of(world.body), world.now_us, &message, &e), 0);
	r = wsse_verify(
	    v, WSSE_REQUEST, strbuf_str(&message), tls_fingerprint, world.now_us, &m, &e);
	if (r == 0)
		wsse_message_done(&m);
	return r;
}

/* A renewed peer signs with its new certificate, over connections that still show the old one. */
static void
test_renewed_certificate_on_an_old_connection(void **state)
{
	struct pki_subject subject = { "Mallee", "clc", "clc-1", world.now_us - SECOND_US,
		world.now_us + 1000 * SECOND_US };
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct wsse_identity renewed;
	char unknown[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	wsse_world_identity(&world, &world.ca, &subject, &renewed);
	assert_int_equal(verify_from(v, &renewed, "1", world.clc_fingerprint), ERR_AUTH_FAILURE);
	assert_int_equal(verify_from(v, &world.clc, "2", world.clc_fingerprint), 0);
	assert_int_equal(verify_from(v, &renewed, "3", world.clc_fingerprint), 0);
	assert_int_equal(verify_from(v, &renewed, "4", unknown), ERR_AUTH_FAILURE);
	assert_int_equal(verify_from(v, &world.nc, "5", world.clc_fingerprint), ERR_AUTH_FAILURE);
	wsse_identity_done(&renewed);
	wsse_verifier_free(v);
}

/* -- replay table -- */

static int
remember(struct wsse_replay *t, const char *signer, unsigned id, int64_t expires_s, int64_t now_s)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", id);
	return wsse_replay_add(t, signer, text, expires_s * SECOND_US, now_s * SECOND_US, NULL);
}

static void
test_replay_table_is_bounded(void **state)
{
	struct wsse_replay *t = wsse_replay_new(3);
	static const char *const signers[] = { "a", "b", "c", "d" };

	for (unsigned s = 0; s < ARRAY_SIZE(signers); s++) {
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(remember(t, signers[s], i, 1100, 1000), 0);
		assert_int_equal(remember(t, signers[s], 3, 1100, 1000), ERR_LIMIT);
		assert_int_equal(remember(t, signers[s], 2, 1100, 1000), ERR_AUTH_FAILURE);
	}
	assert_int_equal(wsse_replay_count(t), 12);
	assert_int_equal(remember(t, "e", 0, 1100, 1000), ERR_LIMIT); /* four times for all */
	/* room comes back when the slot of time is over, and not before */
	assert_int_equal(remember(t, "a", 0, 1100, 1120), ERR_AUTH_FAILURE);
	assert_int_equal(remember(t, "a", 3, 1300, 1200), 0);
	assert_int_equal(wsse_replay_count(t), 1);
	wsse_replay_free(t);
}

static void
test_replay_table_over_hours(void **state)
{
	struct wsse_replay *t = wsse_replay_new(1000);

	for (int64_t now = 100000; now < 120000; now += 7) {
		assert_int_equal(remember(t, "a", (unsigned)now, now + 300, now), 0);
		assert_int_equal(remember(t, "a", (unsigned)now, now + 300, now), ERR_AUTH_FAILURE);
		if (now > 100320) /* until Expires and the skew are over, always known */
			assert_int_equal(remember(t, "a", (unsigned)(now - 315), now - 15, now),
			    ERR_AUTH_FAILURE);
		assert_true(wsse_replay_count(t) <= 400 / 7);
	}
	wsse_replay_free(t);
}

/* -- xmlsec1 -- */

#define XMLSEC "/usr/bin/xmlsec1"

static void
need_xmlsec(void)
{
	if (access(XMLSEC, X_OK) == 0)
		return;
	print_message("skipped: %s is not installed (apt-get install xmlsec1)\n", XMLSEC);
	skip();
}

/* xmlsec1 finds elements by Id and must be told where Ids are. */
static struct cmd *
xmlsec(const char *mode)
{
	static const char *const elements[] = { NS_ADDRESSING ":To", NS_ADDRESSING ":Action",
		NS_ADDRESSING ":MessageID", NS_ADDRESSING ":RelatesTo", NS_MALLEE ":Context",
		NS_WSU ":Timestamp", NS_WSSE ":BinarySecurityToken", NS_SOAP ":Body" };
	struct cmd *c = cmd_new("xmlsec1");

	cmd_add(c, mode);
	for (size_t i = 0; i < ARRAY_SIZE(elements); i++) {
		cmd_add(c, "--id-attr:Id");
		cmd_add(c, elements[i]);
	}
	return c;
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
random_body(unsigned seed, struct strbuf *out)
{
	static const char *const pieces[] = { "a", " ", "\n", "\t", "\r", "&", "<", ">", "\"", "'",
		"\xC3\xA9", "\xF0\x9F\x98\x80" };
	struct xml_writer w;

	srandom(seed + 1); /* 0 and 1 give the same numbers */
	xml_writer_init(&w, out, true);
	xml_open(&w, "Operation");
	xml_attribute(&w, "xmlns", NS_MALLEE);
	for (unsigned i = 0; i < 20; i++) {
		xml_open(&w, "Item");
		for (long k = random() % 8; k > 0; k--)
			xml_text(&w, str_of(pieces[(size_t)random() % ARRAY_SIZE(pieces)]));
		xml_close(&w, "Item");
	}
	xml_close(&w, "Operation");
}

static int
xmlsec_verify(const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/message.xml", world.directory);
	_cleanup_free_ char *certificate = xasprintf("%s/clc.pem", world.directory);
	_cleanup_(cmd_freep) struct cmd *c = xmlsec("--verify");
	struct pki clc = { world.clc.key, world.clc.certificate };
	struct err e = { 0 };
	int r;

	write_file(path, text);
	pki_write(&clc, certificate, NULL);
	cmd_add(c, "--pubkey-cert-pem");
	cmd_add(c, certificate);
	cmd_add(c, path);
	r = cmd_run(c, 30000, NULL, &e);
	(void)unlink(path);
	(void)unlink(certificate);
	return r;
}

static void
test_xmlsec_verifies_ours(void **state)
{
	struct soap_addressing reply = world.addressing;

	need_xmlsec();
	reply.to = "clc-1";
	reply.relates_to = "urn:uuid:1";
	for (unsigned i = 0; i < 10; i++) {
		_cleanup_strbuf_ struct strbuf message = STRBUF_INIT, body = STRBUF_INIT;
		char *at;

		random_body(i, &body);
		sign(i % 2 ? &reply : &world.addressing, strbuf_c(&body), &message);
		assert_int_equal(xmlsec_verify(strbuf_c(&message)), 0);
		at = strstr(message.p, "<DeadlineMs>5");
		assert_non_null(at);
		at[12] = '6';
		assert_int_equal(xmlsec_verify(strbuf_c(&message)), ERR_IO); /* so it does look */
	}
}

/* Makes a template of a signed message: no digest values, no signature value. */
static char *
template_of(const char *text)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	static const char *const opens[] = { "<ds:DigestValue>", "<ds:SignatureValue>" };

	while (*text) {
		const char *close = NULL;

		for (size_t i = 0; i < ARRAY_SIZE(opens); i++)
			if (strncmp(text, opens[i], strlen(opens[i])) == 0) {
				strbuf_adds(&out, opens[i]);
				close = strchr(text + 1, '<');
			}
		if (close)
			text = close;
		else
			strbuf_addc(&out, *text++);
	}
	return strbuf_take(&out);
}

/* xmlsec1 wraps base64 and closes empty elements short; messages are written otherwise. What is
 * signed stays as it is. */
static void
unwrap(xmlNode *node)
{
	for (; node; node = node->next) {
		if (node->type == XML_ELEMENT_NODE &&
		    (xml_is(node, NS_DS, "SignatureValue") || xml_is(node, NS_DS, "DigestValue"))) {
			char *text = (char *)xmlNodeGetContent(node), *to = text;

			for (const char *from = text; *from; from++)
				if (*from > ' ')
					*to++ = *from;
			*to = '\0';
			xmlNodeSetContent(node, (xmlChar *)text);
			xmlFree(text);
		}
		unwrap(node->children);
	}
}

static char *
as_messages_are_written(struct str text)
{
	xmlDoc *doc = xmlReadMemory(text.p, (int)text.n, NULL, NULL, XML_PARSE_NONET);
	xmlBuffer *buffer = xmlBufferCreate();
	xmlSaveCtxt *save = xmlSaveToBuffer(
	    buffer, "UTF-8", XML_SAVE_NO_DECL | XML_SAVE_NO_EMPTY | XML_SAVE_AS_XML);
	char *out;

	assert_non_null(doc);
	unwrap(xmlDocGetRootElement(doc));
	assert_true(xmlSaveTree(save, xmlDocGetRootElement(doc)) >= 0);
	assert_true(xmlSaveClose(save) >= 0);
	out = xstrdup((const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	xmlFreeDoc(doc);
	return out;
}

static char *
xmlsec_sign(const char *template)
{
	_cleanup_free_ char *path = xasprintf("%s/template.xml", world.directory);
	_cleanup_free_ char *key = xasprintf("%s/clc.key", world.directory);
	_cleanup_(cmd_freep) struct cmd *c = xmlsec("--sign");
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct pki clc = { world.clc.key, world.clc.certificate };
	struct err e = { 0 };

	write_file(path, template);
	pki_write(&clc, NULL, key);
	cmd_add(c, "--privkey-pem");
	cmd_add(c, key);
	cmd_add(c, path);
	if (cmd_run(c, 30000, &out, &e) < 0)
		fail_msg("xmlsec1: %s", e.text);
	(void)unlink(path);
	(void)unlink(key);
	return as_messages_are_written(strbuf_str(&out));
}

static void
test_we_verify_xmlsec(void **state)
{
	struct wsse_verifier *v = wsse_world_verifier(&world);

	need_xmlsec();
	for (unsigned i = 0; i < 10; i++) {
		_cleanup_strbuf_ struct strbuf message = STRBUF_INIT, body = STRBUF_INIT;
		_cleanup_free_ char *template = NULL, *theirs = NULL;
		struct wsse_message m;
		struct err e = { 0 };

		/* carriage returns would be written as &#13; by libxml2's serialiser */
		random_body(i, &body);
		for (char *p = body.p; (p = strstr(p, "&#xD;")) != NULL;)
			memcpy(p, "-----", 5);
		sign(&world.addressing, strbuf_c(&body), &message);
		template = template_of(strbuf_c(&message));
		theirs = xmlsec_sign(template);
		assert_string_not_equal(theirs, strbuf_c(&message)); /* ECDSA: another number */
		if (verify(v, WSSE_REQUEST, str_of(theirs), &m, &e) < 0)
			fail_msg("body %u: %s\n%s", i, e.text, theirs);
		wsse_message_done(&m);
	}
	wsse_verifier_free(v);
}

/* -- threads -- */

struct crowd {
	struct wsse_verifier *v;
	const char *shared;
	unsigned number;
	unsigned accepted; /* of the shared message */
};

static void *
sign_and_verify(void *arg)
{
	struct crowd *crowd = arg;
	struct soap_addressing a = world.addressing;
	struct wsse_message m;
	struct err e = { 0 };

	for (unsigned i = 0; i < 20; i++) {
		_cleanup_strbuf_ struct strbuf message = STRBUF_INIT;
		_cleanup_free_ char *id = xasprintf("urn:uuid:%u-%u", crowd->number, i);

		a.message_id = id;
		if (wsse_write(&world.clc, &a, str_of(world.body), world.now_us, &message, &e) <
			0 ||
		    verify(crowd->v, WSSE_REQUEST, strbuf_str(&message), &m, &e) < 0)
			abort();
		wsse_message_done(&m);
		if (i == 5 && crowd->number == 0 && wsse_verifier_reload(crowd->v, &e) < 0)
			abort();
	}
	if (verify(crowd->v, WSSE_REQUEST, str_of(crowd->shared), &m, &e) == 0) {
		crowd->accepted++;
		wsse_message_done(&m);
	}
	return NULL;
}

static void
test_threads_share_a_verifier(void **state)
{
	_cleanup_strbuf_ struct strbuf shared = STRBUF_INIT;
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct crowd crowd[4];
	pthread_t threads[4];
	unsigned accepted = 0;

	sign(&world.addressing, world.body, &shared);
	for (unsigned i = 0; i < 4; i++) {
		crowd[i] = (struct crowd){ v, strbuf_c(&shared), i, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, sign_and_verify, &crowd[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		accepted += crowd[i].accepted;
	}
	assert_int_equal(accepted, 1);
	wsse_verifier_free(v);
}

static int
set_up(void **state)
{
	wsse_world_init(&world);
	return 0;
}

static int
tear_down(void **state)
{
	wsse_world_done(&world);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_round_trip),
		cmocka_unit_test(test_reply_round_trip),
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_largest_message),
		cmocka_unit_test(test_identity_files),
		cmocka_unit_test(test_verifier_without_ca),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_cached_certificate_expires),
		cmocka_unit_test(test_renewed_certificate_on_an_old_connection),
		cmocka_unit_test(test_replay_table_is_bounded),
		cmocka_unit_test(test_replay_table_over_hours),
		cmocka_unit_test(test_xmlsec_verifies_ours),
		cmocka_unit_test(test_we_verify_xmlsec),
		cmocka_unit_test(test_threads_share_a_verifier),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
