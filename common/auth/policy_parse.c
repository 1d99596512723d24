/* Reading policies: JSON by jansson, then the elements one by one into an arena of the policy's
 * own. What is wrong is said in the words of S3, which are the only ones Amazon's clients get to
 * see. */
#include <assert.h>
#include <jansson.h>

#include "auth/policy_internal.h"

struct reader {
	enum policy_kind kind;
	const struct policy_service *service; /* NULL: trusted */
	struct arena *arena;
	bool has_variables; /* Version 2012-10-17 */
	struct err *e;
};

#define malformed(r, ...) err_set((r)->e, ERR_MALFORMED_POLICY, __VA_ARGS__)
#define INVALID_SYNTAX "Invalid policy syntax."

static void
json_freep(json_t **json)
{
	json_decref(*json);
}

static struct str
text_of(const json_t *string)
{
	return (struct str){ json_string_value(string), json_string_length(string) };
}

static const char *
copied(struct reader *r, struct str text)
{
	return arena_str(r->arena, text);
}

/* -- lists: one value stands for a list of one -- */

static size_t
list_count(const json_t *list)
{
	return json_is_array(list) ? json_array_size(list) : 1;
}

static json_t *
list_item(json_t *list, size_t i)
{
	return json_is_array(list) ? json_array_get(list, i) : list;
}

/* A string, or what is written as one. */
static bool
scalar_text(struct reader *r, const json_t *value, struct str *ret)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		*ret = text_of(value);
		return true;
	case JSON_TRUE:
		*ret = STR("true");
		return true;
	case JSON_FALSE:
		*ret = STR("false");
		return true;
	case JSON_INTEGER:
		*ret = str_of(
		    arena_printf(r->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value)));
		return true;
	case JSON_REAL:
		*ret = str_of(arena_printf(r->arena, "%.17g", json_real_value(value)));
		return true;
	case JSON_OBJECT:
	case JSON_ARRAY:
	case JSON_NULL:
		return false;
	}
	return false;
}

static int
read_patterns(
    struct reader *r, json_t *list, const char *element, bool has_variables, struct patterns *ret)
{
	size_t count = list_count(list);

	if (count == 0)
		return malformed(r, "Missing required field %s cannot be empty!", element);
	ret->items = arena_alloc(r->arena, count * sizeof(*ret->items));
	for (size_t i = 0; i < count; i++) {
		json_t *item = list_item(list, i);

		if (!json_is_string(item))
			return malformed(r, INVALID_SYNTAX);
		if (!pattern_compile(text_of(item), has_variables && r->has_variables, true,
			r->arena, &ret->items[i]))
			return malformed(r, "Policy has invalid %s",
			    strcmp(element, "Action") == 0 ? "action" : "resource");
	}
	ret->count = (unsigned)count;
	return 0;
}

/* NAME or NotNAME of a statement, exactly one of them; NULL when there is neither. */
static int
find_element(struct reader *r, json_t *statement, const char *name, const char *not_name,
    bool *ret_is_not, json_t **ret)
{
	json_t *plain = json_object_get(statement, name);
	json_t *negated = json_object_get(statement, not_name);

	if (plain && negated)
		return malformed(r, "Statement/policy already has instance of %s", name);
	*ret_is_not = negated != NULL;
	*ret = plain ? plain : negated;
	return 0;
}

/* -- principals -- */

static int
bad_principal(struct reader *r)
{
	return malformed(r, "Invalid principal in policy");
}

static bool
is_account_id(struct str text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
	return text.n == 12;
}

