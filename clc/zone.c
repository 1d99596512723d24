/* Links to the zones. Putting is level-triggered: rows say what a zone has not been told yet, a run
 * tells it in order (nodes, networks, instances), and marks a row only if it is still the one that
 * was sent. Losing any message or restarting any daemon at any point just means telling it again.
 */
#include "zone.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/vec.h"
#include "rpc/cc.api.h"
#include "rpc/sc.api.h"
#include "run/lock.h"
#include "store/lease.h"

#include "instance.h"
#include "peers.h"
#include "vpc.h"
#include "zone_news.h"

#define PUT_INTERVAL_MS 10000
#define PUT_BATCH 64
#define CALL_MS 10000
#define LEASE_MS 15000
#define PROBE_INTERVAL_MS 800 /* that one is down is known within a second */

struct peer { /* a daemon we call: cc, sc or walrus */
	struct list link;
	char *peer_id, *role, *zone, *url, *fingerprint;
	struct rpc_peer *rpc;
	/* of a cc */
	struct clc *clc;
	struct reconciler *put;
	struct changes_reader *reader;
	/* of the others: asked whether they are well */
	struct reconciler *probe;
};

struct clc_zones {
	struct clc *clc;
	struct lock lock;
	struct list peers;   /* under lock; a peer's own members never change */
	struct list retired; /* under lock: no longer called, freed at the end, because calls may be
				under way */
	struct reconciler *refresh;
};

/* -- telling a zone -- */

struct put_batch { /* filled by one read, sent without any lock */
	struct clc *clc;
	const char *zone;
	struct arena *arena;
	uint64_t lease_epoch;
	bool has_nodes;
	struct cc_put_nodes_in nodes;
	struct vpc_spec vpcs[PUT_BATCH];
	size_t vpc_count;
	struct clc_instance instances[PUT_BATCH];
	struct instance_spec specs[PUT_BATCH];
	size_t instance_count;
};

static int
read_nodes(struct store_tx *tx, struct put_batch *b, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *zone = NULL, *rows = NULL, *policy = NULL;
	VEC(struct peer_record) nodes = { 0 };
	int r;

	r = store_query_one(tx, Q_ZONE_BY_NAME, &zone, "zone", e, b->zone);
	if (r < 0)
		return r;
	b->has_nodes = store_int(zone, 3) > store_int(zone, 4);
	b->nodes.revision = (uint64_t)store_int(zone, 3);
	if (!b->has_nodes)
		return 0;
	r = store_query_one(tx, Q_ZONE_POLICY, &policy, "zone", e, b->zone);
	if (r < 0)
		return r;
	b->nodes.placement_policy = arena_strdup(b->arena, store_text(policy, 0));
	r = store_query(tx, Q_NODES_TO_PUT, &rows, e, b->zone);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct peer_record record = { .peer_id =
						  arena_strdup(b->arena, store_text(rows, 0)),
			.role = "nc",
			.url = arena_strdup(b->arena, store_text(rows, 1)),
			.fingerprint = arena_strdup(b->arena, store_text(rows, 2)),
			.is_maintained = store_int(rows, 3) };

		vec_add(&nodes, record);
	}
	b->nodes.nodes.count = nodes.count;
	b->nodes.nodes.items =
	    arena_memdup(b->arena, nodes.items, nodes.count * sizeof(*nodes.items));
	vec_done(&nodes);
	return r;
}

static int
read_vpcs(struct store_tx *tx, struct put_batch *b, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_VPCS_TO_PUT, &rows, e, b->zone, (int64_t)PUT_BATCH);

	while (r >= 0 && b->vpc_count < PUT_BATCH && (r = store_next(rows, e)) > 0) {
		r = clc_vpc_spec(tx, store_text(rows, 0), b->arena, &b->vpcs[b->vpc_count], e);
		if (r < 0)
			return r;
		b->vpc_count++;
	}
	return r < 0 ? r : 0;
}

