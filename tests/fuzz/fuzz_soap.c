/* Fuzzes the XML reader, SOAP faults and signed envelopes. The first byte chooses:
 *
 * 0  the rest is an envelope as a stranger sends it: never accepted
 * 1  the rest is an XML document: read with S3's limits, walked, its text written and read back
 * 2  the rest is a Body: signed, and what verifies is exactly what was signed
 * 3+ the rest edits a valid envelope (place, bytes to drop, bytes to insert): refused unless
 * nothing changed
 *
 * Every accepted message that should not be, and every text that does not survive, aborts. */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "auth/wsse.h"
#include "tests/lib/wsse_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct wsse_world world;
static struct wsse_verifier *verifier;
static struct strbuf valid;

static void
set_up(void)
{
	if (valid.n > 0)
		return;
	wsse_world_init(&world);
	verifier = wsse_world_verifier(&world);
	(void)unlink(world.ca_path); /* it is in memory; nobody tells a fuzz target of its end */
	(void)rmdir(world.directory);
	if (wsse_write(
		&world.clc, &world.addressing, str_of(world.body), world.now_us, &valid, NULL) < 0)
		abort();
}

static bool
is_accepted(struct str text, enum wsse_kind kind)
{
	struct wsse_message m;
	struct err e = { 0 };
	int r = wsse_verify(verifier, kind, text, world.clc_fingerprint, world.now_us, &m, &e);

	if (r == 0 || r == ERR_STALE)
		wsse_message_done(&m);
	return r == 0;
}

static void
walk(xmlNode *node, struct arena *arena)
{
	for (; node; node = xml_next(node)) {
		struct err e;
		char *text = xml_text_of(node, 4096, arena);

		(void)soap_fault_read(node, &e);
		if (text && !is_utf8(str_of(text)))
			abort();
		walk(xml_first(node), arena);
	}
}

static void
read_document(struct str text)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct err e = { 0 };

	if (xml_parse(text, &xml_limits_s3, &doc, &e) == 0)
		walk(xmlDocGetRootElement(doc), arena);
	else if (e.code != ERR_MALFORMED_XML && e.code != ERR_LIMIT)
		abort();
}

/* Whatever bytes a user sends, what the writer makes of them can be read, and loses only what XML
 * cannot hold. */
static void
write_and_read(struct str text)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_free_ char *copy = str_dup(text);
	struct xml_writer w;
	struct err e = { 0 };
	const char *again;

	xml_writer_init(&w, &out, true);
	xml_open(&w, "a");
	xml_attribute(&w, "b", copy);
	xml_text(&w, text);
	xml_close(&w, "a");
	if (xml_parse(strbuf_str(&out), &xml_limits_s3, &doc, &e) < 0) {
		if (e.code != ERR_LIMIT)
			abort();
		return;
	}
	again = xml_text_of(xmlDocGetRootElement(doc), SIZE_MAX / 2, arena);
	if (again && !strstr(again, "\xEF\xBF\xBD") && !str_is(text, again))
		abort();
}

static void
sign_body(struct str body)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	if (memchr(body.p, '\0', body.n))
		return;
	if (wsse_write(&world.clc, &world.addressing, body, world.now_us, &out, NULL) < 0)
		abort();
	(void)is_accepted(strbuf_str(&out), WSSE_REQUEST);
}

static void
edit_envelope(const uint8_t *data, size_t n)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	size_t at, dropped;

	if (n < 3)
		return;
	at = (size_t)(data[0] << 8 | data[1]) % valid.n;
	dropped = data[2] % (valid.n - at);
	strbuf_add(&text, valid.p, at);
	strbuf_add(&text, data + 3, n - 3);
	strbuf_add(&text, valid.p + at + dropped, valid.n - at - dropped);
	if (str_eq(strbuf_str(&text), strbuf_str(&valid)))
		return;
	if (is_accepted(strbuf_str(&text), WSSE_REQUEST))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str rest;

	set_up();
	if (n == 0)
		return 0;
	rest = (struct str){ (const char *)data + 1, n - 1 };
	switch (data[0] % 8) {
	case 0:
		if (is_accepted(rest, WSSE_REQUEST) || is_accepted(rest, WSSE_REPLY))
			abort();
		break;
	case 1:
		read_document(rest);
		write_and_read(rest);
		break;
	case 2:
		sign_body(rest);
		break;
	default:
		edit_envelope(data + 1, n - 1);
	}
	return 0;
}
