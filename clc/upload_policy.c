/* A policy is {"expiration": TIME, "conditions": [CONDITION...]}; a condition is {NAME: VALUE},
 * ["eq"|"starts-with", "$NAME", VALUE] or ["content-length-range", MIN, MAX]. The reader knows as
 * much of JSON as that needs: nothing in it nests deeper than this. */
#include "upload_policy.h"

#include <string.h>
#include <strings.h>

#include "auth/digest.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/strbuf.h"

#define POLICY_MAX 16384
#define PART_BYTES_MAX (10 * 1024 * 1024)

int
upload_policy_check_signature(
    const char *policy, const char *signature, const char *secret, struct err *e)
{
	_cleanup_free_ void *given = NULL;
	uint8_t wanted[20];
	size_t n = 0;

	hmac(DIGEST_SHA1, str_of(secret), str_of(policy), wanted);
	if (!base64_decode(str_of(signature), &given, &n) || n != sizeof(wanted) ||
	    !digest_equal(given, wanted, n))
		return err_set(e, ERR_SIGNATURE_DOES_NOT_MATCH,
		    "The upload policy's signature does not match the one that was calculated for "
		    "it.");
	return 0;
}

/* -- JSON -- */

struct reader {
	const char *at, *end;
	struct err *e;
};

static int
malformed(struct reader *r, const char *what)
{
	return err_set(r->e, ERR_INVALID_POLICY_DOCUMENT,
	    "The content of the form does not meet the conditions specified in the policy "
	    "document: %s",
	    what);
}

static void
skip_space(struct reader *r)
{
	while (r->at < r->end && strchr(" \t\r\n", *r->at))
		r->at++;
}

