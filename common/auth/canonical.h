#pragma once
/* The canonical forms of paths, queries and headers that signatures are taken of, and the variants
 * that real clients mean by the same request. Private to auth. */
#include "auth/credentials.h"
#include "base/strbuf.h"

/* Names and values decoded and encoded again, sorted, joined by & and =. Parameters named `skip`
 * are left out. Of several raw strings the parameters are sorted together. */
void canonical_query(struct strbuf *out, const struct str *raws, unsigned count, const char *skip);
/* "name:value\n", spaces folded, repeated headers joined by commas; false when absent. */
bool canonical_header(struct strbuf *out, const struct auth_request *rq, struct str name);
void canonical_value(struct strbuf *out, struct str value);
void canonical_path_once(struct strbuf *out, struct str raw); /* S3: decoded, encoded again */
void canonical_path_twice(
    struct strbuf *out, struct str raw); /* others: normalised, encoded again */

/* Paths and hosts that a client may have signed for this request, the likeliest first. Spans of the
 * request, or of the texts here. */
#define CANONICAL_VARIANTS 4
struct canonical_variants {
	struct str paths[CANONICAL_VARIANTS], hosts[CANONICAL_VARIANTS];
	unsigned path_count, host_count;
	struct strbuf path, host;
};
void canonical_variants_init(
    struct canonical_variants *v, const struct auth_request *rq, enum auth_service service);
void canonical_variants_done(struct canonical_variants *v);
