#pragma once
/* Signed requests from files: lines "#name value" (service, now, bucket, port), then the request as
 * sent, LF or CRLF, then a blank line and the body. */
#include "auth/credentials.h"

struct signed_request {
	char *text;
	struct http_header headers[HTTP_HEADERS_MAX];
	struct auth_request rq;
	enum auth_service service;
	int64_t now_us;
	char *bucket; /* or NULL */
};
void signed_request_parse(struct signed_request *s, struct str text); /* aborts on bad files */
void signed_request_load(struct signed_request *s, const char *path);
void signed_request_done(struct signed_request *s);
/* Replaces a header's value, or adds it; NULL removes it. `value` is borrowed. */
void signed_request_set(struct signed_request *s, const char *name, const char *value);

/* A key store with AWS's documentation keys and one disabled key. */
bool documented_keys(void *arg, const char *access_key_id, struct auth_key *ret);
