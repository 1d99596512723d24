/* The identity cache. News is written to the store first, then to memory, so that a restart knows
 * at least what the last answer was based on. Memory is two maps under one lock, replaced as a
 * whole when the clc says that its answer is complete. */
#include "identity.h"

#include <stdatomic.h>
#include <stdio.h>

#include "auth/digest.h"
#include "base/clock.h"
#include "base/map.h"
#include "rpc/changes.h"
#include "rpc/clc.api.h"
#include "rpc/trust.h"
#include "run/health.h"
#include "run/lock.h"
#include "run/metrics.h"
#include "schema.h"

#define ANSWERS_PER_AGE 4 /* at least: a link that is well never lets what is known grow old */
#define SAVES_PER_AGE 20

struct identity {
	struct walrus *walrus;
	struct lock lock;
	struct map *keys;     /* under lock: struct auth_key */
	struct map *accounts; /* under lock: struct identity_owner */
	struct rpc_peer *clc;
	struct changes_reader *reader;
	uint64_t epoch, revision;
	uint32_t max_age_ms;
	/* Monotonic, of the last answer; before it: what a clock that is set may say of the last
	 * one that an earlier process had. Reaches into the past, thus signed; INT64_MIN: never. */
	atomic_int_least64_t heard_ms;
	atomic_bool is_settled; /* the clc answered this process, or can't be reached */
	int64_t saved_us;       /* of the age that is durable; on the reader's worker */
};

/* -- memory -- */

static void
copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from ? from : "");
}

static void
remember_key(struct map *keys, const struct identity_key *k)
{
	struct auth_key *key;

	if (k->removed) {
		(void)map_remove(keys, k->access_key_id);
		return;
	}
	key = xcalloc(1, sizeof(*key));
	copy_text(key->access_key_id, sizeof(key->access_key_id), k->access_key_id);
	copy_text(key->secret, sizeof(key->secret), k->secret);
	copy_text(key->account_id, sizeof(key->account_id), k->account_id);
	copy_text(key->user_id, sizeof(key->user_id), k->user_id);
	copy_text(key->user_name, sizeof(key->user_name), k->user_name);
	key->is_active = k->is_active && key->secret[0];
	key->generation = k->generation;
	key->is_service = k->is_service;
	map_set(keys, key->access_key_id, key);
}

static void
remember_account(struct map *accounts, const struct identity_account *a)
{
	struct identity_owner *owner;

	if (a->removed) {
		(void)map_remove(accounts, a->account_id);
		return;
	}
	owner = xcalloc(1, sizeof(*owner));
	copy_text(owner->canonical_id, sizeof(owner->canonical_id), a->canonical_id);
	copy_text(owner->name, sizeof(owner->name), a->name);
	map_set(accounts, a->account_id, owner);
}

/* -- age -- */

static int64_t
age_ms(struct identity *i)
{
	int64_t heard_ms = atomic_load(&i->heard_ms);

	return heard_ms == INT64_MIN ? INT64_MAX : (int64_t)clock_monotonic_ms() - heard_ms;
}

static bool
is_current(struct identity *i)
{
	return atomic_load(&i->is_settled) && age_ms(i) <= i->max_age_ms;
}

int
identity_check(struct identity *i, struct err *e)
{
	if (is_current(i))
		return 0;
	return err_set(e, ERR_SERVICE_UNAVAILABLE,
	    "Who signed the request can't be told until the cloud controller answers.");
}

/* An age that was written down before this process began. A clock that went back tells nothing. */
static int64_t
heard_from_us(int64_t heard_us)
{
	int64_t past_us = clock_now_us() - heard_us;

	if (heard_us == 0 || past_us < 0)
		return INT64_MIN;
	return (int64_t)clock_monotonic_ms() - past_us / 1000;
}

static double
age_seconds(void *arg)
{
	int64_t ms = age_ms(arg);

	return ms == INT64_MAX ? -1 : (double)ms / 1000;
}

bool
identity_key(void *arg, const char *access_key_id, struct auth_key *ret)
{
	struct identity *i = arg;
	const struct auth_key *key;

	if (!is_current(i))
		return false;
	LOCK_SCOPE(&i->lock);
	key = map_find(i->keys, access_key_id);
	if (!key)
		return false;
	*ret = *key;
	return true;
}

void
identity_owner(struct identity *i, const char *account_id, struct identity_owner *ret)
{
	const struct identity_owner *owner;

	LOCK_SCOPE(&i->lock);
	owner = map_find(i->accounts, account_id);
	if (owner) {
		*ret = *owner;
		return;
	}
	digest_hex(DIGEST_SHA256, str_of(account_id), ret->canonical_id);
	copy_text(ret->name, sizeof(ret->name), account_id);
}

