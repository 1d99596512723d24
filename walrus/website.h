#pragma once
/* Websites: a bucket's objects as pages, for browsers, on a listener of their own. "Hosting a static website
 * using Amazon S3" of the user guide. */
#include "setting.h"

#define WEBSITE_RULES_MAX 50

struct website_redirect {
	const char *protocol, *host;          /* NULL: those of the request */
	const char *key, *prefix_replacement; /* NULL, or instead of the key, or of the prefix that matched */
	int status;
};
struct website_rule {
	const char *prefix; /* NULL: any key */
	int error_status;   /* 0: whatever the object is */
	struct website_redirect redirect;
};
struct website { /* the setting's value */
	const char *index, *error; /* suffix of directories; key of the page of errors, NULL: none */
	const struct website_redirect *everything; /* NULL: not redirected as a whole */
	struct website_rule *rules;
	size_t rule_count;
};
int website_parse(struct str body, struct arena *arena, const void **ret, struct err *e);
void website_write(struct request *rq, struct xml_writer *w, const void *value);

/* The rule for a key: before the object is looked for (status 0), or of its error. NULL: none. */
const struct website_rule *website_find(const struct website *w, struct str key, int status);
/* Where it leads: "https://host/key". `rule` NULL: the whole website. */
void website_location(const struct website_redirect *redirect, const char *matched_prefix,
    struct str key, const char *protocol, struct str host, struct strbuf *out);
/* x-amz-website-redirect-location of an object. ERR_REDIRECT_LOCATION. p NULL is fine. */
int website_check_location(struct str value, struct err *e);

/* Instead of what request.c does for the API: a request of the website's listener, and its errors. */
int website_begin(struct request *rq, struct err *e);
void website_fail(struct request *rq, int code, const char *message);
