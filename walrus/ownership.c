/* OwnershipControls: one rule, one word. */
#include "ownership.h"

#include <string.h>

#include "acl.h"
#include "request.h"

static const char *const names[OWNERSHIP_MAX] = { [OWNERSHIP_WRITER] = "ObjectWriter",
	[OWNERSHIP_PREFERRED] = "BucketOwnerPreferred",
	[OWNERSHIP_ENFORCED] = "BucketOwnerEnforced" };
static const enum ownership values[OWNERSHIP_MAX] = { OWNERSHIP_WRITER, OWNERSHIP_PREFERRED,
	OWNERSHIP_ENFORCED };

enum ownership
ownership_of(const struct bucket *bucket)
{
	const enum ownership *set = bucket->settings[SETTING_OWNERSHIP];

	return set ? *set : OWNERSHIP_WRITER;
}

bool
ownership_from_name(struct str name, enum ownership *ret)
{
	for (unsigned o = 0; o < OWNERSHIP_MAX; o++)
		if (str_is(name, names[o])) {
			*ret = o;
			return true;
		}
	return false;
}

char *
ownership_document(enum ownership o, struct arena *arena)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct xml_writer w;

	xml_writer_init(&w, &text, false);
	xml_open(&w, "OwnershipControls");
	ownership_write(NULL, &w, &values[o]);
	xml_close(&w, "OwnershipControls");
	return arena_str(arena, strbuf_str(&text));
}

int
ownership_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	xmlNode *rule, *node;
	enum ownership o;
	char *text;
	int r = setting_parse_xml(body, "OwnershipControls", &doc, e);

	if (r < 0)
		return r;
	rule = xml_first(xmlDocGetRootElement(doc));
	if (!rule || !xml_is(rule, NULL, "Rule") || xml_next(rule))
		return setting_malformed(e);
	node = xml_find(rule, "ObjectOwnership");
	text = node ? xml_text_of(node, 64, arena) : NULL;
	if (!text || !ownership_from_name(str_of(text), &o))
		return setting_malformed(e);
	*ret = &values[o];
	return 0;
}

void
ownership_write(struct request *rq, struct xml_writer *w, const void *value)
{
	const enum ownership *o = value;

	xml_open(w, "Rule");
	xml_element(w, "ObjectOwnership", names[*o]);
	xml_close(w, "Rule");
}

/* What an ACL granted would be taken away in silence. */
int
ownership_check(struct request *rq, const void *value, struct err *e)
{
	const enum ownership *o = value;

	if (o && *o == OWNERSHIP_ENFORCED && rq->bucket->settings[SETTING_ACL])
		return err_set(e, ERR_ACL_WITH_OWNERSHIP,
		    "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced "
		    "setting");
	return 0;
}
