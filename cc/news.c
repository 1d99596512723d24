/* What the cc tells the clc: Changes out of the outbox, and networks passed on. */
#include "news.h"

#include "base/vec.h"

#include "instance.h"
#include "link.h"
#include "node.h"

#include "rpc/cc.handlers.h"

#define EVENTS_MAX 200
#define COMPLETE_MAX 200 /* what surely fits into one message */

const struct service *
cc_service_served(void)
{
	return &cc_served;
}

struct news {
	struct store *store;
	struct arena *arena;
	const struct changes_since *since;
	struct report_set *out;
	bool is_too_long;
	VEC(struct instance_report) instances;
	VEC(struct node_report) nodes;
};

static void
add_instance(struct news *n, struct store_rows *rows)
{
	struct instance_report report;
	struct cc_instance i;

	cc_instance_read(rows, n->arena, &i);
	cc_instance_to_report(&i, n->arena, &report);
	vec_add(&n->instances, report);
}

static void
add_node(struct news *n, struct store_rows *rows)
{
	struct node_report report;
	struct cc_node node;

	cc_node_read(rows, n->arena, &node);
	cc_node_to_report(&node, &report);
	vec_add(&n->nodes, report);
}

static int
read_all(struct store_tx *tx, struct news *n, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *instances = NULL, *nodes = NULL;
	int r = store_query(tx, Q_NODES, &nodes, e);

	while (r >= 0 && (r = store_next(nodes, e)) > 0)
		add_node(n, nodes);
	if (r == 0)
		r = store_query(tx, Q_INSTANCES, &instances, e);
	while (r >= 0 && !n->is_too_long && (r = store_next(instances, e)) > 0) {
		add_instance(n, instances);
		n->is_too_long = n->instances.count + n->nodes.count > COMPLETE_MAX;
	}
	n->out->has_complete = n->out->complete = !n->is_too_long;
	return r < 0 ? r : 0;
}

/* Only the last event of each is told, so that the answer never names a record twice. */
static bool
comes_again(const struct outbox_event *events, size_t count, size_t i)
{
	for (size_t k = i + 1; k < count; k++)
		if (strcmp(events[k].kind, events[i].kind) == 0 &&
		    strcmp(events[k].id, events[i].id) == 0)
			return true;
	return false;
}

static int
read_one(struct store_tx *tx, struct news *n, const struct outbox_event *event, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	bool is_instance = strcmp(event->kind, "instance") == 0;
	int r = store_query(tx, is_instance ? Q_INSTANCE_BY_ID : Q_NODE_BY_ID, &rows, e, event->id);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0 && is_instance)
		add_instance(n, rows);
	else if (r > 0)
		add_node(n, rows);
	return r < 0 ? r : 0;
}

static int
read_news(struct store_tx *tx, void *arg, struct err *e)
{
	struct news *n = arg;
	struct outbox_event *events = NULL;
	size_t count = 0;
	uint64_t last = 0;
	bool has_gap = false;
	int r = outbox_last(tx, &last, e);

	n->instances.count = n->nodes.count = 0;
	n->is_too_long = false;
	*n->out = (struct report_set){ .epoch = store_epoch(n->store), .revision = last };
	if (r == 0 && n->since->epoch != n->out->epoch)
		return read_all(tx, n, e);
	if (r == 0)
		r = outbox_read(
		    tx, n->since->revision, EVENTS_MAX, n->arena, &events, &count, &has_gap, e);
	if (r == 0 && has_gap)
		return read_all(tx, n, e);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (!comes_again(events, count, i))
			r = read_one(tx, n, &events[i], e);
	if (count)
		n->out->revision = events[count - 1].revision;
	return r;
}

/* Everything is more than one message holds: each record becomes an event, and the reader, that
 * starts before them, gets them in turn. */
static int
announce_all(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *instances = NULL, *nodes = NULL;
	struct news *n = arg;
	int r = outbox_last(tx, &n->out->revision, e);

	if (r == 0)
		r = store_query(tx, Q_NODES, &nodes, e);
	while (r >= 0 && (r = store_next(nodes, e)) > 0)
		r = outbox_add(tx, "node", store_text(nodes, 0), NULL, "announced", e);
	if (r == 0)
		r = store_query(tx, Q_INSTANCES, &instances, e);
	while (r >= 0 && (r = store_next(instances, e)) > 0)
		r = outbox_add(tx, "instance", store_text(instances, 0), store_text(instances, 1),
		    "announced", e);
	return r;
}

int
cc_news_read(struct store *store, const struct changes_since *since, struct arena *arena,
    struct report_set *out, struct err *e)
{
	struct news n = { .store = store, .arena = arena, .since = since, .out = out };
	int r = store_read(store, read_news, &n, e);

	if (r == 0 && n.is_too_long) {
		n.instances.count = n.nodes.count = 0;
		r = store_write(store, announce_all, &n, e);
	}
	out->instances.count = n.instances.count;
	out->instances.items =
	    arena_memdup(arena, n.instances.items, n.instances.count * sizeof(*n.instances.items));
	out->nodes.count = n.nodes.count;
	out->nodes.items =
	    arena_memdup(arena, n.nodes.items, n.nodes.count * sizeof(*n.nodes.items));
	vec_done(&n.instances);
	vec_done(&n.nodes);
	return r;
}

int
cc_handle_changes(
    struct rpc_request *rq, const struct changes_since *in, struct report_set *out, struct err *e)
{
	struct cc *cc = rq->state;

	if (in->epoch == store_epoch(cc->store) &&
	    changes_park(cc->changes, rq, in->epoch, in->revision))
		return 0;
	return cc_news_read(cc->store, in, rq->arena, out, e);
}

int
cc_vpc_set(struct store_tx *tx, const struct vpc_spec *vpc, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	cc_text_of(&vpc_spec_shape, vpc, &text);
	return store_exec(
	    tx, Q_VPC_PUT, NULL, e, vpc->vpc_id, (int64_t)vpc->revision, strbuf_c(&text));
}

static int
write_vpc(struct store_tx *tx, void *arg, struct err *e)
{
	return cc_vpc_set(tx, arg, e);
}

int
cc_handle_put_vpc(
    struct rpc_request *rq, const struct cc_put_vpc_in *in, struct empty *out, struct err *e)
{
	struct cc *cc = rq->state;
	int r = store_write(cc->store, write_vpc, in->vpc, e);

	if (r == 0)
		cc_nodes_poke(cc, NULL);
	return r;
}
