#pragma once
/* Accounts, their users and access keys. */
#include "auth/credentials.h"
#include "clc.h"

#define ACCOUNT_NAME_MAX 63
#define ADMIN_USER "admin"

struct clc_account {
	char account_id[ACCOUNT_ID_SIZE];
	char name[ACCOUNT_NAME_MAX + 1];
	char user_id[24];
	char access_key_id[ACCESS_KEY_ID_SIZE];
	char secret[SECRET_KEY_SIZE];
};
/* Lower-case letters, digits and '-', 3 to 63, no '-' at the ends. */
bool clc_account_name_is_valid(const char *name);
/* Within a transaction: the account, its user `admin` with an access key, a hidden service key that
 * signs image URLs, the default VPC. ERR_EXISTS when the name is taken. */
int clc_account_create(struct store_tx *tx, const struct clc_conf *conf, const char *name,
    struct clc_account *ret, struct err *e);
/* auth_lookup_fn; arg is struct clc *. */
bool clc_account_key(void *arg, const char *access_key_id, struct auth_key *ret);
/* The hidden key of an account. */
int clc_account_service_key(struct store_tx *tx, const char *account_id, struct auth_key *ret,
    struct err *e);
