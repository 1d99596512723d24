/* Any bytes as an AccessControlPolicy and as a grant header: refused with a reason, or an ACL that
 * is written and read again as it was. */
#include <assert.h>
#include "walrus/acl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *
account(void *arg, struct str id)
{
	return id.n % 2 ? "111122223333" : NULL;
}

static void
check(const struct acl *acl, struct arena *arena)
{
	char *text = acl_format(acl, "1", arena);
	struct acl again;

	assert(text && acl_parse(str_of(text), &again, arena) && again.count == acl->count);
	for (unsigned i = 0; i < acl->count; i++)
		assert(again.grants[i].grantee == acl->grants[i].grantee &&
		       again.grants[i].permission == acl->grants[i].permission);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct acl_resolver resolver = { account, NULL, NULL };
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct str text = { (const char *)data, size }, owner;
	struct acl_argument bad;
	struct acl acl = { .count = 0 };
	struct err e = { 0 };

	if (size == 0)
		return 0;
	if (acl_from_xml(text, &resolver, arena, &acl, &owner, &bad, &e) == 0)
		check(&acl, arena);
	else
		assert(e.code < 0 && e.text[0]);
	acl.count = 0;
	if (acl_add_header(&acl, data[0] % ACL_HEADER_COUNT, text, &resolver, &bad, &e) == 0)
		check(&acl, arena);
	(void)acl_parse(text, &acl, arena);
	return 0;
}