/* Of one that is to be forgotten as well: a zone that does not know of its end is told so first. */
static int
read_spec(struct store_tx *tx, struct put_batch *b, struct clc_instance *i, struct err *e)
{
	struct instance_spec *spec = &b->specs[b->instance_count];
	int r = clc_instance_spec(tx, b->clc, i, b->arena, spec, e);

	spec->node_id = i->node_id;
	spec->has_has_run = true;
	spec->has_run = i->node_id && (i->generation > 1 || i->boot_count > 0);
	return r;
}

static int
read_instances(struct store_tx *tx, struct put_batch *b, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_INSTANCES_TO_PUT, &rows, e, b->zone, (int64_t)PUT_BATCH);

	while (r >= 0 && b->instance_count < PUT_BATCH && (r = store_next(rows, e)) > 0) {
		struct clc_instance *i = &b->instances[b->instance_count];

		clc_instance_read(rows, b->arena, i);
		r = read_spec(tx, b, i, e);
		if (r < 0)
			return err_wrap(e, "instance '%s'", i->instance_id);
		b->instance_count++;
	}
	return r < 0 ? r : 0;
}

static int
read_batch(struct store_tx *tx, void *arg, struct err *e)
{
	struct put_batch *b = arg;
	int r;

	b->vpc_count = b->instance_count = 0;
	r = read_nodes(tx, b, e);
	if (r == 0)
		r = read_vpcs(tx, b, e);
	return r == 0 ? read_instances(tx, b, e) : r;
}

struct mark {
	const struct put_batch *batch;
	const struct clc_instance *instance;
	const struct vpc_spec *vpc;
};

static int
mark_nodes(struct store_tx *tx, void *arg, struct err *e)
{
	const struct put_batch *b = arg;
	int r = lease_check(tx, "zones", b->lease_epoch, e);

	return r < 0
		   ? r
		   : store_exec(tx, Q_ZONE_NODES_PUT, NULL, e, b->zone, (int64_t)b->nodes.revision);
}

static int
mark_vpc(struct store_tx *tx, void *arg, struct err *e)
{
	const struct mark *m = arg;
	int r = lease_check(tx, "zones", m->batch->lease_epoch, e);

	return r < 0 ? r
		     : store_exec(tx, Q_VPC_PUT_SET, NULL, e, m->vpc->vpc_id, m->batch->zone,
			   (int64_t)m->vpc->revision);
}

static int
mark_instance(struct store_tx *tx, void *arg, struct err *e)
{
	const struct mark *m = arg;
	int r = lease_check(tx, "zones", m->batch->lease_epoch, e);

	if (r == 0)
		r = store_exec(tx, Q_INSTANCE_PUT_DONE, NULL, e, m->instance->instance_id,
		    m->instance->revision, m->instance->to_put);
	return r;
}

/* The state in the answer is not used: it comes through Changes as well, and there in order. */
static int
send_spec(struct peer *p, struct put_batch *b, size_t n, struct err *e)
{
	struct rpc_context context = { .account_id = b->instances[n].account_id };
	struct cc_put_instance_in in = { .spec = &b->specs[n] };
	struct instance_report report = { 0 };

	return rpc_call(p->rpc, &cc_put_instance, &context, &in, &report, b->arena, CALL_MS, e);
}

static int
send_forget(struct peer *p, struct put_batch *b, size_t n, struct err *e)
{
	struct rpc_context context = { .account_id = b->instances[n].account_id };
	struct cc_forget_instance_in in = { .instance_id = b->instances[n].instance_id };
	struct err ignored = { 0 };
	struct empty nothing;
	int r =
	    rpc_call(p->rpc, &cc_forget_instance, &context, &in, &nothing, b->arena, CALL_MS, e);

	if (r == ERR_CONFLICT) /* the zone did not know of its end; it is asked again */
		(void)send_spec(p, b, n, &ignored);
	return r;
}

