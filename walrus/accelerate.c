/* AccelerateConfiguration: one word, and only one that it can be. */
#include "accelerate.h"

#include <string.h>

int
accelerate_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	xmlNode *status;
	char *text;
	int r = setting_parse_xml(body, "AccelerateConfiguration", &doc, e);

	if (r < 0)
		return r;
	status = xml_find(xmlDocGetRootElement(doc), "Status");
	text = status ? xml_text_of(status, 16, arena) : NULL;
	if (text && strcmp(text, "Enabled") == 0)
		return err_set(
		    e, ERR_INVALID_REQUEST, "S3 Transfer Acceleration is not available here");
	if (!text || strcmp(text, "Suspended") != 0)
		return setting_malformed(e);
	*ret = "Suspended";
	return 0;
}

void
accelerate_write(struct request *rq, struct xml_writer *w, const void *value)
{
	xml_element(w, "Status", value);
}
