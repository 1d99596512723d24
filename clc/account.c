/* Accounts, users and access keys are rows; every change of a key is an event that walrus learns by
 * IdentityChanges. Lookups read the store each time: a prepared read costs less than the signature.
 */
#include "account.h"

#include "base/clock.h"

#include "vpc.h"

bool
clc_account_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	if (n < 3 || n > ACCOUNT_NAME_MAX || name[0] == '-' || name[n - 1] == '-')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static int
insert_key(struct store_tx *tx, const char *account_id, const char *user_id, bool is_service,
    const char *access_key_id, const char *secret, struct err *e)
{
	int r;

	r = store_exec(tx, Q_ACCESS_KEY_INSERT, NULL, e, access_key_id, account_id, user_id, secret,
	    (int64_t)is_service, store_now_us(tx));
	if (r < 0)
		return r;
	return outbox_add(tx, "access_key", access_key_id, account_id, NULL, e);
}

static void
user_id_new(char out[24])
{
	char key[ACCESS_KEY_ID_SIZE];

	access_key_id_new(key); /* the same alphabet, another prefix */
	memcpy(out, "AIDA", 4);
	strcpy(out + 4, key + 4);
}

int
clc_account_create(struct store_tx *tx, const struct clc_conf *conf, const char *name,
    struct clc_account *ret, struct err *e)
{
	char canonical[65], service_key[ACCESS_KEY_ID_SIZE], service_secret[SECRET_KEY_SIZE];
	uint8_t noise[32];
	int64_t taken = 0;
	int r;

	if (!clc_account_name_is_valid(name))
		return err_set(e, ERR_INVALID,
		    "account name '%.64s' must be 3 to 63 lower-case letters, digits or '-'", name);
	memset(ret, 0, sizeof(*ret));
	strcpy(ret->name, name);
	account_id_new(ret->account_id);
	user_id_new(ret->user_id);
	access_key_id_new(ret->access_key_id);
	secret_key_new(ret->secret);
	access_key_id_new(service_key);
	secret_key_new(service_secret);
	random_bytes(noise, sizeof(noise));
	hex_encode(noise, sizeof(noise), canonical);

	r = store_exec(
	    tx, Q_ACCOUNT_INSERT, &taken, e, ret->account_id, name, canonical, store_now_us(tx));
	if (r < 0)
		return r;
	if (taken == 0)
		return err_set(e, ERR_EXISTS, "there is an account '%s' already", name);
	r = outbox_add(tx, "account", ret->account_id, ret->account_id, NULL, e);
	if (r < 0)
		return r;
	r = store_exec(tx, Q_USER_INSERT, NULL, e, ret->user_id, ret->account_id, ADMIN_USER,
	    store_now_us(tx));
	if (r < 0)
		return r;
	r = insert_key(
	    tx, ret->account_id, ret->user_id, false, ret->access_key_id, ret->secret, e);
	if (r < 0)
		return r;
	r = insert_key(tx, ret->account_id, ret->user_id, true, service_key, service_secret, e);
	if (r < 0)
		return r;
	return clc_vpc_create_default(tx, conf, ret->account_id, e);
}

static void
read_key(struct store_rows *rows, struct auth_key *ret)
{
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->access_key_id, sizeof(ret->access_key_id), "%s", store_text(rows, 0));
	snprintf(ret->secret, sizeof(ret->secret), "%s", store_text(rows, 1));
	snprintf(ret->account_id, sizeof(ret->account_id), "%s", store_text(rows, 2));
	snprintf(ret->user_id, sizeof(ret->user_id), "%s", store_text(rows, 3));
	snprintf(ret->user_name, sizeof(ret->user_name), "%s", store_text(rows, 4));
	ret->is_active = store_int(rows, 5);
	ret->generation = store_int(rows, 6);
	ret->is_service = store_int(rows, 7);
}

struct key_lookup {
	const char *access_key_id;
	struct auth_key *key;
};

static int
find_key(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct key_lookup *lookup = arg;
	int r;

	r = store_query_one(tx, Q_ACCESS_KEY_BY_ID, &rows, "access key", e, lookup->access_key_id);
	if (r < 0)
		return r;
	read_key(rows, lookup->key);
	return 0;
}

bool
clc_account_key(void *arg, const char *access_key_id, struct auth_key *ret)
{
	struct clc *clc = arg;
	struct key_lookup lookup = { .access_key_id = access_key_id, .key = ret };

	return store_read(clc->store, find_key, &lookup, NULL) == 0;
}

int
clc_account_service_key(
    struct store_tx *tx, const char *account_id, struct auth_key *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	r = store_query_one(
	    tx, Q_ACCESS_KEY_SERVICE, &rows, "service key of the account", e, account_id);
	if (r < 0)
		return r;
	read_key(rows, ret);
	return 0;
}