/* ACCOUNT, or arn:PARTITION:iam::ACCOUNT:root|user/PATH/NAME|role/..., or sts and assumed-role. */
static bool
read_aws_principal(struct reader *r, struct str text, struct policy_principal *ret)
{
	struct str rest = text, parts[5];
	const char *slash;

	if (str_is(text, "*")) {
		ret->type = POLICY_EVERYONE;
		return true;
	}
	if (is_account_id(text)) {
		ret->type = POLICY_ACCOUNT;
		ret->account_id = copied(r, text);
		return true;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		if (!str_split(&rest, ':', &parts[i]) || !rest.p)
			return false;
	if (!str_is(parts[0], "arn") || parts[3].n || !is_account_id(parts[4]) ||
	    memchr(rest.p, '*', rest.n) || memchr(rest.p, '?', rest.n))
		return false;
	ret->account_id = copied(r, parts[4]);
	ret->name = copied(r, text);
	ret->type = POLICY_ROLE;
	if (str_is(parts[2], "sts"))
		return str_starts(rest, "assumed-role/") || str_starts(rest, "federated-user/");
	if (!str_is(parts[2], "iam"))
		return false;
	if (str_is(rest, "root")) {
		ret->type = POLICY_ACCOUNT;
		return true;
	}
	if (str_starts(rest, "role/"))
		return rest.n > strlen("role/");
	/* Names are unique within an account; requests do not know the path. */
	slash = memrchr(rest.p, '/', rest.n);
	if (!slash || !str_starts(rest, "user/") || slash + 1 == rest.p + rest.n)
		return false;
	ret->type = POLICY_USER;
	ret->name = copied(r, (struct str){ slash + 1, (size_t)(rest.p + rest.n - slash - 1) });
	return true;
}

static bool
read_principal(struct reader *r, const char *type, struct str text, struct policy_principal *ret)
{
	static const struct {
		const char *name;
		enum policy_principal_type type;
	} types[] = { { "CanonicalUser", POLICY_CANONICAL }, { "Service", POLICY_SERVICE },
		{ "Federated", POLICY_FEDERATED } };

	if (strcmp(type, "AWS") == 0)
		return read_aws_principal(r, text, ret);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(type, types[i].name) == 0) {
			ret->type = types[i].type;
			ret->name = copied(r, text);
			return text.n > 0;
		}
	return false;
}

static int
read_principal_list(struct reader *r, const char *type, json_t *list, struct statement *s)
{
	for (size_t i = 0; i < list_count(list); i++) {
		json_t *item = list_item(list, i);
		struct policy_principal *p = &s->principals[s->principal_count];

		if (!json_is_string(item) || !read_principal(r, type, text_of(item), p))
			return bad_principal(r);
		if (r->service && p->type != POLICY_EVERYONE &&
		    !r->service->principal_exists(r->service->arg, p))
			return bad_principal(r);
		s->principal_count++;
	}
	return 0;
}

static int
read_principals(struct reader *r, json_t *statement, struct statement *s)
{
	const char *type;
	json_t *element, *list;
	size_t count = 0;
	int n =
	    find_element(r, statement, "Principal", "NotPrincipal", &s->is_not_principal, &element);

	if (n < 0)
		return n;
	if (r->kind == POLICY_OF_IDENTITY)
		return element ? malformed(r, "Policy document should not specify a principal.")
			       : 0;
	if (!element)
		return malformed(r, "Missing required field Principal");
	if (s->is_not_principal && s->effect == POLICY_ALLOW)
		return malformed(r, "Allow with NotPrincipal is not allowed.");
	if (json_is_string(element)) {
		s->principals = arena_alloc(r->arena, sizeof(*s->principals));
		s->principals[0].type = POLICY_EVERYONE;
		s->principal_count = 1;
		return str_is(text_of(element), "*") ? 0 : bad_principal(r);
	}
	if (!json_is_object(element))
		return bad_principal(r);
	json_object_foreach(element, type, list) count += list_count(list);
	if (count == 0)
		return malformed(r, "Missing required field Principal cannot be empty!");
	s->principals = arena_alloc(r->arena, count * sizeof(*s->principals));
	json_object_foreach(element, type, list)
	{
		n = read_principal_list(r, type, list, s);
		if (n < 0)
			return n;
	}
	return 0;
}

/* -- conditions -- */

static int
bad_value(struct reader *r, const struct condition *c)
{
	return c->operator->type == CONDITION_ADDRESS
		   ? malformed(r, "Invalid IP address in Conditions")
		   : malformed(r, "Invalid value in Conditions for %s", c->operator->name);
}