bool
identity_account_of(
    struct identity *i, struct str canonical_id, char ret_account_id[ACCOUNT_ID_SIZE])
{
	const char *account_id;
	size_t cursor = 0;
	void *value;

	LOCK_SCOPE(&i->lock);
	while (map_next(i->accounts, &cursor, &account_id, &value)) {
		const struct identity_owner *owner = value;

		if (!str_is(canonical_id, owner->canonical_id))
			continue;
		copy_text(ret_account_id, ACCOUNT_ID_SIZE, account_id);
		return true;
	}
	return false;
}

bool
identity_knows(struct identity *i, const char *account_id)
{
	LOCK_SCOPE(&i->lock);
	return map_find(i->accounts, account_id) != NULL;
}

/* -- the store -- */

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct identity *i = arg;
	_cleanup_(store_rows_freep) struct store_rows *keys = NULL, *accounts = NULL,
						      *position = NULL;
	int r = store_query(tx, Q_IDENTITY_KEYS, &keys, e);

	while (r >= 0 && (r = store_next(keys, e)) > 0) {
		struct identity_key k = { .access_key_id = store_text(keys, 0),
			.secret = store_text(keys, 1),
			.account_id = store_text(keys, 2),
			.user_id = store_text(keys, 3),
			.user_name = store_text(keys, 4),
			.is_active = store_int(keys, 5),
			.generation = (uint64_t)store_int(keys, 6),
			.is_service = store_int(keys, 7) };

		remember_key(i->keys, &k);
	}
	if (r == 0)
		r = store_query(tx, Q_IDENTITY_ACCOUNTS, &accounts, e);
	while (r >= 0 && (r = store_next(accounts, e)) > 0) {
		struct identity_account a = { .account_id = store_text(accounts, 0),
			.name = store_text(accounts, 1),
			.canonical_id = store_text(accounts, 2) };

		remember_account(i->accounts, &a);
	}
	if (r == 0)
		r = store_query(tx, Q_IDENTITY_POSITION, &position, e);
	if (r == 0)
		r = store_next(position, e);
	if (r > 0) {
		(void)str_to_u64(str_of(store_text(position, 0)), &i->epoch);
		i->revision = (uint64_t)store_int(position, 1);
		atomic_store(&i->heard_ms, heard_from_us(store_int(position, 2)));
	}
	return r < 0 ? r : 0;
}

static int
save_key(struct store_tx *tx, const struct identity_key *k, struct err *e)
{
	if (k->removed)
		return store_exec(tx, Q_IDENTITY_KEY_DELETE, NULL, e, k->access_key_id);
	return store_exec(tx, Q_IDENTITY_KEY_PUT, NULL, e, k->access_key_id,
	    k->secret ? k->secret : "", k->account_id, k->user_id, k->user_name,
	    (int64_t)k->is_active, (int64_t)k->generation, (int64_t)k->is_service);
}

static int
save_account(struct store_tx *tx, const struct identity_account *a, struct err *e)
{
	if (a->removed)
		return store_exec(tx, Q_IDENTITY_ACCOUNT_DELETE, NULL, e, a->account_id);
	return store_exec(
	    tx, Q_IDENTITY_ACCOUNT_PUT, NULL, e, a->account_id, a->name, a->canonical_id);
}

static int
save(struct store_tx *tx, void *arg, struct err *e)
{
	const struct clc_identity_changes_out *news = arg;
	char epoch[24];
	int r = 0;

	if (news->complete) {
		r = store_exec(tx, Q_IDENTITY_KEYS_DELETE, NULL, e);
		if (r == 0)
			r = store_exec(tx, Q_IDENTITY_ACCOUNTS_DELETE, NULL, e);
	}
	for (size_t n = 0; r == 0 && n < news->keys.count; n++)
		r = save_key(tx, &news->keys.items[n], e);
	for (size_t n = 0; r == 0 && n < news->accounts.count; n++)
		r = save_account(tx, &news->accounts.items[n], e);
	(void)snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long)news->epoch);
	return r < 0 ? r
		     : store_exec(tx, Q_IDENTITY_POSITION_SET, NULL, e, epoch,
			   (int64_t)news->revision, store_now_us(tx));
}

/* -- news -- */

