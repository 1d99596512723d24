/* What an operator asks and orders of zones and nodes. An order is a row and an event in one
 * transaction; the zone's link tells the cc. Sending a node to sleep and waking it is asked of the
 * zone at once, so that a refusal is read by whoever ordered it. */
#include "admin_node.h"

#include "net/url.h"
#include "rpc/cc.api.h"
#include "rpc/placement.h"

#include "instance_type.h"
#include "peers.h"
#include "placement.h"
#include "zone.h"

struct order {
	struct clc *clc;
	struct http_call *call;
	struct form form;
	const char *node, *zone, *value; /* arena */
	int64_t instances;
};

static const char *
word(const struct order *o, const char *name)
{
	return form_find(&o->form, name);
}

static int
need(const struct order *o, const char *name, const char **ret, struct err *e)
{
	*ret = word(o, name);
	return *ret && **ret ? 0 : err_set(e, ERR_INVALID, "'%s' is missing", name);
}

/* Reads the form and runs the step as one write or read; what it printed, or its sentence. */
static void
carry_out(struct http_call *call, struct clc *clc, bool is_write, store_fn fn, struct order *o)
{
	struct err e = { 0 };
	int r = call->body.n ? form_parse(call->body, 16, call->arena, &o->form, &e) : 0;

	o->clc = clc;
	o->call = call;
	call->content_type = "text/plain";
	if (r == 0)
		r = is_write ? store_write(clc->store, fn, o, &e)
			     : store_read(clc->store, fn, o, &e);
	if (r >= 0)
		return;
	call->status = fault_status(e.code);
	strbuf_reset(&call->reply);
	strbuf_addf(&call->reply, "%s\n", e.text);
}

/* -- zones -- */

static int
print_zones(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct order *o = arg;
	int r = store_query(tx, Q_ZONE_POLICIES, &rows, e);

	strbuf_reset(&o->call->reply);
	while (r >= 0 && (r = store_next(rows, e)) > 0)
		strbuf_addf(&o->call->reply, "%s id=%s policy=%s nodes=%lld\n", store_text(rows, 0),
		    store_text(rows, 1), store_text(rows, 2), (long long)store_int(rows, 3));
	return r;
}

void
clc_admin_list_zones(struct http_call *call, void *arg)
{
	struct order o = { 0 };

	carry_out(call, arg, false, print_zones, &o);
}

static int
set_policy(struct store_tx *tx, void *arg, struct err *e)
{
	struct order *o = arg;
	enum placement_policy policy;
	int64_t changed = 0;
	int r = need(o, "zone", &o->zone, e);

	if (r == 0)
		r = need(o, "policy", &o->value, e);
	if (r < 0)
		return r;
	if (!placement_policy_from_string(o->value, &policy))
		return err_set(e, ERR_INVALID,
		    "there is no policy '%.40s': round-robin, greedy, power-save", o->value);
	r = store_exec(tx, Q_ZONE_SET_POLICY, &changed, e, o->zone, o->value);
	if (r == 0 && !changed)
		return err_set(e, ERR_NOT_FOUND, "there is no zone '%.40s'", o->zone);
	return r == 0 ? outbox_add(tx, "zone", o->zone, NULL, o->value, e) : r;
}

void
clc_admin_set_zone(struct http_call *call, void *arg)
{
	struct order o = { 0 };

	carry_out(call, arg, true, set_policy, &o);
	clc_zones_poke(arg, o.zone);
}

/* -- capacity -- */

static int
print_capacity(struct store_tx *tx, void *arg, struct err *e)
{
	struct order *o = arg;
	struct err sentence = { 0 };
	const char *type;
	int64_t count;
	int r = need(o, "type", &type, e);

	if (r == 0)
		r = need(o, "zone", &o->zone, e);
	if (r == 0)
		r = clc_placement_capacity(tx, type, o->zone, o->call->arena, &count, &sentence, e);
	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "there is no zone '%.40s'", o->zone);
	if (r < 0)
		return r;
	strbuf_reset(&o->call->reply);
	strbuf_addf(&o->call->reply, "%lld\n%s\n", (long long)count, sentence.text);
	return 0;
}

void
clc_admin_capacity(struct http_call *call, void *arg)
{
	struct order o = { 0 };

	carry_out(call, arg, false, print_capacity, &o);
}

/* -- nodes -- */

static int
find_node(struct store_tx *tx, struct order *o, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL, *count = NULL;
	int r = need(o, "node", &o->node, e);

	if (r == 0)
		r = store_query_one(tx, Q_NODE_ZONE, &rows, "node", e, o->node);
	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "there is no node '%.60s'", o->node);
	if (r == 0)
		r = store_query_one(tx, Q_NODE_INSTANCES, &count, "count of instances", e, o->node);
	if (r < 0)
		return r;
	o->zone = arena_strdup(o->call->arena, store_text(rows, 0));
	o->instances = store_int(count, 0);
	return 0;
}

