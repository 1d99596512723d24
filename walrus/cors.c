/* CORS. A reply of a bucket with rules depends on the Origin of its request, also where there is
 * none: so every such reply says Vary, and a cache never gives one origin what was meant for
 * another. */
#include "cors.h"

#include <ctype.h>

#include "bucket.h"
#include "request.h"

#define RULES_MAX 100
#define RULE_ID_MAX 255
#define TEXT_MAX 4096
#define VARY "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"

/* -- the setting -- */

static const char *const methods[] = { "GET", "PUT", "POST", "DELETE", "HEAD" };

static int
check_method(const char *text, struct err *e)
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
	{ "AllowedMethod", offsetof(struct cors_rule, methods), true, check_method },
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

/* -- replies -- */

static void
reply_list(struct request *rq, const char *name, const char *const *list)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	for (; *list; list++) {
		if (text.n)
			strbuf_adds(&text, ", ");
		strbuf_adds(&text, *list);
	}
	if (text.n)
		reply_header(rq, name, arena_str(rq->arena, strbuf_str(&text)));
}

static void
reply_rule(struct request *rq, const struct cors_rule *rule, const char *pattern, struct str origin)
{
	bool is_any = strcmp(pattern, "*") == 0;

	reply_header(
	    rq, "Access-Control-Allow-Origin", is_any ? "*" : arena_str(rq->arena, origin));
	reply_list(rq, "Access-Control-Allow-Methods", (const char *const *)rule->methods);
	reply_list(rq, "Access-Control-Expose-Headers", (const char *const *)rule->exposed);
	if (rule->max_age >= 0)
		reply_headerf(rq, "Access-Control-Max-Age", "%lld", (long long)rule->max_age);
	if (!is_any)
		reply_header(rq, "Access-Control-Allow-Credentials", "true");
}

static const struct cors *
rules_of(struct request *rq)
{
	struct err e;

	/* A request that failed early has not looked at its bucket: its page may read the error as
	 * well. */
	if (!rq->bucket && rq->target.bucket && request_header(rq, "origin").p)
		(void)bucket_get(rq->walrus, rq->target.bucket, &rq->bucket, &e);
	return rq->bucket ? rq->bucket->settings[SETTING_CORS] : NULL;
}

void
cors_reply(struct request *rq)
{
	const struct cors *cors = rules_of(rq);
	struct str origin = request_header(rq, "origin");
	const struct cors_rule *rule;
	const char *pattern;

	if (!cors || str_is(rq->head->method, "OPTIONS"))
		return;
	reply_header(rq, "Vary", VARY);
	rule = origin.n
		   ? cors_find(cors, origin, rq->head->method, (struct str){ NULL, 0 }, &pattern)
		   : NULL;
	if (rule)
		reply_rule(rq, rule, pattern, origin);
}

int
cors_preflight(struct request *rq, struct err *e)
{
	struct str origin = request_header(rq, "origin"),
		   method = request_header(rq, "access-control-request-method"),
		   headers = request_header(rq, "access-control-request-headers");
	const struct cors *cors = rules_of(rq);
	const struct cors_rule *rule;
	const char *pattern, *wanted = method.n ? arena_str(rq->arena, method) : "null";

	if (!origin.n)
		return err_set(
		    e, ERR_BAD_REQUEST, "Insufficient information. Origin request header needed.");
	if (check_method(wanted, e) < 0)
		return err_set(
		    e, ERR_BAD_REQUEST, "Invalid Access-Control-Request-Method: %.64s", wanted);
	if (!rq->bucket)
		return err_set(e, ERR_CORS_FORBIDDEN, "CORSResponse: Bucket not found");
	if (!cors)
		return err_set(
		    e, ERR_CORS_FORBIDDEN, "CORSResponse: CORS is not enabled for this bucket.");
	rq->keeps_headers = true;
	reply_header(rq, "Vary", VARY);
	rule = cors_find(cors, origin, method, headers, &pattern);
	if (!rule)
		return err_set(e, ERR_CORS_FORBIDDEN,
		    "CORSResponse: This CORS request is not allowed. This is usually because the "
		    "evalution of Origin, request method / Access-Control-Request-Method or "
		    "Access-Control-Request-Headers are not whitelisted by the resource's CORS "
		    "spec.");
	reply_rule(rq, rule, pattern, origin);
	if (headers.n) {
		char *lower = arena_str(rq->arena, headers);

		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		reply_header(rq, "Access-Control-Allow-Headers", lower);
	}
	return 0;
}

int
cors_begin(struct request *rq, struct err *e)
{
	for (unsigned i = 0; i < s3_operation_count; i++)
		if (strcmp(s3_operations[i].method, "OPTIONS") == 0)
			rq->operation = &s3_operations[i];
	rq->is_anonymous = true;
	return 0;
}
