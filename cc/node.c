/* Links to the nodes. What a node has not been told is in rows; a run tells it, networks first, and marks a
 * row only if it is still what was sent. What a node reports is made durable before it is asked for more. A
 * node that does not answer for silent_after keeps its instances: they are unreachable, with a reason, and
 * never placed again elsewhere. */
#include "node.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/vec.h"
#include "run/lock.h"

#include "instance.h"

#define PUT_INTERVAL_MS 5000
#define PUT_BATCH 32
#define CALL_MS 10000

struct node {
	struct list link;
	struct cc *cc;
	char *node_id, *url;
	struct rpc_peer *rpc;
	struct reconciler *put;
	struct changes_reader *reader;
	struct lock lock;
	bool is_up;            /* under lock */
	uint64_t down_since_ms; /* under lock */
	char why[512];         /* under lock */
};

struct cc_nodes {
	struct cc *cc;
	struct lock lock;
	struct list nodes;   /* under lock */
	struct list retired; /* under lock: freed at the end, because calls may be under way */
	struct reconciler *refresh;
};

void
cc_node_read(struct store_rows *rows, struct arena *arena, struct cc_node *n)
{
	unsigned c = 0;

#define TEXT() arena_strdup(arena, store_text(rows, c++))
#define INT() store_int(rows, c++)
	n->node_id = TEXT();
	n->url = TEXT();
	n->state = TEXT();
	n->reason = TEXT();
	n->hypervisor = TEXT();
	n->vcpus = INT();
	n->memory_mib = INT();
	n->disk_gib = INT();
	n->last_seen_us = INT();
	n->report_epoch = INT();
	n->report_revision = INT();
	n->vcpus_held = INT();
	n->memory_mib_held = INT();
	n->disk_gib_held = INT();
#undef TEXT
#undef INT
}

void
cc_node_to_report(const struct cc_node *n, struct node_report *ret)
{
	*ret = (struct node_report){ .node_id = n->node_id,
		.state = n->state,
		.reason = n->reason,
		.hypervisor = n->hypervisor,
		.has_vcpus = true,
		.vcpus = (uint32_t)n->vcpus,
		.has_memory_mib = true,
		.memory_mib = (uint32_t)n->memory_mib,
		.has_disk_gib = true,
		.disk_gib = (uint32_t)n->disk_gib,
		.has_vcpus_used = true,
		.vcpus_used = (uint32_t)n->vcpus_held,
		.has_memory_mib_used = true,
		.memory_mib_used = (uint32_t)n->memory_mib_held,
		.has_disk_gib_used = true,
		.disk_gib_used = (uint32_t)n->disk_gib_held,
		.has_last_seen = true,
		.last_seen = n->last_seen_us };
}

/* -- telling a node -- */

struct put_batch {
	struct node *node;
	struct arena *arena;
	struct vpc_spec vpcs[PUT_BATCH];
	size_t vpc_count;
	struct cc_instance instances[PUT_BATCH];
	size_t instance_count;
};

static int
read_batch(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *vpcs = NULL, *instances = NULL;
	struct put_batch *b = arg;
	int r = store_query(tx, Q_VPCS_TO_PUT, &vpcs, e, b->node->node_id, (int64_t)PUT_BATCH);

	b->vpc_count = b->instance_count = 0;
	while (r >= 0 && b->vpc_count < PUT_BATCH && (r = store_next(vpcs, e)) > 0)
		r = cc_from_text(&vpc_spec_shape, store_text(vpcs, 2), b->arena, &b->vpcs[b->vpc_count++],
		    e);
	if (r >= 0)
		r = store_query(tx, Q_INSTANCES_TO_PUT, &instances, e, b->node->node_id,
		    (int64_t)PUT_BATCH);
	while (r >= 0 && b->instance_count < PUT_BATCH && (r = store_next(instances, e)) > 0)
		cc_instance_read(instances, b->arena, &b->instances[b->instance_count++]);
	return r < 0 ? r : 0;
}

struct mark {
	struct node *node;
	struct arena *arena;
	const struct vpc_spec *vpc;
	const struct cc_instance *instance;
	const struct instance_report *report;
};

static int
mark_vpc(struct store_tx *tx, void *arg, struct err *e)
{
	const struct mark *m = arg;

	return store_exec(tx, Q_VPC_PUT_SET, NULL, e, m->vpc->vpc_id, m->node->node_id,
	    (int64_t)m->vpc->revision);
}

