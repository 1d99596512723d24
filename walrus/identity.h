#pragma once
/* Accounts and access keys as the clc has them: followed by long poll, durable here, cached in memory. A
 * key that is revoked is refused from the moment its news is applied. What is known lives for
 * `identity_max_age` after the clc's last answer, across restarts as well; then no key works before it
 * answered again. A start waits for its first answer in any case, or for hearing that it can't be reached. */
#include "auth/credentials.h"
#include "walrus.h"

struct identity;
int identity_new(struct walrus *w, struct identity **ret, struct err *e);
void identity_free(struct identity *i); /* on the loop */
DEFINE_CLEANUP(struct identity *, identity_free)
/* ERR_SERVICE_UNAVAILABLE when nobody can be told apart now. */
int identity_check(struct identity *i, struct err *e);
/* An auth_lookup_fn; arg is the struct identity. Finds nothing while identity_check fails. */
bool identity_key(void *arg, const char *access_key_id, struct auth_key *ret);

struct identity_owner {
	char canonical_id[65];
	char name[65];
};
/* Of an account that is no longer known: derived from its number. */
void identity_owner(struct identity *i, const char *account_id, struct identity_owner *ret);
/* Which account has a canonical id; false: none that is known. */
bool identity_account_of(
    struct identity *i, struct str canonical_id, char ret_account_id[ACCOUNT_ID_SIZE]);
bool identity_knows(struct identity *i, const char *account_id);
