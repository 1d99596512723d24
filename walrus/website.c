/* WebsiteConfiguration: read, written, and asked where a key leads. */
#include "website.h"

#include "net/url.h"

#define TEXT_MAX 1024
#define LOCATION_MAX 2048

/* -- reading -- */

static int
invalid_request(struct err *e, const char *why)
{
	return err_set(e, ERR_INVALID_REQUEST, "%s", why);
}

/* NULL when the element is not there. */
static int
read_text(xmlNode *parent, const char *name, struct arena *arena, const char **ret, struct err *e)
{
	xmlNode *node = xml_find(parent, name);

	*ret = node ? xml_text_of(node, TEXT_MAX, arena) : NULL;
	if (node && !*ret)
		return setting_malformed(e);
	/* it may go into a header */
	for (const char *p = *ret; p && *p; p++)
		if ((unsigned char)*p < 0x20)
			return setting_malformed(e);
	return 0;
}

static int
read_protocol(xmlNode *node, struct arena *arena, const char **ret, struct err *e)
{
	int r = read_text(node, "Protocol", arena, ret, e);

	if (r == 0 && *ret && strcmp(*ret, "http") != 0 && strcmp(*ret, "https") != 0)
		return invalid_request(e,
		    "Invalid protocol, protocol can be http or https. If not defined the protocol "
		    "will be selected automatically.");
	return r;
}

static int
read_status(xmlNode *parent, const char *name, struct arena *arena, int *ret, struct err *e)
{
	const char *text;
	uint16_t status;
	int r = read_text(parent, name, arena, &text, e);

	*ret = 0;
	if (r < 0 || !text)
		return r;
	if (!str_to_u16(str_of(text), &status))
		return setting_malformed(e);
	*ret = status;
	return 0;
}

static int
read_redirect(xmlNode *node, struct arena *arena, struct website_redirect *ret, struct err *e)
{
	int r;

	if (!node || !xml_first(node))
		return setting_malformed(e);
	r = read_protocol(node, arena, &ret->protocol, e);
	if (r == 0)
		r = read_text(node, "HostName", arena, &ret->host, e);
	if (r == 0)
		r = read_text(node, "ReplaceKeyWith", arena, &ret->key, e);
	if (r == 0)
		r = read_text(node, "ReplaceKeyPrefixWith", arena, &ret->prefix_replacement, e);
	if (r == 0)
		r = read_status(node, "HttpRedirectCode", arena, &ret->status, e);
	if (r < 0)
		return r;
	if (ret->key && ret->prefix_replacement)
		return invalid_request(
		    e, "You can only define ReplaceKeyPrefix or ReplaceKey but not both.");
	if (xml_find(node, "HttpRedirectCode") && (ret->status / 100 != 3 || ret->status == 300))
		return err_set(e, ERR_INVALID_REQUEST,
		    "The provided HTTP redirect code (%d) is not valid. Valid codes are 3XX except "
		    "300.",
		    ret->status);
	return 0;
}

static int
read_rule(xmlNode *node, struct arena *arena, struct website_rule *rule, struct err *e)
{
	xmlNode *condition = xml_find(node, "Condition");
	int r = 0;

	if (condition) {
		r = read_text(condition, "KeyPrefixEquals", arena, &rule->prefix, e);
		if (r == 0)
			r = read_status(condition, "HttpErrorCodeReturnedEquals", arena,
			    &rule->error_status, e);
		if (r < 0)
			return r;
		if (!xml_first(condition))
			return setting_malformed(e);
		if (xml_find(condition, "HttpErrorCodeReturnedEquals") &&
		    rule->error_status / 100 != 4 && rule->error_status / 100 != 5)
			return err_set(e, ERR_INVALID_REQUEST,
			    "The provided HTTP error code (%d) is not valid. Valid codes are 4XX "
			    "or "
			    "5XX.",
			    rule->error_status);
	}
	return read_redirect(xml_find(node, "Redirect"), arena, &rule->redirect, e);
}

static int
read_rules(xmlNode *node, struct arena *arena, struct website *w, struct err *e)
{
	size_t count = 0;
	int r = 0;

	for (xmlNode *child = xml_first(node); child; child = xml_next(child))
		count++;
	if (count > WEBSITE_RULES_MAX)
		return err_set(e, ERR_INVALID_REQUEST,
		    "%zu routing rules provided, the number of routing rules in a website "
		    "configuration is limited to %d.",
		    count, WEBSITE_RULES_MAX);
	w->rules = arena_alloc(arena, (count + 1) * sizeof(*w->rules));
	for (xmlNode *child = xml_first(node); r == 0 && child; child = xml_next(child))
		r = xml_is(child, NULL, "RoutingRule")
			? read_rule(child, arena, &w->rules[w->rule_count++], e)
			: setting_malformed(e);
	return r;
}

static int
read_everything(xmlNode *node, struct arena *arena, struct website *w, struct err *e)
{
	struct website_redirect *redirect = arena_alloc(arena, sizeof(*redirect));
	int r = read_protocol(node, arena, &redirect->protocol, e);

	if (r == 0)
		r = read_text(node, "HostName", arena, &redirect->host, e);
	if (r == 0 && (!redirect->host || !*redirect->host))
		return setting_malformed(e);
	w->everything = redirect;
	return r;
}

