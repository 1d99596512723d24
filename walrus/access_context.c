/* Condition keys, a row each. Keys that begin with s3:x-amz- are headers of the request; what the
 * rest means: "AWS global condition context keys" of IAM, and "Condition keys for Amazon S3". */
#include "access_context.h"

#include "base/clock.h"
#include "net/url.h"

static const struct str nothing = { NULL, 0 };

static struct str
header(const struct access_context *c, const char *name)
{
	return c->rq ? request_header(c->rq, name) : nothing;
}

static struct str
parameter(const struct access_context *c, const char *name)
{
	const char *value = c->rq ? request_parameter(c->rq, name) : NULL;

	return value ? str_of(value) : nothing;
}

static struct str
text(const char *value)
{
	return value ? str_of(value) : nothing;
}

/* -- who -- */

static struct str
user_name(const struct access_context *c, struct str rest)
{
	return c->who && c->who->user_name[0] ? str_of(c->who->user_name) : nothing;
}

static struct str
user_id(const struct access_context *c, struct str rest)
{
	if (!c->who)
		return STR("anonymous");
	return str_of(c->who->user_name[0] ? c->who->user_id : c->who->account_id);
}

static struct str
principal_arn(const struct access_context *c, struct str rest)
{
	return text(c->caller->arn);
}

static struct str
principal_account(const struct access_context *c, struct str rest)
{
	return text(c->caller->account_id);
}

/* For which bucket a service acts. */
static struct str
source_account(const struct access_context *c, struct str rest)
{
	return text(c->logged ? c->logged->account_id : NULL);
}

static struct str
source_arn(const struct access_context *c, struct str rest)
{
	return c->logged ? str_of(arena_printf(c->arena, "arn:aws:s3:::%s", c->logged->name))
			 : nothing;
}

static struct str
principal_type(const struct access_context *c, struct str rest)
{
	if (!c->who)
		return STR("Anonymous");
	return c->who->user_name[0] ? STR("User") : STR("Account");
}

/* -- from where, how -- */

static struct str
source_ip(const struct access_context *c, struct str rest)
{
	return c->rq ? str_of(c->rq->peer.address) : nothing;
}

static struct str
secure_transport(const struct access_context *c, struct str rest)
{
	if (!c->rq)
		return nothing;
	return c->rq->peer.is_tls ? STR("true") : STR("false");
}

static struct str
referer(const struct access_context *c, struct str rest)
{
	return header(c, "referer");
}

static struct str
user_agent(const struct access_context *c, struct str rest)
{
	return header(c, "user-agent");
}

static struct str
current_time(const struct access_context *c, struct str rest)
{
	char *now = arena_alloc(c->arena, TIME_TEXT_SIZE);

	time_format_iso(clock_now_us(), now);
	return str_of(now);
}

static struct str
epoch_time(const struct access_context *c, struct str rest)
{
	return str_of(arena_printf(c->arena, "%lld", (long long)(clock_now_us() / 1000000)));
}

/* -- the signature -- */

static struct str
auth_type(const struct access_context *c, struct str rest)
{
	return text(c->rq ? c->rq->signature.type : NULL);
}

static struct str
signature_version(const struct access_context *c, struct str rest)
{
	return text(c->rq ? c->rq->signature.version : NULL);
}

/* In milliseconds. "In Signature Version 2, this value is always set to 0." */
static struct str
signature_age(const struct access_context *c, struct str rest)
{
	const struct request_signature *made = c->rq ? &c->rq->signature : NULL;

	if (!made || !made->type)
		return nothing;
	if (made->made_us == 0)
		return STR("0");
	return str_of(
	    arena_printf(c->arena, "%lld", (long long)((clock_now_us() - made->made_us) / 1000)));
}

/* -- what is asked -- */

static struct str
prefix(const struct access_context *c, struct str rest)
{
	return parameter(c, "prefix");
}

static struct str
delimiter(const struct access_context *c, struct str rest)
{
	return parameter(c, "delimiter");
}

static struct str
max_keys(const struct access_context *c, struct str rest)
{
	return parameter(c, "max-keys");
}

static struct str
version_id(const struct access_context *c, struct str rest)
{
	return parameter(c, "versionId");
}

static struct str
if_match(const struct access_context *c, struct str rest)
{
	return header(c, "if-match");
}

static struct str
if_none_match(const struct access_context *c, struct str rest)
{
	return header(c, "if-none-match");
}

static struct str
resource_account(const struct access_context *c, struct str rest)
{
	return str_of(c->bucket->account_id);
}

/* A parameter of that name counts where it is taken for the header (link.c), and nowhere else. */
static struct str
amz_header(const struct access_context *c, struct str rest)
{
	return header(
	    c, arena_printf(c->arena, "x-amz-%.*s", (int)(rest.n < 200 ? rest.n : 200), rest.p));
}

static struct str
lock_header(const struct access_context *c, struct str rest)
{
	const char *name = arena_printf(
	    c->arena, "x-amz-object-lock-%.*s", (int)(rest.n < 100 ? rest.n : 100), rest.p);

	return header(c, name);
}

