/* PublicAccessBlockConfiguration: a table of switches. Where they count is decided by access.c,
 * acl_request.c and bucket_policy.c. */
#include "public_access.h"

#include <stddef.h>

static const struct {
	const char *name;
	size_t offset;
} switches[] = {
	{ "BlockPublicAcls", offsetof(struct public_access, block_acls) },
	{ "IgnorePublicAcls", offsetof(struct public_access, ignore_acls) },
	{ "BlockPublicPolicy", offsetof(struct public_access, block_policy) },
	{ "RestrictPublicBuckets", offsetof(struct public_access, restrict_buckets) },
};

const struct public_access *
public_access_of(const struct bucket *bucket)
{
	static const struct public_access none = { false, false, false, false };
	const struct public_access *set = bucket->settings[SETTING_PUBLIC_ACCESS];

	return set ? set : &none;
}

char *
public_access_document(struct arena *arena)
{
	static const struct public_access all = { true, true, true, true };
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct xml_writer w;

	xml_writer_init(&w, &text, false);
	xml_open(&w, "PublicAccessBlockConfiguration");
	public_access_write(NULL, &w, &all);
	xml_close(&w, "PublicAccessBlockConfiguration");
	return arena_str(arena, strbuf_str(&text));
}

static bool *
switch_of(struct public_access *p, xmlNode *node)
{
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		if (xml_is(node, NULL, switches[i].name))
			return (bool *)((char *)p + switches[i].offset);
	return NULL;
}

int
public_access_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct public_access *p = arena_alloc(arena, sizeof(*p));
	int r = setting_parse_xml(body, "PublicAccessBlockConfiguration", &doc, e);

	if (r < 0)
		return r;
	for (xmlNode *node = xml_first(xmlDocGetRootElement(doc)); node; node = xml_next(node)) {
		bool *is_on = switch_of(p, node);
		char *text = xml_text_of(node, 16, arena);
		struct str word = text ? str_trim(str_of(text)) : (struct str){ "", 0 };

		if (!is_on || (!str_is_nocase(word, "true") && !str_is_nocase(word, "false")))
			return setting_malformed(e);
		*is_on = str_is_nocase(word, "true");
	}
	*ret = p;
	return 0;
}

void
public_access_write(struct request *rq, struct xml_writer *w, const void *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
		const bool *is_on = (const bool *)((const char *)value + switches[i].offset);

		xml_element(w, switches[i].name, *is_on ? "true" : "false");
	}
}