static int
put_instance(struct peer *p, struct put_batch *b, size_t n, struct err *e)
{
	struct clc_instance *i = &b->instances[n];
	struct mark m = { .batch = b, .instance = i };
	int r = i->to_put == PUT_FORGET ? send_forget(p, b, n, e) : send_spec(p, b, n, e);

	if (r == ERR_STALE && i->to_put == PUT_SPEC) {
		/* The zone is ahead: this store is an older copy. The zone's news say where it is.
		 */
		log_warn(p->clc->log, "instance.stale", "instance=%s zone=%s reason=\"%s\"",
		    i->instance_id, p->zone, e->text);
		err_clear(e);
		r = 0;
	}
	if (r < 0)
		return err_wrap(e, "instance '%s'", i->instance_id);
	return store_write(p->clc->store, mark_instance, &m, e);
}

static int
put_zone(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct peer *p = arg;
	struct clc *clc = p->clc;
	struct put_batch *b = arena_alloc(arena, sizeof(*b));
	struct err first = { 0 };
	int r;

	b->clc = clc;
	b->zone = p->zone;
	b->arena = arena;
	r = lease_take(clc->store, "zones", clc->lease_holder, LEASE_MS, &b->lease_epoch, e);
	if (r == 0)
		r = store_read(clc->store, read_batch, b, e);
	if (r < 0)
		return r;
	if (b->has_nodes) {
		struct empty nothing;

		r = rpc_call(p->rpc, &cc_put_nodes, NULL, &b->nodes, &nothing, arena, CALL_MS, e);
		if (r == 0)
			r = store_write(clc->store, mark_nodes, b, e);
		if (r < 0)
			return err_wrap(e, "nodes of zone '%s'", p->zone);
	}
	for (size_t n = 0; n < b->vpc_count; n++) {
		struct cc_put_vpc_in in = { .vpc = &b->vpcs[n] };
		struct mark m = { .batch = b, .vpc = &b->vpcs[n] };
		struct empty nothing;

		r = rpc_call(p->rpc, &cc_put_vpc, NULL, &in, &nothing, arena, CALL_MS, e);
		if (r == 0)
			r = store_write(clc->store, mark_vpc, &m, e);
		if (r < 0)
			return err_wrap(e, "VPC '%s'", b->vpcs[n].vpc_id);
	}
	/* One instance that can't be told must not keep the others waiting. */
	for (size_t n = 0; n < b->instance_count; n++) {
		struct err one = { 0 };

		r = put_instance(p, b, n, &one);
		if (r < 0 && !first.code)
			first = one;
		if (r == ERR_UNAVAILABLE || r == ERR_TIMEOUT)
			break;
	}
	if (first.code) {
		*e = first;
		return first.code;
	}
	if (b->vpc_count == PUT_BATCH || b->instance_count == PUT_BATCH)
		*ret_again_ms = 0;
	return 0;
}

/* -- hearing from a zone -- */

struct news {
	struct clc *clc;
	const char *zone;
	const struct report_set *set;
};

static int
write_news(struct store_tx *tx, void *arg, struct err *e)
{
	const struct news *news = arg;

	return clc_zone_news(tx, news->zone, store_epoch(news->clc->store), news->set, e);
}

static int
apply_news(void *arg, const void *out, uint64_t *ret_epoch, uint64_t *ret_revision, struct err *e)
{
	const struct report_set *set = out;
	struct peer *p = arg;
	struct news news = { .clc = p->clc, .zone = p->zone, .set = set };
	int r;

	r = store_write(p->clc->store, write_news, &news, e);
	if (r < 0)
		return r;
	*ret_epoch = set->epoch;
	*ret_revision = set->revision;
	reconciler_poke(p->put);
	return 0;
}

static void
link_changed(void *arg, bool up, const struct err *why)
{
	struct peer *p = arg;

	if (up) {
		log_info(p->clc->log, "peer.up", "peer=%s role=%s", p->peer_id, p->role);
		if (p->put)
			reconciler_poke(p->put);
	} else {
		log_warn(p->clc->log, "peer.down", "peer=%s role=%s reason=\"%s\"", p->peer_id,
		    p->role, why ? why->text : "");
	}
}

/* -- peers that are only asked whether they are well -- */

