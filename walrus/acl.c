/* One table says what groups are called, one what canned ACLs mean; everything else follows. */
#include "acl.h"

#include <string.h>

#include "xml/xml_read.h"

/* The user in whose name Amazon's compute service reads images, and its display name. */
#define EXEC_ID "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
#define EXEC_NAME "za-team"
#define XSI "http://www.w3.org/2001/XMLSchema-instance"

static const struct {
	const char *word, *uri;
} grantees[ACL_GRANTEE_MAX] = {
	[ACL_ACCOUNT] = { NULL, NULL },
	[ACL_ALL_USERS] = { "all", "http://acs.amazonaws.com/groups/global/AllUsers" },
	[ACL_AUTHENTICATED_USERS] = { "authenticated",
	    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers" },
	[ACL_LOG_DELIVERY] = { "logs", "http://acs.amazonaws.com/groups/s3/LogDelivery" },
	[ACL_EXEC] = { "exec", NULL },
};
static const struct {
	char letter;
	const char *name;
} permissions[] = {
	[PERMISSION_NONE] = { 0, NULL },
	[PERMISSION_READ] = { 'R', "READ" },
	[PERMISSION_WRITE] = { 'W', "WRITE" },
	[PERMISSION_READ_ACP] = { 'r', "READ_ACP" },
	[PERMISSION_WRITE_ACP] = { 'w', "WRITE_ACP" },
	[PERMISSION_FULL_CONTROL] = { 'F', "FULL_CONTROL" },
};
const char *const acl_headers[ACL_HEADER_COUNT] = { "x-amz-grant-full-control", "x-amz-grant-read",
	"x-amz-grant-write", "x-amz-grant-read-acp", "x-amz-grant-write-acp" };
static const enum permission header_permissions[ACL_HEADER_COUNT] = { PERMISSION_FULL_CONTROL,
	PERMISSION_READ, PERMISSION_WRITE, PERMISSION_READ_ACP, PERMISSION_WRITE_ACP };

static int
malformed(struct err *e)
{
	return err_set(e, ERR_MALFORMED_ACL,
	    "The XML you provided was not well-formed or did not validate against our published "
	    "schema");
}

static int
add(struct acl *acl, struct acl_grant grant, struct err *e)
{
	if (acl->count == ACL_GRANTS_MAX)
		return malformed(e);
	acl->grants[acl->count++] = grant;
	return 0;
}

/* -- stored -- */

static bool
parse_word(struct str word, struct acl_grant *ret, struct arena *arena)
{
	struct str name = { word.p + 1, word.n - 1 };

	if (word.n < 2)
		return false;
	*ret = (struct acl_grant){ ACL_ACCOUNT, NULL, PERMISSION_NONE };
	for (unsigned p = 1; p < ARRAY_SIZE(permissions); p++)
		if (word.p[0] == permissions[p].letter)
			ret->permission = p;
	for (unsigned g = 1; g < ACL_GRANTEE_MAX; g++)
		if (str_is(name, grantees[g].word))
			ret->grantee = g;
	if (ret->grantee == ACL_ACCOUNT)
		ret->account_id = arena_str(arena, name);
	return ret->permission != PERMISSION_NONE;
}

bool
acl_parse(struct str text, struct acl *ret, struct arena *arena)
{
	struct str word;

	ret->count = 0;
	while (text.n && str_split(&text, ' ', &word))
		if (ret->count == ACL_GRANTS_MAX ||
		    !parse_word(word, &ret->grants[ret->count++], arena))
			return false;
	return true;
}

int
acl_parse_setting(struct str text, struct arena *arena, const void **ret, struct err *e)
{
	struct acl *acl = arena_alloc(arena, sizeof(*acl));

	if (!acl_parse(text, acl, arena))
		return err_set(e, ERR_CORRUPT, "an ACL can't be read");
	*ret = acl;
	return 0;
}

char *
acl_format(const struct acl *acl, const char *owner_id, struct arena *arena)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (acl->count == 1 && acl->grants[0].grantee == ACL_ACCOUNT &&
	    acl->grants[0].permission == PERMISSION_FULL_CONTROL &&
	    strings_equal(acl->grants[0].account_id, owner_id))
		return NULL;
	for (unsigned i = 0; i < acl->count; i++) {
		const struct acl_grant *g = &acl->grants[i];

		if (i)
			strbuf_addc(&text, ' ');
		strbuf_addc(&text, permissions[g->permission].letter);
		strbuf_adds(
		    &text, g->grantee == ACL_ACCOUNT ? g->account_id : grantees[g->grantee].word);
	}
	return arena_str(arena, strbuf_str(&text));
}