static int
read_documents(xmlNode *root, struct arena *arena, struct website *w, struct err *e)
{
	xmlNode *index = xml_find(root, "IndexDocument"), *error = xml_find(root, "ErrorDocument");
	int r = index ? read_text(index, "Suffix", arena, &w->index, e) : 0;

	if (r == 0 && error)
		r = read_text(error, "Key", arena, &w->error, e);
	if (r < 0)
		return r;
	if (!index)
		return err_set(e, ERR_INVALID_ARGUMENT,
		    "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is "
		    "empty");
	if (!w->index || !*w->index || strchr(w->index, '/'))
		return err_set(
		    e, ERR_INVALID_ARGUMENT, "The IndexDocument Suffix is not well formed");
	if (error && (!w->error || !*w->error))
		return err_set(e, ERR_INVALID_ARGUMENT, "The ErrorDocument Key is not well formed");
	return 0;
}

int
website_parse(struct str body, struct arena *arena, const void **ret, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	struct website *w = arena_alloc(arena, sizeof(*w));
	xmlNode *root, *everything, *rules;
	int r = setting_parse_xml(body, "WebsiteConfiguration", &doc, e);

	if (r < 0)
		return r;
	*ret = w;
	root = xmlDocGetRootElement(doc);
	everything = xml_find(root, "RedirectAllRequestsTo");
	if (everything) {
		if (xml_next(xml_first(root)))
			return invalid_request(e,
			    "RedirectAllRequestsTo cannot be provided in conjunction with other "
			    "Routing Rules.");
		return read_everything(everything, arena, w, e);
	}
	r = read_documents(root, arena, w, e);
	rules = xml_find(root, "RoutingRules");
	return r == 0 && rules ? read_rules(rules, arena, w, e) : r;
}

/* -- writing -- */

static void
write_status(struct xml_writer *w, const char *name, int status)
{
	if (status)
		xml_elementf(w, name, "%d", status);
}

static void
write_redirect(struct xml_writer *w, const char *name, const struct website_redirect *redirect)
{
	xml_open(w, name);
	xml_element(w, "Protocol", redirect->protocol);
	xml_element(w, "HostName", redirect->host);
	xml_element(w, "ReplaceKeyPrefixWith", redirect->prefix_replacement);
	xml_element(w, "ReplaceKeyWith", redirect->key);
	write_status(w, "HttpRedirectCode", redirect->status);
	xml_close(w, name);
}

static void
write_rule(struct xml_writer *w, const struct website_rule *rule)
{
	xml_open(w, "RoutingRule");
	if (rule->prefix || rule->error_status) {
		xml_open(w, "Condition");
		xml_element(w, "KeyPrefixEquals", rule->prefix);
		write_status(w, "HttpErrorCodeReturnedEquals", rule->error_status);
		xml_close(w, "Condition");
	}
	write_redirect(w, "Redirect", &rule->redirect);
	xml_close(w, "RoutingRule");
}

void
website_write(struct request *rq, struct xml_writer *w, const void *value)
{
	const struct website *site = value;

	if (site->everything) {
		write_redirect(w, "RedirectAllRequestsTo", site->everything);
		return;
	}
	xml_open(w, "IndexDocument");
	xml_element(w, "Suffix", site->index);
	xml_close(w, "IndexDocument");
	if (site->error) {
		xml_open(w, "ErrorDocument");
		xml_element(w, "Key", site->error);
		xml_close(w, "ErrorDocument");
	}
	if (site->rule_count == 0)
		return;
	xml_open(w, "RoutingRules");
	for (size_t i = 0; i < site->rule_count; i++)
		write_rule(w, &site->rules[i]);
	xml_close(w, "RoutingRules");
}

/* -- asking -- */

const struct website_rule *
website_find(const struct website *w, struct str key, int status)
{
	for (size_t i = 0; i < w->rule_count; i++) {
		const struct website_rule *rule = &w->rules[i];
		struct str prefix = str_of(rule->prefix);

		if (rule->error_status == status && key.n >= prefix.n &&
		    memcmp(key.p, prefix.p, prefix.n) == 0)
			return rule;
	}
	return NULL;
}

void
website_location(const struct website_redirect *redirect, const char *matched_prefix,
    struct str key, const char *protocol, struct str host, struct strbuf *out)
{
	size_t cut = matched_prefix ? strlen(matched_prefix) : 0;

	strbuf_addf(out, "%s://", redirect->protocol ? redirect->protocol : protocol);
	if (redirect->host)
		strbuf_adds(out, redirect->host);
	else
		strbuf_addstr(out, host);
	strbuf_addc(out, '/');
	if (redirect->key) {
		url_encode(out, str_of(redirect->key), true);
		return;
	}
	if (redirect->prefix_replacement) {
		url_encode(out, str_of(redirect->prefix_replacement), true);
		key = (struct str){ key.p + cut, key.n - cut };
	}
	url_encode(out, key, true);
}

int
website_check_location(struct str value, struct err *e)
{
	if (!value.p)
		return 0;
	if (value.n > LOCATION_MAX)
		return err_set(e, ERR_REDIRECT_LOCATION,
		    "The length of website redirect location cannot exceed 2,048 characters.");
	if (str_starts(value, "/") || str_starts(value, "http://") || str_starts(value, "https://"))
		return 0;
	return err_set(e, ERR_REDIRECT_LOCATION,
	    "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.");
}