static bool
take(struct reader *r, char c)
{
	skip_space(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool
is_next(struct reader *r, char c)
{
	skip_space(r);
	return r->at < r->end && *r->at == c;
}

/* \uXXXX below 128 only: names of buckets and keys in policies are written as they are otherwise.
 */
static int
read_escape(struct reader *r, struct strbuf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *known;

	if (r->at == r->end)
		return malformed(r, "it ends in a string");
	known = *r->at ? strchr(from, *r->at) : NULL;
	if (known) {
		r->at++;
		strbuf_addc(out, to[known - from]);
		return 0;
	}
	if (*r->at == '$') { /* S3 writes a dollar so */
		r->at++;
		strbuf_addc(out, '$');
		return 0;
	}
	if (*r->at == 'u' && r->end - r->at > 4) {
		uint8_t bytes[2];
		size_t n;

		if (hex_decode((struct str){ r->at + 1, 4 }, bytes, sizeof(bytes), &n) &&
		    bytes[0] == 0 && bytes[1] > 0 && bytes[1] < 128) {
			r->at += 5;
			strbuf_addc(out, (char)bytes[1]);
			return 0;
		}
	}
	return malformed(r, "it has an unknown escape");
}

static int
read_string(struct reader *r, struct strbuf *out)
{
	int n = 0;

	strbuf_reset(out);
	if (!take(r, '"'))
		return malformed(r, "a string is expected");
	while (r->at < r->end && *r->at != '"') {
		if ((unsigned char)*r->at < 0x20)
			return malformed(r, "a string has a control character");
		if (*r->at == '\\') {
			r->at++;
			n = read_escape(r, out);
			if (n < 0)
				return n;
			continue;
		}
		strbuf_addc(out, *r->at++);
	}
	return take(r, '"') ? 0 : malformed(r, "it ends in a string");
}

/* A string, or a number as it is written. */
static int
read_scalar(struct reader *r, struct strbuf *out)
{
	if (is_next(r, '"'))
		return read_string(r, out);
	strbuf_reset(out);
	while (r->at < r->end && strchr("0123456789", *r->at))
		strbuf_addc(out, *r->at++);
	return out->n ? 0 : malformed(r, "a string or a number is expected");
}

/* -- conditions -- */

struct policy {
	const struct upload *upload;
	struct reader r;
	bool has_expiration, has_bucket, has_key;
};

static int
refused(struct policy *p, const char *what)
{
	return err_set(p->r.e, ERR_UNAUTHORIZED_OPERATION, "Invalid according to Policy: %s", what);
}

/* What the upload has under a name; NULL for what it does not have. */
static const char *
field_of(struct policy *p, const char *name)
{
	if (strcasecmp(name, "bucket") == 0)
		return p->upload->bucket;
	if (strcasecmp(name, "key") == 0)
		return p->upload->key;
	if (strcasecmp(name, "acl") == 0)
		return p->upload->acl;
	return strcasecmp(name, "content-type") == 0 ? "application/octet-stream" : NULL;
}

static int
check(struct policy *p, const char *name, const char *value, bool is_prefix)
{
	_cleanup_free_ char *what =
	    xasprintf("Policy Condition failed: [\"%s\", \"$%.100s\", \"%.300s\"]",
		is_prefix ? "starts-with" : "eq", name, value);
	const char *is = field_of(p, name);

	p->has_bucket |= strcasecmp(name, "bucket") == 0;
	p->has_key |= strcasecmp(name, "key") == 0;
	/* Many keys are written, of which only the beginning is the same. */
	if (strcasecmp(name, "key") == 0 && !is_prefix)
		return refused(p, what);
	if (!is || (is_prefix ? strncmp(is, value, strlen(value)) : strcmp(is, value)) != 0)
		return refused(p, what);
	return 0;
}

static int
read_object_condition(struct policy *p)
{
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT, value = STRBUF_INIT;
	struct reader *r = &p->r;
	int n;

	do {
		n = read_string(r, &name);
		if (n == 0 && !take(r, ':'))
			n = malformed(r, "':' is expected");
		if (n == 0)
			n = read_scalar(r, &value);
		if (n == 0)
			n = check(p, strbuf_c(&name), strbuf_c(&value), false);
		if (n < 0)
			return n;
	} while (take(r, ','));
	return take(r, '}') ? 0 : malformed(r, "'}' is expected");
}

static int
check_array(struct policy *p, const char *operator, const char * name, const char *value)
{
	bool is_prefix = strcasecmp(operator, "starts-with") == 0;
	uint64_t min, max;

	if (strcasecmp(operator, "content-length-range") == 0) {
		if (!str_to_u64(str_of(name), &min) || !str_to_u64(str_of(value), &max))
			return malformed(&p->r, "content-length-range takes two numbers");
		return min > 1 || max < PART_BYTES_MAX
			   ? refused(p, "content-length-range does not admit parts of 10 MiB")
			   : 0;
	}
	if (!is_prefix && strcasecmp(operator, "eq") != 0)
		return malformed(&p->r, "an operator is not known");
	if (name[0] != '$')
		return malformed(&p->r, "a field's name begins with '$'");
	return check(p, name + 1, value, is_prefix);
}

static int
read_array_condition(struct policy *p)
{
	struct strbuf words[3] = { STRBUF_INIT, STRBUF_INIT, STRBUF_INIT };
	struct reader *r = &p->r;
	int n = 0;

	for (unsigned i = 0; n == 0 && i < 3; i++) {
		if (i > 0 && !take(r, ','))
			n = malformed(r, "a condition has three elements");
		if (n == 0)
			n = read_scalar(r, &words[i]);
	}
	if (n == 0 && !take(r, ']'))
		n = malformed(r, "']' is expected");
	if (n == 0)
		n = check_array(p, strbuf_c(&words[0]), strbuf_c(&words[1]), strbuf_c(&words[2]));
	for (unsigned i = 0; i < 3; i++)
		strbuf_done(&words[i]);
	return n;
}

static int
read_conditions(struct policy *p)
{
	struct reader *r = &p->r;
	int n = 0;

	if (!take(r, '['))
		return malformed(r, "conditions are a list");
	if (take(r, ']'))
		return 0;
	do {
		if (take(r, '{'))
			n = read_object_condition(p);
		else if (take(r, '['))
			n = read_array_condition(p);
		else
			n = malformed(r, "a condition is an object or a list");
		if (n < 0)
			return n;
	} while (take(r, ','));
	return take(r, ']') ? 0 : malformed(r, "']' is expected");
}

static int
check_expiration(struct policy *p, const char *text)
{
	int64_t until_us;

	if (!time_parse_iso(str_of(text), &until_us))
		return malformed(&p->r, "its expiration is not a time");
	p->has_expiration = true;
	return until_us <= p->upload->now_us ? refused(p, "Policy expired.") : 0;
}

static int
read_member(struct policy *p)
{
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT, value = STRBUF_INIT;
	struct reader *r = &p->r;
	int n = read_string(r, &name);

	if (n == 0 && !take(r, ':'))
		n = malformed(r, "':' is expected");
	if (n < 0)
		return n;
	if (strcmp(strbuf_c(&name), "conditions") == 0)
		return read_conditions(p);
	if (strcmp(strbuf_c(&name), "expiration") != 0)
		return malformed(r, "a member is not known");
	n = read_string(r, &value);
	return n == 0 ? check_expiration(p, strbuf_c(&value)) : n;
}

int
upload_policy_check(const char *policy, const struct upload *upload, struct err *e)
{
	_cleanup_free_ void *text = NULL;
	struct err ignored;
	struct policy p = { .upload = upload };
	size_t size = 0;
	int n = 0;

	p.r.e = e ? e : &ignored;
	if (strlen(policy) > POLICY_MAX || !base64_decode(str_of(policy), &text, &size))
		return malformed(&p.r, "it is not base64");
	p.r.at = text;
	p.r.end = p.r.at + size;
	if (!take(&p.r, '{'))
		return malformed(&p.r, "it is not a JSON object");
	do
		n = read_member(&p);
	while (n == 0 && take(&p.r, ','));
	if (n == 0 && !take(&p.r, '}'))
		n = malformed(&p.r, "'}' is expected");
	skip_space(&p.r);
	if (n == 0 && p.r.at != p.r.end)
		n = malformed(&p.r, "something follows it");
	if (n == 0 && !p.has_expiration)
		n = malformed(&p.r, "it has no expiration");
	if (n == 0 && !p.has_bucket)
		n = refused(&p, "it names no bucket");
	if (n == 0 && !p.has_key)
		n = refused(&p, "it names no key");
	return n;
}