/* -- asked -- */

static bool
is_public_group(enum acl_grantee g)
{
	return g == ACL_ALL_USERS || g == ACL_AUTHENTICATED_USERS;
}

static bool
is_for(const struct acl_grant *g, const struct acl_caller *who)
{
	switch (g->grantee) {
	case ACL_ACCOUNT:
		return who->account_id && strings_equal(g->account_id, who->account_id);
	case ACL_ALL_USERS:
		return true;
	case ACL_AUTHENTICATED_USERS:
		return who->account_id != NULL;
	case ACL_LOG_DELIVERY:
		return who->is_log_delivery;
	case ACL_EXEC:
		return who->is_exec;
	case ACL_GRANTEE_MAX:
		break;
	}
	return false;
}

bool
acl_allows(const struct acl *acl, const struct acl_caller *who, enum permission wanted,
    bool ignores_public)
{
	for (unsigned i = 0; i < acl->count && wanted != PERMISSION_NONE; i++) {
		const struct acl_grant *g = &acl->grants[i];

		if (g->permission != wanted && g->permission != PERMISSION_FULL_CONTROL)
			continue;
		if (ignores_public && is_public_group(g->grantee))
			continue;
		if (is_for(g, who))
			return true;
	}
	return false;
}

bool
acl_is_public(const struct acl *acl)
{
	for (unsigned i = 0; i < acl->count; i++)
		if (is_public_group(acl->grants[i].grantee))
			return true;
	return false;
}

/* -- canned -- */

#define BUCKET_OWNER ACL_ACCOUNT
static const struct {
	const char *name;
	bool of_buckets, of_objects; /* else it means the same as private */
	struct acl_grant grants[2];  /* beside the owner's */
} canned[] = {
	{ "private", false, false, { { 0 } } },
	{ "public-read", true, true, { { ACL_ALL_USERS, NULL, PERMISSION_READ } } },
	{ "public-read-write", true, true,
	    { { ACL_ALL_USERS, NULL, PERMISSION_READ },
		{ ACL_ALL_USERS, NULL, PERMISSION_WRITE } } },
	{ "authenticated-read", true, true,
	    { { ACL_AUTHENTICATED_USERS, NULL, PERMISSION_READ } } },
	{ "aws-exec-read", true, true, { { ACL_EXEC, NULL, PERMISSION_READ } } },
	{ "ec2-bundle-read", true, true, { { ACL_EXEC, NULL, PERMISSION_READ } } },
	{ "bucket-owner-read", false, true, { { BUCKET_OWNER, NULL, PERMISSION_READ } } },
	{ "bucket-owner-full-control", false, true,
	    { { BUCKET_OWNER, NULL, PERMISSION_FULL_CONTROL } } },
	{ "log-delivery-write", true, false,
	    { { ACL_LOG_DELIVERY, NULL, PERMISSION_WRITE },
		{ ACL_LOG_DELIVERY, NULL, PERMISSION_READ_ACP } } },
};

int
acl_from_canned(struct str name, const struct acl_subject *subject, struct acl *ret,
    struct acl_argument *ret_bad, struct err *e)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(canned) && !str_is(name, canned[i].name))
		i++;
	if (i == ARRAY_SIZE(canned)) {
		*ret_bad = (struct acl_argument){ "x-amz-acl", name };
		return err_set(e, ERR_INVALID_ARGUMENT, "%s", "");
	}
	ret->grants[0] =
	    (struct acl_grant){ ACL_ACCOUNT, subject->owner_id, PERMISSION_FULL_CONTROL };
	ret->count = 1;
	if (!(subject->is_bucket ? canned[i].of_buckets : canned[i].of_objects))
		return 0;
	for (unsigned k = 0; k < 2; k++) {
		struct acl_grant g = canned[i].grants[k];

		if (g.permission == PERMISSION_NONE)
			continue;
		if (g.grantee == BUCKET_OWNER)
			g.account_id = subject->bucket_owner_id;
		if (g.grantee != BUCKET_OWNER || !strings_equal(g.account_id, subject->owner_id))
			ret->grants[ret->count++] = g;
	}
	return 0;
}

