/* RequestPaymentConfiguration: one word. */
#include "payment.h"

#include <string.h>

static const char *const payers[] = { "BucketOwner", "Requester" };

int
payment_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	xmlNode *payer;
	char *text;
	int r = setting_parse_xml(body, "RequestPaymentConfiguration", &doc, e);

	if (r < 0)
		return r;
	payer = xml_find(xmlDocGetRootElement(doc), "Payer");
	text = payer ? xml_text_of(payer, 32, arena) : NULL;
	for (size_t i = 0; text && i < ARRAY_SIZE(payers); i++)
		if (strcmp(text, payers[i]) == 0) {
			*ret = payers[i];
			return 0;
		}
	return setting_malformed(e);
}

void
payment_write(struct request *rq, struct xml_writer *w, const void *value)
{
	xml_element(w, "Payer", value ? value : payers[0]);
}
