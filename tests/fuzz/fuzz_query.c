/* Query strings to structs. Whatever is accepted must survive as XML: written, read and written
 * again it is the same text; its copy and its log line are made as well. */
#include <stdint.h>
#include <stdlib.h>
#include "net/url.h"
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
try_shape(const struct shape *shape, struct str text)
{
	static const char *const ignore[] = { "Action", "Version", NULL };
	_cleanup_arena_ struct arena *arena = arena_new(1 << 20), *other = arena_new(0);
	_cleanup_strbuf_ struct strbuf first = STRBUF_INIT, second = STRBUF_INIT, log = STRBUF_INIT;
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct form form = { 0 };
	struct err e = { 0 };
	void *in = arena_alloc(other, shape->size), *out = arena_alloc(other, shape->size),
	     *copy = arena_alloc(other, shape->size);
	int r;

	if (form_parse(text, 1000, arena, &form, &e) < 0)
		return;
	r = codec_from_query(shape, &form, ignore, arena, in, &e);
	if (r < 0) {
		if (r != ERR_MISSING_PARAMETER && r != ERR_INVALID_PARAMETER_VALUE &&
		    r != ERR_UNKNOWN_PARAMETER && r != ERR_LIMIT)
			abort();
		return;
	}
	codec_to_log(shape, in, &log);
	codec_copy(shape, in, other, copy);
	encode(shape, copy, &first);
	r = xml_parse(strbuf_str(&first), &xml_limits_soap, &doc, &e);
	if (r == ERR_LIMIT)
		return;
	if (r < 0 || codec_from_xml(shape, xmlDocGetRootElement(doc), other, out, &e) < 0)
		abort();
	encode(shape, out, &second);
	if (!str_eq(strbuf_str(&first), strbuf_str(&second)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str text = { (const char *)data, n };

	try_shape(&everything_in_shape, text);
	try_shape(&need_in_shape, text);
	return 0;
}