/* -- grantees that clients name -- */

static int
by_id(struct str id, const char *argument, const struct acl_resolver *resolver,
    struct acl_grant *ret, struct acl_argument *ret_bad, struct err *e)
{
	ret->grantee = str_is(id, EXEC_ID) ? ACL_EXEC : ACL_ACCOUNT;
	if (ret->grantee == ACL_EXEC)
		return 0;
	ret->account_id = resolver->account(resolver->arg, id);
	if (ret->account_id)
		return 0;
	*ret_bad = (struct acl_argument){ argument, id };
	return err_set(e, ERR_INVALID_ARGUMENT, "Invalid id");
}

static int
by_uri(struct str uri, const char *argument, struct acl_grant *ret, struct acl_argument *ret_bad,
    struct err *e)
{
	for (unsigned g = 0; g < ACL_GRANTEE_MAX; g++)
		if (grantees[g].uri && str_is(uri, grantees[g].uri)) {
			ret->grantee = g;
			return 0;
		}
	*ret_bad = (struct acl_argument){ argument, uri };
	return err_set(e, ERR_INVALID_ARGUMENT, "Invalid group uri");
}

static int
by_email(
    struct str address, const struct acl_resolver *resolver, struct acl_grant *ret, struct err *e)
{
	ret->grantee = ACL_ACCOUNT;
	ret->account_id =
	    resolver->account_by_email ? resolver->account_by_email(resolver->arg, address) : NULL;
	if (ret->account_id)
		return 0;
	return err_set(e, ERR_GRANT_BY_EMAIL,
	    "The e-mail address you provided does not match any account on record.");
}

/* One NAME="VALUE" of a header. */
static int
add_named(struct acl *acl, unsigned header, struct str text, const struct acl_resolver *resolver,
    struct acl_argument *ret_bad, struct err *e)
{
	struct acl_grant grant = { .permission = header_permissions[header] };
	struct str value = text, name;
	int r;

	(void)str_split(&value, '=', &name);
	name = str_trim(name);
	value = value.p ? str_trim(value) : (struct str){ "", 0 };
	if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
		value = (struct str){ value.p + 1, value.n - 2 };
	if (str_is_nocase(name, "id")) {
		r = by_id(value, "id", resolver, &grant, ret_bad, e);
	} else if (str_is_nocase(name, "uri")) {
		r = by_uri(value, "uri", &grant, ret_bad, e);
	} else if (str_is_nocase(name, "emailAddress")) {
		r = by_email(value, resolver, &grant, e);
	} else {
		*ret_bad = (struct acl_argument){ acl_headers[header], text };
		return err_set(e, ERR_INVALID_ARGUMENT, "Argument format not recognized");
	}
	return r < 0 ? r : add(acl, grant, e);
}

int
acl_add_header(struct acl *acl, unsigned header, struct str value,
    const struct acl_resolver *resolver, struct acl_argument *ret_bad, struct err *e)
{
	struct str one;
	int r = 0;

	while (r == 0 && str_split(&value, ',', &one))
		r = add_named(acl, header, str_trim(one), resolver, ret_bad, e);
	return r;
}

/* -- XML -- */

static struct str
child_text(xmlNode *parent, const char *name, struct arena *arena)
{
	xmlNode *node = xml_find(parent, name);
	char *text = node ? xml_text_of(node, 1024, arena) : NULL;

	return text ? str_trim(str_of(text)) : (struct str){ NULL, 0 };
}

static int
read_grantee(xmlNode *node, const struct acl_resolver *resolver, struct arena *arena,
    struct acl_grant *ret, struct acl_argument *ret_bad, struct err *e)
{
	struct str id = child_text(node, "ID", arena), uri = child_text(node, "URI", arena);
	struct str email = child_text(node, "EmailAddress", arena);
	xmlChar *type = xmlGetNsProp(node, (const xmlChar *)"type", (const xmlChar *)XSI);
	struct str is = str_of(arena_strdup(arena, (const char *)type));