static int
mark_instance(struct store_tx *tx, void *arg, struct err *e)
{
	const struct mark *m = arg;
	const struct cc_instance *i = m->instance;
	int64_t changed = 0;
	int r = store_exec(tx, Q_INSTANCE_PUT_DONE, &changed, e, i->instance_id, i->serial, i->to_put);

	if (r < 0 || changed == 0)
		return r;
	if (i->to_put == PUT_FORGET)
		return store_exec(tx, Q_INSTANCE_DELETE, NULL, e, i->instance_id);
	return m->report ? cc_instance_report(tx, m->report, m->arena, e) : 0;
}

static int
put_instance(struct node *n, const struct cc_instance *i, struct arena *arena, struct err *e)
{
	struct mark m = { .node = n, .arena = arena, .instance = i };
	struct rpc_context context = { .account_id = i->account_id };
	struct instance_report report = { 0 };
	struct instance_spec spec = { 0 };
	int r;

	if (i->to_put == PUT_FORGET) {
		struct nc_forget_instance_in in = { .instance_id = i->instance_id };
		struct empty nothing = { 0 };

		r = rpc_call(n->rpc, &nc_forget_instance, &context, &in, &nothing, arena, CALL_MS, e);
	} else {
		struct nc_put_instance_in in = { .spec = &spec };

		r = cc_instance_spec(i, arena, &spec, e);
		if (r == 0)
			r = rpc_call(n->rpc, &nc_put_instance, &context, &in, &report, arena, CALL_MS, e);
		m.report = &report;
	}
	if (r < 0)
		return err_wrap(e, "instance '%s'", i->instance_id);
	return store_write(n->cc->store, mark_instance, &m, e);
}

static int
put_all(struct node *n, struct put_batch *b, struct err *e)
{
	struct err first = { 0 };
	int r;

	for (size_t k = 0; k < b->vpc_count; k++) {
		struct nc_put_vpc_in in = { .vpc = &b->vpcs[k] };
		struct nc_put_vpc_out out = { 0 };
		struct mark m = { .node = n, .vpc = &b->vpcs[k] };

		r = rpc_call(n->rpc, &nc_put_vpc, NULL, &in, &out, b->arena, CALL_MS, e);
		if (r == 0)
			r = store_write(n->cc->store, mark_vpc, &m, e);
		if (r < 0)
			return err_wrap(e, "VPC '%s'", b->vpcs[k].vpc_id);
	}
	for (size_t k = 0; k < b->instance_count; k++) {
		struct err one = { 0 };

		r = put_instance(n, &b->instances[k], b->arena, &one);
		if (r < 0 && !first.code)
			first = one;
		if (r == ERR_UNAVAILABLE || r == ERR_TIMEOUT)
			break;
	}
	if (first.code)
		*e = first;
	return first.code;
}

/* -- silence -- */

struct silence {
	struct node *node;
	bool is_silent;
	const char *why;
};

/* Marks the node and its instances, each with an event, only where something changes. */
static int
write_silence(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct silence *s = arg;
	const char *id = s->node->node_id;
	VEC(struct cc_instance) all = { 0 };
	int64_t changed = 0;
	int r = 0;

	if (s->is_silent)
		r = store_exec(tx, Q_NODE_STATE, &changed, e, id, "silent", s->why);
	if (r == 0 && changed)
		r = outbox_add(tx, "node", id, NULL, "silent", e);
	if (r == 0)
		r = store_query(tx, Q_INSTANCES_OF_NODE, &rows, e, id);
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct cc_instance i;

		cc_instance_read(rows, arena, &i);
		vec_add(&all, i);
	}
	VEC_FOREACH (&all, i) {
		if (r < 0)
			break;
		r = store_exec(tx, Q_INSTANCE_UNREACHABLE, &changed, e, i->instance_id,
		    (int64_t)s->is_silent);
		if (r == 0 && changed)
			r = outbox_add(tx, "instance", i->instance_id, i->account_id,
			    s->is_silent ? "unreachable" : "reachable", e);
	}
	vec_done(&all);
	return r;
}

