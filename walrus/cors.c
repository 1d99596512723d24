/* CORS: the rules, and which of them a request meets. */
#include "cors.h"

#include <ctype.h>

#include "bucket.h"
#include "request.h"

#define RULES_MAX 100
#define RULE_ID_MAX 255
#define TEXT_MAX 4096

/* -- the setting -- */

static const char *const methods[] = { "GET", "PUT", "POST", "DELETE", "HEAD" };

int
cors_check_method(const char *text, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (strcmp(text, methods[i]) == 0)
			return 0;
	return err_set(e, ERR_INVALID_REQUEST,
	    "Found unsupported HTTP method in CORS config. Unsupported method is %.64s", text);
}

static int
check_wildcard(const char *name, const char *text, struct err *e)
{
	const char *star = strchr(text, '*');

	if (star && strchr(star + 1, '*'))
		return err_set(e, ERR_INVALID_REQUEST,
		    "%s \"%.256s\" can not have more than one wildcard.", name, text);
	return 0;
}

static int
check_origin(const char *text, struct err *e)
{
	return check_wildcard("AllowedOrigin", text, e);
}

static int
check_header(const char *text, struct err *e)
{
	return check_wildcard("AllowedHeader", text, e);
}

static int
check_exposed(const char *text, struct err *e)
{
	if (strchr(text, '*'))
		return err_set(e, ERR_INVALID_REQUEST,
		    "ExposeHeader \"%.256s\" contains wildcard. We currently do not support "
		    "wildcard "
		    "for ExposeHeader.",
		    text);
	return 0;
}

static const struct cors_list {
	const char *name;
	size_t offset;
	bool is_required;
	int (*check)(const char *text, struct err *e);
} lists[] = {
	{ "AllowedOrigin", offsetof(struct cors_rule, origins), true, check_origin },
	{ "AllowedMethod", offsetof(struct cors_rule, methods), true, cors_check_method },
	{ "AllowedHeader", offsetof(struct cors_rule, headers), false, check_header },
	{ "ExposeHeader", offsetof(struct cors_rule, exposed), false, check_exposed },
};

static const char ***
list_of(struct cors_rule *rule, const struct cors_list *l)
{
	return (const char ***)(void *)((char *)rule + l->offset);
}

static size_t
count_children(xmlNode *node, const char *name)
{
	size_t n = 0;

	for (xmlNode *child = xml_first(node); child; child = xml_next(child))
		n += xml_is(child, NULL, name);
	return n;
}

/* What goes into a header may hold nothing that ends one. */
static bool
is_plain(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return *text != 0;
}

static int
read_list(
    xmlNode *node, const struct cors_list *l, struct arena *arena, const char ***ret, struct err *e)
{
	size_t count = count_children(node, l->name), n = 0;
	int r = 0;

	if (l->is_required && count == 0)
		return setting_malformed(e);
	*ret = arena_alloc(arena, (count + 1) * sizeof(**ret));
	for (xmlNode *child = xml_first(node); r == 0 && child; child = xml_next(child)) {
		char *text;

		if (!xml_is(child, NULL, l->name))
			continue;
		text = xml_text_of(child, TEXT_MAX, arena);
		if (!text || !is_plain(text))
			return setting_malformed(e);
		r = l->check(text, e);
		(*ret)[n++] = text;
	}
	return r;
}

static int
read_rule(xmlNode *node, struct arena *arena, struct cors_rule *rule, struct err *e)
{
	xmlNode *id = xml_find(node, "ID"), *age = xml_find(node, "MaxAgeSeconds");
	uint32_t seconds;
	int r = 0;

	rule->max_age = -1;
	if (id) {
		rule->id = xml_text_of(id, RULE_ID_MAX, arena);
		if (!rule->id)
			return err_set(e, ERR_INVALID_ARGUMENT,
			    "ID length should not exceed allowed limit of 255");
	}
	if (age) {
		if (!str_to_u32(str_of(xml_text_of(age, 16, arena)), &seconds))
			return setting_malformed(e);
		rule->max_age = seconds;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lists); i++)
		r = read_list(node, &lists[i], arena, list_of(rule, &lists[i]), e);
	return r;
}

int
cors_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct cors *cors = arena_alloc(arena, sizeof(*cors));
	xmlNode *root;
	size_t count;
	int r = setting_parse_xml(body, "CORSConfiguration", &doc, e);

	if (r < 0)
		return r;
	root = xmlDocGetRootElement(doc);
	count = count_children(root, "CORSRule");
	if (count == 0)
		return setting_malformed(e);
	if (count > RULES_MAX)
		return err_set(e, ERR_INVALID_REQUEST,
		    "The number of CORS rules should not exceed allowed limit of 100 rules.");
	cors->rules = arena_alloc(arena, count * sizeof(*cors->rules));
	for (xmlNode *node = xml_first(root); r == 0 && node; node = xml_next(node))
		if (xml_is(node, NULL, "CORSRule"))
			r = read_rule(node, arena, &cors->rules[cors->count++], e);
	*ret = cors;
	return r;
}

void
cors_write(struct request *rq, struct xml_writer *w, const void *value)
{
	const struct cors *cors = value;

	for (size_t i = 0; i < cors->count; i++) {
		struct cors_rule *rule = &cors->rules[i];

		xml_open(w, "CORSRule");
		xml_element(w, "ID", rule->id);
		for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
			for (const char **p = *list_of(rule, &lists[l]); *p; p++)
				xml_element(w, lists[l].name, *p);
		if (rule->max_age >= 0)
			xml_elementf(w, "MaxAgeSeconds", "%lld", (long long)rule->max_age);
		xml_close(w, "CORSRule");
	}
}

/* -- matching -- */

/* A pattern has at most one *, which stands for anything. */
static bool
matches(const char *pattern, struct str text, int (*compare)(const char *, const char *, size_t))
{
	const char *star = strchr(pattern, '*');
	size_t before = star ? (size_t)(star - pattern) : strlen(pattern);
	size_t after = star ? strlen(star + 1) : 0;

	if (star ? text.n < before + after : text.n != before)
		return false;
	return compare(text.p, pattern, before) == 0 &&
	       (!star || compare(text.p + text.n - after, star + 1, after) == 0);
}

static bool
allows_headers(const struct cors_rule *rule, struct str wanted)
{
	struct str name;

	while (str_split(&wanted, ',', &name)) {
		const char **p = rule->headers;

		name = str_trim(name);
		if (name.n == 0)
			continue;
		while (*p && !matches(*p, name, strncasecmp))
			p++;
		if (!*p)
			return false;
	}
	return true;
}

static bool
allows_method(const struct cors_rule *rule, struct str method)
{
	for (const char **p = rule->methods; *p; p++)
		if (str_is(method, *p))
			return true;
	return false;
}

const struct cors_rule *
cors_find(const struct cors *cors, struct str origin, struct str method, struct str headers,
    const char **ret_pattern)
{
	for (size_t i = 0; i < cors->count; i++) {
		const struct cors_rule *rule = &cors->rules[i];
		const char **p = rule->origins;

		while (*p && !matches(*p, origin, strncmp))
			p++;
		if (!*p || !allows_method(rule, method) ||
		    (headers.p && !allows_headers(rule, headers)))
			continue;
		*ret_pattern = *p;
		return rule;
	}
	return NULL;
}