static int
read_condition(struct reader *r, struct str key, json_t *list, struct condition *c)
{
	size_t count = list_count(list);

	if (key.n == 0)
		return malformed(r, "Policy has an invalid condition key");
	if (count == 0)
		return malformed(r, INVALID_SYNTAX);
	c->key = (struct str){ copied(r, key), key.n };
	c->values.items = arena_alloc(r->arena, count * sizeof(*c->values.items));
	c->values.count = (unsigned)count;
	for (size_t i = 0; i < count; i++) {
		struct pattern *value = &c->values.items[i];
		struct str text;

		if (!scalar_text(r, list_item(list, i), &text))
			return malformed(r, INVALID_SYNTAX);
		if (!pattern_compile(text, r->has_variables, condition_has_wildcards(c->operator),
			r->arena, value) ||
		    !condition_value_is_valid(c->operator, value))
			return bad_value(r, c);
	}
	return 0;
}

static int
read_conditions(struct reader *r, json_t *statement, struct statement *s)
{
	json_t *element = json_object_get(statement, "Condition"), *keys, *list;
	const char *name, *key;
	struct condition like;
	size_t count = 0;

	if (!element)
		return 0;
	if (!json_is_object(element))
		return malformed(r, INVALID_SYNTAX);
	json_object_foreach(element, name, keys) count += json_object_size(keys);
	s->conditions = arena_alloc(r->arena, (count ? count : 1) * sizeof(*s->conditions));
	json_object_foreach(element, name, keys)
	{
		if (!condition_operator_parse(str_of(name), &like))
			return malformed(r, "Invalid Condition type : %.100s", name);
		if (!json_is_object(keys))
			return malformed(r, INVALID_SYNTAX);
		json_object_foreach(keys, key, list)
		{
			struct condition *c = &s->conditions[s->condition_count++];
			int n;

			*c = (struct condition){ .operator= like.operator,
				.set = like.set,
				.if_exists = like.if_exists };
			n = read_condition(r, str_of(key), list, c);
			if (n < 0)
				return n;
		}
	}
	return 0;
}

/* -- what the service knows -- */

static bool
key_is(const struct policy_key *key, struct str is)
{
	size_t n = strlen(key->name);

	if (key->name[n - 1] != '/')
		return str_is_nocase(is, key->name);
	return is.n > n && str_is_nocase((struct str){ is.p, n }, key->name);
}

/* Which of the service's actions: what a pattern means, or what a key says something of. */
#define ACTIONS_MAX 256
struct action_set {
	uint64_t bits[ACTIONS_MAX / 64];
};

static struct action_set
actions_of_pattern(const struct policy_service *service, struct str compiled)
{
	struct action_set set = { { 0 } };

	assert(service->action_count <= ACTIONS_MAX);
	for (size_t i = 0; i < service->action_count; i++)
		if (pattern_match(compiled, str_of(service->actions[i].name), true))
			set.bits[i / 64] |= UINT64_C(1) << i % 64;
	return set;
}

static struct action_set
actions_of_key(struct reader *r, const struct policy_key *key)
{
	struct action_set set = { { 0 } };
	struct str rest = str_of(key->actions ? key->actions : "*"), one;
	struct pattern pattern;

	while (str_split(&rest, ' ', &one)) {
		(void)pattern_compile(one, false, true, r->arena, &pattern);
		for (unsigned i = 0; i < ARRAY_SIZE(set.bits); i++)
			set.bits[i] |= actions_of_pattern(r->service, pattern.text).bits[i];
	}
	return set;
}

static bool
sets_meet(const struct action_set *a, const struct action_set *b)
{
	bool meet = false;

	for (unsigned i = 0; i < ARRAY_SIZE(a->bits); i++)
		meet |= (a->bits[i] & b->bits[i]) != 0;
	return meet;
}