	xmlFree(type);
	if (str_is(is, "CanonicalUser") && id.p)
		return by_id(id, "CanonicalUser/ID", resolver, ret, ret_bad, e);
	if (str_is(is, "Group") && uri.p)
		return by_uri(uri, "Group/URI", ret, ret_bad, e);
	if (str_is(is, "AmazonCustomerByEmail") && email.p)
		return by_email(email, resolver, ret, e);
	return malformed(e);
}

static int
read_grant(xmlNode *node, const struct acl_resolver *resolver, struct arena *arena, struct acl *acl,
    struct acl_argument *ret_bad, struct err *e)
{
	struct acl_grant grant = { 0 };
	struct str permission = child_text(node, "Permission", arena);
	xmlNode *grantee = xml_find(node, "Grantee");
	int r;

	for (unsigned p = 1; permission.p && p < ARRAY_SIZE(permissions); p++)
		if (str_is(permission, permissions[p].name))
			grant.permission = p;
	if (!xml_is(node, NULL, "Grant") || !grantee || grant.permission == PERMISSION_NONE)
		return malformed(e);
	r = read_grantee(grantee, resolver, arena, &grant, ret_bad, e);
	return r < 0 ? r : add(acl, grant, e);
}

int
acl_from_xml(struct str body, const struct acl_resolver *resolver, struct arena *arena,
    struct acl *ret, struct str *ret_owner, struct acl_argument *ret_bad, struct err *e)
{
	_cleanup_(xml_doc_freep) xmlDoc *doc = NULL;
	xmlNode *root, *owner, *list;
	struct err why;
	int r = 0;

	ret->count = 0;
	if (xml_parse(body, &xml_limits_s3, &doc, &why) < 0)
		return malformed(e);
	root = xmlDocGetRootElement(doc);
	owner = xml_find(root, "Owner");
	list = xml_find(root, "AccessControlList");
	if (!xml_is(root, NULL, "AccessControlPolicy") || !owner || !list)
		return malformed(e);
	*ret_owner = child_text(owner, "ID", arena);
	if (!ret_owner->p)
		return malformed(e);
	for (xmlNode *node = xml_first(list); r == 0 && node; node = xml_next(node))
		r = read_grant(node, resolver, arena, ret, ret_bad, e);
	return r;
}

/* -- written -- */

static void
write_user(struct xml_writer *w, const char *id, const char *name)
{
	xml_element(w, "ID", id);
	xml_element(w, "DisplayName", name);
}

static void
write_grant(struct xml_writer *w, const struct acl_grant *g, acl_owner_fn owner, void *arg)
{
	const char *uri = grantees[g->grantee].uri;
	struct acl_owner named;

	xml_open(w, "Grant");
	xml_open(w, "Grantee");
	xml_attribute(w, "xmlns:xsi", XSI);
	xml_attribute(w, "xsi:type", uri ? "Group" : "CanonicalUser");
	if (g->grantee == ACL_ACCOUNT) {
		owner(arg, g->account_id, &named);
		write_user(w, named.canonical_id, named.name);
	} else if (uri) {
		xml_element(w, "URI", uri);
	} else {
		write_user(w, EXEC_ID, EXEC_NAME);
	}
	xml_close(w, "Grantee");
	xml_element(w, "Permission", permissions[g->permission].name);
	xml_close(w, "Grant");
}

void
acl_write(struct xml_writer *w, const struct acl *acl, const char *owner_id, acl_owner_fn owner,
    void *arg)
{
	const struct acl_grant own = { ACL_ACCOUNT, owner_id, PERMISSION_FULL_CONTROL };
	struct acl_owner named;

	owner(arg, owner_id, &named);
	xml_open(w, "Owner");
	write_user(w, named.canonical_id, named.name);
	xml_close(w, "Owner");
	xml_open(w, "AccessControlList");
	if (!acl)
		write_grant(w, &own, owner, arg);
	for (unsigned i = 0; acl && i < acl->count; i++)
		write_grant(w, &acl->grants[i], owner, arg);
	xml_close(w, "AccessControlList");
}