static int
probe_peer(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct peer *p = arg;
	bool was_up = rpc_peer_is_up(p->rpc);
	struct sc_describe_storage_out storage = { 0 };
	struct hello in = { .peer_id = rpc_self(p->clc->rpc),
		.role = "clc",
		.version_min = 1,
		.version_max = 1,
		.epoch = rpc_epoch(p->clc->rpc) };
	struct hello hello;
	struct empty nothing = { 0 };
	int r;

	if (strcmp(p->role, "sc") == 0)
		r = rpc_call(
		    p->rpc, &sc_describe_storage, NULL, &nothing, &storage, arena, CALL_MS, e);
	else
		r = rpc_call(p->rpc, &walrus_hello, NULL, &in, &hello, arena, CALL_MS, e);
	if ((r == 0) != was_up)
		link_changed(p, r == 0, e);
	return r;
}

/* -- the set of peers -- */

static void
peer_retire(struct peer *p)
{
	changes_reader_free(TAKE(p->reader));
	reconciler_free(TAKE(p->put));
	reconciler_free(TAKE(p->probe));
}

static void
peer_free(struct peer *p)
{
	peer_retire(p);
	rpc_peer_free(p->rpc);
	free(p->peer_id);
	free(p->role);
	free(p->zone);
	free(p->url);
	free(p->fingerprint);
	free(p);
}

static void
peer_start(struct clc *clc, struct peer *p, uint64_t epoch, uint64_t revision)
{
	struct loop *loop = daemon_loop(clc->daemon);
	struct workers *workers = daemon_workers(clc->daemon);

	p->clc = clc;
	p->rpc = rpc_peer_new(clc->rpc, p->peer_id, p->role, p->url, NULL);
	if (strcmp(p->role, "cc") == 0) {
		_cleanup_free_ char *name = xasprintf("zone %s", p->zone);
		struct changes_reader_options options = { .operation = &cc_changes,
			.apply = apply_news,
			.link = link_changed,
			.arg = p,
			.epoch = epoch,
			.revision = revision };

		p->put = reconciler_new(loop, workers, "clc", name, PUT_INTERVAL_MS, put_zone, p);
		p->reader = changes_reader_new(p->rpc, workers, &options);
	} else {
		_cleanup_free_ char *name =
		    xasprintf("%s %s", p->role, p->zone ? p->zone : p->peer_id);

		p->probe =
		    reconciler_new(loop, workers, "clc", name, PROBE_INTERVAL_MS, probe_peer, p);
	}
}

struct known_peer {
	struct peer *peer;
	uint64_t epoch, revision;
};
typedef VEC(struct known_peer) peer_vec;
struct peer_list {
	struct clc *clc;
	peer_vec found;
};

static char *
dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static int
read_peers(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct peer_list *list = arg;
	uint64_t own_epoch = store_epoch(list->clc->store);
	int r = store_query(tx, Q_PEERS_CALLED, &rows, e);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct known_peer k = { .peer = xcalloc(1, sizeof(*k.peer)) };

		list_init(&k.peer->link);
		k.peer->peer_id = xstrdup(store_text(rows, 0));
		k.peer->role = xstrdup(store_text(rows, 1));
		k.peer->zone = dup_or_null(store_text(rows, 2));
		k.peer->url = xstrdup(store_text(rows, 3));
		k.peer->fingerprint = xstrdup(store_text(rows, 4));
		k.epoch = clc_zone_kept_epoch(own_epoch, (uint64_t)store_int(rows, 5));
		k.revision = (uint64_t)store_int(rows, 6);
		vec_add(&list->found, k);
	}
	return r;
}

static bool
is_same(const struct peer *a, const struct peer *b)
{
	return strings_equal(a->peer_id, b->peer_id) && strings_equal(a->url, b->url);
}

static struct peer *
find_same(struct clc_zones *z, const struct peer *wanted)
{
	struct peer *p, *following;

	LIST_FOREACH (&z->peers, p, following, link)
		if (is_same(p, wanted))
			return p;
	return NULL;
}

