/* Verbs of the admin socket: short texts for a person or a script. */
#include "admin.h"

#include <stdio.h>

#include "base/clock.h"
#include "net/url.h"
#include "run/fs.h"

#include "account.h"
#include "admin_node.h"
#include "image.h"
#include "join.h"
#include "peers.h"
#include "quota.h"
#include "why.h"

#define CERTIFICATE_MAX 65536

static void
fail(struct http_call *call, const struct err *e)
{
	call->status = fault_status(e->code);
	strbuf_reset(&call->reply);
	strbuf_addf(&call->reply, "%s\n", e->text);
}

static int
read_form(struct http_call *call, struct form *ret, struct err *e)
{
	*ret = (struct form){ 0 };
	call->content_type = "text/plain";
	return form_parse(call->body, 16, call->arena, ret, e);
}

static void
create_token(struct http_call *call, void *arg)
{
	struct clc *clc = arg;
	char text[TRUST_TOKEN_MAX];
	struct trust_token token;
	struct err e = { 0 };
	struct form form;
	int r = read_form(call, &form, &e);

	if (r == 0)
		r = clc_token_create(
		    clc, form_find(&form, "role"), form_find(&form, "zone"), &token, &e);
	if (r < 0) {
		fail(call, &e);
		return;
	}
	trust_token_format(&token, text);
	strbuf_addf(&call->reply, "%s\n", text);
}

struct account_new {
	struct clc *clc;
	const char *name;
	struct clc_account account;
};

static int
write_account(struct store_tx *tx, void *arg, struct err *e)
{
	struct account_new *a = arg;

	return clc_account_create(tx, a->clc->conf, a->name, &a->account, e);
}

static void
create_account(struct http_call *call, void *arg)
{
	struct account_new a = { .clc = arg };
	struct err e = { 0 };
	struct form form;
	int r = read_form(call, &form, &e);

	if (r == 0) {
		a.name = form_find(&form, "name");
		r = a.name ? store_write(a.clc->store, write_account, &a, &e)
			   : err_set(&e, ERR_INVALID, "name an account");
	}
	if (r < 0) {
		fail(call, &e);
		return;
	}
	strbuf_addf(&call->reply,
	    "# Account '%s', user '%s'. The secret key is shown this once.\n"
	    "AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\nEC2_USER_ID=%s\n",
	    a.account.name, ADMIN_USER, a.account.access_key_id, a.account.secret,
	    a.account.account_id);
}

/* -- quotas -- */

struct quota_change {
	struct clc *clc;
	struct form form;
	bool is_change;
	struct strbuf *out;
};

static int
find_account(struct store_tx *tx, const char *account, char ret[ACCOUNT_ID_SIZE], struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = account ? store_query_one(tx, Q_ACCOUNT_FIND, &rows, "account", e, account)
			: err_set(e, ERR_INVALID, "name an account");

	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "there is no account '%.100s'", account);
	if (r == 0)
		snprintf(ret, ACCOUNT_ID_SIZE, "%s", store_text(rows, 0));
	return r;
}

/* A number, or `default`. */
static int
set_quota(struct store_tx *tx, const char *account_id, const struct form *form, struct err *e)
{
	const char *name = form_find(form, "name"), *text = form_find(form, "value");
	int64_t value = 0;

	if (!name || !text)
		return err_set(e, ERR_INVALID, "name a quota and its value");
	if (strcmp(text, "default") == 0)
		return clc_quota_set(tx, account_id, name, NULL, e);
	if (!str_to_i64(str_of(text), &value) || value < 0 || value > QUOTA_VALUE_MAX)
		return err_set(e, ERR_INVALID, "'%.100s' is no number from 0 to %d, nor 'default'",
		    text, QUOTA_VALUE_MAX);
	return clc_quota_set(tx, account_id, name, &value, e);
}

static int
use_quota(struct store_tx *tx, void *arg, struct err *e)
{
	struct quota_change *q = arg;
	char account_id[ACCOUNT_ID_SIZE];
	int r = find_account(tx, form_find(&q->form, "account"), account_id, e);

	strbuf_reset(q->out);
	if (r == 0 && q->is_change)
		r = set_quota(tx, account_id, &q->form, e);
	return r == 0 ? clc_quota_list(tx, q->clc->conf, account_id, q->out, e) : r;
}

static void
serve_quota(struct http_call *call, struct clc *clc, bool is_change)
{
	struct quota_change q = { .clc = clc, .is_change = is_change, .out = &call->reply };
	struct err e = { 0 };
	int r = read_form(call, &q.form, &e);

	if (r == 0)
		r = is_change ? store_write(clc->store, use_quota, &q, &e)
			      : store_read(clc->store, use_quota, &q, &e);
	if (r < 0)
		fail(call, &e);
}

static void
change_quota(struct http_call *call, void *arg)
{
	serve_quota(call, arg, true);
}

static void
list_quotas(struct http_call *call, void *arg)
{
	serve_quota(call, arg, false);
}

struct table { /* a statement printed as lines */
	struct clc *clc;
	struct strbuf *out;
};

static int
print_accounts(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct table *t = arg;
	int r = store_query(tx, Q_ACCOUNTS, &rows, e);

	strbuf_reset(t->out);
	while (r >= 0 && (r = store_next(rows, e)) > 0)
		strbuf_addf(t->out, "%s %s\n", store_text(rows, 0), store_text(rows, 1));
	return r;
}

