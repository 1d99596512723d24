#pragma once
/* Settings of a bucket: its sub-resources, as data (settings.def). Each is a document that its module
 * parses to a value of its own and writes again. Parsed values live in the cached bucket:
 * bucket->settings[SETTING_CORS], NULL when not set. */
#include "base/arena.h"
#include "base/err.h"
#include "store/store.h"
#include "xml/xml_read.h"
#include "xml/xml_write.h"

struct request;

enum setting {
#define SETTING(name, sub_resource, root, missing, missing_text, parse, write, check) SETTING_##name,
#include "settings.def"
#undef SETTING
	SETTING_MAX
};
struct setting_kind {
	const char *root; /* element of its XML; NULL: JSON, sent and answered as it is */
	int missing;      /* the fault when it is not set; 0: write with value NULL says what that means */
	const char *missing_text;
	/* Meaning, from a document of a client or of the store: a value in the arena. ERR_MALFORMED_XML
	 * and what else a document can be wrong in. */
	int (*parse)(struct str body, struct arena *arena, const void **ret, struct err *e);
	/* The children of the root element. NULL for JSON. */
	void (*write)(struct request *rq, struct xml_writer *w, const void *value);
};
extern const struct setting_kind setting_kinds[SETTING_MAX + 1];
extern const char *const setting_names[SETTING_MAX + 1]; /* the sub-resource, and the row's kind: "cors" */

/* For parse: the document, if it has that root. ERR_MALFORMED_XML. */
int setting_parse_xml(struct str body, const char *root, xmlDoc **ret, struct err *e);
int setting_malformed(struct err *e); /* ERR_MALFORMED_XML in S3's words */
/* For a rule without an id: made of the document, which is stored as it came, and so the same at every
 * reading. */
const char *setting_make_id(struct str body, size_t index, struct arena *arena);

/* In a closure: body NULL removes it. Whoever commits forgets the cached bucket afterwards. */
int setting_set(struct store_tx *tx, int64_t bucket_id, enum setting s, const char *body, struct err *e);
/* Durable, recorded and seen by every later request at return. */
int setting_store(struct request *rq, enum setting s, const char *body, struct err *e);

/* The first bucket by name behind `after` that has this setting: 1, 0 when there is none. Heap. */
int setting_next_bucket(struct store *store, enum setting s, const char *after, char **ret_name, struct err *e);

/* Operations (setting_serve.c), on the setting that the request's sub-resource names. */
int setting_get(struct request *rq, struct err *e);
int setting_put(struct request *rq, struct err *e);
int setting_delete(struct request *rq, struct err *e);