static int
maintain(struct store_tx *tx, void *arg, struct err *e)
{
	struct order *o = arg;
	bool is_on;
	int r = find_node(tx, o, e);

	if (r == 0)
		r = need(o, "value", &o->value, e);
	if (r < 0)
		return r;
	is_on = strcmp(o->value, "on") == 0;
	if (!is_on && strcmp(o->value, "off") != 0)
		return err_set(e, ERR_INVALID, "'%.40s' is neither on nor off", o->value);
	r = store_exec(tx, Q_NODE_MAINTAIN, NULL, e, o->node, (int64_t)is_on,
	    is_on ? store_now_us(tx) : INT64_C(0), is_on ? word(o, "reason") : NULL);
	if (r == 0)
		r = store_exec(tx, Q_ZONE_TOUCH_NODES, NULL, e, o->zone);
	if (r == 0)
		r = outbox_add(
		    tx, "node", o->node, NULL, is_on ? "maintenance" : "maintenance over", e);
	strbuf_reset(&o->call->reply);
	if (is_on)
		strbuf_addf(&o->call->reply,
		    "%s takes no new instances; %lld that it has go on until they are ended\n",
		    o->node, (long long)o->instances);
	else
		strbuf_addf(&o->call->reply, "%s takes instances again\n", o->node);
	return r;
}

void
clc_admin_maintain(struct http_call *call, void *arg)
{
	struct order o = { 0 };

	carry_out(call, arg, true, maintain, &o);
	clc_zones_poke(arg, o.zone);
}

static int
find_powered(struct store_tx *tx, void *arg, struct err *e)
{
	struct order *o = arg;
	int r = find_node(tx, o, e);

	return r == 0 ? need(o, "power", &o->value, e) : r;
}

void
clc_admin_power(struct http_call *call, void *arg)
{
	struct cc_set_node_power_in in = { 0 };
	struct order o = { 0 };
	struct clc *clc = arg;
	struct err e = { 0 };

	carry_out(call, clc, false, find_powered, &o);
	if (!o.zone || !o.value)
		return;
	in.node_id = o.node;
	in.power = o.value;
	if (strcmp(o.value, "awake") != 0 && strcmp(o.value, "asleep") != 0)
		err_set(&e, ERR_INVALID, "'%.40s' is neither awake nor asleep", o.value);
	else
		(void)clc_peers_node_power(clc->peers, o.zone, &in, call->arena, &e);
	if (e.code) {
		call->status = fault_status(e.code);
		strbuf_addf(&call->reply, "%s\n", e.text);
		return;
	}
	strbuf_addf(&call->reply, "%s is told to %s\n", o.node,
	    strcmp(o.value, "awake") == 0 ? "wake" : "sleep");
}

/* -- what leaves -- */

static int
remove_node(struct store_tx *tx, void *arg, struct err *e)
{
	struct order *o = arg;
	bool is_forced = strings_equal(word(o, "force"), "true");
	int r = find_node(tx, o, e);

	if (r < 0)
		return r;
	if (o->instances && !is_forced)
		return err_set(e, ERR_CONFLICT,
		    "node '%s' holds %lld instance(s): terminate them, or say --force; they are "
		    "unreachable then, go on running there if it runs, and can only be terminated",
		    o->node, (long long)o->instances);
	r = store_exec(tx, Q_PEER_DELETE, NULL, e, o->node);
	if (r == 0)
		r = store_exec(tx, Q_NODE_DELETE, NULL, e, o->node);
	if (r == 0)
		r = store_exec(tx, Q_ZONE_TOUCH_NODES, NULL, e, o->zone);
	if (r == 0)
		r = outbox_add(tx, "node", o->node, NULL, "removed", e);
	strbuf_reset(&o->call->reply);
	strbuf_addf(&o->call->reply, "%s is no longer part of the cloud\n", o->node);
	if (o->instances)
		strbuf_addf(&o->call->reply,
		    "%lld instance(s) on it are unreachable and can only be terminated\n",
		    (long long)o->instances);
	return r;
}

void
clc_admin_remove_node(struct http_call *call, void *arg)
{
	struct order o = { 0 };

	carry_out(call, arg, true, remove_node, &o);
	clc_zones_poke(arg, o.zone);
}

static int
check_zone_is_empty(struct store_tx *tx, struct order *o, const char *role, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_ZONE_INSTANCES, &rows, "count of instances", e, o->zone);

	if (r == 0 && store_int(rows, 0) && !strings_equal(word(o, "force"), "true"))
		return err_set(e, ERR_CONFLICT,
		    "zone '%s' holds %lld instance(s), which nobody could order without its %s: "
		    "terminate them, or say --force, and let another %s join",
		    o->zone, (long long)store_int(rows, 0), role, role);
	return r;
}

static int
remove_peer(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct order *o = arg;
	const char *role;
	int r = need(o, "peer", &o->node, e);

	if (r == 0)
		r = store_query_one(tx, Q_PEER_BY_ID, &rows, "peer", e, o->node);
	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "there is no peer '%.60s'", o->node);
	if (r < 0)
		return r;
	role = arena_strdup(o->call->arena, store_text(rows, 1));
	o->zone = arena_strdup(o->call->arena, store_text(rows, 2));
	if (strcmp(role, "nc") == 0)
		return err_set(e, ERR_INVALID, "'%s' is a node: mallee-admin node remove", o->node);
	if (strcmp(role, "cc") == 0)
		r = check_zone_is_empty(tx, o, role, e);
	if (r == 0)
		r = store_exec(tx, Q_PEER_DELETE, NULL, e, o->node);
	if (r == 0)
		r = outbox_add(tx, "peer", o->node, NULL, "removed", e);
	strbuf_reset(&o->call->reply);
	strbuf_addf(&o->call->reply, "%s is no longer part of the cloud\n", o->node);
	return r;
}

void
clc_admin_remove_peer(struct http_call *call, void *arg)
{
	struct order o = { 0 };

	carry_out(call, arg, true, remove_peer, &o);
	clc_zones_refresh(arg);
}