static int
check_key(
    struct reader *r, const struct statement *s, const struct action_set *sets, struct str key)
{
	const struct policy_service *service = r->service;
	const struct policy_key *known = NULL;
	struct action_set about;

	if (key.n > 4 && str_is_nocase((struct str){ key.p, 4 }, "aws:"))
		return 0; /* Amazon takes any of them */
	for (size_t i = 0; i < service->key_count && !known; i++)
		if (key_is(&service->keys[i], key))
			known = &service->keys[i];
	if (!known)
		return malformed(r, "Policy has an invalid condition key");
	about = actions_of_key(r, known);
	for (unsigned i = 0; i < s->actions.count && !s->is_not_action; i++)
		if (!sets_meet(&sets[i], &about))
			return malformed(r, "Conditions do not apply to combination of actions and "
					    "resources in statement");
	return 0;
}

/* Kinds of resources that actions are about; 0: there are none. */
static unsigned
kinds_of(const struct policy_service *service, const struct action_set *set)
{
	unsigned kinds = 0;

	for (size_t i = 0; i < service->action_count; i++)
		if (set->bits[i / 64] >> i % 64 & 1)
			kinds |= service->actions[i].kinds;
	return kinds;
}

static int
check_statement(struct reader *r, const struct statement *s, json_t *resources)
{
	const struct policy_service *service = r->service;
	struct action_set *sets = arena_alloc(r->arena, s->actions.count * sizeof(*sets));
	unsigned kinds = 0, one;

	for (unsigned i = 0; i < s->actions.count; i++) {
		sets[i] = actions_of_pattern(service, s->actions.items[i].text);
		if (kinds_of(service, &sets[i]) == 0)
			return malformed(r, "Policy has invalid action");
	}
	for (size_t i = 0; i < list_count(resources); i++) {
		one = service->resource_kinds(service->arg, text_of(list_item(resources, i)));
		if (one == 0)
			return malformed(r, "Policy has invalid resource");
		kinds |= one;
	}
	for (unsigned i = 0; i < s->condition_count; i++) {
		int n = check_key(r, s, sets, s->conditions[i].key);

		if (n < 0)
			return n;
	}
	if (s->is_not_action || s->is_not_resource)
		return 0;
	for (unsigned i = 0; i < s->actions.count; i++)
		if ((kinds_of(service, &sets[i]) & kinds) == 0)
			return malformed(
			    r, "Action does not apply to any resource(s) in statement");
	return 0;
}

/* -- statements -- */

static int
check_names(struct reader *r, json_t *object, const char *const names[])
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		unsigned i = 0;

		while (names[i] && strcmp(names[i], name) != 0)
			i++;
		if (!names[i])
			return malformed(r, "Unknown field %.100s", name);
	}
	return 0;
}

static int
read_effect(struct reader *r, json_t *statement, struct statement *s)
{
	json_t *effect = json_object_get(statement, "Effect");
	struct str text;

	if (!effect)
		return malformed(r, "Missing required field Effect");
	if (!scalar_text(r, effect, &text))
		return malformed(r, INVALID_SYNTAX);
	if (str_is(text, "Allow"))
		s->effect = POLICY_ALLOW;
	else if (str_is(text, "Deny"))
		s->effect = POLICY_DENY;
	else
		return malformed(
		    r, "Invalid effect: %.*s", (int)(text.n < 100 ? text.n : 100), text.p);
	return 0;
}

