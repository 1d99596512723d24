/* A list under a lock. Entries are few, one per daemon. */
#include "peers.h"

#include <stdio.h>

#include "base/list.h"
#include "rpc/cc.api.h"
#include "run/lock.h"

#define OBJECT_MS 30000
#define CONSOLE_MS 10000

struct entry {
	struct list link;
	char *peer_id, *role, *zone, *url;
	struct rpc_peer *rpc;
};

struct clc_peers {
	struct lock lock;
	struct list entries; /* under lock */
};

struct clc_peers *
clc_peers_new(void)
{
	struct clc_peers *p = xcalloc(1, sizeof(*p));

	lock_init(&p->lock, LOCK_PEERS);
	list_init(&p->entries);
	return p;
}

static void
entry_free(struct entry *n)
{
	list_remove(&n->link);
	free(n->peer_id);
	free(n->role);
	free(n->zone);
	free(n->url);
	free(n);
}

void
clc_peers_free(struct clc_peers *p)
{
	struct entry *n, *following;

	if (!p)
		return;
	LIST_FOREACH (&p->entries, n, following, link)
		entry_free(n);
	lock_done(&p->lock);
	free(p);
}

void
clc_peers_add(struct clc_peers *p, const char *peer_id, const char *role, const char *zone,
    const char *url, struct rpc_peer *rpc)
{
	struct entry *n = xcalloc(1, sizeof(*n));

	n->peer_id = xstrdup(peer_id);
	n->role = xstrdup(role);
	n->zone = zone ? xstrdup(zone) : NULL;
	n->url = xstrdup(url);
	n->rpc = rpc;
	LOCK_SCOPE(&p->lock);
	list_add_tail(&p->entries, &n->link);
}

void
clc_peers_remove(struct clc_peers *p, const struct rpc_peer *rpc)
{
	struct entry *n, *following;

	LOCK_SCOPE(&p->lock);
	LIST_FOREACH (&p->entries, n, following, link)
		if (n->rpc == rpc)
			entry_free(n);
}

static struct rpc_peer *
find(struct clc_peers *p, const char *role, const char *zone)
{
	struct entry *n, *following;

	LOCK_SCOPE(&p->lock);
	LIST_FOREACH (&p->entries, n, following, link)
		if (strcmp(n->role, role) == 0 && (!zone || strings_equal(n->zone, zone)))
			return n->rpc;
	return NULL;
}

void
clc_peers_look(struct clc_peers *p, const char *peer_id, struct clc_peer_view *ret)
{
	struct entry *n, *following;
	struct rpc_peer *rpc = NULL;
	struct rpc_peer_view view;

	*ret = (struct clc_peer_view){ 0 };
	lock_take(&p->lock);
	LIST_FOREACH (&p->entries, n, following, link)
		if (strcmp(n->peer_id, peer_id) == 0) {
			rpc = n->rpc;
			snprintf(ret->url, sizeof(ret->url), "%s", n->url);
		}
	lock_release(&p->lock);
	if (!rpc)
		return;
	rpc_peer_look(rpc, &view);
	ret->is_listed = true;
	ret->is_known = view.is_known;
	ret->is_up = view.is_up;
	ret->since_us = view.since_us;
	snprintf(ret->why, sizeof(ret->why), "%s", view.why);
}

bool
clc_peers_is_up(struct clc_peers *p, const char *peer_id, struct strbuf *ret_why)
{
	struct entry *n, *following;

	LOCK_SCOPE(&p->lock);
	LIST_FOREACH (&p->entries, n, following, link)
		if (strcmp(n->peer_id, peer_id) == 0) {
			if (rpc_peer_is_up(n->rpc))
				return true;
			strbuf_addf(ret_why, "it does not answer at %s", n->url);
			return false;
		}
	strbuf_adds(ret_why, "it has not been called yet");
	return false;
}

/* -- calls on behalf of a user -- */

int
clc_peers_walrus_url(struct store_tx *tx, const struct clc_conf *conf, struct arena *arena,
    char **ret_url, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	if (conf->image_url[0]) {
		*ret_url = arena_strdup(arena, conf->image_url);
		return 0;
	}
	r = store_query_one(tx, Q_PEER_BY_ROLE, &rows, "walrus", e, "walrus");
	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_SERVICE_UNAVAILABLE, "no walrus has joined this cloud");
	if (r == 0)
		*ret_url = arena_strdup(arena, store_text(rows, 3));
	return r;
}

int
clc_peers_walrus(struct clc_peers *p, const struct operation *operation,
    const struct rpc_context *context, const void *in, void *out, struct arena *arena,
    struct err *e)
{
	struct rpc_peer *peer = find(p, "walrus", NULL);

	if (!peer)
		return err_set(e, ERR_SERVICE_UNAVAILABLE, "no walrus has joined this cloud");
	return rpc_call(peer, operation, context, in, out, arena, OBJECT_MS, e);
}

int
clc_peers_describe_object(struct clc_peers *p, const struct rpc_context *context,
    const struct walrus_describe_object_in *in, struct walrus_describe_object_out *out,
    struct arena *arena, struct err *e)
{
	return clc_peers_walrus(p, &walrus_describe_object, context, in, out, arena, e);
}

int
clc_peers_node_power(struct clc_peers *p, const char *zone, const struct cc_set_node_power_in *in,
    struct arena *arena, struct err *e)
{
	struct rpc_peer *peer = find(p, "cc", zone);
	struct empty nothing = { 0 };

	if (!peer)
		return err_set(
		    e, ERR_SERVICE_UNAVAILABLE, "zone '%s' has no cluster controller", zone);
	return rpc_call(peer, &cc_set_node_power, NULL, in, &nothing, arena, CONSOLE_MS, e);
}

int
clc_peers_console(struct clc_peers *p, const char *zone, const struct rpc_context *context,
    const char *instance_id, struct arena *arena, struct str *ret_output, int64_t *ret_at_us,
    struct err *e)
{
	struct rpc_peer *peer = find(p, "cc", zone);
	struct cc_get_console_output_in in = { .instance_id = instance_id };
	struct cc_get_console_output_out out = { 0 };
	int r;

	if (!peer)
		return err_set(e, ERR_SERVICE_UNAVAILABLE, "the zone has no cluster controller");
	r = rpc_call(peer, &cc_get_console_output, context, &in, &out, arena, CONSOLE_MS, e);
	if (r < 0)
		return r;
	*ret_output = out.output;
	*ret_at_us = out.at;
	return 0;
}
