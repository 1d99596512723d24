/* Signing with Signature Version 4: headers for our own calls, query parameters for presigned URLs.
 * The request is canonicalised by the code that verifies, so the two cannot drift; tests compare
 * both with AWS's published vectors. */
#include <stdio.h>
#include <openssl/crypto.h>
#include "auth/canonical.h"
#include "auth/digest.h"
#include "auth/sigv4.h"
#include "auth/sigv4_key.h"
#include "base/clock.h"
#include "net/url.h"

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct signing {
	const struct sigv4_signer *signer;
	struct url url;
	char date[17], host[300], scope[128];
	uint8_t key[32];
};

static void
signing_done(struct signing *s)
{
	OPENSSL_cleanse(s->key, sizeof(s->key));
}

static int
prepare(struct signing *s, const struct sigv4_signer *signer, const char *url, struct err *e)
{
	struct sigv4_scope scope = { .region = str_of(signer->region),
		.service = str_of(signer->service) };
	char date[TIME_TEXT_SIZE];
	bool is_default, is_ipv6;
	int r, n;

	*s = (struct signing){ .signer = signer };
	r = url_parse(url, &s->url, e);
	if (r < 0)
		return r;
	time_format_basic(signer->now_us, date);
	memcpy(s->date, date, sizeof(s->date));
	is_default = s->url.port == (strcmp(s->url.scheme, "https") == 0 ? 443 : 80);
	is_ipv6 = strchr(s->url.host, ':') != NULL;
	n = snprintf(s->host, sizeof(s->host), is_ipv6 ? "[%s]" : "%s", s->url.host);
	if (!is_default)
		(void)snprintf(s->host + n, sizeof(s->host) - (size_t)n, ":%u", s->url.port);
	n = snprintf(s->scope, sizeof(s->scope), "%.8s/%s/%s/aws4_request", date, signer->region,
	    signer->service);
	if (n < 0 || (size_t)n >= sizeof(s->scope))
		return err_set(e, ERR_INVALID, "region or service of a signature too long");
	scope.date = (struct str){ s->date, 8 };
	sigv4_derive(signer->secret, &scope, s->key);
	return 0;
}

static bool
is_s3(const struct signing *s)
{
	return strcmp(s->signer->service, "s3") == 0;
}

static void
add_path(const struct signing *s, struct strbuf *out)
{
	if (is_s3(s))
		canonical_path_once(out, s->url.path);
	else
		canonical_path_twice(out, s->url.path);
}

int
sigv4_sign(const struct sigv4_signer *signer, const char *method, const char *url,
    const char *payload_hash, char ret_date[17], struct strbuf *out, struct err *e)
{
	_cleanup_(signing_done) struct signing s;
	_cleanup_strbuf_ struct strbuf canonical = STRBUF_INIT;
	char signature[65];
	int r;

	r = prepare(&s, signer, url, e);
	if (r < 0)
		return r;
	strbuf_addf(&canonical, "%s\n", method);
	add_path(&s, &canonical);
	strbuf_addc(&canonical, '\n');
	canonical_query(&canonical, &s.url.query, 1, "");
	strbuf_addf(&canonical,
	    "\nhost:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n\n"
	    "host;x-amz-content-sha256;x-amz-date\n%s",
	    s.host, payload_hash, s.date, payload_hash);
	sigv4_signature(s.key, s.date, s.scope, strbuf_str(&canonical), signature);
	strbuf_addf(out,
	    SIGV4_ALGORITHM " Credential=%s/%s, "
			    "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=%s",
	    signer->access_key_id, s.scope, signature);
	memcpy(ret_date, s.date, sizeof(s.date));
	return 0;
}

/* What a presigned URL's query is but for the signature. */
static void
add_presigned_query(const struct signing *s, uint32_t expires_s, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf credential = STRBUF_INIT;

	strbuf_addstr(out, s->url.query);
	if (s->url.query.n > 0)
		strbuf_addc(out, '&');
	strbuf_adds(out, "X-Amz-Algorithm=" SIGV4_ALGORITHM "&X-Amz-Credential=");
	strbuf_addf(&credential, "%s/%s", s->signer->access_key_id, s->scope);
	url_encode(out, strbuf_str(&credential), false);
	strbuf_addf(
	    out, "&X-Amz-Date=%s&X-Amz-Expires=%u&X-Amz-SignedHeaders=host", s->date, expires_s);
}

int
sigv4_presign(const struct sigv4_signer *signer, const char *method, const char *url,
    uint32_t expires_s, struct strbuf *out, struct err *e)
{
	_cleanup_(signing_done) struct signing s;
	_cleanup_strbuf_ struct strbuf canonical = STRBUF_INIT, query = STRBUF_INIT;
	struct str all;
	char signature[65];
	int r;

	r = prepare(&s, signer, url, e);
	if (r < 0)
		return r;
	add_presigned_query(&s, expires_s, &query);
	all = strbuf_str(&query);
	strbuf_addf(&canonical, "%s\n", method);
	add_path(&s, &canonical);
	strbuf_addc(&canonical, '\n');
	canonical_query(&canonical, &all, 1, "");
	strbuf_addf(&canonical, "\nhost:%s\n\nhost\n%s", s.host,
	    is_s3(&s) ? "UNSIGNED-PAYLOAD" : EMPTY_SHA256);
	sigv4_signature(s.key, s.date, s.scope, strbuf_str(&canonical), signature);
	strbuf_addf(out, "%s://%s", s.url.scheme, s.host);
	strbuf_addstr(out, s.url.path);
	strbuf_addf(out, "?%s&X-Amz-Signature=%s", strbuf_c(&query), signature);
	return 0;
}
