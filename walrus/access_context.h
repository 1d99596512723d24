#pragma once
/* What conditions of a policy can ask about a request: private to access.c. */
#include "auth/policy.h"
#include "content.h"
#include "request.h"

/* Parsed once, however many conditions ask. */
struct access_tags {
	struct str text; /* p NULL: not yet */
	struct form form;
	bool is_readable;
};
struct access_context {
	struct walrus *walrus;
	const struct request *rq; /* NULL: what a daemon does in the name of an account */
	const struct bucket *bucket;
	const struct object *object; /* NULL: none is known */
	const struct auth_key *who;  /* NULL: nobody */
	const struct bucket *logged; /* NULL, or the bucket whose log is delivered */
	const struct policy_caller *caller;
	struct arena *arena;
	struct {
		struct access_tags asked, existing;
	} *tags;
	struct str values[64]; /* of the last key that was asked for */
};
/* A policy_lookup_fn. */
bool access_context_lookup(void *arg, struct str key, struct policy_values *ret);