static int
print_nodes(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct table *t = arg;
	int r = store_query(tx, Q_NODES, &rows, e);

	strbuf_reset(t->out);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		strbuf_addf(t->out,
		    "%s zone=%s state=%s hypervisor=%s vcpus=%lld/%lld memory_mib=%lld/%lld "
		    "disk_gib=%lld/%lld",
		    store_text(rows, 0), store_text(rows, 1), store_text(rows, 2),
		    store_text(rows, 4) ? store_text(rows, 4) : "-", (long long)store_int(rows, 8),
		    (long long)store_int(rows, 5), (long long)store_int(rows, 9),
		    (long long)store_int(rows, 6), (long long)store_int(rows, 10),
		    (long long)store_int(rows, 7));
		strbuf_addf(t->out, " power=%s", store_text(rows, 15));
		if (store_int(rows, 12)) {
			char since[TIME_TEXT_SIZE];

			time_format_iso(store_int(rows, 13), since);
			strbuf_addf(t->out, " maintenance_since=%s", since);
			if (store_text(rows, 14))
				strbuf_addf(
				    t->out, " maintenance_reason=\"%s\"", store_text(rows, 14));
		}
		if (store_text(rows, 3))
			strbuf_addf(t->out, " reason=\"%s\"", store_text(rows, 3));
		strbuf_addc(t->out, '\n');
	}
	return r;
}

static int
print_peers(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct table *t = arg;
	char expires[TIME_TEXT_SIZE];
	int r = store_query(tx, Q_PEERS, &rows, e);

	strbuf_reset(t->out);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

		time_format_iso(store_int(rows, 5), expires);
		strbuf_addf(t->out, "%s role=%s zone=%s url=%s certificate_until=%.10s",
		    store_text(rows, 0), store_text(rows, 1),
		    store_text(rows, 2) ? store_text(rows, 2) : "-", store_text(rows, 3), expires);
		if (strcmp(store_text(rows, 1), "nc") != 0) /* nodes are the business of their cc */
			strbuf_addf(t->out, " %s",
			    clc_peers_is_up(t->clc->peers, store_text(rows, 0), &why) ? "up"
										      : "down");
		if (why.n)
			strbuf_addf(t->out, " reason=\"%s\"", strbuf_c(&why));
		strbuf_addc(t->out, '\n');
	}
	return r;
}

static void
print(struct http_call *call, struct clc *clc, store_fn fn)
{
	struct table t = { .clc = clc, .out = &call->reply };
	struct err e = { 0 };

	call->content_type = "text/plain";
	if (store_read(clc->store, fn, &t, &e) < 0)
		fail(call, &e);
}

static void
list_accounts(struct http_call *call, void *arg)
{
	print(call, arg, print_accounts);
}

static void
list_nodes(struct http_call *call, void *arg)
{
	print(call, arg, print_nodes);
}

static void
list_peers(struct http_call *call, void *arg)
{
	print(call, arg, print_peers);
}

struct question {
	struct clc *clc;
	struct arena *arena;
	struct strbuf *out;
	const char *id; /* NULL: all that is off its wanted state */
};

static int
explain(struct store_tx *tx, void *arg, struct err *e)
{
	struct question *q = arg;
	struct clc_why why;
	int r;

	if (!q->id)
		return clc_why_all(tx, q->clc, q->arena, q->out, e);
	r = clc_why_of(tx, q->clc, q->id, q->arena, &why, e);
	strbuf_reset(q->out);
	if (r == 0)
		clc_why_format(&why, q->out);
	return r;
}

static void
tell_why(struct http_call *call, void *arg)
{
	struct question q = { .clc = arg, .arena = call->arena, .out = &call->reply };
	struct err e = { 0 };
	struct form form;
	int r = read_form(call, &form, &e);

	if (r == 0) {
		q.id = form_find(&form, "id");
		r = store_read(q.clc->store, explain, &q, &e);
	}
	if (r < 0)
		fail(call, &e);
}

static void
show_certificate(struct http_call *call, void *arg)
{
	_cleanup_free_ char *path = clc_bundle_certificate_path(arg);
	struct err e = { 0 };

	call->content_type = "application/x-pem-file";
	if (fs_read(path, CERTIFICATE_MAX, &call->reply, &e) < 0)
		fail(call, &e);
}

const struct admin_verb clc_admin_verbs[] = {
	{ "POST", "/token", "role, zone: a token for one daemon to join with", create_token },
	{ "POST", "/accounts", "name: an account with its admin user and key", create_account },
	{ "GET", "/accounts", "account ids and names", list_accounts },
	{ "GET", "/certificate", "what bundles of images are encrypted for", show_certificate },
	{ "POST", "/quotas", "account: what it may have", list_quotas },
	{ "POST", "/quotas/set", "account, name, value: a number or default", change_quota },
	{ "GET", "/nodes", "nodes with capacity used and whole", list_nodes },
	{ "GET", "/peers", "daemons of the cloud", list_peers },
	{ "GET", "/zones", "zones with their placement policy", clc_admin_list_zones },
	{ "POST", "/zones", "zone, policy: how the zone chooses nodes", clc_admin_set_zone },
	{ "POST", "/capacity", "type, zone: how many more instances of that type fit",
	    clc_admin_capacity },
	{ "POST", "/nodes/maintenance", "node, value (on, off), reason: takes no new instances",
	    clc_admin_maintain },
	{ "POST", "/nodes/power", "node, power (asleep, awake): sends it to sleep, wakes it",
	    clc_admin_power },
	{ "POST", "/nodes/remove", "node, force: it is no longer part of the cloud",
	    clc_admin_remove_node },
	{ "POST", "/peers/remove", "peer, force: the same of a walrus, cc or sc",
	    clc_admin_remove_peer },
	{ "POST", "/why", "id: why it is in its state; without: all that is off its wanted state",
	    tell_why },
};
const size_t clc_admin_verb_count = ARRAY_SIZE(clc_admin_verbs);