static bool
is_found(const peer_vec *found, const struct peer *p)
{
	VEC_FOREACH (found, k)
		if (is_same(k->peer, p))
			return true;
	return false;
}

/* On the loop, to which timers belong. */
static void
free_retired(void *arg)
{
	VEC(struct peer) ended = { 0 }; /* only what is to be freed */
	struct clc_zones *z = arg;
	struct peer *p, *following;

	lock_take(&z->lock);
	LIST_FOREACH (&z->retired, p, following, link) {
		struct peer parts = {
			.reader = TAKE(p->reader), .put = TAKE(p->put), .probe = TAKE(p->probe)
		};

		vec_add(&ended, parts);
	}
	lock_release(&z->lock);
	VEC_FOREACH (&ended, parts)
		peer_retire(parts);
	vec_done(&ended);
}

/* Links end without the lock: what is under way may take a while. */
static void
retire(struct clc_zones *z, struct peer *p)
{
	clc_peers_remove(z->clc->peers, p->rpc);
	lock_take(&z->lock);
	list_remove(&p->link);
	lock_release(&z->lock);
	changes_reader_stop(p->reader);
	reconciler_stop(p->put);
	reconciler_stop(p->probe);
	lock_take(&z->lock);
	list_add_tail(&z->retired, &p->link);
	lock_release(&z->lock);
}

/* Starts links to peers that are new or moved, ends those to peers that are no more. Only this one
 * changes the list. */
static int
refresh(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct clc_zones *z = arg;
	struct peer *p, *following;
	struct peer_list list = { .clc = z->clc };
	bool has_retired = false;
	int r;

	r = store_read(z->clc->store, read_peers, &list, e);
	LIST_FOREACH (&z->peers, p, following, link)
		if (r == 0 && !is_found(&list.found, p)) {
			retire(z, p);
			has_retired = true;
		}
	VEC_FOREACH (&list.found, k) {
		if (r < 0 || find_same(z, k->peer)) {
			peer_free(k->peer);
			continue;
		}
		peer_start(z->clc, k->peer, k->epoch, k->revision);
		clc_peers_add(z->clc->peers, k->peer->peer_id, k->peer->role, k->peer->zone,
		    k->peer->url, k->peer->rpc);
		lock_take(&z->lock);
		list_add_tail(&z->peers, &k->peer->link);
		lock_release(&z->lock);
	}
	if (has_retired)
		loop_post(daemon_loop(z->clc->daemon), free_retired, z);
	vec_done(&list.found);
	return r;
}

int
clc_zones_new(struct clc *clc, struct clc_zones **ret, struct err *e)
{
	struct clc_zones *z = xcalloc(1, sizeof(*z));

	z->clc = clc;
	lock_init(&z->lock, LOCK_PEERS);
	list_init(&z->peers);
	list_init(&z->retired);
	*ret = clc->zones = z;
	z->refresh = reconciler_new(daemon_loop(clc->daemon), daemon_workers(clc->daemon), "clc",
	    "peers", 60000, refresh, z);
	return 0;
}

void
clc_zones_free(struct clc_zones *z)
{
	struct peer *p, *following;

	if (!z)
		return;
	reconciler_free(z->refresh);
	LIST_FOREACH (&z->peers, p, following, link)
		peer_free(p);
	LIST_FOREACH (&z->retired, p, following, link)
		peer_free(p);
	lock_done(&z->lock);
	free(z);
}

void
clc_zones_refresh(struct clc *clc)
{
	reconciler_poke(clc->zones->refresh);
}

void
clc_zones_poke(struct clc *clc, const char *zone)
{
	struct clc_zones *z = clc->zones;
	struct peer *p, *following;

	if (!z)
		return; /* no links yet: they begin with what is to be told */
	LOCK_SCOPE(&z->lock);
	LIST_FOREACH (&z->peers, p, following, link)
		if (p->put && (!zone || strcmp(p->zone, zone) == 0))
			reconciler_poke(p->put);
}
