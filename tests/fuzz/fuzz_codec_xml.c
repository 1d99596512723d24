/* XML to structs, of shapes that peers send: what is read and written once is stable. */
#include <stdint.h>
#include <stdlib.h>
#include "rpc/common.api.h"
#include "test_api/sample.api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
encode(const struct shape *shape, const void *in, struct strbuf *out)
{
	struct xml_writer w;

	strbuf_reset(out);
	xml_writer_init(&w, out, true);
	xml_open(&w, "r");
	codec_to_xml(shape, in, &w);
	xml_close(&w, "r");
}

static void
try_shape(const struct shape *shape, xmlDoc *doc)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_strbuf_ struct strbuf first = STRBUF_INIT, second = STRBUF_INIT;
	_cleanup_(xml_doc_freep) xmlDoc *again = NULL;
	void *in = arena_alloc(arena, shape->size), *out = arena_alloc(arena, shape->size);
	struct err e = { 0 };
	int r = codec_from_xml(shape, xmlDocGetRootElement(doc), arena, in, &e);

	if (r < 0) {
		if (r != ERR_INVALID && r != ERR_LIMIT)
			abort();
		return;
	}
	encode(shape, in, &first);
	r = xml_parse(strbuf_str(&first), &xml_limits_soap, &again, &e);
	if (r == ERR_LIMIT)
		return;
	if (r < 0 || codec_from_xml(shape, xmlDocGetRootElement(again), arena, out, &e) < 0)
		abort();
	encode(shape, out, &second);
	if (!str_eq(strbuf_str(&first), strbuf_str(&second)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct err e = { 0 };

	if (xml_parse((struct str){ (const char *)data, n }, &xml_limits_soap, &doc, &e) < 0)
		return 0;
	try_shape(&everything_in_shape, doc);
	try_shape(&instance_spec_shape, doc);
	try_shape(&report_set_shape, doc);
	try_shape(&vpc_spec_shape, doc);
	return 0;
}
