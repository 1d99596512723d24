/* Specs as the store has them. */
#include "spec.h"

#include <libxml/tree.h>
#include "xml/xml_read.h"
#include "xml/xml_write.h"

static const struct xml_limits spec_limits = {
	.bytes = 4 << 20, .attributes = 8, .depth = 16, .elements = 100000
};

void
spec_encode(const struct shape *shape, const void *in, struct strbuf *out)
{
	struct xml_writer w;

	xml_writer_init(&w, out, false);
	xml_open(&w, "spec");
	codec_to_xml(shape, in, &w);
	xml_close(&w, "spec");
}

int
spec_decode(
    const struct shape *shape, struct str text, struct arena *arena, void *out, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	int r = xml_parse(text, &spec_limits, &doc, e);

	if (r == 0)
		r = codec_from_xml(shape, xmlDocGetRootElement(doc), arena, out, e);
	return r < 0 ? err_wrap(e, "reading a stored record") : 0;
}