static int
check_silence(struct node *n, bool *ret_is_up, struct err *e)
{
	char why[512];
	struct silence s = { .node = n, .is_silent = true, .why = why };
	bool is_silent;

	lock_take(&n->lock);
	*ret_is_up = n->is_up;
	is_silent = !n->is_up && clock_monotonic_ms() - n->down_since_ms >= n->cc->conf->silent_after_ms;
	snprintf(why, sizeof(why), "%s", n->why);
	lock_release(&n->lock);
	return is_silent ? store_write(n->cc->store, write_silence, &s, e) : 0;
}

static int
put_node(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct put_batch *b = arena_alloc(arena, sizeof(*b));
	struct node *n = arg;
	bool is_up;
	int r = check_silence(n, &is_up, e);

	b->node = n;
	b->arena = arena;
	if (r == 0)
		r = store_read(n->cc->store, read_batch, b, e);
	if (r < 0)
		return r;
	if (!is_up && *ret_again_ms > 1000)
		*ret_again_ms = 1000;
	if (b->vpc_count == PUT_BATCH || b->instance_count == PUT_BATCH)
		*ret_again_ms = 0;
	return put_all(n, b, e);
}

/* -- hearing from a node -- */

struct news {
	struct node *node;
	const struct report_set *set;
	struct arena *arena;
};

static int
write_node(struct store_tx *tx, const char *id, const struct node_report *n, struct err *e)
{
	int r = store_exec(tx, Q_NODE_REPORT, NULL, e, id, n->state, n->reason, n->hypervisor,
	    (int64_t)n->vcpus, (int64_t)n->memory_mib, (int64_t)n->disk_gib, store_now_us(tx));

	return r < 0 ? r : outbox_add(tx, "node", id, NULL, n->state, e);
}

static bool
is_named(const struct report_set *set, const char *id)
{
	for (size_t i = 0; i < set->instances.count; i++)
		if (strcmp(set->instances.items[i].instance_id, id) == 0)
			return true;
	return false;
}

/* A complete set that does not name an instance which the node was told of: the node has lost it. */
static int
write_lost(struct store_tx *tx, const struct news *news, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct cc_instance) lost = { 0 };
	int r = store_query(tx, Q_INSTANCES_OF_NODE, &rows, e, news->node->node_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct cc_instance i;

		cc_instance_read(rows, news->arena, &i);
		if (i.to_put == PUT_NOTHING && i.holds != HOLDS_NOTHING &&
		    !is_named(news->set, i.instance_id))
			vec_add(&lost, i);
	}
	VEC_FOREACH (&lost, i) {
		struct instance_report report;

		if (r < 0)
			break;
		cc_instance_to_report(i, &report);
		report.state = "gone";
		report.reason_code = "Server.InternalError";
		report.reason_message = "Server.InternalError: its node knows nothing of it any more";
		r = cc_instance_report(tx, &report, news->arena, e);
	}
	vec_done(&lost);
	return r;
}

static int
write_news(struct store_tx *tx, void *arg, struct err *e)
{
	const struct news *news = arg;
	const struct report_set *set = news->set;
	const char *id = news->node->node_id;
	int r = 0;

	for (size_t n = 0; r == 0 && n < set->nodes.count; n++)
		r = write_node(tx, id, &set->nodes.items[n], e);
	for (size_t n = 0; r == 0 && n < set->instances.count; n++)
		r = cc_instance_report(tx, &set->instances.items[n], news->arena, e);
	if (r == 0 && set->complete)
		r = write_lost(tx, news, e);
	/* A store made anew knows none of the networks it was told of. */
	if (r == 0 && set->complete)
		r = store_exec(tx, Q_VPC_PUTS_FORGET, NULL, e, id);
	return r < 0 ? r :
		       store_exec(tx, Q_NODE_REVISION, NULL, e, id, (int64_t)set->epoch,
			   (int64_t)set->revision, store_now_us(tx));
}

static int
apply_news(void *arg, const void *out, uint64_t *ret_epoch, uint64_t *ret_revision, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct node *n = arg;
	struct news news = { .node = n, .set = out, .arena = arena };
	int r = store_write(n->cc->store, write_news, &news, e);

	if (r < 0)
		return r;
	*ret_epoch = news.set->epoch;
	*ret_revision = news.set->revision;
	return 0;
}

struct node_write {
	struct node *node;
	struct node_report report;
};

