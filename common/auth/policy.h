#pragma once
/* Policies in the language of IAM (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html):
 * read once, checked against what a service knows, then asked about requests. A policy is immutable: any
 * thread may evaluate it. */
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define POLICY_SIZE_MAX 20480      /* without the space between its tokens */
#define POLICY_TEXT_MAX (64 * 1024) /* with it */

/* -- what a service knows, as tables -- */

struct policy_action {
	const char *name; /* "s3:GetObject" */
	unsigned kinds;   /* of resources that it is about: bits of the service's own */
};
struct policy_key {
	const char *name;    /* "s3:prefix"; ends with '/' when a tag's key follows */
	const char *actions; /* patterns of those it says something of, by spaces; NULL: all */
};
enum policy_principal_type {
	POLICY_EVERYONE,
	POLICY_ACCOUNT,
	POLICY_USER, /* of an account, by name */
	POLICY_ROLE, /* or a session of one: its ARN */
	POLICY_CANONICAL,
	POLICY_SERVICE,
	POLICY_FEDERATED,
};
struct policy_principal {
	enum policy_principal_type type;
	const char *account_id; /* POLICY_ACCOUNT, POLICY_USER */
	const char *name; /* user's name, ARN, canonical id, service or provider */
};
struct policy_service {
	const struct policy_action *actions;
	size_t action_count;
	const struct policy_key *keys; /* those that do not begin with "aws:" */
	size_t key_count;
	/* Kinds of resources that a pattern may name; 0: none that the policy can be about. */
	unsigned (*resource_kinds)(void *arg, struct str pattern);
	bool (*principal_exists)(void *arg, const struct policy_principal *principal);
	void *arg;
};

/* -- policies -- */

enum policy_kind {
	POLICY_OF_RESOURCE, /* says whom it is about */
	POLICY_OF_IDENTITY, /* is about who has it */
};
struct policy;
/* Into the arena. ERR_MALFORMED_POLICY, in Amazon's words. `service` NULL: what was checked when it was
 * stored. */
int policy_parse(struct str text, enum policy_kind kind, const struct policy_service *service,
    struct arena *arena, const struct policy **ret, struct err *e);
/* What Amazon calls public: something is allowed to everyone, and no condition limits it to fixed accounts,
 * addresses or networks. */
bool policy_is_public(const struct policy *p);

/* -- asking -- */

struct policy_caller { /* NULL: it has none */
	const char *account_id;
	const char *user_name; /* "": the account itself */
	const char *arn, *canonical_id, *service;
};
struct policy_values {
	const struct str *items;
	unsigned count;
};
/* The values of a condition key (compare without case) in this request; false when it has none. The array of
 * values must stay until the next call, their bytes until the policy has been evaluated. */
typedef bool (*policy_lookup_fn)(void *arg, struct str key, struct policy_values *ret);
struct policy_request {
	const struct policy_caller *caller;
	const char *action;
	struct str resource;
	policy_lookup_fn lookup; /* NULL: no key has a value */
	void *arg;
};
enum policy_effect { POLICY_NONE, POLICY_ALLOW, POLICY_DENY };
/* A denial anywhere wins; POLICY_NONE when nothing speaks of the request. */
enum policy_effect policy_evaluate(const struct policy *p, const struct policy_request *rq);

/* '*' any bytes, '?' one character; no escapes. Time grows with the text for patterns without '?', and never
 * with more than pattern times text. */
bool policy_wildcard(struct str pattern, struct str text, bool ignores_case);
