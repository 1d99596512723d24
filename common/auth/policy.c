/* What a policy says of a request. A statement speaks when caller, action, resource and every
 * condition fit; a denial that speaks wins over whatever allows. */
#include "auth/policy.h"

#include "auth/policy_internal.h"

static bool
principal_is(const struct policy_principal *p, const struct policy_caller *c)
{
	switch (p->type) {
	case POLICY_EVERYONE:
		return true;
	case POLICY_ACCOUNT:
		return strings_equal(p->account_id, c->account_id);
	case POLICY_USER:
		return strings_equal(p->account_id, c->account_id) &&
		       strings_equal(p->name, c->user_name);
	case POLICY_ROLE:
		return strings_equal(p->name, c->arn);
	case POLICY_CANONICAL:
		return strings_equal(p->name, c->canonical_id);
	case POLICY_SERVICE:
		return strings_equal(p->name, c->service);
	case POLICY_FEDERATED: /* nobody comes to us by one */
		return false;
	}
	abort();
}

static bool
is_about_caller(const struct statement *s, const struct policy_caller *c)
{
	bool found = false;

	if (s->principal_count == 0) /* an identity's: about whoever has it */
		return true;
	for (unsigned i = 0; i < s->principal_count && !found; i++)
		found = principal_is(&s->principals[i], c);
	return found != s->is_not_principal;
}

static bool
is_about(const struct patterns *patterns, bool is_not, const struct policy_request *rq,
    struct str text, bool ignores_case)
{
	_cleanup_strbuf_ struct strbuf scratch = STRBUF_INIT;
	struct str pattern;
	bool found = false;

	for (unsigned i = 0; i < patterns->count && !found; i++)
		found = pattern_expand(&patterns->items[i], rq, &scratch, &pattern) &&
			pattern_match(pattern, text, ignores_case);
	return found != is_not;
}

static bool
speaks(const struct statement *s, const struct policy_request *rq)
{
	if (!is_about_caller(s, rq->caller) ||
	    !is_about(&s->actions, s->is_not_action, rq, str_of(rq->action), true) ||
	    !is_about(&s->resources, s->is_not_resource, rq, rq->resource, false))
		return false;
	for (unsigned i = 0; i < s->condition_count; i++)
		if (!condition_holds(&s->conditions[i], rq))
			return false;
	return true;
}

enum policy_effect
policy_evaluate(const struct policy *p, const struct policy_request *rq)
{
	enum policy_effect effect = POLICY_NONE;

	for (unsigned i = 0; i < p->count && effect != POLICY_DENY; i++)
		if (p->statements[i].effect > effect && speaks(&p->statements[i], rq))
			effect = p->statements[i].effect;
	return effect;
}

/* -- public -- */

/* Keys whose fixed values make a statement one for somebody in particular. */
static const char *const fixing_keys[] = { "aws:PrincipalAccount", "aws:PrincipalArn",
	"aws:PrincipalOrgID", "aws:SourceAccount", "aws:SourceArn", "aws:SourceIp",
	"aws:SourceOwner", "aws:SourceVpc", "aws:SourceVpce", "aws:userid", "aws:username",
	"s3:DataAccessPointAccount", "s3:DataAccessPointArn",
	"s3:x-amz-server-side-encryption-aws-kms-key-id" };

static bool
value_is_fixed(const struct condition *c, const struct pattern *value)
{
	if (value->has_variables)
		return false;
	if (c->operator->type == CONDITION_ADDRESS)
		return condition_address_is_narrow(value->text);
	return !memchr(value->text.p, PATTERN_ANY, value->text.n) &&
	       !memchr(value->text.p, PATTERN_ONE, value->text.n);
}

static bool
condition_fixes(const struct condition *c)
{
	bool is_fixing_key = false;

	if (c->operator->is_negated || c->if_exists || c->set == FOR_ALL_VALUES ||(
		c->operator->type != CONDITION_STRING && c->operator->type != CONDITION_ADDRESS &&
		c->
		operator->type != CONDITION_ARN))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(fixing_keys); i++)
		is_fixing_key |= str_is_nocase(c->key, fixing_keys[i]);
	if (!is_fixing_key)
		return false;
	for (unsigned i = 0; i < c->values.count; i++)
		if (!value_is_fixed(c, &c->values.items[i]))
			return false;
	return true;
}

static bool
statement_is_public(const struct statement *s)
{
	bool is_open = s->is_not_principal;

	if (s->effect != POLICY_ALLOW)
		return false;
	for (unsigned i = 0; i < s->principal_count; i++)
		is_open |= s->principals[i].type == POLICY_EVERYONE;
	if (!is_open)
		return false;
	for (unsigned i = 0; i < s->condition_count; i++)
		if (condition_fixes(&s->conditions[i]))
			return false;
	return true;
}

bool
policy_is_public(const struct policy *p)
{
	for (unsigned i = 0; i < p->count; i++)
		if (statement_is_public(&p->statements[i]))
			return true;
	return false;
}
