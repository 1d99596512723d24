#pragma once
/* Cross-origin resource sharing: which pages of other hosts may ask for a bucket's objects in a
 * browser. "Using cross-origin resource sharing (CORS)" of the S3 user guide; the Fetch standard.
 */
#include "setting.h"

struct cors_rule {
	const char *id;                                        /* NULL: none */
	const char **origins, **methods, **headers, **exposed; /* each ends with NULL */
	int64_t max_age;                                       /* seconds; -1: not said */
};
struct cors { /* the setting's value */
	struct cors_rule *rules;
	size_t count;
};
int cors_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void cors_write(struct request *rq, struct xml_writer *w, const void *value);

/* The first rule that lets `origin` use `method`, and send what `headers` lists (a comma list; p
 * NULL: not asked). NULL: none does. *ret_pattern is the origin in that rule. */
const struct cors_rule *cors_find(const struct cors *cors, struct str origin, struct str method,
    struct str headers, const char **ret_pattern);

int cors_check_method(const char *text, struct err *e); /* ERR_INVALID_REQUEST */
/* A browser asks before it sends (OPTIONS). */
int cors_preflight(struct request *rq, struct err *e);
/* Adds what the bucket's rules say to the reply of any other request, errors too. */
void cors_reply(struct request *rq);