/* The old maps, when they were replaced, are freed outside the lock. */
static void
take_over(struct identity *i, const struct clc_identity_changes_out *news)
{
	struct map *old_keys = NULL, *old_accounts = NULL;

	lock_take(&i->lock);
	if (news->complete) {
		old_keys = i->keys;
		old_accounts = i->accounts;
		i->keys = map_new(free);
		i->accounts = map_new(free);
	}
	for (size_t n = 0; n < news->keys.count; n++)
		remember_key(i->keys, &news->keys.items[n]);
	for (size_t n = 0; n < news->accounts.count; n++)
		remember_account(i->accounts, &news->accounts.items[n]);
	lock_release(&i->lock);
	map_free(old_keys);
	map_free(old_accounts);
}

/* The clc spoke: what is in memory is true now. */
static void
hear(struct identity *i)
{
	atomic_store(&i->heard_ms, (int64_t)clock_monotonic_ms());
	atomic_store(&i->is_settled, true);
	health_expect("identity", i->max_age_ms);
	health_set("identity", true, "known");
}

/* An age that is not written down costs an outage that much of what known keys may live. */
static bool
is_age_to_be_saved(const struct identity *i)
{
	return clock_now_us() - i->saved_us > (int64_t)i->max_age_ms * 1000 / SAVES_PER_AGE;
}

static int
apply(void *arg, const void *out, uint64_t *ret_epoch, uint64_t *ret_revision, struct err *e)
{
	struct identity *i = arg;
	const struct clc_identity_changes_out *news = out;
	bool is_news = news->complete || news->keys.count > 0 || news->accounts.count > 0 ||
		       news->epoch != *ret_epoch || news->revision != *ret_revision ||
		       is_age_to_be_saved(i);
	struct clc_identity_changes_out copy = *news;
	int r = is_news ? store_write(i->walrus->store, save, &copy, e) : 0;

	/* A key that must not work any more is refused even where that can't be written down. */
	take_over(i, news);
	hear(i);
	if (r < 0)
		return r;
	if (is_news)
		i->saved_us = clock_now_us();
	if (news->keys.count + news->accounts.count > 0)
		log_info(i->walrus->log, "identity.changed", "keys=%zu accounts=%zu complete=%d",
		    news->keys.count, news->accounts.count, news->complete);
	*ret_epoch = news->epoch;
	*ret_revision = news->revision;
	return 0;
}

static void
on_link(void *arg, bool up, const struct err *why)
{
	struct identity *i = arg;

	if (up) {
		log_info(i->walrus->log, "identity.link", "state=up");
		return;
	}
	log_warn(i->walrus->log, "identity.link", "state=down error=\"%s\"", why->text);
	if (!atomic_load(&i->is_settled) && age_ms(i) < i->max_age_ms) {
		health_expect("identity", (unsigned)(i->max_age_ms - age_ms(i)));
		health_set("identity", true, "known from before");
	}
	atomic_store(&i->is_settled, true);
}

int
identity_new(struct walrus *w, struct identity **ret, struct err *e)
{
	struct identity *i = xcalloc(1, sizeof(*i));
	struct changes_reader_options options = {
		.operation = &clc_identity_changes, .apply = apply, .link = on_link, .arg = i
	};
	struct trust_peer peer = { 0 };
	int r;

	i->walrus = w;
	i->max_age_ms = w->conf->identity_max_age_ms;
	atomic_init(&i->heard_ms, INT64_MIN);
	lock_init(&i->lock, LOCK_CACHE);
	i->keys = map_new(free);
	i->accounts = map_new(free);
	r = store_read(w->store, load, i, e);
	if (r == 0)
		r = trust_peer_load(w->conf->daemon.state_dir, &peer, e);
	if (r < 0) {
		identity_free(i);
		return r;
	}
	health_set("identity", false, "the clc has not said yet who there is");
	metric_callback("mallee_walrus_identity_age_seconds", NULL,
	    "Since the clc's last answer on who there is; -1: never", age_seconds, i);
	i->clc = rpc_peer_new(w->rpc, NULL, "clc", peer.clc_url, NULL);
	trust_peer_done(&peer);
	options.epoch = i->epoch;
	options.revision = i->revision;
	if (i->max_age_ms / ANSWERS_PER_AGE < CHANGES_WAIT_MS)
		options.wait_ms = i->max_age_ms / ANSWERS_PER_AGE;
	i->reader = changes_reader_new(i->clc, daemon_workers(w->daemon), &options);
	*ret = i;
	return 0;
}

void
identity_free(struct identity *i)
{
	if (!i)
		return;
	changes_reader_free(i->reader);
	rpc_peer_free(i->clc);
	map_free(i->keys);
	map_free(i->accounts);
	lock_done(&i->lock);
	free(i);
}