static int
write_one_node(struct store_tx *tx, void *arg, struct err *e)
{
	const struct node_write *w = arg;

	return write_node(tx, w->node->node_id, &w->report, e);
}

static void
link_changed(void *arg, bool up, const struct err *why)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct node *n = arg;
	struct node_write w = { .node = n };
	struct silence back = { .node = n, .is_silent = false };
	struct empty nothing = { 0 };
	struct err e = { 0 };
	int r = 0;

	lock_take(&n->lock);
	n->is_up = up;
	n->down_since_ms = clock_monotonic_ms();
	snprintf(n->why, sizeof(n->why), "%s", why ? why->text : "");
	lock_release(&n->lock);
	if (!up) {
		log_warn(n->cc->log, "node.down", "node=%s reason=\"%s\"", n->node_id,
		    why ? why->text : "");
		reconciler_poke(n->put);
		return;
	}
	log_info(n->cc->log, "node.up", "node=%s", n->node_id);
	r = rpc_call(n->rpc, &nc_describe_node, NULL, &nothing, &w.report, arena, CALL_MS, &e);
	if (r == 0)
		r = store_write(n->cc->store, write_one_node, &w, &e);
	if (r == 0)
		r = store_write(n->cc->store, write_silence, &back, &e);
	if (r < 0)
		log_warn(n->cc->log, "node.unclear", "node=%s reason=\"%s\"", n->node_id, e.text);
	reconciler_poke(n->put);
}

/* -- the set of nodes -- */

static void
node_retire(struct node *n)
{
	changes_reader_free(TAKE(n->reader));
	reconciler_free(TAKE(n->put));
}

static void
node_free(struct node *n)
{
	node_retire(n);
	rpc_peer_free(n->rpc);
	lock_done(&n->lock);
	free(n->node_id);
	free(n->url);
	free(n);
}

static struct node *
node_new(struct cc *cc, const struct cc_node *row)
{
	_cleanup_free_ char *name = xasprintf("node %s", row->node_id);
	struct node *n = xcalloc(1, sizeof(*n));
	struct changes_reader_options options = { .operation = &nc_changes,
		.apply = apply_news,
		.link = link_changed,
		.arg = n,
		.epoch = (uint64_t)row->report_epoch,
		.revision = (uint64_t)row->report_revision };

	list_init(&n->link);
	n->cc = cc;
	n->node_id = xstrdup(row->node_id);
	n->url = xstrdup(row->url);
	n->down_since_ms = clock_monotonic_ms();
	lock_init(&n->lock, LOCK_STATE);
	n->rpc = rpc_peer_new(cc->rpc, row->node_id, "nc", row->url, NULL);
	n->put = reconciler_new(daemon_loop(cc->daemon), daemon_workers(cc->daemon), "cc", name,
	    PUT_INTERVAL_MS, put_node, n);
	n->reader = changes_reader_new(n->rpc, daemon_workers(cc->daemon), &options);
	return n;
}

struct found {
	struct arena *arena;
	VEC(struct cc_node) nodes;
};

static int
read_nodes(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct found *found = arg;
	int r = store_query(tx, Q_NODES, &rows, e);

	found->nodes.count = 0;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct cc_node n;

		cc_node_read(rows, found->arena, &n);
		vec_add(&found->nodes, n);
	}
	return r;
}

static bool
is_same(const struct node *n, const struct cc_node *row)
{
	return strcmp(n->node_id, row->node_id) == 0 && strcmp(n->url, row->url) == 0;
}

static int
refresh(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct found found = { .arena = arena };
	struct cc_nodes *all = arg;
	struct node *n, *following;
	int r = store_read(all->cc->store, read_nodes, &found, e);

	if (r == 0) {
		LOCK_SCOPE(&all->lock);
		LIST_FOREACH (&all->nodes, n, following, link) {
			bool keep = false;

			VEC_FOREACH (&found.nodes, row)
				keep = keep || is_same(n, row);
			if (!keep) {
				list_remove(&n->link);
				list_add_tail(&all->retired, &n->link);
				node_retire(n);
			}
		}
		VEC_FOREACH (&found.nodes, row) {
			bool is_known = false;

			LIST_FOREACH (&all->nodes, n, following, link)
				is_known = is_known || is_same(n, row);
			if (!is_known) {
				n = node_new(all->cc, row);
				list_add_tail(&all->nodes, &n->link);
			}
		}
	}
	vec_done(&found.nodes);
	return r;
}