static int
read_statement(struct reader *r, json_t *statement, struct statement *s)
{
	static const char *const names[] = { "Sid", "Effect", "Principal", "NotPrincipal", "Action",
		"NotAction", "Resource", "NotResource", "Condition", NULL };
	json_t *sid, *actions, *resources;
	int n;

	if (!json_is_object(statement))
		return malformed(r, INVALID_SYNTAX);
	n = check_names(r, statement, names);
	if (n == 0)
		n = read_effect(r, statement, s);
	if (n < 0)
		return n;
	sid = json_object_get(statement, "Sid");
	if (sid && !json_is_string(sid))
		return malformed(r, INVALID_SYNTAX);
	n = read_principals(r, statement, s);
	if (n == 0)
		n = find_element(r, statement, "Action", "NotAction", &s->is_not_action, &actions);
	if (n == 0 && !actions)
		n = malformed(r, "Missing required field Action");
	if (n == 0)
		n = read_patterns(r, actions, "Action", false, &s->actions);
	if (n == 0)
		n = find_element(
		    r, statement, "Resource", "NotResource", &s->is_not_resource, &resources);
	if (n == 0 && !resources)
		n = malformed(r, "Missing required field Resource");
	if (n == 0)
		n = read_patterns(r, resources, "Resource", true, &s->resources);
	if (n == 0)
		n = read_conditions(r, statement, s);
	return n < 0 || !r->service ? n : check_statement(r, s, resources);
}

/* Sids tell statements apart for people, so they must. */
static int
check_sids(struct reader *r, json_t *statements)
{
	for (size_t i = 0; i < list_count(statements); i++) {
		json_t *sid = json_object_get(list_item(statements, i), "Sid");

		for (size_t k = 0; sid && json_string_length(sid) && k < i; k++)
			if (json_equal(sid, json_object_get(list_item(statements, k), "Sid")))
				return malformed(r,
				    "Statement IDs (SID) in a single policy must be "
				    "unique.");
	}
	return 0;
}

static int
read_version(struct reader *r, json_t *document)
{
	json_t *version = json_object_get(document, "Version");
	json_t *id = json_object_get(document, "Id");

	if (id && !json_is_string(id))
		return malformed(r, INVALID_SYNTAX);
	if (!version)
		return 0;
	r->has_variables = json_is_string(version) && str_is(text_of(version), "2012-10-17");
	if (!r->has_variables &&
	    !(json_is_string(version) && str_is(text_of(version), "2008-10-17")))
		return malformed(r, "The policy must contain a valid version string");
	return 0;
}

static int
read_document(struct reader *r, json_t *document, struct policy *p)
{
	static const char *const names[] = { "Version", "Id", "Statement", NULL };
	json_t *statements = json_object_get(document, "Statement");
	int n = check_names(r, document, names);

	if (n == 0)
		n = read_version(r, document);
	if (n < 0)
		return n;
	if (!statements)
		return malformed(r, "Missing required field Statement");
	if (list_count(statements) == 0)
		return malformed(r, "Could not parse the policy: Statement is empty!");
	p->statements = arena_alloc(r->arena, list_count(statements) * sizeof(*p->statements));
	for (size_t i = 0; n == 0 && i < list_count(statements); i++)
		n = read_statement(r, list_item(statements, i), &p->statements[p->count++]);
	return n < 0 ? n : check_sids(r, statements);
}

static int
load(struct reader *r, struct str text, json_t **ret)
{
	json_t *document;
	json_error_t why;

	if (text.n == 0 || text.p[0] != '{')
		return malformed(r, "Policies must be valid JSON and the first byte must be '{'");
	if (text.n > POLICY_TEXT_MAX)
		return malformed(r, "Policy exceeds the maximum allowed document size.");
	document = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &why);
	if (!document)
		return malformed(r, "This policy contains invalid Json");
	*ret = document;
	if (json_dumpb(document, NULL, 0, JSON_COMPACT) > POLICY_SIZE_MAX)
		return malformed(r, "Policy exceeds the maximum allowed document size.");
	return 0;
}

int
policy_parse(struct str text, enum policy_kind kind, const struct policy_service *service,
    struct arena *arena, const struct policy **ret, struct err *e)
{
	struct err ignored;
	_cleanup_(json_freep) json_t *document = NULL;
	struct reader r = {
		.kind = kind, .service = service, .arena = arena, .e = e ? e : &ignored
	};
	struct policy *p = arena_alloc(arena, sizeof(*p));
	int n = load(&r, text, &document);

	if (n == 0)
		n = read_document(&r, document, p);
	if (n < 0)
		return n;
	*ret = p;
	return 0;
}
