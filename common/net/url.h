#pragma once
/* URLs and percent-encoding (RFC 3986), forms (application/x-www-form-urlencoded). */
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/strbuf.h"

struct url {
	char scheme[8];  /* http, https, unix */
	char host[256];  /* without brackets */
	uint16_t port;   /* default by scheme */
	struct str path; /* spans into the text given; "/" when empty */
	struct str query;
};
int url_parse(const char *text, struct url *ret, struct err *e);
/* Encodes everything but A-Z a-z 0-9 - _ . ~ (and '/' when keep_slash), as SigV4 wants. */
void url_encode(struct strbuf *out, struct str in, bool keep_slash);
/* %XX, and '+' as space when plus_is_space. Bad escapes: ERR_INVALID. May yield NUL: check. */
int url_decode(struct strbuf *out, struct str in, bool plus_is_space, struct err *e);
/* The same to `out`, which has room for in.n bytes; *ret_n is how many it wrote. False on a bad escape. */
bool url_decode_to(char *out, struct str in, bool plus_is_space, size_t *ret_n);

struct form_field {
	const char *name;               /* decoded, NUL-free, from the arena */
	struct str value;               /* decoded */
	struct str raw_name, raw_value; /* as sent: spans of the input */
};
struct form {
	struct form_field *fields;
	size_t count;
};
/* ERR_MALFORMED_QUERY_STRING on a bad escape or NUL, ERR_LIMIT past max_fields. Appends to *form.
 */
int form_parse(
    struct str in, size_t max_fields, struct arena *arena, struct form *form, struct err *e);
const char *form_find(const struct form *form, const char *name); /* value or NULL */