int
cc_nodes_new(struct cc *cc, struct cc_nodes **ret, struct err *e)
{
	struct cc_nodes *all = xcalloc(1, sizeof(*all));

	all->cc = cc;
	lock_init(&all->lock, LOCK_PEERS);
	list_init(&all->nodes);
	list_init(&all->retired);
	*ret = cc->nodes = all;
	all->refresh = reconciler_new(daemon_loop(cc->daemon), daemon_workers(cc->daemon), "cc", "nodes",
	    60000, refresh, all);
	return 0;
}

void
cc_nodes_free(struct cc_nodes *all)
{
	struct node *n, *following;

	if (!all)
		return;
	reconciler_free(all->refresh);
	LIST_FOREACH (&all->nodes, n, following, link)
		node_free(n);
	LIST_FOREACH (&all->retired, n, following, link)
		node_free(n);
	lock_done(&all->lock);
	free(all);
}

void
cc_nodes_poke(struct cc *cc, const char *node_id)
{
	struct cc_nodes *all = cc->nodes;
	struct node *n, *following;

	LOCK_SCOPE(&all->lock);
	LIST_FOREACH (&all->nodes, n, following, link)
		if (n->put && (!node_id || strcmp(n->node_id, node_id) == 0))
			reconciler_poke(n->put);
}

int
cc_nodes_console(struct cc *cc, struct rpc_request *rq, const char *node_id,
    const char *instance_id, struct cc_get_console_output_out *out, struct err *e)
{
	struct rpc_context context = { .request_id = rq->addressing->request_id,
		.account_id = rq->addressing->account_id };
	struct nc_get_console_output_in in = { .instance_id = instance_id };
	struct nc_get_console_output_out reply = { 0 };
	struct rpc_peer *peer = NULL;
	struct node *n, *following;
	int r;

	lock_take(&cc->nodes->lock);
	LIST_FOREACH (&cc->nodes->nodes, n, following, link)
		if (strcmp(n->node_id, node_id) == 0)
			peer = n->rpc;
	lock_release(&cc->nodes->lock);
	if (!peer)
		return err_set(e, ERR_UNAVAILABLE, "node '%s' is no longer part of this zone", node_id);
	r = rpc_call(peer, &nc_get_console_output, &context, &in, &reply, rq->arena, CALL_MS, e);
	if (r < 0)
		return r;
	out->output = reply.output;
	out->has_at = reply.has_at;
	out->at = reply.at;
	return 0;
}

/* -- PutNodes, DescribeNodes -- */

static int
write_set(struct store_tx *tx, void *arg, struct err *e)
{
	const struct cc_put_nodes_in *in = arg;
	int64_t changed = 0;
	int r = store_exec(tx, Q_NODE_SET_REVISION, &changed, e, (int64_t)in->revision);

	if (r == 0 && changed)
		r = store_exec(tx, Q_NODES_REMOVE_ALL, NULL, e);
	for (size_t i = 0; r == 0 && changed && i < in->nodes.count; i++)
		if (!in->nodes.items[i].removed)
			r = store_exec(tx, Q_NODE_PUT, NULL, e, in->nodes.items[i].peer_id,
			    in->nodes.items[i].url);
	return r;
}

int
cc_handle_put_nodes(struct rpc_request *rq, const struct cc_put_nodes_in *in, struct empty *out,
    struct err *e)
{
	struct cc *cc = rq->state;
	int r = store_write(cc->store, write_set, (void *)in, e);

	if (r == 0)
		reconciler_poke(cc->nodes->refresh);
	return r;
}

int
cc_handle_describe_nodes(struct rpc_request *rq, const struct empty *in,
    struct cc_describe_nodes_out *out, struct err *e)
{
	struct found found = { .arena = rq->arena };
	struct cc *cc = rq->state;
	int r = store_read(cc->store, read_nodes, &found, e);

	out->nodes.count = found.nodes.count;
	out->nodes.items = arena_alloc(rq->arena, (found.nodes.count + 1) * sizeof(*out->nodes.items));
	for (size_t i = 0; i < found.nodes.count; i++)
		cc_node_to_report(&found.nodes.items[i], &out->nodes.items[i]);
	vec_done(&found.nodes);
	return r;
}