static struct str
lock_days(const struct access_context *c, struct str rest)
{
	struct str date = header(c, "x-amz-object-lock-retain-until-date");
	const int64_t day_us = INT64_C(24) * 3600 * 1000000;
	int64_t us;

	if (!date.p || !time_parse_iso(date, &us))
		return nothing;
	us -= clock_now_us();
	return str_of(arena_printf(
	    c->arena, "%lld", (long long)(us > 0 ? (us + day_us - 1) / day_us : us / day_us)));
}

/* -- tags: "key=value&...", percent-encoded -- */

static const struct form *
read_tags(const struct access_context *c, struct str text, struct access_tags *tags)
{
	struct err ignored;

	if (text.n == 0)
		return NULL;
	if (!tags->text.p) {
		tags->text = text;
		tags->is_readable = form_parse(text, 64, c->arena, &tags->form, &ignored) == 0;
	}
	return tags->is_readable ? &tags->form : NULL;
}

static struct str
tag_of(const struct form *form, struct str key)
{
	for (size_t i = 0; form && i < form->count; i++)
		if (str_is(key, form->fields[i].name))
			return form->fields[i].value;
	return nothing;
}

static struct str
existing_tag(const struct access_context *c, struct str rest)
{
	return c->object
		   ? tag_of(
			 read_tags(c, str_of(c->object->attributes.tags), &c->tags->existing), rest)
		   : nothing;
}

/* What an object is given: not what a header says that means nothing to the operation. */
static struct str
asked_tags(const struct access_context *c)
{
	const struct s3_operation *operation = c->rq ? c->rq->operation : NULL;

	if (operation && c->rq->tags)
		return str_of(c->rq->tags);
	if (operation && operation->flags & S3_COPY &&
	    !str_is(header(c, "x-amz-tagging-directive"), "REPLACE"))
		return nothing;
	return header(c, "x-amz-tagging");
}

static struct str
request_tag(const struct access_context *c, struct str rest)
{
	return tag_of(read_tags(c, asked_tags(c), &c->tags->asked), rest);
}

static bool
request_tag_keys(struct access_context *c, struct policy_values *ret)
{
	const struct form *form = read_tags(c, asked_tags(c), &c->tags->asked);

	if (!form)
		return false;
	for (size_t i = 0; i < form->count; i++)
		c->values[i] = str_of(form->fields[i].name);
	*ret = (struct policy_values){ c->values, (unsigned)form->count };
	return form->count > 0;
}

/* -- the table -- */

static const struct {
	const char *key; /* a prefix when it ends with '/' or '-'; what follows is `rest` */
	struct str (*value)(const struct access_context *c, struct str rest);
} keys[] = {
	{ "aws:CurrentTime", current_time },
	{ "aws:EpochTime", epoch_time },
	{ "aws:PrincipalAccount", principal_account },
	{ "aws:PrincipalArn", principal_arn },
	{ "aws:PrincipalType", principal_type },
	{ "aws:Referer", referer },
	{ "aws:RequestTag/", request_tag },
	{ "aws:ResourceAccount", resource_account },
	{ "aws:SecureTransport", secure_transport },
	{ "aws:SourceAccount", source_account },
	{ "aws:SourceArn", source_arn },
	{ "aws:SourceIp", source_ip },
	{ "aws:UserAgent", user_agent },
	{ "aws:userid", user_id },
	{ "aws:username", user_name },
	{ "s3:authType", auth_type },
	{ "s3:delimiter", delimiter },
	{ "s3:ExistingObjectTag/", existing_tag },
	{ "s3:if-match", if_match },
	{ "s3:if-none-match", if_none_match },
	{ "s3:max-keys", max_keys },
	{ "s3:object-lock-remaining-retention-days", lock_days },
	{ "s3:object-lock-", lock_header },
	{ "s3:prefix", prefix },
	{ "s3:RequestObjectTag/", request_tag },
	{ "s3:ResourceAccount", resource_account },
	{ "s3:signatureAge", signature_age },
	{ "s3:signatureversion", signature_version },
	{ "s3:VersionId", version_id },
	{ "s3:x-amz-", amz_header },
};

static bool
is_key(const char *name, struct str key, struct str *ret_rest)
{
	size_t n = strlen(name);

	*ret_rest = nothing;
	if (name[n - 1] != '/' && name[n - 1] != '-')
		return str_is_nocase(key, name);
	if (key.n <= n || !str_is_nocase((struct str){ key.p, n }, name))
		return false;
	*ret_rest = (struct str){ key.p + n, key.n - n };
	return true;
}

bool
access_context_lookup(void *arg, struct str key, struct policy_values *ret)
{
	struct access_context *c = arg;
	struct str rest;

	if (str_is_nocase(key, "s3:RequestObjectTagKeys") || str_is_nocase(key, "aws:TagKeys"))
		return request_tag_keys(c, ret);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!is_key(keys[i].key, key, &rest))
			continue;
		c->values[0] = keys[i].value(c, rest);
		*ret = (struct policy_values){ c->values, 1 };
		return c->values[0].p != NULL;
	}
	return false;
}
