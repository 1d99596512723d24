#pragma once
/* Access control lists: who was granted what on a bucket or an object. Pure: accounts are resolved by the caller.
 * Stored as text, a word per grant: a letter for the permission and whom it is for ("F111122223333 Rall");
 * an owner's full control alone is stored as NULL. */
#include "base/arena.h"
#include "base/err.h"
#include "xml/xml_write.h"

#define ACL_GRANTS_MAX 100

/* What an ACL can grant on a bucket or an object. */
enum permission {
	PERMISSION_NONE, /* nothing: it is the owner's, or a policy's to grant */
	PERMISSION_READ,
	PERMISSION_WRITE,
	PERMISSION_READ_ACP,
	PERMISSION_WRITE_ACP,
	PERMISSION_FULL_CONTROL,
};
enum acl_grantee {
	ACL_ACCOUNT,
	ACL_ALL_USERS,
	ACL_AUTHENTICATED_USERS,
	ACL_LOG_DELIVERY,
	ACL_EXEC, /* whoever reads images for the cloud: aws-exec-read */
	ACL_GRANTEE_MAX
};
struct acl_grant {
	enum acl_grantee grantee;
	const char *account_id; /* ACL_ACCOUNT */
	enum permission permission;
};
struct acl {
	struct acl_grant grants[ACL_GRANTS_MAX];
	unsigned count;
};

/* -- stored -- */
bool acl_parse(struct str text, struct acl *ret, struct arena *arena);
char *acl_format(const struct acl *acl, const char *owner_id, struct arena *arena); /* NULL: private */
/* As setting.h has it: of a bucket's, from the store. ERR_CORRUPT. */
int acl_parse_setting(struct str text, struct arena *arena, const void **ret, struct err *e);

/* -- asked -- */
struct acl_caller {
	const char *account_id; /* NULL: nobody */
	bool is_log_delivery, is_exec;
};
/* ignores_public: groups that anybody may be in count for nothing. */
bool acl_allows(const struct acl *acl, const struct acl_caller *who, enum permission wanted,
    bool ignores_public);
bool acl_is_public(const struct acl *acl); /* grants to everybody, or to everybody with an account */

/* -- made, of what clients send -- */
struct acl_subject { /* what it will be the ACL of */
	const char *owner_id, *bucket_owner_id;
	bool is_bucket;
};
struct acl_resolver {
	/* The account with that canonical id; NULL: there is none. */
	const char *(*account)(void *arg, struct str canonical_id);
	/* By address; NULL: no account has one. */
	const char *(*account_by_email)(void *arg, struct str address);
	void *arg;
};
struct acl_argument { /* what was wrong, of an ERR_INVALID_ARGUMENT */
	const char *name;
	struct str value;
};
/* "public-read" and its kin. ERR_INVALID_ARGUMENT. */
int acl_from_canned(struct str name, const struct acl_subject *subject, struct acl *ret,
    struct acl_argument *ret_bad, struct err *e);
/* The headers x-amz-grant-*, in this order. */
#define ACL_HEADER_COUNT 5
extern const char *const acl_headers[ACL_HEADER_COUNT];
/* Adds what the header with that index grants: id="...", uri="...", emailAddress="...", by commas.
 * ERR_INVALID_ARGUMENT, ERR_GRANT_BY_EMAIL, ERR_MALFORMED_ACL. */
int acl_add_header(struct acl *acl, unsigned header, struct str value,
    const struct acl_resolver *resolver, struct acl_argument *ret_bad, struct err *e);
/* An AccessControlPolicy. ret_owner: the canonical id that it calls the owner. ERR_MALFORMED_ACL and what
 * acl_add_header says. */
int acl_from_xml(struct str body, const struct acl_resolver *resolver, struct arena *arena,
    struct acl *ret, struct str *ret_owner, struct acl_argument *ret_bad, struct err *e);

/* -- written -- */
struct acl_owner {
	char canonical_id[65], name[65];
};
typedef void (*acl_owner_fn)(void *arg, const char *account_id, struct acl_owner *ret);
/* The children of an AccessControlPolicy. acl NULL: private. */
void acl_write(struct xml_writer *w, const struct acl *acl, const char *owner_id, acl_owner_fn owner,
    void *arg);
