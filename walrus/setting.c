/* The rows of settings, and what those who parse one have in common. */
#include "setting.h"

#include "auth/digest.h"
#include "request.h"
#include "schema.h"

const char *const setting_names[SETTING_MAX + 1] = {
#define SETTING(name, sub_resource, root, missing, missing_text, parse, write, check) sub_resource,
#include "settings.def"
#undef SETTING
};

static const struct xml_limits limits = { S3_XML_BODY_MAX, 64, 64, 50000 };

int
setting_malformed(struct err *e)
{
	return err_set(e, ERR_MALFORMED_XML,
	    "The XML you provided was not well-formed or did not validate against our published "
	    "schema");
}

int
setting_parse_xml(struct str body, const char *root, xmlDoc **ret, struct err *e)
{
	xmlDoc *doc;
	struct err why;

	if (xml_parse(body, &limits, &doc, &why) < 0)
		return setting_malformed(e);
	if (!xml_is(xmlDocGetRootElement(doc), NULL, root)) {
		xml_doc_freep(&doc);
		return setting_malformed(e);
	}
	*ret = doc;
	return 0;
}

const char *
setting_make_id(struct str body, size_t index, struct arena *arena)
{
	EVP_MD_CTX *sha = digest_begin(DIGEST_SHA256);
	uint8_t hash[32];
	char *id = arena_alloc(arena, 49);

	EVP_DigestUpdate(sha, body.p, body.n);
	EVP_DigestUpdate(sha, &index, sizeof(index));
	digest_end(sha, hash);
	hex_encode(hash, 24, id);
	return id;
}

int
setting_set(struct store_tx *tx, int64_t bucket_id, enum setting s, const char *body, struct err *e)
{
	const char *kind = setting_names[s];

	return body ? store_exec(tx, Q_BUCKET_SETTING_PUT, NULL, e, bucket_id, kind, body,
			  store_now_us(tx))
		    : store_exec(tx, Q_BUCKET_SETTING_DELETE, NULL, e, bucket_id, kind);
}

struct next_bucket {
	const char *kind, *after;
	char *name; /* NULL: there is none */
};

static int
read_next_bucket(struct store_tx *tx, void *arg, struct err *e)
{
	struct next_bucket *n = arg;
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_BUCKET_WITH_SETTING, &rows, e, n->kind, n->after);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		n->name = xstrdup(store_text(rows, 0));
	return r < 0 ? r : 0;
}

int
setting_next_bucket(
    struct store *store, enum setting s, const char *after, char **ret_name, struct err *e)
{
	struct next_bucket n = { setting_names[s], after, NULL };
	int r = store_read(store, read_next_bucket, &n, e);

	if (r < 0)
		return r;
	*ret_name = n.name;
	return n.name != NULL;
}
