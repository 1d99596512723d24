#pragma once
/* What HTTP server and client share: heads, headers, and their strict parsing (RFC 9110, 9112).
 * Spans point into the head's own bytes: raw, not decoded, as signatures need them. */
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"
#include "base/strbuf.h"

#define HTTP_HEAD_MAX (64 * 1024) /* request line and headers together: 431 past it */
#define HTTP_HEADERS_MAX 128
#define HTTP_TARGET_MAX (16 * 1024) /* 414 past it */

struct http_header {
	struct str name, value; /* value trimmed */
};

struct http_head { /* of a request */
	struct str method;
	struct str target; /* as sent */
	struct str path;   /* target up to '?', still encoded; absolute-form is cut to its path */
	struct str query;  /* after '?', may be empty */
	struct str host;   /* Host header or absolute-form authority */
	unsigned minor;    /* HTTP/1.minor */
	struct http_header headers[HTTP_HEADERS_MAX];
	unsigned header_count;
	int64_t content_length; /* bytes to come; -1: chunked; 0: none */
	bool keep_alive;
	bool expect_continue;
	bool wants_upgrade; /* Connection names upgrade */
};

/* Parses a complete or partial head. Returns its length in bytes, 0 when more is needed, or a
 * negative fault; *ret_status is then the HTTP status to answer before closing (400, 414, 431, 501,
 * 505). Bare LF, obs-fold, NUL, CL with TE, differing lengths, missing or double Host ... are 400:
 * the table of cases is tests/data/http_cases. */
int http_head_parse(
    const char *p, size_t n, struct http_head *head, int *ret_status, struct err *e);
/* First header of that name, any case; {NULL,0} when absent. */
struct str http_head_find_str(const struct http_head *head, struct str name);
static inline struct str
http_head_find(const struct http_head *head, const char *name)
{
	return http_head_find_str(head, str_of(name));
}
unsigned http_head_count(const struct http_head *head, const char *name);
/* Whether it could be the name of a header: a token of RFC 9110, 5.6.2. */
bool http_is_token(const char *s);
/* Whether a comma list such as Connection holds a token. */
bool http_list_has(struct str list, const char *token);

/* Chunked transfer coding, fed in pieces of any size. */
struct http_chunked {
	uint64_t left;
	unsigned state;
	unsigned trailer_bytes;
	struct strbuf line;
	struct strbuf trailers; /* raw lines, parsed at the end */
};
/* Consumes from *io; hands out at most one span of data per call. Returns 1 with data, 0 when it
 * needs more input, 2 at the end of the body, or a negative fault (400 and close). */
int http_chunked_next(struct http_chunked *c, struct str *io, struct str *ret_data, struct err *e);
void http_chunked_done(struct http_chunked *c);
int http_trailers_parse(
    struct str raw, struct http_header *headers, unsigned max, unsigned *ret_count, struct err *e);

const char *http_reason(int status);

struct http_range {
	uint64_t first, last; /* inclusive */
};
/* One bytes range against a known size. 1: use it (206); 0: ignore the header (200);
 * ERR_INVALID_RANGE: 416. Several ranges are ignored, as S3 does. */
int http_range_parse(struct str header, uint64_t size, struct http_range *ret, struct err *e);
